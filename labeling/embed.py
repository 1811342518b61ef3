"""`embed`: an encoder reads every message of the corpus once; what reads by meaning finds its embedding there."""

import hashlib
import io
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from labeling.corpus import read_corpus
from labeling.embeddings import NO_ENCODER, write_embeddings
from labeling.encoder import encode, encoder_fingerprint
from labeling.whole import write_whole
from ledger.meter import Usage
from ledger.parameters import Parameters, read_parameters
from ledger.places import Places
from ledger.stage import run_stage

logger = logging.getLogger(__name__)

PART_TEXTS = 1024
"""About how many texts are encoded between two files on disk; ten seconds or less on two cores."""


class EmbedParameters(Parameters):
    """Section ``embed`` of ``params.yaml``."""

    encoder: Annotated[str, Field(min_length=1)]
    max_length: Annotated[int, Field(ge=8, le=512)]


def main(places: Places, usage: Usage) -> None:
    """Embed the app's corpus."""
    parameters = read_parameters("embed", EmbedParameters)
    labels, rows = read_corpus(places.corpus)
    told: dict[str, str | int] = {"name": parameters.encoder, "max_length": parameters.max_length}
    if parameters.encoder == NO_ENCODER:
        write_embeddings(places.embeddings, rows["row_id"].clear(), np.zeros((0, 1), dtype=np.float32), labels, told)
        logger.info("embed.encoder is none: no message is embedded")
        return
    told["fingerprint"] = encoder_fingerprint(parameters.encoder)
    texts = rows["text"].to_list()
    embeddings, encoded = embed(texts, parameters, str(told["fingerprint"]), places.embedding_parts)
    write_embeddings(places.embeddings, rows["row_id"], embeddings, labels, told)
    logger.info("%d messages, %d of them encoded now by '%s'", len(texts), encoded, parameters.encoder)
    usage.figures.update(rows=len(texts), encoded=encoded)


def embed(
    texts: Sequence[str], parameters: EmbedParameters, fingerprint: str, parts: Path | None = None
) -> tuple[np.ndarray, int]:
    """Embed texts part by part, taking the parts that an earlier run left on disk.

    What a text's embedding is in its last digits depends on what is encoded beside it; a part is a set of texts that the corpus alone
    decides, so that a run that goes on after an interruption gives the same bytes as one that was never interrupted.

    Parameters
    ----------
    texts : sequence of str
        Any number; equal ones are encoded once.
    parameters : EmbedParameters
        The encoder and the length.
    fingerprint : str
        Of the encoder's files.
    parts : Path or None
        The folder of parts, of which those of other texts are removed at the end; None keeps none.

    Returns
    -------
    embeddings : np.ndarray
        float32 of shape (texts, width), rows of length 1.
    encoded : int
        How many texts had to be encoded.
    """
    spread = spread_over_parts(texts)
    known: dict[str, np.ndarray] = {}
    encoded, done, kept = 0, 0, set()
    for members in spread:
        file = parts / f"{_digest([fingerprint, str(parameters.max_length), *members])}.npy" if parts else None
        if file is not None and file.is_file():
            vectors = np.load(file, allow_pickle=False)
        else:
            vectors = encode(members, parameters.encoder, parameters.max_length)
            encoded += len(members)
            if file is not None:
                _leave(vectors, file)
        known |= dict(zip(members, vectors, strict=True))
        kept.add(file)
        done += len(members)
        if len(spread) > 1:
            logger.info("%d of %d distinct texts", done, sum(map(len, spread)))
    if parts is not None and parts.is_dir():
        for file in set(parts.glob("*.npy")) - kept:
            file.unlink()
    return np.stack([known[text] for text in texts]), encoded


def spread_over_parts(texts: Sequence[str]) -> list[list[str]]:
    """Spread the distinct texts over parts by a hash of each: a text that comes or goes changes its own part only."""
    distinct = sorted(set(texts))
    # A power of two, so that a corpus has to grow by much before every text changes its part.
    count = 1 << max(0, (len(distinct) // PART_TEXTS).bit_length())
    spread: list[list[str]] = [[] for _ in range(count)]
    for text in distinct:
        spread[int(_digest([text]), 16) % count].append(text)
    return [members for members in spread if members]


def _digest(words: Sequence[str]) -> str:
    digest = hashlib.sha256()
    for word in words:
        written = word.encode("utf-8", "surrogatepass")
        digest.update(len(written).to_bytes(8, "big") + written)
    return digest.hexdigest()[:32]


def _leave(vectors: np.ndarray, file: Path) -> None:
    buffer = io.BytesIO()
    np.save(buffer, vectors)
    write_whole(file, buffer.getvalue())


if __name__ == "__main__":
    run_stage("embed", main)
