"""Maximum mean discrepancies: KID and CMMD, distances between sets of features that assume no distribution.

``MMD^2 = E k(x, x') + E k(y, y') - 2 E k(x, y)``, with a cubic kernel for KID and a Gaussian one for CMMD. Kernel
matrices are made and added up block by block, in float64; the scalar products in them have the precision of the
features. With float32 features they take half the time, which changed a KID of 1.4e-4, of 5,000 x 2048 features, by
2e-7 of itself. The sources are at `kid` and `cmmd`.
"""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float, Float64

from genjax.metrics.intervals import Interval, resample_counts, scatter_interval
from genjax.metrics.sizes import TooFewError
from genjax.typing import UserError

Kernel: TypeAlias = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Of features [B,D] and [M,D], the matrix [B,M] of k in float64."""

_BLOCK = 2**22
"""Kernel values at a time: 32 MiB, twice or three times over."""
SEED = 2020
"""Of the subsets, as in torch-fidelity."""


class KID(NamedTuple):
    """A kernel distance, averaged over subsets.

    Attributes:
        mean: over the subsets.
        std: over the subsets, divided by their number and not by one less: the custom, and what is reported as "+-".
        standard_error: ``std / sqrt(subsets - 1)``, of the mean as an estimate of the mean over *all* subsets of these
            features. It does not say how far other features would have given another number: `mmd`'s does. It is 0, up
            to rounding, where a subset is the whole set.
    """

    mean: float
    std: float
    standard_error: float


class MMD(NamedTuple):
    """An estimate from all features.

    Attributes:
        value: value of MMD^2; unbiased, and so below zero half of the time if the distributions are the same.
        standard_error: by the jackknife over the vectors of both sets.
    """

    value: float
    standard_error: float


def polynomial(x: Float[np.ndarray, "B D"], y: Float[np.ndarray, "M D"]) -> Float64[np.ndarray, "B M"]:
    """``(x.y / D + 1)^3``, the kernel of KID.

    Example:
        >>> import numpy as np
        >>> from genjax.metrics import kernel
        >>> kernel.polynomial(np.ones((1, 4)), np.ones((2, 4))).tolist()
        [[8.0, 8.0]]
    """
    k = (x @ y.T).astype(np.float64, copy=False)
    k /= x.shape[1]
    k += 1.0
    # numpy's power takes ten times as long.
    squared = k * k
    squared *= k
    return squared


def gaussian(
    x: Float[np.ndarray, "B D"], y: Float[np.ndarray, "M D"], sigma: float = 10.0
) -> Float64[np.ndarray, "B M"]:
    """``exp(-|x - y|^2 / (2 sigma^2)) - 1``.

    The constant drops out of MMD^2 as it is estimated from all pairs; left in, it would take ten digits of CMMD with
    it, whose kernel is between 0.98 and 1.

    Example:
        >>> import numpy as np
        >>> from genjax.metrics import kernel
        >>> print(kernel.gaussian(np.zeros((1, 1)), np.array([[0.0], [10.0]]), sigma=10.0).round(3))
        [[ 0.    -0.393]]
    """
    x, y = x.astype(np.float64), y.astype(np.float64)
    exponent = x @ y.T
    exponent *= 2.0
    exponent -= np.square(x).sum(1)[:, None]
    exponent -= np.square(y).sum(1)[None]
    exponent /= 2.0 * sigma**2
    return np.expm1(np.minimum(exponent, 0.0))


def kid(
    real: Float[np.ndarray, "N D"],
    generated: Float[np.ndarray, "M _"],
    *,
    subsets: int = 100,
    subset_size: int = 1000,
    seed: int = SEED,
) -> KID:
    """Kernel Inception distance: the unbiased MMD^2 of the cubic kernel, averaged over random subsets.

    With the defaults the number that torch-fidelity 0.4 gives for ``(input1, input2) = (real, generated)``: subsets are
    drawn as there, alternately for the two sets, without replacement. Changing the two sets over changes the subsets.

    Costs ``4 * subsets * subset_size^2 * D`` operations, 8e11 for Inception features: 10 seconds on one core in
    float32.

    Args:
        real: features; the top of the module says in what precision they are multiplied.
        generated: features.
        subsets: number of subsets.
        subset_size: images of each set in a subset.
        seed: seed of the subsets, for `numpy.random.RandomState`.

    Raises:
        UserError: fewer vectors than a subset takes, widths that differ, values that are not finite, or a number out of
            range.

    Example:
        >>> import numpy as np
        >>> from genjax.metrics import kernel
        >>> real, generated = np.random.default_rng(0).normal(size=(2, 100, 4)) + [[[0.0]], [[1.0]]]
        >>> found = kernel.kid(real, generated, subsets=10, subset_size=50)
        >>> print(f"{found.mean:.1f} +- {found.standard_error:.1f}")
        8.8 +- 0.3

    References:
        Binkowski et al., "Demystifying MMD GANs" (2018); Gretton et al., "A Kernel Two-Sample Test" (2012), lemma 6.
    """
    _check(real, generated)
    if subsets < 2 or not 2 <= subset_size <= min(len(real), len(generated)):
        raise TooFewError(
            f"subsets={subsets}, subset_size={subset_size}: valid for {len(real)} and {len(generated)} vectors are at "
            f"least 2 subsets of 2..{min(len(real), len(generated))}"
        )
    rng = np.random.RandomState(seed)  # the generator of published numbers
    sizes = len(real), len(generated)
    drawn = [[rng.choice(n, subset_size, replace=False) for n in sizes] for _ in range(subsets)]
    if sum(sizes) ** 2 < subsets * (2 * subset_size) ** 2:
        # All pairs, once, are fewer than the pairs of the subsets.
        values = _estimates(
            real,
            generated,
            polynomial,
            *(_indicators(n, d) for n, d in zip(sizes, zip(*drawn, strict=True), strict=True)),
        )
    else:
        ones = np.ones((subset_size, 1))
        values = np.concatenate([_estimates(real[i], generated[j], polynomial, ones, ones) for i, j in drawn])
    std = float(values.std())
    return KID(float(values.mean()), std, std / (subsets - 1) ** 0.5)


def mmd(
    real: Float[np.ndarray, "N D"], generated: Float[np.ndarray, "M _"], kernel: Kernel = polynomial
) -> MMD:
    """The unbiased estimate of MMD^2 from all pairs, with its standard error: KID without subsets, by default.

    Costs ``(N + M)^2 * D`` operations.

    Args:
        real: N >= 3 features.
        generated: M >= 3 features.
        kernel: `polynomial`, `gaussian` or your own.

    Raises:
        UserError: too few vectors, widths that differ, or values that are not finite.

    Example:
        >>> import numpy as np
        >>> from genjax.metrics import kernel
        >>> features = np.random.default_rng(0).normal(size=(50, 4))
        >>> kernel.mmd(features, features).value < 0 < kernel.mmd(features, features + 1).value
        True

    References:
        Gretton et al., "A Kernel Two-Sample Test" (2012), lemma 6; Efron and Stein, "The Jackknife Estimate of
        Variance" (1981), by whom the standard error is too large rather than too small.
    """
    _check(real, generated)
    n, m = len(real), len(generated)
    if min(n, m) < 3:
        raise TooFewError(f"real and generated have {n} and {m} vectors: at least 3 of each are needed")
    within_x = _within(real, kernel, np.ones((n, 1)))[:, 0]
    within_y = _within(generated, kernel, np.ones((m, 1)))[:, 0]
    across_x, across_y = (
        sums[:, 0] for sums in _across(real, generated, kernel, np.ones((n, 1)), np.ones((m, 1)))
    )
    sum_x, sum_y, sum_xy = within_x.sum(), within_y.sum(), across_x.sum()
    mean_x, mean_y = sum_x / (n * (n - 1)), sum_y / (m * (m - 1))
    # The estimate without vector i of one set, for every i.
    without_x = (
        (sum_x - 2 * within_x) / ((n - 1) * (n - 2)) + mean_y - 2 * (sum_xy - across_x) / ((n - 1) * m)
    )
    without_y = (
        mean_x + (sum_y - 2 * within_y) / ((m - 1) * (m - 2)) - 2 * (sum_xy - across_y) / (n * (m - 1))
    )
    variance = (n - 1) * without_x.var() + (m - 1) * without_y.var()
    return MMD(float(mean_x + mean_y - 2 * sum_xy / (n * m)), float(variance**0.5))


def mmd_interval(
    real: Float[np.ndarray, "N D"],
    generated: Float[np.ndarray, "M _"],
    kernel: Kernel = polynomial,
    *,
    confidence: float = 0.95,
    resamples: int = 200,
    seed: int = 0,
) -> Interval:
    """Bootstrap interval of `mmd`, over the vectors of both sets; two vectors that are the same one make no pair.

    All resamples take one pass over the kernel matrices, which with R of them costs ``1 + R / D`` times as much. Sets
    of the same distribution are no case for it: the estimate's distribution is not the bootstrap's then.

    Args:
        real: as for `mmd`.
        generated: as for `mmd`.
        kernel: as for `mmd`.
        confidence: in (0, 1).
        resamples: R, how many.
        seed: seed of the draws.

    Raises:
        UserError: as `mmd`; fewer than two resamples, or a confidence out of range.

    Example:
        >>> import numpy as np
        >>> from genjax.metrics import kernel
        >>> real, generated = np.random.default_rng(0).normal(size=(2, 100, 4)) + [[[0.0]], [[1.0]]]
        >>> interval = kernel.mmd_interval(real, generated, resamples=100)
        >>> print(f"{interval.estimate:.0f} in [{interval.low:.0f}, {interval.high:.0f}]")
        9 in [6, 12]

    References:
        Arcones and Giné, "On the Bootstrap of U and V Statistics" (1992).
    """
    _check(real, generated)
    if resamples < 2 or min(len(real), len(generated)) < 3:
        raise TooFewError(
            f"resamples={resamples} of {len(real)} and {len(generated)} vectors: at least 2 of at least 3 are needed"
        )
    # Column 0 is the sets themselves. Two seeds, or sets of one size would be drawn alike.
    weights = [
        np.vstack([np.ones((1, len(x))), resample_counts(len(x), resamples, s)]).T
        for x, s in ((real, 2 * seed), (generated, 2 * seed + 1))
    ]
    values = _estimates(real, generated, kernel, *weights)
    return scatter_interval(float(values[0]), values[1:], confidence)


def kernel_means(
    sets: Sequence[Float[np.ndarray, "_ _"]], kernel: Kernel = polynomial
) -> Float64[np.ndarray, "S S"]:
    """Means of the kernel over the pairs within each set and across each two: every MMD^2 is a sum of them.

    A vector makes no pair with itself, so that all of them are unbiased: ``m[i, i] + m[j, j] - 2 m[i, j]`` is `mmd`.

    Args:
        sets: S sets of at least 2 features each, drawn independently of each other.
        kernel: as for `mmd`.

    Raises:
        UserError: a set of fewer than two vectors, widths that differ, or values that are not finite.

    Example:
        >>> import numpy as np
        >>> from genjax.metrics import kernel
        >>> x, y = np.random.default_rng(0).normal(size=(2, 10, 4))
        >>> m = kernel.kernel_means([x, y])
        >>> bool(np.isclose(m[0, 0] + m[1, 1] - 2 * m[0, 1], kernel.mmd(x, y).value))
        True
    """
    for x in sets:
        _check(sets[0], x)
        if len(x) < 2:
            raise UserError(f"sets have {[len(x) for x in sets]} vectors: at least 2 of each are needed")
    means = np.zeros((len(sets), len(sets)))
    for i, x in enumerate(sets):
        means[i, i] = _within(x, kernel, np.ones((len(x), 1))).sum() / (len(x) * (len(x) - 1))
        for j in range(i):
            ones = [np.ones((len(y), 1)) for y in (x, sets[j])]
            across, _ = _across(x, sets[j], kernel, *ones)
            means[i, j] = means[j, i] = across.sum() / (len(x) * len(sets[j]))
    return means


def cmmd(
    real: Float[np.ndarray, "N D"],
    generated: Float[np.ndarray, "M _"],
    *,
    sigma: float = 10.0,
    scale: float = 1000.0,
) -> float:
    """CMMD: MMD^2 of embeddings with a Gaussian kernel, times 1000; the estimate from all pairs, equal ones included.

    That is the biased V-statistic of the authors' code, which computes it in float32. Published numbers are of CLIP's
    embeddings (ViT-L/14 at 336 pixels), divided by their norm; this function takes embeddings as they are.

    Args:
        real: embeddings.
        generated: embeddings.
        sigma: width of the kernel ``exp(-|x - y|^2 / (2 sigma^2))``.
        scale: scale of the result.

    Returns:
        At least 0, and 0 for equal sets.

    Raises:
        UserError: no vector, widths that differ, values that are not finite, or a sigma that is not above 0.

    Example:
        >>> import numpy as np
        >>> from genjax.metrics import kernel
        >>> x, y = np.array([[0.0]]), np.array([[10.0]])
        >>> print(f"{kernel.cmmd(x, x):.1f} {kernel.cmmd(x, y):.1f}")  # 2000 (1 - exp(-1 / 2))
        0.0 786.9

    References:
        Jayasumana et al., "Rethinking FID: Towards a Better Evaluation Metric for Image Generation" (2024);
        Gretton et al., "A Kernel Two-Sample Test" (2012), equation 5.
    """
    _check(real, generated)
    if not sigma > 0:
        raise UserError(f"sigma={sigma}: valid are numbers above 0")
    kernel = functools.partial(gaussian, sigma=sigma)
    n, m = len(real), len(generated)
    # The diagonals are 0: see `gaussian`.
    xx, yy = (_within(x, kernel, np.ones((len(x), 1))).sum() for x in (real, generated))
    xy = _across(real, generated, kernel, np.ones((n, 1)), np.ones((m, 1)))[0].sum()
    return float(max(0.0, scale * (xx / n**2 + yy / m**2 - 2 * xy / (n * m))))


def _estimates(x: np.ndarray, y: np.ndarray, kernel: Kernel, wx: np.ndarray, wy: np.ndarray) -> np.ndarray:
    """float64[R]: unbiased MMD^2 of sets in which row i is ``wx[i, r]`` times, and makes no pairs with itself."""

    def within(x: np.ndarray, w: np.ndarray) -> np.ndarray:
        return (w * _within(x, kernel, w)).sum(0) / (w.sum(0) ** 2 - np.square(w).sum(0))

    across = (wx * _across(x, y, kernel, wx, wy)[0]).sum(0) / (wx.sum(0) * wy.sum(0))
    return within(x, wx) + within(y, wy) - 2 * across


def _within(x: np.ndarray, kernel: Kernel, weights: np.ndarray) -> np.ndarray:
    """K @ weights, float64[N,R], for the kernel matrix K of x with zeros on its diagonal."""
    sums = np.zeros_like(weights)
    rows = max(1, _BLOCK // len(x))
    for start in range(0, len(x), rows):
        stop = min(start + rows, len(x))
        # From the diagonal on; what is left of it is the same, transposed. One object twice: BLAS computes half of it.
        block = x[start:stop]
        k = kernel(block, block)
        np.fill_diagonal(k, 0.0)
        sums[start:stop] += k @ weights[start:stop]
        if stop < len(x):
            k = kernel(block, x[stop:])
            sums[start:stop] += k @ weights[stop:]
            sums[stop:] += k.T @ weights[start:stop]
    return sums


def _across(
    x: np.ndarray, y: np.ndarray, kernel: Kernel, wx: np.ndarray, wy: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """K @ wy, float64[N,R], and K.T @ wx, float64[M,R]."""
    along_x, along_y = np.zeros_like(wx), np.zeros_like(wy)
    rows = max(1, _BLOCK // len(y))
    for start in range(0, len(x), rows):
        part = slice(start, start + rows)
        k = kernel(x[part], y)
        along_x[part] = k @ wy
        along_y += k.T @ wx[part]
    return along_x, along_y


def _indicators(n: int, drawn: Sequence[np.ndarray]) -> np.ndarray:
    """float64[n,R]: whether row i is in subset r."""
    weights = np.zeros((n, len(drawn)))
    for r, rows in enumerate(drawn):
        weights[rows, r] = 1.0
    return weights


def _check(real: np.ndarray, generated: np.ndarray) -> None:
    if not len(real) or not len(generated) or real.shape[1] != generated.shape[1]:
        raise UserError(
            f"real and generated have shapes {real.shape} and {generated.shape}: valid are vectors of one width"
        )
    for name, x in (("real", real), ("generated", generated)):
        if not np.isfinite(x).all():
            raise UserError(f"{name} has a value that is not finite")
