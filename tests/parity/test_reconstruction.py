"""PSNR and SSIM against scikit-image."""

import jax
import numpy as np
import pytest

from genjax.metrics.reconstruction import psnr, ssim


def test_equals_scikit_image():
    metrics = pytest.importorskip("skimage.metrics")
    rng = np.random.default_rng(0)
    x = np.float32(rng.uniform(-1, 1, size=(3, 20, 17, 3)))
    y = np.float32(np.clip(x + 0.3 * rng.normal(size=x.shape), -1, 1))
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 2.0}
    pairs = list(zip(np.float64(x), np.float64(y), strict=True))
    expected = [metrics.structural_similarity(a, b, channel_axis=-1, **options) for a, b in pairs]
    np.testing.assert_allclose(jax.jit(ssim)(x, y), expected, atol=1e-6)
    expected = [metrics.peak_signal_noise_ratio(a, b, data_range=2.0) for a, b in pairs]
    np.testing.assert_allclose(jax.jit(psnr)(x, y), expected, rtol=1e-6)
