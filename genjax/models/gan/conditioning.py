"""How a condition enters a pair of networks: joined to their input, or projected on the discriminator's features."""

from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp

from genjax.models.labels import join, one_hot
from genjax.nn.weight_norm import WeightNorm, apply_layer
from genjax.typing import Array, Condition, UserError


class Join(nn.Module):
    """Concatenation: the code of a label becomes more channels, the same ones at every position.

    Of latent variables it makes longer ones, of images it makes images with constant channels.

    Attributes:
        num_classes: number of labels.
        width: number of channels of a learned embedding; None: the one-hot code, of `num_classes` channels.
        key: name of the condition that has the labels.

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax.models.gan.conditioning import Join
        >>> Join(num_classes=3).apply({}, jnp.array([[0.5], [0.25]]), {"label": jnp.array([2, 0])}).tolist()
        [[0.5, 0.0, 0.0, 1.0], [0.25, 1.0, 0.0, 0.0]]

    References:
        Mirza and Osindero, "Conditional Generative Adversarial Nets" (2014), section 3.2.
    """

    num_classes: int
    width: int | None = None
    key: str = "label"

    @nn.compact
    def __call__(self, x: Array, condition: Condition | None = None) -> Array:
        """float[B,...,F] -> float[B,...,F + width]. The code of an example without a label is zero."""
        code = one_hot(condition, self.num_classes, x.shape[0], self.key)
        if self.width is not None:
            code = nn.Dense(
                self.width, use_bias=False, kernel_init=nn.initializers.normal(1.0), name="embed"
            )(code)
        return join(x, code)


class Projection(nn.Module):
    """The inner product of the features and a learned embedding of the label, which is to be added to the logit.

    Attributes:
        num_classes: number of labels.
        weight_norm: wraps the embedding, a linear map of the one-hot code, see `genjax.nn.weight_norm`; None: no
            normalisation.
        key: name of the condition that has the labels.

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax.models.gan.conditioning import Projection
        >>> variables = {"params": {"embed": {"kernel": jnp.array([[1.0, 2.0], [3.0, 4.0]])}}}
        >>> features, told = jnp.array([[1.0, 10.0], [1.0, 10.0]]), {"label": jnp.array([0, 1])}
        >>> Projection(num_classes=2).apply(variables, features, told).tolist()
        [21.0, 43.0]

    References:
        Miyato and Koyama, "cGANs with Projection Discriminator" (2018), equation 3.
    """

    num_classes: int
    weight_norm: WeightNorm | None = None
    key: str = "label"

    @nn.compact
    def __call__(self, features: Array, condition: Condition | None = None, *, train: bool = False) -> Array:
        """float[B,...,F] -> float[B,...]; 0 for an example without a label."""
        embed = nn.Dense(features.shape[-1], use_bias=False, name="embed")
        code = one_hot(condition, self.num_classes, features.shape[0], self.key)
        code = apply_layer(self.weight_norm, embed, code, train)
        code = code.reshape(code.shape[0], *(1,) * (features.ndim - 2), code.shape[-1])
        return jnp.sum(features * code, axis=-1)


def joined(join: nn.Module | None, z: Array, condition: Condition | None) -> Array:
    """float[B,Z] -> float[B,Z']: what a generator sees of z and the condition; without `join`, z.

    Raises:
        UserError: there is a condition for a generator that would not look at it.
    """
    if join is not None:
        result: Array = join(z, condition)
        return result
    if condition:
        raise UserError(f"{next(iter(condition))} is given, but the generator is unconditional (join=None)")
    return z


def seen(join: nn.Module | None, images: Array, condition: Condition | None) -> Array:
    """float[B,H,W,C] -> float[B,H,W,C']: what a discriminator sees of images and conditions.

    An unconditional one ignores conditions: an auxiliary task may ask its features for them.
    """
    return images if join is None else join(images, condition)  # type: ignore[no-any-return]


def projected(
    projection: nn.Module | None, logits: Array, features: Array, condition: Condition | None, train: bool
) -> Array:
    """Logits float[B,...], with the projection of features float[B,...,F] where there is one."""
    return logits if projection is None else logits + projection(features, condition, train=train)


class Conditioning(NamedTuple):
    """Where the labels enter a pair of networks.

    Attributes:
        num_classes: number of labels; None: the networks are told none.
        joins_latent: whether a label is joined to z.
        joins_images: whether a label is joined to the images that the discriminator sees.
        projects: whether the discriminator's features are projected on the label.

    Example:
        >>> from genjax.models.gan.conditioning import CONDITIONINGS, Conditioning
        >>> join, judged = Conditioning(10, *CONDITIONINGS["projection"]).layers()
        >>> type(join).__name__, judged["join"], type(judged["projection"]).__name__
        ('Join', None, 'Projection')
    """

    num_classes: int | None
    joins_latent: bool = False
    joins_images: bool = False
    projects: bool = False

    def layers(self, weight_norm: Any = None) -> tuple[nn.Module | None, dict[str, Any]]:
        """The generator's `join`, and the arguments "join" and "projection" of the discriminator."""
        if self.num_classes is None:
            return None, {"join": None, "projection": None}
        latent, images = (Join(self.num_classes) if wanted else None for wanted in self[1:3])
        projection = Projection(self.num_classes, weight_norm) if self.projects else None
        return latent, {"join": images, "projection": projection}


CONDITIONINGS: dict[str, tuple[bool, bool, bool]] = {
    "none": (False, False, False),
    "concatenation": (True, True, False),
    "auxiliary": (True, False, False),
    "projection": (True, False, True),
}
"""By name: the last three attributes of `Conditioning`."""
