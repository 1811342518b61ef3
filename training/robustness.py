"""Texts as people also write them: with typos, all in capitals, all in small letters."""

import numpy as np

TYPOS = 0.15
"""The share of words of at least four letters that get a typo."""


def with_typos(text: str, random: np.random.Generator) -> str:
    """Swap, drop or double one letter in some words, as fingers do."""
    return " ".join(
        _typo(word, random) if len(word) > 3 and random.random() < TYPOS else word for word in text.split(" ")
    )


def _typo(word: str, random: np.random.Generator) -> str:
    place = int(random.integers(1, len(word) - 1))
    before, here, after = word[:place], word[place], word[place + 1 :]
    return [before + after[0] + here + after[1:], before + after, before + here + here + after][int(random.integers(3))]


def variants(texts: list[str], seed: int) -> dict[str, list[str]]:
    """Return the texts in each variant, by its name."""
    random = np.random.default_rng(seed)
    return {
        "typos": [with_typos(text, random) for text in texts],
        "upper_case": [text.upper() for text in texts],
        "lower_case": [text.lower() for text in texts],
    }
