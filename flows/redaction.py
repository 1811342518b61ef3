"""Secrets: which values are, and keeping them out of logs, artifacts, ``dvc.lock`` and reports."""

import ast
import configparser
import functools
import json
import logging
import os
import re
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from flows.apps import PIPELINES
from flows.root import DAG_FILE
from ledger.errors import ConfigurationError
from ledger.parameters import PARAMETERS_FILE
from ledger.places import APPS_FOLDER

HIDDEN = "***"
SHORTEST = 6
"""Characters from which a value is taken for a secret; a shorter one would be found in the middle of words."""

_WORDS = ("KEY", "TOKEN", "SECRET", "PASSWORD", "PASSWD", "PASSPHRASE", "CREDENTIAL", "AUTH")
_PLURALS = tuple(f"{word}S" for word in _WORDS)
_IN_ADDRESS = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<user>[^\s/@:]*):(?P<password>[^\s/@]+)@")

Redact = Callable[[str], str]


def says_secret(name: str) -> bool:
    """Whether a variable's name says that its value is a secret.

    Examples
    --------
    >>> [says_secret(name) for name in ("OPENAI_API_KEY", "pgpassword", "TOKENIZERS_PARALLELISM", "KEYBOARD", "HOME")]
    [True, True, False, False, False]
    """
    return any(word.endswith((*_WORDS, *_PLURALS)) for word in re.split(r"[^A-Z0-9]+", name.upper()))


def secret_values(environment: Mapping[str, str], root: Path = Path()) -> dict[str, str]:
    """Return every secret that is known here, each with the name of what holds it.

    Parameters
    ----------
    environment : mapping of str to str
        Variables whose names say so, those that an app's ``llm`` functions name in ``key_env``, and passwords in addresses.
    root : Path
        The project's root, whose ``.dvc/config.local`` may hold more.
    """
    named = key_variables(root)
    found: dict[str, str] = {}
    held = [(name, value, name in named or says_secret(name)) for name, value in environment.items()]
    held += [(f".dvc/config.local: {name}", value, says_secret(name)) for name, value in _remote_settings(root)]
    for name, value, is_secret in held:
        for password in (match["password"] for match in _IN_ADDRESS.finditer(value)):
            found |= dict.fromkeys((password, unquote(password)), name)
        if is_secret and not Path(value).is_absolute():  # a file that holds a secret is none
            lines = [line for line in value.split("\n") if len(line) >= 2 * SHORTEST]  # of a private key
            found |= dict.fromkeys((value, value.strip(), *(lines if "\n" in value else ())), name)
    return {value: name for value, name in found.items() if len(value) >= SHORTEST}


def key_variables(root: Path = Path()) -> set[str]:
    """Return the variables that labeling functions name in ``key_env``, read from their source; nothing is run."""
    named = set()
    for path in (root / APPS_FOLDER).glob("*/functions.py"):
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"))
        except (SyntaxError, ValueError, OSError):
            continue  # `pricecut check` says what is wrong with it
        for node in ast.walk(tree):
            if isinstance(node, ast.keyword) and node.arg == "key_env" and isinstance(node.value, ast.Constant):
                named.add(str(node.value.value))
    return named


def _remote_settings(root: Path) -> Iterator[tuple[str, str]]:
    reader = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        reader.read(root / ".dvc" / "config.local", encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError):
        return
    for section in reader.sections():
        yield from reader.items(section)


def redactor(environment: Mapping[str, str], root: Path = Path()) -> Redact:
    """Return a function that replaces every secret in a text by ``***``; passwords in addresses too, known or not.

    Parameters
    ----------
    environment, root
        As of `secret_values`, read now, once.
    """
    return hiding(secret_values(environment, root))


def hiding(secrets: Iterable[str]) -> Redact:
    """Return a function that replaces given secrets in a text, as they are and as JSON and addresses write them."""
    written = {form for secret in secrets for form in (secret, json.dumps(secret)[1:-1], quote(secret, safe=""))}
    known = sorted(written, key=lambda form: (-len(form), form))
    # Looking ahead finds occurrences that overlap, of which nothing may be left.
    pattern = re.compile(f"(?=({'|'.join(map(re.escape, known))}))") if known else None

    def redact(text: str) -> str:
        while pattern is not None and any(secret in text for secret in known):
            text = _blot(text, [match.span(1) for match in pattern.finditer(text)])
        return _IN_ADDRESS.sub(rf"\g<scheme>://\g<user>:{HIDDEN}@", text) if "@" in text else text

    return redact


def _blot(text: str, spans: Iterable[tuple[int, int]]) -> str:
    """Replace spans, which may overlap and come in order of their starts, each group of them by one mark."""
    parts, end = [], 0
    for start, stop in spans:
        if start >= end:
            parts += [text[end:start], HIDDEN]
        end = max(end, stop)
    return "".join((*parts, text[end:]))


def hide(text: str) -> str:
    """Replace the secrets of this process' environment, and of the project that it stands in, in a text."""
    return _redactor_of(Path.cwd())(text)


@functools.cache
def _redactor_of(root: Path) -> Redact:
    return redactor(os.environ, root)


def hide_in_logs(redact: Redact = hide) -> None:
    """Hide secrets in every record that this process logs from now on, whoever logs it, tracebacks too.

    Parameters
    ----------
    redact : callable
        Takes the place of one that was given before.
    """
    made = logging.getLogRecordFactory()
    make: Callable[..., logging.LogRecord] = getattr(made, "without_hiding", made)

    def hidden(*arguments: Any, **named: Any) -> logging.LogRecord:
        record = make(*arguments, **named)
        with suppress(Exception):  # a record whose arguments do not fit its message says so itself
            said = record.getMessage()
            if (shown := redact(said)) != said:
                record.msg, record.args = shown, None
        if record.exc_info and record.exc_info[0] is not None:
            trace = "".join(traceback.format_exception(*record.exc_info)).rstrip()
            if (shown := redact(trace)) != trace:
                record.exc_text = shown  # which formatters take where it is there
        return record

    hidden.without_hiding = make  # type: ignore[attr-defined]
    logging.setLogRecordFactory(hidden)


def redact_file(path: Path, redact: Redact) -> None:
    """Replace the secrets in a file, in place; it keeps its mode, and is left alone where it holds none."""
    text = path.read_text(encoding="utf-8", errors="surrogateescape")
    hidden = redact(text)
    if hidden != text:
        temporary = path.with_name(f"{path.name}.tmp")
        temporary.touch(mode=path.stat().st_mode & 0o777)
        temporary.write_text(hidden, encoding="utf-8", errors="surrogateescape")
        temporary.replace(path)


def find_secrets(paths: Iterable[Path], secrets: Mapping[str, str]) -> Iterator[tuple[Path, int, str]]:
    """Find secrets in files: the file, the line from 1 on, and the name of what holds the secret.

    A value that is small letters only, or a short number, is passed over: ``default`` stands in many a file by chance.

    Parameters
    ----------
    paths : iterable of Path
        Files, of any kind; those that are not there are passed over.
    secrets : mapping of str to str
        As `secret_values` returns them.
    """
    sought = [
        (secret.encode(), name)
        for secret, name in secrets.items()
        if not re.fullmatch(r"[a-z_./-]+|[0-9.]{1,11}", secret)
    ]
    for path in paths:
        content = path.read_bytes() if sought and path.is_file() else b""
        for secret, name in sought:
            if (at := content.find(secret)) >= 0:
                yield path, content.count(b"\n", 0, at) + 1, name


def refuse_secrets(environment: Mapping[str, str] = os.environ, root: Path = Path()) -> None:
    """Refuse to run where a file that DVC copies into ``dvc.lock``, or that is committed, holds a secret.

    Raises
    ------
    ConfigurationError
        With file, line, and the variable that should stand there instead; never with the value.
    """
    committed = [root / folder / name for folder in PIPELINES for name in (DAG_FILE, PARAMETERS_FILE, Path("dvc.lock"))]
    committed += [root / ".dvc" / "config", *sorted((root / APPS_FOLDER).glob("*/app.yaml"))]
    committed += sorted((root / APPS_FOLDER).glob("*/functions.py"))
    for path, line, name in find_secrets(committed, secret_values(environment, root)):
        raise ConfigurationError(
            f"{path}:{line}: holds the value of {name}, which is a secret, and would be written to dvc.lock, logs or reports; "
            "take it out of the file and read the variable where it is used"
        )


def refuse_leaks(paths: Iterable[Path], environment: Mapping[str, str] = os.environ, root: Path = Path()) -> None:
    """Refuse to publish reports that hold a secret.

    Parameters
    ----------
    paths : iterable of Path
        Files, and folders of files.

    Raises
    ------
    ConfigurationError
        With file, line and variable; never with the value.
    """
    files = [file for path in paths for file in (sorted(path.rglob("*")) if path.is_dir() else [path])]
    for path, line, name in find_secrets(files, secret_values(environment, root)):
        raise ConfigurationError(
            f"{path}:{line}: holds the value of {name}, which is a secret; find what wrote it there, and give the secret a new value"
        )
