"""An OpenAI-compatible endpoint: its address, its key, and what a reply of it says."""

import ipaddress
import os
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from urllib.parse import parse_qsl, urlsplit

import httpx

from ledger.errors import FunctionError


@dataclass(frozen=True)
class Endpoint:
    """Where to ask and how hard.

    Attributes
    ----------
    url : str
        The base, such as ``https://api.example.com/v1``, or the whole address of ``chat/completions``.
    key_env : str or None
        The environment variable that holds the key; None sends none.
    requests_per_minute : float
        The rate limit.
    concurrency : int
        Requests under way at once.
    timeout_s : float
        For one request.
    retries : int
        How often one request is sent again after a failure that may pass.
    """

    url: str
    key_env: str | None
    requests_per_minute: float
    concurrency: int
    timeout_s: float
    retries: int

    @property
    def address(self) -> str:
        """The whole address of ``chat/completions``."""
        parts = urlsplit(self.url)
        path = parts.path.rstrip("/")
        path = path if path.endswith("/chat/completions") else f"{path}/chat/completions"
        return parts._replace(path=path, fragment="").geturl()

    @property
    def is_local(self) -> bool:
        """Whether it stands on this machine."""
        host = urlsplit(self.url).hostname or ""
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return host == "localhost"

    @property
    def host(self) -> str:
        """How messages name it."""
        return urlsplit(self.url).netloc

    def key(self) -> str | None:
        """Read the key from the environment, or raise a FunctionError that says which variable is not set."""
        if self.key_env is None:
            return None
        key = os.environ.get(self.key_env, "").strip()
        if not key or not (key.isascii() and key.isprintable()):
            raise FunctionError(
                f"the environment variable {self.key_env} is not set, or is no key; expected that of {self.host} there"
            )
        return key

    def check(self) -> None:
        """Raise a FunctionError where the address cannot be asked, or carries a secret that would be written down."""
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise FunctionError("expected an endpoint's address such as https://api.example.com/v1")
        asked = [name.lower() for name, _ in parse_qsl(parts.query)]
        if (
            parts.username
            or parts.password
            or any(word in name for name in asked for word in ("key", "token", "secret"))
        ):
            raise FunctionError(
                "the endpoint's address carries a secret; leave it in an environment variable, and name that in key_env"
            )
        if self.key_env is not None and parts.scheme == "http" and not self.is_local:
            raise FunctionError(
                f"a key is sent over https or to this machine only, got http://{parts.hostname}; use https, or key_env=None"
            )


def read_completion(reply: httpx.Response) -> tuple[tuple[int, int] | None, str | None]:
    """Return the tokens that a reply counts (read, written), and its text; None for what it does not carry."""
    if reply.status_code != 200:
        return (0, 0), None
    try:
        document = reply.json()
        message = document["choices"][0]["message"]
        counted = document.get("usage")
        used = (int(counted["prompt_tokens"]), int(counted["completion_tokens"])) if counted else None
        content = message.get("content")
        return used, content if isinstance(content, str) else ""  # a refusal to speak is an answer too
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        return None, None


def asked_to_wait(reply: httpx.Response) -> float | None:
    """Read ``Retry-After``, in seconds or as a date (RFC 9110, 10.2.3)."""
    written = reply.headers.get("Retry-After", "").strip()
    if not written:
        return None
    try:
        return max(0.0, float(written))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(written).timestamp() - time.time())
    except ValueError:
        return None
