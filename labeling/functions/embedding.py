"""Votes by meaning: the label of the nearest seed phrase, in an encoder's space."""

import json
from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from labeling.encoder import encode
from labeling.functions.batch import BatchFunction
from labeling.functions.vocabulary import ABSTAIN
from ledger.errors import FunctionError

COLUMN = "embedding"


class NearestFunction(BatchFunction):
    """Votes for the label of the nearest seed phrase by cosine; see ``nearest``.

    ``encoder`` and ``max_length`` are set to what the table of embeddings was made with, before it votes.
    """

    def __init__(self, name: str, seeds: Mapping[str, Sequence[str]], threshold: float, margin: float) -> None:
        written = json.dumps([{k: list(v) for k, v in seeds.items()}, threshold, margin], ensure_ascii=False)
        super().__init__(name, "embedding", tuple(seeds), (COLUMN,), f"embedding {written}")
        self.seeds = {label: tuple(phrases) for label, phrases in seeds.items()}
        self.threshold, self.margin = threshold, margin
        self.encoder, self.max_length = "minilm", 64
        self.owner: str | None = None
        self.examples: Mapping[str, str | None] | None = None

    def vote_on(self, rows: pl.DataFrame) -> np.ndarray:
        """Vote on rows by their column ``embedding`` (Array(Float32, width), unit length); a null abstains."""
        known = rows[COLUMN].is_not_null().to_numpy()
        votes = np.full(rows.height, ABSTAIN, dtype=np.int8)
        if not known.any():
            return votes
        embeddings = np.array(rows[COLUMN].filter(rows[COLUMN].is_not_null()).to_list(), dtype=np.float32)
        phrases = [phrase for phrases in self.seeds.values() for phrase in phrases]
        encoded = encode(phrases, self.encoder, self.max_length)
        if encoded.shape[1] != embeddings.shape[1]:
            raise FunctionError(
                f"function '{self.name}': the rows' embeddings are {embeddings.shape[1]} wide, those of encoder '{self.encoder}' "
                f"{encoded.shape[1]}; run `embed` again",
                self.name,
            )
        cosines = embeddings @ encoded.T
        ends = np.cumsum([0, *(len(phrases) for phrases in self.seeds.values())])
        nearest_of = np.column_stack([cosines[:, a:b].max(axis=1) for a, b in zip(ends[:-1], ends[1:], strict=True)])
        ranked = np.sort(nearest_of, axis=1)
        ahead = ranked[:, -1] - ranked[:, -2] >= self.margin if nearest_of.shape[1] > 1 else True
        numbers = np.array([self.numbers[label] for label in self.seeds], dtype=np.int8)
        votes[known] = np.where((ranked[:, -1] >= self.threshold) & ahead, numbers[nearest_of.argmax(axis=1)], ABSTAIN)
        return votes


def nearest(
    name: str,
    seeds: Mapping[str, Sequence[str]],
    threshold: float = 0.5,
    margin: float = 0.05,
    *,
    owner: str | None = None,
    examples: Mapping[str, str | None] | None = None,
) -> NearestFunction:
    """Vote for the label of the seed phrase that is nearest in meaning.

    Parameters
    ----------
    name : str
        The function's name.
    seeds : mapping of str to sequence of str
        A label to phrases that say what its messages say.
    threshold : float
        The least cosine, between -1 and 1, of the nearest phrase; below it abstains.
    margin : float
        By how much the nearest label is to be ahead of the second, else it abstains; 0 takes the nearest (on a tie the label first
        named).
    owner, examples
        Who answers for the function; texts with the vote expected on each.

    Examples
    --------
    >>> nearest("like_billing", {"billing": ["I was charged twice"], "delivery": ["my parcel has not arrived"]})
    NearestFunction like_billing, Preprocessors: []
    """
    if not seeds:
        raise FunctionError(f"function '{name}': expected at least one label with seed phrases")
    for label, phrases in seeds.items():
        if isinstance(phrases, str) or not phrases or not all(phrase.strip() for phrase in phrases):
            raise FunctionError(
                f"function '{name}': expected a list of phrases for '{label}', none blank, got {phrases!r}"
            )
    if not -1 <= threshold <= 1 or not 0 <= margin <= 2:
        raise FunctionError(
            f"function '{name}': expected a threshold from -1 to 1 and a margin from 0 to 2, got {threshold} and {margin}"
        )
    function = NearestFunction(name, seeds, threshold, margin)
    function.owner, function.examples = owner, examples
    return function
