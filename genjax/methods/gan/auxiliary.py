"""What is predicted from a discriminator's features besides "is it real": the class of an image, or its codes."""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
import optax

from genjax.conditions import present
from genjax.losses.gaussian import log_density, sum_components
from genjax.methods.gan.latent_prior import LatentPrior, codes
from genjax.typing import Array, Condition, UserError


class AuxiliaryTask(NamedTuple):
    """A head on the discriminator's features, and the losses of both sides by its answers.

    Attributes:
        head: ``network.apply(variables, features, train=...) -> answer``, see `genjax.models.gan.heads`.
        discriminator: ``(answer to real images, answer to fakes, condition, z) -> float[B]``.
        generator: ``(answer to fakes, condition, z) -> float[B]``.
    """

    head: nn.Module
    discriminator: Callable[[Any, Any, Condition, Array], Array]
    generator: Callable[[Any, Condition, Array], Array]


class Referee(nn.Module):
    """A discriminator, and the head of an auxiliary task where there is one, as one network.

    Attributes:
        discriminator: ``(images, condition, train=...) -> (logits, features)``.
        head: ``(features, train=...) -> answer``, see `AuxiliaryTask`.
    """

    discriminator: nn.Module
    head: nn.Module | None = None

    def __call__(
        self, images: Array, condition: Condition | None = None, *, train: bool
    ) -> tuple[Array, Any]:
        """float[B,H,W,C] -> logits float[B] or float[B,h,w], and the answer; None without a head."""
        logits, features = self.discriminator(images, condition, train=train)  # type: ignore[operator]
        return logits, None if self.head is None else self.head(features, train=train)  # type: ignore[operator]


def auxiliary_classifier(head: nn.Module, weight: float = 1.0, name: str = "label") -> AuxiliaryTask:
    """The class of real images, and the requested class of fakes: the cross-entropy, for both sides.

    Args:
        head: answers with logits float[B,K], as `genjax.models.gan.heads.ClassHead`.
        weight: weight of the cross-entropies.
        name: name of the condition that has the classes, int32[B]; an example without it counts 0.

    References:
        Odena, Olah and Shlens, "Conditional Image Synthesis with Auxiliary Classifier GANs" (2017), equations 2 and 3.
    """

    def cross_entropy(answer: Array, condition: Condition) -> Array:
        if name not in condition:
            raise UserError(f"{name} is missing: an auxiliary classifier needs it")
        entropy = weight * optax.softmax_cross_entropy_with_integer_labels(answer, condition[name])
        has = present(condition, name)
        return entropy if has is None else jnp.where(has, entropy, 0.0)

    def discriminator(real: Array, fake: Array, condition: Condition, z: Array) -> Array:
        return cross_entropy(real, condition) + cross_entropy(fake, condition)

    return AuxiliaryTask(head, discriminator, lambda fake, condition, z: cross_entropy(fake, condition))


def mutual_information(
    head: nn.Module, prior: LatentPrior, weight: float = 1.0, continuous_weight: float = 0.1
) -> AuxiliaryTask:
    """The codes a fake was made from: both sides minimise ``-log q(codes | fake)``.

    That is a lower bound of the mutual information of codes and images, up to its sign and the entropy of the codes,
    a constant.

    Args:
        head: answers with a distribution of the codes, as `genjax.models.gan.heads.CodeHead`.
        prior: distribution of the latent variables; it has codes.
        weight: weight of categorical codes.
        continuous_weight: weight of continuous codes.

    Raises:
        UserError: a prior without codes.

    References:
        Chen et al., "InfoGAN: Interpretable Representation Learning by Information Maximizing Generative Adversarial
        Nets" (2016), equations 4 to 6.
    """
    if not prior.has_codes:
        raise UserError("prior has no codes: valid is one of genjax.methods.gan.latent_prior.with_codes")

    def surprise(answer: Any, condition: Condition, z: Array) -> Array:
        categorical, continuous = codes(prior, z)
        losses: Array = -continuous_weight * sum_components(log_density(continuous, *answer.continuous))
        for logits, value in zip(answer.logits, categorical, strict=True):
            losses = losses + weight * optax.softmax_cross_entropy(logits, value)
        return losses

    return AuxiliaryTask(head, lambda real, fake, condition, z: surprise(fake, condition, z), surprise)
