"""How a label enters a network: joined to its input, or projected on the discriminator's features."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from genjax.nn.weight_norm import WeightNorm, apply_layer
from genjax.typing import Array, UserError


class Join(nn.Module):
    """Concatenation: the code of a label becomes more channels, the same ones at every position.

    Of latent variables it makes longer ones, of images it makes images with constant channels.

    Attributes:
        num_classes: number of labels.
        width: number of channels of a learned embedding; None: the one-hot code, of `num_classes` channels.

    References:
        Mirza and Osindero, "Conditional Generative Adversarial Nets" (2014), section 3.2.
    """

    num_classes: int
    width: int | None = None

    @nn.compact
    def __call__(self, x: Array, label: Array | None) -> Array:
        """float[B,...,F], int32[B] -> float[B,...,F + width]."""
        code = one_hot(label, self.num_classes)
        if self.width is not None:
            code = nn.Dense(
                self.width, use_bias=False, kernel_init=nn.initializers.normal(1.0), name="embed"
            )(code)
        code = code.reshape(code.shape[0], *(1,) * (x.ndim - 2), code.shape[-1]).astype(x.dtype)
        return jnp.concatenate([x, jnp.broadcast_to(code, (*x.shape[:-1], code.shape[-1]))], axis=-1)


class Projection(nn.Module):
    """The inner product of the features and a learned embedding of the label, which is to be added to the logit.

    Attributes:
        num_classes: number of labels.
        weight_norm: wraps the embedding, a linear map of the one-hot code, see `genjax.nn.weight_norm`; None: not.

    References:
        Miyato and Koyama, "cGANs with Projection Discriminator" (2018), equation 3.
    """

    num_classes: int
    weight_norm: WeightNorm | None = None

    @nn.compact
    def __call__(self, features: Array, label: Array | None, *, train: bool = False) -> Array:
        """float[B,...,F], int32[B] -> float[B,...]."""
        embed = nn.Dense(features.shape[-1], use_bias=False, name="embed")
        code = apply_layer(self.weight_norm, embed, one_hot(label, self.num_classes), train)
        code = code.reshape(code.shape[0], *(1,) * (features.ndim - 2), code.shape[-1])
        return jnp.sum(features * code, axis=-1)


def one_hot(label: Array | None, num_classes: int) -> Array:
    """int32[B] -> float32[B,num_classes].

    Raises:
        UserError: if there is no label.
    """
    if label is None:
        raise UserError(f"label is missing: the network is conditional, valid are 0..{num_classes - 1}")
    return jax.nn.one_hot(label, num_classes)


def joined(join: nn.Module | None, z: Array, label: Array | None) -> Array:
    """What a generator sees of z and the label; without `join`, z.

    Raises:
        UserError: if there is a label for a generator that would not look at it.
    """
    if join is not None:
        result: Array = join(z, label)
        return result
    if label is not None:
        raise UserError("label is given, but the generator is unconditional (join=None)")
    return z


def seen(join: nn.Module | None, images: Array, label: Array | None) -> Array:
    """What a discriminator sees of images and labels. An unconditional one ignores labels: what they are may be asked
    of its features, by a classifier."""
    return images if join is None else join(images, label)  # type: ignore[no-any-return]


def projected(
    projection: nn.Module | None, logits: Array, features: Array, label: Array | None, train: bool
) -> Array:
    """Logits [B,...], with the projection of features [B,...,F] where there is one."""
    return logits if projection is None else logits + projection(features, label, train=train)
