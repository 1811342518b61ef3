"""People are told, and the address stays a secret."""

import pytest

from flows.notify import ADDRESS, News, address_given, send
from ledger.errors import ConfigurationError
from tests.flows.listening import listener

NEWS = News("toy", "released", "macro-F1 «0.9»", "v0.0.2", "c0ffee", "toy")


def test_what_is_told():
    with listener() as hook:
        assert send(hook.url, NEWS) is None
    assert hook.got == [
        {
            "app": "toy",
            "event": "released",
            "message": "macro-F1 «0.9»",
            "version": "v0.0.2",
            "commit": "c0ffee",
            "run": "toy",
        }
    ]


@pytest.mark.parametrize(
    ("status", "wrong"), [(500, "it answered 500"), (404, "it answered 404"), (302, "it answered 302")]
)
def test_a_webhook_that_refuses_is_told_without_its_address(status, wrong, capfd, caplog):
    caplog.set_level("DEBUG")
    with listener() as hook:
        hook.status = status
        assert send(hook.url, NEWS) == wrong
    assert len(hook.got) == 1
    assert "s3cr3t" not in caplog.text + "".join(capfd.readouterr())


@pytest.mark.parametrize("address", ["http://127.0.0.1:9/s3cr3t", "http://127.0.0.1:bad/s3cr3t", "http://[s3cr3t"])
def test_a_webhook_that_is_not_there(address):
    wrong = send(address, NEWS)
    assert wrong.startswith("it does not answer (") and "s3cr3t" not in wrong


@pytest.mark.parametrize("address", ["ftp://s3cr3t", "s3cr3t", "http://x:s3cr3t/", "http://[s3cr3t"])
def test_an_address_that_is_none_is_not_repeated(address, monkeypatch):
    monkeypatch.setenv(ADDRESS, address)
    with pytest.raises(ConfigurationError, match="PRICECUT_WEBHOOK_URL: expected an address") as caught:
        address_given()
    assert "s3cr3t" not in str(caught.value)


def test_no_address(monkeypatch):
    monkeypatch.setenv(ADDRESS, " ")
    assert address_given() is None
