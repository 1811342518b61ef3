"""Fifty functions twice: as declared ones and as Snorkel's own, voting the same; fifty row functions; and messages to vote on.

The messages are generated: phrases of a customer service and of video comments, drawn and joined; about 90 characters each.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import polars as pl
from snorkel.labeling import LabelingFunction

from labeling.functions import ABSTAIN, column, expression, keyword, regex

LABELS = ("HAM", "SPAM")
HAM, SPAM = 0, 1

OPENINGS = (
    "hello there,",
    "hi all",
    "Good morning!",
    "dear team,",
    "hey guys",
    "",
    "",
    "WOW",
    "please help:",
    "thanks,",
)
PHRASES = (
    "I was charged twice for my order",
    "the parcel has not arrived",
    "check out my channel",
    "I love this song",
    "my password does not work",
    "where is the tracking number",
    "subscribe to my page",
    "the best video ever",
    "how do I send it back",
    "click here www.example.com",
    "the screen stays black",
    "free gift card for everyone",
    "this reminds me of 2012",
    "please refund the fee",
    "my invoice shows the wrong amount",
    "who is still listening",
    "the courier left it outside",
    "earn money from home",
    "the battery dies within an hour",
    "what a voice she has",
    "can you unlock my account",
    "I changed my mind about the coat",
    "watch it on http://t.example/x",
    "the wifi drops every evening",
    "my friends and I dance to it",
    "follow me on twitter",
    "the receipt is missing",
    "nobody came to the door",
    "it is too small for me",
    "see you at the concert",
)
ENDINGS = (".", "!", "!!", "?", " :)", "...", " thx", "", " ♥", " lol")
TOPICS = (
    ("invoice", "receipt", "fee"),
    ("parcel", "courier"),
    ("tracking number",),
    ("refund", "money back"),
    ("password", "log in"),
    ("unlock", "locked out"),
    ("screen", "display"),
    ("battery", "wifi"),
    ("gift card", "giveaway"),
    ("subscribe", "subscribers"),
    ("check out", "my channel"),
    ("twitter", "facebook", "instagram"),
    ("song", "music"),
    ("video", "clip"),
    ("voice", "singer"),
    ("concert", "tour"),
    ("send it back", "return label"),
    ("too small", "wrong colour"),
    ("earn", "cash"),
    ("free",),
    ("friends",),
    ("coat", "shirt", "shoes"),
    ("thanks", "thx"),
    ("dance",),
    ("hello", "good morning"),
)
PATTERNS = (
    r"\bcharged (?:once|twice|again)\b",
    r"https?:|www\.",
    r"\bnot (?:arrived|come|work)\b",
    r"check\s+out",
    r"\b(?:love|like)\b.{0,12}\b(?:song|video)\b",
    r"\b20(?:1[0-9]|2[0-9])\b",
    r"\bmy (?:page|channel|site)\b",
    r"\bwho is\b|\bwhere is\b",
    r"!!+$",
    r"\b(?:click|watch|follow)\b",
    r"\b(?:wrong|missing) amount\b",
    r"\bnobody\b|\boutside\b",
)
LENGTHS = (30, 45, 60, 80, 100, 120)
QUEUES = ("billing", "delivery", "spam", "music", "", "other")
AUTHORS = ("anna", "ben", "cleo", "bot", "promo")


def messages(count: int, seed: int = 7) -> pl.DataFrame:
    """Return invented messages: ``row_id``, ``text``, ``queue``, ``author``, ``sources``."""
    draw = np.random.default_rng(seed)

    def some(of: Sequence[str]) -> pl.Series:
        return pl.Series(of).gather(draw.integers(0, len(of), count))

    text = pl.concat_str([pl.col(name) for name in "abcd"], separator=" ") + pl.col("e")
    parts = pl.DataFrame(
        {"a": some(OPENINGS), "b": some(PHRASES), "c": some(PHRASES), "d": some(PHRASES), "e": some(ENDINGS)}
    )
    return parts.select(
        row_id="m" + pl.int_range(count).cast(pl.String),
        text=text,
        queue=some(QUEUES),
        author=some(AUTHORS),
        sources=pl.concat_list(pl.lit("mail")),
    )


def declared() -> list[LabelingFunction]:
    """Return fifty declared functions: 25 of keywords, 12 patterns, 8 expressions, 5 columns."""
    length = pl.col("text").str.len_chars()
    return [
        *(keyword(f"keyword_{i}", LABELS[i % 2], words) for i, words in enumerate(TOPICS)),
        *(regex(f"regex_{i}", LABELS[i % 2], pattern) for i, pattern in enumerate(PATTERNS)),
        *(expression(f"length_{i}", LABELS[i % 2], length < least) for i, least in enumerate(LENGTHS)),
        expression("asks", "HAM", pl.col("text").str.ends_with("?")),
        expression("cheers", "HAM", pl.col("text").str.contains("♥", literal=True)),
        *(column(f"queue_{i}", "queue", {queue: LABELS[i % 2]}) for i, queue in enumerate(QUEUES[:3])),
        *(column(f"author_{i}", "author", {author: "SPAM"}) for i, author in enumerate(AUTHORS[3:])),
    ]


def _coded(name: str, function: Callable[..., int], **resources: Any) -> LabelingFunction:
    return LabelingFunction(name, function, resources=resources)


def _searches(x: Any, pattern: re.Pattern[str], label: int) -> int:
    return label if pattern.search(x.text) else ABSTAIN


def _shorter(x: Any, least: int, label: int) -> int:
    return label if len(x.text) < least else ABSTAIN


def _asks(x: Any) -> int:
    return HAM if x.text.endswith("?") else ABSTAIN


def _cheers(x: Any) -> int:
    return HAM if "♥" in x.text else ABSTAIN


def _queue_is(x: Any, queue: str, label: int) -> int:
    return label if x.queue == queue else ABSTAIN


def _author_is(x: Any, author: str, label: int) -> int:
    return label if x.author == author else ABSTAIN


def declared_in_python() -> list[LabelingFunction]:
    """Return the same fifty as a user of Snorkel writes them; patterns are compiled once."""
    functions = []
    for i, words in enumerate(TOPICS):
        phrases = "|".join(r"\s+".join(map(re.escape, word.split())) for word in words)
        pattern = re.compile(rf"(?:^|\W)(?:{phrases})(?:\W|$)", re.IGNORECASE)
        functions.append(_coded(f"keyword_{i}", _searches, pattern=pattern, label=i % 2))
    for i, written in enumerate(PATTERNS):
        functions.append(_coded(f"regex_{i}", _searches, pattern=re.compile(written, re.IGNORECASE), label=i % 2))
    functions += [_coded(f"length_{i}", _shorter, least=least, label=i % 2) for i, least in enumerate(LENGTHS)]
    functions += [_coded("asks", _asks), _coded("cheers", _cheers)]
    functions += [_coded(f"queue_{i}", _queue_is, queue=queue, label=i % 2) for i, queue in enumerate(QUEUES[:3])]
    return functions + [
        _coded(f"author_{i}", _author_is, author=author, label=SPAM) for i, author in enumerate(AUTHORS[3:])
    ]


def _keyword_lookup(x: Any, keywords: Sequence[str], label: int) -> int:
    """Vote as the function of the same name in Snorkel's spam tutorial does."""
    if any(word in x.text.lower() for word in keywords):
        return label
    return ABSTAIN


def _words_fewer(x: Any, least: int, label: int) -> int:
    return label if len(x.text.split()) < least else ABSTAIN


def _shouts(x: Any, share: float) -> int:
    text = x.text
    return SPAM if sum(sign.isupper() for sign in text[:20]) > share * 20 else ABSTAIN


def _repeats(x: Any) -> int:
    words = x.text.lower().split()
    return SPAM if len(words) - len(set(words)) > 3 else ABSTAIN


def row_functions() -> list[LabelingFunction]:
    """Return fifty row functions of Snorkel: 25 by its tutorial's keyword_lookup, 12 patterns, 13 of what only code can say."""
    return [
        *(_coded(f"lookup_{i}", _keyword_lookup, keywords=list(words), label=i % 2) for i, words in enumerate(TOPICS)),
        *(
            _coded(f"search_{i}", _searches, pattern=re.compile(pattern, re.IGNORECASE), label=i % 2)
            for i, pattern in enumerate(PATTERNS)
        ),
        *(_coded(f"words_{i}", _words_fewer, least=least // 5, label=i % 2) for i, least in enumerate(LENGTHS)),
        _coded("shouts", _shouts, share=0.1),
        _coded("repeats", _repeats),
        *(_coded(f"queue_{i}", _queue_is, queue=queue, label=i % 2) for i, queue in enumerate(QUEUES[:3])),
        *(_coded(f"author_{i}", _author_is, author=author, label=SPAM) for i, author in enumerate(AUTHORS[3:])),
    ]
