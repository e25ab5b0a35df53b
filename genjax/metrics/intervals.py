"""Confidence intervals of a few numbers: means and shares over the seeds of a study."""

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
        values: of N >= 2 runs.
        confidence: in (0, 1).

    Raises:
        UserError: fewer than two values, one that is not finite, or a confidence out of range.

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
        seed: of the draws.

    Raises:
        UserError: as `mean_interval`, or fewer than one resample.

    References:
        Efron, "Bootstrap Methods: Another Look at the Jackknife" (1979).
    """
    x = _checked(values, 2, confidence)
    if resamples < 1:
        raise UserError(f"resamples={resamples}: at least one is needed")
    drawn: Int[np.ndarray, "R N"] = np.random.default_rng(seed).integers(len(x), size=(resamples, len(x)))
    low, high = np.quantile(statistic(x[drawn], axis=-1), [0.5 - confidence / 2, 0.5 + confidence / 2])
    return Interval(float(statistic(x, axis=-1)), float(low), float(high))


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
