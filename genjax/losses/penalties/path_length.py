"""Path length regularisation: a step in the latent space should change the image equally much everywhere."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Float, Key

from genjax.losses.penalties.penalty import (
    GeneratorPenalty,
    check_not_negative,
    global_mean,
    sum_of_squares,
)
from genjax.typing import Array, PyTree, UserError


def path_length(weight: ArrayLike = 2.0, decay: float = 0.99) -> GeneratorPenalty:
    """``weight * (|J^T y| - average)^2``, J the derivative of the image in w and y an image of normal noise.

    y has the variance 1 / (H W), so that lengths do not grow with the image. The state is the moving average of the
    lengths, float32[], from 0; the value is with the average of the steps before.

    The latent w is float[B,D], or float[B,L,D] where each of L layers of the generator has one; the squared length is
    then the mean over the layers. Of a pytree of latents it is the sum over the leaves.

    Args:
        weight: float[], 0 or more.
        decay: decay of the moving average, in [0, 1).

    Raises:
        UserError: a value that is not valid.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from genjax.losses import penalties
        >>> penalty = penalties.path_length(weight=2.0)
        >>> generate = lambda w: 3 * w.reshape(1, 32, 32, 1)  # an image moves three times as far as its latent
        >>> keys, latent = jax.random.split(jax.random.key(0), 1), jnp.zeros((1, 1024))
        >>> values, average = penalty.apply(generate, keys, latent, penalty.init())
        >>> print(f"{jnp.sqrt(values / 2.0)[0]:.0f}")  # the length, as the average starts at 0
        3

    References:
        Karras et al., "Analyzing and Improving the Image Quality of StyleGAN" (2020), section 3.2, equation 4, and
        appendix B.
    """
    check_not_negative(weight=weight)
    if not 0 <= decay < 1:
        raise UserError(f"decay={decay}: valid are numbers in [0, 1)")

    def apply(
        generate: Callable[[PyTree], Array],
        keys: Key[Array, "B"],
        latent: PyTree,
        state: Float[Array, ""],
    ) -> tuple[Float[Array, "B"], Float[Array, ""]]:
        def noisy_sum(w: PyTree) -> Array:
            images = generate(w)
            noise = jax.vmap(lambda key: jax.random.normal(key, images.shape[1:], images.dtype))(keys)
            return (images * noise).sum() / math.sqrt(math.prod(images.shape[1:3]))

        slopes = jax.tree.leaves(jax.grad(noisy_sum)(latent))
        squares = sum(
            (sum_of_squares(slope) / math.prod(slope.shape[1:-1]) for slope in slopes),
            start=jnp.zeros(keys.shape),
        )
        # The root has no derivative at 0.
        moves = squares > 0
        lengths = jnp.where(moves, jnp.sqrt(jnp.where(moves, squares, 1.0)), 0.0)
        average = state + (1 - decay) * (global_mean(jax.lax.stop_gradient(lengths)) - state)
        return jnp.multiply(weight, jnp.square(lengths - state)), average

    return GeneratorPenalty(lambda: jnp.zeros(()), apply)
