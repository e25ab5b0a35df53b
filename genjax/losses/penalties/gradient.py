"""Penalties on the slope of a critic, the gradient of its logit in the image: at real ones, at fakes, or in between."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Float, Key

from genjax.losses.penalties.penalty import (
    Penalty,
    check_not_negative,
    global_mean,
    mean_over_patches,
    sum_of_squares,
)
from genjax.typing import Array

Critic = Callable[[Array], Array]


def gradient_penalty(weight: ArrayLike = 10.0, target: ArrayLike = 1.0, one_sided: bool = False) -> Penalty:
    """``weight * (|slope| - target)^2`` at one point, drawn evenly, of the line from each real image to its fake.

    Args:
        weight: float[], lambda, 0 or more.
        target: float[], what the norm of the slope should be, 0 or more.
        one_sided: smaller slopes are free.

    Raises:
        UserError: a negative weight or target.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from genjax.losses import penalties
        >>> critic = lambda images: 3 * images.sum((1, 2, 3))
        >>> keys, real, fake = jax.random.split(jax.random.key(0), 1), jnp.ones((1, 1, 1, 1)), jnp.zeros((1, 1, 1, 1))
        >>> penalty = penalties.gradient_penalty(weight=10.0)
        >>> values, state = penalty.apply(critic, keys, real, fake, critic(real), critic(fake), penalty.init())
        >>> print(f"{values[0]:.3f}")  # 10 (3 - 1)^2
        40.000

    References:
        Gulrajani et al., "Improved Training of Wasserstein GANs" (2017), equation 3; one-sided: its section 4, and
        Petzka et al., "On the regularization of Wasserstein GANs" (2018).
    """
    check_not_negative(weight=weight, target=target)

    def points(
        keys: Key[Array, "B"], real: Float[Array, "B H W C"], fake: Float[Array, "B H W C"]
    ) -> Float[Array, "B H W C"]:
        where = jax.vmap(lambda key: jax.random.uniform(key, (1, 1, 1), real.dtype))(keys)
        return real + where * (fake - real)

    return _of_norm(points, weight, target, one_sided)


def dragan(weight: ArrayLike = 10.0, target: ArrayLike = 1.0, std: ArrayLike | None = None) -> Penalty:
    """``weight * (|slope| - target)^2`` at real images with noise, whose components are normal.

    Args:
        weight: float[], lambda, 0 or more.
        target: float[], k, 0 or more.
        std: float[], standard deviation of the noise, 0 or more. It is the root of the paper's c, a constant. None:
            half the standard deviation of all components of the real images of the global batch, as implementations of
            the method have it (with even noise). Then, and only then, the value of an example depends on the others.

    Raises:
        UserError: a negative argument.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from genjax.losses import penalties
        >>> critic = lambda images: (images**2).sum((1, 2, 3))
        >>> keys, real, fake = jax.random.split(jax.random.key(0), 1), jnp.ones((1, 1, 1, 1)), jnp.zeros((1, 1, 1, 1))
        >>> penalty = penalties.dragan(weight=10.0, std=0.0)  # no noise: the slope at the real image, which is 2
        >>> values, state = penalty.apply(critic, keys, real, fake, critic(real), critic(fake), penalty.init())
        >>> print(f"{values[0]:.3f}")
        10.000

    References:
        Kodali et al., "On Convergence and Stability of GANs" (2017), algorithm 1.
    """
    check_not_negative(weight=weight, target=target, std=std)

    def points(
        keys: Key[Array, "B"], real: Float[Array, "B H W C"], fake: Float[Array, "B H W C"]
    ) -> Float[Array, "B H W C"]:
        noise = jax.vmap(lambda key: jax.random.normal(key, real.shape[1:], real.dtype))(keys)
        if std is not None:
            return real + std * noise
        spread = jnp.sqrt(global_mean(jnp.square(real - global_mean(real))))
        return real + 0.5 * spread * noise

    return _of_norm(points, weight, target, one_sided=False)


def r1(gamma: ArrayLike = 10.0) -> Penalty:
    """``gamma / 2 * |slope|^2`` at the real images.

    Args:
        gamma: float[], 0 or more. The half is in the papers' formula, so their values can be taken as they are.

    Raises:
        UserError: a negative gamma.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from genjax.losses import penalties
        >>> critic = lambda images: (images**2).sum((1, 2, 3))  # its slope is 2 x
        >>> keys, fake = jax.random.split(jax.random.key(0), 1), jnp.ones((1, 1, 1, 1))
        >>> real = 3 * fake
        >>> penalty = penalties.r1(gamma=10.0)
        >>> values, state = penalty.apply(critic, keys, real, fake, critic(real), critic(fake), penalty.init())
        >>> values  # 10 / 2 * 6^2
        Array([180.], dtype=float32)

    References:
        Mescheder et al., "Which Training Methods for GANs do actually Converge?" (2018), equation 9.
    """
    return _of_square(lambda real, fake: real, gamma)


def r2(gamma: ArrayLike = 10.0) -> Penalty:
    """``gamma / 2 * |slope|^2`` at the fake images.

    Args:
        gamma: float[], see `r1`.

    Raises:
        UserError: a negative gamma.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from genjax.losses import penalties
        >>> critic = lambda images: (images**2).sum((1, 2, 3))  # its slope is 2 x
        >>> keys, fake = jax.random.split(jax.random.key(0), 1), jnp.ones((1, 1, 1, 1))
        >>> real = 3 * fake
        >>> penalty = penalties.r2(gamma=10.0)
        >>> values, state = penalty.apply(critic, keys, real, fake, critic(real), critic(fake), penalty.init())
        >>> values  # 10 / 2 * 2^2
        Array([20.], dtype=float32)

    References:
        Mescheder et al., "Which Training Methods for GANs do actually Converge?" (2018), equation 10.
    """
    return _of_square(lambda real, fake: fake, gamma)


def slope(critic: Critic, images: Float[Array, "B H W C"]) -> Float[Array, "B H W C"]:
    """The gradient of each image's logit, the mean of its patches', in that image.

    One gradient of the sum over the batch: right where the critic judges each image alone.
    """
    return jax.grad(lambda x: mean_over_patches(critic(x)).sum())(images)


def _of_norm(points: Callable[..., Array], weight: ArrayLike, target: ArrayLike, one_sided: bool) -> Penalty:
    def apply(
        critic: Critic, keys: Array, real: Array, fake: Array, *args: Array | tuple
    ) -> tuple[Array, tuple]:
        squares = sum_of_squares(slope(critic, points(keys, real, fake)))
        # The root has no derivative at 0; a slope of 0 is not pushed anywhere.
        steep = squares > 0
        norm = jnp.where(steep, jnp.sqrt(jnp.where(steep, squares, 1.0)), 0.0)
        excess = norm - target
        return jnp.multiply(weight, jnp.square(jax.nn.relu(excess) if one_sided else excess)), ()

    return Penalty(lambda: (), apply)


def _of_square(choose: Callable[[Array, Array], Array], gamma: ArrayLike) -> Penalty:
    check_not_negative(gamma=gamma)

    def apply(
        critic: Critic, keys: Array, real: Array, fake: Array, *args: Array | tuple
    ) -> tuple[Array, tuple]:
        return jnp.multiply(0.5 * gamma, sum_of_squares(slope(critic, choose(real, fake)))), ()

    return Penalty(lambda: (), apply)
