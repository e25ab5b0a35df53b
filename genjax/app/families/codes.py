"""Models of integer codes, VQ-VAE and VQ-VAE-2 with a prior: what can be configured, and how it is built."""

import dataclasses
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import flax.linen as nn
import numpy as np

from genjax.app.families.family import Family, num_classes, optimizer
from genjax.data import DataInfo
from genjax.methods.codes.code_model import CodeModel, reconstruct
from genjax.methods.codes.code_prior import code_prior
from genjax.methods.codes.two_stages import stages, two_stages
from genjax.methods.codes.vq_vae import vq_vae, vq_vae_codes
from genjax.methods.latent_space import LatentSpace
from genjax.models.codes.code_transformer import CodeTransformer
from genjax.models.codes.pixel_cnn import PixelCNN
from genjax.models.codes.vq_vae import VQVAE
from genjax.nn.quantization import FiniteScalarQuantizer, VectorQuantizer
from genjax.typing import Array, Batch, Key, Method, TrainState

if TYPE_CHECKING:
    from genjax.app.config import Config


@dataclasses.dataclass(frozen=True)
class CodesConfig:
    """The networks: encoder and decoder of codes (genjax.models.codes.vq_vae), and the prior over the codes.

    Attributes:
        quantizer: A learned code book, or "finite_scalar" (Mentzer et al. 2023).
        num_codes: Codes in the book.
        code_width: Channels of a code.
        scalar_levels: Values of each channel of "finite_scalar"; their product is the number of codes.
        levels: 1 for VQ-VAE, 2 for VQ-VAE-2.
        downsamplings: Halvings of the resolution before the finest codes.
        channels: Width of encoder and decoder.
        residual_blocks: Blocks in each encoder and decoder.
        prior: Network of the prior.
        prior_channels: Its width.
        prior_depth: Its number of layers.
        prior_dropout: Rate of dropout in it.
    """

    quantizer: Literal["vector", "finite_scalar"] = "vector"
    num_codes: int = 512
    code_width: int = 64
    scalar_levels: tuple[int, ...] = (8, 8, 8)
    levels: int = 1
    downsamplings: int = 2
    channels: int = 64
    residual_blocks: int = 2
    prior: Literal["pixel_cnn", "transformer"] = "pixel_cnn"
    prior_channels: int = 64
    prior_depth: int = 8
    prior_dropout: float = 0.0


@dataclasses.dataclass(frozen=True)
class VQVAEConfig:
    """The training methods: VQ-VAE, then a prior over its codes (genjax.methods.codes.vq_vae, code_prior, two_stages).

    Attributes:
        first_steps: Updates of the VQ-VAE; the rest are the prior's.
        commitment: Weight of the commitment loss.
        class_conditional: Condition the prior on labels where the data set has them.
        condition_dropout: Probability of hiding the label in training, for classifier-free guidance.
        ema_decay: Decay of the moving averages of the parameters, with which images are made.
    """

    first_steps: int = 5000
    commitment: float = 0.25
    class_conditional: bool = True
    condition_dropout: float = 0.1
    ema_decay: float = 0.999


QUANTIZERS: dict[str, Callable[[CodesConfig], Callable[..., Any]]] = {
    "vector": lambda c: functools.partial(VectorQuantizer, num_codes=c.num_codes, width=c.code_width),
    "finite_scalar": lambda c: functools.partial(FiniteScalarQuantizer, levels=c.scalar_levels),
}

PRIORS: dict[str, Callable[..., nn.Module]] = {
    "pixel_cnn": lambda c, **options: PixelCNN(
        channels=c.prior_channels,
        depth=c.prior_depth,
        kernel_size=3,  # at a depth of 8 it reaches over 9x9 codes
        dropout=c.prior_dropout,
        **options,
    ),
    "transformer": lambda c, **options: CodeTransformer(
        width=c.prior_channels, depth=c.prior_depth, dropout=c.prior_dropout, **options
    ),
}


def network(config: "Config", info: DataInfo) -> VQVAE:
    """The first stage's network."""
    model: CodesConfig = config.model
    return VQVAE(
        out_channels=info.image_shape[-1],
        quantizer=QUANTIZERS[model.quantizer](model),
        levels=model.levels,
        downsamplings=model.downsamplings,
        channels=model.channels,
        residual_blocks=model.residual_blocks,
    )


def codes(config: "Config", info: DataInfo) -> CodeModel:
    """The first stage as the prior sees it."""
    return vq_vae_codes(network(config, info), info.image_shape)


def first_stage(config: "Config", info: DataInfo) -> Method:
    """The autoencoder."""
    return vq_vae(
        network(config, info),
        optimizer(config.optimizer, config.method.first_steps),
        image_shape=info.image_shape,
        commitment=config.method.commitment,
        ema_decay=config.method.ema_decay,
        accumulate=config.optimizer.accumulate,
    )


def method(
    config: "Config",
    info: DataInfo,
    scoring: bool = False,
    first_stage: Callable[["Config", DataInfo], Method] = first_stage,
) -> Method:
    """Both stages, one after the other."""
    options: VQVAEConfig = config.method
    first = first_stage(config, info)
    model, classes = codes(config, info), num_classes(config, info)
    coarser = (None, *model.num_codes)
    priors = [
        PRIORS[config.model.prior](config.model, num_codes=k, num_classes=classes, coarser_codes=before)
        for k, before in zip(model.num_codes, coarser, strict=False)
    ]
    second = code_prior(
        priors,
        optimizer(config.optimizer, config.fit.steps - options.first_steps),
        model,
        first_state=first.init,
        num_classes=classes,
        condition_dropout=options.condition_dropout,
        ema_decay=options.ema_decay,
        accumulate=config.optimizer.accumulate,
    )
    return two_stages(first, second, options.first_steps)


def latent_space(config: "Config", info: DataInfo) -> LatentSpace:
    """Reconstructions."""
    model, switch = codes(config, info), config.method.first_steps

    def rebuild(key: Key, state: TrainState, batch: Batch) -> Array:
        return reconstruct(model, stages(state, switch)[0], batch["image"])

    return LatentSpace(rebuild)


def condition(config: "Config", num: int) -> dict[str, np.ndarray]:
    """Beside the labels."""
    options = {"temperature": config.sampling.temperature, "guidance": config.sampling.guidance}
    return {name: np.full(num, value, np.float32) for name, value in options.items() if value != 1.0}


RANGES = {
    "model.num_codes": "[1, inf)",
    "model.code_width": "[1, inf)",
    "model.scalar_levels": "[2, inf)",
    "model.levels": "[1, inf)",
    "model.downsamplings": "[1, inf)",
    "model.channels": "[1, inf)",
    "model.residual_blocks": "[0, inf)",
    "model.prior_channels": "[1, inf)",
    "model.prior_depth": "[1, inf)",
    "model.prior_dropout": "[0, 1)",
    "method.first_steps": "[1, inf)",
    "method.commitment": "[0, inf)",
    "method.condition_dropout": "[0, 1]",
}


def contradictions(config: "Config") -> list[tuple[bool, str]]:
    """Fields that do not go together: whether they do not, and what to say then."""
    options: VQVAEConfig = config.method
    steps, warmup = config.fit.steps, config.optimizer.warmup_steps
    shorter = min(options.first_steps, steps - options.first_steps)
    return [
        (
            options.first_steps >= steps,
            f"method.first_steps={options.first_steps} must be less than steps={steps}: the rest is for the prior",
        ),
        (
            0 < shorter <= warmup,
            f"optimizer.warmup_steps={warmup} must be less than {shorter}, the steps of the shorter stage",
        ),
        (
            config.model.quantizer == "finite_scalar" and not config.model.scalar_levels,
            "model.scalar_levels=(): at least one is needed",
        ),
    ]


CODES = Family(
    models=(CodesConfig,),
    method=method,
    ranges=RANGES,
    contradictions=contradictions,
    sampling=("temperature", "guidance"),
    condition=condition,
    latent_space=latent_space,
)
