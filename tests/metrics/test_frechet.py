"""Fréchet distance against closed forms and scipy's matrix square root; moments against numpy."""

import functools
import logging
import tracemalloc

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st

from genjax.metrics import frechet
from genjax.metrics.frechet import covariance, distance, frechet_distance, merge, moments, stream
from genjax.typing import UserError


def samples(seed, n, dim):
    """Correlated features with a mean far from zero."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, dim)) @ rng.normal(size=(dim, dim)) / np.sqrt(dim) + rng.normal(size=dim)


def between(x, y):
    return distance(moments(x), moments(y))


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
    assert between(x, y) == pytest.approx(between(y, x), rel=1e-12)
    assert between(x, y) > 0.1
    assert between(x, x) == pytest.approx(0.0, abs=1e-12)


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
    found = between(samples(6, n1, 16), samples(7, n2, 16))
    assert np.isfinite(found) and found > 0


def test_scales_with_the_square_of_the_features():
    x, y = samples(8, 50, 6), samples(9, 60, 6)
    assert between(1000 * x, 1000 * y) == pytest.approx(1e6 * between(x, y), rel=1e-12)


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


def rank_deficient(seed, dim, rank):
    factor = np.random.default_rng(seed).normal(size=(dim, rank))
    return factor, factor @ factor.T


@pytest.mark.parametrize(("rank1", "rank2"), [(40, 40), (7, 40), (7, 11), (40, 0)])
def test_equals_the_singular_values_of_known_factors(rank1, rank2):
    (f, a), (g, b) = rank_deficient(1, 40, rank1), rank_deficient(2, 40, rank2)
    expected = np.trace(a) + np.trace(b) - 2 * np.linalg.svd(f.T @ g, compute_uv=False).sum()
    found = frechet_distance(np.zeros(40), a, np.zeros(40), b)
    assert found == pytest.approx(expected, rel=1e-12, abs=1e-12)


def test_singular_values_that_are_zero_are_not_taken_from_their_squares():
    """Supports that overlap in part: F^T G has exact zeros beside large values, and not at the end of a factor."""
    basis = np.linalg.qr(np.random.default_rng(0).normal(size=(60, 60)))[0]
    a, b = basis[:, :30] @ basis[:, :30].T, basis[:, 10:40] @ basis[:, 10:40].T
    # tr A + tr B - 2 * (20 dimensions in common)
    assert frechet_distance(np.zeros(60), a, np.zeros(60), b) == pytest.approx(20.0, abs=1e-12)


def test_a_covariance_that_was_rounded_to_float32_is_one():
    _, a = rank_deficient(1, 40, 12)
    _, b = rank_deficient(2, 40, 40)
    exact = frechet_distance(np.zeros(40), a, np.zeros(40), b)
    rounded = a.astype(np.float32).astype(np.float64)
    assert np.linalg.eigvalsh(rounded).min() < 0
    # The root of what was rounded, once for each of 28 directions.
    found = frechet_distance(np.zeros(40), rounded, np.zeros(40), b)
    assert found == pytest.approx(exact, rel=1e-3)


def test_hardly_varying_features_count():
    """A variance of 1e-13 that is 1 in the other set: its cross term is 3e-7, and not 0."""
    a, b = np.diag([1.0, 1e-13]), np.eye(2)
    expected = (1 - 1e-13**0.5) ** 2
    assert frechet_distance(np.zeros(2), a, np.zeros(2), b) == pytest.approx(expected, abs=1e-10)


def test_too_few_vectors_are_warned_of(caplog):
    x, y = moments(samples(1, 15, 8)), moments(samples(2, 16, 8))
    with caplog.at_level(logging.WARNING):
        distance(y, y)
        assert not caplog.records
        distance(x, y)
    assert "from 15 vectors of 8 features: fewer than twice as many" in caplog.text


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


@settings(deadline=None, max_examples=40)
@given(data=st.data(), offset=st.sampled_from([0.0, 1e3]), block=st.sampled_from([1, 16, 2**23]))
def test_shards_in_any_order_and_merged_in_any_tree(data, offset, block):
    shards = [samples(seed, 1 + seed % 7, 4).astype(np.float32) + np.float32(offset) for seed in range(8)]
    whole = moments(np.concatenate(shards))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(frechet, "_BLOCK", block)
        streamed = stream(shards[i] for i in data.draw(st.permutations(range(8))))
        parts = [moments(shard) for shard in shards]
    while len(parts) > 1:
        a = parts.pop(data.draw(st.integers(0, len(parts) - 1)))
        b = parts.pop(data.draw(st.integers(0, len(parts) - 1)))
        parts.append(merge(a, b))
    for found in (parts[0], streamed):
        assert found.count == whole.count
        np.testing.assert_allclose(found.mean, whole.mean, rtol=1e-10)
        np.testing.assert_allclose(found.m2, whole.m2, rtol=1e-10, atol=1e-10 * np.abs(whole.m2).max())


def test_float32_features_add_up_in_float64():
    """In float32 the sum of 2e5 values near 1,000 has an error of some units, and the variance no right digit."""
    x = (1000 + 0.01 * np.random.default_rng(0).standard_normal((200_000, 2))).astype(np.float32)
    found, exact = stream(np.array_split(x, 50)), x.astype(np.float64)
    np.testing.assert_allclose(found.mean, exact.mean(0), rtol=1e-14)
    np.testing.assert_allclose(covariance(found), np.cov(exact, rowvar=False), rtol=1e-9, atol=1e-13)


def test_a_stream_holds_one_batch_at_a_time():
    def batches():
        for seed in range(40):
            yield np.random.default_rng(seed).standard_normal((250, 256), np.float32)

    tracemalloc.start()
    try:
        assert stream(batches()).count == 10_000
        largest = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # All features in float32 are 10 MB; a batch in float64 0.5 MB, the scatter as much.
    assert largest < 5e6


def test_refuses_too_few_and_what_is_not_finite():
    with pytest.raises(UserError, match="at least one row"):
        moments(np.zeros((0, 3)))
    with pytest.raises(UserError, match="at least one row"):
        stream([])
    with pytest.raises(UserError, match="width 3 after 4"):
        stream([np.zeros((2, 4)), np.zeros((2, 3))])
    with pytest.raises(UserError, match="at least 2 vectors"):
        covariance(moments(np.zeros((1, 3))))
    x = np.zeros((5, 3))
    x[2, 1] = np.nan
    with pytest.raises(UserError, match="not finite, first in row 2"):
        moments(x)
