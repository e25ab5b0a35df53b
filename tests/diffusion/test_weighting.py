"""Training times: their distribution, and that each belongs to its key."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax.diffusion import schedules, weighting


def test_uniform_times_are_those_of_the_discrete_schedule_equally_often():
    times = np.asarray(weighting.uniform_times(jax.random.split(jax.random.key(0), 20_000), 5))
    values, counts = np.unique(times, return_counts=True)
    np.testing.assert_array_equal(values, np.float32([0.2, 0.4, 0.6, 0.8, 1.0]))
    assert np.abs(counts - 4000).max() < 4.5 * np.sqrt(20_000 * 0.2 * 0.8)


def test_continuous_times_are_uniform():
    times = np.sort(weighting.continuous_times(jax.random.split(jax.random.key(1), 20_000)))
    assert times[0] > 0 and times[-1] <= 1
    # Kolmogorov-Smirnov: 1.95 / sqrt(n) is exceeded with probability 0.001.
    assert np.abs(times - (np.arange(20_000) + 0.5) / 20_000).max() < 1.95 / np.sqrt(20_000)


@pytest.mark.parametrize(
    "times", [lambda keys: weighting.uniform_times(keys, 1000), weighting.continuous_times]
)
def test_a_time_belongs_to_its_key(times):
    keys = jax.random.split(jax.random.key(2), 16)
    np.testing.assert_array_equal(times(keys)[5:8], times(keys[5:8]))


def test_simple_weight_is_one():
    weights = weighting.simple(schedules.linear(), jnp.array([0.1, 0.5, 1.0]))
    np.testing.assert_array_equal(weights, [1, 1, 1])
