"""Errors and PSNR by their definitions; SSIM against a loop over windows; MS-SSIM against SSIM's parts.

tests/parity compares them with scikit-image and torchmetrics.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax.metrics.reconstruction import (
    MS_SSIM_WEIGHTS,
    mean_absolute_error,
    mean_squared_error,
    ms_ssim,
    psnr,
    ssim,
)
from genjax.typing import UserError

psnr_jit = jax.jit(psnr, static_argnames="data_range")
ssim_jit = jax.jit(ssim, static_argnames=("data_range", "window"))
ms_ssim_jit = jax.jit(ms_ssim, static_argnames=("data_range", "window", "weights", "reflect"))


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


def contrast_by_hand(x, y, data_range, window):
    """As `ssim_by_hand`, without the luminance: images of which each window has the same mean have no other part."""
    x, y = np.float64(x), np.float64(y)
    offset = np.arange(window) - (window - 1) / 2
    weights = np.exp(-(offset[:, None] ** 2 + offset[None, :] ** 2) / (2 * 1.5**2))
    weights /= weights.sum()
    c2 = (0.03 * data_range) ** 2
    values = []
    for i in range(x.shape[0] - window + 1):
        for j in range(x.shape[1] - window + 1):
            a, b = x[i : i + window, j : j + window], y[i : i + window, j : j + window]
            a, b = a - (weights * a).sum(), b - (weights * b).sum()
            values.append((2 * (weights * a * b).sum() + c2) / ((weights * (a**2 + b**2)).sum() + c2))
    return np.mean(values)


def test_errors():
    x, y = map(jnp.asarray, pair((3, 6, 5, 2)))
    np.testing.assert_allclose(mean_absolute_error(x, y), np.abs(x - y).mean((1, 2, 3)), rtol=1e-6)
    np.testing.assert_allclose(mean_squared_error(x, y), ((x - y) ** 2).mean((1, 2, 3)), rtol=1e-6)
    for metric, expected in ((mean_absolute_error, 0.1), (mean_squared_error, 0.01)):
        half = jnp.full((2, 6, 5, 3), 0.5)
        np.testing.assert_allclose(jax.jit(metric)(half, half + 0.1), expected, rtol=1e-5)
        np.testing.assert_array_equal(metric(x, x), 0.0)
        np.testing.assert_array_equal(metric(x, y), metric(y, x))
        assert jnp.isfinite(jax.grad(lambda a, metric=metric: metric(a, x).sum())(x)).all()


def test_psnr():
    x, y = pair((3, 6, 5, 2))
    y[1] = x[1] + 0.2
    y[2] = x[2]
    expected = 10 * np.log10(4 / np.mean((np.float64(x) - y) ** 2, axis=(1, 2, 3))[:2])
    found = np.asarray(psnr_jit(x, y))
    np.testing.assert_allclose(found[:2], expected, rtol=1e-6)
    np.testing.assert_allclose(found[1], 20.0, rtol=1e-6)  # 10 log10(4 / 0.04)
    assert found[2] == np.inf
    np.testing.assert_allclose(psnr_jit(x * 0 + 0.5, x * 0 + 0.6, data_range=1.0), 20.0, rtol=1e-5)
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
    half = jnp.full((1, 13, 15, 3), 0.5)
    np.testing.assert_allclose(ssim_jit(half, half + 0.1, data_range=1.0), 0.9836092, atol=1e-6)
    # A window of one pixel sees luminance only, too.
    np.testing.assert_allclose(
        ssim(jnp.asarray(x), jnp.asarray(-x), window=1),
        ((c1 - 2 * x**2) / (c1 + 2 * x**2)).mean((1, 2, 3)),
        atol=1e-5,
    )


@pytest.mark.parametrize(
    "shape, window, weights", [((2, 31, 28, 2), 7, (0.2, 0.3, 0.5)), ((1, 16, 17, 1), 1, None)]
)
def test_ms_ssim_by_hand(shape, window, weights):
    x, y = pair(shape)
    options = {"window": window, "weights": weights or MS_SSIM_WEIGHTS}
    found = ms_ssim_jit(x, y, **options)
    expected = []
    for a, b in zip(np.float64(x), np.float64(y), strict=True):
        result = 1.0
        for scale, weight in enumerate(options["weights"]):
            part = ssim_by_hand if scale == len(options["weights"]) - 1 else contrast_by_hand
            mean = np.mean([part(a[..., c], b[..., c], 2.0, window) for c in range(shape[-1])])
            result *= max(mean, 0.0) ** weight
            a, b = (
                sum(v[i : len(v) // 2 * 2 : 2, j : v.shape[1] // 2 * 2 : 2] for i in (0, 1) for j in (0, 1))
                / 4
                for v in (a, b)
            )
        expected.append(result)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(ms_ssim_jit(y, x, **options), found, atol=1e-6)


@pytest.mark.parametrize("reflect", [False, True])
def test_ms_ssim_closed_forms(reflect):
    options = {"data_range": 1.0, "window": 3, "reflect": reflect}
    x, y = ((x + 1) / 2 for x in pair((2, 48, 50, 1)))
    np.testing.assert_allclose(ms_ssim_jit(x, x, **options), 1.0, atol=1e-6)
    assert (ms_ssim_jit(x, y, **options) < 0.99).all()
    # Flat images differ in luminance only, which counts at the coarsest scale.
    half = jnp.full((1, 48, 50, 1), 0.5)
    expected = 0.9836092 ** MS_SSIM_WEIGHTS[-1]
    np.testing.assert_allclose(ms_ssim_jit(half, half + 0.1, **options), expected, atol=1e-5)
    # One scale is plain SSIM, or zero where that is below.
    plain = ssim_jit(x, y, data_range=1.0, window=3)
    np.testing.assert_allclose(ms_ssim_jit(x, y, data_range=1.0, window=3, weights=(1.0,)), plain, atol=1e-6)
    assert (ssim_jit(x, 1 - x, data_range=1.0) < 0).all()
    np.testing.assert_array_equal(ms_ssim_jit(x, 1 - x, **options), 0.0)


def test_the_gradients_of_similarities_are_finite():
    x, y = (jnp.asarray(x + 1) / 2 for x in pair((1, 48, 48, 1)))
    for metric in (lambda x, y: ssim(x, y, 1.0), lambda x, y: ms_ssim(x, y, 1.0, 3)):
        gradient = jax.jit(jax.grad(lambda x, y, metric=metric: metric(x, y).sum()))
        for other in (y, x, 1 - x, 0 * x):
            assert jnp.isfinite(gradient(x, other)).all()
        assert (gradient(x, y) != 0).any()


def test_images_too_small_for_all_scales():
    for height, width, window, smallest in ((175, 200, 11, 176), (200, 100, 11, 176), (47, 48, 3, 48)):
        x = jnp.zeros((1, height, width, 1))
        message = (
            rf"images has shape \(1, {height}, {width}, 1\).*window={window}.*{smallest}x{smallest} pixels"
        )
        with pytest.raises(UserError, match=message):
            ms_ssim(x, x, window=window)
        at_least = jax.ShapeDtypeStruct((1, smallest, smallest, 1), np.float32)
        jax.eval_shape(lambda x, y, window=window: ms_ssim(x, y, window=window), at_least, at_least)


def test_bad_arguments():
    x = jnp.zeros((1, 8, 9, 1))
    with pytest.raises(UserError, match=r"window=11: valid for images of 8x9 pixels are the odd 1\.\.7"):
        ssim(x, x)
    with pytest.raises(UserError, match="window=4"):
        ssim(x, x, window=4)
    with pytest.raises(UserError, match="window=4"):
        ms_ssim(x, x, window=4)
    for weights in ((), (0.5, 0.0), (0.5, -0.1)):
        with pytest.raises(UserError, match="weights="):
            ms_ssim(x, x, weights=weights)
    for metric in (psnr, ssim, ms_ssim):
        with pytest.raises(UserError, match="data_range=0"):
            metric(x, x, data_range=0.0)
