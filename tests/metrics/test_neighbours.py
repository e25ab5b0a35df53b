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
        (lambda: nearest(draw(0, 3), draw(0, 3, width=4)), "queries are 5 wide, gallery 4"),
        (lambda: nearest(draw(0, 3, offset=np.nan)), "not finite"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(UserError, match=message):
        call()
