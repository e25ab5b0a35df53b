"""Adversarial attacks: small changes of images that a network judges as badly as can be.

An `Attack` raises an objective, a function of images that gives a number for each. For a classifier this is its loss::

    objective = lambda images: cross_entropy(logits(images), labels)
    images = pgd(0.2, 0.05, 10)(objective, keys, images)

and for the real images of a discriminator its loss in the game (adversarial training of the discriminator, as in Liu
and Hsieh, "Rob-GAN: Generator, Discriminator, and Adversarial Attacker" (2019))::

    objective = lambda images: game.discriminator(critic(images), fake_logits)

* Images are in [-1, 1] and stay there; so epsilon is in units of half the range: 0.2 is what others call 0.1, or
  25.5 of 255 levels.
* Each image is attacked alone, which is right only where the objective judges it alone: a network must not normalise by
  the statistics of the batch.
* An attack is a constant for whoever trains on it: no derivative passes through. Make it outside of the function that
  is differentiated, or a compiler has to find out that its derivative is not asked for.
* epsilon and step_size may be arrays, which change without a new compilation if the attack is made inside the compiled
  function. Arrays are not checked.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Float, Key

from genjax.typing import Array, UserError

Attack: TypeAlias = Callable[[Callable[[Array], Array], Array, Array], Array]
"""``(objective, keys Key[B], images float[B,H,W,C] in [-1,1]) -> float[B,H,W,C] in [-1,1]``; objective is
``images -> float[B]``."""


class Norm(NamedTuple):
    """What is needed of a norm of one image's change, float[H,W,C].

    Attributes:
        project: ``(change, epsilon) -> change``, the nearest of norm epsilon or less.
        steepest: ``(gradient) -> change`` of norm 1 that raises the objective most.
        draw: ``(key, change) -> change`` evenly from all of norm 1 or less; the argument gives shape and type.
    """

    project: Callable[[Array, ArrayLike], Array]
    steepest: Callable[[Array], Array]
    draw: Callable[[Array, Array], Array]


def fgsm(epsilon: ArrayLike) -> Attack:
    """One step of the gradient's sign: ``x + epsilon sign(gradient)``, kept in [-1, 1].

    Args:
        epsilon: float[], largest change of a pixel, 0 or more.

    Raises:
        UserError: a negative epsilon.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from genjax.losses import attacks
        >>> objective = lambda images: images.sum((1, 2, 3))
        >>> keys, images = jax.random.split(jax.random.key(0), 1), jnp.array([0.5, 0.95]).reshape(1, 1, 2, 1)
        >>> [round(value, 3) for value in attacks.fgsm(0.1)(objective, keys, images).ravel().tolist()]
        [0.6, 1.0]

    References:
        Goodfellow, Shlens and Szegedy, "Explaining and Harnessing Adversarial Examples" (2015), section 4.
    """
    return pgd(epsilon, epsilon, 1, random_start=False)


def pgd(
    epsilon: ArrayLike,
    step_size: ArrayLike,
    num_steps: int,
    random_start: bool = True,
    norm: str | Norm = "linf",
) -> Attack:
    """Projected gradient ascent: steps uphill, each followed by the projection on the ball and on [-1, 1].

    Args:
        epsilon: float[], radius of the ball, 0 or more.
        step_size: float[], norm of a step, 0 or more.
        num_steps: at least 1.
        random_start: from a point drawn evenly from the ball, instead of from the image.
        norm: of the change; a name in `NORMS`, or one of your own.

    Raises:
        UserError: a value that is not valid.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from genjax.losses import attacks
        >>> attack = attacks.pgd(epsilon=0.3, step_size=0.2, num_steps=4)
        >>> keys, images = jax.random.split(jax.random.key(0), 1), jnp.array([0.5, 0.9]).reshape(1, 1, 2, 1)
        >>> attacked = attack(lambda images: images.sum((1, 2, 3)), keys, images)
        >>> [round(value, 3) for value in attacked.ravel().tolist()]
        [0.8, 1.0]

    References:
        Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks" (2018), section 2.1.
    """
    for name, value in {"epsilon": epsilon, "step_size": step_size}.items():
        if isinstance(value, (int, float)) and not value >= 0:
            raise UserError(f"{name}={value}: valid are 0 and more")
    if num_steps < 1:
        raise UserError(f"num_steps={num_steps}: valid are whole numbers of 1 and more")
    ball = _norm(norm)

    def attack(
        objective: Callable[[Array], Array], keys: Key[Array, "B"], images: Float[Array, "B H W C"]
    ) -> Float[Array, "B H W C"]:
        images = jax.lax.stop_gradient(images)

        def inside(attacked: Array) -> Array:
            change = jax.vmap(lambda x: ball.project(x, epsilon))(attacked - images)
            # Images are in the box, so going to it makes no change of a pixel larger.
            return jnp.clip(images + change, -1.0, 1.0)

        def step(_: ArrayLike, attacked: Array) -> Array:
            gradient = jax.grad(lambda x: objective(x).sum())(attacked)
            return inside(attacked + step_size * jax.vmap(ball.steepest)(gradient))

        start = images
        if random_start:
            start = inside(images + epsilon * jax.vmap(ball.draw)(keys, images))
        # XLA computes the gradients of convolutions 20 times slower inside a loop on CPU.
        unroll = jax.default_backend() == "cpu"
        return jax.lax.stop_gradient(jax.lax.fori_loop(0, num_steps, step, start, unroll=unroll))

    return attack


def _norm(norm: str | Norm) -> Norm:
    if isinstance(norm, Norm):
        return norm
    if norm not in NORMS:
        raise UserError(f"norm={norm!r}: valid are {', '.join(NORMS)}, and a Norm")
    return NORMS[norm]


def _length(x: Array) -> Array:
    """float[], Euclidean; the smallest number instead of 0, by which can be divided."""
    return jnp.maximum(jnp.sqrt(jnp.square(x).sum()), jnp.finfo(x.dtype).tiny)


def _shrink(change: Array, epsilon: ArrayLike) -> Array:
    return change * jnp.minimum(1.0, epsilon / _length(change))


def _draw_l2(key: Array, change: Array) -> Array:
    """A normal direction; the share of the ball within the radius r is r to the power of the dimension."""
    key_direction, key_radius = jax.random.split(key)
    direction = jax.random.normal(key_direction, change.shape, change.dtype)
    radius = jax.random.uniform(key_radius, (), change.dtype) ** (1.0 / change.size)
    return radius * direction / _length(direction)


LINF = Norm(
    project=lambda change, epsilon: jnp.clip(change, jnp.negative(epsilon), epsilon),
    steepest=jnp.sign,
    draw=lambda key, change: jax.random.uniform(key, change.shape, change.dtype, -1.0, 1.0),
)
L2 = Norm(project=_shrink, steepest=lambda gradient: gradient / _length(gradient), draw=_draw_l2)

NORMS: dict[str, Norm] = {"linf": LINF, "l2": L2}
