"""Weights of mixtures: closed forms against drawn mixtures, and optima against every face of the simplex."""

import itertools

import numpy as np
import pytest

from genjax.metrics import frechet, kernel, mixture
from genjax.typing import UserError


def gaussian(seed, n=400, shift=0.0, scale=1.0, width=3):
    return (np.random.default_rng(seed).normal(size=(n, width)) * scale + shift).astype(np.float64)


MEMBERS = [gaussian(0, shift=-1.5), gaussian(1, shift=1.5), gaussian(2, scale=0.3)]


def drawn(counts, seed=10):
    """A set of which so many rows are from each of the members' distributions."""
    options = [{"shift": -1.5}, {"shift": 1.5}, {"scale": 0.3}]
    return np.concatenate([gaussian(seed + i, n, **options[i]) for i, n in enumerate(counts)])


def least_by_faces(terms):
    """The minimum of a quadratic on the simplex lies inside of some face, where its gradient is constant."""
    best = np.inf, np.zeros(0)
    size = len(terms.to_real)
    for face in itertools.chain.from_iterable(
        itertools.combinations(range(size), k + 1) for k in range(size)
    ):
        on = np.array(face)
        ones = np.ones((len(on), 1))
        system = np.block([[2 * terms.between[np.ix_(on, on)], ones], [ones.T, np.zeros((1, 1))]])
        inside = np.linalg.solve(system, np.append(2 * terms.to_real[on], 1.0))[:-1]
        if inside.min() >= 0:
            w = np.zeros(size)
            w[on] = inside
            best = min(best, (terms.mmd(w), w), key=lambda pair: pair[0])
    return best


def test_the_terms_are_the_mmd_of_one_model():
    real = drawn([200, 150, 50])
    terms = mixture.kernel_terms(MEMBERS, real)
    for i, member in enumerate(MEMBERS):
        assert terms.mmd(np.eye(3)[i]) == pytest.approx(kernel.mmd(real, member).value, rel=1e-10)


def test_the_quadratic_is_the_mean_over_all_pairs_of_a_weighted_set():
    """With the weights of single images: those of the biased estimate, whose pairs with itself are taken away."""
    real, w = drawn([100, 60, 40]), np.array([0.5, 0.2, 0.3])
    values = np.concatenate(MEMBERS)
    each = np.repeat(w / 400, 400)
    same = (np.repeat(np.arange(3), 400)[:, None] == np.repeat(np.arange(3), 400)[None]) * (400 / 399)
    pairs = np.where(same > 0, same, 1.0) * (1 - np.eye(1200))
    k = lambda a, b: (a @ b.T / 3 + 1) ** 3  # noqa: E731
    of_real = (k(real, real).sum() - np.trace(k(real, real))) / (200 * 199)
    expected = each @ (k(values, values) * pairs) @ each - 2 * each @ k(values, real).mean(1) + of_real
    assert mixture.kernel_terms(MEMBERS, real).mmd(w) == pytest.approx(expected, rel=1e-10)


def test_the_gradient_is_that_of_the_quadratic():
    terms, w = mixture.kernel_terms(MEMBERS, drawn([100, 60, 40])), np.array([0.5, 0.2, 0.3])
    steps = 1e-5 * np.eye(3)
    found = [(terms.mmd(w + d) - terms.mmd(w - d)) / 2e-5 for d in steps]
    np.testing.assert_allclose(terms.gradient(w), found, rtol=1e-6)


@pytest.mark.parametrize("counts", [(400, 0, 0), (300, 100, 0), (200, 100, 300), (0, 0, 500)])
def test_mmd_is_least_where_it_is_on_the_faces(counts):
    real = drawn(counts)
    found = mixture.fit_mmd(MEMBERS, real)
    least, where = least_by_faces(mixture.kernel_terms(MEMBERS, real))
    assert found.weights.sum() == pytest.approx(1) and found.weights.min() >= 0
    assert found.distance == pytest.approx(least, rel=1e-6, abs=1e-9)
    np.testing.assert_allclose(found.weights, where, atol=1e-3)
    assert found.distance <= found.alone.min()


@pytest.mark.parametrize("fit", [mixture.fit_mmd, mixture.fit_frechet])
def test_weights_of_a_drawn_mixture_are_found(fit):
    """To what 2,000 images tell of them; in any order of the models, and in any unit of the features."""
    members = [gaussian(20, 2000, shift=-1.5), gaussian(21, 2000, shift=1.5), gaussian(22, 2000, scale=0.3)]
    real = drawn((1000, 200, 800), seed=30)
    weights = fit(members, real).weights
    np.testing.assert_allclose(weights, [0.5, 0.1, 0.4], atol=0.06)
    np.testing.assert_allclose(fit(members[::-1], real).weights[::-1], weights, atol=1e-3)


def test_frechet_weights_are_the_same_in_any_unit():
    real = drawn((200, 100, 100))
    found = mixture.fit_frechet(MEMBERS, real)
    large = mixture.fit_frechet([1e3 * x for x in MEMBERS], 1e3 * real)
    np.testing.assert_allclose(large.weights, found.weights, atol=1e-3)
    np.testing.assert_allclose(large.alone, 1e6 * found.alone, rtol=1e-8)
    of_real = frechet.moments(real)
    for member, alone in zip(MEMBERS, found.alone, strict=True):
        assert alone == pytest.approx(frechet.distance(frechet.moments(member), of_real), rel=1e-9)


def test_frechet_is_least_on_a_grid():
    real = drawn((200, 100, 100))
    found, of_real = mixture.fit_frechet(MEMBERS, real), frechet.moments(real)
    of_members = [frechet.moments(x) for x in MEMBERS]
    for a, b in itertools.product(np.linspace(0, 1, 21), repeat=2):
        if a + b <= 1:
            mean, cov = mixture.mixture_moments(of_members, np.array([a, b, max(0.0, 1 - a - b)]))
            there = frechet.frechet_distance(mean, cov, of_real.mean, frechet.covariance(of_real))
            assert found.distance <= there + 1e-9


def test_moments_of_a_mixture_are_those_of_the_union():
    """By the sizes of the sets; merged scatters are divided by N, as those of the sets are here."""
    sets = [gaussian(0, 30, shift=2), gaussian(1, 90, scale=0.5)]
    biased = [m._replace(m2=m.m2 * (m.count - 1) / m.count) for m in map(frechet.moments, sets)]
    mean, cov = mixture.mixture_moments(biased, np.array([0.25, 0.75]))
    union = np.concatenate(sets)
    np.testing.assert_allclose(mean, union.mean(0), rtol=1e-12)
    np.testing.assert_allclose(cov, np.cov(union.T, bias=True), rtol=1e-12)


def test_a_model_that_is_there_twice_changes_nothing():
    real = drawn((200, 100, 100))
    once, twice = (mixture.fit_mmd(m, real) for m in (MEMBERS[:2], [MEMBERS[0], MEMBERS[1], MEMBERS[1]]))
    assert twice.distance <= once.distance + 1e-9
    np.testing.assert_allclose(mixture.fit_mmd([MEMBERS[0]], real).weights, [1.0])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mixture.fit_mmd([], gaussian(0)), r"members=\(\): at least one model"),
        (lambda: mixture.fit_frechet([], gaussian(0)), r"members=\(\): at least one model"),
        (lambda: mixture.fit_mmd([gaussian(0, 1)], gaussian(0)), r"\[1, 400\] vectors: at least 2 of each"),
        (lambda: mixture.fit_mmd([gaussian(0, width=2)], gaussian(0)), "vectors of one width"),
        (lambda: mixture.normalized((0.5, -0.5), 2), r"weights=\(0.5, -0.5\): valid for 2 models"),
        (lambda: mixture.normalized((0.0, 0.0), 2), "not all 0"),
        (lambda: mixture.normalized((1.0,), 2), "valid for 2 models are 2 numbers"),
        (lambda: mixture.normalized((np.nan, 1.0), 2), "weights="),
    ],
)
def test_mistakes(call, message):
    with pytest.raises(UserError, match=message):
        call()
