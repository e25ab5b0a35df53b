"""Blur against scikit-image's, of sharp and blurred images, gray and in colour."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax.metrics.sharpness import perceptual_blur


@pytest.mark.parametrize("shape", [(64, 48, 3), (33, 40, 1), (7, 9, 3), (4, 5, 1)])
@pytest.mark.parametrize("window", [11, 2, 6])
@pytest.mark.parametrize("low", [-1.0, 0.0])
def test_equals_scikit_image(shape, window, low):
    measure = pytest.importorskip("skimage.measure")
    ndimage = pytest.importorskip("scipy.ndimage")
    rng = np.random.default_rng(0)
    images = [
        ndimage.gaussian_filter(rng.uniform(low, 1, size=shape), (sigma, sigma, 0)) for sigma in (0, 0.7, 2)
    ]
    images = np.float32(images)

    def theirs(image):
        if shape[-1] == 1:
            return measure.blur_effect(image[..., 0], h_size=window)
        return measure.blur_effect(image, h_size=window, channel_axis=-1)

    expected = [theirs(np.float64(image)) for image in images]
    found = jax.jit(perceptual_blur, static_argnames="window")(jnp.asarray(images), window=window)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    with jax.enable_x64(True):
        found = perceptual_blur(jnp.asarray(images, jnp.float64), window)
        np.testing.assert_allclose(found, expected, rtol=1e-12)
