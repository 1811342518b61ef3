"""Trains a small network on batches of uneven size, as told: run by test_parallel.py in processes of its own.

``python -m tests.training.replicas STRATEGY EPOCHS CHECKPOINT``: prints a line an epoch, then the weights' sum and the losses as JSON.
"""

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import training  # noqa: F401  sets TensorFlow's log level

# isort: split
import keras
import numpy as np
import tensorflow as tf

from ledger.errors import PricecutError
from training import parallel
from training.schedule import adamw
from training.soft_label_training import SoftLabelTraining

SIZES = (8, 7, 5, 1, 8, 3)  # one batch is smaller than the number of devices


def network() -> keras.Model:
    keras.utils.set_random_seed(1)
    states = keras.Input((None, 8))
    hidden = keras.layers.GlobalAveragePooling1D()(keras.layers.Dense(16, activation="tanh")(states))
    return keras.Model([states], keras.layers.Dense(3)(hidden))


def batches() -> Iterator[tuple[list[np.ndarray], np.ndarray, np.ndarray]]:
    """Batches of differing length, soft labels, weights that differ, one of them 0."""
    random = np.random.default_rng(0)
    for rows in SIZES:
        states = random.normal(size=(rows, random.integers(2, 6), 8)).astype(np.float32)
        weights = random.uniform(0, 2, rows).astype(np.float32)
        weights[1:2] = 0
        yield [states], random.dirichlet(np.ones(3), rows).astype(np.float32), weights


def train(strategy: str, epochs: int, checkpoint: Path, pause_s: float = 0.0, accumulate: int = 1) -> dict[str, object]:
    """Train from the checkpoint, if it stands; save one after each epoch."""
    hardware = parallel.Hardware(strategy=strategy, precision="float32", listen=True)
    with parallel.training_on(hardware) as replicated:
        run = SoftLabelTraining(network(), adamw(1e-2, len(SIZES) * epochs, 0.1, 0.01), accumulate)
        done = 0
        if checkpoint.exists():
            with np.load(checkpoint, allow_pickle=False) as saved:
                state = dict(saved)
            done = int(state.pop("epochs"))
            run.restore(state)
        run.refuse_unequal(done)
        losses = []
        for epoch in range(done, epochs):
            losses = [run.step(*batch) for batch in batches()]
            part = checkpoint.with_suffix(".part.npz")
            np.savez(part, epochs=epoch + 1, **run.state())
            part.replace(checkpoint)
            sys.stdout.write(f"epoch {epoch + 1}\n")
            sys.stdout.flush()
            time.sleep(pause_s)
        weights = np.concatenate([np.asarray(variable).ravel() for variable in run.model.variables])
        return {
            "replicas": replicated.num_replicas_in_sync,
            "from": done,
            "losses": losses,
            "weights": [float(weight) for weight in weights],
        }


def main() -> None:
    """Train as the arguments say."""
    strategy, epochs, checkpoint, pause = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), float(sys.argv[4])
    if strategy == "mirrored":
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    try:
        sys.stdout.write(json.dumps(train(strategy, epochs, checkpoint, pause)) + "\n")
    except PricecutError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
