"""DPM-Solver: exponential integrators of the probability-flow ODE that are polynomial in the estimated noise."""

from genjax.diffusion.samplers.base import Sampler
from genjax.diffusion.samplers.exponential import NOISE, check_choice
from genjax.diffusion.samplers.multistep import dpm_weights, multistep
from genjax.diffusion.samplers.singlestep import singlestep

SOLVER_TYPES = ("midpoint", "heun")


def dpm_solver_singlestep(
    order: int = 3, solver_type: str = "midpoint", lower_order_final: bool = True
) -> Sampler:
    """DPM-Solver-1, -2 and -3. Order 1, 2, 3, with one evaluation for each step of the grid.

    The grid points are the inner stages: `order` steps are one step of the paper's, whose inner stages lie where
    the grid has put them. Order 3 needs the last one at 2/3 of the block in log-SNR. There it is, nearly enough, on
    every grid that varies smoothly; on others the order is 2. Steps that end more than 4.5 in lambda from where their
    block began, as all do that begin where alpha is 0, have order 1: they would multiply errors by exp(4.5) and more.

    Args:
        order: 1 (the same as DDIM), 2 or 3.
        solver_type: "midpoint" or "heun": how estimates are combined in the block; see `singlestep`.
        lower_order_final: whether the last step has order 1 or, where blocks of three leave two steps, the last two
            have order 1 and 2; a step to s = 0 always has order 1.

    Raises:
        UserError: if `order` or `solver_type` is not one of these.

    Example:
        >>> import jax
        >>> from genjax.diffusion import grids, sample, samplers, schedules
        >>> keys, x_T, schedule = jax.random.key(0)[None], jax.numpy.ones((1, 1)), schedules.shifted_cosine()
        >>> denoise = lambda x_t, t: schedule.alpha(t) * x_t  # of data from N(0, 1), for which x_0 is x_T
        >>> for sampler in (samplers.ddim(), samplers.dpm_solver_singlestep(1), samplers.dpm_solver_singlestep(3)):
        ...     print(f"{sample(keys, x_T, grids.linspace(8), denoise, sampler, schedule).item():.3f}")
        0.856
        0.856
        0.906

    References:
        Lu et al., "DPM-Solver: A Fast ODE Solver for Diffusion Probabilistic Model Sampling" (2022), equation 3.7,
        algorithms 1 and 2, and section 3.4.
    """
    check_choice("order", order, (1, 2, 3))
    check_choice("solver_type", solver_type, SOLVER_TYPES)
    return singlestep(order, NOISE, solver_type, lower_order_final)


def dpm_solver_multistep(
    order: int = 2, solver_type: str = "midpoint", lower_order_final: bool = True
) -> Sampler:
    """DPM-Solver with the noise extrapolated from the last steps. Order 2, and with `order` = 3 still 2.

    With `order` = 3 the coefficient of the second difference is taken from the authors' code, as other implementations
    do: half of what a quadratic polynomial asks for in its leading term. The error is smaller than with `order` = 2,
    but falls with the same power of the step; `deis(3)` is the same method with the full quadratic, of order 3.

    Args:
        order: 2 or 3.
        solver_type: "midpoint" or "heun": a step of order 2 by the rule of the midpoint or the exact integral of the
            line through two estimates.
        lower_order_final: whether, if there are fewer than 15 steps, the last two have order 2 and 1; a step to
            s = 0 always has order 1.

    Raises:
        UserError: if `order` or `solver_type` is not one of these.

    Example:
        >>> import jax
        >>> from genjax.diffusion import grids, sample, samplers, schedules
        >>> keys, x_T, schedule = jax.random.key(0)[None], jax.numpy.ones((1, 1)), schedules.shifted_cosine()
        >>> denoise = lambda x_t, t: schedule.alpha(t) * x_t  # of data from N(0, 1), for which x_0 is x_T
        >>> for sampler in (samplers.dpm_solver_multistep(2), samplers.dpm_solver_multistep(3)):
        ...     print(f"{sample(keys, x_T, grids.linspace(8), denoise, sampler, schedule).item():.3f}")
        0.942
        0.946

    References:
        Lu et al., "DPM-Solver: A Fast ODE Solver for Diffusion Probabilistic Model Sampling" (2022), reference code.
    """
    check_choice("order", order, (2, 3))
    check_choice("solver_type", solver_type, SOLVER_TYPES)
    return multistep(order, NOISE, dpm_weights(solver_type), lower_order_final)
