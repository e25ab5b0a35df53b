"""A weight that is learned: the log-variance u of the error, as a function of the noise level.

The weighted loss L of an example becomes ``L exp(-u) + u``, which is least at exp(u) = E[L]: each noise level then
contributes gradients of the same size, whatever weight it was given.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float

from genjax.typing import Array, Key, PyTree, UserError

_SEED = 0


class Uncertainty(NamedTuple):
    """A function of the noise level with parameters.

    Attributes:
        init: ``(key) -> params``.
        apply: ``(params, c_noise [B]) -> u [B]``.
    """

    init: Callable[[Key], PyTree]
    apply: Callable[[PyTree, Array], Array]


def fourier(width: int = 128) -> Uncertainty:
    """A linear layer on Fourier features of random, fixed frequencies; at first u = 0.

    Args:
        width: number of features, at least 1.

    Raises:
        UserError: if `width` is less than 1.

    Example:
        >>> import jax
        >>> from genjax.diffusion import uncertainty
        >>> u = uncertainty.fourier()
        >>> params = u.init(jax.random.key(0))
        >>> u.apply(params, jax.numpy.array([0.1, 0.9]))
        Array([0., 0.], dtype=float32)
        >>> u.apply(params | {"bias": jax.numpy.array(2.0)}, jax.numpy.array([0.1, 0.9]))
        Array([2., 2.], dtype=float32)

    References:
        Karras et al., "Analyzing and Improving the Training Dynamics of Diffusion Models" (2024), appendix B.3.
    """
    if width < 1:
        raise UserError(f"width = {width} must be at least 1")

    def init(key: Key) -> PyTree:
        del key
        return {"weight": jnp.zeros(width), "bias": jnp.zeros(())}

    def apply(params: PyTree, c_noise: Float[Array, "B"]) -> Float[Array, "B"]:
        # Constants that belong to the function, not to a run: no state has to hold them.
        frequency_key, phase_key = jax.random.split(jax.random.key(_SEED))
        frequencies = 2 * jnp.pi * jax.random.normal(frequency_key, (1, width), c_noise.dtype)
        phases = 2 * jnp.pi * jax.random.uniform(phase_key, (1, width), c_noise.dtype)
        features = jnp.sqrt(2.0) * jnp.cos(c_noise[:, None] * frequencies + phases)
        return features @ params["weight"] / jnp.sqrt(width) + params["bias"]

    return Uncertainty(init, apply)


def attenuate(loss: Float[Array, "B"], u: Float[Array, "B"]) -> Float[Array, "B"]:
    """``loss exp(-u) + u``.

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax.diffusion import uncertainty
        >>> attenuated = uncertainty.attenuate(jnp.full(3, 2.0), jnp.log(jnp.array([1.0, 2.0, 4.0])))
        >>> print(*(f"{x:.3f}" for x in attenuated))  # least where exp(u) is the loss
        2.000 1.693 1.886

    References:
        Karras et al., "Analyzing and Improving the Training Dynamics of Diffusion Models" (2024), equation 21.
    """
    return loss * jnp.exp(-u) + u
