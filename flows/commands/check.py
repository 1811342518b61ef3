"""`pricecut check` and `pricecut agree`: what is wrong with an app, and what its functions are held to."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from flows.root import enter_root
from flows.shell import MEND, AppName, AsIs, AsJson, bring_sources, bring_up_to, show
from ledger.errors import DataError, FunctionError
from ledger.places import Places


def check(app: AppName, as_json: AsJson = False) -> None:
    """Find what is wrong with an app before anything runs: configuration, sources, functions and their examples.

    Each fault has its file and line; exits with 2 if there is one. Dead, duplicate and contradictory functions are warnings.
    """
    from flows.apps import registered_app
    from labeling.check import Findings, examine_app, find_faults

    enter_root()
    places = Places(app)
    # Sources that a stage invents (customer_service) are not there in a fresh clone.
    if places.app_folder.is_dir():
        sources = registered_app(app).sources
        bring_sources(sources)
        found = examine_app(places, sources)
    else:
        found = Findings(tuple(find_faults(places, Path())), ())
    if as_json:
        document = {"app": app, "faults": found.faults, "warnings": found.warnings}
        print(json.dumps(document, ensure_ascii=False, indent=2))
    else:
        print(
            "\n".join([*found.faults, *(f"warning: {warning}" for warning in found.warnings)] or [IN_ORDER.format(app)])
        )
    if found.faults:
        raise typer.Exit(MEND)


IN_ORDER = "{}: configuration, sources and functions are in order"


def agree(
    app: AppName,
    function: Annotated[
        list[str] | None, typer.Option("--function", help="Only this function; may be given again. None: all.")
    ] = None,
    tolerance: Annotated[
        float, typer.Option(min=0, max=1, help="How far an accuracy may fall; by one gold vote in any case.")
    ] = 0.02,
    coverage: Annotated[bool, typer.Option("--coverage", help="Hold coverage too.")] = False,
    as_is: AsIs = False,
    as_json: AsJson = False,
) -> None:
    """Agree on what the functions measure on gold today: `vote` refuses an edit that brings one below.

    Writes agreed.yaml beside functions.py; commit it. Functions that are gone are dropped from it.
    """
    from flows.apps import registered_app
    from flows.editing_tables import agreed_table
    from labeling.agreed import read_agreed, write_agreed
    from labeling.ballot import cast_votes
    from labeling.gate import agree as agree_on

    enter_root()
    registered_app(app)
    places = Places(app)
    if not as_is:
        bring_up_to(app, "fuse")  # not `vote`, which would refuse what is to be agreed on
    ballot = cast_votes(places)
    if unknown := sorted(set(function or []) - set(ballot.names)):
        raise FunctionError(f"no function '{unknown[0]}' in {app}; expected one of {', '.join(ballot.names)}")
    if "gold" not in ballot.rows["split"]:
        raise DataError(
            f"{places.corpus}: no gold row, so nothing to agree on; label some: `pricecut review {app} --export rows.csv`"
        )
    before = read_agreed(places)
    now = datetime.now(UTC).replace(microsecond=0)
    measured = agree_on(ballot.names, ballot.matrix, ballot.rows, tolerance, coverage, now)
    new = {name: measured[name] for name in (function or ballot.names) if name in measured}
    kept = {name: about for name, about in before.items() if name in ballot.names} if function is None else before
    write_agreed(places.agreed, kept | new)
    document = {name: about.model_dump(mode="json", exclude={"wrong"}) for name, about in new.items()}
    show(document, agreed_table(app, new, before, places.agreed), as_json)
