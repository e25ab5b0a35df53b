"""Gradients, accumulation, the moving average."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax.devices import mean_over_devices
from genjax.methods.averages import ema
from genjax.methods.gradients import mean_gradient
from genjax.typing import DATA_AXIS, UserError

PARAMS = {"w": jnp.array([1.0, -2.0])}
BATCH = {"image": jax.random.normal(jax.random.key(0), (8, 2)), "_index": jnp.arange(8)}


def loss(params, key, batch):
    """Each example is scaled by noise of its own, so that lost or shared noise shows."""
    noise = jax.vmap(lambda i: jax.random.normal(jax.random.fold_in(key, i)))(batch["_index"])
    errors = noise * (batch["image"] @ params["w"]) ** 2
    return errors.mean(), {"largest": params["w"].max()}


def test_gradients_against_the_closed_form():
    key = jax.random.key(1)
    metrics, grads = mean_gradient()(loss, PARAMS, key, BATCH)
    noise = jnp.stack([jax.random.normal(jax.random.fold_in(key, i)) for i in range(8)])
    prediction = BATCH["image"] @ PARAMS["w"]
    expected = (2 * (noise * prediction)[:, None] * BATCH["image"]).mean(0)
    np.testing.assert_allclose(grads["w"], expected, rtol=1e-5)
    assert float(metrics["loss"]) == pytest.approx(float((noise * prediction**2).mean()), rel=1e-5)
    assert float(metrics["grad_norm"]) == pytest.approx(float(jnp.linalg.norm(expected)), rel=1e-5)
    assert float(metrics["largest"]) == 1.0


@pytest.mark.parametrize("accumulate", [2, 4, 8])
@pytest.mark.parametrize("backend", ["cpu", "tpu"])  # which decides between unrolling and scan
def test_accumulation_equals_the_big_batch(monkeypatch, accumulate, backend):
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    whole = mean_gradient()(loss, PARAMS, jax.random.key(1), BATCH)
    parts = mean_gradient(accumulate)(loss, PARAMS, jax.random.key(1), BATCH)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-6), parts, whole)


def test_accumulation_must_divide_the_batch():
    with pytest.raises(UserError, match="accumulate=3 must divide the batch size 8"):
        mean_gradient(3)(loss, PARAMS, jax.random.key(1), BATCH)


def test_mean_over_devices_where_an_axis_is_bound():
    x = jnp.arange(8.0)
    spread = jax.vmap(mean_over_devices, axis_name=DATA_AXIS)(x)
    np.testing.assert_array_equal(spread, np.full(8, 3.5))
    np.testing.assert_array_equal(mean_over_devices(x), x)
    counts = jax.vmap(mean_over_devices, axis_name=DATA_AXIS)(jnp.full(8, 3))
    assert counts.dtype == jnp.int32 and (counts == 3).all()  # whole numbers stay whole


def test_moving_average_follows_its_recursion():
    average, expected = jnp.zeros(()), 0.0
    for step in range(1, 60):
        average = ema(average, jnp.asarray(float(step)), jnp.asarray(step), 0.8)
        decay = min(0.8, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
        assert float(average) == pytest.approx(expected, rel=1e-5)
    # Far beyond the warm-up the average of a ramp lags behind by decay / (1 - decay) = 4 steps.
    assert float(average) == pytest.approx(59 - 4, abs=0.01)
