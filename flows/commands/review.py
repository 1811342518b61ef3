"""`pricecut review`: rows out to people, answers back in as gold."""

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from flows.root import enter_root
from flows.shell import AppName, AsIs, AsJson, bring_up_to, show, tell
from ledger.errors import ConfigurationError, DataError
from ledger.places import Places

SUFFIXES = (".csv", ".json")


def review(
    app: AppName,
    export: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write rows to label: .csv, or .json for Label Studio.")
    ] = None,
    import_: Annotated[
        str | None, typer.Option("--import", metavar="FILE", help="Read the labeled rows back: gold.csv gets them.")
    ] = None,
    rows: Annotated[int, typer.Option(min=1, help="How many rows to write.")] = 50,
    by: Annotated[str | None, typer.Option(metavar="NAME", help="Who labeled the rows that are read.")] = None,
    newer_wins: Annotated[
        bool, typer.Option("--newer-wins", help="Take answers that differ from what was answered before.")
    ] = False,
    partial: Annotated[
        bool, typer.Option("--partial", help="Take the answers in order, leave those at fault.")
    ] = False,
    as_is: AsIs = False,
    as_json: AsJson = False,
) -> None:
    """Write the rows most worth a person's minute, each with its reason; read the labeled rows back as gold.

    Never a test row. Fill the column `label`; answers go to gold.csv beside functions.py, with who and when: commit it.
    """
    from flows.apps import registered_app

    caller = enter_root()
    registered_app(app)
    file = export or import_
    if file is None or (export and import_):
        raise ConfigurationError("expected either --export FILE or --import FILE")
    path = caller / file
    path = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    if path.suffix not in SUFFIXES:
        raise ConfigurationError(f"{file}: expected a name that ends in {' or '.join(SUFFIXES)} (Label Studio's)")
    if export:
        write_questions(app, path, rows, as_is, as_json)
    elif by is None or not by.strip():
        raise ConfigurationError("--import: who labeled these rows? say it with --by NAME")
    else:
        read_answers(app, path, by.strip(), newer_wins, partial, as_is, as_json)


def write_questions(app: str, path: Path, count: int, as_is: bool, as_json: bool) -> None:
    """Choose rows and write them for a person."""
    from rich.text import Text

    from labeling.app import read_app
    from labeling.label_models import read_label_model
    from labeling.label_studio import configuration, write_tasks
    from labeling.review import choose_questions, read_pool
    from labeling.review_table import write_table

    if path.exists():
        raise DataError(f"{path}: stands already, and may hold someone's answers; import it, or name another file")
    if not path.parent.is_dir():
        raise DataError(f"{path.parent}: no such folder; make it, or name another file")
    if not as_is:
        bring_up_to(app, "audit")
    places = Places(app)
    labels, pool = read_pool(places)
    questions = choose_questions(pool, labels, count)
    if not questions:
        raise DataError(f"{places.corpus}: no row is left to ask about; every train row was answered")
    written = [path]
    if path.suffix == ".csv":
        write_table(path, questions)
    else:
        kind = read_label_model(places.label_model).kind
        write_tasks(path, questions, f"pricecut's label model, {kind}")
        written.append(path.with_suffix(".labeling.xml"))
        written[1].write_text(configuration(read_app(places).title, labels), encoding="utf-8")
    reasons = dict(Counter(question.why for question in questions).most_common())
    told = ", ".join(f"{number} {why}" for why, number in reasons.items())
    lines = [f"wrote {len(questions)} rows to {path}: {told}"]
    if len(written) > 1:
        lines.append(
            f"wrote {written[1]}: paste it under Settings, Labeling Interface, Code of a project; then import the rows"
        )
    lines.append(f"Next: label them ({', '.join(labels)}), then pricecut review {app} --import {path} --by NAME")
    document = {
        "files": [str(one) for one in written],
        "rows": len(questions),
        "reasons": reasons,
        "questions": [question.as_json() for question in questions],
    }
    show(document, Text("\n".join(lines)), as_json)


def read_answers(app: str, path: Path, by: str, newer_wins: bool, partial: bool, as_is: bool, as_json: bool) -> None:
    """Take answers over as gold."""
    from rich.text import Text

    from labeling.accept import judge
    from labeling.corpus import read_corpus
    from labeling.gold import add_answers
    from labeling.gold import read_answers as read_gold
    from labeling.label_studio import read_export
    from labeling.review_table import read_table

    given = read_table(path) if path.suffix == ".csv" else read_export(path)
    if not as_is:
        bring_up_to(app, "fuse")
    places = Places(app)
    labels, corpus = read_corpus(places.corpus)
    texts = dict(corpus.select("row_id", "text").iter_rows())
    now = datetime.now(UTC).isoformat(timespec="seconds")
    verdict = judge(given, texts, labels, read_gold(places.gold_answers, labels), by, now, newer_wins)
    if verdict.faults and not partial:
        told = "\n".join(verdict.faults)
        raise DataError(f"{told}\nnothing was imported; mend what is said here, or leave it out with --partial")
    for fault in verdict.faults:
        tell(f"left out: {fault}")
    added = add_answers(places.gold_answers, labels, verdict.answers)
    resumed = go_on(app) if added else []
    document = {
        "file": str(path),
        "answers": len(given),
        "added": len(added),
        "nothing_new": len(verdict.answers) - len(added),
        "left_out": len(verdict.faults),
        "gold": str(places.gold_answers),
        "resumed": resumed,
    }
    text = (
        f"added to {places.gold_answers}: {len(added)} (said nothing new: {document['nothing_new']}, left out: {len(verdict.faults)})\n"
        f"Next: commit it; pricecut functions {app} measures with these rows as gold, pricecut agree {app} agrees anew"
    )
    if resumed:
        text += f"\nthe scheduled run that waited for these answers goes on: {', '.join(resumed)}"
    show(document, Text(text), as_json)


def go_on(app: str) -> list[str]:
    """Resume the scheduled runs that wait for an app's answers; a server that does not answer loses no answer."""
    from flows.waiting import has_server, resume

    if not has_server():
        return []
    import httpx
    from prefect.exceptions import FlowPauseTimeout, NotPausedError

    try:
        return resume(app)
    except (httpx.HTTPError, NotPausedError, FlowPauseTimeout, RuntimeError) as error:
        tell(f"no scheduled run was resumed ({type(error).__name__}); see `prefect flow-run ls --state Suspended`")
        return []
