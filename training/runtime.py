"""Serves a compressed model: NumPy, tokenizers and one small runtime; neither TensorFlow nor torch."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from ledger.errors import CheckpointError
from training import convolution
from training.artifact import CASCADE_PARTS, MODEL_FILES, TOKENIZER_FILE, Card, read_card
from training.bag import Answer, answer, read_bag
from training.batches import by_length
from training.convolution import read_convolution
from training.tokenization import pad, read_tokenizer

Engine = Callable[[np.ndarray], np.ndarray]
"""Padded int32 ids of shape ``(batch, length)`` to float32 logits of shape ``(batch, classes)``."""

CHUNK = 16384
"""Texts that are tokenized at a time: what lies in memory does not grow with the number of texts."""
BATCH = 64
BUCKET = 4
"""LiteRT runs one text padded to a multiple of so many tokens, in an interpreter kept for that length."""
LONGEST_BUCKET = 64
"""Longer single texts, and batches, share one interpreter that is resized."""


@dataclass(frozen=True)
class Classifier:
    """A model ready to serve.

    Attributes
    ----------
    card : Card
        What it is.
    answer : Answer
        Texts to logits, in its runtime, tokenizing included.
    """

    card: Card
    answer: Answer

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the classes; the position is the column of `predict`."""
        return tuple(self.card.labels)

    def predict(self, texts: Sequence[str], batch_size: int = BATCH) -> np.ndarray:
        """Classify texts.

        Parameters
        ----------
        texts : sequence of str
            Any number. They are run from the shortest to the longest, so that little of a batch is padding.
        batch_size : int
            Texts at a time.

        Returns
        -------
        np.ndarray
            Probabilities, float32 of shape ``(len(texts), classes)``, in the order of the texts.
        """
        if isinstance(texts, str):
            raise TypeError("expected a sequence of texts, got one text; pass [text]")
        if len(texts) == 1:
            return softmax(self.answer(texts, batch_size))
        probabilities = np.zeros((len(texts), len(self.card.labels)), dtype=np.float32)
        for start in range(0, len(texts), CHUNK):
            chunk = texts[start : start + CHUNK]
            probabilities[start : start + len(chunk)] = softmax(self.answer(chunk, batch_size))
        return probabilities

    def stream(self, texts: Iterable[str], batch_size: int = BATCH) -> Iterator[tuple[list[str], np.ndarray]]:
        """Classify texts as they come, without end if need be: yield some of them and their probabilities, in order."""
        source = iter(texts)
        while chunk := list(islice(source, CHUNK)):
            yield chunk, self.predict(chunk, batch_size)


def load(folder: Path, threads: int = 1) -> Classifier:
    """Load a candidate or the published model.

    Parameters
    ----------
    folder : Path
        Holds ``card.json`` and the model's file: ``model.tflite`` or ``model.onnx`` with ``tokenizer.json``,
        ``model.safetensors`` (a bag or convolution), or ``cascade.json`` with the folders of two models.
    threads : int
        CPU threads the runtime may use.

    Raises
    ------
    CheckpointError
        If the folder is missing or a file of it cannot be read.
    """
    card = read_card(folder)
    path = folder / MODEL_FILES[card.format]
    if not path.is_file():
        raise CheckpointError(f"{path}: not found, though its card names it; run the stage 'compress' again")
    if card.format == "cascade":
        first, second = (load(folder / part, threads) for part in CASCADE_PARTS)
        return Classifier(card, _cascade(first.answer, second.answer, read_threshold(path)))
    try:
        if card.format == "bag":
            return Classifier(card, answer(read_bag(path)))
        if card.format == "convolution":
            return Classifier(card, convolution.answer(read_convolution(path)))
        engine = {"litert": litert_engine, "onnx": onnx_engine}[card.format](path, threads)
    except Exception as error:  # each runtime raises its own
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise CheckpointError(f"{path}: {card.format} cannot read it ({reason}); run 'compress' again") from None
    return Classifier(
        card, network_answer(read_tokenizer(folder / TOKENIZER_FILE, card.max_length), engine, len(card.labels))
    )


def read_threshold(path: Path) -> float:
    """Read the confidence at which a cascade's first model answers.

    Raises
    ------
    CheckpointError
        If the file is not a cascade's.
    """
    try:
        return float(json.loads(path.read_text(encoding="utf-8"))["threshold"])
    except (ValueError, KeyError, TypeError):
        raise CheckpointError(f"{path}: not a cascade's thresholds; run the stage 'compress' again") from None


def network_answer(tokenizer: Tokenizer, engine: Engine, classes: int) -> Answer:
    """Return the function that answers texts by a network: tokenizes them, and runs them in batches of like length."""
    # No offsets are asked for, so that nothing keeps track of them: a fifth of the time of `encode`.
    encode_fast = tokenizer.encode_batch_fast

    def run(texts: Sequence[str], batch_size: int = BATCH) -> np.ndarray:
        if len(texts) == 1:
            return engine(np.array([encode_fast(texts)[0].ids], dtype=np.int32))
        sequences = [np.array(encoding.ids, dtype=np.int32) for encoding in encode_fast(list(texts))]
        logits = np.zeros((len(sequences), classes), dtype=np.float32)
        for rows in by_length(np.array([len(sequence) for sequence in sequences], dtype=np.int64), batch_size):
            logits[rows] = engine(pad([sequences[row] for row in rows]))
        return logits

    return run


def _cascade(first: Answer, second: Answer, threshold: float) -> Answer:
    """Answer by the first where its confidence reaches the threshold, by the second elsewhere (Viola & Jones 2001)."""

    def run(texts: Sequence[str], batch_size: int = BATCH) -> np.ndarray:
        logits = first(texts, batch_size)
        unsure = np.flatnonzero(confidence(logits) < threshold).tolist()
        if len(unsure) == len(texts):
            return second(texts, batch_size) if len(texts) else logits
        if len(unsure):
            logits[unsure] = second([texts[row] for row in unsure], batch_size)
        return logits

    return run


def confidence(logits: np.ndarray) -> np.ndarray:
    """Return the probability of the most likely class, of shape ``(rows,)``."""
    return 1 / np.exp(logits - logits.max(axis=-1, keepdims=True, initial=-np.inf)).sum(axis=-1)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Turn logits into probabilities along the last axis."""
    exponents = np.exp(logits - logits.max(axis=-1, keepdims=True, initial=-np.inf))
    return exponents / exponents.sum(axis=-1, keepdims=True)


def litert_engine(path: Path, threads: int) -> Engine:
    """Open a LiteRT model; single texts run padded to a multiple of BUCKET tokens."""
    from ai_edge_litert.interpreter import Interpreter  # a folder needs one runtime, not both

    def sized(shape: tuple[int, ...]) -> tuple[Interpreter, int, int]:
        interpreter = Interpreter(model_path=str(path), num_threads=threads)
        token_ids = interpreter.get_input_details()[0]["index"]
        interpreter.resize_tensor_input(token_ids, shape)
        interpreter.allocate_tensors()
        return interpreter, token_ids, interpreter.get_output_details()[0]["index"]

    # Resizing costs more than the tokens of padding that a bucket adds; their mask hides them.
    kept: dict[int, tuple[Interpreter, int, int]] = {}
    shape: tuple[int, ...] = (1, LONGEST_BUCKET)
    resized, resized_ids, resized_logits = sized(shape)

    def run(batch: np.ndarray) -> np.ndarray:
        nonlocal shape
        rows, length = batch.shape
        if rows == 1 and length <= LONGEST_BUCKET:
            bucket = length + -length % BUCKET
            if bucket not in kept:
                kept[bucket] = sized((1, bucket))
            interpreter, token_ids, logits = kept[bucket]
            padded = np.zeros((1, bucket), dtype=np.int32)
            padded[0, :length] = batch[0]
            interpreter.set_tensor(token_ids, padded)
            interpreter.invoke()
            return interpreter.get_tensor(logits)
        if batch.shape != shape:
            resized.resize_tensor_input(resized_ids, batch.shape)
            resized.allocate_tensors()
            shape = batch.shape
        resized.set_tensor(resized_ids, batch)
        resized.invoke()
        return np.asarray(resized.get_tensor(resized_logits))

    return run


def onnx_engine(path: Path, threads: int) -> Engine:
    """Open an ONNX model."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def run(batch: np.ndarray) -> np.ndarray:
        return np.asarray(session.run(["logits"], {"token_ids": batch})[0])

    return run
