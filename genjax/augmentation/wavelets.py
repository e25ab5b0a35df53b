"""Half-band filters of wavelets, and how an image goes on beyond its border."""

import math

import numpy as np


def half_band(moments: int) -> np.ndarray:
    """The low-pass half-band filter that is the autocorrelation of a Daubechies filter or symlet.

    A wavelet and its symlet differ in phase only, so both have it. Its odd taps are Lagrange's weights for the middle
    of ``2 moments`` even neighbours; of the even ones only the middle is not zero, so that it interpolates.

    Args:
        moments: vanishing moments of the wavelet, 2 for "sym2" and 6 for "sym6".

    Returns:
        float64[4 moments - 1], symmetric, of sum 1.

    References:
        Deslauriers and Dubuc, "Symmetric iterative interpolation processes" (1989).
    """
    nodes = np.arange(1 - 2 * moments, 2 * moments, 2)
    taps = np.zeros(4 * moments - 1)
    for node in nodes:
        others = nodes[nodes != node]
        taps[node + 2 * moments - 1] = 0.5 * math.prod(others / (others - node))
    taps[2 * moments - 1] = 0.5
    return taps


def spread(taps: np.ndarray, factor: int) -> np.ndarray:
    """The filter, float64[K], with ``factor - 1`` zeros between its taps: its frequency response is compressed by
    `factor`."""
    result = np.zeros(factor * (len(taps) - 1) + 1)
    result[::factor] = taps
    return result


def reflect(index: np.ndarray, size: int) -> np.ndarray:
    """Where in 0..size-1 an index lands, int[N], if the image is mirrored at the centres of its border pixels."""
    period = max(2 * (size - 1), 1)
    index = np.mod(index, period)
    return np.asarray(np.minimum(index, period - index) if size > 1 else np.zeros_like(index))


def filter_matrix(taps: np.ndarray, size: int) -> np.ndarray:
    """float64[N,N], N the size: the matrix that filters a reflected row of pixels; the middle tap is at the pixel."""
    matrix = np.zeros((size, size))
    for offset, tap in enumerate(taps, start=-(len(taps) // 2)):
        # Several offsets land on one pixel.
        np.add.at(matrix, (np.arange(size), reflect(np.arange(size) + offset, size)), tap)
    return matrix
