"""Fréchet distance against closed forms and scipy's matrix square root; moments against numpy."""

import functools

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st

from genjax.metrics.frechet import covariance, frechet_distance, merge, moments
from genjax.typing import UserError


def samples(seed, n, dim):
    """Correlated features with a mean far from zero."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, dim)) @ rng.normal(size=(dim, dim)) / np.sqrt(dim) + rng.normal(size=dim)


def distance(x, y):
    a, b = moments(x), moments(y)
    return frechet_distance(a.mean, covariance(a), b.mean, covariance(b))


def test_isotropic_closed_form():
    # |1|^2 = 4, and tr(I + 4 I - 2 * 2 I) = 4.
    assert frechet_distance(np.zeros(4), np.eye(4), np.ones(4), 4 * np.eye(4)) == 8.0


def test_commuting_covariances_closed_form():
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(5, 5)))[0]
    a, b = np.array([0.1, 1, 2, 3, 40]), np.array([5, 0.2, 2, 7, 1.5])
    mean = np.arange(5.0)
    expected = np.sum(mean**2) + np.sum((np.sqrt(a) - np.sqrt(b)) ** 2)
    found = frechet_distance(np.zeros(5), (rotation * a) @ rotation.T, mean, (rotation * b) @ rotation.T)
    np.testing.assert_allclose(found, expected, rtol=1e-13)


@pytest.mark.parametrize("dim", [1, 3, 16, 64])
def test_equals_scipy_sqrtm(dim):
    a, b = moments(samples(1, 6 * dim + 2, dim)), moments(samples(2, 5 * dim + 2, dim))
    cov_a, cov_b = covariance(a), covariance(b)
    root = scipy.linalg.sqrtm(cov_a @ cov_b)
    expected = np.sum((a.mean - b.mean) ** 2) + np.trace(cov_a + cov_b - 2 * np.real(root))
    assert frechet_distance(a.mean, cov_a, b.mean, cov_b) == pytest.approx(expected, rel=1e-10, abs=1e-10)


def test_symmetric_and_zero_to_itself():
    x, y = samples(3, 200, 8), samples(4, 100, 8)
    assert distance(x, y) == pytest.approx(distance(y, x), rel=1e-12)
    assert distance(x, y) > 0.1
    assert distance(x, x) == pytest.approx(0.0, abs=1e-12)


def test_rank_deficient_and_scaled_closed_form():
    # Eleven samples of 64 features, B = 4 A: tr(A + 4 A - 2 * 2 A) = tr A. Roots of eigenvalues that are zero
    # but for rounding would be off by 1e-7.
    m = moments(samples(5, 11, 64))
    cov = covariance(m)
    assert frechet_distance(m.mean, cov, m.mean, 4 * cov) == pytest.approx(np.trace(cov), rel=1e-12)
    assert frechet_distance(m.mean, cov, m.mean, cov) == pytest.approx(0.0, abs=1e-11)


def test_rank_deficient_closed_form():
    # Disjoint supports: A B = 0, the traces add up.
    a, b = np.diag([1.0, 2.0, 0.0, 0.0]), np.diag([0.0, 0.0, 3.0, 4.0])
    assert frechet_distance(np.zeros(4), a, np.zeros(4), b) == pytest.approx(10.0, abs=1e-14)
    assert frechet_distance(np.zeros(4), a, np.zeros(4), np.zeros((4, 4))) == pytest.approx(3.0, abs=1e-14)


@pytest.mark.parametrize(("n1", "n2"), [(2, 2), (2, 100), (5, 7)])
def test_rank_deficient_is_finite(n1, n2):
    found = distance(samples(6, n1, 16), samples(7, n2, 16))
    assert np.isfinite(found) and found > 0


def test_scales_with_the_square_of_the_features():
    x, y = samples(8, 50, 6), samples(9, 60, 6)
    assert distance(1000 * x, 1000 * y) == pytest.approx(1e6 * distance(x, y), rel=1e-12)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mean1": np.array([0.0, np.nan])}, "mean1 or mean2 has a value that is not finite"),
        ({"cov1": np.full((2, 2), np.inf)}, "cov1 has a value that is not finite"),
        ({"cov2": np.array([[1.0, 0.5], [0.0, 1.0]])}, "cov2 is not symmetric"),
        ({"cov2": np.diag([1.0, -0.5])}, r"cov2 has the eigenvalue -0\.5"),
    ],
)
def test_refuses_what_is_no_covariance(changes, message):
    arguments = {"mean1": np.zeros(2), "cov1": np.eye(2), "mean2": np.zeros(2), "cov2": np.eye(2)}
    with pytest.raises(UserError, match=message):
        frechet_distance(**{**arguments, **changes})


def test_moments_are_numpys():
    x = samples(10, 30, 5).astype(np.float32)
    found = moments(x)
    assert found.count == 30
    np.testing.assert_allclose(found.mean, x.astype(np.float64).mean(axis=0), rtol=1e-14)
    np.testing.assert_allclose(covariance(found), np.cov(x.astype(np.float64), rowvar=False), rtol=1e-12)


@settings(deadline=None, max_examples=30)
@given(sizes=st.lists(st.integers(1, 20), min_size=2, max_size=6), offset=st.sampled_from([0.0, 1e3]))
def test_merge_equals_one_pass(sizes, offset):
    x = samples(11, sum(sizes), 4) + offset
    parts = [moments(part) for part in np.split(x, np.cumsum(sizes)[:-1])]
    merged, whole = functools.reduce(merge, parts), moments(x)
    assert merged.count == whole.count
    np.testing.assert_allclose(merged.mean, whole.mean, rtol=1e-12)
    # An offset of 1e3 leaves 1e-13 of it, squared features of 1: the sum of squares would leave 1e-10.
    np.testing.assert_allclose(merged.m2, whole.m2, rtol=1e-12, atol=1e-12 * max(1.0, offset))


def test_refuses_too_few_and_what_is_not_finite():
    with pytest.raises(UserError, match="at least one row"):
        moments(np.zeros((0, 3)))
    with pytest.raises(UserError, match="at least 2 vectors"):
        covariance(moments(np.zeros((1, 3))))
    x = np.zeros((5, 3))
    x[2, 1] = np.nan
    with pytest.raises(UserError, match="not finite, first in row 2"):
        moments(x)
