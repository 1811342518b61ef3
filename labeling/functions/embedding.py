"""Votes by meaning: the label of the nearest seed phrase, in an encoder's space."""

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

import numpy as np
import polars as pl

from labeling.embeddings import KnownTexts
from labeling.encoder import encode
from labeling.functions.batch import BatchFunction
from labeling.functions.stated import Examples
from labeling.functions.vocabulary import ABSTAIN
from ledger.errors import CheckpointError, FunctionError


class NearestFunction(BatchFunction):
    """Votes for the label of the nearest seed phrase by cosine; see ``nearest``.

    Its votes follow from its own declaration and the text alone. Texts that `embed` has read with the same encoder need not be
    encoded again where ``lend`` says so.
    """

    def __init__(
        self,
        name: str,
        seeds: Mapping[str, Sequence[str]],
        threshold: float,
        margin: float,
        field: str,
        encoder: str,
        max_length: int,
        *,
        owner: str | None = None,
        examples: Examples | None = None,
    ) -> None:
        said = [
            {label: list(phrases) for label, phrases in seeds.items()},
            threshold,
            margin,
            field,
            encoder,
            max_length,
        ]
        source = f"embedding {json.dumps(said, ensure_ascii=False)}"
        super().__init__(name, "embedding", tuple(seeds), (field,), source, owner=owner, examples=examples)
        self.seeds = {label: tuple(phrases) for label, phrases in seeds.items()}
        self.threshold, self.margin, self.field = threshold, margin, field
        self.encoder, self.max_length = encoder, max_length
        self.known: KnownTexts | None = None

    def vote_on(self, rows: pl.DataFrame) -> np.ndarray:
        """Vote on rows by their text: int8 of shape (rows,); a null or blank text abstains."""
        texts = rows.select(pl.col(self.field).cast(pl.String))[self.field]
        says = (texts.is_not_null() & (texts.str.strip_chars() != "")).fill_null(False).to_numpy()
        votes = np.full(len(texts), ABSTAIN, dtype=np.int8)
        if not says.any():
            return votes
        try:
            cosines = self._embed(texts.filter(pl.Series(says)).to_list()) @ self._embed_seeds().T
        except CheckpointError as error:
            raise FunctionError(f"function '{self.name}': {error}", self.name) from None
        ends = np.cumsum([0, *(len(phrases) for phrases in self.seeds.values())])
        nearest_of = np.column_stack([cosines[:, a:b].max(axis=1) for a, b in pairwise(ends)])
        ranked = np.sort(nearest_of, axis=1)
        ahead = ranked[:, -1] - ranked[:, -2] >= self.margin if nearest_of.shape[1] > 1 else True
        numbers = np.array([self.numbers[label] for label in self.seeds], dtype=np.int8)
        votes[says] = np.where((ranked[:, -1] >= self.threshold) & ahead, numbers[nearest_of.argmax(axis=1)], ABSTAIN)
        return votes

    def _embed(self, texts: Sequence[str]) -> np.ndarray:
        known = self.known
        if known is None:
            return encode(texts, self.encoder, self.max_length, "nearest(encoder=...)")
        new = list(dict.fromkeys(text for text in texts if text not in known.position))
        places = {text: place for place, text in enumerate(new, start=len(known.embeddings))}
        table = known.embeddings
        if new:
            table = np.concatenate([table, encode(new, self.encoder, self.max_length, "nearest(encoder=...)")])
        return table[[places[text] if text in places else known.position[text] for text in texts]]

    def _embed_seeds(self) -> np.ndarray:
        phrases = [phrase for phrases in self.seeds.values() for phrase in phrases]
        return encode(phrases, self.encoder, self.max_length, "nearest(encoder=...)")


def lend(functions: Iterable[NearestFunction], known: KnownTexts | None) -> None:
    """Lend embedded texts to the functions that would encode them alike, with the same encoder and length."""
    for function in functions:
        alike = known is not None and (function.encoder, function.max_length) == (known.encoder, known.max_length)
        function.known = known if alike else None


def nearest(
    name: str,
    seeds: Mapping[str, Sequence[str]],
    threshold: float = 0.5,
    margin: float = 0.05,
    field: str = "text",
    encoder: str = "minilm",
    max_length: int = 64,
    *,
    owner: str | None = None,
    examples: Examples | None = None,
) -> NearestFunction:
    """Vote for the label of the seed phrase that is nearest in meaning.

    Parameters
    ----------
    name : str
        The function's name.
    seeds : mapping of str to sequence of str
        A label to phrases that say what its messages say; a description of the label is one (zero-shot).
    threshold : float
        The least cosine, between -1 and 1, of the nearest phrase; below it abstains.
    margin : float
        By how much the nearest label is to be ahead of the second, else it abstains; 0 takes the nearest (on a tie the label first
        named).
    field : str
        The column to read.
    encoder : str
        ``minilm``, a folder or a hub name; a BERT. Where it and ``max_length`` are those of ``embed`` in params.yaml, the corpus is not
        encoded again.
    max_length : int
        Tokens; a text is cut there.
    owner, examples
        Who answers for the function; texts with the vote expected on each.

    Raises
    ------
    FunctionError
        If there are no seeds or a blank one, or a number is out of its range.

    Examples
    --------
    >>> nearest("like_billing", {"billing": ["I was charged twice"], "delivery": ["my parcel has not arrived"]})
    NearestFunction like_billing, Preprocessors: []
    """
    if not isinstance(seeds, Mapping) or not seeds:
        raise FunctionError(f"function '{name}': expected a mapping of at least one label to its seed phrases")
    for label, phrases in seeds.items():
        if (
            isinstance(phrases, str)
            or not phrases
            or not all(isinstance(phrase, str) and phrase.strip() for phrase in phrases)
        ):
            raise FunctionError(
                f"function '{name}': expected a list of phrases for '{label}', none blank, got {phrases!r}"
            )
    if not -1 <= threshold <= 1 or not 0 <= margin <= 2 or max_length < 3:
        raise FunctionError(
            f"function '{name}': expected a threshold from -1 to 1, a margin from 0 to 2 and a max_length of 3 or more, "
            f"got {threshold}, {margin} and {max_length}"
        )
    return NearestFunction(name, seeds, threshold, margin, field, encoder, max_length, owner=owner, examples=examples)
