"""Predictor-corrector sampling of score-based models."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Float

from genjax.diffusion.prediction import Denoiser
from genjax.diffusion.process import expand, noise_added
from genjax.diffusion.samplers.base import Sampler, normal, stateless
from genjax.diffusion.samplers.coordinates import noise_estimate
from genjax.diffusion.samplers.ddpm import ddpm
from genjax.diffusion.schedules import Schedule
from genjax.random import fold_in
from genjax.typing import Array, PyTree, UserError


def reverse_diffusion() -> Sampler:
    """Discretizes the reverse-time SDE as the forward process is discretized. Stochastic.

    Order 1, one evaluation a step. With a = alpha(t) / alpha(s) and g^2 the variance that the forward process
    adds from s to t, it is (2 - a) x + g^2 score + g new. The step to s = 0 returns the estimate of x_0, which
    for an exploding variance is the same without its noise. 2 - a stands for 1 / a: it is no good where
    alpha(t) is near 0, where `ddpm` still is.

    Example:
        >>> import jax
        >>> from genjax.diffusion import grids, sample, samplers, schedules
        >>> keys, x_T, schedule = jax.random.key(0)[None], jax.numpy.full((1, 2), 50.0), schedules.ve()
        >>> denoise = lambda x_t, t: 0 * x_t + 0.25  # the data is a point; the last step leaves no noise
        >>> sample(keys, x_T, grids.linspace(5), denoise, samplers.reverse_diffusion(), schedule)
        Array([[0.25, 0.25]], dtype=float32)

    References:
        Song et al., "Score-Based Generative Modeling through Stochastic Differential Equations" (2021),
        equation 46 and appendix E.
    """

    def step(
        keys: Array, carry: tuple[()], x: Array, t: Array, s: Array, denoise: Denoiser, schedule: Schedule
    ) -> tuple[tuple[()], Array]:
        x_0 = denoise(x, t)
        added, sigma_t = noise_added(schedule, t, s), schedule.sigma(t)
        drift = (2 - schedule.alpha(t) / schedule.alpha(s)) * x
        drift = drift - sigma_t * added * noise_estimate(schedule, x, x_0, t)
        x_s = drift + sigma_t * jnp.sqrt(added) * normal(keys, x.shape[1:], x.dtype)
        return carry, jnp.where(schedule.sigma(s) > 0, x_s, x_0).astype(x.dtype)

    return Sampler(stateless, step)


def predictor_corrector(
    predictor: Sampler | None = None, snr: ArrayLike = 0.16, num_corrections: int = 1
) -> Sampler:
    """Langevin dynamics at each time, then a step of the predictor. Stochastic.

    1 + `num_corrections` evaluations a step, if the predictor has one. It does not converge as the number of
    steps grows: the corrector's own distribution, for d components with standard deviation 1, has a variance of
    about (1 + snr^2) (d + 2) / (d - 2). The second factor, from the step size depending on the sample, is
    nothing for images, but 1.3 for d = 16.

    A correction is ``x + e score + sqrt(2 e) new`` with ``e = 2 (snr |new| / |score|)^2``, where the norms are taken of
    the sample, not means over a batch as in the reference code, so that a sample depends on its key alone. The paper's
    factor alpha_i of e for variance-preserving schedules, nearly 1 there, is left out.

    Args:
        predictor: `reverse_diffusion`, or any other; the paper's ancestral sampling, `ddpm`, if left out.
        snr: r of the paper, the signal-to-noise ratio of a correction. A scalar, or one for each example; it
            may be traced.
        num_corrections: M of the paper, at least 0.

    Raises:
        UserError: if `num_corrections` is negative.

    Example:
        >>> import jax
        >>> from genjax.diffusion import grids, sample, samplers, schedules
        >>> keys, x_T, schedule = jax.random.key(0)[None], jax.numpy.ones((1, 1000)), schedules.shifted_cosine()
        >>> denoise = lambda x_t, t: schedule.alpha(t) * x_t  # of data from N(0, 1); unlike noise, x_T is all equal
        >>> for sampler in [samplers.predictor_corrector(samplers.ddim(), num_corrections=m) for m in (0, 10)]:
        ...     print(f"{sample(keys, x_T, grids.linspace(10), denoise, sampler, schedule).std():.1f}")
        0.0
        1.0

    References:
        Song et al., "Score-Based Generative Modeling through Stochastic Differential Equations" (2021),
        algorithms 1, 4 and 5, and its reference code, where as here the correction comes before the prediction.
    """
    if num_corrections < 0:
        raise UserError(f"num_corrections = {num_corrections} must be at least 0")
    predict = ddpm() if predictor is None else predictor

    def step(
        keys: Array, carry: PyTree, x: Array, t: Array, s: Array, denoise: Denoiser, schedule: Schedule
    ) -> tuple[PyTree, Array]:

        def correct(x: Array, i: Array) -> tuple[Array, None]:
            score = -noise_estimate(schedule, x, denoise(x, t), t) / schedule.sigma(t)
            new = normal(fold_in(keys, i + 1), x.shape[1:], x.dtype)
            size = 2 * jnp.asarray(snr) ** 2 * _norm_squared(new) / _norm_squared(score)
            return (x + expand(size, x) * score + expand(jnp.sqrt(2 * size), x) * new).astype(x.dtype), None

        x, _ = jax.lax.scan(correct, x, jnp.arange(num_corrections))
        return predict.step(fold_in(keys, 0), carry, x, t, s, denoise, schedule)

    return Sampler(predict.init, step)


def _norm_squared(x: Float[Array, "B *shape"]) -> Float[Array, "B"]:
    """Of each sample; not 0, since it divides."""
    return jnp.maximum(jnp.sum(x**2, tuple(range(1, x.ndim))), jnp.finfo(x.dtype).tiny)
