"""Variational autoencoders: what can be configured, and how it is built."""

import dataclasses
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from genjax.app.families.family import Family, num_classes, optimizer
from genjax.data import DataInfo
from genjax.losses import likelihood, logistic_mixture
from genjax.losses.likelihood import Likelihood
from genjax.methods import vae
from genjax.methods.latent_space import LatentSpace, vae_space
from genjax.methods.vae import regularizers
from genjax.models.vae import vae as networks
from genjax.models.vae.deep_vae import DeepVAE
from genjax.nn import flows
from genjax.typing import Method, UserError

if TYPE_CHECKING:
    from genjax.app.config import Config

PosteriorFlow = Literal["none", "iaf", "realnvp"]
PriorFlow = Literal["none", "maf", "realnvp"]


@dataclasses.dataclass(frozen=True)
class MLPConfig:
    """The networks: perceptrons (genjax.models.vae.vae).

    Attributes:
        latent: Number of latent variables.
        hidden: Widths of the encoder's layers; the decoder mirrors them.
        posterior_flow: What makes the posterior more than a normal distribution.
        prior_flow: What makes the prior more than a normal distribution.
        flow_steps: Steps of each flow.
    """

    latent: int = 16
    hidden: tuple[int, ...] = (512,)
    posterior_flow: PosteriorFlow = "none"
    prior_flow: PriorFlow = "none"
    flow_steps: int = 4


@dataclasses.dataclass(frozen=True)
class ConvConfig:
    """The networks: convolutions (genjax.models.vae.vae).

    Attributes:
        latent: Number of latent variables.
        channels: Widths of the encoder's strided convolutions; the decoder mirrors them.
        dense: Width of the dense layers between convolutions and latent variables.
        decoder_dense: The decoder has this layer too; else a single dense one leads to its convolutions.
        kernel: Side of the convolutions' kernels.
        extra: The decoder ends in one more convolution, which does not double the resolution.
        posterior_flow: What makes the posterior more than a normal distribution.
        prior_flow: What makes the prior more than a normal distribution.
        flow_steps: Steps of each flow.
    """

    latent: int = 32
    channels: tuple[int, ...] = (32, 64)
    dense: int = 256
    decoder_dense: bool = True
    kernel: int = 4
    extra: bool = False
    posterior_flow: PosteriorFlow = "none"
    prior_flow: PriorFlow = "none"
    flow_steps: int = 4


@dataclasses.dataclass(frozen=True)
class DeepConfig:
    """The network: a deep hierarchy (genjax.models.vae.deep_vae). Tuples have one entry a resolution, the finest first.

    Attributes:
        patch: Side of the patches that images are cut into.
        groups: Groups of latent variables; their number is the depth of the hierarchy.
        widths: Channels of the features.
        encoder_blocks: Residual blocks on the way up.
        decoder_blocks: Residual blocks on the way down, beside those of the groups.
        latent_channels: Channels of a group.
        bottleneck: Channels inside of residual blocks, as a fraction of their width.
        dtype: Type of the computation; parameters are float32 in any case.
        remat: Recompute activations in the backward pass instead of storing them.
    """

    patch: int = 2
    groups: tuple[int, ...] = (0, 4, 3, 0, 2)
    widths: tuple[int, ...] = (64, 64, 64, 64, 64)
    encoder_blocks: tuple[int, ...] = (1, 1, 1, 0, 1)
    decoder_blocks: tuple[int, ...] = (1, 0, 0, 0, 0)
    latent_channels: int = 8
    bottleneck: float = 0.5
    dtype: Literal["float32", "bfloat16"] = "float32"
    remat: bool = False


@dataclasses.dataclass(frozen=True)
class VAEConfig:
    """The training method: a variational autoencoder (genjax.methods.vae.vae).

    Attributes:
        likelihood: What the decoder puts out: "bernoulli" for black and white pixels, "gaussian" (fixed scale),
            "gaussian_shared" (one learned scale), "gaussian_learned" (one for each pixel), "logistic_mixture"
            (probabilities of the 256 levels).
        scale: Standard deviation of "gaussian", where images span [-1, 1].
        mixtures: Components of "logistic_mixture".
        rate: What latent variables cost: "kl" (beta-VAE; with beta 1 the VAE), "capacity" (Burgess et al. 2018), "tc"
            (beta-TCVAE).
        beta: Weight of the divergence, or of the total correlation.
        warmup_steps: Updates over which the weight of "kl" grows from 0.
        free_bits: Nats of each group of latent variables that cost nothing under "kl".
        balance: Weigh groups by the nats they use while warming up.
        capacity: Nats that "capacity" leads to.
        capacity_steps: Updates until it is reached.
        dataset_size: Training images, as "tc" counts them.
        class_conditional: Condition on labels where the data set has them.
        draw_pixels: Samples are draws from the likelihood; else its means.
        ema_decay: Decay of the moving average of the parameters, with which images are made.
    """

    likelihood: Literal[
        "bernoulli", "gaussian", "gaussian_shared", "gaussian_learned", "logistic_mixture"
    ] = "bernoulli"
    scale: float = 0.2
    mixtures: int = 5
    rate: Literal["kl", "capacity", "tc"] = "kl"
    beta: float = 1.0
    warmup_steps: int = 0
    free_bits: float = 0.0
    balance: bool = False
    capacity: float = 25.0
    capacity_steps: int = 10_000
    dataset_size: int = 60_000
    class_conditional: bool = False
    draw_pixels: bool = False
    ema_decay: float = 0.999


LIKELIHOODS: dict[str, Callable[[VAEConfig], Likelihood]] = {
    "bernoulli": lambda c: likelihood.bernoulli(),
    "gaussian": lambda c: likelihood.gaussian(c.scale),
    "gaussian_shared": lambda c: likelihood.gaussian_learned(),
    "gaussian_learned": lambda c: likelihood.gaussian_learned(),
    "logistic_mixture": lambda c: logistic_mixture.logistic_mixture(c.mixtures),
}

RATES: dict[str, Callable[[VAEConfig], regularizers.Rate]] = {
    "kl": lambda c: regularizers.kl(
        c.beta, warmup_steps=c.warmup_steps, free_bits=c.free_bits, balance=c.balance
    ),
    "capacity": lambda c: regularizers.capacity(c.beta, c.capacity, c.capacity_steps),
    "tc": lambda c: regularizers.total_correlation(c.beta, dataset_size=c.dataset_size),
}

POSTERIOR_FLOWS: dict[str, Callable[[int], nn.Module | None]] = {
    "none": lambda steps: None,
    "iaf": lambda steps: flows.InverseAutoregressive(steps=steps),
    "realnvp": lambda steps: flows.RealNVP(couplings=steps),
}

PRIOR_FLOWS: dict[str, Callable[[int], nn.Module | None]] = {
    "none": lambda steps: None,
    "maf": lambda steps: flows.Inverse(flows.InverseAutoregressive(steps=steps)),
    "realnvp": lambda steps: flows.RealNVP(couplings=steps),
}


def classes_of(config: "Config", info: DataInfo) -> int | None:
    """Number of classes of a conditional model, None for an unconditional one.

    Raises:
        UserError: a conditional model of images without labels.
    """
    if config.method.class_conditional and info.num_classes is None:
        raise UserError(
            f"method.class_conditional=True: the data set {info.name!r} has no labels; valid is False"
        )
    return num_classes(config, info)


def network(config: "Config", info: DataInfo) -> nn.Module:
    """The network, encoder and decoder."""
    model, classes = config.model, classes_of(config, info)
    height, width, channels = info.image_shape
    shared = config.method.likelihood == "gaussian_shared"
    depth = channels if shared else LIKELIHOODS[config.method.likelihood](config.method).outputs(channels)
    outputs = height, width, depth
    if isinstance(model, DeepConfig):
        options = dataclasses.asdict(model) | {"dtype": jnp.dtype(model.dtype)}
        return DeepVAE(outputs=depth, image_size=(height, width), num_classes=classes, **options)
    encoder, decoder = encoder_and_decoder(model, outputs, classes)
    return networks.VAE(
        encoder,
        networks.SharedScale(decoder) if shared else decoder,
        model.latent,
        posterior_flow=POSTERIOR_FLOWS[model.posterior_flow](model.flow_steps),
        prior_flow=PRIOR_FLOWS[model.prior_flow](model.flow_steps),
    )


def encoder_and_decoder(
    model: MLPConfig | ConvConfig, outputs: tuple[int, int, int], classes: int | None
) -> tuple[nn.Module, nn.Module]:
    """The two halves, for outputs of this shape."""
    if isinstance(model, MLPConfig):
        return (
            networks.MLPEncoder(model.hidden, classes),
            networks.MLPDecoder(outputs, model.hidden[::-1], classes),
        )
    return (
        networks.ConvEncoder(model.channels, model.dense, classes, model.kernel),
        networks.ConvDecoder(
            outputs,
            model.channels,
            model.dense if model.decoder_dense else None,
            classes,
            model.kernel,
            model.extra,
        ),
    )


def latent_space(config: "Config", info: DataInfo) -> LatentSpace:
    """Reconstructions and codes."""
    likelihood = LIKELIHOODS[config.method.likelihood](config.method)
    return vae_space(network(config, info), likelihood, classes_of(config, info))


def settings(config: "Config", info: DataInfo, scoring: bool) -> dict[str, Any]:
    """What every method that trains a variational autoencoder is told by name."""
    options = config.method
    return {
        "image_shape": info.image_shape,
        "num_classes": classes_of(config, info),
        "rate": RATES[options.rate](options),
        "draw_pixels": options.draw_pixels,
        "ema_decay": options.ema_decay,
        "importance_samples": config.evaluation.importance_samples if scoring else 0,
        "accumulate": config.optimizer.accumulate,
    }


def method(config: "Config", info: DataInfo, scoring: bool = False) -> Method:
    """The training method, with its network and optimizer."""
    return vae(
        network(config, info),
        optimizer(config.optimizer, config.fit.steps),
        LIKELIHOODS[config.method.likelihood](config.method),
        **settings(config, info, scoring),
    )


def condition(config: "Config", num: int) -> dict[str, np.ndarray]:
    """Beside the labels."""
    temperature = config.sampling.temperature
    return {} if temperature == 1.0 else {"temperature": np.full(num, temperature, np.float32)}


RANGES = {
    "model.latent": "[1, inf)",
    "model.hidden": "[1, inf)",
    "model.channels": "[1, inf)",
    "model.dense": "[1, inf)",
    "model.kernel": "[1, inf)",
    "model.flow_steps": "[1, inf)",
    "model.patch": "[1, inf)",
    "model.groups": "[0, inf)",
    "model.widths": "[1, inf)",
    "model.encoder_blocks": "[0, inf)",
    "model.decoder_blocks": "[0, inf)",
    "model.latent_channels": "[1, inf)",
    "model.bottleneck": "(0, inf)",
    "method.scale": "(0, inf)",
    "method.mixtures": "[1, inf)",
    "method.beta": "[0, inf)",
    "method.warmup_steps": "[0, inf)",
    "method.free_bits": "[0, inf)",
    "method.capacity": "[0, inf)",
    "method.capacity_steps": "[1, inf)",
    "method.dataset_size": "[1, inf)",
}


def contradictions(config: "Config") -> list[tuple[bool, str]]:
    """Fields that do not go together: whether they do not, and what to say then."""
    options, deep = config.method, isinstance(config.model, DeepConfig)
    kl_only = {name: getattr(options, name) for name in ("warmup_steps", "free_bits", "balance")}
    given = [name for name, value in kl_only.items() if value]
    return [
        (
            options.rate != "kl" and bool(given),
            f"method.{given[0] if given else ''}: is for method.rate='kl', and method.rate={options.rate!r}",
        ),
        (
            options.balance and not options.warmup_steps,
            "method.balance=True is for the warm-up, and method.warmup_steps=0",
        ),
        (
            deep and options.rate == "tc",
            "method.rate='tc' needs a network with one group of latent variables, not a deep hierarchy",
        ),
        (
            deep and options.likelihood == "gaussian_shared",
            "method.likelihood='gaussian_shared' is for perceptrons and convolutions; valid for a deep hierarchy are "
            "'bernoulli', 'gaussian', 'gaussian_learned', 'logistic_mixture'",
        ),
        (
            options.likelihood == "bernoulli" and options.draw_pixels and config.data.binarize == "no",
            "method.draw_pixels=True draws black and white pixels, and data.binarize='no' has grey ones",
        ),
    ]


def check_images(config: "Config", image_shape: tuple[int, int, int]) -> None:
    """Raises UserError where the network does not fit the images."""
    size = math.prod(image_shape)
    if not isinstance(config.model, DeepConfig) and config.model.latent > size:
        raise UserError(
            f"model.latent={config.model.latent}: images have {size} components, valid are 1..{size}"
        )


VAE = Family(
    models=(MLPConfig, ConvConfig, DeepConfig),
    method=method,
    ranges=RANGES,
    contradictions=contradictions,
    check_images=check_images,
    sampling=("temperature",),
    condition=condition,
    latent_space=latent_space,
)
