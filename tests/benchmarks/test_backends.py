"""The networks are Keras', not TensorFlow's: another backend answers the same."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from benchmarks.backends import LENGTH, write_set
from benchmarks.precisions import random_weights
from training.shape import Shape


@pytest.mark.slow
def test_pytorch_answers_as_tensorflow_does_and_its_losses_are_finite(tmp_path):
    shape = Shape(40, LENGTH, 2, 16, 2, 2, 8, 32, "gelu", 1e-12, 0.0)
    random = np.random.default_rng(0)
    ids = random.integers(1, 40, (64, LENGTH))
    ids[:, 20:] = 0
    texts = (ids, ids[:, 0] % 2)
    write_set(tmp_path / "set.npz", shape, random_weights(shape), texts, texts)
    command = (sys.executable, "-m", "benchmarks.backends", "--measure", str(tmp_path / "set.npz"))
    env = os.environ | {"KERAS_BACKEND": "torch"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["backend"] == "torch" and found["largest_difference"] < 1e-4
    assert set(found["precisions"]) == {"float32", "mixed_bfloat16", "mixed_float16"}
    assert all(figures["finite"] for figures in found["precisions"].values())
