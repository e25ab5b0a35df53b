"""What the exponential integrators are made of: their integrals against quadrature, what they cost and refuse."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax.diffusion import grids, initial_noise, sample, samplers, schedules
from genjax.diffusion.samplers.exponential import differences, integrals, moment, phi
from genjax.diffusion.samplers.singlestep import block_order
from genjax.typing import UserError

POINTS, POINT_WEIGHTS = np.polynomial.legendre.leggauss(60)
POINTS, POINT_WEIGHTS = 0.5 * (POINTS + 1), 0.5 * POINT_WEIGHTS
K = [-8.0, -0.51, -0.49, -1e-3, 0.0, 1e-5, 0.3, 0.5, 2.0, 20.0]


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_phi_is_its_integral_and_so_is_its_derivative(n):
    """phi_n(z) = int_0^1 exp((1 - u) z) u^(n - 1) / (n - 1)! du; in float32 accurate near 0 too."""
    z = np.array(K)
    kernel = POINTS ** (n - 1) / np.prod(np.arange(1, n)) * POINT_WEIGHTS
    growth = np.exp((1 - POINTS) * z[:, None])
    np.testing.assert_allclose(phi(n, jnp.float32(z)), growth @ kernel, rtol=2e-5)
    with jax.enable_x64(True):
        np.testing.assert_allclose(phi(n, jnp.asarray(z)), growth @ kernel, rtol=1e-12)
        slope = jax.vmap(jax.grad(functools.partial(phi, n)))(jnp.asarray(z))
        np.testing.assert_allclose(slope, growth @ (kernel * (1 - POINTS)), rtol=1e-11)


@pytest.mark.parametrize("k", K)
def test_a_cubic_polynomial_is_integrated_exactly(k):
    def f(u):
        return 0.3 - u + 2 * u**2 - 0.7 * u**3

    with jax.enable_x64(True):
        k, nodes = jnp.asarray(k), [jnp.asarray(u) for u in (0.0, -0.8, 1.0, -2.1)]
        weights = [moment(0, k), *integrals(k, nodes)]
        values = [f(node) for node in nodes]
        actual = sum(w * d for w, d in zip(weights, [values[0], *differences(nodes, values)], strict=True))
        expected = np.sum(POINT_WEIGHTS * k * np.exp(-(1 - POINTS) * k) * f(POINTS))
        np.testing.assert_allclose(actual, expected, rtol=1e-11, atol=1e-13)


def test_estimates_that_do_not_exist_yet_are_finite():
    nodes, values = [jnp.zeros(()), jnp.zeros(()), jnp.zeros(())], [jnp.ones(2), jnp.zeros(2), jnp.zeros(2)]
    for difference in differences(nodes, values):
        assert np.all(np.isfinite(difference))


@pytest.mark.parametrize(
    ("num_steps", "order", "lower", "expected"),
    [
        (6, 3, False, [1, 2, 3, 1, 2, 3]),
        (5, 3, False, [1, 2, 3, 1, 2]),
        (6, 3, True, [1, 2, 3, 1, 2, 1]),
        (7, 3, True, [1, 2, 3, 1, 2, 3, 1]),
        (8, 3, True, [1, 2, 3, 1, 2, 3, 1, 2]),
        (4, 2, True, [1, 2, 1, 1]),
        (5, 2, True, [1, 2, 1, 2, 1]),
        (3, 1, True, [1, 1, 1]),
        (1, 3, True, [1]),
        (2, 3, True, [1, 2]),
    ],
)
def test_orders_in_blocks(num_steps, order, lower, expected):
    assert [*block_order(jnp.arange(num_steps), jnp.asarray(num_steps), order, lower)] == expected


# sampler: (constructor, evaluations of the denoiser in K steps)
COSTS = {
    "dpm_solver_singlestep": (samplers.dpm_solver_singlestep, lambda k: k),
    "dpm_solver_multistep": (samplers.dpm_solver_multistep, lambda k: k),
    "dpm_solver_pp_2m_sde": (samplers.dpm_solver_pp_2m_sde, lambda k: k),
    "unipc": (samplers.unipc, lambda k: k),
    "dpm_solver_pp_sde": (samplers.dpm_solver_pp_sde, lambda k: 2 * k - 1),
    "dpm_solver_pp_2s_ancestral": (samplers.dpm_solver_pp_2s_ancestral, lambda k: 2 * k - 1),
}


@pytest.mark.parametrize("name", COSTS)
@pytest.mark.parametrize("num_steps", [1, 7])
def test_number_of_evaluations_none_of_them_without_noise(name, num_steps):
    constructor, evaluations = COSTS[name]
    schedule, keys, times = schedules.flow(), jax.random.split(jax.random.key(0), 2), []

    def denoise(x, t):
        jax.debug.callback(lambda t: times.append(float(t)), t)
        return 0.5 * jnp.tanh(x)

    x_T = initial_noise(keys, (3,), schedule)
    x_0 = sample(keys, x_T, grids.linspace(num_steps), denoise, constructor(), schedule)
    jax.effects_barrier()
    assert np.all(np.isfinite(x_0))
    assert len(times) == evaluations(num_steps)
    assert min(times) > 0 and max(times) == 1


def denoise(x, t):
    return 0.5 * jnp.tanh(x + t)


def generate(sampler, seed=0, num=3):
    schedule, keys = schedules.cosine(), jax.random.split(jax.random.key(seed), num)
    x_T = initial_noise(keys, (4,), schedule)
    return sample(keys, x_T, grids.linspace(6), denoise, sampler, schedule)


@pytest.mark.parametrize("order", [2, 3])
@pytest.mark.parametrize("solver_type", ["midpoint", "heun"])
def test_a_huge_first_block_does_no_harm(order, solver_type):
    """This schedule falls from lambda = -7.5 by 5.2 in three steps: with order 3 the deviation was 0.08, or 0.95."""
    schedule, std = schedules.sigmoid(), 0.3
    keys = jax.random.split(jax.random.key(0), 512)

    def gaussian(x, t):
        alpha, sigma = schedule.alpha(t), schedule.sigma(t)
        return std**2 * alpha / (alpha**2 * std**2 + sigma**2) * x

    x_T = initial_noise(keys, (8,), schedule)
    sampler = samplers.dpm_solver_singlestep(order, solver_type)
    x_0 = sample(keys, x_T, grids.linspace(100), gaussian, sampler, schedule)
    np.testing.assert_allclose(x_0.std() / x_T.std(), std, rtol=0.03)


def test_eta_may_differ_between_examples():
    etas = jnp.array([0.0, 0.4, 1.0])
    for constructor in (samplers.dpm_solver_pp_2m_sde, samplers.dpm_solver_pp_3m_sde):
        together = generate(constructor(etas))
        for i, eta in enumerate(etas):
            np.testing.assert_allclose(generate(constructor(eta))[i], together[i], atol=1e-6)


@pytest.mark.parametrize(
    ("name", "without_noise"),
    [
        ("dpm_solver_pp_2m_sde", samplers.dpm_solver_pp_2m()),
        ("dpm_solver_pp_3m_sde", samplers.dpm_solver_pp_3m("heun")),
    ],
)
def test_without_noise_an_sde_is_its_ode(name, without_noise):
    sde = getattr(samplers, name)
    np.testing.assert_allclose(generate(sde(0.0)), generate(without_noise), atol=1e-6)
    assert np.abs(generate(sde(0.1)) - generate(without_noise)).max() > 1e-2


@pytest.mark.parametrize(
    "name",
    ["dpm_solver_pp_2m_sde", "dpm_solver_pp_3m_sde", "dpm_solver_pp_sde", "dpm_solver_pp_2s_ancestral"],
)
def test_eta_is_traced_and_differentiable_at_both_ends(name):
    traces = []

    @jax.jit
    @jax.value_and_grad
    def total(eta):
        traces.append(eta)
        return jnp.sum(generate(getattr(samplers, name)(eta)) ** 2)

    values, slopes = zip(*(total(eta) for eta in (0.0, 0.5, 1.0)), strict=True)
    assert len(traces) == 1 and len(set(map(float, values))) == 3
    assert np.all(np.isfinite(slopes)) and np.all(np.array(slopes) != 0)


@pytest.mark.parametrize("name", COSTS)
def test_single_precision_stays_so_beside_a_schedule_in_double(name):
    with jax.enable_x64(True):
        schedule, keys = schedules.cosine(), jax.random.split(jax.random.key(0), 2)
        x_T = jnp.ones((2, 3), jnp.float32)
        x_0 = sample(keys, x_T, grids.linspace(4), lambda x, t: 0.5 * x, COSTS[name][0](), schedule)
        assert schedule.table.dtype == jnp.float64 and x_0.dtype == jnp.float32


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: samplers.dpm_solver_singlestep(4), r"order = 4 must be one of 1, 2, 3"),
        (lambda: samplers.dpm_solver_multistep(1), r"order = 1 must be one of 2, 3"),
        (
            lambda: samplers.dpm_solver_pp_2m("euler"),
            r"solver_type = 'euler' must be one of 'midpoint', 'heun'",
        ),
        (lambda: samplers.dpm_solver_pp_2m_sde(-0.1), r"eta = -0.1 must be in \[0.0, inf\]"),
        (lambda: samplers.dpm_solver_pp_2s_ancestral(1.5), r"eta = 1.5 must be in \[0.0, 1.0\]"),
        (lambda: samplers.dpm_solver_pp_sde(float("nan")), r"eta = nan must be in"),
        (lambda: samplers.dpm_solver_pp_sde(r=0.0), r"r = 0.0 must be in"),
        (lambda: samplers.deis(0), r"order = 0 must be one of 1, 2, 3"),
        (lambda: samplers.unipc(variant="bh3"), r"variant = 'bh3' must be one of 'bh1', 'bh2'"),
        (lambda: samplers.unipc(predict="v"), r"predict = 'v' must be one of 'data', 'noise'"),
    ],
)
def test_mistakes_are_named(make, message):
    with pytest.raises(UserError, match=message):
        make()
