"""Copies, found by nearest neighbours in a space of features: of other generated images, and of training images.

What is near is read off real images. A threshold on the distance of a generated image to its nearest training image is
the 1 % quantile of the same distance of held-out images: a generator that makes new images as the data has them scores
about 1 %, one that copies scores more.

The distances are exact. Candidates are found by ``|x|^2 - 2 x.y + |y|^2``, block by block, in the precision of the
features: in float32, for these, with a bound on the rounding. What by this bound may be the nearest is computed again
from the differences in float64, so that the nearest is the nearest, and a copy has distance 0 and not the root of a
rounding error.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64, Int, Int64

from genjax.typing import UserError

_BLOCK = 2**23
"""Distances at a time: 32 MiB of float32, 64 MiB of float64."""
_ROWS = 4096
"""Pairs of vectors at a time, of which differences are taken."""
_CANDIDATES = 64
"""Of a vector that has more, such as one of many copies, float64 products decide, and their rounding among equals."""


class Neighbours(NamedTuple):
    """Of each of N vectors.

    Attributes:
        distance: Euclidean, to the nearest neighbour, or to the k-th nearest.
        index: index of this neighbour; the first of equally near ones, if k is 1.
    """

    distance: Float64[np.ndarray, "N"]
    index: Int64[np.ndarray, "N"]  # type: ignore[assignment]  # hides tuple.index, which nobody misses


def nearest(
    queries: Float[np.ndarray, "N D"], gallery: Float[np.ndarray, "M _"] | None = None, *, k: int = 1
) -> Neighbours:
    """The nearest vector of a gallery, or of the other queries; or the k-th nearest.

    Args:
        queries: N vectors.
        gallery: M >= k vectors; None: the queries, of which none is its own neighbour.
        k: 1 is the nearest. Of equally near vectors each counts.

    Raises:
        UserError: nothing to be near to, widths that differ, a value that is not finite, or a k below 1.

    Example:
        >>> import numpy as np
        >>> from genjax.metrics.neighbours import nearest
        >>> found = nearest(np.array([[0.0], [1.0], [5.0]]))  # none is its own neighbour
        >>> found.distance.tolist(), found.index.tolist()
        ([1.0, 1.0, 4.0], [1, 0, 1])
    """
    others = gallery is None
    gallery = queries if gallery is None else gallery
    if k < 1:
        raise UserError(f"k={k}: valid are 1 and more")
    if len(gallery) < k + others:
        raise UserError(f"gallery has {len(gallery)} vectors: at least {k + others} are needed")
    index = np.empty(len(queries), np.int64)
    for part, block, slack in squared_distances(queries, gallery):
        here = np.arange(len(block))
        if others:
            block[here, part.start + here] = np.inf
        kth = np.partition(block, k - 1, axis=1)[:, k - 1] if k > 1 else block.min(1)
        close = block <= (kth + 2 * slack)[:, None]
        crowded = np.flatnonzero(np.count_nonzero(close, axis=1) > _CANDIDATES + k)
        close[crowded] = False
        row, column = np.nonzero(close)
        order = np.lexsort((column, pair_distances(queries[part], gallery, row, column), row))
        settled = np.unique(row)
        index[part.start + settled] = column[order[np.searchsorted(row, settled) + k - 1]]
        for inner, exact, _ in squared_distances(queries[part][crowded], gallery, np.dtype(np.float64)):
            rows = part.start + crowded[inner]
            if others:
                exact[np.arange(len(rows)), rows] = np.inf
            index[rows] = exact.argmin(1) if k == 1 else np.argpartition(exact, k - 1, axis=1)[:, k - 1]
    return Neighbours(pair_distances(queries, gallery, np.arange(len(queries)), index), index)


def squared_distances(
    x: Float[np.ndarray, "N D"], y: Float[np.ndarray, "M _"], dtype: np.dtype | None = None
) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
    """Squared distances from rows of x to all of y by matrix products, and how far they may be from the truth.

    Args:
        x: vectors.
        y: at least one vector.
        dtype: dtype of the products; None: float64 if x or y is, and float32 otherwise.

    Yields:
        The rows of x; [B,M], which the caller may overwrite; [B], a bound on the error in each row, from the error of a
        scalar product of D terms (Higham, "Accuracy and Stability of Numerical Algorithms", 2002, equation 3.5).

    Raises:
        UserError: widths that differ, or a value that is not finite.

    Example:
        >>> import numpy as np
        >>> from genjax.metrics.neighbours import squared_distances
        >>> for rows, squares, bounds in squared_distances(np.array([[0.0], [3.0]]), np.array([[1.0]])):
        ...     print(squares.round(3).tolist())
        [[1.0], [4.0]]
    """
    if x.shape[1] != y.shape[1]:
        raise UserError(f"queries are {x.shape[1]} wide, gallery {y.shape[1]}: they must be alike")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise UserError("queries or gallery has a value that is not finite")
    dtype = np.result_type(x, y, np.float32) if dtype is None else dtype
    # Rounding grows with the norms.
    centre = y.mean(0, dtype=np.float64).astype(dtype)[None]
    a, b = x - centre, y - centre
    norms_a, norms_b = (np.square(z).sum(1, dtype=np.float64) for z in (a, b))
    unit = float(np.finfo(dtype).eps) / 2
    slack = unit * (x.shape[1] / 2 + 8) * np.square(np.sqrt(norms_a) + norms_b.max() ** 0.5)
    b *= -2
    rows = max(1, _BLOCK // len(y))
    for start in range(0, len(x), rows):
        part = slice(start, min(start + rows, len(x)))
        block = a[part] @ b.T
        block += norms_b.astype(dtype)[None]
        block += norms_a[part].astype(dtype)[:, None]
        yield part, block, slack[part].astype(dtype)


def pair_distances(
    x: Float[np.ndarray, "N D"], y: Float[np.ndarray, "M _"], i: Int[np.ndarray, "P"], j: Int[np.ndarray, "P"]
) -> Float64[np.ndarray, "P"]:
    """Distances of ``x[i]`` and ``y[j]``, from the differences: the same to the last bit for the same two vectors.

    Example:
        >>> import numpy as np
        >>> from genjax.metrics.neighbours import pair_distances
        >>> x, y = np.zeros((1, 2)), np.array([[9.0, 9.0], [3.0, 4.0]])
        >>> pair_distances(x, y, np.array([0]), np.array([1])).tolist()
        [5.0]
    """
    distance = np.empty(len(i), np.float64)
    for start in range(0, len(i), _ROWS):
        part = slice(start, start + _ROWS)
        distance[part] = np.sqrt(np.square(x[i[part]].astype(np.float64) - y[j[part]]).sum(1))
    return distance


def duplicate_threshold(real: Float[np.ndarray, "N D"], quantile: float = 0.01) -> float:
    """The distance within which a share `quantile` of real images have another one of the same set.

    It shrinks as the set grows: take as many real images as generated ones.

    Args:
        real: features of N >= 2 images.
        quantile: in [0, 1].

    Raises:
        UserError: as `nearest`.

    Example:
        >>> import numpy as np
        >>> from genjax.metrics.neighbours import duplicate_threshold
        >>> duplicate_threshold(np.array([[0.0], [1.0], [3.0], [7.0]]), quantile=0.5)  # of 1, 1, 2, 4
        1.5
    """
    return float(np.quantile(nearest(real).distance, quantile))


def duplicate_rate(generated: Float[np.ndarray, "N D"], threshold: float) -> float:
    """Share of images whose nearest other generated image is no farther away than `threshold`.

    All members of a group of duplicates count, so that n copies of one image score 100 %.

    Args:
        generated: features of N >= 2 images.
        threshold: for example `duplicate_threshold` of as many real images; 0 finds exact copies only.

    Raises:
        UserError: as `nearest`.

    Example:
        >>> import numpy as np
        >>> from genjax.metrics.neighbours import duplicate_rate
        >>> duplicate_rate(np.array([[0.0], [0.0], [5.0], [9.0]]), threshold=0.0)
        0.5
    """
    return float((nearest(generated).distance <= threshold).mean())


def memorisation_threshold(
    test: Float[np.ndarray, "N D"], train: Float[np.ndarray, "M D"], quantile: float = 0.01
) -> float:
    """The distance within which a share `quantile` of held-out images have a training image.

    Args:
        test: features of images that the generator was not trained on.
        train: features of those that it was.
        quantile: in [0, 1].

    Raises:
        UserError: as `nearest`.

    Example:
        >>> import numpy as np
        >>> from genjax.metrics.neighbours import memorisation_threshold
        >>> memorisation_threshold(np.array([[1.0], [3.0]]), train=np.array([[0.0]]), quantile=0.5)
        2.0
    """
    return float(np.quantile(nearest(test, train).distance, quantile))


def memorisation_rate(
    generated: Float[np.ndarray, "N D"], train: Float[np.ndarray, "M D"], threshold: float
) -> float:
    """Share of images whose nearest training image is no farther away than `threshold`.

    Args:
        generated: features of N images.
        train: features of the images the generator was trained on.
        threshold: for example `memorisation_threshold`, with the same training images.

    Raises:
        UserError: as `nearest`.

    Example:
        >>> import numpy as np
        >>> from genjax.metrics.neighbours import memorisation_rate
        >>> memorisation_rate(np.array([[0.1], [5.0]]), train=np.array([[0.0], [1.0]]), threshold=0.5)
        0.5
    """
    return float((nearest(generated, train).distance <= threshold).mean())
