from pathlib import Path

import keras
import numpy as np
import pytest

from ledger.errors import CheckpointError
from training.backbone import load_backbone
from training.elastic_classifier import build
from training.inference import predict_logits
from training.litert_format import litert_bytes
from training.onnx_format import onnx_bytes
from training.quantization import uniform
from training.runtime import litert_engine, onnx_engine
from training.teacher import (
    hidden_states,
    plain_shape,
    plain_weights,
    split_teacher,
    upper_inputs,
    upper_logits,
)

SEQUENCES = [np.array([2, 5, 9, 3], np.int32), np.array([2, 7, 3], np.int32), np.array([2, 5, 6, 7, 8, 3], np.int32)]


@pytest.fixture(scope="module")
def backbone(checkpoint: Path):
    return load_backbone(checkpoint)


@pytest.mark.parametrize("trainable_layers", [0, 1, 2, 9])
def test_the_plain_network_is_the_same_function(backbone, trainable_layers: int, tmp_path: Path):
    teacher = split_teacher(backbone, 2, trainable_layers, 0.1)
    logits = upper_logits(teacher, hidden_states(teacher, SEQUENCES, tmp_path / "states.npy"))
    plain = build(plain_shape(teacher), plain_weights(teacher))
    np.testing.assert_allclose(predict_logits(plain, SEQUENCES), logits, rtol=1e-4, atol=1e-5)


def test_only_the_upper_part_learns(backbone, tmp_path: Path):
    teacher = split_teacher(backbone, 2, 1, 0.1)
    before = plain_weights(teacher)
    states = hidden_states(teacher, SEQUENCES, tmp_path / "states.npy")
    teacher.upper.compile(optimizer="adam", loss="mse")
    teacher.upper.train_on_batch(upper_inputs(states), np.eye(2, dtype=np.float32)[[0, 1, 0]])
    after = plain_weights(teacher)
    changed = {name.split("/")[0] for name in before if not np.array_equal(before[name], after[name])}
    assert changed == {"block_1", "head"}


def test_states_are_those_of_each_text_alone(backbone, tmp_path: Path):
    teacher = split_teacher(backbone, 2, 1, 0.1)
    together = hidden_states(teacher, SEQUENCES, tmp_path / "all.npy")
    alone = hidden_states(teacher, SEQUENCES[1:2], tmp_path / "one.npy")
    assert [state.shape for state in together] == [(4, 32), (3, 32), (6, 32)]
    np.testing.assert_allclose(together[1], alone[0], rtol=1e-4, atol=1e-5)


def test_not_a_bert(tmp_path: Path):
    (tmp_path / "config.json").write_text('{"model_type": "mystery"}')
    with pytest.raises(CheckpointError, match="KerasHub cannot load it as a BERT encoder"):
        load_backbone(tmp_path)


METHODS = {
    "full": {"embedding", "block_0", "block_1", "head"},
    "lora": {"block_1/attention", "block_1/expand", "block_1/contract", "head"},
    "adapters": {"block_1/attention_adapter", "block_1/feedforward_adapter", "block_1/norms", "head"},
}


@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize("method", METHODS)
def test_a_method_trains_its_own_weights_and_what_is_exported_is_the_same_function(
    checkpoint: Path, method: str, pooling: str, tmp_path: Path
):
    teacher = split_teacher(load_backbone(checkpoint), 2, 1, 0.1, method, rank=4, pooling=pooling)
    states = hidden_states(teacher, SEQUENCES, tmp_path / "states.npy")
    before, untrained = plain_weights(teacher), upper_logits(teacher, states)
    teacher.upper.compile(optimizer=keras.optimizers.Adam(0.01), loss="mse")
    for _ in range(3):
        teacher.upper.train_on_batch(upper_inputs(states), np.eye(2, dtype=np.float32)[[0, 1, 0]])
    after, shape = plain_weights(teacher), plain_shape(teacher)
    parts = set()
    for name in before:
        if not np.array_equal(before[name], after[name]):
            block, _, rest = name.partition("/")
            inside = "norms" if "_norm/" in rest else rest.split("/")[0]
            parts.add(block if method == "full" or block == "head" else f"{block}/{inside}")
    assert parts == METHODS[method]
    logits = upper_logits(teacher, states)
    assert np.abs(logits - untrained).max() > 0.01
    model = build(shape, after)
    np.testing.assert_allclose(predict_logits(model, SEQUENCES), logits, rtol=1e-4, atol=1e-5)
    path = tmp_path / "model.onnx"
    path.write_bytes(onnx_bytes(shape, after, uniform(shape, "float32")))
    served = np.concatenate([onnx_engine(path, 1)(sequence[None]) for sequence in SEQUENCES])
    np.testing.assert_allclose(served, logits, rtol=1e-3, atol=1e-4)
    path.write_bytes(litert_bytes(shape, after, uniform(shape, "float32")))
    served = np.concatenate([litert_engine(path, 1)(sequence[None]) for sequence in SEQUENCES])
    np.testing.assert_allclose(served, logits, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_every_layer_may_learn(checkpoint: Path, method: str, tmp_path: Path):
    teacher = split_teacher(load_backbone(checkpoint), 2, 2, 0.1, method, rank=4)
    states = hidden_states(teacher, SEQUENCES, tmp_path / "states.npy")
    before = plain_weights(teacher)
    teacher.upper.compile(optimizer=keras.optimizers.Adam(0.01), loss="mse")
    for _ in range(3):
        teacher.upper.train_on_batch(upper_inputs(states), np.eye(2, dtype=np.float32)[[0, 1, 0]])
    after = plain_weights(teacher)
    moved = {name.partition("/")[0] for name in before if not np.array_equal(before[name], after[name])}
    assert {"block_0", "block_1", "head"} <= moved
    answers = predict_logits(build(plain_shape(teacher), after), SEQUENCES)
    np.testing.assert_allclose(answers, upper_logits(teacher, states), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("layers", [1, 2])
def test_untrained_adapters_change_nothing(checkpoint: Path, layers: int, tmp_path: Path):
    plain, adapted = (
        split_teacher(load_backbone(checkpoint), 2, layers, 0.1, method, rank=4) for method in ("layers", "adapters")
    )
    adapted.upper.get_layer("head").set_weights(plain.upper.get_layer("head").get_weights())
    found = [
        upper_logits(teacher, hidden_states(teacher, SEQUENCES, tmp_path / "s.npy")) for teacher in (plain, adapted)
    ]
    np.testing.assert_allclose(*found, rtol=1e-4, atol=1e-5)
