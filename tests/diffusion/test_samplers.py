"""DDPM and DDIM against closed forms: with the exact denoiser of a Gaussian all is computed by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax.diffusion import denoiser, grids, guidance, initial_noise, prediction, process, sample, schedules
from genjax.diffusion.samplers import consistency, ddim, ddpm, normal, tcd
from genjax.typing import UserError

MEAN, STD = 0.4, 0.3


def gaussian_denoiser(schedule):
    """The exact E[x_0 | x_t] of data from N(MEAN, STD^2)."""

    def denoise(x, t):
        alpha, sigma = schedule.alpha(t), schedule.sigma(t)
        return MEAN + STD**2 * alpha / (alpha**2 * STD**2 + sigma**2) * (x - alpha * MEAN)

    return denoise


def ancestral_moments(schedule, times, variance):
    """Mean and standard deviation of DDPM's samples: each step is affine in x, with Gaussian noise."""
    alphas, sigmas = (np.asarray(f(times), np.float64) for f in (schedule.alpha, schedule.sigma))
    mean, square = 0.0, sigmas[0] ** 2
    for alpha_t, sigma_t, alpha_s, sigma_s in zip(alphas, sigmas, alphas[1:], sigmas[1:], strict=False):
        r = (alpha_t * sigma_s / (alpha_s * sigma_t)) ** 2
        gain = STD**2 * alpha_t / (alpha_t**2 * STD**2 + sigma_t**2)
        slope = alpha_t / alpha_s * (sigma_s / sigma_t) ** 2 + alpha_s * (1 - r) * gain
        added = (1 - r) * sigma_s ** (2 - 2 * variance) * sigma_t ** (2 * variance) if sigma_s else 0.0
        mean = slope * mean + alpha_s * (1 - r) * (MEAN - gain * alpha_t * MEAN)
        square = slope**2 * square + added
    return mean, np.sqrt(square)


CASES = {
    "ddpm-small": (ddpm(0.0), 0.0),
    "ddpm-large": (ddpm(1.0), 1.0),
    "ddpm-between": (ddpm(0.3), 0.3),
    "ddim-stochastic": (ddim(1.0), 0.0),
}


@pytest.mark.parametrize("num_steps", [10, 1000])
@pytest.mark.parametrize("case", CASES)
def test_samples_have_the_moments_that_the_recursion_predicts(case, num_steps):
    """10 steps tell the variances apart; with 1000 all reach the data's own mean and deviation."""
    sampler, variance = CASES[case]
    schedule, times = schedules.linear(), grids.linspace(num_steps)
    keys = jax.random.split(jax.random.key(0), 2048)

    @jax.jit
    def run(keys):
        x_T = initial_noise(keys, (16,), schedule)
        return sample(keys, x_T, times, gaussian_denoiser(schedule), sampler, schedule)

    samples = np.asarray(run(keys), np.float64)
    mean, std = ancestral_moments(schedule, times, variance)
    assert abs(samples.mean() - mean) < 4.5 * std / np.sqrt(samples.size)
    assert abs(samples.std() - std) < 4.5 * std / np.sqrt(2 * samples.size)
    if num_steps == 1000:
        np.testing.assert_allclose([mean, std], [MEAN, STD], rtol=0.02)


def test_the_variances_differ_where_the_test_above_tells_them_apart():
    schedule, times = schedules.linear(), grids.linspace(10)
    small, between, large = (ancestral_moments(schedule, times, v)[1] for v in (0.0, 0.3, 1.0))
    assert small < 0.97 * between < 0.97**2 * large


def flow_of(schedule, x_T):
    """The solution at t = 0 of the probability-flow ODE of a Gaussian."""
    alpha, sigma = schedule.alpha(1.0), schedule.sigma(1.0)
    return MEAN + STD * (x_T - alpha * MEAN) / jnp.sqrt(alpha**2 * STD**2 + sigma**2)


@pytest.mark.parametrize("name", ["linear", "cosine"])
def test_ddim_converges_with_order_one(name):
    with jax.enable_x64(True):
        schedule = schedules.SCHEDULES[name]()
        x_T = jnp.linspace(-2, 2, 9)[:, None]
        keys = jax.random.split(jax.random.key(0), 9)
        steps, errors = [40, 80, 160, 320, 640], []
        for num_steps in steps:
            x_0 = sample(keys, x_T, grids.linspace(num_steps), gaussian_denoiser(schedule), ddim(), schedule)
            errors.append(float(jnp.abs(x_0 - flow_of(schedule, x_T)).max()))
        order = -np.polyfit(np.log(steps), np.log(errors), 1)[0]
        assert abs(order - 1) < 0.15, (order, errors)
        assert errors[-1] < 5e-3


@pytest.mark.parametrize(("t", "s"), [(0.5, 0.499), (1.0, 0.999), (0.9, 0.3), (0.001, 0.0)])
def test_ddim_with_eta_one_is_ddpm_with_the_small_variance(t, s):
    with jax.enable_x64(True):
        schedule = schedules.linear()
        keys = jax.random.split(jax.random.key(0), 3)
        x = jax.random.normal(jax.random.key(1), (3, 4), jnp.float64)
        t, s = jnp.asarray(t), jnp.asarray(s)
        arguments = keys, (), x, t, s, lambda x, t: jnp.tanh(x), schedule
        np.testing.assert_allclose(ddim(1.0).step(*arguments)[1], ddpm().step(*arguments)[1], atol=1e-12)


@pytest.mark.parametrize("variance", [0.0, 0.5, 1.0])
def test_ddpm_steps_by_the_posterior(variance):
    """The noise is the sample's own; its variance lies between the bounds on a logarithmic scale."""
    schedule, t, s = schedules.cosine(), jnp.float32(0.6), jnp.float32(0.5)
    keys = jax.random.split(jax.random.key(0), 3)
    x, x_0 = jnp.linspace(-1, 1, 12).reshape(3, 4), jnp.full((3, 4), 0.25)
    small = process.posterior(schedule, x, x_0, t, s)
    beta = schedule.sigma(t) ** 2 - (schedule.alpha(t) / schedule.alpha(s) * schedule.sigma(s)) ** 2
    std = jnp.exp(((1 - variance) * jnp.log(small.variance) + variance * jnp.log(beta)) / 2)
    _, actual = ddpm(variance).step(keys, (), x, t, s, lambda x, t: x_0, schedule)
    np.testing.assert_allclose(actual, small.mean + std * normal(keys, (4,)), rtol=1e-5, atol=1e-6)


def test_ddpm_takes_a_learned_variance():
    """A function of x_t and t, one value for each pixel; and an array with one for each example."""
    schedule, t, s = schedules.linear(), jnp.float32(0.6), jnp.float32(0.5)
    keys = jax.random.split(jax.random.key(0), 2)
    x = jnp.ones((2, 3))

    def step(variance):
        return ddpm(variance).step(keys, (), x, t, s, lambda x, t: 0.5 * x, schedule)[1]

    learned = step(lambda x, t: t / 0.6 * jnp.array([[0.0, 1.0, 0.5], [1.0, 0.0, 0.5]]))
    expected = np.stack([step(0.0), step(1.0), step(0.5)])
    np.testing.assert_allclose(learned, expected[[[0, 1, 2], [1, 0, 2]], [[0], [1]], [[0, 1, 2]]], rtol=1e-6)
    np.testing.assert_allclose(step(jnp.array([0.0, 1.0])), [step(0.0)[0], step(1.0)[1]], rtol=1e-6)


def test_a_learned_variance_costs_no_second_network():
    schedule = schedules.linear()
    keys = jax.random.split(jax.random.key(0), 2)

    def network(x, c_noise):
        convolution = jax.lax.conv_general_dilated(
            x, jnp.ones((3, 3, 1, 2)), (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        return convolution * c_noise[:, None, None, None]

    def run(keys):
        denoise = denoiser(lambda x, t: network(x, t)[..., :1], schedule, prediction.eps)
        learned = ddpm(lambda x, t: network(x, jnp.broadcast_to(t, x.shape[:1]))[..., 1:])
        x_T = initial_noise(keys, (8, 8, 1), schedule)
        return sample(keys, x_T, grids.linspace(4), guidance.clip(denoise), learned, schedule)

    assert jax.jit(run).lower(keys).compile().as_text().count(" convolution(") == 1


@pytest.mark.parametrize("sampler", [ddpm(0.0), ddpm(1.0), ddim(0.0), ddim(1.0)])
def test_the_last_step_adds_no_noise(sampler):
    schedule = schedules.linear()
    x, x_0 = jnp.ones((2, 3)), jnp.full((2, 3), 0.25)
    keys = jax.random.split(jax.random.key(0), 2)
    _, actual = sampler.step(keys, (), x, jnp.float32(0.1), jnp.float32(0.0), lambda x, t: x_0, schedule)
    np.testing.assert_array_equal(actual, x_0)


def test_eta_and_variance_are_traced_and_differentiable_at_both_ends():
    schedule = schedules.linear()
    keys = jax.random.split(jax.random.key(0), 2)
    traces = []

    @jax.jit
    @jax.value_and_grad
    def total(parameters):
        traces.append(parameters)
        eta, variance = parameters
        x_T = initial_noise(keys, (4,), schedule)
        denoise = gaussian_denoiser(schedule)
        return sum(
            jnp.sum(sample(keys, x_T, grids.linspace(3), denoise, sampler, schedule) ** 2)
            for sampler in (ddim(eta), ddpm(variance))
        )

    values = []
    for parameters in [(0.0, 0.0), (1.0, 1.0), (0.5, 0.5)]:
        value, gradients = total(jnp.array(parameters))
        values.append(float(value))
        assert np.all(np.isfinite(gradients)) and np.all(gradients != 0), parameters
    assert len(traces) == 1 and len(set(values)) == 3


@pytest.mark.parametrize("eta", [-0.1, 1.5, np.float32(2), float("nan")])
def test_an_eta_out_of_range_is_an_error(eta):
    with pytest.raises(UserError, match=r"eta = .* must be in \[0, 1\]"):
        ddim(eta)


def test_tcd_lies_between_ddim_and_consistency():
    """gamma = 0 and 1; between them it goes down to a trained time below s, and up again."""
    schedule, keys, x = schedules.linear(), jax.random.split(jax.random.key(0), 3), jnp.full((3, 4), 0.7)
    denoise, t = gaussian_denoiser(schedule), jnp.float32(0.8)
    for s in (jnp.float32(0.5), jnp.float32(0.0)):
        arguments = keys, (), x, t, s, denoise, schedule
        for gamma, other in ((0.0, ddim()), (1.0, consistency())):
            np.testing.assert_allclose(
                tcd(gamma).step(*arguments)[1], other.step(*arguments)[1], rtol=1e-5, atol=1e-5
            )
    # Step 499 of 1000, times 0.7, is 349.3: the time of step 349 is 0.35.
    low = jnp.float32(0.35)
    at_low = ddim().step(keys, (), x, t, low, denoise, schedule)[1]
    ratio = schedule.alpha(0.5) / schedule.alpha(low)
    std = np.sqrt(schedule.sigma(0.5) ** 2 - ratio**2 * schedule.sigma(low) ** 2)
    expected = ratio * at_low + std * normal(keys, (4,))
    actual = tcd(0.3, 1000).step(keys, (), x, t, jnp.float32(0.5), denoise, schedule)[1]
    np.testing.assert_allclose(actual, expected, rtol=1e-4)
    with pytest.raises(UserError, match=r"gamma = 2 must be in \[0, 1\]"):
        tcd(2)
