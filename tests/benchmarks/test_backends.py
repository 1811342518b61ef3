"""The networks are Keras', not TensorFlow's: another backend answers the same."""

import json
import os
import subprocess
import sys
from dataclasses import asdict

import numpy as np
import pytest

from benchmarks.backends import LENGTH
from benchmarks.precisions import random_weights
from training.elastic_classifier import build
from training.inference import predict_logits
from training.shape import Shape


@pytest.mark.slow
def test_pytorch_answers_as_tensorflow_does_and_its_losses_are_finite(tmp_path):
    shape = Shape(40, LENGTH, 2, 16, 2, 2, 8, 32, "gelu", 1e-12, 0.0)
    weights = {name: weight.astype(np.float16) for name, weight in random_weights(shape).items()}
    random = np.random.default_rng(0)
    ids = random.integers(1, 40, (64, LENGTH)).astype(np.int16)
    ids[:, 20:] = 0
    network = build(shape, {name: weight.astype(np.float32) for name, weight in weights.items()})
    np.savez_compressed(
        tmp_path / "set.npz",
        shape=np.frombuffer(json.dumps(asdict(shape)).encode(), dtype=np.uint8),
        train_ids=ids,
        train_labels=(ids[:, 0] % 2),
        test_ids=ids,
        test_labels=(ids[:, 0] % 2),
        logits=predict_logits(network, list(ids.astype(np.int32))),
        **{f"weight/{name}": weight for name, weight in weights.items()},
    )
    command = (sys.executable, "-m", "benchmarks.backends", "--measure", str(tmp_path / "set.npz"))
    env = os.environ | {"KERAS_BACKEND": "torch"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["backend"] == "torch" and found["largest_difference"] < 1e-4
    assert set(found["precisions"]) == {"float32", "mixed_bfloat16", "mixed_float16"}
    assert all(figures["finite"] for figures in found["precisions"].values())
