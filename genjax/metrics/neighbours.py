"""Copies, found by nearest neighbours in a space of features: of other generated images, and of training images.

What is near is read off real images. A threshold on the distance of a generated image to its nearest training image is
the 1 % quantile of the same distance of held-out images: a generator that makes new images as the data has them scores
about 1 %, one that copies scores more.

The distances are exact. Neighbours are found by ``|x|^2 - 2 x.y + |y|^2`` in float64, block by block, which finds the
nearest up to a rounding of some 1e-16 of the squared norms, and their distances are computed again from the
differences, so that a copy has distance 0 and not the root of a rounding error.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64, Int64

from genjax.typing import UserError

_BLOCK = 2**23
"""Distances at a time: 64 MiB."""
_ROWS = 4096


class Neighbours(NamedTuple):
    """Of each of N vectors.

    Attributes:
        distance: Euclidean, to the nearest neighbour.
        index: of the neighbour; the first of equally near ones.
    """

    distance: Float64[np.ndarray, "N"]
    index: Int64[np.ndarray, "N"]  # type: ignore[assignment]  # hides tuple.index, which nobody misses


def nearest(queries: Float[np.ndarray, "N D"], gallery: Float[np.ndarray, "M _"] | None = None) -> Neighbours:
    """The nearest vector of a gallery, or of the other queries.

    Args:
        queries: N vectors.
        gallery: M >= 1 vectors; None: the queries, of which none is its own neighbour.

    Raises:
        UserError: nothing to be near to, widths that differ, or a value that is not finite.
    """
    others = gallery is None
    gallery = queries if gallery is None else gallery
    if len(gallery) < 1 + others:
        raise UserError(f"gallery has {len(gallery)} vectors: at least {1 + others} are needed")
    if queries.shape[1] != gallery.shape[1]:
        raise UserError(
            f"queries are {queries.shape[1]} wide, gallery {gallery.shape[1]}: they must be alike"
        )
    # Centred, because the rounding grows with the norms.
    centre = gallery.mean(0, dtype=np.float64)
    x, y = queries - centre, gallery - centre
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise UserError("queries or gallery has a value that is not finite")
    index = np.empty(len(x), np.int64)
    norms, minus_twice = np.square(y).sum(1), -2 * y.T
    rows = max(1, _BLOCK // len(y))
    for start in range(0, len(x), rows):
        block = x[start : start + rows] @ minus_twice
        block += norms[None]  # and |x|^2, the same for all neighbours
        if others:
            here = np.arange(len(block))
            block[here, start + here] = np.inf
        index[start : start + rows] = block.argmin(1)
    distance = np.empty(len(x), np.float64)
    for start in range(0, len(x), _ROWS):
        part = slice(start, start + _ROWS)
        distance[part] = np.sqrt(np.square(x[part] - y[index[part]]).sum(1))
    return Neighbours(distance, index)


def duplicate_threshold(real: Float[np.ndarray, "N D"], quantile: float = 0.01) -> float:
    """The distance within which a share `quantile` of real images have another one of the same set.

    It shrinks as the set grows: take as many real images as generated ones.

    Args:
        real: features of N >= 2 images.
        quantile: in [0, 1].

    Raises:
        UserError: as `nearest`.
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
    """
    return float((nearest(generated, train).distance <= threshold).mean())
