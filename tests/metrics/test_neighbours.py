"""Nearest neighbours against brute force, and planted copies."""

import numpy as np
import pytest

from genjax.metrics import neighbours
from genjax.metrics.neighbours import (
    duplicate_rate,
    duplicate_threshold,
    memorisation_rate,
    memorisation_threshold,
    nearest,
)
from genjax.typing import UserError


def draw(seed, n, width=5, offset=0.0):
    return (np.random.default_rng(seed).standard_normal((n, width)) + offset).astype(np.float32)


def brute_force(x, y, others=False):
    distance = np.sqrt(np.square(x[:, None].astype(np.float64) - y[None].astype(np.float64)).sum(-1))
    if others:
        np.fill_diagonal(distance, np.inf)
    return distance.min(1), distance.argmin(1)


@pytest.mark.parametrize("block", [1, 300, 2**23])
@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_nearest_is_that_of_brute_force(monkeypatch, block, offset):
    """Far from the origin too, where in float32 the squares would have swallowed the differences."""
    monkeypatch.setattr(neighbours, "_BLOCK", block)
    x, y = draw(0, 150, offset=offset), draw(1, 70, offset=offset)
    for found, expected in ((nearest(x, y), brute_force(x, y)), (nearest(x), brute_force(x, x, others=True))):
        np.testing.assert_allclose(found.distance, expected[0], rtol=1e-12)
        np.testing.assert_array_equal(found.index, expected[1])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("k", [2, 5, 69])
def test_kth_nearest_is_that_of_brute_force(monkeypatch, k, dtype):
    monkeypatch.setattr(neighbours, "_BLOCK", 500)
    x, y = draw(0, 150).astype(dtype), draw(1, 70).astype(dtype)
    for found, a, b in ((nearest(x, y, k=k), x, y), (nearest(x, k=k), x, x)):
        all_pairs = np.sqrt(np.square(a[:, None].astype(np.float64) - b[None]).sum(-1))
        if a is b:
            np.fill_diagonal(all_pairs, np.inf)
        order = np.argsort(all_pairs, axis=1)[:, k - 1]
        np.testing.assert_array_equal(found.index, order)
        np.testing.assert_allclose(found.distance, all_pairs[np.arange(150), order], rtol=1e-12)


@pytest.mark.parametrize("k", [1, 3])
def test_neighbours_closer_than_float32_tells(k):
    """200 vectors at distances 1 + i * 1e-9, far from the origin: float32 products cannot order them."""
    rng = np.random.default_rng(0)
    direction = rng.standard_normal((200, 8))
    order = rng.permutation(200)
    y = direction / np.linalg.norm(direction, axis=1)[:, None] * (1 + order[:, None] * 1e-9) + 30
    found = nearest(np.full((1, 8), 30.0), y, k=k)
    assert order[found.index[0]] == k - 1
    assert found.distance[0] == pytest.approx(1 + 1e-9 * (k - 1), abs=1e-12)
    # In float32 the features themselves are rounded; what is nearest of them is found.
    x, y = np.full((1, 8), 30, np.float32), y.astype(np.float32)
    exact = np.sort(np.sqrt(np.square(y.astype(np.float64) - 30).sum(1)))
    assert nearest(x, y, k=k).distance[0] == exact[k - 1]


@pytest.mark.parametrize("candidates", [64, -1000])
@pytest.mark.parametrize("k", [1, 2])
def test_clusters_that_no_centre_is_near_to(monkeypatch, k, candidates):
    """Norms of 2,000 and distances of 1: in float32, rounding of the products is as large. Then all in float64."""
    monkeypatch.setattr(neighbours, "_CANDIDATES", candidates)
    sides = np.where(np.arange(300) % 2, 1000, -1000).astype(np.float32)
    x = draw(0, 300) + sides[:, None]
    for found, y, others in ((nearest(x, k=k), x, True), (nearest(x[:90], x[100:], k=k), x[100:], False)):
        pairs = np.sqrt(np.square(x[: len(found.index), None].astype(np.float64) - y[None]).sum(-1))
        if others:
            np.fill_diagonal(pairs, np.inf)
        np.testing.assert_allclose(found.distance, np.sort(pairs, axis=1)[:, k - 1], rtol=1e-12)


def test_sets_of_many_copies():
    """More equally near vectors than are looked at one by one."""
    x = np.repeat(draw(0, 3), 100, axis=0)
    assert (nearest(x, k=99).distance == 0).all()
    far = nearest(x, k=100)
    one = nearest(draw(0, 3))
    np.testing.assert_allclose(far.distance, np.repeat(one.distance, 100), rtol=1e-12)
    np.testing.assert_array_equal(x[far.index], np.repeat(draw(0, 3)[one.index], 100, axis=0))


def test_copies_are_at_distance_0():
    x = draw(0, 40, offset=100.0)
    assert (nearest(x, x).distance == 0).all()
    np.testing.assert_array_equal(nearest(x, x).index, np.arange(40))
    assert nearest(x).distance.min() > 0


def test_planted_duplicates_are_found():
    x = draw(0, 200)
    threshold = duplicate_threshold(draw(1, 200))
    assert threshold > 0
    assert duplicate_rate(np.concatenate([x, x]), 0.0) == 1.0
    assert duplicate_rate(np.concatenate([x, x + np.float32(1e-4)]), threshold) == 1.0
    assert duplicate_rate(x, 0.0) == 0.0
    # 10 of 200, copied once: 20 of 210 are duplicates.
    assert duplicate_rate(np.concatenate([x, x[:10]]), 0.0) == pytest.approx(20 / 210)
    assert duplicate_rate(np.ones((9, 3), np.float32), 0.0) == 1.0


def test_planted_copies_of_training_images_are_found():
    train, test, new = draw(0, 2000), draw(1, 1000), draw(2, 1000)
    threshold = memorisation_threshold(test, train)
    assert memorisation_rate(test, train, threshold) == 0.01
    assert memorisation_rate(new, train, threshold) == pytest.approx(0.01, abs=0.01)
    assert memorisation_rate(train[:300], train, threshold) == 1.0
    mixed = np.concatenate([train[:100], draw(3, 300, offset=50.0)])
    assert memorisation_rate(mixed, train, threshold) == 0.25
    assert memorisation_threshold(test, train, 0.5) > threshold


def test_a_healthy_generator_has_about_as_many_duplicates_as_data():
    found = duplicate_rate(draw(2, 3000, width=2), duplicate_threshold(draw(1, 3000, width=2)))
    assert found == pytest.approx(0.01, abs=0.006)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: nearest(draw(0, 1)), "gallery has 1 vectors: at least 2"),
        (lambda: nearest(draw(0, 1), draw(0, 0)), "gallery has 0 vectors: at least 1"),
        (lambda: nearest(draw(0, 3), k=3), "gallery has 3 vectors: at least 4"),
        (lambda: nearest(draw(0, 3), k=0), "k=0"),
        (lambda: nearest(draw(0, 3), draw(0, 3, width=4)), "queries are 5 wide, gallery 4"),
        (lambda: nearest(draw(0, 3, offset=np.nan)), "not finite"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(UserError, match=message):
        call()
