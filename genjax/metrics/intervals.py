"""Confidence intervals: of means and shares over the seeds of a study, and of metrics over images.

Which one for a metric of images:

* A mean of one number an image (precision, recall, density, coverage, authenticity, accuracy): `bootstrap_interval` of
  these numbers, or `share_interval`. What the images are compared with counts as given.
* KID: `genjax.metrics.kernel.mmd_interval`, one pass over the kernel matrices for all resamples.
* Anything else, such as a Fréchet distance: `bootstrap`, which computes the metric once a resample.
"""

import statistics
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from genjax.typing import UserError


class Interval(NamedTuple):
    """An estimate and the ends of its confidence interval."""

    estimate: float
    low: float
    high: float


def mean_interval(values: Float[np.ndarray, "N"] | list[float], confidence: float = 0.95) -> Interval:
    """Student's t interval of the mean of independent normal values; exact for these, for any N.

    The ends are ``mean -+ t * s / sqrt(N)``, s with N - 1 degrees of freedom. They may lie outside of the range of the
    values: what lies in [0, 1] is not normal, and the interval of a mean near 0 or 1 is an approximation.

    Args:
        values: values of N >= 2 runs.
        confidence: in (0, 1).

    Raises:
        UserError: fewer than two values, one that is not finite, or a confidence out of range.

    Example:
        >>> from genjax.metrics.intervals import mean_interval
        >>> interval = mean_interval([1.0, 2.0, 3.0])
        >>> print(f"{interval.estimate:.2f} in [{interval.low:.2f}, {interval.high:.2f}]")
        2.00 in [-0.48, 4.48]

    References:
        Student, "The Probable Error of a Mean" (1908).
    """
    from scipy.special import stdtrit  # comes with scikit-learn

    x = _checked(values, 2, confidence)
    half = float(stdtrit(len(x) - 1, 0.5 + confidence / 2)) * float(x.std(ddof=1)) / len(x) ** 0.5
    return Interval(float(x.mean()), float(x.mean()) - half, float(x.mean()) + half)


def share_interval(successes: int, trials: int, confidence: float = 0.95) -> Interval:
    """Wilson's score interval of a probability: stays in [0, 1], and says something of 0 successes too.

    Args:
        successes: in ``range(trials + 1)``.
        trials: at least 1.
        confidence: in (0, 1).

    Returns:
        The share ``successes / trials`` and the interval, whose middle is nearer to 1/2 than the share is.

    Raises:
        UserError: an argument out of range.

    Example:
        >>> from genjax.metrics.intervals import share_interval
        >>> interval = share_interval(0, 10)
        >>> print(f"{interval.estimate:.2f} in [{interval.low:.2f}, {interval.high:.2f}]")
        0.00 in [0.00, 0.28]

    References:
        Wilson, "Probable Inference, the Law of Succession, and Statistical Inference" (1927).
    """
    if trials < 1 or not 0 <= successes <= trials:
        raise UserError(
            f"successes={successes}, trials={trials}: valid are 0 <= successes <= trials, trials >= 1"
        )
    _check_confidence(confidence)
    z = statistics.NormalDist().inv_cdf(0.5 + confidence / 2)
    share, z2 = successes / trials, z * z / trials
    middle = (share + z2 / 2) / (1 + z2)
    half = z / (1 + z2) * ((share * (1 - share) + z2 / 4) / trials) ** 0.5
    # At the ends the formula gives 0 and 1 up to rounding.
    low = 0.0 if successes == 0 else middle - half
    return Interval(share, low, 1.0 if successes == trials else middle + half)


def bootstrap_interval(
    values: Float[np.ndarray, "N"] | list[float],
    statistic: Callable[..., Any] = np.mean,
    confidence: float = 0.95,
    *,
    resamples: int = 10_000,
    seed: int = 0,
) -> Interval:
    """Percentile bootstrap: of any statistic, with no assumption on the distribution of the values.

    It is too narrow for few values: by ``sqrt((N - 1) / N)`` for a mean, and by the difference of the normal and the t
    distribution. Over five seeds take `mean_interval`.

    Args:
        values: N >= 2 independent ones.
        statistic: ``(float[R,N], axis=-1) -> float[R]``, such as `numpy.median`.
        confidence: in (0, 1).
        resamples: R, how often N of the values are drawn with replacement.
        seed: seed of the draws.

    Raises:
        UserError: as `mean_interval`, or fewer than one resample.

    Example:
        >>> from genjax.metrics.intervals import bootstrap_interval
        >>> interval = bootstrap_interval([0.0, 1.0] * 50, resamples=1000)
        >>> print(f"{interval.estimate:.1f} in [{interval.low:.1f}, {interval.high:.1f}]")
        0.5 in [0.4, 0.6]

    References:
        Efron, "Bootstrap Methods: Another Look at the Jackknife" (1979).
    """
    x = _checked(values, 2, confidence)
    if resamples < 1:
        raise UserError(f"resamples={resamples}: at least one is needed")
    drawn: Int[np.ndarray, "R N"] = np.random.default_rng(seed).integers(len(x), size=(resamples, len(x)))
    low, high = np.quantile(statistic(x[drawn], axis=-1), [0.5 - confidence / 2, 0.5 + confidence / 2])
    return Interval(float(statistic(x, axis=-1)), float(low), float(high))


def bootstrap(
    metric: Callable[..., Any],
    *sets: np.ndarray,
    confidence: float = 0.95,
    resamples: int = 200,
    seed: int = 0,
) -> Interval:
    """Bootstrap of any metric of one or several sets, over their rows, which are drawn with replacement set by set.

    It is an interval of the metric's expectation *at these numbers of images*, which is what numbers measured with as
    many are compared with. A resample repeats some images and lacks others, and so has, say, a larger Fréchet distance
    than the set itself; hence only how the resamples scatter about their own mean is taken from them.

    Not for metrics by nearest neighbours, whose neighbours would be copies: see the top of the module.

    Args:
        metric: ``(*sets) -> float``; called ``resamples + 1`` times. For a Fréchet distance of 2048 features each call
            takes seconds.
        sets: arrays float[N_i,...] of N_i >= 2 rows each, one for each argument of `metric`.
        confidence: in (0, 1).
        resamples: how often all sets are drawn.
        seed: seed of the draws.

    Raises:
        UserError: no set, one of fewer than two rows, fewer than two resamples, a confidence out of range, or a value
            of the metric that is not finite.

    Example:
        >>> import numpy as np
        >>> from genjax.metrics.intervals import bootstrap
        >>> real, generated = np.random.default_rng(0).normal(size=(2, 400, 1)) + [[[0.0]], [[1.0]]]
        >>> interval = bootstrap(lambda x, y: y.mean() - x.mean(), real, generated)
        >>> print(f"{interval.estimate:.1f} in [{interval.low:.1f}, {interval.high:.1f}]")
        1.0 in [0.9, 1.1]

    References:
        Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), chapters 8 (two samples) and 10 (bias).
    """
    _check_confidence(confidence)
    if not sets or min(map(len, sets)) < 2:
        raise UserError(
            f"sets have {[len(x) for x in sets]} rows: valid are one set and more, of at least 2 each"
        )
    if resamples < 2:
        raise UserError(f"resamples={resamples}: at least two are needed")
    rng = np.random.default_rng(seed)
    drawn = [metric(*(x[rng.integers(len(x), size=len(x))] for x in sets)) for _ in range(resamples)]
    return scatter_interval(float(metric(*sets)), np.asarray(drawn, np.float64), confidence)


def scatter_interval(
    estimate: float, resampled: Float[np.ndarray, "R"], confidence: float = 0.95
) -> Interval:
    """An estimate and the interval that the scatter of its resamples about their mean gives.

    The ends are ``estimate - (q - mean)`` for the upper and the lower quantile q of the resamples: where these lie far
    to the right, the estimate may too, so the truth is to the left.

    Raises:
        UserError: a confidence out of range, or a value that is not finite.

    Example:
        >>> import numpy as np
        >>> from genjax.metrics.intervals import scatter_interval
        >>> interval = scatter_interval(1.0, np.linspace(2.0, 3.0, 1001))  # the mean of the resamples does not count
        >>> print(f"{interval.estimate:.3f} in [{interval.low:.3f}, {interval.high:.3f}]")
        1.000 in [0.525, 1.475]
    """
    _check_confidence(confidence)
    if not (np.isfinite(resampled).all() and np.isfinite(estimate)):
        raise UserError("metric gives values that are not finite")
    upper, lower = np.quantile(resampled, [0.5 + confidence / 2, 0.5 - confidence / 2]) - resampled.mean()
    return Interval(estimate, float(estimate - upper), float(estimate - lower))


def resample_counts(n: int, resamples: int, seed: int) -> Int[np.ndarray, "R N"]:
    """How often each of n rows is drawn in each resample: weights, for metrics that are sums over rows or pairs.

    Example:
        >>> from genjax.metrics.intervals import resample_counts
        >>> counts = resample_counts(5, resamples=2, seed=0)
        >>> counts.shape, counts.sum(1).tolist()
        ((2, 5), [5, 5])
    """
    return np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=resamples)


def _checked(values: Any, at_least: int, confidence: float) -> np.ndarray:
    _check_confidence(confidence)
    x = np.asarray(values, np.float64)
    if x.ndim != 1 or len(x) < at_least:
        raise UserError(f"values has shape {x.shape}: valid are [N] with N >= {at_least}")
    if not np.isfinite(x).all():
        raise UserError(f"values has one that is not finite: {x[~np.isfinite(x)][0]}")
    return x


def _check_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise UserError(f"confidence={confidence}: valid are numbers in (0, 1)")
