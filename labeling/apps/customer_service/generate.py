"""`generate`: invents the customers' messages of this app, seeded, with known truth.

Nobody wrote these messages. Three sources hold them in three formats with different columns; they overlap (the same
complaint comes as an e-mail and as a ticket), contradict each other about the product and the plan, and have the usual
faults: rows without text, a label nobody knows, mangled encodings.
"""

import json
import logging
import random
import string
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from ledger.meter import Usage
from ledger.parameters import Parameters, read_parameters
from ledger.places import Places
from ledger.stage import run_stage

logger = logging.getLogger(__name__)

SOURCES = ("email", "chat", "tickets")
RIGHT = {"email": 0.9, "chat": 0.7, "tickets": 0.97}
"""How often a source states the true product and plan: what `fuse` has to find out."""

QUEUE_RIGHT = 0.8
"""How often the agent who opens a ticket picks the true queue, in a hurry."""

OVERLAP = 0.25


class GenerateParameters(Parameters):
    """Section ``generate`` of ``params.yaml``."""

    seed: int
    messages: int


@dataclass(frozen=True)
class Message:
    """One invented complaint, as it truly is."""

    number: int
    text: str
    queue: str
    product: str
    plan: str
    customer: str
    day: str


def main(places: Places, usage: Usage) -> None:
    """Invent the messages and write the three sources."""
    parameters = read_parameters("generate", GenerateParameters)
    phrases = yaml.safe_load((places.app_folder / "phrases.yaml").read_text(encoding="utf-8"))
    draw = random.Random(parameters.seed)

    messages = [invent(number, phrases, draw) for number in range(parameters.messages)]
    told = tell(messages, phrases, draw)

    folder = places.root / "data" / places.app / "sources"
    folder.mkdir(parents=True, exist_ok=True)
    write_email(told["email"], folder / "email.csv")
    write_chat(told["chat"], folder / "chat.jsonl")
    write_tickets(told["tickets"], folder / "tickets.parquet")
    logger.info("invented %d messages: %s", len(messages), {name: len(rows) for name, rows in told.items()})
    usage.figures["messages"] = len(messages)


def invent(number: int, phrases: dict[str, Any], draw: random.Random) -> Message:
    """Invent one complaint: a queue, then a problem of that queue in one customer's manner."""
    queue = draw.choice(list(phrases["queues"]))
    product, name = draw.choice(phrases["products"]), draw.choice(phrases["names"])
    slots = {
        "product": product,
        "name": name,
        "number": str(draw.randrange(10_000, 99_999)),
        "amount": f"{draw.randrange(5, 400)}.{draw.randrange(100):02d}",
        "count": str(draw.randrange(2, 40)),
        "day": draw.choice(phrases["days"]),
        "month": draw.choice(phrases["months"]),
        "city": draw.choice(phrases["cities"]),
    }
    own = phrases["queues"][queue]
    core = [sentence(draw.choice(own["problem"]), slots, draw)]
    if draw.random() < 0.6:
        core.append(sentence(draw.choice(own["ask"]), slots, draw))
    extras = [
        draw.choice(phrases[part])
        for part, share in (("context", 0.5), ("aside", 0.25), ("mood", 0.5))
        if draw.random() < share
    ]
    body = core + [extra.format(**slots) for extra in extras if extra]
    draw.shuffle(body)
    parts = [draw.choice(phrases["opening"]), *body, draw.choice(phrases["closing"]).format(**slots)]
    text = mistype(" ".join(part for part in parts if part), draw)
    day = f"2026-{draw.randrange(1, 11):02d}-{draw.randrange(1, 29):02d}"
    return Message(number, text, queue, product, draw.choice(phrases["plans"]), name, day)


def sentence(template: str, slots: dict[str, str], draw: random.Random) -> str:
    """Fill a template and write it as a sentence, in one of the ways people do."""
    filled = template.format(**slots)
    style = draw.random()
    if style < 0.15:
        return filled
    if style < 0.2:
        return filled.upper() + "!"
    return filled[0].upper() + filled[1:] + draw.choice([".", ".", "!", "..."])


def mistype(text: str, draw: random.Random, share: float = 0.012) -> str:
    """Swap, drop or double a letter here and there."""
    letters = list(text)
    for i in range(len(letters) - 1):
        if letters[i] in string.ascii_lowercase and draw.random() < share:
            match draw.randrange(3):
                case 0:
                    letters[i], letters[i + 1] = letters[i + 1], letters[i]
                case 1:
                    letters[i] = ""
                case _:
                    letters[i] *= 2
    return "".join(letters)


def tell(messages: list[Message], phrases: dict[str, Any], draw: random.Random) -> dict[str, list[dict[str, Any]]]:
    """Let each message arrive by one source, some by two; each source has its own errors."""
    told: dict[str, list[dict[str, Any]]] = {source: [] for source in SOURCES}
    for message in messages:
        first = draw.choice(SOURCES)
        told[first].append(record(message, first, message.text, phrases, draw))
        if draw.random() < OVERLAP:
            second = draw.choice([source for source in SOURCES if source != first])
            copied = draw.choice(["Fwd: {}", "{} [copied]", "{}", "  {}"]).format(message.text)
            told[second].append(record(message, second, copied, phrases, draw))
    for rows in told.values():
        spoil(rows, draw)
        draw.shuffle(rows)
    return told


def record(message: Message, source: str, text: str, phrases: dict[str, Any], draw: random.Random) -> dict[str, Any]:
    """State a message as one source does: right about product and plan as often as the source is."""

    def stated(truth: str, choices: list[str]) -> str:
        return truth if draw.random() < RIGHT[source] else draw.choice([c for c in choices if c != truth])

    queues = list(phrases["queues"])
    return {
        "number": message.number,
        "text": text,
        "truth": message.queue,
        "queue": message.queue if draw.random() < QUEUE_RIGHT else draw.choice(queues),
        "product": stated(message.product, phrases["products"]),
        "plan": stated(message.plan, phrases["plans"]),
        "customer": message.customer,
        "day": message.day,
    }


def spoil(rows: list[dict[str, Any]], draw: random.Random) -> None:
    """Give a few rows the faults that real exports have."""
    for row in draw.sample(rows, 6):
        row["text"] = draw.choice(["", "   ", None])
    for row in draw.sample(rows, 3):
        row["truth"] = "complaints-old"
    for row in draw.sample(rows, 8):
        if row["text"]:
            row["text"] = (row["text"] + " – merci, ça va").encode().decode("cp1252", errors="replace")


def write_email(rows: list[dict[str, Any]], path: Path) -> None:
    """Write the mail server's export, a CSV."""
    pl.DataFrame(
        {
            "MessageId": [f"m{row['number']}" for row in rows],
            "From": [row["customer"] for row in rows],
            "Received": [row["day"] for row in rows],
            "Body": [row["text"] for row in rows],
            "Article": [row["product"] for row in rows],
            "Truth": [row["truth"] for row in rows],
        }
    ).write_csv(path)


def write_chat(rows: list[dict[str, Any]], path: Path) -> None:
    """Write the chat tool's export, JSON lines."""
    lines = [
        {
            "chat": row["number"],
            "said": row["text"],
            "who": row["customer"],
            "item": row["product"],
            "tier": row["plan"],
            "truth": row["truth"],
        }
        for row in rows
    ]
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")


def write_tickets(rows: list[dict[str, Any]], path: Path) -> None:
    """Write the ticket system's table, Parquet."""
    pl.DataFrame(
        {
            "ticket_no": [row["number"] for row in rows],
            "description": [row["text"] for row in rows],
            "opened": [row["day"] for row in rows],
            "agent_queue": [row["queue"] for row in rows],
            "product": [row["product"] for row in rows],
            "plan": [row["plan"] for row in rows],
            "truth": [row["truth"] for row in rows],
        }
    ).write_parquet(path)


if __name__ == "__main__":
    run_stage("generate", main)
