"""The forward process and its posterior, against Bayes' rule."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax.diffusion import process, schedules


class Path(NamedTuple):
    """A schedule by its alpha and sigma at two times: index 0 is s, 1 is t."""

    alphas: tuple[float, float]
    sigmas: tuple[float, float]

    def alpha(self, t):
        return jnp.where(t == 0, *self.alphas)

    def sigma(self, t):
        return jnp.where(t == 0, *self.sigmas)

    def log_snr(self, t):
        return 2 * (jnp.log(self.alpha(t)) - jnp.log(self.sigma(t)))

    def time(self, log_snr):
        raise NotImplementedError


def bayes(alpha_s, sigma_s, alpha_t, sigma_t, x_t, x_0):
    """N(x_s; alpha_s x_0, sigma_s^2) N(x_t; alpha_ts x_s, sigma_ts^2) by adding precisions."""
    alpha_ts = alpha_t / alpha_s
    variance_ts = sigma_t**2 - alpha_ts**2 * sigma_s**2
    precision = 1 / sigma_s**2 + alpha_ts**2 / variance_ts
    return (alpha_s * x_0 / sigma_s**2 + alpha_ts * x_t / variance_ts) / precision, 1 / precision


@pytest.mark.parametrize(("t", "s"), [(1.0, 0.9), (0.5, 0.499), (0.7, 0.1), (0.02, 0.001)])
@pytest.mark.parametrize("name", schedules.SCHEDULES)
def test_posterior_is_bayes_rule(name, t, s):
    with jax.enable_x64(True):
        schedule = schedules.SCHEDULES[name]()
        x_t, x_0 = np.random.default_rng(0).normal(size=(2, 3, 4))
        scales = [float(f(time)) for time in (s, t) for f in (schedule.alpha, schedule.sigma)]
        mean, variance = bayes(*scales, x_t, x_0)
        posterior = process.posterior(schedule, jnp.asarray(x_t), jnp.asarray(x_0), t, s)
        np.testing.assert_allclose(posterior.mean, mean, rtol=0, atol=1e-12)
        np.testing.assert_allclose(posterior.variance, np.full((1, 1), variance), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "path", [Path((1.0, 1.0), (2.0, 7.0)), Path((0.6, 0.3), (0.4, 0.7))], ids=["exploding", "flow"]
)
def test_posterior_needs_no_preserved_variance(path):
    with jax.enable_x64(True):
        x_t, x_0 = np.random.default_rng(1).normal(size=(2, 3, 4))
        mean, variance = bayes(path.alphas[0], path.sigmas[0], path.alphas[1], path.sigmas[1], x_t, x_0)
        posterior = process.posterior(path, jnp.asarray(x_t), jnp.asarray(x_0), 1.0, 0.0)
        np.testing.assert_allclose(posterior.mean, mean, rtol=0, atol=1e-12)
        np.testing.assert_allclose(posterior.variance, np.full((1, 1), variance), rtol=0, atol=1e-12)


def test_posterior_from_pure_noise_forgets_x_t():
    path = Path((0.6, 0.0), (0.4, 1.0))
    posterior = process.posterior(path, jnp.full((2, 3), 9.0), jnp.full((2, 3), 0.5), 1.0, 0.0)
    np.testing.assert_allclose(posterior.mean, np.full((2, 3), 0.3), rtol=1e-6)
    np.testing.assert_allclose(posterior.variance, [[0.16]], rtol=1e-6)


def test_posterior_at_time_zero_is_the_clean_data():
    x_t, x_0 = jnp.full((2, 3), 9.0), jnp.full((2, 3), 0.5)
    posterior = process.posterior(schedules.linear(), x_t, x_0, jnp.array([0.3, 1.0]), jnp.zeros(2))
    np.testing.assert_array_equal(posterior.mean, x_0)
    np.testing.assert_array_equal(posterior.variance, np.zeros((2, 1)))


def test_add_noise_scales_each_example_by_its_own_time():
    schedule = schedules.linear()
    x_0, noise, t = jnp.full((2, 2, 2, 1), 3.0), jnp.full((2, 2, 2, 1), 5.0), jnp.array([0.1, 0.8])
    x_t = process.add_noise(schedule, x_0, noise, t)
    expected = 3 * schedule.alpha(t) + 5 * schedule.sigma(t)
    np.testing.assert_allclose(x_t, np.tile(np.reshape(expected, (2, 1, 1, 1)), (1, 2, 2, 1)), rtol=1e-6)
    np.testing.assert_allclose(process.add_noise(schedule, x_0, noise, 0.8)[0], x_t[1], rtol=1e-6)


def test_noise_added_composes():
    """Noise that survives two steps survives each of them."""
    schedule = schedules.cosine()
    kept = 1 - process.noise_added(schedule, np.float32([0.9, 0.9, 0.5]), np.float32([0.2, 0.5, 0.2]))
    np.testing.assert_allclose(kept[0], kept[1] * kept[2], rtol=1e-5)
    assert process.noise_added(schedule, 0.5, 0.0) == 1
