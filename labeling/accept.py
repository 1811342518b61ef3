"""Answers from a file become answers of the app: each is checked against the corpus, the labels and what was answered before."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from labeling.gold import Answer, as_time, hash_of, standing_answers
from labeling.review_table import Given


@dataclass(frozen=True)
class Verdict:
    """What may be taken over, and what may not.

    Attributes
    ----------
    answers : tuple of Answer
        What is in order.
    faults : tuple of str
        One sentence each: where, what, what to do.
    """

    answers: tuple[Answer, ...]
    faults: tuple[str, ...]


def judge(
    given: Sequence[Given],
    texts: Mapping[str, str],
    labels: Sequence[str],
    standing: Sequence[Answer],
    by: str,
    now: str,
    newer_wins: bool,
) -> Verdict:
    """Check answers one by one.

    Parameters
    ----------
    given : sequence of Given
        As they stand in the file.
    texts : mapping of str to str
        The text of every row of the corpus, which holds no test row.
    labels : sequence of str
        The app's.
    standing : sequence of Answer
        What was answered before.
    by : str
        Who answered, where the file does not say; with several of Label Studio's numbered people, ``by/number``.
    now : str
        When, where the file does not say; ISO 8601.
    newer_wins : bool
        Take an answer that differs from the one that stands, or from another in the file; without it that is a fault.
    """
    people = {one.who for one in given if one.who is not None}
    before, _ = standing_answers(standing, texts)
    answers: list[Answer] = []
    faults: list[str] = []
    first: dict[str, Given] = {}
    for one in given:
        fault = fault_of(one, texts, labels)
        if fault is None and not newer_wins:
            fault = contradiction(one, before.get(one.row_id), first.get(one.row_id))
        if fault is not None:
            faults.append(f"{one.place}: {fault}")
            continue
        first.setdefault(one.row_id, one)
        try:
            when = as_time(one.when or now)
        except ValueError:
            faults.append(f"{one.place}: expected a time such as 2026-11-25T09:30:00Z, got '{one.when}'")
            continue
        who = name_of(one.who, by, len(people) > 1)
        answers.append(Answer(one.row_id, one.label, who, when, hash_of(texts[one.row_id])))
    return Verdict(tuple(answers), tuple(faults))


def fault_of(one: Given, texts: Mapping[str, str], labels: Sequence[str]) -> str | None:
    """Say what is wrong with an answer by itself; None where nothing is."""
    if one.row_id not in texts:
        return (
            f"no row '{one.row_id}' in the corpus; keep the column row_id as `pricecut review` wrote it, or export anew"
        )
    if one.label not in labels:
        alike = next((label for label in labels if label.casefold() == one.label.casefold()), None)
        meant = f" (did you mean '{alike}'?)" if alike else ""
        return f"'{one.label}' is no label of the app{meant}; expected one of {', '.join(labels)}"
    if one.text is not None and "".join(one.text.split()) != "".join(texts[one.row_id].split()):
        return f"the text of row '{one.row_id}' is not the corpus's ('{texts[one.row_id][:40]}…'); export anew"
    return None


def contradiction(one: Given, before: Answer | None, first: Given | None) -> str | None:
    """Say which earlier answer says otherwise; None where there is none."""
    mend = "settle it, or let the newer one win with --newer-wins"
    if first is not None and first.label != one.label:
        return f"row '{one.row_id}' is '{one.label}' here and '{first.label}' at {first.place}; {mend}"
    if before is not None and before.label != one.label:
        return (
            f"row '{one.row_id}' is '{one.label}' here, and '{before.label}' to {before.who} on {before.when}; {mend}"
        )
    return None


def name_of(who: str | None, by: str, several: bool) -> str:
    """Name who answered: an address as it is, one of several numbers as ``by/number``, else whoever brings the file."""
    if who is not None and "@" in who:
        return who
    return f"{by}/{who}" if who is not None and several else by
