"""Collapse and its company: exact values for injected generators, and the number of samples by simulation."""

import math

import numpy as np
import pytest

from genjax.data.gaussians import CENTRES, STD, gaussian_grid
from genjax.metrics import modes as m
from genjax.typing import UserError


def samples(counts):
    return np.repeat(np.arange(len(counts)), counts)


def test_a_generator_of_4_of_10_modes_has_lost_60_percent():
    scores = m.mode_scores(np.random.default_rng(0).choice([1, 4, 5, 9], 1000), m.uniform(10))
    assert scores.collapse == 0.6
    assert scores.covered == 4
    assert scores.total_variation == pytest.approx(0.6, abs=1e-12)
    assert scores.kl == pytest.approx(math.log(10 / 4), abs=0.01)
    # However uneven the four are.
    assert m.collapse(np.array([9000, 400, 300, 300, 0, 0, 0, 0, 0, 0]), m.uniform(10)) == 0.6


def test_collapse_is_a_share_of_the_data_and_not_of_the_modes():
    reference = np.array([50, 30, 15, 5])
    assert m.collapse(np.array([100, 0, 0, 0]), reference) == 0.5
    assert m.collapse(np.array([0, 100, 100, 100]), reference) == 0.5
    assert m.collapse(np.array([100, 100, 100, 0]), reference) == 0.05
    assert m.collapse(np.array([50, 30, 15, 5]) * 7, reference) == 0
    assert m.collapse(np.array([100, 0]), np.array([1.0, 0.0])) == 0  # what the data does not have


def test_a_mode_is_lost_below_a_tenth_of_its_share():
    # 1000 samples, two equal modes: the limit is 50.
    for counts, lost in [((950, 50), 0.0), ((951, 49), 0.5)]:
        assert m.collapse(np.array(counts), m.uniform(2)) == lost
    assert m.collapse(np.array([900, 100]), m.uniform(2), fraction=0.3) == 0.5
    # Half as often is uneven, not lost.
    assert m.collapse(np.array([75, 25]), m.uniform(2)) == 0


def test_samples_of_no_mode_count_against_the_modes():
    modes = np.array([-1] * 95 + [0, 0, 0, 0, 1])  # limits of 5 each
    scores = m.mode_scores(modes, m.uniform(2))
    assert scores.collapse == 1 and scores.covered == 2
    assert scores.kl == pytest.approx(0.8 * math.log(1.6) + 0.2 * math.log(0.4))
    assert m.mode_scores(modes[-5:], m.uniform(2)).collapse == 0
    nothing = m.mode_scores(np.full(10, -1), m.uniform(3))
    assert nothing == (0, math.inf, 1.0, 1.0)


@pytest.mark.parametrize("num_modes", [2, 10, 1000])
def test_divergence(num_modes):
    uniform = m.uniform(num_modes)
    assert m.kl_divergence(7 * uniform, uniform) == 0 == m.total_variation(7 * uniform, uniform)
    one = np.zeros(num_modes, np.int64)
    one[1] = 5
    assert m.kl_divergence(one, uniform) == pytest.approx(math.log(num_modes), rel=1e-12)
    assert m.total_variation(one, uniform) == pytest.approx(1 - 1 / num_modes)


def test_divergence_is_of_the_generated_from_the_data():
    p, q = np.array([3, 1]), np.array([1, 1])
    assert m.kl_divergence(p, q) == pytest.approx(0.75 * math.log(1.5) + 0.25 * math.log(0.5))
    assert m.kl_divergence(q, p) == pytest.approx(0.5 * math.log(2 / 3) + 0.5 * math.log(2))
    assert m.kl_divergence(p, np.array([1, 0])) == math.inf
    assert m.kl_divergence(np.array([1, 0]), p) == pytest.approx(math.log(4 / 3))


def test_divergence_of_the_data_from_itself_is_that_of_the_docstring():
    counts = np.random.default_rng(0).multinomial(25_600, np.full(1000, 1e-3), size=20)
    found = np.mean([m.kl_divergence(c, m.uniform(1000)) for c in counts])
    assert found == pytest.approx(999 / 51_200, rel=0.05)


def test_covered():
    counts = m.mode_counts(np.array([0, 0, 2, -1]), 4)
    np.testing.assert_array_equal(counts, [2, 0, 1, 0])
    assert m.modes_covered(counts) == 2 and m.modes_covered(counts, at_least=2) == 1


@pytest.mark.parametrize(
    "reference, fraction",
    [
        (np.ones(10), 0.1),
        (np.ones(25), 0.1),
        (np.ones(1000), 0.1),
        (np.ones(10), 0.5),
        (np.arange(1, 11), 0.1),
        (np.array([100.0, 10, 1, 0]), 0.25),
    ],
)
def test_samples_needed_by_simulation(reference, fraction):
    """From N on 99 % of healthy generators lose nothing; with half as many, more than 1 % do."""
    n, shares = m.samples_needed(reference, fraction=fraction), reference / reference.sum()
    rng = np.random.default_rng(0)

    def chance(num, draws):
        # Of a multinomial, in parts: a mode is lost when it is below its limit.
        found = rng.multinomial(num, shares, size=draws)
        return (found < fraction * num * shares[None]).any(1).mean()

    draws = 4000
    error = 3 * (0.01 / draws) ** 0.5
    for num in (n, n + 1, math.ceil(1.1 * n), 2 * n):
        assert chance(num, draws) <= 0.01 + error
    assert chance(n // 2, draws) > 0.01 + error


def test_samples_needed_is_the_smallest():
    # Ten modes, none twice: up to 100 samples a mode is lost only if there is none of it: 10 * 0.9^N <= 0.01.
    assert m.samples_needed(m.uniform(10)) == math.ceil(math.log(0.001) / math.log(0.9)) == 66
    # 1,000 modes: above 10,000 samples also if there is one, N / 1000 being below 20.
    n = m.samples_needed(m.uniform(1000))

    def bound(n):
        return 1000 * (0.999**n + n * 0.001 * 0.999 ** (n - 1))

    assert bound(n) <= 0.01 < bound(n - 1) and n == 14_231
    assert m.samples_needed(np.array([3, 0])) == 1
    assert (
        m.samples_needed(m.uniform(10), confidence=0.9) < 66 < m.samples_needed(m.uniform(10), fraction=0.3)
    )


def test_rate_over_runs():
    assert m.has_collapsed(0.3) and not m.has_collapsed(0.2999) and m.has_collapsed(0.2, threshold=0.1)
    rate = m.collapse_rate([0.0, 0.1, 0.6, 0.3, 0.0, 0.0, 0.9, 0.0, 0.0, 0.0])
    assert rate == pytest.approx((0.3, 0.1078, 0.6032), abs=1e-4)
    assert m.collapse_rate([0.2] * 5, threshold=0.2).estimate == 1


def test_points():
    centres = np.array([[0.0, 0.0], [4.0, 0.0]])
    points = np.array([[0.3, 0.4], [3.6, 0.0], [0.31, 0.4], [np.nan, 0.0], [2.0, 0.0]], np.float32)
    found = m.nearest_mode(points, centres, radius=0.5 + 1e-6)
    np.testing.assert_array_equal(found, [0, 1, -1, -1, -1])
    assert m.high_quality(found) == 0.4


def test_gaussian_grid():
    points, drawn = gaussian_grid(0, 50_000)
    assert points.dtype == np.float32 and set(CENTRES.ravel()) == {-4, -2, 0, 2, 4} and len(CENTRES) == 25
    np.testing.assert_allclose((points - CENTRES[drawn]).std(0), STD, rtol=0.02)
    assert np.bincount(drawn, minlength=25).min() > 1800
    found = m.nearest_mode(points, CENTRES, radius=3 * STD)
    assert m.high_quality(found) == pytest.approx(1 - math.exp(-4.5), abs=0.002)
    assert (found[found >= 0] == drawn[found >= 0]).all()
    np.testing.assert_array_equal(points, gaussian_grid(0, 50_000)[0])
    assert (gaussian_grid((0, 1), 10)[0] != gaussian_grid((0, 2), 10)[0]).any()


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: m.mode_counts(np.array([], np.int64), 3), "modes is empty"),
        (lambda: m.mode_counts(np.array([0, 3]), 3), r"0\.\.3; valid are -1\.\.2"),
        (lambda: m.mode_counts(np.array([-2]), 3), "valid are -1"),
        (lambda: m.modes_covered(np.array([1]), at_least=0), "at_least=0"),
        (lambda: m.kl_divergence(np.array([1]), np.array([1, 1])), "reference has 2 modes, counts 1"),
        (lambda: m.kl_divergence(np.array([1]), np.array([0])), "not only 0"),
        (lambda: m.collapse(np.array([1]), np.array([1]), fraction=1.0), "fraction=1.0"),
        (lambda: m.collapse(np.array([2]), np.array([1]), num_samples=1), "num_samples=1"),
        (lambda: m.collapse(np.array([0]), np.array([1])), "num_samples=0"),
        (lambda: m.samples_needed(np.array([1]), confidence=1.0), "confidence=1.0"),
        (lambda: m.collapse_rate([0.1], threshold=0.0), "threshold=0.0"),
        (lambda: m.collapse_rate([1.1]), "collapses has 1.1"),
        (lambda: m.collapse_rate([]), "trials=0"),
        (lambda: gaussian_grid(-1, 2), "seed=-1"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(UserError, match=message):
        call()
