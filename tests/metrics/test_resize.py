"""Resizing: values by hand for TensorFlow 1's, Pillow's own for Pillow's."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import PIL.Image
import pytest

from genjax.metrics.resize import FILTERS, pillow, tf1_bilinear
from genjax.typing import UserError


def row(values):
    """[1,1,W,1]."""
    return jnp.asarray(values, jnp.float32)[None, None, :, None]


@pytest.mark.parametrize(
    "values, size, expected",
    [
        # Corners aligned: the first pixel stays, the last is repeated.
        ([0, 2, 4, 6], 8, [0, 1, 2, 3, 4, 5, 6, 6]),
        ([0, 3], 6, [0, 1, 2, 3, 3, 3]),
        # Places 0, 1.5: what lies between is not averaged.
        ([0, 10, 100], 2, [0, 55]),
        ([5, 1, 9, 1, 5, 1], 3, [5, 9, 5]),
        ([7], 4, [7, 7, 7, 7]),
        ([1, 2, 3], 3, [1, 2, 3]),
    ],
)
def test_tf1_bilinear_by_hand(values, size, expected):
    np.testing.assert_allclose(tf1_bilinear(row(values), (1, size))[0, 0, :, 0], expected, atol=1e-6)
    column = tf1_bilinear(row(values).swapaxes(1, 2), (size, 1))
    np.testing.assert_allclose(column[0, :, 0, 0], expected, atol=1e-6)


def test_tf1_bilinear_is_bilinear_and_treats_channels_alone():
    # r * c, linear along each axis, is exact between the pixels; channels are multiples of it.
    r, c = np.meshgrid(np.arange(5.0), np.arange(7.0), indexing="ij")
    x = jnp.asarray((r * c)[None, :, :, None] * np.array([1.0, -3.0]), jnp.float32)
    y = jax.jit(functools.partial(tf1_bilinear, size=(11, 20)))(x)
    rows, columns = np.minimum(np.arange(11) * 5 / 11, 4), np.minimum(np.arange(20) * 7 / 20, 6)
    expected = np.outer(rows, columns)[None, :, :, None] * np.array([1.0, -3.0])
    np.testing.assert_allclose(y, expected, atol=1e-4)


def test_tf1_bilinear_refuses_nothing_to_see():
    with pytest.raises(UserError, match=r"size is \(0, 4\): at least one pixel"):
        tf1_bilinear(jnp.zeros((1, 3, 3, 1)), (0, 4))
    with pytest.raises(UserError, match=r"shape \(1, 0, 3, 1\)"):
        tf1_bilinear(jnp.zeros((1, 0, 3, 1)), (4, 4))


@pytest.mark.parametrize("filter", FILTERS)
@pytest.mark.parametrize("shape", [(9, 20), (41, 33)])
def test_pillow_is_pillow(filter, shape):
    images = np.random.default_rng(0).integers(0, 256, (5, *shape, 3), np.uint8)
    y = pillow(images, (17, 26), filter)
    assert y.shape == (5, 17, 26, 3) and y.dtype == np.float32
    for i in range(5):
        for channel in range(3):
            plane = PIL.Image.fromarray(images[i, ..., channel].astype(np.float32))
            expected = plane.resize((26, 17), PIL.Image.Resampling[filter.upper()])
            np.testing.assert_array_equal(y[i, ..., channel], np.clip(expected, 0, 255))
    np.testing.assert_array_equal(pillow(images.astype(np.float32), (17, 26), filter), y)


def test_pillow_values():
    images = np.arange(16, dtype=np.uint8).reshape(1, 4, 4, 1)
    # The box filter averages blocks, and nothing is rounded.
    np.testing.assert_allclose(pillow(images, (2, 2), "box")[0, ..., 0], [[2.5, 4.5], [10.5, 12.5]])
    # Centres aligned, unlike `tf1_bilinear`.
    two = np.array([0, 100], np.uint8).reshape(1, 1, 2, 1)
    np.testing.assert_allclose(pillow(two, (1, 4), "bilinear")[0, 0, :, 0], [0, 25, 75, 100], atol=1e-4)
    # A step overshoots, and is clipped.
    step = np.repeat(np.array([0, 255], np.uint8), 8).reshape(1, 1, 16, 1)
    edge = pillow(step, (1, 64), "bicubic")
    assert edge.min() == 0 and edge.max() == 255
    inner = pillow(np.array([100, 100, 155, 155], np.uint8).reshape(1, 1, 4, 1), (1, 16), "bicubic")
    assert inner.min() < 100 and inner.max() > 155


def test_pillow_refuses():
    images = np.zeros((1, 2, 2, 1), np.uint8)
    with pytest.raises(
        UserError, match="filter is 'nearest': valid are box, bilinear, hamming, bicubic, lanczos"
    ):
        pillow.__wrapped__(images, (2, 2), "nearest")
    with pytest.raises(UserError, match=r"size is \(2, 0\)"):
        pillow(images, (2, 0), "box")
