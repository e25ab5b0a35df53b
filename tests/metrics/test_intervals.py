"""Intervals against closed forms, published values and SciPy; how often they hold the truth."""

import numpy as np
import pytest
import scipy.stats

from genjax.metrics.intervals import bootstrap_interval, mean_interval, share_interval
from genjax.typing import UserError


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
def test_t_interval_is_scipys(confidence):
    x = np.array([0.1, 0.35, 0.2, 0.6, 0.05])
    found = mean_interval(x, confidence)
    low, high = scipy.stats.t.interval(confidence, 4, x.mean(), x.std(ddof=1) / 5**0.5)
    np.testing.assert_allclose(found, (0.26, low, high), rtol=1e-10)


def test_t_interval_by_hand():
    # t(0.975, 1) = tan(0.475 pi) = 12.7062: two values a, b give the mean -+ t |a - b| / 2.
    found = mean_interval([1.0, 3.0])
    np.testing.assert_allclose(found, (2.0, 2 - 12.7062047, 2 + 12.7062047), rtol=1e-8)
    assert mean_interval([0.6, 0.6, 0.6]) == pytest.approx((0.6, 0.6, 0.6))


@pytest.mark.parametrize("confidence", [0.9, 0.95])
@pytest.mark.parametrize("successes, trials", [(0, 5), (3, 10), (5, 5), (1, 1), (40, 1000)])
def test_wilson_interval_is_scipys(successes, trials, confidence):
    found = share_interval(successes, trials, confidence)
    low, high = scipy.stats.binomtest(successes, trials).proportion_ci(confidence, method="wilson")
    np.testing.assert_allclose(found, (successes / trials, low, high), atol=1e-12)


def test_wilson_interval_by_hand():
    z2 = 1.959963984540054**2
    assert share_interval(0, 5) == pytest.approx((0, 0, z2 / (5 + z2)))  # 43.4 %
    assert share_interval(5, 5) == pytest.approx((1, 5 / (5 + z2), 1))
    assert share_interval(3, 10)[1:] == pytest.approx((0.1078, 0.6032), abs=1e-4)


def test_intervals_hold_the_truth_as_often_as_they_say():
    rng = np.random.default_rng(0)
    inside = []
    for x in rng.normal(3, 2, (2000, 5)):
        found = mean_interval(x, 0.9)
        inside.append(found.low <= 3 <= found.high)
    assert np.mean(inside) == pytest.approx(0.9, abs=0.02)


def test_bootstrap():
    rng = np.random.default_rng(0)
    x = rng.normal(0, 1, 200)
    found, exact = bootstrap_interval(x), mean_interval(x)
    np.testing.assert_allclose(found, exact, atol=0.02)
    assert found == bootstrap_interval(x) != bootstrap_interval(x, seed=1)
    median = bootstrap_interval(x, np.median, resamples=2000)
    assert median.estimate == np.median(x)
    assert median.high - median.low == pytest.approx(2 * 1.96 * 1.2533 / 200**0.5, rel=0.25)
    assert bootstrap_interval([2.0, 2.0]) == (2.0, 2.0, 2.0)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: mean_interval([1.0]), "N >= 2"),
        (lambda: mean_interval([1.0, np.nan]), "not finite: nan"),
        (lambda: mean_interval([1.0, 2.0], 1.0), "confidence=1.0"),
        (lambda: share_interval(3, 2), "successes=3, trials=2"),
        (lambda: share_interval(0, 0), "trials=0"),
        (lambda: share_interval(-1, 2), "successes=-1"),
        (lambda: bootstrap_interval([1.0, 2.0], resamples=0), "resamples=0"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(UserError, match=message):
        call()
