"""The games of generative adversarial networks: what each side minimises, as functions of a discriminator's logits."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float

from genjax.typing import Array, UserError


class AdversarialLoss(NamedTuple):
    """What discriminator and generator minimise.

    Both are ``(real_logits, fake_logits) -> float[B]``, the mean over the patches of an image where there are several
    logits of it. Logits are float[B] or float[B,h,w]; large ones mean real. Both sides get both, because some games
    compare real and fake images.

    Attributes:
        discriminator: its loss.
        generator: its loss.
    """

    discriminator: Callable[[Array, Array], Array]
    generator: Callable[[Array, Array], Array]


def minimax(real_weight: float = 1.0) -> AdversarialLoss:
    """``-log D(x) - log(1 - D(fake))`` against ``log(1 - D(fake))``, D the sigmoid of the logit.

    Args:
        real_weight: factor of ``-log D(x)``, above 0.

    References:
        Goodfellow et al., "Generative Adversarial Nets" (2014), equation 1.
    """
    return AdversarialLoss(_cross_entropy(real_weight), lambda real, fake: -_mean(jax.nn.softplus(fake)))


def non_saturating(real_weight: float = 1.0) -> AdversarialLoss:
    """As `minimax`, but the generator minimises ``-log D(fake)``, whose gradient does not vanish while D is right.

    Args:
        real_weight: factor of ``-log D(x)``, above 0.

    References:
        Goodfellow et al., "Generative Adversarial Nets" (2014), section 3.
    """
    return AdversarialLoss(_cross_entropy(real_weight), lambda real, fake: _mean(jax.nn.softplus(-fake)))


def hinge() -> AdversarialLoss:
    """``max(0, 1 - D(x)) + max(0, 1 + D(fake))`` against ``-D(fake)``, D the logit.

    References:
        Lim and Ye, "Geometric GAN" (2017), section 3; Miyato et al., "Spectral Normalization for Generative Adversarial
        Networks" (2018), equations 16 and 17.
    """

    def discriminator(real: Float[Array, "B ..."], fake: Float[Array, "B ..."]) -> Float[Array, "B"]:
        return _mean(jax.nn.relu(1 - real)) + _mean(jax.nn.relu(1 + fake))

    return AdversarialLoss(discriminator, lambda real, fake: -_mean(fake))


def least_squares(a: float = 0.0, b: float = 1.0, c: float = 1.0) -> AdversarialLoss:
    """``((D(x) - b)^2 + (D(fake) - a)^2) / 2`` against ``(D(fake) - c)^2 / 2``, D the logit.

    Args:
        a: label of fake images.
        b: label of real images.
        c: what the generator wants the discriminator to say.

    References:
        Mao et al., "Least Squares Generative Adversarial Networks" (2017), equation 2.
    """

    def discriminator(real: Float[Array, "B ..."], fake: Float[Array, "B ..."]) -> Float[Array, "B"]:
        return 0.5 * (_mean(jnp.square(real - b)) + _mean(jnp.square(fake - a)))

    return AdversarialLoss(discriminator, lambda real, fake: 0.5 * _mean(jnp.square(fake - c)))


def _cross_entropy(real_weight: float) -> Callable[[Array, Array], Array]:
    """``-log D = softplus(-logit)`` and ``-log(1 - D) = softplus(logit)`` hold for logits of any size."""
    if not real_weight > 0:
        raise UserError(f"real_weight={real_weight}: valid are numbers above 0")

    def discriminator(real: Float[Array, "B ..."], fake: Float[Array, "B ..."]) -> Float[Array, "B"]:
        return real_weight * _mean(jax.nn.softplus(-real)) + _mean(jax.nn.softplus(fake))

    return discriminator


def _mean(x: Float[Array, "B ..."]) -> Float[Array, "B"]:
    """Over the patches of each image."""
    return x.reshape(x.shape[0], -1).mean(1)
