"""The classifier on Keras' other backends, and in half precision, on whatever device they find: what it answers and how it learns.

Our networks are written in ``keras.layers`` and ``keras.ops`` alone, so that Keras may compute them by JAX or PyTorch, where
TensorFlow finds no device. First ``--prepare FILE``, where TensorFlow and the data are: a file with MiniLM, cut to the tokens that a
set's texts use, the texts as token ids, and what TensorFlow answers. Then, where the device is (it needs neither)::

    KERAS_BACKEND=jax python -m benchmarks.backends --measure FILE

- ``largest_difference``: of the untrained network's logits to TensorFlow's on the CPU, float32;
- by precision, ``accuracy`` on test after fine-tuning (Keras' own ``fit``; float16 with its loss scale), ``finite`` losses, ``step_ms``:
  the median epoch but for the first, which compiles.
"""

import argparse
import importlib
import json
import os
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from training.elastic_classifier import build
from training.schedule import adamw
from training.shape import Shape

PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
LENGTH = 64
COMPARED = 256
EPOCHS, BATCH, RATE = 6, 32, 1.5e-4


def prepare(app: str, file: Path) -> None:
    """Write the file that `measure` reads."""
    from benchmarks.gold_sets import read_gold_set
    from labeling.checkpoint import resolve_checkpoint
    from training.backbone import load_backbone
    from training.teacher import plain_shape, plain_weights, split_teacher
    from training.tokenization import encode, pad, read_tokenizer
    from training.vocabulary import used_ids

    gold_set, checkpoint = read_gold_set(app), resolve_checkpoint("minilm")
    teacher = split_teacher(load_backbone(checkpoint), len(gold_set.labels), 0, 0.1, "full")
    tokenizer = read_tokenizer(checkpoint / "tokenizer.json", LENGTH)
    texts = {part: encode(tokenizer, getattr(gold_set, part)[0]) for part in ("train", "test")}
    kept = np.asarray(sorted({0} | used_ids(ids for part in texts.values() for ids in part)))  # 0 is padding
    shape, weights = plain_shape(teacher), plain_weights(teacher)
    weights["embedding/tokens"] = weights["embedding/tokens"][kept]
    weights["embedding/positions"] = weights["embedding/positions"][:LENGTH]
    whole = np.zeros(LENGTH, dtype=np.int32)  # one more text, so that all are padded to its length
    rows = {
        part: (np.searchsorted(kept, pad([*sequences, whole])[:-1]), np.asarray(getattr(gold_set, part)[1]))
        for part, sequences in texts.items()
    }
    write_set(file, replace(shape, vocabulary=len(kept), positions=LENGTH), weights, rows["train"], rows["test"])


def write_set(
    file: Path, shape: Shape, weights: dict[str, np.ndarray], train: tuple[Any, Any], test: tuple[Any, Any]
) -> None:
    """Write a network in half precision, texts as padded token ids with their labels, and what TensorFlow answers to some."""
    from training.inference import predict_logits

    half: dict[str, Any] = {f"weight/{name}": weight.astype(np.float16) for name, weight in weights.items()}
    network = build(shape, {name.partition("/")[2]: weight.astype(np.float32) for name, weight in half.items()})
    (ids, labels), (test_ids, test_labels) = (
        tuple(np.asarray(side, np.int16) for side in part) for part in (train, test)
    )
    np.savez_compressed(
        file,
        shape=np.frombuffer(json.dumps(asdict(shape)).encode(), dtype=np.uint8),
        train_ids=ids,
        train_labels=labels,
        test_ids=test_ids,
        test_labels=test_labels,
        logits=predict_logits(network, list(test_ids[:COMPARED].astype(np.int32))),
        **half,
    )


def fine_tune(shape: Shape, weights: dict[str, np.ndarray], data: Any, precision: str) -> dict[str, Any]:
    """Fine-tune the network in a precision, and score it on test."""
    keras.config.set_dtype_policy(precision)
    keras.utils.set_random_seed(1)
    model = build(shape, weights)
    ids, labels = data["train_ids"].astype(np.int32), data["train_labels"].astype(np.int32)
    clock, steps = Clock(), -(-len(ids) // BATCH)
    model.compile(
        optimizer=adamw(RATE, EPOCHS * steps, 0.1, 0.01),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    history = model.fit(ids, labels, batch_size=BATCH, epochs=EPOCHS, shuffle=True, verbose=0, callbacks=[clock])
    answers = model.predict(data["test_ids"].astype(np.int32), batch_size=128, verbose=0)
    keras.config.set_dtype_policy("float32")
    return {
        "accuracy": round(float((answers.argmax(axis=1) == data["test_labels"]).mean()), 4),
        "finite": bool(np.isfinite(history.history["loss"]).all() and np.isfinite(answers.astype(np.float32)).all()),
        "last_loss": round(float(history.history["loss"][-1]), 4),
        "step_ms": round(float(np.median(clock.seconds[1:])) / steps * 1000, 3),
    }


class Clock(keras.callbacks.Callback):
    """Seconds of each epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002
        """Start the clock."""
        self.started = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002
        """Stop it."""
        self.seconds.append(time.perf_counter() - self.started)


def measure(file: Path, rows: int | None) -> dict[str, Any]:
    """Compare and fine-tune."""
    data = dict(np.load(file))
    data |= {key: data[key][:rows] for key in ("train_ids", "train_labels")}
    shape = Shape(**json.loads(data["shape"].tobytes()))
    weights = {key[7:]: data[key].astype(np.float32) for key in data if key.startswith("weight/")}
    model = build(shape, weights)
    seen = ops.convert_to_numpy(model(data["test_ids"][:COMPARED].astype(np.int32)))
    found = {precision: fine_tune(shape, weights, data, precision) for precision in PRECISIONS}
    return {
        "backend": keras.backend.backend(),
        "device": device(),
        "rows": len(data["train_ids"]),
        "largest_difference": float(np.abs(seen - data["logits"]).max()),
        "precisions": found,
    }


def device() -> str:
    """Return what the backend computes on; of TensorFlow the processor's kind, as no device of its own is looked for."""
    if keras.backend.backend() == "jax":
        jax = importlib.import_module("jax")  # not in the lock: it is brought where this is measured
        return str(jax.devices()[0].device_kind)
    if keras.backend.backend() == "torch":
        import torch

        return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    return os.uname().machine


def main() -> None:
    """Prepare, or measure and print one JSON object on one line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--prepare", type=Path, help="write this file, of --set")
    parser.add_argument("--set", default="banking77")
    parser.add_argument("--measure", type=Path, help="a file that --prepare has written")
    parser.add_argument("--rows", type=int, help="so many train rows only")
    arguments = parser.parse_args()
    if not (arguments.prepare or arguments.measure):
        parser.error("expected --prepare FILE or --measure FILE")
    if arguments.prepare:
        prepare(arguments.set, arguments.prepare)
    if arguments.measure:
        sys.stdout.write(json.dumps(measure(arguments.measure, arguments.rows)) + "\n")


if __name__ == "__main__":
    main()
