"""Order of convergence of the deterministic samplers, measured in float64.

The data is a mixture of two Gaussians, whose exact denoiser is known; the reference is the probability-flow ODE
solved by scipy. Times are uniform in log-SNR, from where hardly anything of the data is left to t > 0, so that the
last step has full order. To add a sampler: a line in `ORDERS`.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax.diffusion import samplers, schedules
from genjax.diffusion.samplers import coordinates
from tests.diffusion.one_of import one_of

pytestmark = pytest.mark.quick_compilation

FULL = {"lower_order_final": False}

# sampler: (its constructor, the order of its error)
ORDERS = {
    "ddim": (samplers.ddim, 1),
    "euler": (samplers.euler, 1),
    "heun": (samplers.heun, 2),
    "heun-flow": (lambda: samplers.heun(coordinates=coordinates.flow), 2),
    "dpm2": (samplers.dpm2, 2),
    "lms-2": (lambda: samplers.lms(2), 2),
    "lms-3": (lambda: samplers.lms(3), 3),
    # Not 4: their weights belong to equal steps in sigma / alpha, and these are equal in its logarithm.
    "ipndm": (samplers.ipndm, 2),
    "pndm": (samplers.pndm, 2),
    "pndm-plms": (lambda: samplers.pndm(skip_runge_kutta=True), 2),
    "dpm_solver_singlestep-1": (lambda: samplers.dpm_solver_singlestep(1, **FULL), 1),
    "dpm_solver_singlestep-2": (lambda: samplers.dpm_solver_singlestep(2, **FULL), 2),
    "dpm_solver_singlestep-2-heun": (lambda: samplers.dpm_solver_singlestep(2, "heun", **FULL), 2),
    "dpm_solver_singlestep-3": (lambda: samplers.dpm_solver_singlestep(3, **FULL), 3),
    "dpm_solver_singlestep-3-heun": (lambda: samplers.dpm_solver_singlestep(3, "heun", **FULL), 3),
    "dpm_solver_multistep-2": (lambda: samplers.dpm_solver_multistep(2, **FULL), 2),
    "dpm_solver_multistep-2-heun": (lambda: samplers.dpm_solver_multistep(2, "heun", **FULL), 2),
    # Not 3: the second difference has half the weight that a quadratic asks for, as in the authors' code.
    "dpm_solver_multistep-3": (lambda: samplers.dpm_solver_multistep(3, **FULL), 2),
    "dpm_solver_pp_2s": (lambda: samplers.dpm_solver_pp_2s(**FULL), 2),
    "dpm_solver_pp_3s": (lambda: samplers.dpm_solver_pp_3s(**FULL), 3),
    "dpm_solver_pp_3s-heun": (lambda: samplers.dpm_solver_pp_3s("heun", **FULL), 3),
    "dpm_solver_pp_2m": (lambda: samplers.dpm_solver_pp_2m(**FULL), 2),
    "dpm_solver_pp_2m-heun": (lambda: samplers.dpm_solver_pp_2m("heun", **FULL), 2),
    "dpm_solver_pp_3m": (lambda: samplers.dpm_solver_pp_3m(**FULL), 2),  # as dpm_solver_multistep-3
    "dpm_solver_pp_2m_sde-ode": (lambda: samplers.dpm_solver_pp_2m_sde(0.0, **FULL), 2),
    "dpm_solver_pp_3m_sde-ode": (lambda: samplers.dpm_solver_pp_3m_sde(0.0, **FULL), 2),
    "dpm_solver_pp_2s_ancestral-ode": (lambda: samplers.dpm_solver_pp_2s_ancestral(0.0), 2),
    "dpm_solver_pp_sde-ode": (lambda: samplers.dpm_solver_pp_sde(0.0), 2),
    "dpm_solver_pp_sde-ode-early": (lambda: samplers.dpm_solver_pp_sde(0.0, r=0.3), 2),
    "deis-1": (lambda: samplers.deis(1, **FULL), 1),
    "deis-2": (lambda: samplers.deis(2, **FULL), 2),
    "deis-3": (lambda: samplers.deis(3, **FULL), 3),
    "unip-2": (lambda: samplers.unipc(2, corrector=False, **FULL), 2),
    "unip-3": (lambda: samplers.unipc(3, corrector=False, **FULL), 3),
    "unipc-1": (lambda: samplers.unipc(1, **FULL), 2),
    "unipc-2": (lambda: samplers.unipc(2, **FULL), 3),
    "unipc-2-bh1": (lambda: samplers.unipc(2, "bh1", **FULL), 3),
    "unipc-3": (lambda: samplers.unipc(3, **FULL), 4),
    "unipc-3-noise": (lambda: samplers.unipc(3, predict="noise", **FULL), 4),
}
SCHEDULES = {"vp": schedules.vp, "ve": lambda: schedules.ve(0.002, 80.0), "flow": schedules.flow}

NUM_STEPS = (192, 384, 768, 1536)  # of which blocks of 2 and 3 are parts
# The data is small against the noise of the first time: the first step of a multistep method is of order 1 (and of a
# corrected one of order 2), which is to be seen in the last result no earlier than the rest of its error.
LAMBDAS = -4.3, 4.1
WEIGHTS, MEANS, STDS = (0.3, 0.7), (-0.1, 0.08), (0.06, 0.09)
X_T = np.linspace(-1.7, 1.7, 12)  # in units of sigma


def denoise(x, alpha, sigma):
    """The exact E[x_0 | x_t]; numpy or jax."""
    np_ = jnp if isinstance(x, jax.Array) else np
    joint, means = [], []
    for weight, mean, std in zip(WEIGHTS, MEANS, STDS, strict=True):
        variance = alpha**2 * std**2 + sigma**2
        rest = x - alpha * mean
        joint.append(weight * np_.exp(-0.5 * rest**2 / variance) / np_.sqrt(variance))
        means.append(mean + alpha * std**2 / variance * rest)
    return sum(p * mean for p, mean in zip(joint, means, strict=True)) / sum(joint)


@functools.cache
def exact():
    """x / alpha at the last time, whatever the schedule: d(x / alpha) / d lambda = x_0 - x / alpha."""
    integrate = pytest.importorskip("scipy.integrate")

    def slope(lambda_, x):
        return denoise(x, 1.0, np.exp(-lambda_)) - x

    x_T = X_T * np.exp(-LAMBDAS[0])
    return integrate.solve_ivp(slope, LAMBDAS, x_T, method="DOP853", rtol=1e-13, atol=1e-14).y[:, -1]


@functools.cache
def runner(constructor):
    """Compiled once for a sampler: the number of steps is traced, the times are padded with the last one."""
    sampler, keys = constructor(), jax.random.split(jax.random.key(0), X_T.size)

    @jax.jit
    def run(x_T, times, num_steps, schedule):
        def step(i, state):
            return sampler.step(keys, *state, times[i], times[i + 1], denoiser, schedule)

        def denoiser(x, t):
            return denoise(x, schedule.alpha(t), schedule.sigma(t))

        return jax.lax.fori_loop(0, num_steps, step, (sampler.init(x_T, times), x_T))[1]

    return run


def errors_of(constructor, schedule_name, grid=lambda u: u):
    """Root mean square errors of x / alpha; `grid` takes [0, 1] to itself, the identity is uniform in lambda."""
    schedule, errors = one_of(SCHEDULES, schedule_name), []
    for num_steps in NUM_STEPS:
        lambdas = LAMBDAS[0] + grid(np.linspace(0, 1, num_steps + 1)) * (LAMBDAS[1] - LAMBDAS[0])
        times = np.asarray(schedule.time(2 * lambdas))
        padded = np.pad(times, (0, max(NUM_STEPS) - num_steps), mode="edge")
        x_T = (X_T * schedule.sigma(times[0]))[:, None]
        x = runner(constructor)(x_T, padded, num_steps, schedule)[:, 0]
        errors.append(float(np.sqrt(np.mean((x / schedule.alpha(times[-1]) - exact()) ** 2))))
    return errors


def order_of(errors):
    return -np.polyfit(np.log(NUM_STEPS), np.log(errors), 1)[0]


@pytest.mark.parametrize("schedule_name", SCHEDULES)
@pytest.mark.parametrize("name", ORDERS)
def test_order_of_convergence(name, schedule_name):
    constructor, order = ORDERS[name]
    with jax.enable_x64(True):
        errors = errors_of(constructor, schedule_name)
    assert abs(order_of(errors) - order) < 0.15, (order_of(errors), errors)
    assert errors[0] < 0.01


def smooth(u):
    return u**2


def jagged(u):
    """The last stage of every block of three is at 0.47 of it, not at 2/3."""
    return u - 0.6 * (np.arange(u.size) % 3 == 2) / (u.size - 1)


@pytest.mark.parametrize(
    ("name", "grid", "order"),
    [
        ("dpm_solver_singlestep-3", smooth, 3),
        ("dpm_solver_singlestep-3", jagged, 2),
        ("dpm_solver_singlestep-3-heun", jagged, 2),
        ("dpm_solver_pp_3s-heun", jagged, 2),
        ("deis-3", jagged, 3),
        ("unip-3", jagged, 3),
        ("unipc-3", jagged, 4),
    ],
)
def test_order_on_other_grids(name, grid, order):
    with jax.enable_x64(True):
        errors = errors_of(ORDERS[name][0], "vp", grid)
    assert abs(order_of(errors) - order) < 0.15, (order_of(errors), errors)
