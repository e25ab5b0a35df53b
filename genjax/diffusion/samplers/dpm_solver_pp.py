"""DPM-Solver++: exponential integrators that are polynomial in the estimated clean data.

The data stays in its range where guidance makes the estimated noise large, so that these remain stable where DPM-Solver
does not, and alpha may be 0. Names follow the paper: 2 or 3 is the order, S means singlestep, M multistep. The
stochastic methods with a second evaluation in a step are in `dpm_solver_pp_sde`.
"""

import numpy as np
from jax.typing import ArrayLike

from genjax.diffusion.samplers.base import Sampler, check_range
from genjax.diffusion.samplers.dpm_solver import SOLVER_TYPES
from genjax.diffusion.samplers.exponential import DATA, check_choice
from genjax.diffusion.samplers.multistep import dpm_weights, multistep
from genjax.diffusion.samplers.singlestep import singlestep


def dpm_solver_pp_2s(solver_type: str = "midpoint", lower_order_final: bool = True) -> Sampler:
    """DPM-Solver++(2S), singlestep. Order 2, with one evaluation for each step of the grid.

    Two steps of the grid are one of the paper's.

    Args:
        solver_type: "midpoint" or "heun"; see `singlestep`.
        lower_order_final: whether the last step has order 1; a step to s = 0 always has.

    Raises:
        UserError: if `solver_type` is not one of these.

    Example:
        >>> import jax
        >>> from genjax.diffusion import grids, sample, samplers, schedules
        >>> keys, x_T, schedule = jax.random.key(0)[None], jax.numpy.ones((1, 1)), schedules.shifted_cosine()
        >>> denoise = lambda x_t, t: schedule.alpha(t) * x_t  # of data from N(0, 1), for which x_0 is x_T
        >>> for num_steps in (8, 16):
        ...     x_0 = sample(keys, x_T, grids.linspace(num_steps), denoise, samplers.dpm_solver_pp_2s(), schedule)
        ...     print(f"{x_0.item():.3f}")
        0.901
        0.969

    References:
        Lu et al., "DPM-Solver++: Fast Solver for Guided Sampling of Diffusion Probabilistic Models" (2022),
        algorithm 1.
    """
    check_choice("solver_type", solver_type, SOLVER_TYPES)
    return singlestep(2, DATA, solver_type, lower_order_final)


def dpm_solver_pp_3s(solver_type: str = "midpoint", lower_order_final: bool = True) -> Sampler:
    """DPM-Solver++ singlestep with blocks of three steps. Order 3 on smooth grids (see `dpm_solver_singlestep`).

    Args:
        solver_type: as in `dpm_solver_pp_2s`.
        lower_order_final: as in `dpm_solver_singlestep`.

    Raises:
        UserError: if `solver_type` is not one of these.

    Example:
        >>> import jax
        >>> from genjax.diffusion import grids, sample, samplers, schedules
        >>> keys, x_T, schedule = jax.random.key(0)[None], jax.numpy.ones((1, 1)), schedules.shifted_cosine()
        >>> denoise = lambda x_t, t: schedule.alpha(t) * x_t  # of data from N(0, 1), for which x_0 is x_T
        >>> for sampler in (samplers.dpm_solver_pp_3s("midpoint"), samplers.dpm_solver_pp_3s("heun")):
        ...     print(f"{sample(keys, x_T, grids.linspace(8), denoise, sampler, schedule).item():.3f}")
        0.995
        0.941

    References:
        Lu et al., "DPM-Solver++: Fast Solver for Guided Sampling of Diffusion Probabilistic Models" (2022),
        reference code.
    """
    check_choice("solver_type", solver_type, SOLVER_TYPES)
    return singlestep(3, DATA, solver_type, lower_order_final)


def dpm_solver_pp_2m(solver_type: str = "midpoint", lower_order_final: bool = True) -> Sampler:
    """DPM-Solver++(2M), multistep. Order 2.

    Args:
        solver_type: "midpoint", as in the paper, or "heun", the exact integral of the line through two estimates.
        lower_order_final: whether, if there are fewer than 15 steps, the last has order 1; a step to s = 0
            always has.

    Raises:
        UserError: if `solver_type` is not one of these.

    Example:
        >>> import jax
        >>> from genjax.diffusion import grids, sample, samplers, schedules
        >>> keys, x_T, schedule = jax.random.key(0)[None], jax.numpy.ones((1, 1)), schedules.shifted_cosine()
        >>> denoise = lambda x_t, t: schedule.alpha(t) * x_t  # of data from N(0, 1), for which x_0 is x_T
        >>> for sampler in (samplers.dpm_solver_pp_2m("midpoint"), samplers.dpm_solver_pp_2m("heun")):
        ...     print(f"{sample(keys, x_T, grids.linspace(8), denoise, sampler, schedule).item():.3f}")
        0.961
        0.972

    References:
        Lu et al., "DPM-Solver++: Fast Solver for Guided Sampling of Diffusion Probabilistic Models" (2022),
        algorithm 2.
    """
    check_choice("solver_type", solver_type, SOLVER_TYPES)
    return multistep(2, DATA, dpm_weights(solver_type), lower_order_final)


def dpm_solver_pp_3m(solver_type: str = "midpoint", lower_order_final: bool = True) -> Sampler:
    """DPM-Solver++(3M), multistep. Order 2, with a smaller error than `dpm_solver_pp_2m`.

    The coefficient of the second difference is taken from the authors' code, as other implementations do: half of the
    coefficient that a quadratic polynomial asks for in its leading term, which costs the third order.
    ``unipc(3, corrector=False)`` is the same method with the full quadratic.

    Args:
        solver_type: "midpoint" or "heun", for the steps of order 2.
        lower_order_final: whether, if there are fewer than 15 steps, the last two have order 2 and 1; a step to
            s = 0 always has order 1.

    Raises:
        UserError: if `solver_type` is not one of these.

    Example:
        >>> import jax
        >>> from genjax.diffusion import grids, sample, samplers, schedules
        >>> keys, x_T, schedule = jax.random.key(0)[None], jax.numpy.ones((1, 1)), schedules.shifted_cosine()
        >>> denoise = lambda x_t, t: schedule.alpha(t) * x_t  # of data from N(0, 1), for which x_0 is x_T
        >>> for sampler in (samplers.dpm_solver_pp_2m(), samplers.dpm_solver_pp_3m()):
        ...     print(f"{sample(keys, x_T, grids.linspace(8), denoise, sampler, schedule).item():.3f}")
        0.961
        0.967

    References:
        Lu et al., "DPM-Solver++: Fast Solver for Guided Sampling of Diffusion Probabilistic Models" (2022),
        reference code.
    """
    check_choice("solver_type", solver_type, SOLVER_TYPES)
    return multistep(3, DATA, dpm_weights(solver_type), lower_order_final)


def dpm_solver_pp_2m_sde(
    eta: ArrayLike = 1.0, solver_type: str = "midpoint", lower_order_final: bool = True
) -> Sampler:
    """SDE-DPM-Solver++(2M), multistep. Order 2 for eta = 0.

    Args:
        eta: how much noise a step adds; 0 is `dpm_solver_pp_2m`, 1 is the reverse SDE of Song et al. A scalar, or one
            for each example; it may be traced.
        solver_type: see `dpm_solver_pp_2m`.
        lower_order_final: see `dpm_solver_pp_2m`.

    Raises:
        UserError: if a concrete `eta` is negative, or `solver_type` is not one of these.

    Example:
        >>> import jax
        >>> from genjax.diffusion import grids, sample, samplers, schedules
        >>> keys, x_T, schedule = jax.random.split(jax.random.key(0), 2), jax.numpy.ones((2, 3)), schedules.vp()
        >>> run = lambda sampler: sample(keys, x_T, grids.linspace(6), lambda x, t: 0.5 * x, sampler, schedule)
        >>> difference = run(samplers.dpm_solver_pp_2m_sde(eta=0.0)) - run(samplers.dpm_solver_pp_2m())
        >>> bool(abs(difference).max() < 1e-5)
        True

    References:
        Lu et al., "DPM-Solver++: Fast Solver for Guided Sampling of Diffusion Probabilistic Models" (2022), section 6;
        k-diffusion (`sample_dpmpp_2m_sde`) for eta.
    """
    check_choice("solver_type", solver_type, SOLVER_TYPES)
    check_range("eta", eta, 0.0, np.inf)
    return multistep(2, DATA, dpm_weights(solver_type), lower_order_final, eta)


def dpm_solver_pp_3m_sde(
    eta: ArrayLike = 1.0, solver_type: str = "heun", lower_order_final: bool = True
) -> Sampler:
    """SDE-DPM-Solver++(3M), multistep; for eta = 0 as `dpm_solver_pp_3m` of the same `solver_type`.

    Args:
        eta: as in `dpm_solver_pp_2m_sde`; a scalar, or one for each example.
        solver_type: as in `dpm_solver_pp_3m`; "heun" by default, unlike there.
        lower_order_final: as in `dpm_solver_pp_3m`.

    Raises:
        UserError: if a concrete `eta` is negative, or `solver_type` is not one of these.

    Example:
        >>> import jax
        >>> from genjax.diffusion import grids, sample, samplers, schedules
        >>> keys, x_T, schedule = jax.random.split(jax.random.key(0), 2), jax.numpy.ones((2, 3)), schedules.vp()
        >>> run = lambda sampler: sample(keys, x_T, grids.linspace(6), lambda x, t: 0.5 * x, sampler, schedule)
        >>> difference = run(samplers.dpm_solver_pp_3m_sde(eta=0.0)) - run(samplers.dpm_solver_pp_3m("heun"))
        >>> bool(abs(difference).max() < 1e-5)
        True

    References:
        k-diffusion (`sample_dpmpp_3m_sde`).
    """
    check_choice("solver_type", solver_type, SOLVER_TYPES)
    check_range("eta", eta, 0.0, np.inf)
    return multistep(3, DATA, dpm_weights(solver_type), lower_order_final, eta)
