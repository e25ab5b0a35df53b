"""How probable a diffusion model makes data: bounds from its steps, and the density of its probability flow.

The bounds are in bits per dimension: of levels with the decoder `discretized_gaussian`, of a density with `gaussian`.
"""

import math
from collections.abc import Callable
from typing import Literal, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Float, Key

from genjax.diffusion import probability_flow
from genjax.diffusion.decoders import Decoder, discretized_gaussian
from genjax.diffusion.prediction import Denoiser
from genjax.diffusion.process import add_noise, expand, noise_added
from genjax.diffusion.samplers.base import normal
from genjax.diffusion.schedules import Schedule
from genjax.random import fold_in
from genjax.typing import Array, UserError

Variance: TypeAlias = ArrayLike | Callable[[Array, Array], Array]
"""Of the model's steps, as in `genjax.diffusion.samplers.ddpm`: between its bounds, on a logarithmic scale."""

_IMAGES = discretized_gaussian()
_LARGEST_LOG_SNR = 60.0
_LOWEST_LOG_SNR = -20.0


class Bound(NamedTuple):
    """An upper bound of -log2 p(x_0), in bits per dimension, by its terms.

    Attributes:
        prior: float[B], what x_T tells of x_0.
        steps: float[K, B], what each step adds.
        decoder: float[B], what is left to be told of x_0 at the last.
    """

    prior: Array
    steps: Array
    decoder: Array

    @property
    def total(self) -> Array:
        """float[B], the bound."""
        return self.prior + self.steps.sum(0) + self.decoder


def step_bits(
    schedule: Schedule,
    x_0: Float[Array, "B *shape"],
    estimate: Float[Array, "B *shape"],
    t: Float[ArrayLike, ""] | Float[ArrayLike, "B"],
    s: Float[ArrayLike, ""] | Float[ArrayLike, "B"],
    variance: ArrayLike,
    decoder: Decoder,
) -> Float[Array, "B"]:
    """One term of the bound, in bits per dimension.

    It is KL(q(x_s | x_t, x_0) || p(x_s | x_t)), and -log p(x_0 | x_t) at s = 0. The variance of p lies between the
    variance of q and the variance of the forward step. At s = 0, where q has no variance, the variance of the posterior
    takes its place, from 2 t to t: on an equally spaced grid, of the step before.

    Args:
        estimate: x0_hat at x_t.
        variance: from 0 to 1, between the two on a logarithmic scale; scalar, [B] or [B, ...].

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax.diffusion import decoders, likelihood, schedules
        >>> x_0, estimate = jnp.zeros((2, 3)), jnp.array([[0.0] * 3, [0.5] * 3])  # the second is off
        >>> bits = likelihood.step_bits(schedules.flow(), x_0, estimate, 0.5, 0.25, 0.0, decoders.gaussian)
        >>> print(*(f"{x:.3f}" for x in bits))
        0.000 1.443

    References:
        Ho et al., "Denoising Diffusion Probabilistic Models" (2020), equation 5; Nichol and Dhariwal, "Improved
        Denoising Diffusion Probabilistic Models" (2021), equation 15; Kingma et al., "Variational Diffusion Models"
        (2021), appendix E, for the difference of the means.
    """
    t, s = jnp.asarray(t), jnp.asarray(s)
    between = expand(variance, x_0)
    is_last = s <= 0
    s = jnp.where(is_last, 0.5 * t, s)  # a value, never used, at which all is finite

    log_sigma = jnp.log(schedule.sigma(t))
    log_ratio = 2 * between * expand(jnp.log(schedule.sigma(s)) - log_sigma, x_0)  # of the variances, q / p
    snr = jnp.exp(jnp.minimum(schedule.log_snr(s), _LARGEST_LOG_SNR)) * noise_added(schedule, t, s)
    distance = expand(snr, x_0) * jnp.square(x_0 - estimate)
    divergence = 0.5 * (jnp.expm1(log_ratio) - log_ratio + jnp.exp(log_ratio) * distance)

    added = noise_added(schedule, jnp.minimum(2 * t, 1), t)
    least = jnp.log(jnp.where(added > 0, added, 1))  # no step before t = 1
    std = jnp.exp(expand(log_sigma, x_0) + 0.5 * (1 - between) * expand(least, x_0))
    nats = jnp.where(expand(is_last, x_0), -decoder(x_0, estimate, std), divergence)
    return _mean(nats) / math.log(2)


def variational_bound(
    keys: Key[Array, "B"],
    x_0: Float[Array, "B *shape"],
    denoise: Denoiser,
    schedule: Schedule,
    times: Float[Array, "K_plus_1"],
    variance: Variance = 0.0,
    decoder: Decoder = _IMAGES,
) -> Bound:
    """The bound of the model that `ddpm` samples from, on the same grid: one draw of the noise for each term.

    Args:
        keys: one key per example; average over several for less variance.
        x_0: in [-1, 1] for the default decoder, which is for 8-bit images.
        denoise: called with all examples and a scalar time. Not clipped, if the bound is to be of a density.
        times: times of the sampler: decreasing, from 1 to 0; the last step is the decoder.
        variance: the same argument as in `genjax.diffusion.samplers.ddpm`.

    Example:
        >>> import jax
        >>> from genjax.diffusion import grids, likelihood, schedules
        >>> keys, x_0 = jax.random.split(jax.random.key(0), 1), jax.numpy.zeros((1, 3))
        >>> denoise = lambda x_t, t: 0 * x_t  # it knows x_0, so that only the decoder has something to tell
        >>> bound = likelihood.variational_bound(keys, x_0, denoise, schedules.cosine(), grids.linspace(20))
        >>> print(*(f"{x.item():.2f}" for x in (bound.prior, bound.steps.sum(0), bound.decoder)))
        0.00 0.00 4.60

    References:
        Ho et al., "Denoising Diffusion Probabilistic Models" (2020), equation 5.
    """

    def term(_: None, inputs: tuple[Array, Array, Array]) -> tuple[None, Array]:
        i, t, s = inputs
        x_t = add_noise(schedule, x_0, _noise(keys, i, x_0), t)
        between = variance(x_t, t) if callable(variance) else variance
        return None, step_bits(schedule, x_0, denoise(x_t, t), t, s, between, decoder)

    _, terms = jax.lax.scan(term, None, (jnp.arange(times.size - 1), times[:-1], times[1:]))
    return Bound(_prior_bits(schedule, x_0, times[0]), terms[:-1], terms[-1])


def continuous_bound(
    keys: Key[Array, "B"],
    x_0: Float[Array, "B *shape"],
    denoise: Denoiser,
    schedule: Schedule,
    num_samples: int = 64,
    t_min: Float[ArrayLike, ""] = 1e-3,
    variance: Variance = 0.0,
    decoder: Decoder = _IMAGES,
) -> Bound:
    """The bound in the limit of infinitely many steps down to t_min, and a decoder from there.

    The integral of SNR ||x_0 - x0_hat||^2 / 2 over the log-SNR is estimated at `num_samples` evenly spread values,
    moved by one random number for each example. Log-SNRs below -20 are left out: together they hold less than 1e-8
    of the squared error.

    Args:
        keys: one key per example.
        x_0: in [-1, 1] for the default decoder, which is for 8-bit images.
        denoise: called with all examples and one time for each.
        variance: variance of the decoder.

    Returns:
        The bound; `steps` has one row for each sample.

    Example:
        >>> import jax
        >>> from genjax.diffusion import decoders, likelihood, schedules
        >>> keys, x_0, schedule = jax.random.split(jax.random.key(0), 20), jax.numpy.zeros((20, 1000)), schedules.vp()
        >>> denoise = lambda x_t, t: schedule.alpha(t).reshape(-1, 1) * x_t  # of standard normal data
        >>> bound = likelihood.continuous_bound(keys, x_0, denoise, schedule, variance=1.0, decoder=decoders.gaussian)
        >>> bool(abs(bound.total.mean() - 1.325) < 0.1)  # log2(2 pi) / 2, the exact value
        True

    References:
        Kingma et al., "Variational Diffusion Models" (2021), equations 11 and 18; appendix I.1 for the even spread.
    """
    highest = jnp.minimum(schedule.log_snr(t_min), _LARGEST_LOG_SNR)
    span = highest - jnp.maximum(schedule.log_snr(1.0), _LOWEST_LOG_SNR)
    offset = jax.vmap(lambda key: jax.random.uniform(jax.random.fold_in(key, num_samples + 1)))(keys)

    def term(_: None, i: Array) -> tuple[None, Array]:
        t = schedule.time(highest - span * jnp.mod(offset + i / num_samples, 1.0))
        estimate = denoise(add_noise(schedule, x_0, _noise(keys, i, x_0), t), t)
        snr = jnp.exp(jnp.clip(schedule.log_snr(t), _LOWEST_LOG_SNR, highest))
        return None, 0.5 * span * snr * _mean(jnp.square(x_0 - estimate)) / (num_samples * math.log(2))

    _, terms = jax.lax.scan(term, None, jnp.arange(num_samples))
    t = jnp.asarray(t_min)
    x_t = add_noise(schedule, x_0, _noise(keys, num_samples, x_0), t)
    between = variance(x_t, t) if callable(variance) else variance
    decoded = step_bits(schedule, x_0, denoise(x_t, t), t, jnp.zeros_like(t), between, decoder)
    return Bound(_prior_bits(schedule, x_0, 1.0), terms, decoded)


class FlowLikelihood(NamedTuple):
    """What `flow_likelihood` finds.

    Attributes:
        log_density: float[B], of x_0, in nats; see `genjax.diffusion.decoders.bits_per_dimension`.
        x_T: float[B, ...], where the flow takes x_0 at t = 1.
        num_steps: int[], steps tried; each evaluates the denoiser and its derivative six times.
    """

    log_density: Array
    x_T: Array
    num_steps: Array


def flow_likelihood(
    keys: Key[Array, "B"],
    x_0: Float[Array, "B *shape"],
    denoise: Denoiser,
    schedule: Schedule,
    trace: Literal["rademacher", "gaussian", "exact"] = "rademacher",
    t_min: Float[ArrayLike, ""] = 1e-5,
    tolerance: probability_flow.Tolerance = probability_flow.TOLERANCE,
) -> FlowLikelihood:
    """The density of the samples of `probability_flow.sample`, by the instantaneous change of variables.

    Strictly, it is the likelihood of x_t / alpha at t_min, which is x_0 plus noise of deviation sigma / alpha.

    Args:
        keys: one key per example, of the random projections.
        x_0: images must be dequantised (`genjax.diffusion.decoders.dequantize`).
        denoise: called with all examples and a scalar time; differentiated forwards.
        trace: of the Jacobian: estimated from one random projection for each example, with random signs or normal
            numbers (the mean over keys is the log-density), or exact, by as many derivatives as there are components.
        t_min: in (0, 1).

    Raises:
        UserError: if `trace` is none of these, or diffrax is not installed.

    Example:
        >>> import jax
        >>> from genjax.diffusion import likelihood, schedules
        >>> keys, x_0 = jax.random.split(jax.random.key(0), 2), jax.numpy.array([[0.0], [1.0]])
        >>> schedule = schedules.vp()
        >>> denoise = lambda x_t, t: schedule.alpha(t) * x_t  # of standard normal data
        >>> found = likelihood.flow_likelihood(keys, x_0, denoise, schedule, trace="exact")
        >>> print(*(f"{x:.2f}" for x in found.log_density))  # -log(2 pi) / 2, and that less 1/2
        -0.92 -1.42

    References:
        Song et al., "Score-Based Generative Modeling through Stochastic Differential Equations" (2021), equations 39
        and 40; Grathwohl et al., "FFJORD: Free-Form Continuous Dynamics for Scalable Reversible Generative Models"
        (2019), equation 7.
    """
    if trace not in ("rademacher", "gaussian", "exact"):
        raise UserError(f"trace = {trace!r} is not one of 'rademacher', 'gaussian', 'exact'")
    size = math.prod(x_0.shape[1:])
    velocity = probability_flow.velocity(denoise, schedule)
    if trace == "rademacher":
        sign = jax.vmap(lambda key: jax.random.rademacher(key, x_0.shape[1:], jnp.float32))
        projections = sign(keys).astype(x_0.dtype)[None]
    elif trace == "gaussian":
        projections = normal(keys, x_0.shape[1:], x_0.dtype)[None]
    else:
        basis = jnp.eye(size, dtype=x_0.dtype).reshape(size, 1, *x_0.shape[1:])
        projections = jnp.broadcast_to(basis, (size, *x_0.shape))

    def derivative(l: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:  # noqa: E741
        z = state[0]

        def along(v: Array) -> tuple[Array, Array]:
            dz, change = jax.jvp(lambda z: velocity(l, z), (z,), (v,))
            return dz, _mean(v * change)

        dz, divergence = jax.vmap(along, out_axes=(None, 0))(projections)
        return dz, divergence.sum(0)

    start, end = probability_flow.ends(schedule, t_min)
    z = (probability_flow.share_of_data(start) * x_0).astype(x_0.dtype)
    state = z, jnp.zeros(x_0.shape[0], x_0.dtype)
    (z, divergence), num_steps = probability_flow.solve(derivative, state, start, end, tolerance)

    # Per component: it is for these that the tolerance is meant.
    std = probability_flow.share_of_noise(end)
    prior = -0.5 * _mean(jnp.square(z / std)) - jnp.log(std) - 0.5 * math.log(2 * math.pi)
    log_density = prior + divergence + jnp.log(probability_flow.share_of_data(start))
    x_T = (probability_flow.norm(schedule, 1.0) * z).astype(x_0.dtype)
    return FlowLikelihood(size * log_density, x_T, num_steps)


def _noise(keys: Array, position: ArrayLike, x_0: Array) -> Array:
    """Standard normal noise of the shape of x_0, for one place in a bound."""
    return normal(fold_in(keys, position), x_0.shape[1:], x_0.dtype)


def _prior_bits(schedule: Schedule, x_0: Array, t: ArrayLike) -> Array:
    """KL(q(x_t | x_0) || N(0, sigma(t)^2)): what sampling starts from is told nothing of x_0."""
    snr = jnp.exp(schedule.log_snr(t))
    return 0.5 * snr * _mean(jnp.square(x_0)) / math.log(2)


def _mean(x: Array) -> Array:
    """Over all axes but the first."""
    return jnp.mean(x, tuple(range(1, x.ndim)))
