"""What a penalty is, the sum of several, and one that is computed on every n-th step only."""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from genjax.devices import mean_over_devices
from genjax.random import fold_in
from genjax.typing import Array, PyTree, UserError


class Penalty(NamedTuple):
    """Of a critic; see `genjax.losses.penalties`.

    Attributes:
        init: ``() -> state``.
        apply: ``(critic, keys, real, fake, real_logits, fake_logits, state) -> (float[B], state)`` with

            * critic: ``images float[B,H,W,C] -> logits``, float[B] or float[B,h,w], each image judged alone;
            * keys: Key[B], one an example;
            * real, fake: float[B,H,W,C];
            * real_logits, fake_logits: what the critic says of them, so that it is computed once.
    """

    init: Callable[[], PyTree]
    apply: Callable[..., tuple[Array, PyTree]]


class GeneratorPenalty(NamedTuple):
    """Of a generator.

    Attributes:
        init: ``() -> state``.
        apply: ``(generate, keys, latent, state) -> (float[B], state)``; `generate` is ``latent -> images
            float[B,H,W,C]``, each made alone, the latent is a pytree of float[B,...], and keys are Key[B].
    """

    init: Callable[[], PyTree]
    apply: Callable[..., tuple[Array, PyTree]]


class LazyState(NamedTuple):
    """Of `lazy`.

    Attributes:
        step: int32[], number of calls so far.
        inner: state of the penalty, which changes on the steps on which it is computed.
    """

    step: Int[Array, ""]
    inner: PyTree


AnyPenalty = TypeVar("AnyPenalty", Penalty, GeneratorPenalty)


def combine(*penalties: Penalty) -> Penalty:
    """The sum of penalties of a critic, each with randomness of its own; of none, 0. The state is a tuple.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from genjax.losses import penalties
        >>> critic = lambda images: (images**2).sum((1, 2, 3))
        >>> keys, fake = jax.random.split(jax.random.key(0), 1), jnp.ones((1, 1, 1, 1))
        >>> real = 3 * fake
        >>> penalty = penalties.combine(penalties.r1(10.0), penalties.r2(10.0))
        >>> values, state = penalty.apply(critic, keys, real, fake, critic(real), critic(fake), penalty.init())
        >>> values, state
        (Array([200.], dtype=float32), ((), ()))
    """

    def apply(critic: Callable[..., Any], keys: Array, *args: Any) -> tuple[Array, PyTree]:
        *views, states = args
        results = [
            penalty.apply(critic, fold_in(keys, i), *views, state)
            for i, (penalty, state) in enumerate(zip(penalties, states, strict=True))
        ]
        total = sum((values for values, _ in results), start=jnp.zeros(keys.shape))
        return total, tuple(state for _, state in results)

    return Penalty(lambda: tuple(penalty.init() for penalty in penalties), apply)


def lazy(penalty: AnyPenalty, every: int) -> AnyPenalty:
    """Computed on one step in `every`, the first included, and `every` times as large there; 0 and free on the others.

    The mean over the steps stays what it was. StyleGAN2 gives the penalty a step of the optimizer of its own, and
    corrects Adam's constants for it; where the values are added to the losses of the game, there is nothing to correct.

    Args:
        penalty: penalty of a critic or of a generator.
        every: at least 1.

    Raises:
        UserError: less than 1.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from genjax.losses import penalties
        >>> critic, images = lambda images: images.sum((1, 2, 3)), jnp.ones((1, 1, 1, 1))
        >>> penalty, keys = penalties.lazy(penalties.r1(2.0), every=4), jax.random.split(jax.random.key(0), 1)
        >>> state = penalty.init()
        >>> for step in range(2):
        ...     values, state = penalty.apply(critic, keys, images, images, critic(images), critic(images), state)
        ...     print(values)
        [4.]
        [0.]

    References:
        Karras et al., "Analyzing and Improving the Image Quality of StyleGAN" (2020), section 3.1 and appendix B.
    """
    if every < 1:
        raise UserError(f"every={every}: valid are whole numbers of 1 and more")

    def apply(network: Callable[..., Any], keys: Array, *args: Any) -> tuple[Array, LazyState]:
        *views, state = args

        def compute(inner: PyTree) -> tuple[Array, PyTree]:
            values, inner = penalty.apply(network, keys, *views, inner)
            return every * values, inner

        def skip(inner: PyTree) -> tuple[Array, PyTree]:
            values, _ = jax.eval_shape(compute, inner)
            return jnp.zeros(values.shape, values.dtype), inner

        values, inner = jax.lax.cond(state.step % every == 0, compute, skip, state.inner)
        return values, LazyState(state.step + 1, inner)

    return penalty._replace(
        init=lambda: LazyState(jnp.zeros((), jnp.int32), penalty.init()),
        apply=apply,
    )


def mean_over_patches(x: Float[Array, "B ..."]) -> Float[Array, "B"]:
    """For each image, of what there is for each of its logits."""
    return x.reshape(x.shape[0], -1).mean(1)


def sum_of_squares(x: Float[Array, "B ..."]) -> Float[Array, "B"]:
    """Over all but the first axis."""
    return jnp.square(x).reshape(x.shape[0], -1).sum(1)


def global_mean(x: Float[Array, "..."]) -> Float[Array, ""]:
    """The mean, also where a device sees only its own part of the batch."""
    return mean_over_devices(x.mean())


def check_not_negative(**arguments: Any) -> None:
    """Raises UserError for a number below 0; arrays, which may change from step to step, are not checked."""
    for name, value in arguments.items():
        if isinstance(value, (int, float)) and not value >= 0:
            raise UserError(f"{name}={value}: valid are 0 and more")
