"""Learned variance: the split, the bound's value and where its gradient goes, and that the true variance is found."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax.diffusion import add_noise, grids, initial_noise, process, sample, schedules
from genjax.diffusion.decoders import gaussian
from genjax.diffusion.learned_variance import bound, split
from genjax.diffusion.likelihood import step_bits
from genjax.diffusion.samplers import ddpm
from genjax.typing import UserError

MEAN, STD = 0.4, 0.3


def test_split_gives_prediction_and_place_between_the_bounds():
    output = jnp.array([[[0.1, 0.2, -1.0, 1.0], [0.3, 0.4, 0.0, 3.0]]])
    predicted, variance = split(output, 2)
    np.testing.assert_allclose(predicted, [[[0.1, 0.2], [0.3, 0.4]]])
    np.testing.assert_allclose(variance, [[[0.0, 1.0], [0.5, 2.0]]])


def test_a_network_without_a_second_half_is_an_error():
    with pytest.raises(UserError, match="must have 6 output channels, twice those of the images, not 3"):
        split(jnp.zeros((1, 2, 2, 3)), 3)


def arguments(schedule):
    t = jnp.array([0.001, 0.002, 0.4, 1.0])
    x_0 = jnp.round(jnp.linspace(-1, 1, 4 * 6) * 127.5).reshape(4, 6) / 127.5
    x_t = add_noise(schedule, x_0, jax.random.normal(jax.random.key(0), x_0.shape), t)
    return t, x_0, 0.9 * x_t, jnp.linspace(0, 1, 24).reshape(4, 6)


def test_one_term_stands_for_all_the_steps():
    """The decoder at t = 1/T, a step of 1/T at the others, T times."""
    schedule = schedules.linear()
    t, x_0, estimate, variance = arguments(schedule)
    actual = bound(schedule, x_0, estimate, t, variance, 1000, gaussian)
    s = jnp.array([0.0, 0.001, 0.399, 0.999])
    expected = 1000 * step_bits(schedule, x_0, estimate, t, s, variance, gaussian)
    np.testing.assert_allclose(actual, expected, rtol=1e-3)
    assert not np.allclose(
        expected[:1], 1000 * step_bits(schedule, x_0, estimate, t, 0.5 * t, variance, gaussian)[:1]
    )


def test_the_bound_has_a_gradient_towards_the_variance_only():
    schedule = schedules.linear()
    t, x_0, estimate, variance = arguments(schedule)

    def total(estimate, variance):
        return bound(schedule, x_0, estimate, t, variance, 1000).sum()

    of_estimate, of_variance = jax.grad(total, (0, 1))(estimate, variance)
    np.testing.assert_array_equal(of_estimate, np.zeros_like(estimate))
    # From pure noise to nearly that, the bounds are the same to float32.
    assert jnp.isfinite(of_variance).all() and (of_variance[:3] != 0).all()


def test_the_variance_that_is_best_for_the_bound_is_the_true_one_and_samples_well():
    """Gaussian data, five steps: gradient descent finds the variance that reverses the process; with it, few steps give
    samples of the data's deviation, which neither of the fixed variances does."""
    schedule, num_steps = schedules.from_betas(np.array([0.1, 0.2, 0.3, 0.6, 0.999])), 5
    times = grids.linspace(num_steps)

    def denoise(x, t):
        alpha, sigma = (process.expand(f(t), x) for f in (schedule.alpha, schedule.sigma))
        return MEAN + STD**2 * alpha / (alpha**2 * STD**2 + sigma**2) * (x - alpha * MEAN)

    n = 4096
    x_0 = MEAN + STD * jax.random.normal(jax.random.key(0), (n, 1))
    noise = jax.random.normal(jax.random.key(1), (n, 1))

    @jax.jit
    def descend(v):
        def total(v):
            losses = []
            for i in range(num_steps):
                t = jnp.full(n, times[i])
                x_t = add_noise(schedule, x_0, noise, t)
                variance = jnp.broadcast_to(v[i], x_0.shape)
                losses.append(bound(schedule, x_0, denoise(x_t, t), t, variance, num_steps, gaussian).mean())
            return jnp.stack(losses).mean()

        return jax.lax.scan(lambda v, _: (v - 0.2 * jax.grad(total)(v), None), v, length=400)[0]

    v = descend(jnp.full(num_steps, 0.5))
    for i, (t, s) in enumerate(itertools.pairwise(times[:-1])):
        added, low = process.noise_added(schedule, t, s), schedule.sigma(s) ** 2
        left = STD**2 * schedule.sigma(t) ** 2 / (schedule.alpha(t) ** 2 * STD**2 + schedule.sigma(t) ** 2)
        true = jnp.log1p(schedule.alpha(s) ** 2 * added * left / low) / jnp.log(schedule.sigma(t) ** 2 / low)
        np.testing.assert_allclose(v[i], true, atol=0.05)

    def learned(x, t):
        return v[jnp.round((1 - t) * num_steps).astype(jnp.int32)]

    deviations = {}
    for name, variance in (("learned", learned), ("small", 0.0), ("large", 1.0)):
        keys = jax.random.split(jax.random.key(2), 20_000)
        x = sample(keys, initial_noise(keys, (1,), schedule), times, denoise, ddpm(variance), schedule)
        # The last step returns the mean; what it leaves out is the decoder's variance.
        t = times[-2]
        left = STD**2 * schedule.sigma(t) ** 2 / (schedule.alpha(t) ** 2 * STD**2 + schedule.sigma(t) ** 2)
        deviations[name] = float(jnp.sqrt(x.var() + left))
    assert abs(deviations["learned"] - STD) < 0.02 * STD
    assert deviations["small"] < 0.95 * STD and deviations["large"] > 1.05 * STD
