"""Fréchet distances at infinitely many images: what is left when the bias of finite sets is taken off."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int64, Real

from genjax.metrics.frechet import Moments, covariance, frechet_distance, moments
from genjax.metrics.sizes import TooFewError
from genjax.typing import UserError


class Extrapolation(NamedTuple):
    """A straight line in 1/N through values at several N.

    Attributes:
        limit: its value at 1/N = 0.
        standard_error: standard error of the limit, from how far the values are from the line. Subsets of one set of
            images have images in common, so that it is too small: it says whether the line is one, not how other images
            would do.
        slope: the values' bias at N images is about ``slope / N``.
        sizes: N of each value.
        values: the values.
    """

    limit: float
    standard_error: float
    slope: float
    sizes: Int64[np.ndarray, "S"]
    values: Float[np.ndarray, "S"]


def extrapolate(
    sizes: Sequence[int] | Int64[np.ndarray, "S"], values: Real[np.ndarray, "_"]
) -> Extrapolation:
    """The least-squares line in 1/N, and its value at 0 with the standard error that regression gives it.

    Args:
        sizes: int[S], numbers of images N, at least three of which two differ.
        values: float[S], values of a metric at these.

    Raises:
        UserError: too few sizes, as many values are not there, or one that is not finite.

    Example:
        >>> import numpy as np
        >>> from genjax.metrics.extrapolation import extrapolate
        >>> line = extrapolate([100, 200, 400], np.array([8.0, 6.5, 5.75]))  # 5 + 300 / N
        >>> print(f"{line.limit:.3f} {line.slope:.3f}")
        5.000 300.000
    """
    n, y = np.asarray(sizes, np.int64), np.asarray(values, np.float64)
    if n.ndim != 1 or n.shape != y.shape or len(n) < 3 or len(np.unique(n)) < 2 or n.min() < 1:
        raise UserError(f"sizes={n.tolist()} and {y.size} values: valid are three and more, as many of each")
    if not np.isfinite(y).all():
        raise UserError(f"values has one that is not finite: {y[~np.isfinite(y)][0]}")
    x = 1.0 / n
    spread = np.square(x - x.mean()).sum()
    slope = ((x - x.mean()) * y).sum() / spread
    limit = y.mean() - slope * x.mean()
    variance = np.square(y - limit - slope * x).sum() / (len(n) - 2)
    error = (variance * (1 / len(n) + x.mean() ** 2 / spread)) ** 0.5
    return Extrapolation(float(limit), float(error), float(slope), n, y)


def fd_infinity(
    features: Float[np.ndarray, "N D"],
    reference: Moments,
    *,
    smallest: int = 5000,
    points: int = 15,
    seed: int = 0,
) -> Extrapolation:
    """FD-infinity: Fréchet distances of random subsets of several sizes, and the line in 1/N through them.

    The defaults are the paper's, for 50,000 images and more. The reference's own bias stays: take many real images.

    Each size costs the moments of its subset and one `frechet_distance`. With 2048 features that is 2 seconds for the
    distance and 1.2 for every 10,000 images, on one core: a minute and a half for 50,000 images.

    Args:
        features: features of the generated images.
        reference: moments of the real images' features.
        smallest: size of the smallest subset; below twice D, distances are far from the line; nothing warns of it.
        points: number of sizes, evenly spaced from the smallest to N.
        seed: seed of the subsets, each of which is drawn by itself.

    Raises:
        UserError: fewer than three points, a smallest size out of range, or as `frechet.distance`.

    Example:
        >>> import numpy as np
        >>> from genjax.metrics import moments
        >>> from genjax.metrics.extrapolation import fd_infinity
        >>> generated, real = np.random.default_rng(0).normal(size=(2, 1000, 8))  # one distribution
        >>> found = fd_infinity(generated, moments(real), smallest=50)
        >>> print(f"{found.values[0]:.1f} from {found.sizes[0]} images, {found.limit:.1f} from infinitely many")
        0.4 from 50 images, 0.1 from infinitely many

    References:
        Chong and Forsyth, "Effectively Unbiased FID and Inception Score and Where to Find Them" (2020).
    """
    if points < 3 or not 2 <= smallest < len(features):
        raise TooFewError(
            f"smallest={smallest}, points={points}: valid for {len(features)} vectors are 2..{len(features) - 1} and "
            "at least 3 points"
        )
    rng = np.random.default_rng(seed)
    sizes = np.linspace(smallest, len(features), points).astype(np.int64)
    goal = covariance(reference)
    # Not `distance`, which warns of few vectors: here few are meant.
    subsets = (moments(features[rng.choice(len(features), n, replace=False)]) for n in sizes.tolist())
    values = [frechet_distance(few.mean, covariance(few), reference.mean, goal) for few in subsets]
    return extrapolate(sizes, np.array(values))
