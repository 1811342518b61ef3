"""How far a quantized network is from the float one, in the runtime that will serve it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from training.onnx_format import onnx_bytes
from training.quality import macro_f1
from training.quantization import layers, uniform
from training.shape import Shape

Run = Callable[[np.ndarray], list[np.ndarray]]
"""Int32 ids of shape ``(batch, length)`` to the model's outputs."""


@dataclass(frozen=True)
class Probe:
    """The texts that a network is judged on.

    Attributes
    ----------
    sequences : list of np.ndarray
        Token ids of each text, int32, as the network's tokenizer gives them.
    truth : np.ndarray or None
        Labels by hand of the first texts, int; None where there are none.
    logits : np.ndarray
        The float network's, float32 of shape ``(texts, classes)``.
    """

    sequences: list[np.ndarray]
    truth: np.ndarray | None
    logits: np.ndarray

    def lost(self, logits: np.ndarray) -> float:
        """Return the share of texts that are answered otherwise, or the macro-F1 that is lost where that is less.

        No more answers can be lost than change; and of a hundred labels by hand one changed answer would be twice the
        budget, whichever way rounding happened to push it.
        """
        before, after = self.logits.argmax(axis=1), logits.argmax(axis=1)
        changed = float(np.mean(before != after))
        if self.truth is None:
            return changed
        labeled, classes = len(self.truth), logits.shape[1]
        right, still = (macro_f1(self.truth, answers[:labeled], classes) for answers in (before, after))
        return min(changed, right - still)

    def divergence(self, logits: np.ndarray) -> float:
        """Return the mean KL divergence from the float network's answers, in nats: finer than counted errors."""
        before, after = log_softmax(self.logits), log_softmax(logits)
        return float(np.mean(np.sum(np.exp(before) * (before - after), axis=1)))


def probe(
    shape: Shape, weights: Mapping[str, np.ndarray], sequences: list[np.ndarray], truth: np.ndarray | None
) -> Probe:
    """Have the float network answer the texts."""
    content = onnx_bytes(shape, dict(weights), uniform(shape, "float32"))
    return Probe(sequences, truth, answer(open_model("onnx", content), sequences))


def open_model(format_: str, content: bytes) -> Run:
    """Open a model file's content in its runtime, on one thread."""
    return {"litert": _litert, "onnx": _onnx}[format_](content)


def answer(run: Run, sequences: list[np.ndarray]) -> np.ndarray:
    """Return the logits of each text, one text at a time as requests come: ranges differ in a batch."""
    order = np.argsort([len(sequence) for sequence in sequences], kind="stable")  # few changes of length
    found = [run(sequences[row][None, :])[0] for row in order]
    logits = np.empty((len(sequences), found[0].shape[1]), dtype=np.float32)
    logits[order] = np.concatenate(found)
    return logits


def ranges(
    shape: Shape, weights: Mapping[str, np.ndarray], sequences: list[np.ndarray]
) -> dict[str, tuple[float, float]]:
    """Return the least and greatest value at each dense layer's input and output over the texts.

    Parameters
    ----------
    sequences : list of np.ndarray
        Token ids of train texts. What a later text has beyond these ranges is cut.
    """
    run = open_model("onnx", onnx_bytes(shape, dict(weights), uniform(shape, "float32"), watched=True))
    names = [f"{layer}/{end}" for layer in layers(shape)[1:] for end in ("in", "out")]
    found: dict[str, tuple[float, float]] = {}
    for sequence in sequences:
        _, *seen = run(sequence[None, :])
        for name, values in zip(names, seen, strict=True):
            low, high = found.get(name, (np.inf, -np.inf))
            found[name] = (min(low, float(values.min())), max(high, float(values.max())))
    return found


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Return log-probabilities along the last axis, float64."""
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def _onnx(content: bytes) -> Run:
    import onnxruntime  # each runtime only where it is asked for

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return lambda ids: list(session.run(None, {"token_ids": ids}))


def _litert(content: bytes) -> Run:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content, num_threads=1)
    token_ids, logits = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]

    shape: tuple[int, ...] = ()

    def run(ids: np.ndarray) -> list[np.ndarray]:
        nonlocal shape
        if ids.shape != shape:
            interpreter.resize_tensor_input(token_ids, ids.shape)
            interpreter.allocate_tensors()
            shape = ids.shape
        interpreter.set_tensor(token_ids, ids)
        interpreter.invoke()
        return [np.array(interpreter.get_tensor(logits))]

    return run
