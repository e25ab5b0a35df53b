"""Whether a generator copies its training images, told from a third set: real images it has not seen.

* `copying_rank`, `copying_score`: is a generated image nearer to the training images than a held-out one is? Over all
  of them (Z_U), and cell by cell of the space (C_T), so that copies in one place are not made up for elsewhere:
  Meehan, Chaudhuri and Dasgupta, "A Non-Parametric Test to Detect Data-Copying in Generative Models" (2020).
* `authentic`: of each generated image, whether it is farther from its training image than real images are from that.

`genjax.metrics.neighbours.memorisation_rate` asks a third way, by a threshold.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float64

from genjax.metrics.intervals import Interval, bootstrap
from genjax.metrics.neighbours import nearest
from genjax.metrics.sizes import TooFewError
from genjax.typing import UserError


class CopyingScore(NamedTuple):
    """What `copying_score` says.

    Attributes:
        score: C_T, the mean of the cells' Z_U, each weighted by its held-out images. Below -3 or so: copies.
        cells: Z_U of each cell; NaN where there are too few images to say anything.
        weights: weights of the cells in the mean, adding up to 1.
    """

    score: float
    cells: Float64[np.ndarray, "K"]
    weights: Float64[np.ndarray, "K"]


def copying_rank(
    generated: Float[np.ndarray, "M D"], test: Float[np.ndarray, "N _"], train: Float[np.ndarray, "T _"]
) -> float:
    """Z_U: the rank test of the distances to the nearest training image, as a normal deviate.

    Args:
        generated: features.
        test: features of real images that the generator has not seen.
        train: features of those that it has.

    Returns:
        About N(0, 1) if generated images are as near to the training images as test images are. Far below 0: nearer,
        they are copies. Far above 0: farther, the generator underfits.

    Raises:
        UserError: no vector, widths that differ, or a value that is not finite.

    Example:
        >>> import numpy as np
        >>> from genjax.metrics.copying import copying_rank
        >>> train, test = np.random.default_rng(0).normal(size=(2, 100, 4))
        >>> print(f"{copying_rank(train, test, train):.1f}")  # nothing but copies
        -12.2

    References:
        Meehan, Chaudhuri and Dasgupta, "A Non-Parametric Test to Detect Data-Copying in Generative Models" (2020);
        Mann and Whitney, "On a Test of Whether One of Two Random Variables is Stochastically Larger" (1947).
    """
    _check(generated=generated, test=test, train=train)
    return _deviate(nearest(generated, train).distance, nearest(test, train).distance)


def copying_score(
    generated: Float[np.ndarray, "M D"],
    test: Float[np.ndarray, "N _"],
    train: Float[np.ndarray, "T _"],
    *,
    cells: int = 10,
    at_least: float | None = None,
    seed: int = 0,
) -> CopyingScore:
    """C_T: the mean of Z_U over cells. The cells are found by k-means of the training images.

    In a cell, distances are to its own training images.

    Args:
        generated: as for `copying_rank`.
        test: as for `copying_rank`.
        train: as for `copying_rank`.
        cells: number of cells of k-means. A cell should have some 20 images of each set.
        at_least: share of the generated images a cell must have more than, to be in the mean (the paper's tau); None:
            ``20 / M``.
        seed: seed of k-means.

    Raises:
        UserError: as `copying_rank`; more cells than training images, or no cell that has enough images.

    Example:
        >>> import numpy as np
        >>> from genjax.metrics.copying import copying_score
        >>> train = np.repeat([[0.0], [100.0]], 50, axis=0)
        >>> found = copying_score(train, train + 1, train, cells=2)  # copies in both cells
        >>> print(f"{found.score:.1f}", found.weights)
        -8.6 [0.5 0.5]

    References:
        Meehan, Chaudhuri and Dasgupta, "A Non-Parametric Test to Detect Data-Copying in Generative Models" (2020), the
        statistic C_T.
    """
    found = locate(generated, test, train, cells=cells, seed=seed)
    return copying_score_of(found, cells=cells, at_least=at_least)


class Located(NamedTuple):
    """In which cell an image is, and how far from the nearest training image in it.

    Attributes:
        generated: float64[M,2], cell and distance of each generated image.
        test: float64[N,2], of each test image.
    """

    generated: Float64[np.ndarray, "M 2"]
    test: Float64[np.ndarray, "N 2"]


def locate(
    generated: Float[np.ndarray, "M D"],
    test: Float[np.ndarray, "N _"],
    train: Float[np.ndarray, "T _"],
    *,
    cells: int = 10,
    seed: int = 0,
) -> Located:
    """All that `copying_score` needs of the features, and what of it costs: k-means and nearest neighbours.

    Raises:
        UserError: as `copying_rank`, or more cells than training images.

    Example:
        >>> import numpy as np
        >>> from genjax.metrics.copying import locate
        >>> train = np.array([[0.0], [100.0]])
        >>> found = locate(np.array([[1.0]]), np.array([[102.0]]), train, cells=2)
        >>> found.generated[:, 1].tolist(), found.test[:, 1].tolist()
        ([1.0], [2.0])
    """
    _check(generated=generated, test=test, train=train)
    if not 1 <= cells <= len(train):
        raise TooFewError(f"cells={cells}: valid for {len(train)} training images are 1..{len(train)}")
    # Here and not above: scikit-learn takes a second to import. It brings threadpoolctl.
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):  # another number of threads adds up in another order
        means = KMeans(cells, n_init=1, random_state=seed).fit(train)
        # k-means keeps the type it was fitted to, and takes no other.
        of_generated, of_test = (means.predict(x.astype(train.dtype)) for x in (generated, test))
    return Located(
        *(_located(x, of, train, means.labels_) for x, of in ((generated, of_generated), (test, of_test)))
    )


def _located(x: np.ndarray, cell: np.ndarray, train: np.ndarray, cell_of_train: np.ndarray) -> np.ndarray:
    found = np.stack([cell.astype(np.float64), np.full(len(x), np.nan)], 1)
    for c in np.unique(cell):
        own = train[cell_of_train == c]
        if len(own):  # duplicates may leave a cell without any
            found[cell == c, 1] = nearest(x[cell == c], own).distance
    return found


def copying_score_of(found: Located, *, cells: int = 10, at_least: float | None = None) -> CopyingScore:
    """`copying_score`, of images that are located.

    Args:
        found: see `locate`.
        cells: as there.
        at_least: as for `copying_score`.

    Raises:
        UserError: no cell that has enough images.

    Example:
        >>> import numpy as np
        >>> from genjax.metrics.copying import Located, copying_score_of
        >>> copies, others = np.zeros((30, 2)), np.tile([0.0, 1.0], (30, 1))  # cell 0, distances 0 and 1
        >>> print(f"{copying_score_of(Located(copies, others), cells=1).score:.2f}")
        -6.65
    """
    at_least = 20 / len(found.generated) if at_least is None else at_least
    scores, weights = np.full(cells, np.nan), np.zeros(cells)
    for cell in range(cells):
        here, held_out = (x[(x[:, 0] == cell) & np.isfinite(x[:, 1]), 1] for x in found)
        if len(here) > at_least * len(found.generated) and len(held_out):
            scores[cell] = _deviate(here, held_out)
            weights[cell] = len(held_out)
    if not weights.any():
        raise TooFewError(
            f"cells={cells}, at_least={at_least:.3g}: no cell has images of all sets, and so many of them"
        )
    weights /= weights.sum()
    return CopyingScore(float(np.where(weights > 0, scores, 0.0) @ weights), scores, weights)


def copying_interval(
    found: Located, *, cells: int = 10, confidence: float = 0.95, resamples: int = 200, seed: int = 0
) -> Interval:
    """Bootstrap interval of C_T over generated and test images; the training images and their cells count as given.

    What is drawn again are the distances to training images, which no copy of an image in a resample changes. The cells
    are those that count for all images.

    Args:
        found: see `locate`.
        cells: as there.
        confidence: in (0, 1).
        resamples: number of resamples of the bootstrap.
        seed: seed of the draws.

    Raises:
        UserError: as `copying_score_of` and `genjax.metrics.intervals.bootstrap`.

    Example:
        >>> import numpy as np
        >>> from genjax.metrics.copying import Located, copying_interval
        >>> distances = np.abs(np.random.default_rng(0).normal(size=(2, 100)))
        >>> found = Located(*(np.stack([np.zeros(100), x], 1) for x in distances))  # all in cell 0
        >>> interval = copying_interval(found, cells=1, resamples=50)
        >>> interval.low < 0 < interval.high
        True
    """
    counted = np.flatnonzero(copying_score_of(found, cells=cells).weights)
    some = (x[np.isin(x[:, 0], counted)] for x in found)
    return bootstrap(
        lambda generated, test: copying_score_of(Located(generated, test), cells=cells, at_least=0.0).score,
        *some,
        confidence=confidence,
        resamples=resamples,
        seed=seed,
    )


def authentic(generated: Float[np.ndarray, "M D"], train: Float[np.ndarray, "T _"]) -> Bool[np.ndarray, "M"]:
    """Of each generated image, whether its nearest training image has another training image nearer than it.

    The mean of it is the authenticity, with `genjax.metrics.intervals.share_interval` around it. Copies are never
    authentic, exact ones of duplicates in the training set included. What share of new images is authentic depends on
    the features: of 2,000 normal ones among as many, 0.34 in one dimension, 0.58 in 8 and 0.82 in 64. So
    compare it with the value of held-out images to see how many images are copies.

    Args:
        generated: features.
        train: features of at least two training images.

    Raises:
        UserError: too few vectors, widths that differ, or a value that is not finite.

    Example:
        >>> import numpy as np
        >>> from genjax.metrics.copying import authentic
        >>> authentic(np.array([[0.1], [3.0]]), train=np.array([[0.0], [1.0]])).tolist()
        [False, True]

    References:
        Alaa et al., "How Faithful is your Synthetic Data? Sample-level Metrics for Evaluating and Auditing Generative
        Models" (2022).
    """
    _check(generated=generated, train=train)
    if len(train) < 2:
        raise TooFewError("train has 1 vector: at least 2 are needed")
    found = nearest(generated, train)
    unique, inverse = np.unique(found.index, return_inverse=True)
    # A training image's own nearest is itself, or a duplicate of it.
    return found.distance > nearest(train[unique], train, k=2).distance[inverse]


def _deviate(generated: np.ndarray, test: np.ndarray) -> float:
    """Mann and Whitney's U of the pairs in which the generated image is farther away, standardised."""
    from scipy.stats import rankdata  # comes with scikit-learn

    m, n = len(generated), len(test)
    ranks = rankdata(np.concatenate([generated, test]))
    larger = ranks[:m].sum() - m * (m + 1) / 2
    return float((larger - m * n / 2) / (m * n * (m + n + 1) / 12) ** 0.5)


def _check(**sets: np.ndarray) -> None:
    widths = {name: x.shape[1] for name, x in sets.items()}
    if len(set(widths.values())) > 1:
        raise UserError(f"features are of different widths: {widths}")
    for name, x in sets.items():
        if not len(x):
            raise UserError(f"{name} has no vector: at least one is needed")
        if not np.isfinite(x).all():
            raise UserError(f"{name} has a value that is not finite")
