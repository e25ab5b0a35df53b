"""Autoencoders: what can be configured, and how it is built."""

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import flax.linen as nn

from genjax.app.families.family import Family, optimizer
from genjax.app.families.vae import RANGES as NETWORK_RANGES
from genjax.app.families.vae import ConvConfig, MLPConfig, check_images, classes_of, encoder_and_decoder
from genjax.data import DataInfo
from genjax.losses import likelihood
from genjax.losses.likelihood import Likelihood
from genjax.methods.latent_space import LatentSpace, autoencoder_space
from genjax.methods.vae.autoencoder import Corruption, Penalty, autoencoder, gaussian_noise, kl, l1, masking
from genjax.models.vae.autoencoder import Autoencoder
from genjax.typing import Method

if TYPE_CHECKING:
    from genjax.app.config import Config


@dataclasses.dataclass(frozen=True)
class AutoencoderConfig:
    """The training method: an autoencoder (genjax.methods.vae.autoencoder).

    Attributes:
        likelihood: What the decoder puts out: "bernoulli" or "gaussian" (fixed scale).
        scale: Standard deviation of "gaussian", where images span [-1, 1].
        sparsity: Penalty on the code: its absolute values, or "kl" of mean activations in (0, 1).
        sparsity_weight: Of the penalty.
        sparsity_target: Mean activation that "kl" asks for.
        corruption: What a denoising autoencoder repairs; "none" for one that is not.
        corruption_level: Standard deviation of "gaussian", or probability of "masking".
        walkback: Corruptions of each example in training; above 1: of reconstructions too.
        chain: Steps of the Markov chain by which a denoising autoencoder makes images.
        class_conditional: Condition on labels where the data set has them.
        ema_decay: Decay of the moving average of the parameters, with which images are made.
    """

    likelihood: Literal["bernoulli", "gaussian"] = "gaussian"
    scale: float = 0.2
    sparsity: Literal["none", "l1", "kl"] = "none"
    sparsity_weight: float = 1.0
    sparsity_target: float = 0.05
    corruption: Literal["none", "gaussian", "masking"] = "none"
    corruption_level: float = 0.5
    walkback: int = 1
    chain: int = 50
    class_conditional: bool = False
    ema_decay: float = 0.999


LIKELIHOODS: dict[str, Callable[[AutoencoderConfig], Likelihood]] = {
    "bernoulli": lambda c: likelihood.bernoulli(),
    "gaussian": lambda c: likelihood.gaussian(c.scale),
}

PENALTIES: dict[str, Callable[[AutoencoderConfig], Penalty | None]] = {
    "none": lambda c: None,
    "l1": lambda c: l1(c.sparsity_weight),
    "kl": lambda c: kl(c.sparsity_weight, c.sparsity_target),
}

CORRUPTIONS: dict[str, Callable[[AutoencoderConfig], Corruption | None]] = {
    "none": lambda c: None,
    "gaussian": lambda c: gaussian_noise(c.corruption_level),
    "masking": lambda c: masking(c.corruption_level),
}


def network(config: "Config", info: DataInfo) -> Autoencoder:
    """The network, encoder and decoder."""
    activation = nn.sigmoid if config.method.sparsity == "kl" else None
    halves = encoder_and_decoder(config.model, info.image_shape, classes_of(config, info))
    return Autoencoder(*halves, config.model.latent, activation)


def method(config: "Config", info: DataInfo, scoring: bool = False) -> Method:
    """The training method, with its network and optimizer."""
    options: AutoencoderConfig = config.method
    return autoencoder(
        network(config, info),
        optimizer(config.optimizer, config.fit.steps),
        LIKELIHOODS[options.likelihood](options),
        image_shape=info.image_shape,
        num_classes=classes_of(config, info),
        penalty=PENALTIES[options.sparsity](options),
        corrupt=CORRUPTIONS[options.corruption](options),
        walkback=options.walkback,
        chain=options.chain,
        ema_decay=options.ema_decay,
        accumulate=config.optimizer.accumulate,
    )


def latent_space(config: "Config", info: DataInfo) -> LatentSpace:
    """Reconstructions and codes."""
    options: AutoencoderConfig = config.method
    return autoencoder_space(
        network(config, info), LIKELIHOODS[options.likelihood](options), classes_of(config, info)
    )


RANGES = {
    **{name: interval for name, interval in NETWORK_RANGES.items() if name.startswith("model.")},
    "method.scale": "(0, inf)",
    "method.sparsity_weight": "[0, inf)",
    "method.sparsity_target": "(0, 1)",
    "method.corruption_level": "[0, inf)",
    "method.walkback": "[1, inf)",
    "method.chain": "[1, inf)",
}


def contradictions(config: "Config") -> list[tuple[bool, str]]:
    """Fields that do not go together: whether they do not, and what to say then."""
    options: AutoencoderConfig = config.method
    flows = [
        name for name in ("posterior_flow", "prior_flow") if getattr(config.model, name, "none") != "none"
    ]
    return [
        (
            bool(flows),
            f"model.{''.join(flows[:1])} is for variational autoencoders; valid for an autoencoder is 'none'",
        ),
        (
            options.corruption == "none" and options.walkback > 1,
            f"method.walkback={options.walkback}: method.corruption='none', where valid is 1",
        ),
        (
            options.corruption == "masking" and options.corruption_level > 1,
            f"method.corruption_level={options.corruption_level}: of 'masking' valid are [0, 1]",
        ),
    ]


AUTOENCODER = Family(
    models=(MLPConfig, ConvConfig),
    method=method,
    ranges=RANGES,
    contradictions=contradictions,
    check_images=check_images,
    sampling=(),
    latent_space=latent_space,
)
