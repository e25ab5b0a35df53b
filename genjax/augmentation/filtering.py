"""Amplification of frequency bands.

Karras et al., "Training Generative Adversarial Networks with Limited Data" (2020), appendix B.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from genjax.augmentation.draws import log_normal, sometimes
from genjax.augmentation.wavelets import filter_matrix, half_band, spread
from genjax.typing import Array

_POWER = np.array([10.0, 1.0, 1.0, 1.0]) / 13.0
"""Share of each band in the power of natural images, whose spectrum falls as 1/f."""


def amplify(key: Array, p: ArrayLike, image: Array) -> Array:
    """Amplifies four octaves of frequencies, from [0, pi/8] to [pi/2, pi], in rows and columns alike.

    The gain of a band is a log-normal number with one octave, with probability `p`; all gains are then divided by a
    number that keeps the expected power.

    Args:
        key: key of the image.
        p: float[], probability for each band.
        image: float[H,W,C], reflected at its border.
    """
    height, width, _ = image.shape
    change = draw_gains(key, p) - 1.0

    def filtering(size: int) -> Array:
        # The bands add up to the identity, so what is filtered is what changes, and without a change nothing rounds.
        matrix = jnp.eye(size) + jnp.einsum("k,kij->ij", change, _bands(size), precision="highest")
        return matrix.astype(image.dtype)

    rows, columns = filtering(height), filtering(width)
    return jnp.einsum("ih,hwc,jw->ijc", rows, image, columns, precision="highest")


def draw_gains(key: Array, p: ArrayLike) -> Array:
    """float[4], from the lowest band to the highest; all 1 where nothing is applied."""
    gains = jnp.ones(4)
    for band in range(4):
        key_if, key_gain = jax.random.split(jax.random.fold_in(key, band))
        gain = jnp.ones(4).at[band].set(log_normal(key_gain, 1.0))
        gain = gain / jnp.sqrt((_POWER.astype(np.float32) * jnp.square(gain)).sum())
        gains = gains * sometimes(key_if, p, gain, 1.0)
    return gains


def band_filters() -> list[np.ndarray]:
    """Taps of the four bands, float64[K] each, symmetric about the middle: an octave bank of "sym2", whose sum is the
    identity."""
    low = half_band(2)
    high = -low
    high[len(high) // 2] += 1.0
    levels = [1, 2, 4]
    lows = [spread(low, factor) for factor in levels]
    highs = [spread(high, factor) for factor in levels]
    bands = [functools.reduce(np.convolve, [highs[k], *lows[:k]]) for k in range(3)]
    return [functools.reduce(np.convolve, lows), *reversed(bands)]


@functools.lru_cache(maxsize=16)
def _bands(size: int) -> np.ndarray:
    """float32[4,size,size]: the matrix of each band."""
    return np.stack([filter_matrix(taps, size) for taps in band_filters()]).astype(np.float32)
