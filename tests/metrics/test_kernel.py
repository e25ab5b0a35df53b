"""Kernel distances against double loops and closed forms; their standard errors against repetition."""

import functools
import math

import numpy as np
import pytest

from genjax.metrics import kernel
from genjax.metrics.intervals import resample_counts
from genjax.metrics.kernel import cmmd, gaussian, kid, mmd, mmd_interval, polynomial
from genjax.typing import UserError


def draw(seed, n, width=6, offset=0.0):
    return np.random.default_rng(seed).standard_normal((n, width)) + offset


def cubic(x, y):
    return (x @ y / len(x) + 1) ** 3


def squared_mmd(x, y, k):
    """The definition of the unbiased estimate, pair by pair."""

    def within(x):
        return np.mean([k(a, b) for i, a in enumerate(x) for j, b in enumerate(x) if i != j])

    return within(x) + within(y) - 2 * np.mean([k(a, b) for a in x for b in y])


@pytest.mark.parametrize("block", [1, 50, 2**22])
def test_unbiased_estimate_is_the_double_loop(monkeypatch, block):
    monkeypatch.setattr(kernel, "_BLOCK", block)
    x, y = draw(0, 13), draw(1, 9, offset=0.5)
    assert mmd(x, y).value == pytest.approx(squared_mmd(x, y, cubic), rel=1e-12)
    assert mmd(y, x) == pytest.approx(mmd(x, y), rel=1e-12)
    expected = squared_mmd(x, y, lambda a, b: math.exp(-np.square(a - b).sum() / 18))
    assert mmd(x, y, functools.partial(gaussian, sigma=3.0)).value == pytest.approx(expected, rel=1e-11)


def test_standard_error_is_the_jackknife():
    x, y = draw(0, 8), draw(1, 11, offset=0.5)
    without_x = [squared_mmd(np.delete(x, i, 0), y, cubic) for i in range(8)]
    without_y = [squared_mmd(x, np.delete(y, i, 0), cubic) for i in range(11)]
    expected = (7 * np.var(without_x) + 10 * np.var(without_y)) ** 0.5
    assert mmd(x, y).standard_error == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("offset", [0.0, 0.3])
def test_unbiased_and_its_standard_error_is_the_spread_of_repetitions(offset):
    found = [mmd(draw(2 * i, 60, 4), draw(2 * i + 1, 50, 4, offset)) for i in range(300)]
    rng = np.random.default_rng(0)
    a, b, x, y = (rng.standard_normal((2_000_000, 4)) + o for o in (offset, offset, 0.0, 0.0))
    truth = sum(
        np.mean((np.sum(p * q, 1) / 4 + 1) ** 3 * f) for p, q, f in ((a, b, 1), (x, y, 1), (x, a, -2))
    )
    values = np.array([f.value for f in found])
    assert values.mean() == pytest.approx(truth, abs=4 * values.std() / 300**0.5 + 3e-3)
    errors = np.mean([f.standard_error for f in found])
    # Too large, by up to sqrt(2) where the distributions are the same.
    assert 0.95 <= errors / values.std() <= 1.5


def test_subsets_are_those_of_the_double_loop():
    x, y = draw(0, 30), draw(1, 25, offset=0.5)
    rng = np.random.RandomState(2020)
    values = []
    for _ in range(4):
        i, j = rng.choice(30, 7, replace=False), rng.choice(25, 7, replace=False)
        values.append(squared_mmd(x[i], y[j], cubic))
    found = kid(x, y, subsets=4, subset_size=7)
    np.testing.assert_allclose(found, (np.mean(values), np.std(values), np.std(values) / 3**0.5), rtol=1e-11)
    assert kid(x, y, subsets=4, subset_size=7, seed=1) != found


def test_all_pairs_at_once_or_subset_by_subset():
    """7 subsets of 40 out of 60 have more pairs than there are; 7 of 10 fewer."""
    x, y = draw(0, 60), draw(1, 50, offset=0.5)
    for size in (40, 10):
        rng = np.random.RandomState(5)
        values = [
            mmd(x[rng.choice(60, size, replace=False)], y[rng.choice(50, size, replace=False)]).value
            for _ in range(7)
        ]
        assert kid(x, y, subsets=7, subset_size=size, seed=5).mean == pytest.approx(
            np.mean(values), rel=1e-11
        )


def test_float32_features_lose_nothing_that_matters():
    rng = np.random.default_rng(0)
    x, y = (np.abs(rng.standard_normal((500, 256))).astype(np.float32) for _ in range(2))
    y *= np.float32(1.02)
    exact = kid(x.astype(np.float64), y.astype(np.float64), subsets=20, subset_size=200)
    assert 1e-4 < exact.mean < 1e-1
    np.testing.assert_allclose(kid(x, y, subsets=20, subset_size=200), exact, rtol=1e-5)


def test_cmmd_closed_forms():
    # Two points a distance r apart: 2 (1 - exp(-r^2 / 200)), times 1000.
    x, y = np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]])
    assert cmmd(x, y) == pytest.approx(2000 * -math.expm1(-0.01), rel=1e-12)
    assert cmmd(x, y, sigma=1.0, scale=1.0) == pytest.approx(2 * (1 - math.exp(-1)), rel=1e-12)
    # Two orthogonal vectors each, all four orthogonal: the pairs of one set include the equal ones.
    basis = np.eye(4)
    expected = 1000 * (2 * (1 + math.exp(-0.01)) / 2 - 2 * math.exp(-0.01))
    assert cmmd(basis[:2], basis[2:]) == pytest.approx(expected, rel=1e-11)
    assert cmmd(basis, basis[::-1]) == pytest.approx(0.0, abs=1e-13)


def test_cmmd_of_gaussians_is_the_integral():
    """E k between N(0, I) and N(m, I) in D dimensions: (s^2 / (s^2 + 2))^(D/2) exp(-|m|^2 / (2 (s^2 + 2)))."""
    x, y = draw(0, 4000, 3), draw(1, 4000, 3, offset=1.0)
    constant = (4 / 6) ** 1.5
    expected = 2 * constant * (1 - math.exp(-3 / 12))
    assert cmmd(x, y, sigma=2.0, scale=1.0) == pytest.approx(expected, rel=0.04)


def test_small_cmmd_is_not_rounded_away():
    """In float32 the kernel is 1 - 1e-7 here, and nothing is left."""
    x = draw(0, 50, 8) * 1e-4
    expected = 1000 * np.square(0.001).sum() * 8 / 100
    assert cmmd(x, x + 0.001) == pytest.approx(expected, rel=1e-6)


def test_bootstrap_is_that_of_resampled_sets():
    x, y = draw(0, 12), draw(1, 9, offset=0.5)
    wx, wy = (np.asarray(resample_counts(n, 3, s), float).T for n, s in ((12, 0), (9, 1)))
    found = kernel._estimates(x, y, polynomial, wx, wy)
    for r in range(3):
        i, j = np.repeat(np.arange(12), wx[:, r].astype(int)), np.repeat(np.arange(9), wy[:, r].astype(int))

        def within(x, i):
            pairs = [cubic(x[a], x[b]) for a in i for b in i if a != b]
            return np.mean(pairs)

        expected = within(x, i) + within(y, j) - 2 * np.mean([cubic(x[a], y[b]) for a in i for b in j])
        assert found[r] == pytest.approx(expected, rel=1e-11)


def test_interval_has_the_jackknifes_width():
    x, y = draw(0, 300), draw(1, 200, offset=0.5)
    whole, found = mmd(x, y), mmd_interval(x, y, resamples=1000)
    assert found.estimate == pytest.approx(whole.value, rel=1e-12)
    assert found.low < whole.value < found.high
    assert (found.high - found.low) / (2 * 1.96) == pytest.approx(whole.standard_error, rel=0.15)
    assert found == mmd_interval(x, y, resamples=1000) != mmd_interval(x, y, resamples=1000, seed=1)


def test_sets_of_one_size_are_not_resampled_alike():
    """Of pairs that move together the difference would hardly change."""
    x = draw(0, 300)
    error, found = mmd(x, x + 0.5).standard_error, mmd_interval(x, x + 0.5, resamples=500)
    assert (found.high - found.low) / (2 * 1.96) == pytest.approx(error, rel=0.2)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: kid(draw(0, 9), draw(1, 8)), r"subset_size=1000: valid for 9 and 8 .* 2 subsets of 2\.\.8"),
        (lambda: kid(draw(0, 9), draw(1, 8), subsets=1, subset_size=5), "subsets=1"),
        (lambda: mmd(draw(0, 9), draw(1, 2)), "9 and 2 vectors: at least 3"),
        (lambda: mmd(draw(0, 9), draw(1, 9, width=5)), r"\(9, 6\) and \(9, 5\)"),
        (lambda: mmd(draw(0, 9), draw(1, 9, offset=np.nan)), "generated has a value that is not finite"),
        (lambda: mmd_interval(draw(0, 9), draw(1, 9), resamples=1), "resamples=1"),
        (lambda: cmmd(draw(0, 9), draw(1, 0)), r"\(0, 6\)"),
        (lambda: cmmd(draw(0, 9), draw(1, 9), sigma=0.0), "sigma=0.0"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(UserError, match=message):
        call()
