"""Diffusion models: what can be configured, and how it is built."""

import dataclasses
import inspect
from typing import TYPE_CHECKING, Literal

import jax.numpy as jnp
import numpy as np

from genjax.app.families.family import Family, num_classes, optimizer
from genjax.data import DataInfo
from genjax.diffusion import PREDICTIONS, SAMPLERS, SCHEDULES, Sampler, Schedule
from genjax.diffusion.grids import GRIDS
from genjax.diffusion.schedules import DISCRETE
from genjax.diffusion.times import TIMES, Adaptive, DrawTimes
from genjax.diffusion.weighting import WEIGHTINGS
from genjax.methods import diffusion
from genjax.models import UNet
from genjax.typing import Array, Method, UserError

if TYPE_CHECKING:
    from genjax.app.config import Config, SamplingConfig

    ScheduleName = PredictionName = WeightingName = TimesName = str
else:  # what is registered is what can be chosen
    # A learned schedule would have to be trained.
    ScheduleName = Literal[tuple(name for name in SCHEDULES if name != "learned")]
    PredictionName, WeightingName = Literal[tuple(PREDICTIONS)], Literal[tuple(WEIGHTINGS)]
    TimesName = Literal[tuple(TIMES)]


@dataclasses.dataclass(frozen=True)
class UNetConfig:
    """The network: a U-Net (genjax.models.UNet).

    Attributes:
        channels: Width at full resolution.
        multipliers: Width of each resolution, as a multiple of channels; each resolution is half the last.
        blocks: Residual blocks per resolution.
        attention: Image heights at which there is self-attention.
        head_channels: Width of an attention head.
        dropout: Rate of dropout in the blocks.
        dtype: Type of the computation; parameters are float32 in any case.
        remat: Recompute activations in the backward pass instead of storing them.
    """

    channels: int = 32
    multipliers: tuple[int, ...] = (1, 2, 2)
    blocks: int = 1
    attention: tuple[int, ...] = ()
    head_channels: int = 64
    dropout: float = 0.0
    dtype: Literal["float32", "bfloat16"] = "float32"
    remat: bool = False


@dataclasses.dataclass(frozen=True)
class DiffusionConfig:
    """The training method: denoising diffusion (genjax.methods.diffusion.diffusion).

    Attributes:
        schedule: Noise schedule.
        timesteps: T, number of diffusion steps, of a schedule that has steps.
        prediction: What the network predicts.
        weighting: How much each time counts in the loss.
        times: How training times are drawn; None: "discrete" for a schedule that has steps, else "uniform".
        class_conditional: Condition on labels where the data set has them.
        condition_dropout: Probability of hiding the label in training, for classifier-free guidance.
        ema_decay: Decay of the moving average of the parameters, with which images are made.
    """

    schedule: ScheduleName = "cosine"
    timesteps: int = 1000
    prediction: PredictionName = "eps"
    weighting: WeightingName = "simple"
    times: TimesName | None = None
    class_conditional: bool = True
    condition_dropout: float = 0.1
    ema_decay: float = 0.999


def sampler(config: "SamplingConfig") -> Sampler:
    """The sampler, with the `eta` that is asked for where it has one."""
    options = {} if config.eta is None or not has_eta(config.sampler) else {"eta": config.eta}
    return SAMPLERS[config.sampler](**options)


def has_eta(sampler: str) -> bool:
    """Whether a sampler can be told how much noise to add."""
    return "eta" in inspect.signature(SAMPLERS[sampler]).parameters


def schedule(config: DiffusionConfig) -> Schedule:
    """The noise schedule."""
    return SCHEDULES[config.schedule](*([config.timesteps] if config.schedule in DISCRETE else []))


def sampling_times(config: "Config") -> Array:
    """float32[K+1]: the times at which images are made."""
    return GRIDS[config.sampling.grid](config.sampling.num_steps, schedule(config.method))


def training_times(config: DiffusionConfig) -> DrawTimes | Adaptive:
    """How the times to train at are drawn."""
    name = config.times or ("discrete" if config.schedule in DISCRETE else "uniform")
    return TIMES[name](*([config.timesteps] if name in ("discrete", "loss_aware") else []))


def network(config: "Config", info: DataInfo) -> UNet:
    """The network."""
    model = config.model
    return UNet(
        channels=model.channels,
        multipliers=model.multipliers,
        blocks=model.blocks,
        attention=model.attention,
        head_channels=model.head_channels,
        num_classes=num_classes(config, info),
        dropout=model.dropout,
        dtype=jnp.dtype(model.dtype),
        remat=model.remat,
    )


def method(config: "Config", info: DataInfo, scoring: bool = False) -> Method:
    """The training method, with its network and optimizer."""
    options = config.method
    return diffusion(
        network(config, info),
        optimizer(config.optimizer, config.fit.steps),
        schedule(options),
        sampler(config.sampling),
        sampling_times(config),
        image_shape=info.image_shape,
        num_classes=num_classes(config, info),
        predict=PREDICTIONS[options.prediction],
        draw_times=training_times(options),
        weight=WEIGHTINGS[options.weighting],
        ema_decay=options.ema_decay,
        condition_dropout=options.condition_dropout,
        accumulate=config.optimizer.accumulate,
    )


def condition(config: "Config", num: int) -> dict[str, np.ndarray]:
    """Beside the labels."""
    scale = config.sampling.guidance
    if scale == 1.0:  # the second evaluation of the network would be multiplied by 0
        return {}
    return {"guidance": np.full(num, scale, np.float32)}


RANGES = {
    "model.channels": "[2, inf)",
    "model.multipliers": "[1, inf)",
    "model.blocks": "[1, inf)",
    "model.attention": "[1, inf)",
    "model.head_channels": "[1, inf)",
    "model.dropout": "[0, 1)",
    "method.timesteps": "[1, inf)",
    "method.condition_dropout": "[0, 1]",
}

_WITH_ETA = [name for name in SAMPLERS if has_eta(name)]
_WITHOUT_SIGNAL = ("flow", "shifted_cosine")


def contradictions(config: "Config") -> list[tuple[bool, str]]:
    """Fields that do not go together: whether they do not, and what to say then."""
    sampling = config.sampling
    return [
        (not config.model.multipliers, "model.multipliers=(): at least one is needed"),
        (
            bool(sampling.eta) and sampling.sampler not in _WITH_ETA,
            f"sampling.eta={sampling.eta} is for {', '.join(_WITH_ETA)}, and sampling.sampler={sampling.sampler!r}",
        ),
        (
            sampling.grid in ("karras", "exponential") and config.method.schedule in _WITHOUT_SIGNAL,
            f"sampling.grid={sampling.grid!r}: method.schedule={config.method.schedule!r} ends in pure noise, where "
            "sigma / alpha is infinite; valid are 'linspace', 'quadratic'",
        ),
    ]


def check_images(config: "Config", image_shape: tuple[int, int, int]) -> None:
    """Raises UserError where the network does not fit the images."""
    model = config.model
    heights = [image_shape[0] // 2**level for level in range(len(model.multipliers))]
    unknown = sorted(set(model.attention) - set(heights))
    if unknown:
        raise UserError(
            f"model.attention={model.attention}: no features have height {unknown[0]}; valid are {heights}"
        )
    widths = {height: model.channels * m for height, m in zip(heights, model.multipliers, strict=True)}
    for height in {*model.attention, heights[-1]}:
        width = widths[height]
        if width % max(1, width // model.head_channels):
            raise UserError(
                f"model.head_channels={model.head_channels}: {width} channels at height {height} cannot be "
                f"divided into {width // model.head_channels} heads"
            )


DIFFUSION = Family(
    models=(UNetConfig,),
    method=method,
    ranges=RANGES,
    contradictions=contradictions,
    check_images=check_images,
    sampling=("sampler", "grid", "num_steps", "eta", "guidance"),
    condition=condition,
)
