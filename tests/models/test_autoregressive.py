"""PixelCNN and transformer: strictly causal, without a blind spot, conditioned on class and coarser codes."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax.conditions import mask_name
from genjax.models.codes.code_transformer import CodeTransformer
from genjax.models.codes.pixel_cnn import PixelCNN
from genjax.typing import UserError

SIZE, COARSER, CLASSES = (4, 4), (2, 2), 3
T = SIZE[0] * SIZE[1]
# As many values as places, so that every place of `RASTER` has a row of the embedding of its own.
OPTIONS = {"num_codes": T, "num_classes": CLASSES, "coarser_codes": 5, "dropout": 0.5}
NETWORKS = {
    "pixel_cnn": PixelCNN(channels=32, depth=3, kernel_size=3, **OPTIONS),
    "transformer": CodeTransformer(width=16, depth=2, heads=2, **OPTIONS),
}
RASTER = jnp.arange(T, dtype=jnp.int32).reshape(1, *SIZE)
LABEL = {"label": jnp.array([1])}
ABOVE = jnp.array([[[0, 1], [3, 4]]])


class Subject:
    """A network with random parameters, biases too, drawn by numpy to compile less, and its compiled call."""

    def __init__(self, network):
        self.network, random = network, np.random.default_rng(0)
        shapes = jax.eval_shape(network.init, jax.random.key(0), RASTER, LABEL, ABOVE)["params"]

        def draw(x):
            scale = 0.3 if len(x.shape) == 1 else math.prod(x.shape[:-1]) ** -0.5
            return jnp.asarray(scale * random.standard_normal(x.shape), x.dtype)

        self.params = jax.tree.map(draw, shapes)
        self.apply = jax.jit(lambda p, *args: network.apply({"params": p}, *args))

    def __call__(self, codes, label, coarser):
        return self.apply(self.params, codes, label, coarser)


SUBJECT = functools.cache(lambda name: Subject(NETWORKS[name]))


@pytest.fixture(params=NETWORKS)
def subject(request):
    return SUBJECT(request.param)


def test_jacobian_is_strictly_lower_triangular_and_full(subject):
    """Of the logits in what is embedded at each place: rows of the table, as every place has a value of its own."""

    def summed(table):
        params = {**subject.params, "codes": {"embedding": table}}
        return subject.apply(params, RASTER, LABEL, ABOVE).reshape(T, -1)[:, ::5].sum(-1)

    jacobian = jax.jit(jax.jacrev(summed))(subject.params["codes"]["embedding"])
    reaches = np.asarray(jnp.abs(jacobian).max(-1))  # [place of the logits, place of the code]
    assert (reaches[np.triu_indices(T)] == 0).all()
    assert (reaches[np.tril_indices(T, -1)] > 0).all()  # every place before: no blind spot


def test_a_changed_code_changes_no_logits_up_to_its_place_by_a_bit(subject):
    """With channels and examples enough that a fast algorithm which mixes positions by rounding would be seen."""
    bases = 8
    base = jax.random.randint(jax.random.key(2), (bases, 1, T), 0, T)
    codes = jnp.concatenate([base, (base + 7 * jnp.eye(T, dtype=base.dtype)[None]) % T], axis=1)
    count = bases * (T + 1)
    y = subject(codes.reshape(count, *SIZE), {"label": jnp.full(count, 1)}, jnp.tile(ABOVE, (count, 1, 1)))
    np.testing.assert_allclose(subject(base[1].reshape(1, *SIZE), LABEL, ABOVE)[0], y[T + 1], atol=1e-5)
    y = np.asarray(y.reshape(bases, T + 1, T, T))
    for j in range(T):
        np.testing.assert_array_equal(y[:, 1 + j, : j + 1], y[:, 0, : j + 1])
        if j + 1 < T:
            assert (y[:, 1 + j, j + 1] != y[:, 0, j + 1]).any(-1).all()


def test_class_and_coarser_codes_reach_every_place(subject):
    y = subject(RASTER, LABEL, ABOVE)
    assert y.shape == (1, *SIZE, T) and y.dtype == jnp.float32
    for other in (
        subject(RASTER, {"label": LABEL["label"] + 1}, ABOVE),
        subject(RASTER, None, ABOVE),
        subject(RASTER, LABEL, ABOVE.at[0, 1, 1].set(1)),
    ):
        assert (jnp.abs(other - y).max(-1) > 1e-4).all()
    null = {"label": jnp.array([CLASSES])}
    np.testing.assert_array_equal(subject(RASTER, None, ABOVE), subject(RASTER, null, ABOVE))


def test_a_label_that_is_masked_is_one_that_is_missing(subject):
    """Of one example, or of all: bit for bit."""
    codes, above = jnp.tile(RASTER, (2, 1, 1)), jnp.tile(ABOVE, (2, 1, 1))
    label = jnp.array([1, 2])
    missing, given = (subject(codes, told, above) for told in ({}, {"label": label}))
    for there in ([False, False], [True, False], [False, True]):
        masked = subject(codes, {"label": label, mask_name("label"): jnp.array(there)}, above)
        expected = jnp.where(jnp.array(there)[:, None, None, None], given, missing)
        np.testing.assert_array_equal(masked, expected)
    assert (missing != given).any()


def test_dropout_is_of_the_example_and_every_parameter_has_a_gradient(subject):
    codes, label, above = (jnp.tile(x, (3, *[1] * (x.ndim - 1))) for x in (RASTER, LABEL["label"], ABOVE))

    def loss(params):
        y = subject.network.apply(
            {"params": params},
            codes,
            {"label": label},
            above,
            dropout_index=jnp.array([0, 1, 1]),
            rngs={"dropout": jax.random.key(0)},
        )
        return jnp.square(y).sum(), y

    grads, y = jax.jit(jax.grad(loss, has_aux=True))(subject.params)
    for path, g in jax.tree_util.tree_leaves_with_path(grads):
        assert jnp.isfinite(g).all() and jnp.abs(g).max() > 1e-6, jax.tree_util.keystr(path)
    assert jnp.abs(y[0] - y[1]).max() > 0.01
    np.testing.assert_allclose(y[1], y[2], atol=1e-5)


def test_bfloat16_computes_in_bfloat16_with_float32_parameters(subject):
    low = subject.network.clone(dtype=jnp.bfloat16)
    y = subject(RASTER, LABEL, ABOVE)
    y16 = jax.jit(low.apply)({"params": subject.params}, RASTER, LABEL, ABOVE)
    assert y16.dtype == jnp.float32
    assert 1e-4 < float(jnp.abs(y16 - y).max() / jnp.abs(y).max()) < 0.1


def test_too_few_layers_do_not_reach_the_corner():
    """depth * (kernel_size // 2) + 1 columns, as the docstring says; that 3 layers do is the test of the Jacobian."""
    s = SUBJECT("pixel_cnn")
    codes = jnp.concatenate([RASTER, RASTER.at[0, 0, -1].set(0)])
    label, above = {"label": jnp.array([1, 1])}, jnp.tile(ABOVE, (2, 1, 1))
    first, other = jax.jit(s.network.clone(depth=2).apply)({"params": s.params}, codes, label, above)
    change = np.abs(other - first).max(-1)
    assert (change[1:, 0] == 0).all() and (change[1:, 1:] > 0).all()


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
@pytest.mark.parametrize(
    "options, label, coarser, message",
    [
        ({"num_classes": None}, LABEL, ABOVE, "label is given, but the network is unconditional"),
        ({}, LABEL, None, "no coarser codes are given, but the network has coarser_codes=5"),
        ({"coarser_codes": None}, LABEL, ABOVE, "coarser codes are given, but .* coarser_codes=None"),
    ],
)
def test_arguments_that_do_not_fit(network, options, label, coarser, message):
    with pytest.raises(UserError, match=message):
        jax.eval_shape(network.clone(**options).init, jax.random.key(0), RASTER, label, coarser)


@pytest.mark.parametrize(
    "network, message",
    [
        (PixelCNN(T, kernel_size=4), "kernel_size=4: valid are odd numbers from 3"),
        (PixelCNN(T, coarser_codes=5), "coarser codes of 3x3 do not divide codes of 4x4"),
        (CodeTransformer(T, width=10, heads=4), "heads=4 must divide width=10"),
    ],
)
def test_attributes_that_are_not_valid(network, message):
    coarser = jnp.zeros((1, 3, 3), jnp.int32) if network.coarser_codes else None
    with pytest.raises(UserError, match=message):
        jax.eval_shape(network.init, jax.random.key(0), RASTER, None, coarser)
