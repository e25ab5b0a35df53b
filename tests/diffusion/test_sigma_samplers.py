"""Samplers after k-diffusion, EDM and PNDM, score SDEs, consistency models, RePaint, inversion: closed forms.

The reference formulas are written out in numpy, in the variables of the papers.
"""

import itertools

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate

from genjax.diffusion import denoiser, grids, initial_noise, prediction, sample, schedules, trajectory
from genjax.diffusion.prediction import consistency_edm, lcm_boundary
from genjax.diffusion.samplers import Sampler, ddim, ddpm, normal
from genjax.diffusion.samplers.consistency import consistency
from genjax.diffusion.samplers.coordinates import flow, sigma_over_alpha
from genjax.diffusion.samplers.deis import deis
from genjax.diffusion.samplers.dpm2 import dpm2, dpm2_ancestral
from genjax.diffusion.samplers.dpm_solver_pp import dpm_solver_pp_2m
from genjax.diffusion.samplers.euler import euler, euler_ancestral
from genjax.diffusion.samplers.heun import heun
from genjax.diffusion.samplers.inversion import ddim_inversion
from genjax.diffusion.samplers.ipndm import ipndm
from genjax.diffusion.samplers.lms import History, adams_bashforth, lms
from genjax.diffusion.samplers.pndm import pndm
from genjax.diffusion.samplers.predictor_corrector import predictor_corrector, reverse_diffusion
from genjax.diffusion.samplers.repaint import repaint, repaint_times
from genjax.diffusion.samplers.unipc import unipc
from genjax.typing import UserError

MEAN, STD = 0.4, 0.3
SHAPE = (3, 4)  # a batch of small samples

fold = jax.vmap(jax.random.fold_in, (0, None))


@pytest.fixture
def x64():
    with jax.enable_x64(True):
        yield


def keys_of(n=SHAPE[0]):
    return jax.random.split(jax.random.key(0), n)


def start():
    return np.random.default_rng(0).normal(size=SHAPE)


def curved(x_hat, u):
    """An estimate of x_0 from x / alpha and u = sigma / alpha, not linear in either; numpy or jax."""
    np_ = jnp if isinstance(x_hat, jax.Array) else np
    return np_.tanh(x_hat / (1 + u)) + 0.3 * np_.sin(2 * x_hat / np_.sqrt(1 + u**2))


def curved_denoiser(schedule):
    """`curved`; nan at t = 0, where a sampler should not ask."""

    def denoise(x, t):
        alpha, sigma = schedule.alpha(t), schedule.sigma(t)
        return jnp.where(sigma > 0, curved(x / alpha, sigma / alpha), jnp.nan)

    return denoise


def gaussian_denoiser(schedule):
    """The exact E[x_0 | x_t] of data from N(MEAN, STD^2)."""

    def denoise(x, t):
        alpha, sigma = schedule.alpha(t), schedule.sigma(t)
        return MEAN + STD**2 * alpha / (alpha**2 * STD**2 + sigma**2) * (x - alpha * MEAN)

    return denoise


@flax.struct.dataclass
class Linear:
    """x_t = x_0 + 3 t noise: steps that are equal in t are equal in sigma / alpha."""

    def log_snr(self, t):
        return -2 * jnp.log(3 * jnp.asarray(t))

    def time(self, log_snr):
        return jnp.exp(-log_snr / 2) / 3

    def alpha(self, t):
        return jnp.ones_like(jnp.asarray(t))

    def sigma(self, t):
        return 3 * jnp.asarray(t)


def noise_of_steps(num_steps):
    """What each step of the sampling loop draws, by `normal` with the keys of the step."""
    return [np.asarray(normal(fold(keys_of(), i + 1), SHAPE[1:], jnp.float64)) for i in range(num_steps)]


def run(sampler, times, schedule, x=None, denoise=None):
    """All states, in numpy."""
    x, denoise = start() if x is None else x, denoise or curved_denoiser(schedule)
    times = jnp.asarray(times)
    return np.asarray(
        jax.jit(lambda: trajectory(keys_of(), jnp.asarray(x), times, denoise, sampler, schedule))()
    )


# Euler and Heun.


def karras_algorithm_2(x, sigmas, noise, churn, low, high, factor, second_order):
    """Algorithm 2 of Karras et al. (2022), line by line; its x is x / alpha, its sigma is sigma / alpha."""
    states = [x]
    for i in range(len(sigmas) - 1):
        gamma = min(churn / (len(sigmas) - 1), np.sqrt(2) - 1) if low <= sigmas[i] <= high else 0.0
        sigma_hat = sigmas[i] + gamma * sigmas[i]
        x_hat = x + np.sqrt(sigma_hat**2 - sigmas[i] ** 2) * factor * noise[i]
        d = (x_hat - curved(x_hat, sigma_hat)) / sigma_hat
        x = x_hat + (sigmas[i + 1] - sigma_hat) * d
        if second_order and sigmas[i + 1] != 0:
            d_prime = (x - curved(x, sigmas[i + 1])) / sigmas[i + 1]
            x = x_hat + (sigmas[i + 1] - sigma_hat) * (d / 2 + d_prime / 2)
        states.append(x)
    return np.stack(states)


@pytest.mark.parametrize(("name", "churn"), [("edm", 0.0), ("edm", 3.0), ("linear", 40.0), ("flow", 3.0)])
@pytest.mark.parametrize("sampler", [euler, heun])
def test_algorithm_2_of_edm(x64, sampler, churn, name):
    """With alpha 1 or not; the times are those at which the schedule has the noise levels of the paper."""
    schedule = schedules.SCHEDULES[name]()
    rho = np.linspace(20 ** (1 / 7), 0.02 ** (1 / 7), 8) ** 7
    times = np.append(schedule.time(-2 * np.log(rho)), 0)
    sigmas = np.append(np.exp(-schedule.log_snr(times[:-1]) / 2), 0)
    np.testing.assert_allclose(sigmas, np.append(rho, 0), rtol=1e-9)
    alphas = np.asarray(schedule.alpha(times)).reshape(-1, 1, 1)
    options = dict(churn=churn, churn_min=0.05, churn_max=10.0, churn_noise=1.007)
    actual = run(sampler(**options), times, schedule, x=20 * alphas[0] * start())
    expected = karras_algorithm_2(20 * start(), sigmas, noise_of_steps(8), *options.values(), sampler is heun)
    np.testing.assert_allclose(actual, alphas * expected, rtol=0, atol=1e-8)


def test_churn_ends_where_the_schedule_does(x64):
    """At t = 1 nothing is added, even where alpha is 0; just below, as much as the schedule has left."""
    for schedule in (schedules.flow(), schedules.linear()):
        still, stirred = (
            run(euler(churn=churn), [1.0, 0.5], schedule, denoise=lambda x, t: 0 * x)[1]
            for churn in (0.0, 9.0)
        )
        np.testing.assert_allclose(stirred, still, atol=1e-12)
    schedule, t, s = schedules.linear(), 0.99, 0.9
    ratio = schedule.alpha(1.0) / schedule.alpha(t)
    x_1 = (
        ratio * start()
        + np.sqrt(schedule.sigma(1.0) ** 2 - (ratio * schedule.sigma(t)) ** 2) * noise_of_steps(1)[0]
    )
    stirred = run(euler(churn=9.0), [t, s], schedule, denoise=lambda x, t: 0 * x)[1]
    np.testing.assert_allclose(stirred, schedule.sigma(s) / schedule.sigma(1.0) * x_1, atol=1e-12)


def test_euler_is_ddim_and_in_flow_eulers_method_in_time(x64):
    schedule, times = schedules.flow(), np.linspace(0.9, 0, 5)
    expected = run(ddim(), times, schedule)
    np.testing.assert_allclose(run(euler(jnp.zeros(())), times, schedule), expected, atol=1e-12)
    x, states = start(), [start()]
    for t, s in itertools.pairwise(times):
        x_0 = curved(x / (1 - t), t / (1 - t))
        x = x + (s - t) * ((x - (1 - t) * x_0) / t - x_0)
        states.append(x)
    np.testing.assert_allclose(expected, states, atol=1e-12)


def test_heun_of_rectified_flow(x64):
    """Of the velocity, in t; from alpha = 0 on."""
    schedule, times = schedules.flow(), np.linspace(1, 0, 6)

    def velocity(x, t):
        x_0 = curved(x, t)
        return (x - (1 - t) * x_0) / t - x_0

    x, states = start(), [start()]
    for t, s in itertools.pairwise(times):
        after = x + (s - t) * velocity(x, t)
        x = x + (s - t) / 2 * (velocity(x, t) + velocity(after, s)) if s > 0 else after
        states.append(x)
    actual = run(heun(coordinates=flow), times, schedule, denoise=lambda x, t: curved(x, t))
    np.testing.assert_allclose(actual, states, atol=1e-12)


def test_coordinates_differ_but_in_eulers_method(x64):
    schedule, times = schedules.linear(), np.linspace(1, 0.1, 4)
    difference = run(heun(coordinates=sigma_over_alpha), times, schedule) - run(
        heun(coordinates=flow), times, schedule
    )
    assert np.abs(difference[1:]).max() > 1e-2


def ancestral(x, sigmas, noise, eta, second_order):
    """k-diffusion's sample_euler_ancestral and sample_dpm_2_ancestral, in x / alpha and sigma / alpha."""
    states = [x]
    for sigma, to, z in zip(sigmas, sigmas[1:], noise, strict=False):
        up = min(to, eta * np.sqrt(to**2 * (sigma**2 - to**2) / sigma**2))
        down = np.sqrt(to**2 - up**2)
        d = (x - curved(x, sigma)) / sigma
        if second_order and down > 0:
            middle = np.exp((np.log(sigma) + np.log(down)) / 2)
            x_2 = x + (middle - sigma) * d
            d = (x_2 - curved(x_2, middle)) / middle
        x = x + (down - sigma) * d + up * z
        states.append(x)
    return np.stack(states)


@pytest.mark.parametrize("eta", [0.0, 0.6, 1.0])
@pytest.mark.parametrize("sampler", [euler_ancestral, dpm2_ancestral])
def test_ancestral_samplers_of_k_diffusion(x64, sampler, eta):
    schedule, times = schedules.linear(), np.append(np.linspace(0.9, 0.1, 6), 0)
    alphas = np.asarray(schedule.alpha(times)).reshape(-1, 1, 1)
    sigmas = np.asarray(schedule.sigma(times) / schedule.alpha(times))
    expected = ancestral(start() / alphas[0], sigmas, noise_of_steps(6), eta, sampler is dpm2_ancestral)
    np.testing.assert_allclose(run(sampler(eta), times, schedule), alphas * expected, rtol=0, atol=1e-9)
    if eta == 0:
        without = {euler_ancestral: ddim(), dpm2_ancestral: dpm2()}[sampler]
        np.testing.assert_array_equal(run(without, times, schedule), run(sampler(eta), times, schedule))


# Multistep methods.


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_adams_bashforth_weights_are_means_of_lagrange_polynomials(x64, order):
    """By scipy's quadrature; only the first `order` of four nodes are valid, the others anywhere."""
    positions = np.array([2.0, 3.1, 3.5, 5.0])
    nodes, end = positions[:order], 1.7
    expected = np.zeros(4)
    for j in range(order):
        others = np.delete(nodes, j)
        lagrange = lambda u: np.prod((u - others) / (nodes[j] - others))  # noqa: E731
        expected[j] = scipy.integrate.quad(lagrange, nodes[0], end)[0] / (end - nodes[0])
    positions[order:] = 2.0  # as at the start, where all times are the first
    actual = adams_bashforth(jnp.asarray(positions), jnp.arange(4) < order, jnp.asarray(end))
    np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-13)


def polynomial_denoiser(schedule, coefficients):
    """Its noise estimate is a polynomial in sigma / alpha and does not depend on x."""

    def denoise(x, t):
        alpha, sigma = schedule.alpha(t), schedule.sigma(t)
        return (x - sigma * jnp.polyval(jnp.asarray(coefficients), sigma / alpha)) / alpha

    return denoise


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_lms_is_exact_for_polynomials_of_lower_degree(x64, order):
    schedule, coefficients = schedules.vp(), np.array([0.3, -0.7, 1.1, 0.4])[-order:]
    times = jnp.array([0.9, 0.75, 0.5, 0.4, 0.2])
    u, alphas = (
        np.asarray(f) for f in (schedule.sigma(times) / schedule.alpha(times), schedule.alpha(times))
    )
    before = np.stack([np.full(SHAPE, np.polyval(coefficients, v)) for v in u[2::-1]])[: order - 1]
    history = History(jnp.asarray(before), times[2::-1][: order - 1], jnp.asarray(3))
    arguments = keys_of(), history, jnp.asarray(start()), times[3], times[4]
    after, actual = lms(order).step(*arguments, polynomial_denoiser(schedule, coefficients), schedule)
    integral = np.polyint(coefficients)
    expected = alphas[4] * (start() / alphas[3] + np.polyval(integral, u[4]) - np.polyval(integral, u[3]))
    np.testing.assert_allclose(actual, expected, rtol=1e-11, atol=1e-12)
    if order > 1:
        np.testing.assert_allclose(after.noise[0], np.polyval(coefficients, u[3]), rtol=1e-9)
        assert after.times[0] == times[3] and after.steps == 4


def test_lms_does_not_extrapolate_over_many_steps():
    """An exploding variance jumps to 0 from levels that are close to each other."""
    schedule, times = schedules.ve(0.002, 40.0), grids.linspace(300) ** 2
    x = np.float32(40 * start())
    actual = run(lms(), times, schedule, x, gaussian_denoiser(schedule))
    np.testing.assert_allclose(
        actual[-1], run(ddim(), times, schedule, x, gaussian_denoiser(schedule))[-1], atol=0.02
    )


@pytest.mark.parametrize("order", [2, 3, 4])
def test_ipndm_is_lms_where_the_steps_are_equal(x64, order):
    schedule = schedules.vp()
    times = schedule.time(-2 * jnp.log(jnp.linspace(5, 0.5, 7)))
    np.testing.assert_allclose(
        run(ipndm(order), times, schedule), run(lms(order), times, schedule), atol=1e-9
    )
    times = jnp.linspace(0.9, 0.1, 7)
    assert np.abs(run(ipndm(order), times, schedule) - run(lms(order), times, schedule)).max() > 1e-3


@pytest.mark.parametrize("skip", [False, True])
def test_pndm_is_a_classical_method_where_the_steps_are_equal(x64, skip):
    """Runge and Kutta's, or Heun's, for dx/du = noise; then Adams and Bashforth's."""
    schedule, u, h = Linear(), np.linspace(3, 1.2, 7), -0.3

    def f(x, u):
        return (x - curved(x, u)) / u

    x, states, slopes = start(), [start()], []
    for i, v in enumerate(u[:-1]):
        k_1 = f(x, v)
        slopes.append(k_1)
        if skip and i == 0:
            x = x + h / 2 * (k_1 + f(x + h * k_1, v + h))
        elif i < 3 and not skip:
            k_2 = f(x + h / 2 * k_1, v + h / 2)
            k_3 = f(x + h / 2 * k_2, v + h / 2)
            x = x + h / 6 * (k_1 + 2 * k_2 + 2 * k_3 + f(x + h * k_3, v + h))
        else:
            weights = {2: [-1, 3], 3: [5, -16, 23], 4: [-9, 37, -59, 55]}[min(i + 1, 4)]
            x = x + h * sum(w * k for w, k in zip(weights, slopes[-4:], strict=True)) / sum(weights)
        states.append(x)
    np.testing.assert_allclose(run(pndm(skip), u / 3, schedule), states, atol=1e-12)


@pytest.mark.parametrize("skip", [False, True])
def test_pndm_starts_without_a_second_estimate_where_there_can_be_none(x64, skip):
    """From alpha = 0, and to s = 0: in one step it is DDIM."""
    schedule = schedules.flow()
    for times in ([1.0, 0.6], [0.6, 0.0], [1.0, 0.0]):
        expected = run(ddim(), times, schedule, denoise=lambda x, t: jnp.tanh(x + t))
        actual = run(
            pndm(skip), times, schedule, denoise=lambda x, t: jnp.tanh(x + jnp.where(t > 0, t, jnp.nan))
        )
        np.testing.assert_allclose(actual, expected, atol=1e-12)


# How often the network is called.

EVALUATIONS = {
    "euler": (euler(), 6),
    "heun": (heun(), 11),
    "heun-flow": (heun(coordinates=flow), 11),
    "dpm2": (dpm2(), 11),
    "dpm2_ancestral": (dpm2_ancestral(), 11),
    "lms": (lms(), 6),
    "ipndm": (ipndm(), 6),
    "pndm": (pndm(), 15),
    "pndm-skip": (pndm(skip_runge_kutta=True), 7),
    "predictor_corrector": (predictor_corrector(num_corrections=2), 18),
    "consistency": (consistency(), 6),
    "repaint": (repaint(ddim(), np.zeros(SHAPE), np.ones((1, 1))), 6),
}


@pytest.mark.parametrize("name", EVALUATIONS)
def test_number_of_evaluations(name):
    sampler, expected = EVALUATIONS[name]
    schedule, calls = schedules.linear(), []

    def denoise(x, t):
        jax.debug.callback(lambda t: calls.append(float(t)), t)
        return 0.5 * x

    run(sampler, np.float32([1, 0.8, 0.6, 0.4, 0.3, 0.1, 0]), schedule, np.float32(start()), denoise)
    jax.effects_barrier()
    assert len(calls) == expected and min(calls) > 0


# Predictor and corrector.


def test_reverse_diffusion(x64):
    """Equation 46 of Song et al. (2021): of a variance that explodes, and of one that is preserved."""
    keys, x = keys_of(), jnp.asarray(start())
    z = np.asarray(normal(keys, SHAPE[1:], jnp.float64))

    def step(schedule, t, s):
        arguments = keys, (), x, jnp.asarray(t), jnp.asarray(s), curved_denoiser(schedule), schedule
        alpha, sigma = np.asarray(schedule.alpha(t)), np.asarray(schedule.sigma(t))
        score = (alpha * curved(start() / alpha, sigma / alpha) - start()) / sigma**2
        return np.asarray(reverse_diffusion().step(*arguments)[1]), score

    schedule = schedules.ve()
    actual, score = step(schedule, 0.6, 0.5)
    added = np.asarray(schedule.sigma(0.6) ** 2 - schedule.sigma(0.5) ** 2)
    np.testing.assert_allclose(actual, start() + added * score + np.sqrt(added) * z, atol=1e-10)
    actual, score = step(schedule, 0.6, 0.0)
    np.testing.assert_allclose(actual, start() + np.asarray(schedule.sigma(0.6)) ** 2 * score, atol=1e-10)

    betas = np.linspace(1e-4, 0.02, 1000)
    actual, score = step(schedules.linear(), 0.6, 0.599)
    beta = betas[599]
    np.testing.assert_allclose(
        actual, (2 - np.sqrt(1 - beta)) * start() + beta * score + np.sqrt(beta) * z, atol=1e-9
    )


def still():
    """A predictor that leaves x as it is."""
    return Sampler(lambda x_T, times: (), lambda keys, carry, x, t, s, denoise, schedule: (carry, x))


def test_corrector_reaches_the_distribution_of_its_time():
    """N(alpha MEAN, V), with V too large by 1 + snr^2, and by (d + 2) / (d - 2) for the norms in the step."""
    schedule, t, snr, d = schedules.linear(), jnp.float32(0.3), 0.16, 24
    corrector = predictor_corrector(still(), snr, 150)
    keys = keys_of(2048)
    x = initial_noise(keys, (d,), schedule)
    run = jax.jit(lambda x: corrector.step(keys, (), x, t, t, gaussian_denoiser(schedule), schedule)[1])
    samples = np.asarray(run(1.5 * x), np.float64)
    variance = float(schedule.alpha(t) ** 2 * STD**2 + schedule.sigma(t) ** 2)
    expected = variance * (1 + snr**2) * (d + 2) / (d - 2)
    assert abs(samples.mean() - float(schedule.alpha(t)) * MEAN) < 4.5 * np.sqrt(variance / samples.size)
    assert abs(samples.var() / expected - 1) < 4.5 * np.sqrt(2 / samples.size) + 0.01


def test_corrector_measures_each_sample_by_itself(x64):
    """Algorithm 4 of Song et al. (2021), for one sample at a time; and no correction is the predictor."""
    schedule, keys, t, s = schedules.ve(), keys_of(), jnp.asarray(0.6), jnp.asarray(0.5)
    arguments = t, s, curved_denoiser(schedule), schedule
    _, actual = predictor_corrector(still(), 0.2, 1).step(keys, (), jnp.asarray(start()), *arguments)
    sigma, z = np.asarray(schedule.sigma(t)), np.asarray(normal(fold(keys, 1), SHAPE[1:], jnp.float64))
    for i in range(SHAPE[0]):
        g = (curved(start()[i], sigma) - start()[i]) / sigma**2
        e = 2 * (0.2 * np.linalg.norm(z[i]) / np.linalg.norm(g)) ** 2
        np.testing.assert_allclose(actual[i], start()[i] + e * g + np.sqrt(2 * e) * z[i], atol=1e-10)
    _, without = predictor_corrector(num_corrections=0).step(keys, (), jnp.asarray(start()), *arguments)
    _, predictor = ddpm().step(fold(keys, 0), (), jnp.asarray(start()), *arguments)
    np.testing.assert_array_equal(without, predictor)


# Consistency models.


def test_a_consistency_function_gives_samples_of_the_data_in_any_number_of_steps():
    """That of a Gaussian is the end of the ODE's trajectory. With the mean of x_0 the variance is too small."""
    schedule, keys = schedules.linear(), keys_of(4096)

    def ends(x, t):
        alpha, sigma = schedule.alpha(t), schedule.sigma(t)
        return MEAN + STD * (x - alpha * MEAN) / jnp.sqrt(alpha**2 * STD**2 + sigma**2)

    def deviation(denoise, num_steps):
        x_T = initial_noise(keys, (8,), schedule)
        samples = sample(keys, x_T, grids.linspace(num_steps), denoise, consistency(), schedule)
        assert abs(samples.mean() - MEAN) < 0.02 * STD
        return float(samples.std()) / STD

    error = 4.5 / np.sqrt(2 * 8 * 4096)
    assert abs(deviation(ends, 3) - 1) < error
    # The mean takes away twice the variance that the noise adds: they balance at half of the data's.
    assert abs(deviation(gaussian_denoiser(schedule), 1000) - np.sqrt(0.5)) < 0.02


def test_consistency_adds_the_noise_that_is_missing(x64):
    schedule, keys, x = schedules.linear(), keys_of(), jnp.asarray(start())
    alpha, sigma = np.asarray(schedule.alpha(0.2)), np.asarray(schedule.sigma(0.2))
    z = np.asarray(normal(keys, SHAPE[1:], jnp.float64))
    for sigma_min in (0.0, 0.1):
        arguments = keys, (), x, jnp.asarray(0.5), jnp.asarray(0.2), lambda x, t: 0.3 * x, schedule
        expected = alpha * 0.3 * start() + np.sqrt(sigma**2 - (alpha * sigma_min) ** 2) * z
        np.testing.assert_allclose(consistency(sigma_min).step(*arguments)[1], expected, atol=1e-12)
    # Less noise than the estimate has: none is added; and the gradient is finite.
    for s in (0.0, 1e-5):
        step = lambda s: consistency(0.1).step(  # noqa: E731
            keys, (), x, jnp.asarray(0.5), s, lambda x, t: 0.3 * x, schedule
        )[1]
        np.testing.assert_allclose(step(jnp.asarray(s)), 0.3 * start(), atol=1e-4)
        assert np.isfinite(jax.grad(lambda s: step(s).sum())(jnp.asarray(s)))


def test_boundary_conditions(x64):
    x = jnp.asarray(start())
    bounded = denoiser(lambda x, c_noise: 7 + 0 * x, schedules.linear(), lcm_boundary(prediction.x0))
    for t in (1e-3, 1e-4, jnp.array([1e-3, 5e-4, 1e-3])):
        np.testing.assert_array_equal(bounded(x, jnp.asarray(t)), x)
    tau, actual = 10 * 2, bounded(x, jnp.asarray(3e-3))
    np.testing.assert_allclose(
        actual, 0.25 / (tau**2 + 0.25) * start() + 7 * tau / np.sqrt(tau**2 + 0.25), rtol=1e-9
    )

    for schedule in (schedules.ve(), schedules.linear()):
        t = schedule.time(-2 * jnp.log(jnp.array([0.02, 0.5, 30.0])))  # sigma / alpha
        denoise = denoiser(lambda x, c_noise: 7 + 0 * x, schedule, consistency_edm(0.02))
        np.testing.assert_allclose(denoise(x, t)[0], start()[0] / schedule.alpha(t[0]), atol=1e-9)
        edm, ours = (np.stack(p(schedule, t)) for p in (prediction.edm(), consistency_edm(0.0)))
        np.testing.assert_allclose(ours[:3], edm[:3], rtol=1e-12)
        np.testing.assert_array_equal(ours[3], edm[3])


# RePaint.


def test_known_pixels_are_known_bit_for_bit_and_noisy_on_the_way():
    schedule, keys = schedules.linear(), keys_of(512)
    mask = np.float32([1, 0, 1, 0])[None]
    known = np.random.default_rng(1).normal(size=(512, 4)).astype(np.float32)
    times = repaint_times(grids.linspace(12), 3, 2)
    sampler = repaint(ddpm(), known, mask)
    x_T = initial_noise(keys, (4,), schedule)
    states = np.asarray(
        jax.jit(lambda: trajectory(keys, x_T, times, gaussian_denoiser(schedule), sampler, schedule))()
    )
    np.testing.assert_array_equal(states[-1][:, ::2], known[:, ::2])
    assert np.abs(states[-1] - known)[:, 1::2].min() > 0
    for x, t, before in zip(states[1:-1], times[1:-1], times[:-2], strict=True):
        # After steps down and up: up keeps the distribution.
        noise = ((x - schedule.alpha(t) * known) / schedule.sigma(t))[:, ::2]
        assert abs(noise.mean()) < 4.5 / np.sqrt(1024) and abs(noise.std() - 1) < 4.5 / np.sqrt(2048), (
            t,
            before,
        )


def test_up_is_the_forward_process(x64):
    schedule, keys = schedules.linear(), keys_of()
    sampler = repaint(ddim(), np.zeros(SHAPE), np.zeros(SHAPE))
    carry = sampler.init(jnp.asarray(start()), jnp.linspace(1, 0, 3))
    z = np.asarray(normal(fold(keys, 1), SHAPE[1:], jnp.float64))
    for t, s in ((0.3, 0.5), (0.0, 0.5), (0.3, 1.0)):
        arguments = (
            keys,
            carry,
            jnp.asarray(start()),
            jnp.asarray(t),
            jnp.asarray(s),
            lambda x, t: x / 0,
            schedule,
        )
        ratio = np.asarray(schedule.alpha(s) / schedule.alpha(t))
        std = np.sqrt(schedule.sigma(s) ** 2 - (ratio * schedule.sigma(t)) ** 2)
        np.testing.assert_allclose(sampler.step(*arguments)[1], ratio * start() + std * z, atol=1e-10)


def test_repaint_takes_one_known_image_for_all(x64):
    schedule, times, known = schedules.linear(), np.linspace(1, 0, 5), np.arange(float(SHAPE[1]))[None]
    one, each = (
        run(repaint(ddim(), image, np.full((1, 1), 0.5)), times, schedule)
        for image in (known, np.broadcast_to(known, SHAPE))
    )
    np.testing.assert_array_equal(one, each)


def test_repaint_without_a_known_region_is_the_sampler(x64):
    schedule, times = schedules.linear(), np.linspace(1, 0, 7)
    actual = run(repaint(lms(), np.zeros(SHAPE), np.zeros((1, 1))), times, schedule)
    np.testing.assert_allclose(actual, run(lms(), times, schedule), atol=1e-12)


@pytest.mark.parametrize("make", [lms, dpm_solver_pp_2m, deis, unipc])
def test_a_multistep_method_starts_again_after_going_up(x64, make):
    sampler = lms() if make is lms else make(lower_order_final=False)
    schedule, times = schedules.linear(), np.array([0.9, 0.7, 0.5, 0.3, 0.4, 0.5, 0.35, 0.25, 0.1])
    states = run(repaint(sampler, np.zeros(SHAPE), np.zeros((1, 1))), times, schedule)
    expected = run(sampler, times[5:], schedule, x=states[5])
    np.testing.assert_allclose(states[5:], expected, atol=1e-12)


def test_repaint_times():
    """By hand, for 5 steps; and the number of steps of the paper's setting."""
    actual = repaint_times(grids.linspace(5), 2, 2)
    np.testing.assert_allclose(actual * 5, [5, 4, 3, 4, 5, 4, 3, 2, 1, 2, 3, 2, 1, 0], atol=1e-5)
    np.testing.assert_array_equal(repaint_times(grids.linspace(5), 2, 1), grids.linspace(5))
    times = np.asarray(repaint_times(grids.linspace(250), 10, 10))
    assert (np.diff(times) > 0).sum() == 9 * 10 * 24 and len(times) == 251 + 2 * 9 * 10 * 24
    assert jax.jit(lambda t: repaint_times(t, 2, 2))(grids.linspace(5)).shape == (14,)


# Inversion.


@pytest.mark.parametrize("name", ["linear", "flow", "ve"])
def test_inversion_is_undone_by_ddim(name):
    """To 1e-5 in float32, from clean data; also where alpha is 0 at the end."""
    schedule, times = schedules.SCHEDULES[name](), grids.linspace(10)
    weights = jnp.asarray(np.random.default_rng(0).normal(size=(4, 4)) / 2, jnp.float32)
    denoise = denoiser(lambda x, t: jnp.tanh(x @ weights + jnp.cos(3 * t)[:, None]), schedule, prediction.v)
    x = np.float32(start())

    def error(iterations):
        noise = run(ddim_inversion(iterations), times[::-1], schedule, x, denoise)[-1]
        return np.abs(run(ddim(), times, schedule, noise, denoise)[-1] - x).max()

    assert error(12) < 1e-5
    assert error(0) > 0.05


def test_inversion_without_iterations_evaluates_at_the_earlier_state(x64):
    schedule, t, s = schedules.linear(), jnp.asarray(0.2), jnp.asarray(0.3)
    arguments = keys_of(), (), jnp.asarray(start()), t, s, curved_denoiser(schedule), schedule
    (a, b), (c, d) = ((float(schedule.alpha(r)), float(schedule.sigma(r))) for r in (t, s))
    noise = (start() - c * curved(start() / c, d / c)) / d
    np.testing.assert_allclose(
        ddim_inversion().step(*arguments)[1], c * (start() - b * noise) / a + d * noise, atol=1e-9
    )


@pytest.mark.parametrize("schedule", [schedules.flow(), schedules.edm()], ids=["flow", "edm"])
@pytest.mark.parametrize("kind", ["inversion", "repaint"])
def test_gradients_are_finite(kind, schedule):
    """Of what is not in the contract tests: from s = 0 up to alpha = 0, and down again."""
    up, down = jnp.array([0.0, 0.3, 1.0]), jnp.array([1.0, 0.5, 0.2, 0.5, 0.2, 0.0])
    sampler, times = {
        "inversion": (ddim_inversion(2), up),
        "repaint": (repaint(heun(), np.zeros(SHAPE), np.float32([[1, 0, 1, 0]])), down),
    }[kind]

    def loss(x, times, schedule):
        denoise = denoiser(lambda x, t: jnp.tanh(x + t[:, None]), schedule, prediction.x0)
        return jnp.sum(sample(keys_of(), x, times, denoise, sampler, schedule) ** 2)

    gradients = jax.jit(jax.grad(loss, argnums=(0, 1, 2)))(jnp.float32(start()), times, schedule)
    assert all(np.all(np.isfinite(gradient)) for gradient in jax.tree.leaves(gradients))
    assert np.abs(gradients[0]).max() > 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: lms(5), "order = 5 must be one of 1, 2, 3, 4"),
        (lambda: ipndm(0), "order = 0 must be one of 1, 2, 3, 4"),
        (lambda: dpm2_ancestral(1.5), r"eta = 1.5 must be in \[0, 1\]"),
        (lambda: euler_ancestral(-1.0), r"eta = -1.0 must be in \[0, 1\]"),
        (lambda: predictor_corrector(num_corrections=-1), "num_corrections = -1 must be at least 0"),
        (lambda: ddim_inversion(-1), "iterations = -1 must be at least 0"),
        (lambda: repaint_times(grids.linspace(5), 0, 2), "jump_length = 0 must be at least 1"),
        (lambda: repaint_times(grids.linspace(5), 2, 0), "jump_samples = 0 must be at least 1"),
        (
            lambda: run(repaint(ddim(), np.zeros(4), np.zeros((1, 4))), [1.0, 0.5], schedules.linear()),
            "known has 1 axes and must have as many as x, which has 2",
        ),
    ],
)
def test_wrong_arguments_are_named(make, message):
    with pytest.raises(UserError, match=message):
        make()
