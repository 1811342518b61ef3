"""The answers of people who reviewed rows: with who and when, in a committed file of the app, ``gold.csv``.

The text itself is not stored, only a hash by which a changed text is noticed. A hash of a short or guessable text can be
found by trying, and ``who`` names a person: treat the file as what it says.
"""

import csv
import fcntl
import hashlib
import io
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from datetime import UTC, datetime
from pathlib import Path

from ledger.errors import DataError

HEADER = ("row_id", "label", "who", "when", "text_hash")


@dataclass(frozen=True)
class Answer:
    """What one person said of one row.

    Attributes
    ----------
    row_id : str
        The row's name in the corpus when it was reviewed: that of the record whose text was shown.
    label : str
        One of the app's.
    who : str
        The person.
    when : str
        UTC, ISO 8601 to the second, such as ``2026-11-25T09:30:00Z``: sorts as text.
    text_hash : str
        Of the text that was shown (``hash_of``).
    """

    row_id: str
    label: str
    who: str
    when: str
    text_hash: str


def hash_of(text: str) -> str:
    """Return 16 hexadecimal digits of a text's SHA-256."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def as_time(written: str) -> str:
    """Read an ISO 8601 time, taken for UTC where it names no zone; raise a ValueError for what is none."""
    time = datetime.fromisoformat(written.strip())
    time = time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def read_answers(path: Path, labels: Sequence[str]) -> list[Answer]:
    """Read an app's answers as they stand in the file; none where there is no file, or an empty one.

    Raises
    ------
    DataError
        One line a fault, with file and line: another header, a missing value, a label the app does not have, no time.
    """
    if not path.exists():
        return []
    try:
        rows = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8-sig"), newline="")))
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: expected UTF-8 text ({error.reason} at byte {error.start})") from None
    if not rows:
        return []
    if tuple(rows[0]) != HEADER:
        raise DataError(f"{path}:1: expected the header {','.join(HEADER)}")
    answers, faults = [], []
    for line, row in enumerate(rows[1:], start=2):
        if not row:
            continue
        if len(row) != len(HEADER) or not all(value.strip() for value in row):
            faults.append(f"{path}:{line}: expected {len(HEADER)} values, none of them empty, got {row}")
        elif row[1] not in labels:
            faults.append(f"{path}:{line}: '{row[1]}' is no label of the app; expected one of {', '.join(labels)}")
        else:
            try:
                answers.append(Answer(row[0], row[1], row[2], as_time(row[3]), row[4]))
            except ValueError:
                faults.append(f"{path}:{line}: expected a time such as 2026-11-25T09:30:00Z, got '{row[3]}'")
    if faults:
        raise DataError("\n".join(faults))
    return answers


def latest(answers: Iterable[Answer]) -> Answer:
    """Return the latest of some answers; of several at one time the one that stands last."""
    return max(enumerate(answers), key=lambda numbered: (numbered[1].when, numbered[0]))[1]


def settle_answers(answers: Iterable[Answer]) -> dict[str, Answer]:
    """Settle what stands for each row: each person's latest answer counts, the majority wins, a tie goes to the latest."""
    by_row: dict[str, dict[str, list[Answer]]] = {}
    for answer in answers:
        by_row.setdefault(answer.row_id, {}).setdefault(answer.who, []).append(answer)
    settled = {}
    for row_id, people in by_row.items():
        votes = [latest(given) for given in people.values()]
        counts = {vote.label: sum(other.label == vote.label for other in votes) for vote in votes}
        most = max(counts.values())
        settled[row_id] = latest(vote for vote in votes if counts[vote.label] == most)
    return settled


def standing_answers(answers: Sequence[Answer], texts: Mapping[str, str]) -> tuple[dict[str, Answer], int]:
    """Settle the answers whose row is there with the text that was shown.

    Parameters
    ----------
    answers : sequence of Answer
        All.
    texts : mapping of str to str
        Every record's text.

    Returns
    -------
    settled : dict of str to Answer
        A row's answer.
    passed_over : int
        How many answers are about a row that is gone, or whose text has changed.
    """
    standing = [a for a in answers if a.row_id in texts and hash_of(texts[a.row_id]) == a.text_hash]
    return settle_answers(standing), len(answers) - len(standing)


def add_answers(path: Path, labels: Sequence[str], new: Sequence[Answer]) -> list[Answer]:
    """Add the answers that say something new: not one that stands there, nor the same as that person's latest.

    The file is in order of row, then time, so that two people's additions seldom meet in git. It is replaced in one step, and
    one process at a time adds to it.

    Returns
    -------
    list of Answer
        What was added.
    """
    with _alone(path):
        known, added = read_answers(path, labels), []
        for answer in new:
            about = [
                a for a in known if (a.row_id, a.who, a.text_hash) == (answer.row_id, answer.who, answer.text_hash)
            ]
            if answer in known or (about and latest(about).label == answer.label):
                continue
            known.append(answer)
            added.append(answer)
        if added:
            written = path.with_suffix(".new")
            with written.open("w", encoding="utf-8", newline="") as file:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerow(HEADER)
                # Stable: of answers at one time, the later given stays the later.
                writer.writerows(astuple(answer) for answer in sorted(known, key=lambda a: (a.row_id, a.when)))
            written.replace(path)
    return added


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Let one process at a time through, for one file; a process that dies lets go."""
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)
