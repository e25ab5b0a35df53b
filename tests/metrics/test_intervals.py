"""Intervals against closed forms, published values and SciPy; how often they hold the truth."""

import numpy as np
import pytest
import scipy.stats

from genjax.metrics.frechet import distance, moments
from genjax.metrics.intervals import (
    bootstrap,
    bootstrap_interval,
    mean_interval,
    resample_counts,
    scatter_interval,
    share_interval,
)
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


def test_bootstrap_of_a_mean_is_that_of_its_values():
    x = np.random.default_rng(0).normal(1, 1, (200, 1))
    found = bootstrap(np.mean, x, resamples=2000)
    np.testing.assert_allclose(found, bootstrap_interval(x[:, 0]), atol=0.01)
    assert found == bootstrap(np.mean, x, resamples=2000) != bootstrap(np.mean, x, resamples=2000, seed=1)


def test_bootstrap_of_two_sets_draws_both():
    """The difference of means has both variances, and sets of the same size are not drawn alike."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(0, 1, (150, 1)), rng.normal(0, 2, (150, 1))
    low, high = bootstrap(lambda a, b: a.mean() - b.mean(), x, y, resamples=2000)[1:]
    assert (high - low) / 3.92 == pytest.approx(((x.var() + y.var()) / 150) ** 0.5, rel=0.1)
    low, high = bootstrap(lambda a, b: a.mean() - b.mean(), x, x, resamples=2000)[1:]
    assert (high - low) / 3.92 == pytest.approx((2 * x.var() / 150) ** 0.5, rel=0.1)


def test_bootstrap_holds_the_expectation_of_a_biased_metric():
    """Fréchet distances at N = 60 are 0.1 too large, those of resamples 0.1 more: quantiles of these would miss."""

    def metric(x, y):
        return distance(moments(x), moments(y))

    def sets(seed):
        rng = np.random.default_rng(seed)
        return rng.normal(size=(60, 3)), rng.normal(0.5, 1, size=(60, 3))

    truth = np.mean([metric(*sets(1000 + seed)) for seed in range(2000)])
    found = [bootstrap(metric, *sets(seed), confidence=0.9, resamples=50) for seed in range(80)]
    assert np.mean([f.low <= truth <= f.high for f in found]) == pytest.approx(0.9, abs=0.08)


def test_scatter_by_hand():
    # Quantiles 2 and 8 of 0..10 lie 3 below and above the mean.
    assert scatter_interval(4.0, np.arange(11.0), 0.6) == pytest.approx((4, 1, 7))
    # To the right of the estimate lies what is far to the right of the resamples' mean, mirrored.
    assert scatter_interval(0.0, np.array([0.0, 0.0, 0.0, 0.0, 10.0]), 0.999).low == pytest.approx(
        -8, abs=0.1
    )


def test_counts_are_of_n_draws():
    counts = resample_counts(30, 500, 0)
    assert counts.shape == (500, 30) and (counts.sum(1) == 30).all()
    assert counts.var() == pytest.approx(1 - 1 / 30, rel=0.05)


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
        (lambda: bootstrap(np.mean), r"sets have \[\] rows"),
        (lambda: bootstrap(np.mean, np.ones(5), np.ones(1)), r"sets have \[5, 1\] rows"),
        (lambda: bootstrap(np.mean, np.ones(5), resamples=1), "resamples=1"),
        (lambda: bootstrap(np.mean, np.ones(5), confidence=0.0), "confidence=0"),
        (lambda: bootstrap(np.mean, np.full(5, np.nan)), "metric gives values that are not finite"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(UserError, match=message):
        call()
