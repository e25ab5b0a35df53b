"""Vendi score: how many different images a set holds, as far as a similarity of two images tells."""

import math

import numpy as np
from jaxtyping import Float

from genjax.typing import UserError


def vendi_score(features: Float[np.ndarray, "N D"], *, q: float = 1.0) -> float:
    """Vendi score of the cosine similarity of features.

    ``X X^T / N``, N x N, and ``X^T X / N``, D x D, have the same eigenvalues apart from zeros. The smaller matrix is
    used.

    Args:
        features: features of N images, none of them 0; only their directions matter. Cosines of features that are all
            positive are near 1, and so is the score: it is relative to the features.
        q: order of the entropy; see `vendi_score_of_kernel`.

    Returns:
        In [1, min(N, D)]: 1 if all directions are one, N if all are orthogonal.

    Raises:
        UserError: no vector, one that is 0 or not finite, or an order out of range.

    Example:
        >>> import numpy as np
        >>> from genjax.metrics.vendi import vendi_score
        >>> features = np.eye(4)  # four images with nothing in common
        >>> print(f"{vendi_score(features):.2f} {vendi_score(features[[0, 0, 1, 1]]):.2f}")
        4.00 2.00

    References:
        Friedman and Dieng, "The Vendi Score: A Diversity Evaluation Metric for Machine Learning" (2023),
        with the dual form for features that are few.
    """
    x = np.asarray(features, np.float64)
    if not len(x):
        raise UserError(f"features has shape {x.shape}: at least one row is needed")
    if not np.isfinite(x).all():
        raise UserError("features has a value that is not finite")
    norms = np.sqrt(np.square(x).sum(1))
    if not norms.all():
        raise UserError(f"features has a row of zeros, number {int(norms.argmin())}: it has no direction")
    x = x / norms[:, None]
    return _effective_number(x @ x.T if len(x) <= x.shape[1] else x.T @ x, len(x), q)


def vendi_score_of_kernel(kernel: Float[np.ndarray, "N N"], *, q: float = 1.0) -> float:
    """``exp(H_q)`` of the eigenvalues of K / N, H_q being Rényi's entropy of order q.

    Args:
        kernel: similarities of N images: symmetric, positive semi-definite, 1 on the diagonal.
        q: above 0, `math.inf` included. 1 is Shannon's entropy; less counts rare images more, more counts them less.

    Returns:
        In [1, N].

    Raises:
        UserError: if the kernel is not one, or the order is out of range.

    Example:
        >>> import numpy as np
        >>> from genjax.metrics.vendi import vendi_score_of_kernel
        >>> print(f"{vendi_score_of_kernel(np.eye(3)):.2f} {vendi_score_of_kernel(np.ones((3, 3))):.2f}")
        3.00 1.00

    References:
        Friedman and Dieng, "The Vendi Score: A Diversity Evaluation Metric for Machine Learning" (2023);
        Pasarkar and Dieng, "Cousins of the Vendi Score: A Family of Similarity-Based Diversity Metrics for Science and
        Machine Learning" (2024).
    """
    k = np.asarray(kernel, np.float64)
    if (
        not len(k)
        or not np.isfinite(k).all()
        or np.abs(k - k.T).max() > 1e-6
        or np.abs(k.diagonal() - 1).max() > 1e-6
    ):
        raise UserError(f"kernel of shape {k.shape}: valid are finite, symmetric, with ones on the diagonal")
    return _effective_number(k, len(k), q)


def _effective_number(matrix: np.ndarray, n: int, q: float) -> float:
    if not q > 0:
        raise UserError(f"q={q}: valid are numbers above 0")
    values = np.linalg.eigvalsh(matrix) / n
    if values[0] < -1e-6:
        raise UserError(f"kernel / N has the eigenvalue {values[0]:.3g}: a similarity has none below zero")
    # What is zero but for rounding would count as an image if q is small.
    p = values[values > len(values) * np.finfo(np.float64).eps]
    p /= p.sum()
    if q == 1:
        return float(np.exp(-(p * np.log(p)).sum()))
    return float(1 / p.max()) if math.isinf(q) else float((p**q).sum() ** (1 / (1 - q)))
