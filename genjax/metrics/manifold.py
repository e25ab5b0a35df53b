"""Fidelity and diversity apart: precision and recall, density and coverage, of balls around images.

Each image has a ball that reaches to its k-th nearest neighbour in its own set; the balls of a set stand for where its
distribution is. Images of the other set lie in them or not, which `memberships` counts for every image: the metrics are
means of it, and `genjax.metrics.intervals.bootstrap_interval` of it is their interval over the images whose mean is
taken, with the balls as they are::

    found = memberships(real, generated, k=5, closed=False)
    density = bootstrap_interval(found.generated / 5)
    coverage = bootstrap_interval(found.reached.astype(float))

Neighbours are exact (`genjax.metrics.neighbours`). From two sets of other sizes come other numbers. Coverage depends
on them most: it grows with the number of generated images and falls with the number of real ones.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int64

from genjax.metrics.neighbours import nearest, pair_distances, squared_distances
from genjax.metrics.sizes import TooFewError

_DOUBTFUL = 0.01
"""Share of the pairs of a block that may need to be looked at one by one; above it float64 products decide, and vectors
at equal distances, such as copies, are equal up to rounding."""


class Memberships(NamedTuple):
    """Which images lie in which balls.

    Attributes:
        generated: of each generated image, the number of real images' balls that it lies in.
        real: of each real image, the number of generated images' balls that it lies in.
        reached: of each real image, whether a generated image lies in its ball.
    """

    generated: Int64[np.ndarray, "M"]
    real: Int64[np.ndarray, "N"]
    reached: Bool[np.ndarray, "N"]


class PrecisionRecall(NamedTuple):
    """Shares, in [0, 1].

    Attributes:
        precision: share of generated images that lie in the ball of a real image.
        recall: share of real images that lie in the ball of a generated image.
    """

    precision: float
    recall: float


class DensityCoverage(NamedTuple):
    """What `density_coverage` says.

    Attributes:
        density: real images' balls a generated image lies in, by k; 1 is expected of the data themselves, more is
            possible.
        coverage: share of real images in whose ball a generated one lies, in [0, 1].
    """

    density: float
    coverage: float


def precision_recall(
    real: Float[np.ndarray, "N D"], generated: Float[np.ndarray, "M _"], *, k: int = 3
) -> PrecisionRecall:
    """Improved precision and recall; the boundary of a ball belongs to it.

    torch-fidelity gives the same, with the generated images as its first input.

    Args:
        real: features of N > k images.
        generated: features of M > k images.
        k: the radius of a ball is the distance to the k-th neighbour.

    Raises:
        UserError: too few images, widths that differ, a value that is not finite, or a k below 1.

    Example:
        >>> import numpy as np
        >>> from genjax.metrics.manifold import precision_recall
        >>> real, generated = np.array([[0.0], [1.0], [2.0], [3.0]]), np.array([[0.5], [1.5]])
        >>> precision_recall(real, generated, k=1)  # the real image at 3 is in no ball
        PrecisionRecall(precision=1.0, recall=0.75)

    References:
        Kynkäänniemi et al., "Improved Precision and Recall Metric for Assessing Generative Models" (2019), equations
        1 and 2.
    """
    found = memberships(real, generated, k=k, closed=True)
    return PrecisionRecall(float((found.generated > 0).mean()), float((found.real > 0).mean()))


def density_coverage(
    real: Float[np.ndarray, "N D"], generated: Float[np.ndarray, "M _"], *, k: int = 5
) -> DensityCoverage:
    """Density and coverage; the boundary of a ball does not belong to it, as in the authors' package `prdc`.

    So a set has density 1 by itself: each image lies in its own ball and, on average, in k - 1 others. Images as the
    data has them, N of them and many, cover ``1 - 2^-k`` (0.97 for k = 5).

    Args:
        real: as for `precision_recall`.
        generated: as for `precision_recall`; one image is enough.
        k: as for `precision_recall`.

    Raises:
        UserError: as `precision_recall`.

    Example:
        >>> import numpy as np
        >>> from genjax.metrics.manifold import density_coverage
        >>> real, generated = np.array([[0.0], [1.0], [2.0], [3.0]]), np.array([[0.5], [1.5]])
        >>> density_coverage(real, generated, k=1)  # each generated image lies in two balls
        DensityCoverage(density=2.0, coverage=0.75)

    References:
        Naeem et al., "Reliable Fidelity and Diversity Metrics for Generative Models" (2020).
    """
    found = memberships(real, generated, k=k, closed=False)
    return DensityCoverage(float(found.generated.mean() / k), float(found.reached.mean()))


def memberships(
    real: Float[np.ndarray, "N D"], generated: Float[np.ndarray, "M _"], *, k: int, closed: bool
) -> Memberships:
    """Counts, image by image, the balls of the other set that it lies in.

    Costs ``2 (N^2 + N M + M^2) D`` operations and 64 MiB a block of distances.

    Args:
        real: features of N > k images.
        generated: features of M > k images.
        k: the radius of a ball is the distance to the k-th neighbour.
        closed: whether the boundary of a ball belongs to it.

    Raises:
        UserError: as `precision_recall`.

    Example:
        >>> import numpy as np
        >>> from genjax.metrics.manifold import memberships
        >>> real, generated = np.array([[0.0], [1.0], [2.0], [3.0]]), np.array([[0.5], [1.5]])
        >>> found = memberships(real, generated, k=1, closed=False)
        >>> found.generated.tolist(), found.reached.tolist()
        ([2, 2], [True, True, True, False])
    """
    for name, features in (("real", real), ("generated", generated)):
        if not 1 <= k < len(features):
            raise TooFewError(f"k={k}: valid for {len(features)} {name} images are 1..{len(features) - 1}")
    radius_x, radius_y = (nearest(z, k=k).distance for z in (real, generated))
    of_generated, of_real = np.zeros(len(generated), np.int64), np.zeros(len(real), np.int64)
    reached = np.zeros(len(real), bool)
    for part, block, slack in squared_distances(real, generated):
        arguments = real[part], generated, block, slack
        inside = _inside(*arguments, radius_x[part, None], closed)
        of_generated += np.count_nonzero(inside, axis=0)
        reached[part] = inside.any(1)
        of_real[part] = np.count_nonzero(_inside(*arguments, radius_y[None], closed), axis=1)
    return Memberships(of_generated, of_real, reached)


def _inside(
    x: np.ndarray, y: np.ndarray, squares: np.ndarray, slack: np.ndarray, radius: np.ndarray, closed: bool
) -> np.ndarray:
    """bool[B,M]: whether distances are at most (or, if not closed, below) the radius, [B,1] or [1,M]."""
    limit = np.square(radius).astype(squares.dtype)
    inside = squares <= limit
    doubtful = np.abs(squares - limit) <= 1.01 * slack[:, None]
    if np.count_nonzero(doubtful) > _DOUBTFUL * squares.size:
        if squares.dtype == np.float64:
            inside[doubtful] = closed
            return inside
        ((_, squares, slack),) = squared_distances(x, y, np.dtype(np.float64))  # one block in, one block out
        return _inside(x, y, squares, slack, radius, closed)
    row, column = np.nonzero(doubtful)
    distance, at = pair_distances(x, y, row, column), np.broadcast_to(radius, squares.shape)[row, column]
    inside[row, column] = distance <= at if closed else distance < at
    return inside
