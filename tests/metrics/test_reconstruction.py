"""PSNR by its definition; SSIM against a loop over windows (and, in tests/parity, against scikit-image)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax.metrics.reconstruction import psnr, ssim
from genjax.typing import UserError

psnr_jit = jax.jit(psnr, static_argnames="data_range")
ssim_jit = jax.jit(ssim, static_argnames=("data_range", "window"))


def pair(shape, seed=0, noise=0.3):
    """Images in [-1, 1], and the same with noise."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, size=shape)
    return np.float32(x), np.float32(np.clip(x + noise * rng.normal(size=shape), -1, 1))


def ssim_by_hand(x, y, data_range, window):
    """One channel of one image, window by window, in float64."""
    x, y = np.float64(x), np.float64(y)
    offset = np.arange(window) - (window - 1) / 2
    weights = np.exp(-(offset[:, None] ** 2 + offset[None, :] ** 2) / (2 * 1.5**2))
    weights /= weights.sum()
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    values = []
    for i in range(x.shape[0] - window + 1):
        for j in range(x.shape[1] - window + 1):
            a, b = x[i : i + window, j : j + window], y[i : i + window, j : j + window]
            mean_a, mean_b = (weights * a).sum(), (weights * b).sum()
            var_a, var_b = (weights * (a - mean_a) ** 2).sum(), (weights * (b - mean_b) ** 2).sum()
            covariance = (weights * (a - mean_a) * (b - mean_b)).sum()
            values.append(
                (2 * mean_a * mean_b + c1)
                * (2 * covariance + c2)
                / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
            )
    return np.mean(values)


def test_psnr():
    x, y = pair((3, 6, 5, 2))
    y[1] = x[1] + 0.2
    y[2] = x[2]
    expected = 10 * np.log10(4 / np.mean((np.float64(x) - y) ** 2, axis=(1, 2, 3))[:2])
    found = np.asarray(psnr_jit(x, y))
    np.testing.assert_allclose(found[:2], expected, rtol=1e-6)
    np.testing.assert_allclose(found[1], 20.0, rtol=1e-6)  # 10 log10(4 / 0.04)
    assert found[2] == np.inf
    # The same in levels 0..255.
    np.testing.assert_allclose(
        psnr_jit(127.5 * (x + 1), 127.5 * (y + 1), data_range=255.0)[:2], expected, rtol=1e-5
    )


@pytest.mark.parametrize(
    "shape, window, data_range",
    [((2, 13, 15, 3), 11, 2.0), ((2, 8, 8, 1), 7, 2.0), ((1, 12, 11, 2), 11, 1.0)],
)
def test_ssim_equals_a_loop_over_windows(shape, window, data_range):
    x, y = pair(shape)
    found = ssim_jit(x, y, data_range=data_range, window=window)
    expected = [
        np.mean([ssim_by_hand(a[..., c], b[..., c], data_range, window) for c in range(shape[-1])])
        for a, b in zip(x, y, strict=True)
    ]
    np.testing.assert_allclose(found, expected, atol=2e-6)
    np.testing.assert_allclose(ssim_jit(y, x, data_range=data_range, window=window), found, atol=1e-6)


def test_ssim_closed_forms():
    x = pair((2, 13, 15, 3))[0]
    np.testing.assert_allclose(ssim_jit(x, x), 1.0, atol=1e-6)
    # Two flat images differ in luminance only.
    flat = jnp.full((1, 13, 15, 3), 0.5)
    c1 = 0.02**2
    np.testing.assert_allclose(ssim_jit(flat, 0.5 * flat), (0.25 + c1) / (0.25 + 0.0625 + c1), rtol=1e-5)
    # A window of one pixel sees luminance only, too.
    np.testing.assert_allclose(
        ssim(jnp.asarray(x), jnp.asarray(-x), window=1),
        ((c1 - 2 * x**2) / (c1 + 2 * x**2)).mean((1, 2, 3)),
        atol=1e-5,
    )


def test_bad_arguments():
    x = jnp.zeros((1, 8, 9, 1))
    with pytest.raises(UserError, match=r"window=11: valid for images of 8x9 pixels are the odd 1\.\.7"):
        ssim(x, x)
    with pytest.raises(UserError, match="window=4"):
        ssim(x, x, window=4)
    for metric in (psnr, ssim):
        with pytest.raises(UserError, match="data_range=0"):
            metric(x, x, data_range=0.0)
