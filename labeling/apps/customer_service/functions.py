"""Labeling functions for the queues of a customer service: what a data team edits.

Four kinds are declared and run as one Polars plan; any function under Snorkel's ``@labeling_function`` works too.
"""

from types import SimpleNamespace

import polars as pl
from snorkel.labeling import labeling_function

from labeling.functions import column, expression, keyword, regex

text = pl.col("text").str.to_lowercase()


@labeling_function()
def asks_where(x: SimpleNamespace) -> str | None:
    """A question that starts with 'where' is about a parcel."""
    sentences = x.text.lower().replace("!", ".").split(".")
    return "delivery" if any(sentence.strip().startswith("where is") for sentence in sentences) else None


@labeling_function()
def something_is_broken(x: SimpleNamespace) -> str | None:
    """A product and a word for failing, in one message."""
    failing = (
        "not switch on",
        "closes as soon",
        "loses the",
        "noise",
        "black",
        "stops at",
        "ignores",
        "blinks",
        "error",
    )
    return "technical" if any(word in x.text.lower() for word in failing) else None


FUNCTIONS = [
    keyword("bill", "billing", ["bill", "invoice", "receipt", "statement", "VAT", "fee", "accountant", "direct debit"]),
    regex("charged", "billing", r"\b(?:charged|paid|payment|euros|discount|price)\b"),
    regex("money_back", "billing", r"\bdifference back|see the money|amount is for\b"),
    keyword(
        "parcel", "delivery", ["parcel", "package", "courier", "driver", "tracking", "carrier", "shipment", "depot"]
    ),
    regex(
        "not_arrived",
        "delivery",
        r"\b(?:in transit|no sign of it|nobody came|delivered|next-day|old address|missing from the box)\b",
    ),
    asks_where,
    keyword(
        "send_back",
        "returns",
        ["send it back", "return label", "return form", "exchange", "swap", "postage", "take it back"],
    ),
    regex(
        "unwanted",
        "returns",
        r"\b(?:changed my mind|too small|wrong colou?r|unopened|seal|do not need it|as a gift|refund|sent the .{3,20} back)\b",
    ),
    something_is_broken,
    keyword(
        "device",
        "technical",
        ["wifi", "battery", "firmware", "display", "screen", "remote", "app", "sound", "manual", "settings"],
    ),
    regex("how_to_fix", "technical", r"\b(?:reset it|a fix|connect to|talk me through|repair)\b"),
    keyword("login", "account", ["log in", "login", "password", "user name", "two-factor", "locked out", "unlock"]),
    regex("profile", "account", r"\b(?:profiles?|my data|newsletter|loyalty points|my details|store about me)\b"),
    column("agent", "agent_queue", {q: q for q in ("billing", "delivery", "returns", "technical", "account")}),
    expression("complains_of_money_late", "billing", text.str.contains("bank") | text.str.contains("subscription")),
]
