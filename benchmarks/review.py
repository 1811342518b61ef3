"""How often the label model's guess is wrong among the rows that `pricecut review` chooses, and among all train rows.

``python -m benchmarks.review APP ...`` reads what the stages up to `audit` wrote, and the known labels of train rows, which nothing
that is learned from may see; it writes JSON to standard output.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from labeling.review import Pool, Question, choose_questions, read_pool
from ledger.errors import PricecutError
from ledger.places import Places

COUNTS = (20, 50, 100, 200)


def wrong_guesses(questions: Sequence[Question], truth: Mapping[str, str]) -> dict[str, Any]:
    """Count the wrong guesses among questions whose row's label is known: in all, and a reason.

    Parameters
    ----------
    questions : sequence of Question
        The rows.
    truth : mapping of str to str
        The known label of a row.
    """
    reasons: dict[str, list[bool]] = {}
    for question in questions:
        if question.row_id in truth:
            reasons.setdefault(question.why, []).append(question.guess != truth[question.row_id])
    wrong, rows = sum(sum(found) for found in reasons.values()), sum(len(found) for found in reasons.values())
    return {
        "rows": rows,
        "wrong": wrong,
        "share": round(wrong / rows, 4) if rows else None,
        "reasons": {why: f"{sum(found)} of {len(found)}" for why, found in reasons.items()},
    }


def all_rows(pool: Pool, labels: Sequence[str]) -> list[Question]:
    """Return every row of the pool as a question: what drawing by lot is expected to find."""
    guesses = pool.probabilities.argmax(axis=1)
    ids = pool.rows["row_id"].to_list()
    return [Question(row_id, "", labels[guess], 0.0, "all") for row_id, guess in zip(ids, guesses, strict=True)]


def measure(places: Places) -> dict[str, Any]:
    """Measure an app."""
    labels, pool = read_pool(places)
    truth = {row_id: labels[number] for row_id, number in pl.read_parquet(places.truth).iter_rows()}
    chosen = {str(count): wrong_guesses(choose_questions(pool, labels, count), truth) for count in COUNTS}
    return {"app": places.app, "all": wrong_guesses(all_rows(pool, labels), truth), "chosen": chosen}


def main(apps: Sequence[str]) -> int:
    """Measure apps; return the exit code."""
    try:
        found = [measure(Places(app)) for app in apps]
    except PricecutError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    sys.stdout.write(json.dumps(found, ensure_ascii=False, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or ["customer_service"]))
