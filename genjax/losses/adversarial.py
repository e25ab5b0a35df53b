"""The games of generative adversarial networks: what each side minimises, as functions of a discriminator's logits."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Float, Int

from genjax.devices import gather_over_devices, own_rows
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


def minimax(real_weight: float = 1.0, smoothing: float = 0.0) -> AdversarialLoss:
    """``-log D(x) - log(1 - D(fake))`` against ``log(1 - D(fake))``, D the sigmoid of the logit.

    Args:
        real_weight: factor of ``-log D(x)``, above 0.
        smoothing: s in [0, 0.5). The label of real images is 1 - s, so that ``-log D(x)`` becomes
            ``-(1 - s) log D(x) - s log(1 - D(x))``; the label of fake images stays 0.

    Raises:
        UserError: a value that is not valid.

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax.losses import adversarial
        >>> game, logits = adversarial.minimax(), jnp.array([0.0])  # D(x) = D(fake) = 1/2
        >>> print(f"{game.discriminator(logits, logits)[0]:.3f} {game.generator(logits, logits)[0]:.3f}")
        1.386 -0.693

    References:
        Goodfellow et al., "Generative Adversarial Nets" (2014), equation 1. Smoothing of one side: Salimans et al.,
        "Improved Techniques for Training GANs" (2016), section 3.4.
    """
    judge = _cross_entropy(real_weight, smoothing)
    return AdversarialLoss(judge, lambda real, fake: -_mean(jax.nn.softplus(fake)))


def non_saturating(real_weight: float = 1.0, smoothing: float = 0.0) -> AdversarialLoss:
    """As `minimax`, but the generator minimises ``-log D(fake)``, whose gradient does not vanish while D is right.

    Args:
        real_weight: factor of ``-log D(x)``, above 0.
        smoothing: see `minimax`.

    Raises:
        UserError: a value that is not valid.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from genjax.losses import adversarial
        >>> fake = jnp.array([-10.0])  # D is sure that the image is fake
        >>> for game in (adversarial.minimax(), adversarial.non_saturating()):
        ...     print(f"{jax.grad(lambda fake: game.generator(fake, fake).sum())(fake)[0]:.5f}")
        -0.00005
        -0.99995

    References:
        Goodfellow et al., "Generative Adversarial Nets" (2014), section 3.
    """
    judge = _cross_entropy(real_weight, smoothing)
    return AdversarialLoss(judge, lambda real, fake: _mean(jax.nn.softplus(-fake)))


def hinge() -> AdversarialLoss:
    """``max(0, 1 - D(x)) + max(0, 1 + D(fake))`` against ``-D(fake)``, D the logit.

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax.losses import adversarial
        >>> adversarial.hinge().discriminator(jnp.array([2.0]), jnp.array([0.0]))
        Array([1.], dtype=float32)

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

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax.losses import adversarial
        >>> game, logits = adversarial.least_squares(), jnp.array([0.0])
        >>> game.discriminator(logits, logits), game.generator(logits, logits)
        (Array([0.5], dtype=float32), Array([0.5], dtype=float32))

    References:
        Mao et al., "Least Squares Generative Adversarial Networks" (2017), equation 2.
    """

    def discriminator(real: Float[Array, "B ..."], fake: Float[Array, "B ..."]) -> Float[Array, "B"]:
        return 0.5 * (_mean(jnp.square(real - b)) + _mean(jnp.square(fake - a)))

    return AdversarialLoss(discriminator, lambda real, fake: 0.5 * _mean(jnp.square(fake - c)))


def wasserstein() -> AdversarialLoss:
    """``D(fake) - D(x)`` against ``-D(fake)``, D the logit.

    It says something of a distance only where the critic's slope is bounded: `genjax.losses.penalties`.

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax.losses import adversarial
        >>> real, fake = jnp.array([[[2.0, 4.0]]]), jnp.array([[[1.0, 1.0]]])  # one image, two patches
        >>> adversarial.wasserstein().discriminator(real, fake)
        Array([-2.], dtype=float32)

    References:
        Arjovsky et al., "Wasserstein GAN" (2017), equation 2 and algorithm 1.
    """
    return AdversarialLoss(lambda real, fake: _mean(fake) - _mean(real), lambda real, fake: -_mean(fake))


def relativistic() -> AdversarialLoss:
    """``-log sigmoid(D(x) - D(fake))`` against ``-log sigmoid(D(fake) - D(x))``, D the logit.

    Real image i is paired with fake image i, and a patch with the patch at the same place.

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax.losses import adversarial
        >>> real, fake = jnp.array([100.0]), jnp.array([100.0])  # only their difference counts
        >>> print(f"{adversarial.relativistic().discriminator(real, fake)[0]:.3f}")
        0.693

    References:
        Jolicoeur-Martineau, "The relativistic discriminator: a key element missing from standard GAN" (2018),
        section 4.1; Huang et al., "The GAN is dead; long live the GAN! A Modern GAN Baseline" (2024),
        section 2.
    """

    def discriminator(real: Float[Array, "B ..."], fake: Float[Array, "B ..."]) -> Float[Array, "B"]:
        return _mean(jax.nn.softplus(fake - real))

    return AdversarialLoss(discriminator, lambda real, fake: _mean(jax.nn.softplus(real - fake)))


def top_k(game: AdversarialLoss, fraction: ArrayLike) -> AdversarialLoss:
    """The generator learns only from the fake images of the batch that the discriminator likes most.

    With N images in the global batch, k is ``fraction * N``, rounded, at least 1. The generator's losses of the k
    images with the largest logits (the mean over the patches) are multiplied by N / k, the others by 0: the mean over
    the batch is that over the k. So an image's loss depends on the rest of the batch, on all devices. Of equal logits
    the first come first.

    Args:
        game: the other losses; the discriminator's stays as it is.
        fraction: float[] in (0, 1]; as an array it may change from step to step without a new compilation, so make the
            game inside the step. An array is not checked.

    Raises:
        UserError: a fraction that is not valid.

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax.losses import adversarial
        >>> game = adversarial.top_k(adversarial.wasserstein(), fraction=0.5)
        >>> fake = jnp.array([1.0, 4.0, 2.0, 3.0])
        >>> game.generator(fake, fake).mean().item()  # of the fakes with the logits 4 and 3
        -3.5

    References:
        Sinha et al., "Top-k Training of GANs: Improving GAN Performance by Throwing Away Bad Samples" (2020).
    """
    if isinstance(fraction, (int, float)) and not 0 < fraction <= 1:
        raise UserError(f"fraction={fraction}: valid are numbers in (0, 1]")

    def generator(real: Float[Array, "B ..."], fake: Float[Array, "B ..."]) -> Float[Array, "B"]:
        rank, size = _rank(jax.lax.stop_gradient(_mean(fake)))
        k = jnp.clip(jnp.round(jnp.asarray(fraction) * size), 1, size)
        # A product and not a choice: a loss that is not a number must be seen, chosen or not.
        return game.generator(real, fake) * jnp.where(rank < k, size / k, 0.0)

    return game._replace(generator=generator)


def _rank(scores: Float[Array, "B"]) -> tuple[Array, int]:
    """int32[B], how many of the global batch come before each in falling order, and the size of the global batch."""
    everyone = gather_over_devices(scores)
    return own_rows(_inverse(jnp.argsort(everyone, descending=True))), everyone.size


def _inverse(permutation: Int[Array, "N"]) -> Int[Array, "N"]:
    places = jnp.arange(permutation.size, dtype=permutation.dtype)
    return jnp.zeros_like(permutation).at[permutation].set(places)


def _cross_entropy(real_weight: float, smoothing: float) -> Callable[[Array, Array], Array]:
    """``-log D = softplus(-logit)`` and ``-log(1 - D) = softplus(logit)`` hold for logits of any size."""
    if not real_weight > 0:
        raise UserError(f"real_weight={real_weight}: valid are numbers above 0")
    if not 0 <= smoothing < 0.5:
        raise UserError(
            f"smoothing={smoothing}: valid are numbers in [0, 0.5), the label being 1 - smoothing"
        )

    def discriminator(real: Float[Array, "B ..."], fake: Float[Array, "B ..."]) -> Float[Array, "B"]:
        # (1 - s) softplus(-logit) + s softplus(logit), whose difference is the logit.
        of_real = jax.nn.softplus(-real) + smoothing * real
        return real_weight * _mean(of_real) + _mean(jax.nn.softplus(fake))

    return discriminator


def _mean(x: Float[Array, "B ..."]) -> Float[Array, "B"]:
    """Over the patches of each image."""
    return x.reshape(x.shape[0], -1).mean(1)


GAMES: dict[str, Callable[..., AdversarialLoss]] = {
    "non_saturating": non_saturating,
    "minimax": minimax,
    "hinge": hinge,
    "least_squares": least_squares,
    "wasserstein": wasserstein,
    "relativistic": relativistic,
}
"""Games by name; each can be called without arguments."""

if TYPE_CHECKING:
    GameName: TypeAlias = str
else:
    GameName = Literal[tuple(GAMES)]
