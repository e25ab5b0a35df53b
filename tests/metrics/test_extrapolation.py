"""FD at infinity: a line by hand, and distances whose limit is known."""

import numpy as np
import pytest
import scipy.stats

from genjax.metrics.extrapolation import extrapolate, fd_infinity
from genjax.metrics.frechet import covariance, distance, frechet_distance, moments
from genjax.typing import UserError


def test_a_line_is_found_exactly():
    sizes = [100, 200, 400]
    found = extrapolate(sizes, np.array([3 + 50 / n for n in sizes]))
    assert found.limit == pytest.approx(3, rel=1e-12) and found.slope == pytest.approx(50, rel=1e-12)
    assert found.standard_error == pytest.approx(0, abs=1e-12)


def test_regression_is_scipys():
    rng = np.random.default_rng(0)
    sizes = np.arange(100, 1000, 60)
    values = 2 + 30 / sizes + 0.01 * rng.normal(size=15)
    found, expected = extrapolate(sizes, values), scipy.stats.linregress(1 / sizes, values)
    assert found[:3] == pytest.approx(
        (expected.intercept, expected.intercept_stderr, expected.slope), rel=1e-10
    )


def test_the_limit_is_nearer_to_the_truth_than_any_distance():
    """N(0, I) to N(0.05, I) in 20 dimensions: 0.05. The reference is known exactly."""
    width, shift = 20, 0.05
    rng = np.random.default_rng(0)
    z = rng.normal(size=(40_000, width))
    z -= z.mean(0)
    reference = moments(z @ np.linalg.inv(np.linalg.cholesky(covariance(moments(z)))).T)
    exact = frechet_distance(np.zeros(width), np.eye(width), np.full(width, shift), np.eye(width))
    assert exact == pytest.approx(width * shift**2)
    errors = []
    for seed in range(8):
        x = np.random.default_rng(seed + 1).normal(size=(3000, width)) + shift
        found = fd_infinity(x, reference, smallest=300, points=12, seed=seed)
        assert found.sizes[0] == 300 and found.sizes[-1] == 3000
        assert found.values[-1] == pytest.approx(distance(moments(x), reference), rel=1e-10)
        errors.append((found.limit - exact, found.values[-1] - exact, found.slope))
    limit, largest, slope = np.mean(errors, axis=0)
    assert abs(limit) < 0.01 < 0.03 < largest
    # D / N of the means; of the covariances, I and I + E, |E|^2 / 4, which is D (D + 1) / 4 N.
    assert slope == pytest.approx(width + width * (width + 1) / 4, rel=0.1)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: extrapolate([10, 20], np.ones(2)), "three and more"),
        (lambda: extrapolate([10, 10, 10], np.ones(3)), "three and more"),
        (lambda: extrapolate([10, 20, 30], np.ones(4)), "4 values"),
        (lambda: extrapolate([10, 20, 30], np.array([1, 2, np.nan])), "not finite: nan"),
        (lambda: fd_infinity(np.zeros((9, 2)), moments(np.zeros((9, 2)))), "smallest=5000"),
        (lambda: fd_infinity(np.zeros((9, 2)), moments(np.zeros((9, 2))), smallest=5, points=2), "points=2"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(UserError, match=message):
        call()
