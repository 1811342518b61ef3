"""Serves a compressed model: NumPy, tokenizers and one small runtime; neither TensorFlow nor torch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from ledger.errors import CheckpointError
from training.artifact import MODEL_FILES, TOKENIZER_FILE, Card, read_card
from training.batches import by_length
from training.tokenization import encode, pad, read_tokenizer

Engine = Callable[[np.ndarray], np.ndarray]
"""Padded int32 ids of shape ``(batch, length)`` to float32 logits of shape ``(batch, classes)``."""


@dataclass(frozen=True)
class Classifier:
    """A model ready to serve.

    Attributes
    ----------
    card : Card
        What it is.
    tokenizer : Tokenizer
        Cuts to the card's length, pads nothing.
    engine : Engine
        The runtime.
    """

    card: Card
    tokenizer: Tokenizer
    engine: Engine

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the classes; the position is the column of `predict`."""
        return tuple(self.card.labels)

    def predict(self, texts: Sequence[str], batch_size: int = 64) -> np.ndarray:
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
        sequences = encode(self.tokenizer, texts)
        logits = np.zeros((len(sequences), len(self.card.labels)), dtype=np.float32)
        for rows in by_length(np.asarray([len(sequence) for sequence in sequences], dtype=np.int64), batch_size):
            logits[rows] = self.engine(pad([sequences[row] for row in rows]))
        return softmax(logits)


def load(folder: Path, threads: int = 1) -> Classifier:
    """Load a candidate or the published model.

    Parameters
    ----------
    folder : Path
        Holds ``card.json``, ``tokenizer.json`` and ``model.tflite`` or ``model.onnx``.
    threads : int
        CPU threads the runtime may use.

    Raises
    ------
    CheckpointError
        If the folder is missing or a file of it cannot be read.
    """
    card = read_card(folder)
    tokenizer = read_tokenizer(folder / TOKENIZER_FILE, card.max_length)
    path = folder / MODEL_FILES[card.format]
    if not path.is_file():
        raise CheckpointError(f"{path}: not found, though its card names it; run the stage 'compress' again")
    open_engine = {"litert": _litert, "onnx": _onnx}[card.format]
    try:
        return Classifier(card, tokenizer, open_engine(path, threads))
    except Exception as error:  # each runtime raises its own
        reason = str(error).strip().splitlines()[0]
        raise CheckpointError(f"{path}: {card.format} cannot read it ({reason}); run 'compress' again") from None


def softmax(logits: np.ndarray) -> np.ndarray:
    """Turn logits into probabilities along the last axis."""
    exponents = np.exp(logits - logits.max(axis=-1, keepdims=True, initial=-np.inf))
    return exponents / exponents.sum(axis=-1, keepdims=True)


def _litert(path: Path, threads: int) -> Engine:
    from ai_edge_litert.interpreter import Interpreter  # a folder needs one runtime, not both

    interpreter = Interpreter(model_path=str(path), num_threads=threads)
    token_ids, logits = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    shape: tuple[int, ...] = ()

    def run(batch: np.ndarray) -> np.ndarray:
        nonlocal shape
        if batch.shape != shape:  # costs about 0.1 ms; padding to a fixed length would cost more
            interpreter.resize_tensor_input(token_ids, batch.shape)
            interpreter.allocate_tensors()
            shape = batch.shape
        interpreter.set_tensor(token_ids, batch)
        interpreter.invoke()
        return np.asarray(interpreter.get_tensor(logits))

    return run


def _onnx(path: Path, threads: int) -> Engine:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def run(batch: np.ndarray) -> np.ndarray:
        return np.asarray(session.run(["logits"], {"token_ids": batch})[0])

    return run
