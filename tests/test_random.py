"""Choices by key: their frequencies, and that nothing but key and weights decides them."""

import jax
import numpy as np
import pytest

from genjax.random import choose, fold_in

KEYS = jax.random.split(jax.random.key(0), 20_000)


@pytest.fixture(scope="module")
def pick():
    return jax.jit(choose)


def test_frequencies_are_the_weights(pick):
    weights = np.array([0.5, 0.0, 0.3, 0.2], np.float32)
    counts = np.bincount(pick(KEYS, weights), minlength=4)
    assert counts[1] == 0
    np.testing.assert_allclose(counts / len(KEYS), weights, atol=4 * (0.25 / len(KEYS)) ** 0.5)


def test_a_choice_is_of_its_key_alone(pick):
    weights = np.array([0.2, 0.3, 0.5], np.float32)
    together = np.asarray(pick(KEYS, weights))
    np.testing.assert_array_equal(pick(KEYS[37:38], weights), together[37:38])
    np.testing.assert_array_equal(pick(KEYS[::-1], weights), together[::-1])


def test_weights_that_change_a_little_change_few_choices(pick):
    before = pick(KEYS, np.array([0.5, 0.3, 0.2], np.float32))
    after = pick(KEYS, np.array([0.51, 0.29, 0.2], np.float32))
    assert 0.005 < np.mean(np.asarray(before) != np.asarray(after)) < 0.015


def test_the_ends(pick):
    """Nothing is chosen beyond the last weight, whatever the sum is rounded to, nor a weight of 0 at either end."""
    np.testing.assert_array_equal(pick(KEYS, np.array([0, 1, 0], np.float32)), 1)
    assert np.asarray(pick(KEYS, np.array([0.0, 0.9, 0.0], np.float32))).max() == 1
    thirds = np.full(3, 1 / 3, np.float32)
    assert set(np.asarray(pick(KEYS, thirds))) == {0, 1, 2}


def test_a_choice_says_nothing_of_what_the_key_draws_else(pick):
    """What samplers draw first, from position 0 or from the key itself, is alike for all that is chosen."""
    which = np.asarray(pick(KEYS, np.array([0.5, 0.5], np.float32)))
    for keys in (KEYS, fold_in(KEYS, 0), fold_in(KEYS, 1)):
        uniform = np.asarray(jax.vmap(jax.random.uniform)(keys))
        difference = uniform[which == 0].mean() - uniform[which == 1].mean()
        assert abs(difference) < 4 * (4 / 12 / len(KEYS)) ** 0.5
