"""Texts to embeddings: a BERT encoder's masked mean over the tokens, L2-normalised, on the CPU.

The forward pass is written out with torch's functions rather than taken from transformers: importing that costs seconds,
and torch is loaded already wherever Snorkel is. Only safetensors are read.
"""

import hashlib
import json
import logging
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from labeling.checkpoint import resolve_checkpoint
from ledger.errors import CheckpointError

logger = logging.getLogger(__name__)

BATCH_TOKENS = 1024
"""Tokens a batch, padding included; from 256 to 2,048 the speed is the same, larger ones are slower."""

PROGRESS_EVERY_S = 10.0


def encode(
    texts: Sequence[str], encoder: str = "minilm", max_length: int = 64, key: str = "embed.encoder"
) -> np.ndarray:
    """Encode texts, each distinct one once, in batches of like length.

    Parameters
    ----------
    texts : sequence of str
        Any number, none included.
    encoder : str
        ``minilm`` (comes with the lock), a folder, or a name on the Hugging Face hub; a BERT with a fast tokenizer.
    max_length : int
        Tokens; a text is cut there.
    key : str
        The parameter that names the encoder, for the messages.

    Returns
    -------
    np.ndarray
        float32 of shape (texts, width), each row of length 1 (Reimers & Gurevych 2019, mean pooling). The same texts on the same
        kind of machine give the same bytes, however many cores it has.

    Raises
    ------
    CheckpointError
        If the encoder is not there or is no BERT.
    """
    network = _load(resolve_checkpoint(encoder, key))
    distinct = list(dict.fromkeys(texts))
    encoded = _encode_distinct(distinct, network, max_length)
    position = {text: number for number, text in enumerate(distinct)}
    return encoded[[position[text] for text in texts]] if distinct else encoded


def encoder_fingerprint(encoder: str, key: str = "embed.encoder") -> str:
    """Digest what an encoder is: its configuration, its tokenizer and its weights (SHA-256, the first 16 digits)."""
    folder = resolve_checkpoint(encoder, key)
    digest = hashlib.sha256()
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        with (folder / name).open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]


class _Bert:
    """A BERT encoder's weights and its forward pass (Devlin et al. 2019)."""

    def __init__(self, folder: Path) -> None:
        from safetensors.torch import load_file
        from tokenizers import Tokenizer

        path = folder / "config.json"
        self.config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        for name, expected in {"model_type": "bert", "hidden_act": "gelu"}.items():
            if self.config.get(name) != expected:
                raise CheckpointError(
                    f"{path}: expected {name} '{expected}', got {self.config.get(name)!r}; choose a BERT encoder"
                )
        weights = load_file(folder / "model.safetensors")
        self.weights = {name.removeprefix("bert."): weight.float() for name, weight in weights.items()}
        needed = "embeddings.word_embeddings.weight"
        if needed not in self.weights:
            raise CheckpointError(f"{folder / 'model.safetensors'}: expected a BERT's weights, found no {needed}")
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.width = int(self.config["hidden_size"])
        self.heads = int(self.config["num_attention_heads"])
        self.depth = int(self.config["num_hidden_layers"])
        self.longest = int(self.config["max_position_embeddings"])

    def _dense(self, x: Any, name: str) -> Any:
        from torch.nn.functional import linear

        return linear(x, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"])

    def _norm(self, x: Any, name: str) -> Any:
        from torch.nn.functional import layer_norm

        scale, shift = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        return layer_norm(x, (self.width,), scale, shift, self.config["layer_norm_eps"])

    def __call__(self, ids: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """Pool token ids (int64, (batch, length)) of the given lengths: float32 (batch, width), normalised."""
        import torch
        from torch.nn import functional

        batch, length = ids.shape
        with torch.inference_mode():
            kept = torch.arange(length)[None, :] < torch.from_numpy(lengths)[:, None]
            mask = None if bool(kept.all()) else kept[:, None, None, :]
            words = self.weights["embeddings.word_embeddings.weight"][torch.from_numpy(ids)]
            places = self.weights["embeddings.position_embeddings.weight"][:length]
            x = words + places + self.weights["embeddings.token_type_embeddings.weight"][0]
            x = self._norm(x, "embeddings.LayerNorm")
            for number in range(self.depth):
                layer = f"encoder.layer.{number}"
                query, key, value = (
                    self._dense(x, f"{layer}.attention.self.{part}").view(batch, length, self.heads, -1).transpose(1, 2)
                    for part in ("query", "key", "value")
                )
                read = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
                read = read.transpose(1, 2).reshape(batch, length, self.width)
                x = self._norm(
                    x + self._dense(read, f"{layer}.attention.output.dense"), f"{layer}.attention.output.LayerNorm"
                )
                inner = functional.gelu(self._dense(x, f"{layer}.intermediate.dense"))
                x = self._norm(x + self._dense(inner, f"{layer}.output.dense"), f"{layer}.output.LayerNorm")
            pooled = (x * kept[:, :, None]).sum(dim=1)
            return functional.normalize(pooled, dim=1).numpy()


@lru_cache(maxsize=1)
def _load(folder: Path) -> _Bert:
    return _Bert(folder)


def _encode_distinct(texts: Sequence[str], network: _Bert, max_length: int) -> np.ndarray:
    network.tokenizer.enable_truncation(min(max_length, network.longest))
    ids = [encoding.ids for encoding in network.tokenizer.encode_batch(list(texts))]
    order = sorted(range(len(ids)), key=lambda row: (len(ids[row]), row))
    batches: list[list[int]] = []
    for row in order:
        # Rows come shortest first: the last one's length is the batch's.
        if batches and len(ids[row]) * (len(batches[-1]) + 1) <= BATCH_TOKENS:
            batches[-1].append(row)
        else:
            batches.append([row])

    def encode_batch(rows: list[int]) -> np.ndarray:
        lengths = np.array([len(ids[row]) for row in rows])
        padded = np.zeros((len(rows), lengths.max()), dtype=np.int64)
        for line, row in enumerate(rows):
            padded[line, : lengths[line]] = ids[row]
        return network(padded, lengths)

    encoded = np.zeros((len(texts), network.width), dtype=np.float32)
    told, done = time.monotonic(), 0
    with _one_thread_a_batch() as pool:
        for rows, vectors in zip(batches, pool.map(encode_batch, batches), strict=True):
            encoded[rows] = vectors
            done += len(rows)
            if time.monotonic() - told > PROGRESS_EVERY_S:
                told = time.monotonic()
                logger.info("encoded %d of %d texts", done, len(texts))
    return encoded


@contextmanager
def _one_thread_a_batch() -> Iterator[ThreadPoolExecutor]:
    """Let each core have a batch of its own.

    Cores that share one batch wait for each other at every layer, which costs half the time once anything else runs on the machine;
    and sums that one core adds up do not depend on how many there are.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(max_workers=before) as pool:
            yield pool
    finally:
        torch.set_num_threads(before)
