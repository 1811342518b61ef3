"""New token sequences from those at hand, for the student to learn the teacher's answers on.

The teacher answers every new sequence anew (`training.distill`), so an augmentation need not keep a text's label.
Each works on the ids between ``[CLS]`` and ``[SEP]``, and yields only ids that it was given.
"""

from collections.abc import Callable

import numpy as np

DROPPED = 0.15
"""The share of tokens that token dropout leaves out."""

SHORTEST_SPAN = 0.4
"""The least share of a text that a crop keeps."""


def drop_tokens(body: np.ndarray, other: np.ndarray, random: np.random.Generator) -> np.ndarray:  # noqa: ARG001
    """Leave out a share of the tokens (word dropout; Iyyer et al. 2015, https://aclanthology.org/P15-1162)."""
    return body[random.random(len(body)) >= DROPPED]


def crop_span(body: np.ndarray, other: np.ndarray, random: np.random.Generator) -> np.ndarray:  # noqa: ARG001
    """Keep one contiguous span."""
    length = max(1, round(len(body) * random.uniform(SHORTEST_SPAN, 1.0)))
    start = random.integers(0, len(body) - length + 1)
    return body[start : start + length]


def mix_texts(body: np.ndarray, other: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Join a span of one text to a span of another, so that the student sees texts between two labels."""
    return np.concatenate([crop_span(body, body, random), crop_span(other, other, random)])


AUGMENTATIONS: tuple[Callable[[np.ndarray, np.ndarray, np.random.Generator], np.ndarray], ...] = (
    drop_tokens,
    crop_span,
    mix_texts,
)


def augment(sequences: list[np.ndarray], copies: int, max_length: int, random: np.random.Generator) -> list[np.ndarray]:
    """Make ``copies`` new sequences of each, by each augmentation in turn.

    Parameters
    ----------
    sequences : list of np.ndarray
        Token ids, int32, first and last special.
    copies : int
        New sequences for each; 0 makes none.
    max_length : int
        Tokens to which a new sequence is cut, special ones included.
    random : np.random.Generator
        The source of every choice.

    Returns
    -------
    list of np.ndarray
        ``copies * len(sequences)`` sequences, in the same form. One without a token left is given whole instead.
    """
    made = []
    for number in range(copies):
        transform = AUGMENTATIONS[number % len(AUGMENTATIONS)]
        partners = random.permutation(len(sequences))
        for sequence, partner in zip(sequences, partners, strict=True):
            body, other = sequence[1:-1], sequences[partner][1:-1]
            changed = transform(body, other, random)[: max_length - 2] if len(body) and len(other) else body
            changed = changed if len(changed) else body
            made.append(np.concatenate([sequence[:1], changed, sequence[-1:]]))
    return made
