"""Tells people of a scheduled run, by a POST of JSON to an address that is a secret."""

import json
import os
import urllib.error
import urllib.request
from dataclasses import asdict, dataclass
from http.client import HTTPException
from typing import Any, cast
from urllib.parse import urlsplit
from uuid import UUID

from pydantic import SecretStr

from ledger.errors import ConfigurationError

ADDRESS = "PRICECUT_WEBHOOK_URL"
"""The environment variable that holds the address."""
BLOCK = "pricecut"
"""The name of the Prefect block (of type Webhook) that holds it on the server."""
PATIENCE_S = 10


@dataclass(frozen=True)
class News:
    """What is told.

    Attributes
    ----------
    app : str
        Whose run it is.
    event : str
        ``released``, ``kept`` (the gate held the new model back) or ``waiting`` (for people's answers); the server's
        automation sends ``failed``.
    message : str
        In a sentence.
    version : str or None
        The version that is released now.
    commit : str or None
        The run's commit.
    run : str or None
        The flow run's name.
    """

    app: str
    event: str
    message: str
    version: str | None = None
    commit: str | None = None
    run: str | None = None


def address_given() -> str | None:
    """Return the address that the environment gives, checked; None for none.

    Raises
    ------
    ConfigurationError
        If it is no address; the message does not repeat it.
    """
    address = os.environ.get(ADDRESS, "").strip()
    if not address:
        return None
    try:
        parts = urlsplit(address)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number; half an IPv6 address
        sound = False
    if not sound:
        raise ConfigurationError(f"{ADDRESS}: expected an address that starts with http:// or https://")
    return address


def find_address() -> str | None:
    """Return the address, from the environment or else from the server's block; None where nobody is to be told."""
    given = address_given()
    if given is not None:
        return given
    from prefect.blocks.webhook import Webhook

    try:
        block = cast("Webhook", Webhook.load(BLOCK))
    except ValueError:  # no such block
        return None
    return block.url.get_secret_value()


def keep_address() -> UUID | None:
    """Keep the address that the environment gives on the server, encrypted; return the block that holds one, if any does."""
    from prefect.blocks.webhook import Webhook
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound

    given = address_given()
    if given is not None:
        return cast("UUID", Webhook(url=SecretStr(given)).save(BLOCK, overwrite=True))
    with get_client(sync_client=True) as client:
        try:
            return client.read_block_document_by_name(BLOCK, "webhook").id
        except ObjectNotFound:
            return None


def send(address: str, news: News) -> str | None:
    """Send news; return what was wrong, in words that do not hold the address, or None. No run fails by it."""
    body = json.dumps(asdict(news), ensure_ascii=False).encode()
    headers = {"Content-Type": "application/json; charset=utf-8", "User-Agent": "pricecut"}
    try:
        # httpx would log the address.
        request = urllib.request.Request(address, data=body, headers=headers, method="POST")
        with _opener.open(request, timeout=PATIENCE_S):
            return None
    except urllib.error.HTTPError as error:
        return f"it answered {error.code}"
    except (OSError, ValueError, HTTPException) as error:
        return f"it does not answer ({type(getattr(error, 'reason', error)).__name__})"


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirected POST would become a GET without its body: it counts as refused."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


_opener = urllib.request.build_opener(_NoRedirect)
