"""Spectral normalisation against singular values, of kernels as matrices and of layers as maps of images."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax.nn import Conv, ConvTranspose, initialize
from genjax.nn.spectral_norm import SpectralNorm
from genjax.typing import UserError

IMAGE = (6, 5, 2)
# Of them those with `operator=True` have strides, gaps and other borders.
LAYERS = {
    "dense": (nn.Dense(4), (7,)),
    "conv": (Conv(4, (3, 3)), IMAGE),
    "strided conv": (Conv(4, (4, 4), (2, 2), ((1, 1), (1, 1))), IMAGE),
    "dilated conv": (Conv(3, (3, 3), kernel_dilation=(2, 2), padding="VALID"), IMAGE),
    "circular conv": (Conv(3, (3, 3), padding="CIRCULAR"), IMAGE),
    "transposed conv": (ConvTranspose(3, (4, 4), (2, 2)), IMAGE),
}
BOTH = pytest.mark.parametrize("operator", [False, True])


def made(name, operator, **options):
    """The layer, its variables after some steps of the power iteration, and images."""
    layer, shape = LAYERS[name]
    network = SpectralNorm(layer, operator=operator, **options)
    x = jax.random.normal(jax.random.key(1), (3, *shape))
    return network, initialize(network, jax.random.key(0), x), x


def matrix(layer, kernel, shape, operator):
    """What sigma is the norm of, [outputs, inputs], in the way that needs no power iteration."""
    if not operator:
        return np.asarray(kernel).reshape(-1, kernel.shape[-1]).T
    plain = layer.clone(parent=None, use_bias=False)
    jacobian = jax.jacobian(lambda x: plain.apply({"params": {"kernel": kernel}}, x[None])[0])
    return np.asarray(jax.jit(jacobian)(jnp.zeros(shape, kernel.dtype))).reshape(-1, np.prod(shape))


@BOTH
@pytest.mark.parametrize("name", LAYERS)
def test_largest_singular_value(name, operator):
    """After enough steps the layer's kernel is divided by it, and u is the vector that belongs to it."""
    network, variables, x = made(name, operator, num_steps=1000)
    kernel = variables["params"]["layer"]["kernel"]
    # Far from 1, so that a kernel that is not divided is seen.
    variables["params"]["layer"] = {"kernel": 7 * kernel, "bias": jnp.arange(kernel.shape[-1]) / 10.0}
    y, changed = network.apply(variables, x, train=True, mutable=["spectral"])
    layer, shape = LAYERS[name]
    w = matrix(layer, 7 * kernel, shape, operator)
    singular = np.linalg.svd(w, compute_uv=False)
    assert singular[0] > 2
    bias = {"bias": variables["params"]["layer"]["bias"]}
    expected = layer.apply({"params": {"kernel": 7 * kernel / singular[0], **bias}}, x)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-4)
    u = np.asarray(changed["spectral"]["u"])
    assert u.shape == (expected.shape[1:] if operator else kernel.shape[-1:])
    # Of the space that belongs to it, which may have more than one dimension.
    np.testing.assert_allclose(np.linalg.norm(w.T @ u.ravel()), singular[0], rtol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(u), 1, rtol=1e-5)
    # In evaluation the same.
    np.testing.assert_allclose(network.apply({**variables, **changed}, x), y, rtol=1e-5, atol=1e-6)


@BOTH
def test_as_many_steps_a_call_as_asked_for(operator):
    """Three calls of one step are one call of three; and what is done by hand."""
    one, variables, x = made("strided conv", operator)
    three = SpectralNorm(one.layer, 3, operator=operator)
    state = dict(variables)
    apply = jax.jit(lambda v, x: one.apply(v, x, train=True, mutable=["spectral"]))
    for _ in range(3):
        y, changed = apply(state, x)
        state |= changed
    together, changed = three.apply(variables, x, train=True, mutable=["spectral"])
    np.testing.assert_allclose(changed["spectral"]["u"], state["spectral"]["u"], atol=1e-6)
    np.testing.assert_allclose(together, y, rtol=1e-5, atol=1e-6)

    kernel = variables["params"]["layer"]["kernel"]
    w = matrix(one.layer, kernel, IMAGE, operator)
    u = np.asarray(variables["spectral"]["u"]).ravel()
    np.testing.assert_allclose(np.linalg.norm(u), 1, rtol=1e-5)
    for _ in range(3):
        u = w @ (w.T @ u)
        u /= np.linalg.norm(u)
    np.testing.assert_allclose(np.ravel(changed["spectral"]["u"]), u, atol=1e-5)
    sigma = np.linalg.norm(w.T @ u)
    # One that is not there yet.
    assert np.linalg.norm(w, 2) - sigma > 1e-3
    by_hand = one.layer.apply({"params": {"kernel": kernel / sigma, "bias": jnp.zeros(4)}}, x)
    np.testing.assert_allclose(together, by_hand, rtol=1e-4, atol=1e-5)


def test_u_is_stored_only_in_training_and_where_it_may_be():
    """A call in which it may not be gives the same images."""
    network, variables, x = made("conv", False)
    stored, changed = network.apply(variables, x, train=True, mutable=["spectral"])
    np.testing.assert_array_equal(network.apply(variables, x, train=True), stored)
    evaluated, same = network.apply(variables, x, mutable=["spectral"])
    np.testing.assert_array_equal(same["spectral"]["u"], variables["spectral"]["u"])
    assert np.abs(np.asarray(evaluated - stored)).max() > 1e-3
    assert np.abs(np.asarray(changed["spectral"]["u"] - variables["spectral"]["u"])).max() > 1e-3


@BOTH
def test_gradient(operator):
    """(G - <G, W / sigma> d sigma / d W) / sigma, against differences of numpy's singular value; and by the formula."""
    layer, shape = Conv(3, (3, 3), (2, 2), param_dtype=jnp.float64), (4, 4, 2)
    with jax.enable_x64(True):
        network = SpectralNorm(layer, 2000, operator=operator)
        x = jax.random.normal(jax.random.key(1), (2, *shape), jnp.float64)
        variables = initialize(network, jax.random.key(0), x)
        kernel = variables["params"]["layer"]["kernel"]
        weights = jnp.cos(jnp.arange(2.0 * 2 * 2 * 3)).reshape(2, 2, 2, 3)

        @jax.jit
        def loss(kernel):
            params = {"layer": {"kernel": kernel, "bias": jnp.zeros(3)}}
            y, changed = network.apply({**variables, "params": params}, x, train=True, mutable=["spectral"])
            return (y * weights).sum(), changed["spectral"]["u"]

        (_, u), gradient = jax.value_and_grad(loss, has_aux=True)(kernel)

        def plain(kernel):
            y = layer.apply({"params": {"kernel": kernel, "bias": jnp.zeros(3)}}, x)
            return (y * weights).sum()

        def sigma(kernel):
            return np.linalg.svd(matrix(layer, kernel, shape, operator), compute_uv=False)[0]

        direction = jnp.sin(jnp.arange(1.0 * kernel.size)).reshape(kernel.shape)
        step = 1e-5
        up, down = (plain(k) / sigma(k) for k in (kernel + step * direction, kernel - step * direction))
        np.testing.assert_allclose((gradient * direction).sum(), (up - down) / (2 * step), rtol=1e-6)
        if not operator:
            # The layer is linear in its kernel: its gradient is the same everywhere.
            g, w = (np.asarray(a).reshape(-1, 3).T for a in (jax.grad(plain)(kernel), kernel))
            v = w.T @ u / np.linalg.norm(w.T @ u)
            expected = (g - (g * w).sum() / sigma(kernel) * np.outer(u, v)) / sigma(kernel)
            np.testing.assert_allclose(np.asarray(gradient).reshape(-1, 3).T, expected, rtol=1e-6, atol=1e-9)


def test_gradient_has_no_part_through_the_vectors():
    """Far from the largest singular value these would change with the kernel; the gradient takes them as constants."""
    network, variables, x = made("dense", False)

    def loss(kernel):
        params = {"layer": {"kernel": kernel, "bias": jnp.zeros(4)}}
        return network.apply({**variables, "params": params}, x, train=True).sum()

    kernel = variables["params"]["layer"]["kernel"]
    w, u = np.asarray(kernel).T, np.asarray(variables["spectral"]["u"])
    u = w @ (w.T @ u)
    u /= np.linalg.norm(u)
    v = w.T @ u / np.linalg.norm(w.T @ u)
    sigma = u @ w @ v
    g = np.ones((4, 3)) @ np.asarray(x)
    expected = (g - (g * w).sum() / sigma * np.outer(u, v)) / sigma
    np.testing.assert_allclose(np.asarray(jax.grad(loss)(kernel)).T, expected, rtol=1e-4, atol=1e-5)


class Network(nn.Module):
    """Parameters keep their names, so that a checkpoint without normalisation fits."""

    normalize: bool

    @nn.compact
    def __call__(self, x, train=False):
        def layer(inner):
            return (lambda x: SpectralNorm(inner)(x, train=train)) if self.normalize else inner

        x = layer(Conv(3, (3, 3), name="conv"))(x)
        return layer(nn.Dense(2, name="logits"))(x.reshape(x.shape[0], -1))


def test_parameters_are_those_of_the_layer():
    x = jnp.ones((1, *IMAGE))
    variables, plain = (initialize(Network(flag), jax.random.key(0), x) for flag in (True, False))
    assert jax.tree.map(jnp.shape, variables["params"]) == jax.tree.map(jnp.shape, plain["params"])
    assert jax.tree.map(jnp.shape, variables["spectral"]) == {
        "SpectralNorm_0": {"u": (3,)},
        "SpectralNorm_1": {"u": (2,)},
    }
    fresh = Network(True).init(jax.random.key(0), x, train=True)
    jax.tree.map(np.testing.assert_array_equal, fresh, variables)


def test_the_most_that_a_layer_stretches_an_image():
    """1 for the operator; with the kernel as a matrix it is something else."""
    stretch = {}
    for operator in (False, True):
        network, variables, _ = made("conv", operator, num_steps=1000)
        kernel = variables["params"]["layer"]["kernel"]
        _, _, right = np.linalg.svd(matrix(network.layer, kernel, IMAGE, True))
        y = network.apply(variables, jnp.asarray(right[:1].reshape(1, *IMAGE)), train=True)
        stretch[operator] = float(jnp.linalg.norm(y.ravel()))
    np.testing.assert_allclose(stretch[True], 1, rtol=1e-3)
    assert stretch[False] > 1.5


def test_half_precision_has_the_same_sigma():
    network, variables, x = made("strided conv", True, num_steps=5)
    half = SpectralNorm(network.layer.clone(dtype=jnp.bfloat16), 5, operator=True)
    y, changed = network.apply(variables, x, train=True, mutable=["spectral"])
    z, same = half.apply(variables, x.astype(jnp.bfloat16), train=True, mutable=["spectral"])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), changed, same)
    assert z.dtype == jnp.bfloat16
    np.testing.assert_allclose(z.astype(jnp.float32), y, atol=0.05)


@BOTH
def test_a_kernel_of_zeros_stays(operator):
    network, variables, x = made("conv", operator)
    variables["params"] = jax.tree.map(jnp.zeros_like, variables["params"])

    def loss(params):
        return (network.apply({**variables, "params": params}, x, train=True) * x[..., :1]).sum()

    value, gradient = jax.value_and_grad(loss)(variables["params"])
    assert value == 0
    assert all(
        np.isfinite(g).all() and np.abs(g).max() > 0 for g in map(np.asarray, jax.tree.leaves(gradient))
    )


def test_embedding():
    layer = nn.Embed(5, 3)
    network = SpectralNorm(layer, 300, parameter="embedding")
    label = jnp.array([0, 4, 2])
    variables = initialize(network, jax.random.key(0), label)
    table = variables["params"]["layer"]["embedding"]
    expected = np.asarray(table)[np.asarray(label)] / np.linalg.norm(table, 2)
    np.testing.assert_allclose(network.apply(variables, label, train=True), expected, rtol=1e-4)


@pytest.mark.parametrize(
    ("network", "x", "message"),
    [
        (
            SpectralNorm(nn.Dense(2), 0),
            jnp.ones((1, 3)),
            "num_steps=0: valid are whole numbers of 1 and more",
        ),
        (
            SpectralNorm(nn.Embed(5, 3)),
            jnp.zeros(1, int),
            r"parameter='kernel': the layer has \['embedding'\]",
        ),
        (
            SpectralNorm(nn.Embed(5, 3), parameter="embedding", operator=True),
            jnp.zeros(1, int),
            "operator=True with an input of int32: valid are floats",
        ),
    ],
)
def test_wrong_use(network, x, message):
    with pytest.raises(UserError, match=message):
        network.init(jax.random.key(0), x)
