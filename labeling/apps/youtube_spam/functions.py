"""Labeling functions for spam under music videos, written by reading train text only."""

import polars as pl

from labeling.functions import expression, keyword, regex

LINK = r"https?:|www\.|\b\w+\s?\.\s?(?:com|net|org|ly|tk|me)\b|watch\?v=|<a href"
CHECK_OUT = r"\bch[ea]c?k\w*\s+(?:\w+\s+){0,3}out\b|\bcheck\s+(?:this|my|me|us|them|it)\b"
SUBSCRIBE = r"\bs[uc]+b?s?crib\w*|\bsubs\b|\bsub\s+(?:to|me|for|4)\b"
WORKS = (
    r"(?:channel|videos?|vids?|covers?|music|page|beats?|remix\w*|raps?|rapping|website|site|track|mixtape|youtube|ep|"
    r"account|profile|blog|facebook|twitter|instagram|song|album|stuff)"
)
OWN_WORK = rf"\b(?:my|our)\s+(?:\w+\s+){{0,3}}{WORKS}\b|\bi\s+made\s+a\s+(?:\w+\s+){{0,2}}{WORKS}\b"
FOLLOW_ME = r"\b(?:follow|add|like|visit|join|contact)\s+(?:me|us|my|our|this\s+page|the\s+page|4)\b"
PLEASE = r"\b(?:please|pl[sz]+|plea+s\w*)\b"
ASKS = rf"{PLEASE}.*\b(?:like|share|help|vote|watch|listen|visit|read|download|sub|look|click|check)"
GREETS = (
    r"^\W*(?:hey|hi|hello|yo|sup|attention|what'?s\s+up)[\s,!.]+(?:\w+\s+)?"
    r"(?:guys|everyone|everybody|people|all|youtube\w*|there|friends)\b"
)
ARTIST_TO_BE = (
    r"\b(?:up\s*(?:and\s+)?coming|rapper\s+(?:from|with)|producer|singer\s+who|i\s+(?:make|rap|sing|upload)|"
    r"(?:give|take)\s+(?:me|us|it|a)\s+(?:chance|listen|try|second|minute|moment|look)|constructive|criticism|feedback)\b"
)
CALLS_TO_ACT = (
    r"\b(?:vote\s+for|sign\s+(?:up|the\s+petition)|chance\s+to\s+win|share\s+(?:this|your)|donate|"
    r"free\s+(?:gift|iphone|games|download|android)|click\s+(?:here|the|on)|thumbs\s+up\s+if\s+you\s+piss)"
)
MENTIONS = r"\bchannel\b|facebook|twitter|instagram|\bmoney\b|\bfree\b|\bwin\b|\bdownload"
PROMOTION = "|".join(
    [LINK, CHECK_OUT, SUBSCRIBE, OWN_WORK, FOLLOW_ME, GREETS, ARTIST_TO_BE, CALLS_TO_ACT, PLEASE, MENTIONS]
)

text = pl.col("text")
length = text.str.len_chars()
promotes = text.str.contains(f"(?i){PROMOTION}")

FUNCTIONS = [
    # What advertises.
    regex("check_out", "SPAM", CHECK_OUT),
    regex("subscribe", "SPAM", SUBSCRIBE),
    regex("link", "SPAM", LINK),
    regex("own_work", "SPAM", OWN_WORK),
    regex("follow_me", "SPAM", FOLLOW_ME),
    keyword(
        "social_network", "SPAM", ["facebook", "twitter", "instagram", "tsu", "soundcloud", "fb", "itunes", "ebay"]
    ),
    keyword("money", "SPAM", ["money", "earn", "cash", "paid", "dollars", "gift card", "gift cards", "giveaway", "$"]),
    regex("asks", "SPAM", ASKS),
    regex("greets_everyone", "SPAM", GREETS),
    regex("artist_to_be", "SPAM", ARTIST_TO_BE),
    regex("calls_to_act", "SPAM", CALLS_TO_ACT),
    expression("long_and_promoting", "SPAM", (length > 220) & promotes),
    expression("very_long", "SPAM", length > 500),
    # What speaks of the song.
    regex("views", "HAM", r"\b(?:views?|viewed|bil+ion|million|\d{1,3}(?:[,.]\d{3}){2,})\b"),
    regex(
        "praise",
        "HAM",
        r"\b(?:love|like|best|great|good|nice|awesome|amazing|cool|favou?rite|beautiful|perfect|sucks?|hate|catchy)\b.{0,25}"
        r"\b(?:songs?|music|dance|rap|rapper|singer|voice|shakira|katy|eminem|psy|rihanna|lmfao)\b",
    ),
    regex(
        "artist",
        "HAM",
        r"\b(?:katy|perry|psy|gangnam|eminem|rihanna|megan|charlie|shakira|waka|lmfao|party\s+rock|shuffl\w*|oppa|world\s+cup)\b",
    ),
    regex(
        "years", "HAM", r"\b(?:20(?:1[2-9])|still\s+(?:love|listen|watch)\w*|years?\s+(?:ago|old)|remember|memories)\b"
    ),
    expression("short_and_plain", "HAM", (length < 40) & ~promotes),
    expression("plain", "HAM", (length < 160) & ~promotes),
    expression("no_words", "HAM", ~text.str.contains(r"\pL{3}")),
    regex("feeling", "HAM", r"\b(?:lol|haha\w*|omg|wow|xd|wtf|damn|lmao)\b|<3|♥|❤"),
]
