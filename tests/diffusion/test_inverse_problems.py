"""Guidance by measurements: against Bayes' formula for normal data, and what must hold exactly."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax.diffusion import grids, guidance, initial_noise, process, sample, schedules
from genjax.diffusion.guidance import operators
from genjax.diffusion.samplers import ddim, ddpm
from genjax.typing import UserError

MEAN, STD, NOISE_STD = 0.4, 0.6, 0.2
SHAPE = (4, 4, 1)
MATRIX = np.random.default_rng(0).normal(size=(5, 16)) / 4
MASK = np.random.default_rng(1).random(SHAPE) < 0.4
POOL = operators.average_pool(2)
KEYS = jax.random.split(jax.random.key(0), 3)


def project(x):
    """A linear operator without structure."""
    return x.reshape(x.shape[0], 16) @ jnp.asarray(MATRIX.T, x.dtype)


# Operator, A A^T where it is a number, and the matrix.
OPERATORS = {
    "matrix": (project, None),
    "pool": (POOL, None),
    "pool, gram known": (POOL, 1 / 4),
    "mask": (operators.masked(MASK), None),
    "mask, gram known": (operators.masked(MASK), 1.0),
}
each_operator = pytest.mark.parametrize("name", OPERATORS)


def matrix_of(operator):
    return np.asarray(operator(jnp.eye(16).reshape(16, *SHAPE)).reshape(16, -1).T, np.float64)


def exact(schedule):
    """The exact denoiser of N(MEAN, STD^2)."""

    def denoise(x, t):
        alpha, sigma = schedule.alpha(t), schedule.sigma(t)
        gain = STD**2 * alpha / (alpha**2 * STD**2 + sigma**2)
        return MEAN + process.expand(gain, x) * (x - process.expand(alpha, x) * MEAN)

    return denoise


def curved(x, t):
    return jnp.tanh(x + 0.1 * jnp.roll(x, 1, 1))


def bayes(mean, variance, matrix, y, noise_std):
    """Mean [16] and covariance [16, 16] of N(mean, variance) given y = A x + noise_std noise."""
    gain = (
        variance
        * matrix.T
        @ np.linalg.pinv(variance * matrix @ matrix.T + noise_std**2 * np.eye(len(matrix)))
    )
    return mean + gain @ (y - matrix @ mean), variance * (np.eye(16) - gain @ matrix)


def measure(operator, noise_std):
    x_0 = MEAN + STD * jax.random.normal(jax.random.key(1), (1, *SHAPE))
    y = operator(x_0)
    noise = jnp.where(y != 0, jax.random.normal(jax.random.key(2), y.shape), 0)  # none off the mask
    return (y + noise_std * noise)[0]


def test_average_pool_is_the_mean_of_squares():
    x = jnp.arange(2 * 4 * 6 * 3.0).reshape(2, 4, 6, 3)
    actual = operators.average_pool(2)(x)
    assert actual.shape == (2, 2, 3, 3)
    np.testing.assert_allclose(actual[1, 0, 2, 1], x[1, :2, 4:, 1].mean(), rtol=1e-6)
    with pytest.raises(UserError, match="size = 4 must divide the height and width of the images, 4 and 6"):
        operators.average_pool(4)(x)


@each_operator
def test_the_transpose_and_the_gram_number_are_those_of_the_operator(name):
    operator, gram = OPERATORS[name]
    matrix = matrix_of(operator)
    back = operators.transpose(operator, jnp.zeros((1, *SHAPE)))
    y = measure(operator, 0.0)
    np.testing.assert_allclose(back(y[None]).reshape(16), matrix.T @ np.asarray(y).reshape(-1), atol=1e-6)
    if gram is not None:
        np.testing.assert_allclose(matrix @ matrix.T @ matrix, gram * matrix, atol=1e-6)


def test_conjugate_gradients_solve_each_example_on_its_own():
    """Ill-conditioned by 1e3; one example is 0, and one far larger than the other.

    Alone and in a batch numbers are rounded otherwise, by 1e-16, which comes to 1e-10 in what is ill-conditioned.
    """
    with jax.enable_x64(True):
        scales = np.logspace(0, -1.5, 5)[:, None]
        matrix = scales * np.linalg.qr(MATRIX.T)[0].T
        operator = lambda x: x @ matrix.T  # noqa: E731
        back = operators.transpose(operator, jnp.zeros((3, 16)))
        b = jnp.asarray(np.random.default_rng(3).normal(size=(3, 5)) * np.array([[1], [0], [1e6]]))
        weight, ridge = jnp.array([1.0, 1.0, 0.5]), jnp.array([0.0, 0.0, 0.5])
        solution = operators.solve(operator, back, b, weight, ridge)
        for i in range(3):
            system = weight[i] * matrix @ matrix.T + ridge[i] * np.eye(5)
            np.testing.assert_allclose(solution[i], np.linalg.solve(system, b[i]), rtol=1e-4)
            alone_back = operators.transpose(operator, jnp.zeros((1, 16)))
            alone = operators.solve(operator, alone_back, b[i : i + 1], weight[i], ridge[i])
            np.testing.assert_allclose(solution[i], alone[0], rtol=1e-8)


@each_operator
@pytest.mark.parametrize("noise_std", [0.0, NOISE_STD])
@pytest.mark.parametrize("kind", ["vp", "flow", "ve"])
def test_pigdm_is_the_exact_posterior_denoiser_of_normal_data(name, noise_std, kind):
    """E[x_0 | x_t, y]: first Bayes' formula for x_t, then for y."""
    schedule = schedules.SCHEDULES[kind]()
    operator, gram = OPERATORS[name]
    matrix, y = matrix_of(operator), measure(operator, noise_std)
    denoise = guidance.pigdm(exact(schedule), schedule, operator, y, noise_std, STD, gram=gram)
    times = jnp.array([0.02, 0.5, 0.9])
    noise = jax.random.normal(jax.random.key(3), (3, *SHAPE))
    x = process.add_noise(schedule, jnp.full((3, *SHAPE), 0.7), noise, times)
    actual = np.asarray(denoise(x, times)).reshape(3, 16)
    for i, t in enumerate(times):
        estimate = np.asarray(exact(schedule)(x, times)[i], np.float64).reshape(16)
        variance = 1 / (1 / STD**2 + np.exp(np.float64(schedule.log_snr(t))))
        expected, _ = bayes(estimate, variance, matrix, np.asarray(y, np.float64).reshape(-1), noise_std)
        np.testing.assert_allclose(actual[i], expected, atol=3e-4 if kind == "ve" else 5e-5)


@pytest.mark.parametrize("name", ["matrix", "pool, gram known"])
def test_ddim_with_pigdm_samples_the_posterior(name):
    """All is linear in x_T, so that its derivative gives the mean and covariance of the samples."""
    operator, gram = OPERATORS[name]
    schedule, y = schedules.flow(), measure(operator, NOISE_STD)
    denoise = guidance.pigdm(exact(schedule), schedule, operator, y, NOISE_STD, STD, gram=gram)

    def generate(x_T):
        times = grids.linspace(500)
        return sample(KEYS[:1], x_T.reshape(1, *SHAPE), times, denoise, ddim(), schedule).reshape(16)

    mean, covariance = bayes(
        np.full(16, MEAN), STD**2, matrix_of(operator), np.asarray(y, np.float64).reshape(-1), NOISE_STD
    )
    assert np.abs(mean - MEAN).max() > 0.2 and np.diag(covariance).min() < 0.9 * STD**2
    center, derivative = jax.jit(lambda x: (generate(x), jax.jacfwd(generate)(x)))(jnp.zeros(16))
    np.testing.assert_allclose(center, mean, atol=0.005)
    np.testing.assert_allclose(derivative @ derivative.T, covariance, atol=0.005)


def test_ddpm_with_pigdm_samples_the_posterior():
    schedule, y = schedules.cosine(), measure(POOL, NOISE_STD)
    keys = jax.random.split(jax.random.key(5), 8192)
    denoise = guidance.pigdm(exact(schedule), schedule, POOL, y, NOISE_STD, STD, gram=1 / 4)

    @jax.jit
    def generate():
        return sample(
            keys, initial_noise(keys, SHAPE, schedule), grids.linspace(200), denoise, ddpm(), schedule
        )

    samples = np.asarray(generate(), np.float64).reshape(-1, 16)
    mean, covariance = bayes(
        np.full(16, MEAN), STD**2, matrix_of(POOL), np.asarray(y, np.float64).reshape(-1), NOISE_STD
    )
    np.testing.assert_allclose(samples.mean(0), mean, atol=0.03)
    np.testing.assert_allclose(np.cov(samples.T), covariance, atol=0.03)


@pytest.mark.parametrize(
    "sampler", [ddim(), ddim(1.0), ddpm(), ddpm(1.0)], ids=["ddim", "ddim 1", "ddpm", "ddpm 1"]
)
@pytest.mark.parametrize("kind", ["linear", "flow", "ve"])
def test_inpainting_keeps_known_pixels_bit_for_bit(sampler, kind):
    schedule = schedules.SCHEDULES[kind]()
    known = jax.random.uniform(jax.random.key(4), SHAPE, minval=-1)

    @jax.jit
    def generate(known, mask):
        denoise = guidance.inpaint(guidance.clip(curved), known, mask)
        x_T = initial_noise(KEYS, SHAPE, schedule)
        return sample(KEYS, x_T, grids.linspace(6), denoise, sampler, schedule)

    samples = np.asarray(generate(known, jnp.asarray(MASK)))
    np.testing.assert_array_equal(samples[:, MASK], np.broadcast_to(known[MASK], (3, MASK.sum())))
    assert np.all(samples[:, ~MASK] != known[~MASK][None])


@each_operator
@pytest.mark.parametrize("sampler", [ddim(), ddpm()], ids=["ddim", "ddpm"])
def test_ddnm_samples_satisfy_the_measurement(name, sampler):
    operator, gram = OPERATORS[name]
    schedule, y = schedules.linear(), measure(operator, 0.0)
    denoise = guidance.ddnm(curved, operator, y, gram)
    x_T = initial_noise(KEYS, SHAPE, schedule)
    samples = jax.jit(lambda: sample(KEYS, x_T, grids.linspace(5), denoise, sampler, schedule))()
    np.testing.assert_allclose(operator(samples), jnp.tile(y, (3,) + (1,) * y.ndim), rtol=0, atol=1e-5)
    assert np.abs(operator(curved(x_T, 0)) - y[None]).max() > 0.1


def test_ddnm_moves_the_estimate_along_the_pseudoinverse_only():
    y, x, t = measure(project, 0.0), jax.random.normal(jax.random.key(6), (2, *SHAPE)), jnp.float32(0.5)
    estimate = np.asarray(curved(x, t), np.float64).reshape(2, 16)
    expected = estimate + (np.asarray(y) - estimate @ MATRIX.T) @ np.linalg.pinv(MATRIX).T
    np.testing.assert_allclose(guidance.ddnm(curved, project, y)(x, t).reshape(2, 16), expected, atol=1e-5)


def test_ddnm_with_a_mask_is_inpainting():
    known, x, t = jnp.full(SHAPE, 0.25), jax.random.normal(jax.random.key(6), (2, *SHAPE)), jnp.float32(0.5)
    operator = operators.masked(MASK)
    np.testing.assert_allclose(
        guidance.ddnm(curved, operator, operator(known[None])[0], 1.0)(x, t),
        guidance.inpaint(curved, known, MASK)(x, t),
        atol=1e-6,
    )


@pytest.mark.parametrize("name", ["matrix", "pool", "mask"])
def test_dps_in_closed_form_for_normal_data(name):
    """sigma^2 / alpha times the derivative of the exact estimate is the variance of x_0 given x_t."""
    operator, _ = OPERATORS[name]
    schedule, y, scales = schedules.cosine(), measure(operator, 0.0), jnp.array([0.0, 1.0, 2.5])
    x, t = jax.random.normal(jax.random.key(6), (3, *SHAPE)), jnp.float32(0.4)
    actual = guidance.dps(exact(schedule), schedule, operator, y, scales)(x, t)
    variance = 1 / (1 / STD**2 + np.exp(schedule.log_snr(t)))
    estimate = np.asarray(exact(schedule)(x, t)).reshape(3, 16)
    residual = np.asarray(y).reshape(-1) - estimate @ matrix_of(operator).T
    direction = residual / np.linalg.norm(residual, axis=1, keepdims=True) @ matrix_of(operator)
    expected = estimate + variance * np.asarray(scales)[:, None] * direction
    np.testing.assert_allclose(actual.reshape(3, 16), expected, atol=1e-5)


def test_dps_can_be_the_step_of_the_paper():
    """Chung et al. (2023), algorithm 1: zeta times the gradient of the distance is subtracted after a step."""
    schedule, zeta, y = schedules.linear(), 0.3, measure(POOL, 0.0)
    betas = jnp.linspace(1e-4, 0.02, 1000)
    x, i = jax.random.normal(jax.random.key(6), (3, *SHAPE)), 400
    t, s = jnp.float32(i / 1000), jnp.float32((i - 1) / 1000)

    def scale(t):
        beta = betas[jnp.round(t * 1000).astype(int) - 1]
        return zeta * jnp.sqrt(1 - beta) / beta

    step = functools.partial(ddpm().step, KEYS, (), x, t, s)
    unguided = step(curved, schedule)[1]
    guided = step(guidance.dps(curved, schedule, POOL, y, scale), schedule)[1]

    def distance(x):
        return jnp.sum(jnp.sqrt(jnp.sum((y[None] - POOL(curved(x, t))) ** 2, (1, 2, 3))))

    np.testing.assert_allclose(guided, unguided - zeta * jax.grad(distance)(x), atol=2e-4)
    assert np.abs(guided - unguided).max() > 0.01


def test_dps_takes_nonlinear_operators_and_a_distance_of_zero():
    x, t, schedule = jax.random.normal(jax.random.key(6), (2, *SHAPE)), jnp.float32(0.4), schedules.cosine()
    y = jnp.abs(curved(x, t)).at[1].add(0.1)
    actual = guidance.dps(curved, schedule, jnp.abs, y, 1.0)(x, t)
    np.testing.assert_array_equal(actual[0], curved(x, t)[0])
    assert np.all(np.isfinite(actual)) and np.abs(actual[1] - curved(x, t)[1]).max() > 1e-3


@pytest.mark.parametrize("kind", ["flow", "cosine"])
def test_nothing_is_guided_where_nothing_of_the_data_is_left(kind):
    """alpha(1) = 0 in a flow; in `shifted_cosine`, too."""
    schedule = schedules.flow() if kind == "flow" else schedules.shifted_cosine()
    x, t, y = jax.random.normal(jax.random.key(6), (2, *SHAPE)), jnp.float32(1.0), measure(POOL, 0.0)
    for denoise in (
        guidance.pigdm(curved, schedule, POOL, y),
        guidance.dps(curved, schedule, POOL, y),
        guidance.classifier(curved, lambda x, t: -jnp.sum(x**2, (1, 2, 3)), schedule),
    ):
        np.testing.assert_array_equal(denoise(x, t), curved(x, t))


def test_pigdm_is_finite_without_noise():
    """At t = 0 a noisy measurement says nothing new, and one without noise is 0 / 0 if divided by r^2."""
    x, t, y = jax.random.normal(jax.random.key(6), (2, *SHAPE)), jnp.float32(0.0), measure(POOL, 0.0)
    noisy, noiseless = (
        guidance.pigdm(lambda x, t: x, schedules.flow(), POOL, y, noise_std) for noise_std in (0.1, 0.0)
    )
    np.testing.assert_array_equal(noisy(x, t), x)
    np.testing.assert_allclose(POOL(noiseless(x, t)), jnp.tile(y, (2, 1, 1, 1)), atol=1e-5)
