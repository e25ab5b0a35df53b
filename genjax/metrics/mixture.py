"""How far a mixture of models is from data, in closed form of its weights, and the weights that bring it nearest.

A mixture draws a model by its weight, and an image from that model. MMD^2 is then a quadratic of the weights, and mean
and covariance of its features are known, so that no mixture has to be drawn to fit the weights.

Weights are parameters: fit them to *training* images. A score on test images that they were fitted to would flatter
them. What training images cannot tell is who copies them: a model that does gets much weight, and
`genjax.metrics.copying` and the score on test images tell.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64

from genjax.metrics.frechet import Moments, covariance, frechet_distance, moments
from genjax.metrics.kernel import Kernel, kernel_means, polynomial
from genjax.typing import UserError

_LEAST = 1e-6
"""A weight below this is rounding of the optimiser, and 0."""
_STEP = 1e-6
"""Of the finite differences."""


class Fitted(NamedTuple):
    """Weights and what they reach.

    Attributes:
        weights: float64[M], at least 0, of sum 1.
        distance: distance of the mixture with these weights, by the criterion that they were fitted to.
        alone: float64[M], the distance of each model by itself.
    """

    weights: Float64[np.ndarray, "M"]
    distance: float
    alone: Float64[np.ndarray, "M"]


class KernelTerms(NamedTuple):
    """``MMD^2(w) = w' K w - 2 k' w + c`` of a mixture with the weights w.

    Attributes:
        between: float64[M,M], K, means of the kernel over pairs of images of two models.
        to_real: float64[M], k, over pairs of an image of a model and a real one.
        real: c, over pairs of real images.
    """

    between: Float64[np.ndarray, "M M"]
    to_real: Float64[np.ndarray, "M"]
    real: float

    def mmd(self, weights: Float[np.ndarray, "M"]) -> float:
        """MMD^2 of the mixture to the real images."""
        return float(weights @ self.between @ weights - 2 * self.to_real @ weights + self.real)

    def gradient(self, weights: Float[np.ndarray, "M"]) -> Float64[np.ndarray, "M"]:
        """By the weights."""
        return 2 * (self.between @ weights - self.to_real)


def kernel_terms(
    members: Sequence[Float[np.ndarray, "_ _"]], real: Float[np.ndarray, "N D"], kernel: Kernel = polynomial
) -> KernelTerms:
    """The terms of `KernelTerms`, each estimated without bias.

    Args:
        members: features of each model's images. The images of different models are drawn independently.
        real: features of real images.
        kernel: by default KID's kernel.

    Raises:
        UserError: as `genjax.metrics.kernel.kernel_means`, or no model.

    References:
        Gretton et al., "A Kernel Two-Sample Test" (2012), lemma 6.
    """
    _check_members(members)
    means = kernel_means([*members, real], kernel)
    return KernelTerms(means[:-1, :-1], means[:-1, -1], float(means[-1, -1]))


def fit_mmd(
    members: Sequence[Float[np.ndarray, "_ _"]], real: Float[np.ndarray, "N D"], kernel: Kernel = polynomial
) -> Fitted:
    """The weights for which MMD^2 of the mixture to the real images is least.

    A convex quadratic on the simplex, up to what the estimate of K is off.

    Args:
        members: as for `kernel_terms`.
        real: features of the training images.
        kernel: as for `kernel_terms`.

    Raises:
        UserError: as `kernel_terms`.
    """
    terms = kernel_terms(members, real, kernel)
    return _fit(len(members), terms.mmd, terms.gradient)


def mixture_moments(
    members: Sequence[Moments], weights: Float[np.ndarray, "M"]
) -> tuple[Float64[np.ndarray, "D"], Float64[np.ndarray, "D D"]]:
    """Mean and covariance of a mixture: the covariance within its members plus the covariance of their means.

    Args:
        members: moments of the features of each model's images.
        weights: at least 0, in any unit.

    Raises:
        UserError: no member, another number of weights, or weights out of range.
    """
    _check_members(members)
    weights = normalized(weights, len(members))
    mean = sum((w * m.mean for w, m in zip(weights, members, strict=True)), np.zeros_like(members[0].mean))
    shifts = np.stack([m.mean for m in members]) - mean[None]
    within = sum(
        (w * covariance(m) for w, m in zip(weights, members, strict=True)), np.zeros_like(members[0].m2)
    )
    return mean, within + (weights[:, None] * shifts).T @ shifts


def fit_frechet(members: Sequence[Float[np.ndarray, "_ _"]], real: Float[np.ndarray, "N D"]) -> Fitted:
    """The weights for which the Fréchet distance of the mixture to the real images is least.

    Not convex, and so from several starts; each step takes M + 1 distances, seconds each where features are 2048 wide.
    A distance from few images is too large, and by how much depends on the model: MMD has no such bias.

    Args:
        members: features of images of each model.
        real: features of the training images.

    Raises:
        UserError: no model, fewer than two vectors of one, widths that differ, or values that are not finite.
    """
    _check_members(members)
    of_members, of_real = [moments(x) for x in members], moments(real)
    cov = covariance(of_real)

    def distance(weights: np.ndarray) -> float:
        inside = np.maximum(weights, 0.0)  # steps may leave the simplex; `mixture_moments` takes any sum
        return frechet_distance(*mixture_moments(of_members, inside), of_real.mean, cov)

    return _fit(len(members), distance)


def normalized(weights: Sequence[float] | Float[np.ndarray, "M"], num: int) -> Float64[np.ndarray, "M"]:
    """`num` weights of sum 1.

    Raises:
        UserError: another number of them, one below 0 or not finite, or none above 0; their sum may be any.
    """
    w = np.asarray(weights, np.float64)
    if w.shape != (num,) or not np.isfinite(w).all() or w.min() < 0 or not w.sum() > 0:
        raise UserError(
            f"weights={tuple(map(float, w.ravel()))}: valid for {num} models are {num} numbers of at least 0, not all 0"
        )
    return w / w.sum()


def _fit(
    num: int,
    distance: Callable[[np.ndarray], float],
    gradient: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Fitted:
    """The least of what SLSQP reaches from equal weights and from near each vertex, and the vertices themselves."""
    from scipy.optimize import minimize  # comes with scikit-learn

    vertices, equal = np.eye(num), np.full(num, 1 / num)
    alone = np.array([distance(v) for v in vertices])
    # In units of what there is to gain, so that one tolerance fits all features.
    scale = max(float(np.abs(alone).max()), np.finfo(np.float64).tiny)
    candidates = list(vertices)
    for start in (equal, *(0.8 * v + 0.2 * equal for v in vertices)):
        found = minimize(
            lambda w: distance(w) / scale,
            start,
            jac=None if gradient is None else lambda w: gradient(w) / scale,
            method="SLSQP",
            bounds=[(0.0, 1.0)] * num,
            constraints={"type": "eq", "fun": lambda w: w.sum() - 1.0, "jac": np.ones_like},
            options={"ftol": 1e-12, "maxiter": 200} | ({"eps": _STEP} if gradient is None else {}),
        )
        candidates.append(normalized(np.where(found.x < _LEAST, 0.0, found.x), num))
    distances = [distance(w) for w in candidates]
    best = int(np.argmin(distances))
    return Fitted(candidates[best], float(distances[best]), alone)


def _check_members(members: Sequence[object]) -> None:
    if not len(members):
        raise UserError("members=(): at least one model is needed")
