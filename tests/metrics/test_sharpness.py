"""The blur of images whose slopes are known by hand, and what it does not depend on (values: tests/parity)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax.metrics.sharpness import perceptual_blur
from genjax.typing import UserError

blur_jit = jax.jit(perceptual_blur, static_argnames="window")


def noise(shape, seed=0):
    return jax.random.uniform(jax.random.key(seed), shape, minval=-1.0)


def smooth(images, times):
    for _ in range(times):
        images = (
            images + jnp.roll(images, 1, 1) + jnp.roll(images, 1, 2) + jnp.roll(images, (1, 1), (1, 2))
        ) / 4
    return images


def test_closed_forms():
    # A step of 1 along each axis: the slopes are 1/2 at two pixels. A moving average of 11 leaves 11 times less of
    # each, but of both at both places: 2/11 of the slopes remain.
    column, row = (jnp.where(jnp.arange(n) < n // 2, -0.5, 0.5) for n in (41, 30))
    steps = column.reshape(1, 41, 1, 1) + row.reshape(1, 1, 30, 1)
    np.testing.assert_allclose(blur_jit(steps), 2 / 11, rtol=1e-5)
    np.testing.assert_allclose(blur_jit(steps, window=5), 2 / 5, rtol=1e-5)
    # Along an axis without any slope nothing is lost, and the more blurred axis counts.
    one = column.reshape(1, 41, 1, 1) * jnp.ones((1, 1, 30, 1))
    assert float(blur_jit(one)[0]) == 1.0
    # Constant images are blurred, whatever their value.
    for value in (0.0, 0.3, -1.0):
        assert float(blur_jit(jnp.full((1, 20, 25, 1), value))[0]) == 1.0


def test_invariants():
    x = noise((3, 32, 40, 1))
    values = blur_jit(x)
    assert ((values > 0) & (values < 0.5)).all()
    np.testing.assert_allclose(blur_jit(20 * x - 7), values, rtol=1e-4)
    np.testing.assert_allclose(blur_jit(x.swapaxes(1, 2)), values, rtol=1e-5)
    np.testing.assert_allclose(blur_jit(jnp.repeat(x, 3, -1)), values, rtol=1e-4)
    np.testing.assert_allclose(blur_jit(x[1:2]), values[1:2], rtol=1e-6)
    # Blurring more is more blurred.
    more = jnp.stack([blur_jit(smooth(x, times)) for times in (0, 1, 3, 10)])
    assert (jnp.diff(more, axis=0) > 0).all() and (more <= 1).all()


def test_the_luminance_of_colours():
    x = noise((2, 32, 32, 3))
    x = jnp.concatenate([smooth(x, 3)[..., :1], x[..., 1:2], smooth(x, 10)[..., 2:]], -1)
    luminance = 0.2125 * x[..., :1] + 0.7154 * x[..., 1:2] + 0.0721 * x[..., 2:]
    np.testing.assert_allclose(blur_jit(x), blur_jit(luminance), rtol=1e-5)


def test_the_gradient_is_finite():
    gradient = jax.jit(jax.grad(lambda x: perceptual_blur(x).sum()))
    for x in (noise((1, 16, 16, 3)), jnp.zeros((1, 16, 16, 3))):
        assert jnp.isfinite(gradient(x)).all()


def test_bad_arguments():
    for shape in ((1, 3, 8, 1), (1, 8, 3, 3), (1, 8, 8, 2)):
        with pytest.raises(
            UserError, match=r"images has shape .*\[B,H,W,1\] and \[B,H,W,3\] of at least 4x4"
        ):
            perceptual_blur(jnp.zeros(shape))
    with pytest.raises(UserError, match="window=1: valid"):
        perceptual_blur(jnp.zeros((1, 8, 8, 1)), window=1)
    assert blur_jit(noise((1, 4, 4, 1))).shape == (1,)
