"""Tests for copies: planted ones are found, generators that make none are not accused."""

import numpy as np
import pytest
import scipy.stats
import sklearn.cluster

from genjax.metrics.copying import authentic, copying_interval, copying_rank, copying_score, locate
from genjax.typing import UserError


def draw(seed, n, width=3, offset=0.0):
    return (np.random.default_rng(seed).standard_normal((n, width)) + offset).astype(np.float32)


TRAIN, TEST = draw(0, 800), draw(1, 300)


def brute_force(x, y):
    return np.sqrt(np.square(x[:, None].astype(np.float64) - y[None]).sum(-1))


def test_rank_is_the_test_of_mann_and_whitney():
    generated = draw(2, 200, offset=0.2)
    far = scipy.stats.mannwhitneyu(brute_force(generated, TRAIN).min(1), brute_force(TEST, TRAIN).min(1))
    expected = (far.statistic - 200 * 300 / 2) / (200 * 300 * 501 / 12) ** 0.5
    assert copying_rank(generated, TEST, TRAIN) == pytest.approx(expected, rel=1e-10)
    assert abs(expected) > 0.1


def test_rank_of_all_copies_is_the_smallest_there_is():
    assert copying_rank(TRAIN[:200], TEST, TRAIN) == pytest.approx(-((3 * 200 * 300 / 501) ** 0.5))


def test_rank_of_fresh_draws_is_standard_normal():
    found = [copying_rank(draw(3 * i, 60), draw(3 * i + 1, 50), draw(3 * i + 2, 1000)) for i in range(100)]
    assert np.mean(found) == pytest.approx(0, abs=0.4) and np.std(found) == pytest.approx(1, abs=0.25)


def test_copies_in_one_place_are_not_made_up_for_elsewhere():
    """Two clusters: copies in one, images that are too far in the other. Over all, nothing is seen."""

    def both(left, right):
        return np.concatenate([left, right + np.float32(20)])

    train, test = both(draw(0, 500), draw(1, 500)), both(draw(2, 300), draw(3, 100))
    noise = draw(5, 200)
    generated = both(draw(0, 500)[:200] + np.float32(0.01) * noise, 2 * draw(4, 200))
    found = copying_score(generated, test, train, cells=2)
    assert abs(copying_rank(generated, test, train)) < 5
    assert sorted(found.cells) == [pytest.approx(-19, abs=1), pytest.approx(8, abs=4)]
    assert found.score == pytest.approx(found.cells @ found.weights)
    assert found.weights[found.cells.argmin()] == 0.75 and found.weights.sum() == 1  # of held-out images


def test_score_by_cells():
    fresh = copying_score(draw(2, 300), TEST, TRAIN, cells=4)
    copies = copying_score(TRAIN[::3], TEST, TRAIN, cells=4)
    assert abs(fresh.score) < 2 and (copies.cells < -6).all() and copies.score < -6
    np.testing.assert_array_equal(fresh.cells, copying_score(draw(2, 300), TEST, TRAIN, cells=4).cells)
    whole = copying_score(draw(2, 300), TEST, TRAIN, cells=1)
    assert whole.score == pytest.approx(copying_rank(draw(2, 300), TEST, TRAIN), rel=1e-12)


def test_a_cells_distances_are_to_its_own_training_images():
    """Cells that lie side by side, of images whose nearest training image is often across the border."""
    generated, found = draw(2, 300), copying_score(draw(2, 300), TEST, TRAIN, cells=4, seed=3)
    means = sklearn.cluster.KMeans(4, n_init=1, random_state=3).fit(TRAIN)
    cells = [means.predict(x) for x in (generated, TEST, TRAIN)]
    for i in range(4):
        parts = [x[cell == i] for x, cell in zip((generated, TEST, TRAIN), cells, strict=True)]
        assert found.cells[i] == pytest.approx(copying_rank(*parts), rel=1e-12)


def test_cells_without_enough_images_say_nothing():
    train = np.concatenate([TRAIN, draw(5, 100, offset=50.0)])
    found = copying_score(draw(2, 300), TEST, train, cells=2)
    assert sorted(np.isnan(found.cells)) == [False, True]
    assert found.score == pytest.approx(np.nanmax(found.cells)) and sorted(found.weights) == [0, 1]


def test_authentic_is_brute_force():
    generated = np.concatenate([draw(2, 100), TRAIN[:50], TRAIN[50:100] + np.float32(0.3)])
    within = brute_force(TRAIN, TRAIN)
    np.fill_diagonal(within, np.inf)
    across = brute_force(generated, TRAIN)
    expected = across.min(1) > within.min(1)[across.argmin(1)]
    np.testing.assert_array_equal(authentic(generated, TRAIN), expected)
    assert 0.3 < expected[:100].mean() < 0.8


def test_planted_copies_are_found_all():
    noise = np.float32(1e-3) * draw(3, 800)
    assert not authentic(TRAIN, TRAIN).any()
    assert not authentic(TRAIN + noise, TRAIN)[np.linalg.norm(noise, axis=1) < 4e-3].mean() > 0.01
    # Also of an image that is twice in the training set.
    assert not authentic(TRAIN[:1], np.concatenate([TRAIN, TRAIN[:1]])).any()
    mixed = np.concatenate([TRAIN[:300], draw(4, 300, offset=30.0)])
    np.testing.assert_array_equal(authentic(mixed, TRAIN), np.arange(600) >= 300)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: copying_rank(draw(0, 0), TEST, TRAIN), "generated has no vector"),
        (lambda: copying_rank(draw(0, 9, width=2), TEST, TRAIN), "different widths: {'generated': 2"),
        (lambda: copying_score(draw(0, 9), TEST, TRAIN, cells=0), "cells=0"),
        (lambda: copying_score(draw(0, 9), TEST, TRAIN), "cells=10, at_least=2.22: no cell"),
        (lambda: authentic(TEST, TRAIN[:1]), "train has 1 vector"),
        (lambda: authentic(draw(0, 9, offset=np.nan), TRAIN), "generated has a value that is not finite"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(UserError, match=message):
        call()


def test_the_interval_of_copies_is_far_below_that_of_fresh_images():
    fresh = copying_interval(locate(draw(2, 300), TEST, TRAIN, cells=4), cells=4, resamples=50)
    copies = copying_interval(locate(TRAIN[::3], TEST, TRAIN, cells=4), cells=4, resamples=50)
    assert fresh.estimate == copying_score(draw(2, 300), TEST, TRAIN, cells=4).score
    assert fresh.low < fresh.estimate < fresh.high
    assert copies.high < -3 < fresh.low


def test_the_interval_is_over_the_cells_that_count():
    """Cells of too few images are not in it: without them it is the same."""
    found = locate(draw(2, 300), TEST, TRAIN, cells=4)
    rare = np.concatenate(
        [np.flatnonzero(found.generated[:, 0] == 0)[:3], np.flatnonzero(found.generated[:, 0])]
    )
    few = found._replace(generated=found.generated[np.sort(rare)])
    none = found._replace(generated=found.generated[found.generated[:, 0] > 0])
    assert copying_interval(few, cells=4, resamples=20) == copying_interval(none, cells=4, resamples=20)
