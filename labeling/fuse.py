"""`fuse`: the records of all sources become one corpus; near-duplicates merge, conflicts settle, the test stands apart."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import polars as pl
from pydantic import Field

from labeling.app import App, read_app
from labeling.collect import clean
from labeling.duplicates import near_duplicate_groups
from labeling.gold import Answer, latest, read_answers, standing_answers
from labeling.reconcile import Claim, estimate_reliability, reconcile
from labeling.sources import read_wrench
from labeling.splits import GOLD, TEST, TRAIN, published_splits, shared_splits, strictest
from ledger.errors import DataError
from ledger.meter import Usage
from ledger.parameters import Parameters, read_parameters
from ledger.places import Places
from ledger.stage import run_stage

logger = logging.getLogger(__name__)

Record = dict[str, Any]
Share = Annotated[float, Field(ge=0, lt=1)]


class FuseParameters(Parameters):
    """Section ``fuse`` of ``params.yaml``."""

    near_duplicate: Annotated[float, Field(gt=0, le=1)]
    gold: Share
    test: Share
    seed: int


def main(places: Places, usage: Usage, sources: str) -> None:
    """Fuse the app's records into its corpus."""
    app = read_app(places)
    parameters = read_parameters("fuse", FuseParameters)
    records = with_published_split(pl.read_parquet(places.records), app, Path(sources))

    groups = near_duplicate_groups(records["text"].to_list(), parameters.near_duplicate)
    families = gather(records, groups.tolist())
    reliability = estimate_reliability(
        disputes(families, app), {name: s.reliability for name, s in app.sources.items()}
    )
    texts = dict(zip(records["record"], records["text"], strict=True))
    reviewed, passed_over = standing_answers(read_answers(places.gold_answers, app.labels), texts)
    messages, set_aside, conflicts = fuse(families, app, reliability, parameters, reviewed)
    if passed_over:
        logger.warning(
            "%s: %d answers are passed over: their row is gone, or its text has changed",
            places.gold_answers,
            passed_over,
        )
    logger.info(
        "%d records, %d messages; %d set aside, each with its reason", records.height, len(messages), len(set_aside)
    )

    table = to_table(messages, app)
    check_classes(table, app, places)
    write(places, table, set_aside, app)
    splits = dict(table.group_by("split").len().sort("split").iter_rows())
    report = {
        "records": records.height,
        "messages": table.height,
        "merged": sum(row["reason"].startswith("merged") for row in set_aside),
        "held_back": sum(row["reason"].startswith("held back") for row in set_aside),
        "conflicts": sum(conflicts.values()),
        "fields": {field: {"conflicts": n} for field, n in sorted(conflicts.items())},
        "splits": {split: splits.get(split, 0) for split in (TRAIN, GOLD, TEST)},
        "reviewed": {"rows": len(reviewed), "passed_over": passed_over},
        "reliability": reliability,
    }
    places.fuse_report.parent.mkdir(parents=True, exist_ok=True)
    places.fuse_report.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    usage.figures["messages"] = table.height


def with_published_split(records: pl.DataFrame, app: App, folder: Path) -> pl.DataFrame:
    """Fill the records' ``split`` from the app's published splits, if it has any."""
    if app.split is None:
        return records
    published: dict[str, list[str]] = {
        split: [clean(text) or "" for text in read_wrench(folder / file)["text"].to_list()]
        for split, file in app.split.published.items()
    }
    splits = published_splits(records["text"].to_list(), published)
    return records.with_columns(pl.Series("split", splits, dtype=pl.String))


def gather(records: pl.DataFrame, groups: list[int]) -> list[list[Record]]:
    """Gather the records of each group, groups in order of their first record."""
    families: dict[int, list[Record]] = {}
    for group, record in zip(groups, records.iter_rows(named=True), strict=True):
        families.setdefault(group, []).append(record)
    return list(families.values())


def claims_on(family: list[Record], field: str) -> list[Claim]:
    """Return what each record of a family says about one field, where it says something."""
    return [(record["source"], record[field]) for record in family if record[field] not in (None, "")]


def disputes(families: list[list[Record]], app: App) -> list[list[Claim]]:
    """Collect every field of every message that at least two sources describe, published test messages left out."""
    found = []
    for family in families:
        if any(record["split"] == TEST for record in family):
            continue  # what a test message says settles nothing that is learned from
        for field in app.fields:
            claims = claims_on(family, field)
            if len({source for source, _ in claims}) > 1:
                found.append(claims)
    return found


def fuse(
    families: list[list[Record]],
    app: App,
    reliability: dict[str, float],
    parameters: FuseParameters,
    reviewed: Mapping[str, Answer],
) -> tuple[list[Record], list[Record], dict[str, int]]:
    """Turn families of near-duplicates into messages.

    A family that holds a test record gives its test records, each as it stands (the test is never merged),
    and sets all its others aside. Any other family gives one message, or one a record where the app does not merge.
    A message of which a record was reviewed is gold, whatever is drawn, and has the label that was answered; a published test
    message stays what it is.

    Returns
    -------
    messages : list of dict
        ``row_id``, ``text``, ``label`` (a name or None), ``split``, ``sources``, ``records`` and the app's fields.
    set_aside : list of dict
        ``record``, ``kept`` (the message it is near to), ``reason``, ``text``.
    conflicts : dict of str to int
        How many messages had records that differ, a field.
    """
    messages: list[Record] = []
    set_aside: list[Record] = []
    conflicts: dict[str, int] = dict.fromkeys(("label", *app.fields), 0)
    unsplit: list[int] = []
    labeled: list[bool] = []  # by a source: an answer must not move the draw of other messages
    for family in families:
        published = [record["split"] for record in family]
        if TEST in published:
            tests = [record for record in family if record["split"] == TEST]
            messages.extend(settle([record], app, reliability, TEST) for record in tests if record["label"])
            set_aside.extend(
                aside(r, r, "a test message without a label: nothing to measure by") for r in tests if not r["label"]
            )
            reason = "held back: nearly the same as a test text"
            set_aside.extend(aside(record, tests[0], reason) for record in family if record["split"] != TEST)
            continue
        if app.split is not None and all(split is None for split in published):
            set_aside.extend(aside(record, record, "in none of the published splits") for record in family)
            continue
        for members in [family] if app.merge else [[record] for record in family]:
            for field in conflicts:
                conflicts[field] += len({value for _, value in claims_on(members, field)}) > 1
            known = [record["split"] for record in members if record["split"]]
            message = settle(members, app, reliability, strictest(known) if known else TRAIN)
            if not known:
                unsplit.append(len(messages))
                labeled.append(message["label"] is not None)
            if answers := [reviewed[r["record"]] for r in members if r["record"] in reviewed]:
                message |= {"label": latest(answers).label, "split": GOLD}
            if message["split"] == GOLD and message["label"] is None:
                message["split"] = TRAIN  # nothing to choose by, but text to learn from
            messages.append(message)
            kept = {"record": message["row_id"]}
            set_aside.extend(
                aside(r, kept, "merged: nearly the same text") for r in members if r["record"] != kept["record"]
            )
    drawn = shared_splits(
        [messages[i]["row_id"] for i in unsplit],
        labeled,
        parameters.gold,
        parameters.test,
        parameters.seed,
    )
    for i, split in zip(unsplit, drawn, strict=True):
        if messages[i]["split"] != GOLD:  # not yet drawn, so reviewed
            messages[i]["split"] = split
    return messages, set_aside, conflicts


def settle(members: list[Record], app: App, reliability: dict[str, float], split: str) -> Record:
    """Make one message of its records: the text of the most reliable source, each field by its claims.

    Where the records were published in several splits, the text is one of the split that the message is in.
    """
    best = min(members, key=lambda r: (r["split"] != split, -reliability[r["source"]], -len(r["text"]), r["record"]))
    return {
        "row_id": best["record"],
        "text": best["text"],
        "label": reconcile(claims_on(members, "label"), reliability),
        "split": split,
        "sources": sorted({record["source"] for record in members}),
        "records": sorted(record["record"] for record in members),
    } | {field: reconcile(claims_on(members, field), reliability) for field in app.fields}


def aside(record: Record, kept: Record, reason: str) -> Record:
    """Describe a record that is no row of the corpus."""
    return {"record": record["record"], "kept": kept["record"], "reason": reason, "text": record["text"]}


def to_table(messages: list[Record], app: App) -> pl.DataFrame:
    """Lay the messages out, in order of ``row_id``, labels as numbers (int8, -1 unknown)."""
    number = {label: i for i, label in enumerate(app.labels)}
    schema: dict[str, Any] = {
        "row_id": pl.String,
        "text": pl.String,
        "label": pl.Int8,
        "split": pl.String,
        "sources": pl.List(pl.String),
        "records": pl.List(pl.String),
    } | dict.fromkeys(app.fields, pl.String)
    rows = [message | {"label": number.get(message["label"], -1)} for message in messages]
    return pl.DataFrame(rows, schema=schema, orient="row").sort("row_id")


def check_classes(table: pl.DataFrame, app: App, places: Places) -> None:
    """Refuse a corpus that cannot be learned from or measured."""
    known = table.filter(pl.col("label") >= 0)
    if known.height and known["label"].n_unique() < 2:
        only = app.labels[known["label"][0]]
        raise DataError(
            f"{places.records}: every known label is '{only}'; expected at least two of {list(app.labels)}; "
            f"add labeled messages of another class to a source of {places.app_folder / 'app.yaml'}"
        )
    if table.filter((pl.col("split") == TEST) & (pl.col("label") >= 0)).height == 0:
        raise DataError(
            f"{places.records}: no labeled message for the test; map a 'label' column for some hand-labeled messages "
            f"in {places.app_folder / 'app.yaml'}, or raise fuse.test in params.yaml"
        )
    if table.filter(pl.col("split") == TRAIN).height == 0:
        raise DataError(f"{places.records}: no message is left to train on; every one is gold, test or held back")


def write(places: Places, table: pl.DataFrame, set_aside: list[Record], app: App) -> None:
    """Write the corpus without what it must not know: the test rows, and the known labels of train rows."""
    metadata = {"labels": json.dumps(app.labels, ensure_ascii=False)}
    is_train, is_test = pl.col("split") == TRAIN, pl.col("split") == TEST
    hidden = pl.when(is_train).then(pl.lit(-1, dtype=pl.Int8)).otherwise(pl.col("label")).alias("label")
    table.filter(~is_test).with_columns(hidden).write_parquet(places.corpus, metadata=metadata)
    table.filter(is_test & (pl.col("label") >= 0)).drop("split").write_parquet(places.test, metadata=metadata)
    table.filter(is_train & (pl.col("label") >= 0)).select("row_id", "label").write_parquet(
        places.truth, metadata=metadata
    )
    schema: dict[str, Any] = dict.fromkeys(("record", "kept", "reason", "text"), pl.String)
    pl.DataFrame(set_aside, schema=schema, orient="row").sort("record").write_parquet(places.set_aside)


if __name__ == "__main__":
    run_stage("fuse", main, "SOURCES")
