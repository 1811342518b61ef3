import json
import logging
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.redaction import (
    HIDDEN,
    find_secrets,
    hide_in_logs,
    hiding,
    key_variables,
    redact_file,
    redactor,
    refuse_leaks,
    refuse_secrets,
    says_secret,
    secret_values,
)
from ledger.errors import ConfigurationError

secrets = st.lists(st.text(st.sampled_from('ab*"\\ '), min_size=6, max_size=9), max_size=4)


@given(secrets, st.text(st.sampled_from('ab*"\\ '), max_size=30), st.data())
def test_no_secret_is_left_wherever_it_stands(known, text, data):
    for secret in known:
        at = data.draw(st.integers(0, len(text)))
        text = text[:at] + secret + text[at:]
    hidden = hiding(known)(text)
    assert not any(secret in hidden or json.dumps(secret)[1:-1] in hidden for secret in known)
    assert hiding(known)(hidden) == hidden


@given(st.text(max_size=40).filter(lambda text: "@" not in text))
def test_a_text_without_secrets_stays_as_it_is(text):
    assert hiding(["a secret that is not in there"])(text) == text
    assert hiding([])(text) == text


def test_two_secrets_that_overlap_leave_nothing_of_either():
    assert hiding(["abcdefgh", "fghijklm"])("<abcdefghijklm>") == f"<{HIDDEN}>"


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("OPENAI_API_KEY", True),
        ("HF_TOKEN", True),
        ("AWS_SECRET_ACCESS_KEY", True),
        ("PGPASSWORD", True),
        ("PREFECT_SERVER_API_AUTH_STRING", True),
        ("google_credentials", True),
        ("OPENAI_APIKEY", True),
        ("TOKENIZERS_PARALLELISM", False),
        ("KEYBOARD_LAYOUT", False),
        ("PWD", False),
    ],
)
def test_names_that_say_secret(name, secret):
    assert says_secret(name) is secret


def test_which_values_are_secrets(tmp_path):
    environment = {
        "SOME_API_KEY": "sk-123456789",
        "SHORT_TOKEN": "abc",
        "GOOGLE_APPLICATION_CREDENTIALS": "/home/someone/key.json",
        "DATABASE": "postgresql+asyncpg://pricecut:pass%40word1@127.0.0.1/prefect",
        "HOME": "/home/someone",
    }
    assert secret_values(environment, tmp_path) == {
        "sk-123456789": "SOME_API_KEY",
        "pass%40word1": "DATABASE",
        "pass@word1": "DATABASE",
    }


def test_a_private_key_is_hidden_line_by_line(tmp_path):
    key = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0\n-----END PRIVATE KEY-----"
    redact = redactor({"SIGNING_KEY": key}, tmp_path)
    assert [redact(line) for line in key.split("\n")] == [HIDDEN] * 3


def test_the_variable_that_a_labeling_function_names(tmp_path):
    folder = tmp_path / "labeling/apps/reviews"
    folder.mkdir(parents=True)
    (folder / "functions.py").write_text(
        'raise SystemExit("never run")\nasked = llm("a", ["x", "y"], endpoint="e", model="m", key_env="HOUSE_MODEL")\n'
    )
    broken = tmp_path / "labeling/apps/broken"
    broken.mkdir()
    (broken / "functions.py").write_text("def (")
    assert key_variables(tmp_path) == {"HOUSE_MODEL"}
    redact = redactor({"HOUSE_MODEL": "s3cr3t-of-the-house"}, tmp_path)
    assert redact("asking with s3cr3t-of-the-house") == f"asking with {HIDDEN}"


def test_what_dvc_keeps_of_its_remotes(tmp_path):
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/config.local").write_text(
        "['remote \"store\"']\n    access_key_id = AKIAxxxxxxx\n    secret_access_key = wJalr/XUtn\n    user = someone\n"
    )
    redact = redactor({}, tmp_path)
    assert redact("wJalr/XUtn by someone") == f"{HIDDEN} by someone"
    (tmp_path / ".dvc/config.local").write_text("no section\n")
    assert redactor({}, tmp_path)("wJalr/XUtn") == "wJalr/XUtn"


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("GET https://me:hunter2@example.com/x?a=b", "GET https://me:***@example.com/x?a=b"),
        ("postgresql+asyncpg://u:p@h/db and ssh://a:b@c", "postgresql+asyncpg://u:***@h/db and ssh://a:***@c"),
        (
            "mail me@example.com, see https://example.com:8080/@me",
            "mail me@example.com, see https://example.com:8080/@me",
        ),
    ],
)
def test_a_password_in_an_address_is_hidden_whoever_knows_it(line, shown):
    assert hiding([])(line) == shown


def test_as_json_and_addresses_write_it():
    redact = hiding(['pass"wörd\n/1'])
    assert redact(json.dumps({"k": 'pass"wörd\n/1'})) == f'{{"k": "{HIDDEN}"}}'
    assert redact("?k=pass%22w%C3%B6rd%0A%2F1&") == f"?k={HIDDEN}&"


def test_a_log_that_was_written_is_mended(tmp_path):
    log = tmp_path / "log.txt"
    log.write_bytes(b"before \xff sk-123456789 after\n")
    log.chmod(0o600)
    redact_file(log, hiding(["sk-123456789"]))
    assert log.read_bytes() == b"before \xff *** after\n" and log.stat().st_mode & 0o777 == 0o600
    inode = log.stat().st_ino
    redact_file(log, hiding(["sk-123456789"]))
    assert log.stat().st_ino == inode


@pytest.mark.parametrize(
    "name", ["params.yaml", "dvc.yaml", "dvc.lock", "benchmarks/dvc.yaml", ".dvc/config", "labeling/apps/a/app.yaml"]
)
def test_a_run_is_refused_where_a_committed_file_holds_a_secret(tmp_path, name):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("a: 1\nb: sk-123456789\n")
    environment = {"SOME_API_KEY": "sk-123456789"}
    with pytest.raises(ConfigurationError, match=r":2: holds the value of SOME_API_KEY") as refused:
        refuse_secrets(environment, tmp_path)
    assert "sk-123456789" not in str(refused.value) and str(path) in str(refused.value)
    refuse_secrets({"SOME_API_KEY": "sk-another-one"}, tmp_path)
    path.write_text("a: default\nsize: 1234567\n")
    refuse_secrets({"CACHE_KEY": "default", "NUMBER_KEY": "1234567"}, tmp_path)


def test_a_report_that_holds_a_secret(tmp_path):
    (tmp_path / "reports/a").mkdir(parents=True)
    (tmp_path / "reports/a/index.html").write_text("<p>\nsk-123456789</p>")
    with pytest.raises(ConfigurationError, match=r"index\.html:2: holds the value of SOME_API_KEY"):
        refuse_leaks([tmp_path / "reports"], {"SOME_API_KEY": "sk-123456789"}, tmp_path)
    refuse_leaks([tmp_path / "reports", tmp_path / "none"], {}, tmp_path)


def test_this_repository_holds_none_of_the_secrets_around_it():
    import os
    import subprocess

    root = Path(__file__).resolve().parents[2]
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, check=True).stdout.decode()
    files = [root / name for name in listed.split("\0") if name]
    assert list(find_secrets(files, secret_values(os.environ, root))) == []


def test_every_record_that_is_logged_is_hidden_its_traceback_too(caplog):
    made = logging.getLogRecordFactory()
    try:
        for secret in ("sk-000000000", "sk-123456789"):
            hide_in_logs(hiding([secret]))
        with caplog.at_level(logging.INFO):
            logging.getLogger("anyone's").info("%s and %d", "sk-123456789", 5)
            logging.getLogger("anyone's").info("%s", "sk-000000000, which the second does not hide")
            try:
                raise ValueError("sk-123456789")
            except ValueError:
                logging.getLogger("anyone's").exception("raised")
    finally:
        logging.setLogRecordFactory(made)
    first, second, third = caplog.records
    assert first.getMessage() == "*** and 5" and second.getMessage().startswith("sk-000000000")
    formatted = logging.Formatter().format(third)
    assert "ValueError: ***" in formatted and "sk-123456789" not in formatted


def test_it_is_fast():
    redact = hiding([f"secret-number-{i:04d}-of-many" for i in range(40)])
    line = "epoch 3 of 20: loss 0.1234, accuracy 0.9321, 31.2 rows a second; nothing to see here " * 2
    start = time.perf_counter()
    for _ in range(10_000):
        redact(line)
    assert time.perf_counter() - start < 1
