"""Layers against flax.linen, closed forms and invariants."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax.nn import (
    Dropout,
    GroupNorm,
    SelfAttention,
    attention,
    dot_product_attention,
    downsample,
    initialize,
    materialize,
    max_pool,
    sinusoidal_embedding,
    upsample,
)
from genjax.nn.normalization import num_groups


@pytest.mark.parametrize("shape", [(3, 5, 7, 32), (1, 1, 1, 8), (2, 8, 8, 6), (2, 4, 4, 160)])
def test_group_norm_equals_flax(shape):
    x = 3 + 2 * jax.random.normal(jax.random.key(0), shape)
    ours, flax = GroupNorm(epsilon=1e-5), nn.GroupNorm(num_groups(shape[-1]), epsilon=1e-5)
    params = jax.tree.map(
        lambda p: p + jax.random.normal(jax.random.key(1), p.shape), flax.init(jax.random.key(0), x)
    )

    def total(module, params, x):
        y = module.apply(params, x)
        return (y * jnp.sin(jnp.arange(y.size).reshape(y.shape))).sum(), y

    (_, y), grads = jax.value_and_grad(total, argnums=(1, 2), has_aux=True)(ours, params, x)
    (_, expected), expected_grads = jax.value_and_grad(total, argnums=(1, 2), has_aux=True)(flax, params, x)
    np.testing.assert_allclose(y, expected, atol=2e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-4, rtol=1e-4), grads, expected_grads)


def test_group_norm_modulation_is_scale_plus_one_then_shift():
    x = jax.random.normal(jax.random.key(0), (2, 4, 4, 8))
    scale, shift = jax.random.normal(jax.random.key(1), (2, 2, 8))
    params = GroupNorm().init(jax.random.key(0), x)
    plain = GroupNorm().apply(params, x)
    modulated = GroupNorm().apply(params, x, scale, shift)
    np.testing.assert_allclose(
        modulated, plain * (1 + scale[:, None, None]) + shift[:, None, None], rtol=1e-5, atol=1e-5
    )


def test_group_norm_computes_moments_in_float32():
    """In bfloat16 the mean of 1000 + noise would lose the noise altogether."""
    x = (1000 + 8 * jax.random.normal(jax.random.key(0), (1, 16, 16, 4))).astype(jnp.bfloat16)
    y = GroupNorm().apply(GroupNorm().init(jax.random.key(0), x), x)
    assert y.dtype == jnp.bfloat16
    assert float(jnp.std(y.astype(jnp.float32))) == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize(
    ("channels", "groups"), [(32, 8), (64, 16), (128, 32), (512, 32), (6, 1), (24, 6), (3, 1), (1, 1)]
)
def test_number_of_groups(channels, groups):
    assert num_groups(channels) == groups


def test_dropout_mask_belongs_to_the_example():
    x = jnp.ones((8, 4, 4, 3))
    index = jnp.arange(8)
    layer, key = Dropout(0.25), jax.random.key(0)
    whole = layer.apply({}, x, index, rngs={"dropout": key})
    order = jnp.array([5, 0, 7, 2])
    np.testing.assert_array_equal(
        layer.apply({}, x[order], index[order], rngs={"dropout": key}), whole[order]
    )
    assert len({row.tobytes() for row in np.asarray(whole)}) == 8


def test_dropout_rate_and_scale():
    y = Dropout(0.25).apply(
        {}, jnp.ones((64, 16, 16, 4)), jnp.arange(64), rngs={"dropout": jax.random.key(0)}
    )
    assert set(np.unique(y)) == {0.0, np.float32(1 / 0.75)}
    assert float((y == 0).mean()) == pytest.approx(0.25, abs=5 * (0.25 * 0.75 / y.size) ** 0.5)


def test_dropout_is_the_identity_without_index():
    x = jax.random.normal(jax.random.key(0), (2, 3))
    np.testing.assert_array_equal(Dropout(0.9).apply({}, x, None), x)


def test_sinusoidal_embedding():
    y = sinusoidal_embedding(jnp.array([0.0, 2.5]), 6, max_period=100.0)
    f = 100.0 ** (-np.arange(3) / 3)
    np.testing.assert_allclose(y[0], [1, 1, 1, 0, 0, 0])
    np.testing.assert_allclose(y[1], np.concatenate([np.cos(2.5 * f), np.sin(2.5 * f)]), rtol=1e-5)


def test_resampling():
    x = jnp.arange(16.0).reshape(1, 4, 4, 1)
    np.testing.assert_array_equal(downsample(x)[0, :, :, 0], [[2.5, 4.5], [10.5, 12.5]])
    np.testing.assert_array_equal(upsample(x)[0, :2, :4, 0], [[0, 0, 1, 1], [0, 0, 1, 1]])
    np.testing.assert_array_equal(downsample(upsample(x)), x)


def test_attention_against_a_loop():
    """One head of width C: softmax(q k / sqrt(C)) v, written out, plus the input."""
    x = jax.random.normal(jax.random.key(0), (2, 2, 3, 8))
    layer = SelfAttention(head_channels=4)
    params = jax.tree.map(
        lambda p: p + 0.3 * jax.random.normal(jax.random.key(1), p.shape), layer.init(jax.random.key(0), x)
    )
    p = params["params"]
    h = GroupNorm().apply({"params": p["norm"]}, x).reshape(2, 6, 8)
    q, k, v = np.split(np.asarray(h @ p["qkv"]["kernel"] + p["qkv"]["bias"][None, None]), 3, axis=-1)
    mixed = np.zeros((2, 6, 8))
    for b in range(2):
        for head in (slice(0, 4), slice(4, 8)):
            logits = q[b, :, head] @ k[b, :, head].T / 2
            weights = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
            mixed[b, :, head] = weights @ v[b, :, head]
    expected = mixed @ np.asarray(p["out"]["kernel"]) + np.asarray(p["out"]["bias"])
    np.testing.assert_allclose(layer.apply(params, x), x + expected.reshape(x.shape), atol=1e-5)


def test_attention_is_the_identity_at_initialisation():
    x = jax.random.normal(jax.random.key(0), (1, 4, 4, 8))
    np.testing.assert_array_equal(SelfAttention().apply(SelfAttention().init(jax.random.key(0), x), x), x)


def test_initialize_equals_init():
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x, *, scale=1.0):
            x = nn.Conv(4, (3, 3))(x) * scale
            x = nn.BatchNorm(use_running_average=True)(x)
            return nn.Dense(3)(x)

    x = jnp.zeros((1, 4, 4, 2))
    expected = Net().init({"params": jax.random.key(3)}, x)
    jax.tree.map(np.testing.assert_array_equal, initialize(Net(), jax.random.key(3), x, scale=2.0), expected)


def test_attention_in_blocks_is_the_same(monkeypatch):
    query, key, value = jax.random.normal(jax.random.key(0), (3, 2, 12, 3, 4))
    tangents = tuple(jnp.sin(x) for x in (query, key, value))

    def results():
        loss = lambda *args: jnp.sum(jnp.cos(dot_product_attention(*args)))  # noqa: E731
        gradients = jax.grad(loss, argnums=(0, 1, 2))(query, key, value)
        return (
            dot_product_attention(query, key, value),
            gradients,
            jax.jvp(loss, (query, key, value), tangents),
        )

    expected = results()
    reference = jax.nn.dot_product_attention(query, key, value)
    np.testing.assert_allclose(expected[0], reference, atol=1e-6)
    monkeypatch.setattr(attention, "MAX_LOGITS_BYTES", 5 * 4 * 2 * 3 * 12)
    assert "scan" in str(jax.make_jaxpr(dot_product_attention)(query, key, value))
    assert attention._block(12, 4 * 2 * 3 * 12) == 4
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-6), results(), expected)


def test_attention_in_blocks_takes_less_memory(monkeypatch):
    """The logits of all 32^2 positions would take 32 MiB; they are neither made at once nor kept for the gradient."""
    arrays = [jax.ShapeDtypeStruct((2, 1024, 4, 8), jnp.float32)] * 3

    def temporary_bytes():
        loss = lambda *args: jnp.sum(dot_product_attention(*args) ** 2)  # noqa: E731
        gradient = jax.jit(lambda *args: jax.grad(loss, argnums=(0, 1, 2))(*args))
        return gradient.lower(*arrays).compile().memory_analysis().temp_size_in_bytes

    whole = temporary_bytes()
    monkeypatch.setattr(attention, "MAX_LOGITS_BYTES", 2 << 20)
    assert temporary_bytes() < whole / 4


@pytest.mark.parametrize(
    ("shape", "window", "strides", "padding"),
    [
        ((2, 8, 8, 3), (2, 2), (2, 2), "VALID"),
        ((2, 7, 9, 3), (2, 3), (2, 3), "VALID"),
        ((2, 9, 3), (3,), (3,), "VALID"),
        ((2, 8, 8, 3), (3, 3), (2, 2), "SAME"),
        ((2, 6, 6, 3), (2, 2), None, "VALID"),
    ],
)
def test_max_pool_equals_flax_ties_included(shape, window, strides, padding):
    x = jnp.round(2 * jax.random.normal(jax.random.key(0), shape))  # many equal numbers
    weights = jnp.cos(jnp.arange(x.size)).reshape(x.shape)

    def results(pool):
        y, pull_back = jax.vjp(lambda x: pool(x, window, strides, padding), x)
        return y, pull_back(weights.ravel()[: y.size].reshape(y.shape))[0]

    jax.tree.map(np.testing.assert_array_equal, results(max_pool), results(nn.max_pool))


def test_max_pool_has_every_derivative():
    x = jax.random.normal(jax.random.key(0), (3, 6, 4, 2))
    dx = jax.random.normal(jax.random.key(1), x.shape)

    def results(pool):
        f = lambda x: jnp.sum(jnp.sin(pool(x, (3, 2), (3, 2))))  # noqa: E731
        hessian_product = jax.jvp(jax.grad(f), (x,), (dx,))[1]
        return jax.jvp(f, (x,), (dx,)), hessian_product, jax.vmap(jax.grad(f))(x[:, None])

    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), results(max_pool), results(nn.max_pool)
    )


def test_max_pool_shows_nans():
    x = jnp.zeros((1, 2, 2, 4)).at[0, jnp.array([0, 0, 1]), jnp.array([0, 1, 1]), jnp.arange(3)].set(jnp.nan)
    np.testing.assert_array_equal(jnp.isnan(max_pool(x, (2, 2), (2, 2))).ravel(), [True, True, True, False])


def test_materialize_is_the_identity_with_all_derivatives():
    x = jax.random.normal(jax.random.key(0), (3, 4))
    f = lambda x: jnp.sum(jnp.sin(materialize(x * x)))  # noqa: E731
    g = lambda x: jnp.sum(jnp.sin(x * x))  # noqa: E731
    for derivative in (jax.grad, jax.jacfwd, jax.hessian, lambda f: jax.vmap(jax.grad(f))):
        np.testing.assert_array_equal(derivative(f)(x), derivative(g)(x))


@pytest.mark.parametrize(("platform", "count"), [("cpu", 2), ("tpu", 0), ("cuda", 0)])
def test_materialize_is_a_barrier_on_cpu_only(platform, count):
    exported = jax.export.export(
        jax.jit(jax.grad(lambda x: jnp.sum(materialize(x) ** 2))), platforms=[platform]
    )
    assert exported(jnp.ones(3)).mlir_module().count("stablehlo.optimization_barrier") == count
