"""Discriminators: what a logit sees, what the features are, and that images are judged one by one."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax.models.gan.discriminator import ImageDiscriminator, PatchDiscriminator
from genjax.nn import GroupNorm, initialize
from genjax.typing import UserError


def made(network, size, channels=1):
    x = jax.random.uniform(jax.random.key(1), (3, size, size, channels), minval=-1)
    return initialize(network, jax.random.key(0), x[:1]), x


@pytest.mark.parametrize(("layers", "size", "field"), [(1, 20, 16), (2, 40, 34), (3, 80, 70)])
def test_receptive_field_of_a_patch(layers, size, field):
    """Of a logit in the middle, probed by its gradient, without the moments, which are of the whole image."""
    network = PatchDiscriminator(layers, 2, norm=None)
    variables, x = made(network, size)
    # Positive weights: no path through the network is blocked or cancelled.
    variables = jax.tree.map(jnp.abs, variables)

    def logit(x):
        logits, _ = network.apply(variables, x)
        return logits[0, logits.shape[1] // 2, logits.shape[2] // 2]

    gradient = np.asarray(jax.jit(jax.grad(logit))(jnp.abs(x)))[0, ..., 0]
    rows, columns = np.nonzero(gradient)
    assert np.ptp(rows) + 1 == np.ptp(columns) + 1 == field


@pytest.mark.parametrize(
    ("size", "layers", "shapes"), [(8, 1, [4, 3, 2]), (28, 2, [14, 7, 6, 5]), (28, 3, [14, 7, 3, 2, 1])]
)
def test_patches_of_small_images(size, layers, shapes):
    network = PatchDiscriminator(layers, 2)
    variables, x = made(network, size, 3)
    logits, features = jax.eval_shape(network.apply, variables, x)
    assert [f.shape for f in features] == [(3, n, n, 2 * 2**i) for i, n in enumerate(shapes[:-1])]
    assert logits.shape == (3, shapes[-1], shapes[-1])


def test_width_grows_up_to_eight_times():
    network = PatchDiscriminator(5, 1)
    variables, x = made(network, 96)
    _, features = jax.eval_shape(network.apply, variables, x)
    assert [f.shape[-1] for f in features] == [1, 2, 4, 8, 8, 8]


def test_patch_discriminator_by_hand():
    network = PatchDiscriminator(1, 4)
    variables, x = made(network, 8)
    logits, features = network.apply(variables, x)
    p = variables["params"]

    def convolve(name, x, stride):
        y = jax.lax.conv_general_dilated(
            x, p[name]["kernel"], (stride, stride), [(1, 1)] * 2, dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        return y + p[name]["bias"].reshape(1, 1, 1, -1)

    first = nn.leaky_relu(convolve("conv_0", x, 2), 0.2)
    second = GroupNorm().apply({"params": p["norm_1"]}, convolve("conv_1", first, 1))
    second = nn.leaky_relu(second, 0.2)
    np.testing.assert_allclose(features[0], first, atol=1e-6)
    np.testing.assert_allclose(features[1], second, atol=1e-5)
    np.testing.assert_allclose(logits, convolve("logits", second, 1)[..., 0], atol=1e-5)
    assert p.keys() == {"conv_0", "conv_1", "norm_1", "logits"}


def test_image_discriminator_by_hand():
    network = ImageDiscriminator((2, 4, 8), 5)
    variables, x = made(network, 8)
    logits, features = network.apply(variables, x)
    p = variables["params"]
    assert [f.shape for f in features] == [(3, 8, 8, 2), (3, 4, 4, 4), (3, 2, 2, 8)]
    assert all((f >= 0).all() for f in features)
    flat = features[-1].reshape(3, -1)
    hidden = nn.relu(flat @ p["hidden"]["kernel"] + p["hidden"]["bias"][None])
    expected = hidden @ p["logits"]["kernel"] + p["logits"]["bias"][None]
    np.testing.assert_allclose(logits, expected[:, 0], atol=1e-5)
    assert {"norm_1", "norm_2"} < p.keys() and "norm_0" not in p


@pytest.mark.parametrize("network", [PatchDiscriminator(1, 4), ImageDiscriminator((4, 4), 5)])
def test_images_are_judged_one_by_one(network):
    variables, x = made(network, 8)
    assert variables.keys() == {"params"}
    apply = jax.jit(network.apply)
    together, alone = apply(variables, x), apply(variables, x[1:2])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a[1:2], b, atol=1e-5), together, alone)
    half = network.clone(dtype=jnp.bfloat16).apply(variables, x)
    assert {y.dtype for y in jax.tree.leaves(half)} == {jnp.dtype("float32")}
    np.testing.assert_allclose(half[0], together[0], atol=0.05)


@pytest.mark.parametrize(("layers", "size"), [(0, 8), (2, 8), (3, 23)])
def test_too_small_images_are_refused(layers, size):
    with pytest.raises(UserError, match=rf"layers={layers} with images of {size}x{size}"):
        made(PatchDiscriminator(layers, 2), size)
