"""Diffusion exponential integrator sampler (DEIS)."""

from genjax.diffusion.samplers.base import Sampler
from genjax.diffusion.samplers.exponential import NOISE, check_choice, integrals
from genjax.diffusion.samplers.multistep import multistep


def deis(order: int = 3, lower_order_final: bool = True) -> Sampler:
    """DEIS with a polynomial in log(rho), rho = sigma / alpha: the noise extrapolated from the last steps.

    Order 1, 2, 3 (the paper's log-rho AB0, AB1, AB2). log(rho) is -lambda, so it is an exact exponential Adams
    method for the noise.

    Args:
        order: 1 (the same as DDIM), 2 or 3.
        lower_order_final: whether, if there are fewer than 15 steps, the last two have order 2 and 1; a step to
            s = 0 always has order 1.

    Raises:
        UserError: if `order` is not one of these.

    Example:
        >>> import jax
        >>> from genjax.diffusion import grids, sample, samplers, schedules
        >>> keys, x_T, schedule = jax.random.key(0)[None], jax.numpy.ones((1, 1)), schedules.shifted_cosine()
        >>> denoise = lambda x_t, t: schedule.alpha(t) * x_t  # of data from N(0, 1), for which x_0 is x_T
        >>> for sampler in (samplers.deis(1), samplers.deis(2), samplers.deis(3)):
        ...     print(f"{sample(keys, x_T, grids.linspace(8), denoise, sampler, schedule).item():.3f}")
        0.856
        0.934
        0.944

    References:
        Zhang and Chen, "Fast Sampling of Diffusion Models with Exponential Integrator" (2023), equations 14 and 15, and
        section 3 on the change of variable to rho.
    """
    check_choice("order", order, (1, 2, 3))
    return multistep(order, NOISE, lambda k, nodes, order: integrals(k, nodes), lower_order_final)
