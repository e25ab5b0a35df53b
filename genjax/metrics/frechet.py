"""The Fréchet distance between two sets of features, and the moments it needs, in float64 numpy."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64

from genjax.typing import UserError


class Moments(NamedTuple):
    """Count, mean and scatter of a set of feature vectors; two of them add up by `merge`.

    Attributes:
        count: N, number of vectors.
        mean: float64[D].
        m2: float64[D,D], the scatter: sum of ``(x - mean)(x - mean)^T``.
    """

    count: int  # type: ignore[assignment]  # hides tuple.count, which nobody misses
    mean: Float64[np.ndarray, "D"]
    m2: Float64[np.ndarray, "D D"]


def moments(features: Float[np.ndarray, "N D"]) -> Moments:
    """Moments of the rows of `features`, in float64.

    Raises:
        UserError: if there is no row, or a value is not finite.
    """
    x = np.asarray(features, np.float64)
    if not len(x):
        raise UserError(f"features has shape {x.shape}: at least one row is needed")
    if not np.isfinite(x).all():
        row = int(np.flatnonzero(~np.isfinite(x).all(axis=1))[0])
        raise UserError(f"features has a value that is not finite, first in row {row}")
    mean = x.mean(axis=0)
    centred = x - mean
    return Moments(len(x), mean, centred.T @ centred)


def merge(a: Moments, b: Moments) -> Moments:
    """Moments of the union of two disjoint sets.

    The shift between the two means enters as it is, not as a difference of two large sums of squares, so
    nothing is lost however far the features lie from the origin.

    Raises:
        UserError: if the widths differ.

    Reference:
        Chan, Golub, LeVeque 1979, "Updating formulae and a pairwise algorithm for computing sample
        variances", eq 1.5.
    """
    if a.mean.shape != b.mean.shape:
        raise UserError(
            f"b has features of width {len(b.mean)}, a of width {len(a.mean)}: they must be equal"
        )
    count = a.count + b.count
    shift = b.mean - a.mean
    mean = a.mean + shift * (b.count / count)
    return Moments(count, mean, a.m2 + b.m2 + np.outer(shift, shift) * (a.count * b.count / count))


def covariance(m: Moments) -> Float64[np.ndarray, "D D"]:
    """Unbiased covariance: divided by N - 1, as in the reference code of the FID (`numpy.cov`).

    Raises:
        UserError: for fewer than two vectors.
    """
    if m.count < 2:
        raise UserError(f"count is {m.count}: a covariance needs at least 2 vectors")
    return m.m2 / (m.count - 1)


def frechet_distance(
    mean1: Float[np.ndarray, "D"],
    cov1: Float[np.ndarray, "D D"],
    mean2: Float[np.ndarray, "D"],
    cov2: Float[np.ndarray, "D D"],
) -> float:
    """Squared Fréchet (2-Wasserstein) distance between two normal distributions.

    ``|mean1 - mean2|^2 + tr(A + B - 2 (A^1/2 B A^1/2)^1/2)`` with A = cov1, B = cov2. The last trace is the
    sum of the square roots of the eigenvalues of the symmetric ``A^1/2 B A^1/2``, that is of the singular
    values of ``A^1/2 B^1/2``. They are taken from that product itself: an eigenvalue that is zero but for
    rounding, 1e-16, would add 1e-8 to the trace once its root is drawn. Unlike a matrix square root of the
    unsymmetric ``A B`` this cannot turn complex and stays finite when A, B or both are rank-deficient, as
    they are with fewer samples than features.

    Args:
        mean1: float[D], mean of the first distribution.
        cov1: float[D,D], its covariance: symmetric, positive semi-definite up to rounding.
        mean2: float[D], mean of the second.
        cov2: float[D,D], its covariance.

    Returns:
        The distance, in squared units of the features; never negative (rounding below zero is clipped).

    Raises:
        UserError: if the shapes do not fit, a value is not finite, or a covariance is not one.

    Reference:
        Dowson and Landau 1982, "The Fréchet distance between multivariate normal distributions", eq 4;
        Heusel et al. 2017, "GANs trained by a two time-scale update rule", eq 6.
    """
    mean1, mean2 = np.asarray(mean1, np.float64), np.asarray(mean2, np.float64)
    if mean1.shape != mean2.shape:
        raise UserError(f"mean2 has shape {mean2.shape}, mean1 {mean1.shape}: they must be equal")
    if not (np.isfinite(mean1).all() and np.isfinite(mean2).all()):
        raise UserError("mean1 or mean2 has a value that is not finite")
    root1, root2 = _square_root("cov1", cov1, len(mean1)), _square_root("cov2", cov2, len(mean1))
    cross = np.linalg.svd(root1 @ root2, compute_uv=False).sum()
    distance = np.sum((mean1 - mean2) ** 2) + np.trace(cov1) + np.trace(cov2) - 2.0 * cross
    return float(np.maximum(distance, 0.0))


def _square_root(name: str, cov: np.ndarray, dim: int) -> np.ndarray:
    """Symmetric square root by eigenvalues; those that rounding made negative count as zero."""
    cov = np.asarray(cov, np.float64)
    if cov.shape != (dim, dim):
        raise UserError(f"{name} has shape {cov.shape}: ({dim}, {dim}) fits the means")
    if not np.isfinite(cov).all():
        raise UserError(f"{name} has a value that is not finite")
    scale = np.abs(cov).max(initial=0.0)
    if np.abs(cov - cov.T).max(initial=0.0) > 1e-6 * scale:
        raise UserError(f"{name} is not symmetric: it cannot be a covariance")
    values, vectors = np.linalg.eigh(cov)
    if values.min(initial=0.0) < -1e-6 * scale * len(cov):
        raise UserError(f"{name} has the eigenvalue {values.min():.3g}: a covariance has none below zero")
    return (vectors * np.sqrt(np.clip(values, 0.0, None))) @ vectors.T
