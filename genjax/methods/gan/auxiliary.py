"""What else a discriminator's features are asked, beside "is it real": the class of an image, or its codes."""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import optax

from genjax.losses.gaussian import log_density, sum_components
from genjax.methods.gan.latent_prior import LatentPrior, codes
from genjax.typing import Array, UserError


class Question(NamedTuple):
    """A head on the discriminator's features, and what the two sides lose by its answers.

    Attributes:
        head: ``network.apply(variables, features, train=...) -> answer``, see `genjax.models.gan.heads`.
        discriminator: ``(answer to real images, answer to fakes, label, z) -> float[B]``.
        generator: ``(answer to fakes, label, z) -> float[B]``.
    """

    head: nn.Module
    discriminator: Callable[[Any, Any, Array | None, Array], Array]
    generator: Callable[[Any, Array | None, Array], Array]


class Referee(nn.Module):
    """A discriminator, and the head of a question where there is one, as one network.

    Attributes:
        discriminator: ``(images, label, train=...) -> (logits, features)``.
        head: ``(features, train=...) -> answer``, see `Question`.
    """

    discriminator: nn.Module
    head: nn.Module | None = None

    def __call__(self, images: Array, label: Array | None = None, *, train: bool) -> tuple[Array, Any]:
        """float[B,H,W,C], int32[B] -> logits float[B] or float[B,h,w], and the answer; None without a head."""
        logits, features = self.discriminator(images, label, train=train)  # type: ignore[operator]
        return logits, None if self.head is None else self.head(features, train=train)  # type: ignore[operator]


def auxiliary_classifier(head: nn.Module, weight: float = 1.0) -> Question:
    """The class of real images, and of fakes the class that was asked for: the cross-entropy, of both sides.

    Args:
        head: answers with logits float[B,K], as `genjax.models.gan.heads.ClassHead`.
        weight: of the cross-entropies.

    References:
        Odena, Olah and Shlens, "Conditional Image Synthesis with Auxiliary Classifier GANs" (2017), equations 2 and 3.
    """

    def cross_entropy(answer: Array, label: Array | None) -> Array:
        if label is None:
            raise UserError("label is missing: an auxiliary classifier needs labels")
        return weight * optax.softmax_cross_entropy_with_integer_labels(answer, label)

    def discriminator(real: Array, fake: Array, label: Array | None, z: Array) -> Array:
        return cross_entropy(real, label) + cross_entropy(fake, label)

    return Question(head, discriminator, lambda fake, label, z: cross_entropy(fake, label))


def mutual_information(
    head: nn.Module, prior: LatentPrior, weight: float = 1.0, continuous_weight: float = 0.1
) -> Question:
    """The codes a fake was made from: both sides minimise ``-log q(codes | fake)``.

    That is a lower bound of the mutual information of codes and images, up to its sign and the entropy of the codes,
    a constant.

    Args:
        head: answers with a distribution of the codes, as `genjax.models.gan.heads.CodeHead`.
        prior: of the latent variables; it has codes.
        weight: of categorical codes.
        continuous_weight: of continuous ones.

    Raises:
        UserError: a prior without codes.

    References:
        Chen et al., "InfoGAN: Interpretable Representation Learning by Information Maximizing Generative Adversarial
        Nets" (2016), equations 4 to 6.
    """
    if not prior.has_codes:
        raise UserError("prior has no codes: valid is one of genjax.methods.gan.latent_prior.with_codes")

    def surprise(answer: Any, label: Array | None, z: Array) -> Array:
        categorical, continuous = codes(prior, z)
        losses: Array = -continuous_weight * sum_components(log_density(continuous, *answer.continuous))
        for logits, value in zip(answer.logits, categorical, strict=True):
            losses = losses + weight * optax.softmax_cross_entropy(logits, value)
        return losses

    return Question(head, lambda real, fake, label, z: surprise(fake, label, z), surprise)
