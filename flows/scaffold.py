"""`pricecut new`: an app's folder that runs as it stands, to be filled with what is one's own."""

import random
import re
from pathlib import Path

from flows.root import DAG_FILE
from labeling.agreed import HEADER as AGREED_HEADER
from labeling.app import APP_NAME
from labeling.gold import HEADER as GOLD_HEADER
from ledger.errors import ConfigurationError
from ledger.parameters import PARAMETERS_FILE, line_of, read_yaml
from ledger.places import Places

ROWS = 240

CONFIGURATION = """\
title: Is a review of the product good or bad?
labels: [bad, good]
generated: Every row here was invented by `pricecut new`; replace them, then remove this line.
sources:
  reviews:
    file: reviews.csv
    # Ours: theirs. `label` is a hand's label, where a row has one: for choosing and measuring, never for training.
    columns: {id: number, text: review, label: checked, stars: stars}
"""

FUNCTIONS = '''\
"""Labeling functions: each votes for a label or abstains. See docs/data_team.md."""

import polars as pl
from snorkel.labeling import labeling_function

from labeling.functions import column, expression, keyword, regex


@labeling_function()
def never_again(x):
    """A Snorkel function: a label's name or number, or None to abstain."""
    return "bad" if "never again" in x.text.lower() else None


FUNCTIONS = [
    keyword("praise", "good", ["great", "love", "perfect", "recommend", "works well"]),
    keyword("blame", "bad", ["broken", "refund", "waste", "disappointed", "stopped working"]),
    regex("lasted", "bad", r"\\b(?:after|lasted) (?:one|two|three|a few) (?:days?|weeks?)\\b"),
    expression("shouts", "bad", pl.col("text").str.contains("!!")),
    column("stars", "stars", {"1": "bad", "2": "bad", "4": "good", "5": "good"}),
    never_again,
]
'''

KNOWLEDGE = """\
Tables of terms that `knowledge(...)` functions of this app's `functions.py` read: CSV, JSON lines or YAML.
An edit here runs `vote` again. See docs/labeling_functions.md.
"""

THINGS = ("kettle", "lamp", "chair", "clock", "radio", "bike", "coat", "knife", "shelf", "pan", "phone", "mirror")
ROOMS = ("kitchen", "office", "garden", "cellar", "hall", "studio", "workshop", "bedroom")
GOOD = (
    "great {thing}, it works well in our {room}",
    "I love this {thing} and use it daily in the {room}",
    "the {thing} is perfect for the {room}, I would recommend it",
    "a solid {thing} for the {room}, quick delivery too",
    "happy with the {thing}, my {person} wants one for the {room} as well",
)
BAD = (
    "the {thing} arrived broken and the {room} is still without one",
    "I want a refund for this {thing}, it never fitted the {room}!!",
    "a waste of money, the {thing} stopped working in the {room}",
    "disappointed: the {thing} lasted two weeks in our {room}",
    "this {thing} in the {room}? never again, said my {person}",
)
PEOPLE = ("sister", "brother", "neighbour", "mother", "colleague", "landlord")


def create_app(name: str) -> list[Path]:
    """Write an app that runs: configuration, functions, invented rows; and list it in ``params.yaml``.

    Parameters
    ----------
    name : str
        Small letters, digits and underscores, a letter first.

    Returns
    -------
    list of Path
        What was written or changed.

    Raises
    ------
    ConfigurationError
        If the name cannot be one, or stands for something already; nothing is written then.
    """
    if not APP_NAME.fullmatch(name):
        raise ConfigurationError(
            f"'{name}': expected an app's name of small letters, digits and _, a letter first, such as reviews"
        )
    places = Places(name)
    sources = Path("data") / name / "sources"
    for path in (places.app_folder, sources):
        if path.exists():
            raise ConfigurationError(f"{path}: stands already; choose another name, or move it away")
    listed = with_app(PARAMETERS_FILE, name, sources)

    places.knowledge.mkdir(parents=True)
    sources.mkdir(parents=True)
    written = {
        places.app_folder / "app.yaml": CONFIGURATION,
        places.app_folder / "functions.py": FUNCTIONS,
        places.knowledge / "README.md": KNOWLEDGE,
        places.agreed: AGREED_HEADER,
        places.gold_answers: ",".join(GOLD_HEADER) + "\n",
        sources / "reviews.csv": invented_rows(),
        PARAMETERS_FILE: listed,
    }
    if DAG_FILE.exists():
        written[DAG_FILE] = with_artifact(DAG_FILE, name, places.published)
    for path, text in written.items():
        path.write_text(text, encoding="utf-8")
    return list(written)


def with_app(path: Path, name: str, sources: Path) -> str:
    """Return ``params.yaml`` with one more app, every other line as it was.

    Raises
    ------
    ConfigurationError
        If the app is listed already, or the file has no list to add to.
    """
    text = path.read_text(encoding="utf-8")
    apps = read_yaml(path).get("apps")
    if not isinstance(apps, dict) or not apps:
        raise ConfigurationError(
            f"{path}: expected a section 'apps:' with at least one app; add it (see docs/parameters.md)"
        )
    if name in apps:
        raise ConfigurationError(
            f"{path}:{line_of(path, ('apps', name))}: app '{name}' is listed already; choose another name"
        )
    lines = text.splitlines(keepends=True)
    first = line_of(path, ("apps", next(iter(apps)))) - 1
    indent = re.match(r"\s*", lines[first])
    margin = indent[0] if indent else "  "
    lines.insert(first, f"{margin}{name}:\n{margin}  sources: {sources.as_posix()}\n")
    return "".join(lines)


def with_artifact(path: Path, name: str, model: Path) -> str:
    """Return ``dvc.yaml`` with one more model in DVC's registry, every other line as it was."""
    text = path.read_text(encoding="utf-8")
    artifacts = read_yaml(path).get("artifacts") or {}
    if name in artifacts:
        return text
    entry = f"  {name}:\n    path: {model.as_posix()}\n    type: model\n"
    if not artifacts:
        return f"{text.rstrip()}\n\nartifacts:\n{entry}"
    lines = text.splitlines(keepends=True)
    lines.insert(line_of(path, ("artifacts", next(iter(artifacts)))) - 1, entry)
    return "".join(lines)


def invented_rows() -> str:
    """Return the CSV that a new app starts with; half of its rows are labeled."""
    draw = random.Random(1)
    lines = ["number,review,stars,checked"]
    for number in range(ROWS):
        good = draw.random() < 0.5
        words = {"thing": draw.choice(THINGS), "room": draw.choice(ROOMS), "person": draw.choice(PEOPLE)}
        text = f"{draw.choice(GOOD if good else BAD).format(**words)} (order {draw.randrange(1000, 9999)})"
        stars = draw.choice("45" if good else "12") if draw.random() < 0.8 else "3"
        label = ("good" if good else "bad") if draw.random() < 0.5 else ""
        lines.append(f'{number},"{text}",{stars},{label}')
    return "\n".join(lines) + "\n"
