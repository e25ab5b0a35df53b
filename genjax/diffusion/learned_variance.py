"""A network that also learns the variance of the reverse steps.

Its output has twice the channels: the first half predicts as ever, the second half, v, says where the variance of a
step lies between its two bounds. That is the `variance` of `genjax.diffusion.samplers.ddpm`.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Float

from genjax.diffusion.decoders import Decoder, discretized_gaussian
from genjax.diffusion.likelihood import step_bits
from genjax.diffusion.schedules import Schedule
from genjax.typing import Array, UserError

HYBRID_WEIGHT = 0.001
"""How much `bound` counts beside the loss of the prediction."""

_IMAGES = discretized_gaussian()


def split(
    output: Float[Array, "B *shape C_out"], channels: int
) -> tuple[Float[Array, "B *shape C"], Float[Array, "B *shape C"]]:
    """What the network predicts, and the variance: (v + 1) / 2, from 0 to 1 for v in [-1, 1], but not clipped.

    Args:
        output: C_out = 2 C channels.
        channels: C, the channels of the images.

    Raises:
        UserError: if the output has another number of channels.

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax.diffusion import learned_variance
        >>> output = jnp.array([[0.3, -0.7, -1.0, 1.0]])  # of a network for data of two channels
        >>> learned_variance.split(output, channels=2)
        (Array([[ 0.3, -0.7]], dtype=float32), Array([[0., 1.]], dtype=float32))

    References:
        Nichol and Dhariwal, "Improved Denoising Diffusion Probabilistic Models" (2021), section 3.1.
    """
    if output.shape[-1] != 2 * channels:
        raise UserError(
            f"a network that learns the variance must have {2 * channels} output channels, twice those of the images, "
            f"not {output.shape[-1]}"
        )
    return output[..., :channels], 0.5 * (output[..., channels:] + 1)


def bound(
    schedule: Schedule,
    x_0: Float[Array, "B *shape"],
    estimate: Float[Array, "B *shape"],
    t: Float[Array, "B"],
    variance: Float[Array, "B *shape"],
    num_steps: int,
    decoder: Decoder = _IMAGES,
) -> Float[Array, "B"]:
    """The variational bound of a model of `num_steps` steps, in bits per dimension, estimated from one of its terms.

    It has a gradient towards the variance only; added to the loss with `HYBRID_WEIGHT` it is the hybrid objective. The
    paper does not say in which unit its bound is; its reference code has it in bits per dimension.

    Args:
        estimate: x0_hat at x_t.
        t: uniform on the times of the steps, or on (0, 1].
        variance: from 0 to 1, as `split` returns it.
        num_steps: T; a step is from t to t - 1/T.

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax.diffusion import learned_variance, schedules
        >>> x_0, t, schedule = jnp.zeros((2, 3)), jnp.array([0.2, 0.2]), schedules.cosine(10)
        >>> variance = jnp.array([[0.0] * 3, [1.0] * 3])  # for a right estimate, 0 is right
        >>> print(*(f"{x:.2f}" for x in learned_variance.bound(schedule, x_0, x_0, t, variance, num_steps=10)))
        0.00 4.07

    References:
        Nichol and Dhariwal, "Improved Denoising Diffusion Probabilistic Models" (2021), equation 16.
    """
    s = jnp.maximum(t - 1 / num_steps, 0)
    estimate = jax.lax.stop_gradient(estimate)
    return num_steps * step_bits(schedule, x_0, estimate, t, s, variance, decoder)
