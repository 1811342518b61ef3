import keras
import numpy as np
import pytest

from ledger.errors import CheckpointError
from tests.training.replicas import batches, network
from training.schedule import adamw
from training.soft_label_training import SoftLabelTraining


@pytest.fixture(params=["float32", "mixed_bfloat16", "mixed_float16"])
def policy(request: pytest.FixtureRequest):
    keras.config.set_dtype_policy(request.param)
    yield request.param
    keras.config.set_dtype_policy("float32")


def losses(epochs: int = 1) -> list[float]:
    run = SoftLabelTraining(network(), adamw(1e-2, 60, 0.1, 0.0))
    return [run.step(*batch) for _ in range(epochs) for batch in batches()]


def test_half_precision_trains_alike_and_keeps_its_weights_in_float32(policy: str):
    run = SoftLabelTraining(network(), adamw(1e-2, 60, 0.1, 0.0))
    found = [run.step(*batch) for batch in batches()]
    assert {np.asarray(variable).dtype for variable in run.model.trainable_variables} == {np.dtype("float32")}
    keras.config.set_dtype_policy("float32")
    np.testing.assert_allclose(found, losses(), rtol=2e-2)


def test_only_float16_scales_its_loss(policy: str):
    run = SoftLabelTraining(network(), adamw(1e-2, 60, 0.1, 0.0))
    assert isinstance(run.optimizer, keras.optimizers.LossScaleOptimizer) is (policy == "mixed_float16")


def test_a_row_of_no_weight_teaches_nothing():
    ends = []
    for label in (0, 1):
        run = SoftLabelTraining(network(), adamw(1e-2, 10, 0.1, 0.01))
        states = np.random.default_rng(1).normal(size=(2, 3, 8)).astype(np.float32)
        targets = np.eye(3, dtype=np.float32)[[2, label]]
        run.step([states], targets, np.array([1, 0], dtype=np.float32))
        ends.append(run.model.get_weights())
    for left, right in zip(*ends, strict=True):
        np.testing.assert_array_equal(left, right)


def test_a_state_of_another_model_is_refused():
    run = SoftLabelTraining(network(), adamw(1e-2, 10, 0.1, 0.01))
    state = run.state()
    name = next(iter(state))
    with pytest.raises(CheckpointError, match="is of another model"):
        run.restore(state | {name: state[name][:1]})
    run.restore(state)
