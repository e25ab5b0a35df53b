"""Bounds and densities against the exact ones of Gaussian data and of a mixture."""

import itertools
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from genjax.diffusion import SCHEDULES, grids, initial_noise, likelihood, probability_flow, process, schedules
from genjax.diffusion.decoders import bits_per_dimension, dequantize, discretized_gaussian, gaussian
from genjax.typing import UserError
from tests.diffusion.one_of import one_of

MEAN, STD = 0.4, 0.3
LN2 = np.log(2)


def left(schedule, t):
    """Var[x_0 | x_t] of data from N(MEAN, STD^2)."""
    alpha, sigma = schedule.alpha(t), schedule.sigma(t)
    return STD**2 * sigma**2 / (alpha**2 * STD**2 + sigma**2)


def gaussian_denoiser(schedule):
    """Their E[x_0 | x_t]."""

    def denoise(x, t):
        alpha, sigma = (process.expand(f(t), x) for f in (schedule.alpha, schedule.sigma))
        return MEAN + STD**2 * alpha / (alpha**2 * STD**2 + sigma**2) * (x - alpha * MEAN)

    return denoise


def nll_bits(x):
    return -stats.norm.logpdf(x, MEAN, STD) / LN2


BETAS = [0.1, 0.3, 0.6, 1.0]  # nothing of the data is left at t = 1: the prior is exact


def true_variance(schedule, num_steps):
    """Where between its bounds the variance of p(x_s | x_t) lies that reverses the process of Gaussian data."""

    def between(t):
        s = t - 1 / num_steps
        added = process.noise_added(schedule, t, s)
        low = added * schedule.sigma(s) ** 2
        true = low + (schedule.alpha(s) * added) ** 2 * left(schedule, t)
        inner = jnp.log(true / low) / jnp.log((schedule.sigma(t) / schedule.sigma(s)) ** 2)
        # The last step: between the posterior's variance of the step before and that of the forward step.
        least = process.noise_added(schedule, jnp.minimum(2 * t, 1), t)
        last = 1 - jnp.log(left(schedule, t) / schedule.sigma(t) ** 2) / jnp.log(least)
        return jnp.where(s < 0.5 / num_steps, last, inner)

    return lambda x, t: between(t)


def test_the_bound_is_exact_for_gaussian_data_and_the_true_reverse_process():
    """Its expectation over the noise in closed form: the terms are quadratic in the noise, for which the mean of the
    values at -1 and 1 is the expectation. Few steps, far from the continuous limit."""
    with jax.enable_x64(True):
        schedule = schedules.from_betas(np.array(BETAS))
        times = grids.linspace(4)
        variance, denoise = true_variance(schedule, 4), gaussian_denoiser(schedule)

        def expected(variance, x_0):
            total = jnp.zeros(x_0.shape[0])
            for t, s in itertools.pairwise(times):
                for noise in (-1.0, 1.0):
                    x_t = process.add_noise(schedule, x_0, jnp.full_like(x_0, noise), t)
                    between = variance(x_t, t)
                    total += 0.5 * likelihood.step_bits(
                        schedule, x_0, denoise(x_t, t), t, s, between, gaussian
                    )
            return total

        x_0 = jnp.array([[-0.5], [0.2], [0.4], [1.3]])
        np.testing.assert_allclose(expected(variance, x_0), nll_bits(x_0[:, 0]), rtol=0, atol=1e-12)
        # For any other variance it is a bound, and no more, in the mean over the data: of a quadratic again.
        x_0 = jnp.array([[MEAN - STD], [MEAN + STD]])
        for wrong in (0.0, 0.2, 1.0):
            gap = expected(lambda x, t: wrong, x_0) - nll_bits(x_0[:, 0])
            assert gap.mean() > 0.02


def test_the_bound_estimates_that_expectation():
    schedule, n = schedules.from_betas(np.array(BETAS)), 20_000
    keys = jax.random.split(jax.random.key(0), n)
    x_0 = MEAN + STD * jax.random.normal(jax.random.key(1), (n, 1))

    @jax.jit
    def run(keys, x_0):
        return likelihood.variational_bound(
            keys,
            x_0,
            gaussian_denoiser(schedule),
            schedule,
            grids.linspace(4),
            true_variance(schedule, 4),
            gaussian,
        )

    bound = run(keys, x_0)
    assert bound.prior.shape == bound.decoder.shape == (n,) and bound.steps.shape == (3, n)
    np.testing.assert_allclose(
        bound.total, bound.prior + sum(bound.steps) + bound.decoder, rtol=1e-5, atol=1e-6
    )
    error = np.asarray(bound.total - nll_bits(x_0[:, 0]), np.float64)
    assert error.std() < 1.0
    assert abs(error.mean()) < 4.5 * error.std() / np.sqrt(n)
    assert np.all(bound.steps.mean(1) > 0)
    # A bound belongs to its key, and different steps draw different noise.
    np.testing.assert_allclose(run(keys[7:9], x_0[7:9]).total, bound.total[7:9], rtol=1e-4)
    same = run(keys, jnp.full_like(x_0, 0.5))
    noisy = jnp.concatenate(
        [same.steps[1:], same.decoder[None]]
    )  # from pure noise the estimate is always the same
    assert np.abs(np.corrcoef(noisy) - np.eye(3)).max() < 0.1


@pytest.mark.parametrize("name", ["linear", "flow", "ve", "sub_vp"])
def test_a_step_is_the_divergence_of_two_gaussians(name):
    """Against the textbook formula, with the moments from `posterior` and the variance from `ddpm`'s definition."""
    with jax.enable_x64(True):
        schedule, t, s = SCHEDULES[name](), jnp.array([0.9, 0.5, 0.02]), jnp.array([0.5, 0.499, 0.01])
        x_0, estimate, x_t = jax.random.normal(jax.random.key(0), (3, 3, 4))
        between = jnp.linspace(0, 1, 12).reshape(3, 4)
        q, p = (process.posterior(schedule, x_t, x, t, s) for x in (x_0, estimate))
        ratio = process.expand(schedule.sigma(t) / schedule.sigma(s), x_0) ** (2 * between)
        variance = q.variance * ratio
        kl = 0.5 * (np.log(ratio) + (q.variance + (q.mean - p.mean) ** 2) / variance - 1)
        actual = likelihood.step_bits(schedule, x_0, estimate, t, s, between, gaussian)
        np.testing.assert_allclose(actual, kl.mean(1) / LN2, rtol=1e-7)


def test_the_prior_is_what_is_left_of_the_data():
    schedule = schedules.linear(10)  # whose betas leave most of it
    alpha, sigma = float(schedule.alpha(1.0)), float(schedule.sigma(1.0))
    x_0 = jnp.array([[0.5, -1.0]])
    bound = likelihood.variational_bound(
        jax.random.split(jax.random.key(0), 1), x_0, lambda x, t: x_0, schedule, grids.linspace(10)
    )
    np.testing.assert_allclose(bound.prior, [0.5 * (alpha / sigma) ** 2 * 0.625 / LN2], rtol=1e-5)
    np.testing.assert_array_equal(
        bound.steps, np.zeros((9, 1))
    )  # a perfect estimate, and the posterior's variance


def test_the_decoder_takes_the_least_variance_from_the_step_before():
    """As Improved DDPM does: the posterior's at t = 2/T; and the largest is beta_1."""
    schedule = schedules.linear()
    t, s = jnp.float32(0.001), jnp.float32(0.0)
    x_0, estimate = jnp.full((1, 1), 0.3), jnp.full((1, 1), 0.31)
    alpha_bar = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))
    beta = np.linspace(1e-4, 0.02, 1000)
    for between, variance in ((0.0, beta[1] * (1 - alpha_bar[0]) / (1 - alpha_bar[1])), (1.0, beta[0])):
        bits = likelihood.step_bits(schedule, x_0, estimate, t, s, between, gaussian)
        np.testing.assert_allclose(bits, -stats.norm.logpdf(0.3, 0.31, np.sqrt(variance)) / LN2, rtol=1e-3)


LEVELS = np.linspace(-1, 1, 256)


@pytest.mark.parametrize(("mean", "std"), [(0.1, 0.3), (-1.2, 0.05), (0.999, 1e-3), (0.0, 3.0), (0.5, 0.01)])
def test_the_discretized_gaussian_is_a_distribution_on_the_levels(mean, std):
    """It adds up to 1, and equals the differences of the cumulative distribution where those have digits."""
    x = jnp.asarray(LEVELS, jnp.float32)[:, None]
    log_p = np.asarray(discretized_gaussian()(x, jnp.full_like(x, mean), jnp.float32(std)), np.float64)[:, 0]
    assert np.isfinite(log_p).all()
    np.testing.assert_allclose(np.exp(log_p).sum(), 1, rtol=1e-4)
    edges = np.concatenate([[-np.inf], (LEVELS[1:] + LEVELS[:-1]) / 2, [np.inf]])
    p = np.diff(stats.norm.cdf(edges, mean, std))
    np.testing.assert_allclose(np.exp(log_p), p, rtol=2e-3, atol=1e-7)


@pytest.mark.parametrize("mean", [-1.0, 1.0])
def test_the_discretized_gaussian_keeps_its_digits_on_both_sides(mean):
    """Twenty and more standard deviations away, against the logarithms of the tails in float64."""
    inner = LEVELS[1:-1]
    x, std = jnp.asarray(inner, jnp.float32)[:, None], 0.05
    log_p = discretized_gaussian()(x, jnp.full_like(x, mean), jnp.float32(std))[:, 0]
    far, near = np.abs(inner - mean) + 1 / 255, np.abs(inner - mean) - 1 / 255
    tail = stats.norm.logsf(near / std)
    expected = tail + np.log(-np.expm1(stats.norm.logsf(far / std) - tail))
    np.testing.assert_allclose(log_p, expected, rtol=1e-4, atol=1e-3)


def test_the_discretized_gaussian_has_finite_gradients_far_from_the_mean():
    x = jnp.asarray(LEVELS, jnp.float32)[:, None]

    def total(mean, std):
        return discretized_gaussian()(x, mean, std).sum()

    for mean in (-1.0, 0.0, 1.0):
        gradients = jax.grad(total, (0, 1))(jnp.full_like(x, mean), jnp.float32(0.01))
        assert all(jnp.isfinite(g).all() for g in gradients)


@pytest.mark.parametrize("name", ["flow", "vp", "shifted_cosine"])
def test_the_continuous_bound_is_exact_for_gaussian_data(name):
    """With the exact denoiser, and the decoder's variance that of x_0 given x_t."""
    schedule, n, t_min = SCHEDULES[name](), 4096, 0.05
    keys = jax.random.split(jax.random.key(0), n)
    x_0 = MEAN + STD * jax.random.normal(jax.random.key(1), (n, 16))
    least = process.noise_added(schedule, 2 * t_min, t_min)
    between = 1 - jnp.log(left(schedule, t_min) / schedule.sigma(t_min) ** 2) / jnp.log(least)
    bound = jax.jit(
        lambda keys, x_0: likelihood.continuous_bound(
            keys, x_0, gaussian_denoiser(schedule), schedule, 32, t_min, between, gaussian
        )
    )(keys, x_0)
    error = np.asarray(bound.total - nll_bits(x_0).mean(1), np.float64)
    standard_error = error.std() / np.sqrt(n)
    assert standard_error < 0.01
    assert abs(error.mean()) < 4.5 * standard_error
    assert bound.steps.shape == (32, n)


def test_the_bound_of_many_steps_is_the_continuous_one():
    """Of images, with a denoiser that is not exact; both in bits of 8-bit levels."""
    schedule = schedules.cosine(1000)
    keys = jax.random.split(jax.random.key(0), 64)
    x_0 = jnp.round(jax.random.uniform(jax.random.key(1), (64, 8, 8, 1)) * 255) / 127.5 - 1

    def denoise(x, t):
        return 0.9 * gaussian_denoiser(schedule)(x, t)

    @jax.jit
    def bounds(keys, x_0):
        discrete = likelihood.variational_bound(keys, x_0, denoise, schedule, grids.linspace(1000), 0.0)
        return discrete, likelihood.continuous_bound(keys, x_0, denoise, schedule, 256, 1e-3)

    discrete, continuous = bounds(keys, x_0)
    np.testing.assert_allclose(discrete.decoder.mean(), continuous.decoder.mean(), rtol=0.05)
    np.testing.assert_allclose(discrete.total.mean(), continuous.total.mean(), rtol=0.02)


def test_bounds_have_finite_gradients_at_both_ends():
    """Towards the schedule and the variance, with alpha = 0 at t = 1 and sigma = 0 at s = 0."""
    keys, x_0 = jax.random.split(jax.random.key(0), 2), jnp.linspace(-1, 1, 8).reshape(2, 2, 2)
    for name in ("flow", "edm", "linear"):

        def total(schedule, variance):
            bound = likelihood.variational_bound(
                keys, x_0, lambda x, t: 0.5 * x, schedule, grids.linspace(3), variance
            )
            return bound.total.sum()

        gradients = jax.jit(jax.grad(total, (0, 1)))(SCHEDULES[name](), jnp.float32(0.5))
        assert all(jnp.isfinite(g).all() for g in jax.tree.leaves(gradients)), name
        assert abs(gradients[1]) > 0


def flow_of(schedule, x_0, t_min):
    """Where the probability flow of Gaussian data takes x_t / alpha from t_min to t = 1, and the derivative."""
    alpha, sigma = float(schedule.alpha(1.0)), float(schedule.sigma(1.0))
    noise = float(schedule.sigma(t_min)) / float(schedule.alpha(t_min))
    slope = np.sqrt((alpha**2 * STD**2 + sigma**2) / (STD**2 + noise**2))
    return alpha * MEAN + slope * (x_0 - MEAN), slope, sigma


@jax.jit
def there_and_back(x_0, schedule, t_min):
    """Gaussian data along the flow to t = 1 and back again: compiled once for all schedules."""
    keys, denoise = jax.random.split(jax.random.key(0), x_0.shape[0]), gaussian_denoiser(schedule)
    there = likelihood.flow_likelihood(keys, x_0, denoise, schedule, t_min=t_min)
    return there, probability_flow.sample(there.x_T, denoise, schedule, t_min)


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_density_of_the_flow_is_that_of_gaussian_data(name):
    """That of the model, whose prior is N(0, sigma(1)^2), for every schedule; that of the data where the prior is that
    of x_T. The two differ by what of the data is left at t = 1. Sampling takes the way back."""
    x_0 = jnp.linspace(-0.7, 1.5, 15).reshape(5, 3)
    result, back = there_and_back(x_0, one_of(SCHEDULES, name), 1e-5)
    x_T, slope, sigma = flow_of(SCHEDULES[name](), np.asarray(x_0, np.float64), 1e-5)
    np.testing.assert_allclose(result.x_T, x_T, rtol=2e-4, atol=2e-4 * sigma)
    model = (stats.norm.logpdf(x_T, 0, sigma) + np.log(slope)).sum(1)
    np.testing.assert_allclose(result.log_density, model, rtol=0, atol=1e-3)
    if name in ("cosine", "flow", "shifted_cosine", "polynomial"):
        exact = stats.norm.logpdf(x_0, MEAN, STD).sum(1)
        np.testing.assert_allclose(result.log_density, exact, rtol=0, atol=1e-3)
    np.testing.assert_allclose(back, x_0, atol=1e-4)


@pytest.mark.parametrize("name", ["flow", "edm"])
def test_the_density_where_the_flow_begins_late(name):
    """That of x_t / alpha at t_min, with the noise that is still in it."""
    t_min, x = 0.2, jnp.linspace(-0.7, 1.5, 15).reshape(5, 3)
    result, _ = there_and_back(x, one_of(SCHEDULES, name), t_min)
    x_T, slope, sigma = flow_of(SCHEDULES[name](), np.asarray(x, np.float64), t_min)
    model = (stats.norm.logpdf(x_T, 0, sigma) + np.log(slope)).sum(1)
    np.testing.assert_allclose(result.log_density, model, rtol=0, atol=1e-3)
    if name == "flow":
        noise = t_min / (1 - t_min)
        exact = stats.norm.logpdf(x, MEAN, np.hypot(STD, noise)).sum(1)
        np.testing.assert_allclose(result.log_density, exact, rtol=0, atol=1e-3)


@pytest.mark.parametrize("name", ["flow", "edm", "vp"])
def test_a_loose_tolerance_does_not_step_over_the_data(name):
    """At both ends of the flow nothing moves: without a longest step one goes from end to end at once."""
    schedule = SCHEDULES[name]()
    x_T = jnp.linspace(-2, 2, 7)[:, None] * schedule.sigma(1.0)
    loose = probability_flow.Tolerance(1e-2, 1e-2)
    x_0 = probability_flow.sample(x_T, gaussian_denoiser(schedule), schedule, 1e-5, loose)
    back, _, _ = flow_of(schedule, np.asarray(x_0, np.float64), 1e-5)
    np.testing.assert_allclose(back, x_T, rtol=0, atol=2e-3 * float(schedule.sigma(1.0)))


WEIGHTS, MEANS, STDS = np.array([0.3, 0.5, 0.2]), np.array([-0.8, 0.1, 0.7]), np.array([0.1, 0.2, 0.05])


def mixture_denoiser(schedule):
    """E[x_0 | x_t] of a mixture in one dimension; x is [B, 1], t a scalar."""

    def denoise(x, t):
        alpha, sigma = schedule.alpha(t), schedule.sigma(t)
        weights, means, stds = (np.asarray(c, x.dtype)[None] for c in (WEIGHTS, MEANS, STDS))
        variance = alpha**2 * stds**2 + sigma**2
        difference = x - alpha * means
        log_p = np.log(weights) - 0.5 * (difference**2 / variance + jnp.log(variance))
        estimates = means + alpha * stds**2 / variance * difference
        return jnp.sum(jax.nn.softmax(log_p) * estimates, 1, keepdims=True)

    return denoise


def mixture(function, x):
    return np.sum(WEIGHTS * function(np.asarray(x, np.float64)[:, None], MEANS, STDS), 1)


@pytest.mark.parametrize("name", ["flow", "cosine"])
def test_the_density_of_the_flow_of_a_mixture(name):
    """Pointwise that of the mixture; its integral is 1; and the flow keeps every quantile in its place."""
    with jax.enable_x64(True):
        schedule = SCHEDULES[name]()
        x = jnp.linspace(-1.5, 1.2, 541)[:, None]
        tolerance = probability_flow.Tolerance(1e-6, 1e-6)
        result = jax.jit(
            lambda x: likelihood.flow_likelihood(
                jax.random.split(jax.random.key(0), 541),
                x,
                mixture_denoiser(schedule),
                schedule,
                tolerance=tolerance,
            )
        )(x)
        density = np.exp(result.log_density)
        np.testing.assert_allclose(density, mixture(stats.norm.pdf, x[:, 0]), rtol=1e-3)
        assert abs(np.trapezoid(density, x[:, 0]) - 1) < 1e-4
        np.testing.assert_allclose(
            stats.norm.cdf(result.x_T[:, 0]), mixture(stats.norm.cdf, x[:, 0]), atol=1e-5
        )


def test_sampling_by_the_flow_keeps_quantiles():
    schedule = schedules.flow()
    x_T = initial_noise(jax.random.split(jax.random.key(0), 256), (1,), schedule)
    x_0 = jax.jit(lambda x: probability_flow.sample(x, mixture_denoiser(schedule), schedule))(x_T)
    assert x_0.dtype == jnp.float32
    np.testing.assert_allclose(
        mixture(stats.norm.cdf, x_0[:, 0]), stats.norm.cdf(np.asarray(x_T[:, 0], np.float64)), atol=2e-3
    )


def test_traces_are_exact_or_unbiased():
    """Gaussian data whose components depend on each other: the Jacobian is not diagonal."""
    covariance = np.array([[0.09, 0.05], [0.05, 0.16]])
    schedule, n = schedules.shifted_cosine(), 2048

    def denoise(x, t):
        alpha, sigma = schedule.alpha(t), schedule.sigma(t)
        inverse = jnp.linalg.inv(alpha**2 * covariance + sigma**2 * jnp.eye(2))
        return MEAN + (x - alpha * MEAN) @ (alpha * covariance @ inverse).T

    x_0 = jnp.broadcast_to(jnp.array([0.6, -0.1]), (n, 2))
    exact = stats.multivariate_normal.logpdf([0.6, -0.1], [MEAN, MEAN], covariance)
    keys = jax.random.split(jax.random.key(0), n)
    spread = {}
    for trace in ("exact", "rademacher", "gaussian"):
        found = likelihood.flow_likelihood(keys, x_0, denoise, schedule, trace).log_density
        error = np.asarray(found, np.float64) - exact
        spread[trace] = error.std()
        assert abs(error.mean()) < 1e-3 + 4.5 * error.std() / np.sqrt(n), trace
    assert spread["exact"] < 1e-3 < spread["rademacher"] < spread["gaussian"]


def test_the_flow_needs_diffrax(monkeypatch):
    monkeypatch.setitem(sys.modules, "diffrax", None)
    schedule = schedules.flow()
    with pytest.raises(UserError, match=r"diffrax: pip install -e '\.\[ode\]'"):
        probability_flow.sample(jnp.zeros((1, 2)), lambda x, t: x, schedule)


def test_an_unknown_trace_is_an_error():
    with pytest.raises(UserError, match="trace = 'hutchinson' is not one of 'rademacher'"):
        likelihood.flow_likelihood.__wrapped__(  # as without the tests' own check of types
            jax.random.split(jax.random.key(0), 1),
            jnp.zeros((1, 2)),
            lambda x, t: x,
            schedules.flow(),
            "hutchinson",
        )


def test_bits_per_dimension_of_evenly_spread_levels_are_eight():
    """All 256 levels equally often, dequantised: their density is 255 / 512."""
    x_0 = jnp.broadcast_to(jnp.asarray(LEVELS, jnp.float32), (400, 256))
    x = np.sort(np.asarray(dequantize(jax.random.split(jax.random.key(0), 400), x_0)).ravel())
    low, high = -1 - 1 / 255, 1 + 1 / 255
    assert low <= x[0] and x[-1] <= high
    assert np.abs((x - low) / (high - low) - (np.arange(x.size) + 0.5) / x.size).max() < 1.95 / np.sqrt(
        x.size
    )
    log_density = jnp.full(3, 12 * np.log(255 / 512))
    np.testing.assert_allclose(bits_per_dimension(log_density, 12), np.full(3, 8), rtol=1e-6)
    np.testing.assert_allclose(
        bits_per_dimension(log_density, 12, 1.0), np.full(3, np.log2(512 / 255)), rtol=1e-6
    )
