"""A permutation computed one element at a time is a permutation, random-looking, and always the same."""

import numpy as np
import pytest

from genjax.data import permute
from genjax.typing import UserError


@pytest.mark.parametrize("n", [*range(1, 35), 63, 64, 65, 1797, 4096, 60_000])
def test_each_element_exactly_once(n):
    values = permute(np.arange(n), n, seed=3)
    assert values.dtype == np.int64
    np.testing.assert_array_equal(np.sort(values), np.arange(n))


def test_values_are_fixed_forever():
    # A change here changes the data order of every run that resumes.
    np.testing.assert_array_equal(permute(np.arange(10), 10, seed=0), [2, 5, 9, 4, 8, 6, 1, 7, 0, 3])
    np.testing.assert_array_equal(
        permute(np.arange(4), 10**12, seed=(7, 2)), [105748503364, 500920903196, 71630351804, 707834876603]
    )


def test_elements_do_not_depend_on_what_else_is_asked():
    whole = permute(np.arange(1000), 1000, seed=1)
    index = np.array([[999, 0], [5, 5]])
    np.testing.assert_array_equal(permute(index, 1000, seed=1), whole[index])
    assert permute(np.array([], np.int64), 1000, seed=1).shape == (0,)


def test_seeds_give_unrelated_permutations():
    n = 2000
    a, b, c = (permute(np.arange(n), n, seed) for seed in (1, 2, (1, 1)))
    for x, y in ((a, b), (a, c), (a, np.arange(n))):
        # Fixed points of a random permutation are Poisson(1); correlation is 0 within 1/sqrt(n).
        assert np.sum(x == y) < 10
        assert abs(np.corrcoef(x, y)[0, 1]) < 5 / np.sqrt(n)


@pytest.mark.parametrize("n", [3, 7, 12])
def test_every_place_gets_every_value_equally_often(n):
    seeds = 3000
    tables = np.stack([permute(np.arange(n), n, seed) for seed in range(seeds)])
    counts = np.stack([np.bincount(tables[:, place], minlength=n) for place in range(n)])
    deviation = np.abs(counts - seeds / n) / np.sqrt(seeds / n)
    assert deviation.max() < 5


def test_neighbours_are_not_sent_to_neighbours():
    n = 10_000
    steps = np.abs(np.diff(permute(np.arange(n), n, seed=5)))
    # The mean distance of two random places is n/3.
    assert abs(steps.mean() / n - 1 / 3) < 0.02


@pytest.mark.parametrize(
    ("index", "n", "seed", "message"),
    [
        ([0], 0, 0, "n=0"),
        ([0], 5, -1, "seed=-1"),
        ([0, 5], 5, 0, r"0\.\.5; valid are 0\.\.4"),
        ([-1], 5, 0, r"valid are 0\.\.4"),
    ],
)
def test_bad_arguments(index, n, seed, message):
    with pytest.raises(UserError, match=message):
        permute(np.array(index), n, seed)
