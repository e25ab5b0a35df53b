"""The loop: what is drawn from which key, and in which order the times are visited."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax.diffusion import Sampler, grids, initial_noise, sample, schedules, trajectory
from genjax.diffusion.samplers import ddim, dpm_solver_pp_3s, lms, normal, unipc

SCHEDULE = schedules.linear


def keys_of(n):
    return jax.random.split(jax.random.key(7), n)


def test_initial_noise_belongs_to_its_key_bit_for_bit():
    noise = jax.jit(lambda keys: initial_noise(keys, (8, 8, 3), SCHEDULE()))
    keys = keys_of(64)
    together = np.asarray(noise(keys))
    np.testing.assert_array_equal(noise(keys[32:40])[5], together[37])
    np.testing.assert_array_equal(noise(keys[37:38])[0], together[37])
    sharding = jax.sharding.NamedSharding(
        jax.sharding.Mesh(np.array(jax.devices()), ("data",)), jax.sharding.PartitionSpec("data")
    )
    np.testing.assert_array_equal(noise(jax.device_put(keys, sharding)), together)


def test_initial_noise_has_the_deviation_of_its_time():
    schedule, keys = SCHEDULE(), keys_of(1000)
    for t in (1.0, 0.2):
        noise = np.asarray(initial_noise(keys, (20,), schedule, t))
        sigma = schedule.sigma(t)
        assert abs(noise.std() - sigma) < 4.5 * sigma / np.sqrt(2 * noise.size)


def test_noise_is_the_same_in_every_precision():
    keys = keys_of(3)
    single = np.asarray(normal(keys, (5,), jnp.float32))
    np.testing.assert_array_equal(normal(keys, (5,), jnp.bfloat16), single.astype(jnp.bfloat16))
    with jax.enable_x64(True):
        np.testing.assert_array_equal(normal(keys, (5,), jnp.float64), single.astype(np.float64))


def probe():
    """A sampler that counts its steps in the carry and adds what it was given to the columns of x."""

    def step(keys, count, x, t, s, denoise, schedule):
        return count + 1, x + jnp.stack([t, s, count, denoise(x, t)[0, 0]])[None]

    return Sampler(lambda x_T, times: jnp.float32(10.0), step)


def test_steps_follow_the_times_with_their_carry():
    times = jnp.array([0.9, 0.5, 0.1])
    states = trajectory(
        keys_of(1), jnp.zeros((1, 4)), times, lambda x, t: x * 0 + t * 100, probe(), SCHEDULE()
    )
    np.testing.assert_allclose(states[0], np.zeros((1, 4)))
    np.testing.assert_allclose(states[1] - states[0], [[0.9, 0.5, 10, 90]], rtol=1e-5)
    np.testing.assert_allclose(states[2] - states[1], [[0.5, 0.1, 11, 50]], rtol=1e-5)


def recorder():
    """A sampler whose state is the noise of the step."""

    def step(keys, carry, x, t, s, denoise, schedule):
        return carry, normal(keys, x.shape[1:])

    return Sampler(lambda x_T, times: (), step)


def test_every_draw_is_independent():
    """Initial noise and steps of all samples: no two alike, and uncorrelated."""
    keys, schedule = keys_of(4), SCHEDULE()
    x_T = initial_noise(keys, (2000,), schedule)
    states = trajectory(keys, x_T, grids.linspace(5), lambda x, t: x, recorder(), schedule)
    correlations = np.corrcoef(np.asarray(states).reshape(24, 2000)) - np.eye(24)
    assert np.abs(correlations).max() < 5 / np.sqrt(2000)
    expected = normal(jax.vmap(jax.random.fold_in, (0, None))(keys, 3), (2000,))
    np.testing.assert_array_equal(states[3], expected)


def test_trajectory_ends_at_the_sample():
    keys, schedule = keys_of(3), SCHEDULE()
    arguments = keys, initial_noise(keys, (4,), schedule), grids.linspace(6), lambda x, t: jnp.tanh(x)
    states = trajectory(*arguments, ddim(0.5), schedule)
    assert states.shape == (7, 3, 4)
    np.testing.assert_array_equal(states[-1], sample(*arguments, ddim(0.5), schedule))


@pytest.mark.parametrize("sampler", [unipc(), dpm_solver_pp_3s()], ids=["unipc", "dpm_solver_pp_3s"])
def test_a_time_that_is_repeated_changes_nothing(sampler):
    """Neither x nor the orders of the steps, which depend on how many there are."""
    distinct = [1.0, 0.8, 0.5, 0.3, 0.2, 0.1]
    repeated = [1.0, 1.0, 0.8, 0.8, 0.8, 0.5, 0.3, 0.2, 0.1, 0.1]

    @jax.jit
    def run(times):
        schedule = SCHEDULE()
        return trajectory(keys_of(2), jnp.ones((2, 3)), times, lambda x, t: jnp.sin(x + t), sampler, schedule)

    once, twice = run(jnp.array(distinct)), run(jnp.array(repeated))
    np.testing.assert_allclose(twice[np.array([0, 2, 5, 6, 7, 8])], once, rtol=1e-6)
    np.testing.assert_array_equal(twice[np.array([1, 3, 4, 9])], twice[np.array([0, 2, 2, 8])])


def test_a_time_that_is_repeated_leaves_gradients_finite():
    def loss(x_T):
        times = jnp.array([1.0, 0.7, 0.7, 0.4, 0.0, 0.0])
        return sample(keys_of(2), x_T, times, lambda x, t: jnp.sin(x + t), lms(), SCHEDULE()).sum()

    assert np.isfinite(jax.jit(jax.grad(loss))(jnp.ones((2, 3)))).all()
