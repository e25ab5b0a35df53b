"""Batch normalisation: against flax.linen, by hand, and over devices."""

import functools

import flax.linen
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax.nn.batch_norm import BatchNorm, ConditionalBatchNorm
from genjax.nn.initialization import initialize
from genjax.typing import UserError
from tests.nn.over_devices import by_all_devices


def normal(seed, *shape):
    return jax.random.normal(jax.random.key(seed), shape)


def perturbed(tree):
    return jax.tree.map(lambda x: x + 0.3 * jnp.abs(normal(7, *x.shape)), tree)


X = 2 + 3 * normal(0, 16, 3, 2, 4)
VARIABLES = perturbed(initialize(BatchNorm(), jax.random.key(0), X[:1], train=True))


@pytest.mark.parametrize("shape", [(16, 3, 2, 4), (16, 4)])
def test_as_flax(shape):
    """Outputs, gradients and new statistics, in training and not."""
    x = X.reshape(-1, *shape[1:])

    @functools.partial(jax.jit, static_argnums=0)
    def results(train):
        def run(layer, **options):
            def loss(params, x):
                variables = {**VARIABLES, "params": params}
                y, new = layer.apply(variables, x, mutable=["batch_stats"], **options)
                return jnp.sum(jnp.sin(y)), (y, new)

            return jax.value_and_grad(loss, (0, 1), has_aux=True)(VARIABLES["params"], x)

        flax_layer = flax.linen.BatchNorm(momentum=0.7, epsilon=1e-3)
        ours = run(BatchNorm(momentum=0.7, epsilon=1e-3), train=train)
        return ours, run(flax_layer, use_running_average=not train)

    for train in (False, True):
        ours, theirs = results(train)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5), ours, theirs)
    assert jax.tree.structure(VARIABLES) == jax.tree.structure(
        flax.linen.BatchNorm(use_running_average=True).init(jax.random.key(0), x)
    )


def test_running_statistics_by_hand():
    """The old ones' share, and the variance with n - 1; the output is by the variance with n."""
    old, flat = VARIABLES["batch_stats"], np.asarray(X, np.float64).reshape(-1, 4)
    params = {"scale": jnp.full(4, 2.0), "bias": jnp.full(4, 5.0)}
    for unbiased in (False, True):
        layer = BatchNorm(momentum=0.8, unbiased=unbiased)
        y, new = layer.apply({**VARIABLES, "params": params}, X, train=True, mutable=["batch_stats"])
        new = new["batch_stats"]
        np.testing.assert_allclose(new["mean"], 0.8 * old["mean"] + 0.2 * flat.mean(0), rtol=1e-5)
        variance = flat.var(0, ddof=int(unbiased))
        np.testing.assert_allclose(new["var"], 0.8 * old["var"] + 0.2 * variance, rtol=1e-5)
        expected = 5 + 2 * (flat - flat.mean(0)) / np.sqrt(flat.var(0) + 1e-5)
        np.testing.assert_allclose(y.reshape(-1, 4), expected, atol=1e-5)
        # What may not be stored is not, and changes nothing else.
        np.testing.assert_array_equal(layer.apply({**VARIABLES, "params": params}, X, train=True), y)


def test_initialisation_leaves_the_statistics():
    stats = initialize(BatchNorm(), jax.random.key(0), X, train=True)["batch_stats"]
    np.testing.assert_array_equal(stats["mean"], np.zeros(4))
    np.testing.assert_array_equal(stats["var"], np.ones(4))


def test_constant_channels_and_half_precision():
    x = jnp.full((8, 4, 4, 4), 1000.1)
    y = BatchNorm().apply(VARIABLES, x, train=True)
    assert np.isfinite(y).all()
    wide = BatchNorm().apply(VARIABLES, X.astype(jnp.bfloat16).astype(jnp.float32), train=True)
    half = BatchNorm().apply(VARIABLES, X.astype(jnp.bfloat16), train=True)
    assert half.dtype == jnp.bfloat16
    np.testing.assert_array_equal(half, wide.astype(jnp.bfloat16))
    assert (
        BatchNorm(dtype=jnp.float32).apply(VARIABLES, X.astype(jnp.bfloat16), train=True).dtype == jnp.float32
    )


def standardized(x):
    flat = np.asarray(x, np.float64)
    return (flat - flat.mean((0, 1, 2))) / np.sqrt(flat.var((0, 1, 2)) + 1e-5)


def test_gain_and_bias_of_a_class():
    layer = ConditionalBatchNorm(3)
    label = jnp.arange(16) % 3
    variables = initialize(layer, jax.random.key(0), X, label, train=True)
    apply = jax.jit(functools.partial(layer.apply, train=True))
    np.testing.assert_allclose(apply(variables, X, label), standardized(X), atol=1e-5)
    variables = perturbed(variables)
    p = jax.tree.map(np.asarray, variables["params"])
    gain = (1 + p["scale"]["kernel"])[label][:, None, None]
    expected = gain * standardized(X) + p["shift"]["kernel"][label][:, None, None]
    np.testing.assert_allclose(apply(variables, X, label), expected, atol=1e-4)
    assert p.keys() == {"scale", "shift"}


def test_gain_and_bias_from_a_vector():
    layer = ConditionalBatchNorm()
    vector = normal(3, 16, 5)
    variables = initialize(layer, jax.random.key(0), X, vector, train=True)
    p = jax.tree.map(np.asarray, variables["params"])
    gain = 1 + np.asarray(vector) @ p["scale"]["kernel"]
    expected = gain[:, None, None] * standardized(X) + (vector @ p["shift"]["kernel"])[:, None, None]
    y = layer.apply(variables, X, vector, train=True)
    np.testing.assert_allclose(y, expected, atol=1e-4)
    assert np.abs(y - standardized(X)).max() > 1e-3


def test_eight_devices_and_one():
    """Outputs, statistics and gradients are those of the whole batch."""

    def step(variables, x, over_devices):
        def loss(params):
            y, new = BatchNorm(unbiased=True).apply(
                {**variables, "params": params}, x, train=True, mutable=["batch_stats"]
            )
            return over_devices(jnp.sin(3 * y).sum((1, 2, 3)).mean()), (y, new)

        grads, (y, new) = jax.grad(loss, has_aux=True)(variables["params"])
        return y, new, grads

    # Every device's examples have moments of their own.
    x = X + 5 * jnp.arange(16.0).reshape(16, 1, 1, 1)
    expected = jax.jit(functools.partial(step, over_devices=lambda x: x))(VARIABLES, x)
    for _, actual in by_all_devices(step, VARIABLES, x):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), actual, expected)


def test_errors():
    with pytest.raises(UserError, match=r"momentum=1\.1: valid are numbers in \[0, 1\]"):
        BatchNorm(momentum=1.1).init(jax.random.key(0), X, train=True)
    with pytest.raises(
        UserError, match=r"condition has the shape \(16,\): valid with num_classes=None is float"
    ):
        ConditionalBatchNorm().init(jax.random.key(0), X, jnp.zeros(16), train=True)
    with pytest.raises(
        UserError, match=r"condition has the shape \(16, 2\): valid with num_classes=3 is int32"
    ):
        ConditionalBatchNorm(3).init(jax.random.key(0), X, jnp.zeros((16, 2)), train=True)
