"""The Fréchet distance between two sets of features, and the moments it needs, in float64 numpy."""

import logging
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64

from genjax.metrics.sizes import TooFewError
from genjax.typing import UserError

_log = logging.getLogger(__name__)
_warned: set[tuple[int, int]] = set()
"""Numbers of vectors and of features that were warned of."""
_BLOCK = 2**23
"""Numbers at a time in float64: 64 MiB."""
_NOISE = 64 * np.finfo(np.float64).eps
"""A pivot below this share of the largest variance is rounding. LAPACK's default grows with the width; there a few
features that hardly vary in one set, and do in the other, would be lost."""
_RESIDUAL = 1e-11
"""What a pivoted Cholesky factorisation may leave of a matrix, by its largest entry, and still stand for it."""
_ACCURACY = 1e-10
"""Of the cross term, by the sum of the traces; where squared singular values would miss it, they are not used."""


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

    float64 copies are made of some rows at a time, so features of any number take 64 MiB beside themselves and the
    result. For batches that never are in memory together, `stream`.

    Raises:
        UserError: if there is no row, or a value is not finite.

    Example:
        >>> import numpy as np
        >>> from genjax.metrics import moments
        >>> m = moments(np.array([[0.0, 0.0], [2.0, 4.0]]))
        >>> m.count, m.mean.tolist(), m.m2.tolist()
        (2, [1.0, 2.0], [[2.0, 4.0], [4.0, 8.0]])
    """
    return stream([features])


def stream(batches: Iterable[Float[np.ndarray, "_ D"]]) -> Moments:
    """Moments of all rows of all batches, of which one at a time is looked at.

    The same up to rounding, 1e-10 relative and better, for any order of the rows and any batches; batches of at least
    some hundred rows are cheapest, since each costs an addition of D x D numbers. `merge` joins what several processes
    have streamed.

    Args:
        batches: float[B,D], B from batch to batch as it comes; one without rows adds nothing.

    Raises:
        UserError: if there is no row, widths differ, or a value is not finite.

    Example:
        >>> import numpy as np
        >>> from genjax.metrics import stream
        >>> m = stream(np.full((rows, 1), float(rows)) for rows in (1, 3))
        >>> m.count, m.mean.tolist()
        (4, [2.5])
    """
    count, mean, m2 = 0, np.zeros(0), np.zeros((0, 0))
    width = 0
    for batch in batches:
        width = batch.shape[1]
        rows = max(1, _BLOCK // max(1, width))
        for start in range(0, len(batch), rows):
            x = np.array(batch[start : start + rows], np.float64)
            if not count:
                mean, m2 = np.zeros(width), np.zeros((width, width))
            if width != len(mean):
                raise UserError(
                    f"batches has features of width {width} after {len(mean)}: they must be equal"
                )
            if not np.isfinite(x).all():
                row = start + int(np.flatnonzero(~np.isfinite(x).all(axis=1))[0])
                raise UserError(f"features has a value that is not finite, first in row {row}")
            own = x.mean(axis=0)
            x -= own
            # The last term of equation 1.5 (see `merge`) is the product of one more row, so it costs next to nothing.
            shift = own - mean
            row = shift * (count * len(x) / (count + len(x))) ** 0.5
            x = np.concatenate([x, row[None]]) if count else x
            own_count = len(x) - bool(count)
            m2 += x.T @ x
            count += own_count
            mean = mean + shift * (own_count / count)
    if not count:
        raise UserError(f"features has shape (0, {width}): at least one row is needed")
    return Moments(count, mean, m2)


def merge(a: Moments, b: Moments) -> Moments:
    """Moments of the union of two disjoint sets.

    The shift between the two means enters as it is, not as a difference of two large sums of squares, so
    nothing is lost however far the features lie from the origin.

    Raises:
        UserError: if the widths differ.

    Example:
        >>> import numpy as np
        >>> from genjax.metrics import merge, moments
        >>> m = merge(moments(np.zeros((3, 1))), moments(np.full((1, 1), 4.0)))
        >>> m.count, m.mean.tolist(), m.m2.tolist()
        (4, [1.0], [[12.0]])

    References:
        Chan, Golub and LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing Sample Variances" (1979),
        equation 1.5.
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
    """Unbiased covariance, float64[D,D]: divided by N - 1, as in the reference code of the FID (`numpy.cov`).

    Raises:
        UserError: for fewer than two vectors.

    Example:
        >>> import numpy as np
        >>> from genjax.metrics import covariance, moments
        >>> covariance(moments(np.array([[0.0], [2.0]]))).tolist()
        [[2.0]]
    """
    if m.count < 2:
        raise TooFewError(f"count is {m.count}: a covariance needs at least 2 vectors")
    return m.m2 / (m.count - 1)


def distance(a: Moments, b: Moments) -> float:
    """`frechet_distance` of the normal distributions with these moments: FID, where the features are Inception's.

    With few vectors it depends more on their number than on their distribution: the distance of N draws to the
    distribution they are from is about ``c / N``. Below twice as many vectors as features a warning is logged, in
    a process once for these numbers, and `genjax.metrics.extrapolation` estimates the limit of many.

    Args:
        a: moments of one set of features.
        b: of the other.

    Raises:
        UserError: for fewer than two vectors, or widths that differ.

    Example:
        >>> import numpy as np
        >>> from genjax.metrics import distance, moments
        >>> features = np.array([[0.0], [2.0]])
        >>> print(f"{distance(moments(features), moments(features + 10)):.3f}")
        100.000
    """
    count, width = min(a.count, b.count), len(a.mean)
    if count < 2 * width and (count, width) not in _warned:
        _warned.add((count, width))  # once: scores of resamples and of many steps are all of as many vectors
        _log.warning(
            "Fréchet distance from %d vectors of %d features: fewer than twice as many vectors as features, so that "
            "the number depends on how many there are more than on what they are",
            count,
            width,
        )
    return frechet_distance(a.mean, covariance(a), b.mean, covariance(b))


def frechet_distance(
    mean1: Float[np.ndarray, "D"],
    cov1: Float[np.ndarray, "D D"],
    mean2: Float[np.ndarray, "D"],
    cov2: Float[np.ndarray, "D D"],
) -> float:
    """Squared Fréchet (2-Wasserstein) distance between two normal distributions.

    ``|mean1 - mean2|^2 + tr(A + B - 2 (A^1/2 B A^1/2)^1/2)`` with A = cov1, B = cov2. For any factors
    ``A = F F^T`` and ``B = G G^T`` the last trace is the sum of the singular values of ``F^T G``. Here the factors are
    Cholesky's with pivoting, as wide as the covariances' rank: unlike a matrix square root of the unsymmetric ``A B``
    this cannot turn complex, stays finite when A, B or both are rank-deficient, as they are with fewer samples than
    features, and is cheaper the fewer there are.

    The singular values are roots of the eigenvalues of ``(F^T G)^T F^T G``, four times as fast, unless that could cost
    1e-10 of the traces: an eigenvalue that is zero but for rounding, 1e-16, would add 1e-8 once its root is drawn. The
    bound is cautious. Covariances of full rank with variances over seven orders of magnitude are within it, and what
    was seen of errors on 2^10 features is 1e-15 of the traces.

    Args:
        mean1: float[D], mean of the first distribution.
        cov1: float[D,D], its covariance: symmetric, positive semi-definite up to rounding.
        mean2: float[D], mean of the second.
        cov2: float[D,D], its covariance.

    Returns:
        The distance, in squared units of the features; never negative (rounding below zero is clipped).

    Raises:
        UserError: if the shapes do not fit, a value is not finite, or a covariance is not one.

    Example:
        >>> import numpy as np
        >>> from genjax.metrics import frechet_distance
        >>> print(f"{frechet_distance(np.zeros(2), np.eye(2), np.zeros(2), 4 * np.eye(2)):.3f}")
        2.000

    References:
        Dowson and Landau, "The Fréchet Distance between Multivariate Normal Distributions" (1982), equation 4; Heusel
        et al., "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium" (2017), equation 6.
    """
    mean1, mean2 = np.asarray(mean1, np.float64), np.asarray(mean2, np.float64)
    if mean1.shape != mean2.shape:
        raise UserError(f"mean2 has shape {mean2.shape}, mean1 {mean1.shape}: they must be equal")
    if not (np.isfinite(mean1).all() and np.isfinite(mean2).all()):
        raise UserError("mean1 or mean2 has a value that is not finite")
    factor1, factor2 = _factor("cov1", cov1, len(mean1)), _factor("cov2", cov2, len(mean1))
    traces = np.trace(cov1, dtype=np.float64) + np.trace(cov2, dtype=np.float64)
    distance = np.sum((mean1 - mean2) ** 2) + traces - 2.0 * _nuclear_norm(factor1, factor2, float(traces))
    return float(np.maximum(distance, 0.0))


def _factor(name: str, cov: np.ndarray, dim: int) -> np.ndarray:
    """F[D,R] with ``F F^T = cov`` up to rounding, R the rank."""
    cov = np.asarray(cov, np.float64)
    if cov.shape != (dim, dim):
        raise UserError(f"{name} has shape {cov.shape}: ({dim}, {dim}) fits the means")
    if not np.isfinite(cov).all():
        raise UserError(f"{name} has a value that is not finite")
    scale = np.abs(cov).max(initial=0.0)
    if np.abs(cov - cov.T).max(initial=0.0) > 1e-6 * scale:
        raise UserError(f"{name} is not symmetric: it cannot be a covariance")
    from scipy.linalg import lapack  # comes with scikit-learn

    packed, pivots, rank, _ = lapack.dpstrf(cov, tol=_NOISE * cov.diagonal().max(initial=0.0), lower=1)
    lower = np.tril(packed[:, :rank])
    order = pivots - 1
    rest = cov[np.ix_(order[rank:], order[rank:])] - lower[rank:] @ lower[rank:].T
    if np.abs(rest).max(initial=0.0) <= _RESIDUAL * scale:
        factor = np.empty_like(lower)
        factor[order] = lower
        return factor
    # Not positive semi-definite to rounding of float64, maybe to rounding of float32. Negative values count as zero.
    values, vectors = np.linalg.eigh(cov)
    if values.min(initial=0.0) < -1e-6 * scale * len(cov):
        raise UserError(f"{name} has the eigenvalue {values.min():.3g}: a covariance has none below zero")
    positive = values > 0
    return np.asarray(vectors[:, positive] * np.sqrt(values[positive]))


def _nuclear_norm(factor1: np.ndarray, factor2: np.ndarray, traces: float) -> float:
    """Sum of the singular values of ``factor1^T factor2``."""
    product = factor1.T @ factor2
    if product.shape[0] < product.shape[1]:
        product = product.T
    squares = np.clip(np.linalg.eigvalsh(product.T @ product), 0.0, None)
    roots = np.sqrt(squares)
    error = np.finfo(np.float64).eps * squares.max(initial=0.0)
    # The root of s^2 + error is off by error / 2 s, or by the root of the error where s is smaller than that, and the
    # errors of different s are of either sign.
    missed = np.sqrt(np.square(error / np.maximum(2 * roots, error**0.5)).sum()) if error else 0.0
    return float(
        roots.sum() if missed <= _ACCURACY * traces else np.linalg.svd(product, compute_uv=False).sum()
    )
