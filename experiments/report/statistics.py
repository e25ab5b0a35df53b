"""What may be said of groups of runs: means over seeds with intervals, and which are told apart from the best."""

import math
import statistics
from collections.abc import Sequence

from genjax.metrics.intervals import Interval, mean_interval

LEVEL = 0.05
"""A difference with a smaller adjusted p-value is called significant."""


def over_seeds(values: Sequence[float]) -> Interval | None:
    """The mean with its 95 % t interval.

    Args:
        values: one a seed.

    Returns:
        None without values; with one, or where a value is not finite, an interval whose ends are NaN.
    """
    if not values:
        return None
    if len(values) == 1 or not all(map(math.isfinite, values)):
        return Interval(statistics.fmean(values), math.nan, math.nan)
    return mean_interval(list(values))


def welch(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Two-sided p-value of equal means, by Welch's t-test, which assumes no equal variances.

    Args:
        a: values of one group.
        b: of the other.

    Returns:
        None where a group has fewer than two values, or one that is not finite. Where neither group varies, there is
        nothing to doubt: 1 for equal means, else 0.

    References:
        Welch, "The Generalization of Student's Problem when Several Different Population Variances are Involved"
        (1947).
    """
    if min(len(a), len(b)) < 2 or not all(map(math.isfinite, [*a, *b])):
        return None
    if len({*a}) == len({*b}) == 1:
        return float(a[0] == b[0])
    from scipy.stats import ttest_ind  # comes with scikit-learn

    return float(ttest_ind(a, b, equal_var=False).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values: those below a level are together wrong at most as often as the level says.

    References:
        Holm, "A Simple Sequentially Rejective Multiple Test Procedure" (1979).
    """
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = largest
    return adjusted


def against(reference: int, groups: Sequence[Sequence[float]]) -> list[float | None]:
    """Holm's adjusted p-values of Welch's tests of each group against one of them.

    Returns:
        One a group; None for the reference, and for those that cannot be tested.
    """
    raw = [None if i == reference else welch(groups[reference], other) for i, other in enumerate(groups)]
    adjusted = iter(holm([p for p in raw if p is not None]))
    return [None if p is None else next(adjusted) for p in raw]
