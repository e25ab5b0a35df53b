"""LeCam regularisation keeps the logits of real and fake images close to each other."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Float, Int

from genjax.losses.penalties.penalty import Penalty, check_not_negative, global_mean, mean_over_patches
from genjax.typing import Array, UserError


class LeCamState(NamedTuple):
    """Moving averages of logits, from 0.

    Attributes:
        step: int32[], number of updates.
        real: float32[], of real images.
        fake: float32[], of fake images.
    """

    step: Int[Array, ""]
    real: Float[Array, ""]
    fake: Float[Array, ""]


def lecam(weight: ArrayLike = 0.3, decay: float = 0.99, start: int = 1, one_sided: bool = False) -> Penalty:
    """``weight * ((D(x) - average of D(fake))^2 + (D(fake) - average of D(x))^2)``, D the logit.

    The averages are taken over the steps before, and corrected for their start at 0, so that an example's value does
    not depend on the examples beside it.

    Args:
        weight: float[], lambda, 0 or more.
        decay: decay of the moving averages, in [0, 1).
        start: number of steps without the penalty, at least 1: before the first there is no average.
        one_sided: only real logits above the fakes' average and fake ones below the reals' count, as implementations
            of the method have it.

    Raises:
        UserError: a value that is not valid.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from genjax.losses import penalties
        >>> penalty, critic = penalties.lecam(weight=0.3), lambda images: images.sum((1, 2, 3))
        >>> keys, real, fake = jax.random.split(jax.random.key(0), 1), jnp.ones((1, 1, 1, 2)), -jnp.ones((1, 1, 1, 1))
        >>> state = penalty.init()
        >>> for step in range(2):  # in the first step there are no averages yet
        ...     values, state = penalty.apply(critic, keys, real, fake, critic(real), critic(fake), state)
        ...     print(f"{values[0]:.3f}")
        0.000
        5.400

    References:
        Tseng et al., "Regularizing Generative Adversarial Networks under Limited Data" (2021), section 3.
    """
    check_not_negative(weight=weight)
    if not 0 <= decay < 1:
        raise UserError(f"decay={decay}: valid are numbers in [0, 1)")
    if start < 1:
        raise UserError(f"start={start}: valid are whole numbers of 1 and more")

    def apply(
        critic: Callable[..., Any],
        keys: Array,
        real: Array,
        fake: Array,
        real_logits: Float[Array, "B ..."],
        fake_logits: Float[Array, "B ..."],
        state: LeCamState,
    ) -> tuple[Float[Array, "B"], LeCamState]:
        # The first step, of weight 0, divides by 1 and not by 0.
        mass = 1 - decay ** jnp.maximum(state.step, 1)
        above, below = real_logits - state.fake / mass, state.real / mass - fake_logits
        if one_sided:
            above, below = jax.nn.relu(above), jax.nn.relu(below)
        values = mean_over_patches(jnp.square(above)) + mean_over_patches(jnp.square(below))

        def average(old: Array, logits: Array) -> Array:
            return old + (1 - decay) * (global_mean(jax.lax.stop_gradient(logits)) - old)

        new = LeCamState(state.step + 1, average(state.real, real_logits), average(state.fake, fake_logits))
        return jnp.where(state.step >= start, weight, 0.0) * values, new

    return Penalty(lambda: LeCamState(jnp.zeros((), jnp.int32), jnp.zeros(()), jnp.zeros(())), apply)
