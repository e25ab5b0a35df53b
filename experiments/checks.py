"""Whether a config makes sense: asked before anything is read, written or trained."""

import jax
from jax.sharding import Mesh

from experiments import build
from experiments.config import Config, flatten
from genjax import data
from genjax.diffusion import SAMPLERS
from genjax.train import sharding
from genjax.typing import Method, TrainState, UserError

RANGES = {
    "fit.steps": "[1, inf)",
    "fit.batch_size": "[1, inf)",
    "fit.seed": "[0, 4294967296)",
    "fit.log_every": "[1, inf)",
    "fit.checkpoint_every": "[1, inf)",
    "fit.keep_checkpoints": "[1, inf)",
    "fit.fsdp": "[1, inf)",
    "fit.fsdp_min_size": "[0, inf)",
    "fit.steps_per_dispatch": "[1, inf)",
    "data.image_size": "[1, inf)",
    "data.crop_padding": "[0, inf)",
    "data.resident_mb": "[0, inf)",
    "model.channels": "[2, inf)",
    "model.multipliers": "[1, inf)",
    "model.blocks": "[1, inf)",
    "model.attention": "[1, inf)",
    "model.head_channels": "[1, inf)",
    "model.dropout": "[0, 1)",
    "method.timesteps": "[1, inf)",
    "method.condition_dropout": "[0, 1]",
    "method.ema_decay": "[0, 1)",
    "optimizer.learning_rate": "(0, inf)",
    "optimizer.warmup_steps": "[0, inf)",
    "optimizer.weight_decay": "[0, inf)",
    "optimizer.clip_norm": "(0, inf)",
    "optimizer.accumulate": "[1, inf)",
    "sampling.num_steps": "[1, inf)",
    "sampling.eta": "[0, 1]",
    "sampling.guidance": "[0, inf)",
    "sampling.batch_size": "[1, inf)",
    "evaluation.loss_every": "[0, inf)",
    "evaluation.sample_every": "[0, inf)",
    "evaluation.grid_columns": "[1, inf)",
    "evaluation.num": "[0, inf)",
}
"""Valid values of every number of a config, and of each in a tuple. None is valid where it is the type's."""

_WITH_ETA = [name for name in SAMPLERS if build.has_eta(name)]
_WITHOUT_SIGNAL = ("flow", "shifted_cosine")


def check(config: Config) -> None:
    """Raises UserError for a number out of its range, and for fields that do not go together."""
    fields = flatten(config)
    for name, interval in RANGES.items():
        value = fields[name]
        numbers = value if isinstance(value, tuple) else () if value is None else (value,)
        if not all(_inside(number, interval) for number in numbers):
            raise UserError(f"{name.removeprefix('fit.')}={value}: valid are {interval}")
    for wrong, message in _contradictions(config):
        if wrong:
            raise UserError(message)


def _inside(value: float, interval: str) -> bool:
    low, high = map(float, interval[1:-1].split(","))
    above = value >= low if interval[0] == "[" else value > low
    below = value <= high if interval[-1] == "]" else value < high
    return above and below


def _contradictions(config: Config) -> list[tuple[bool, str]]:
    fit, model, optimizer, sampling = config.fit, config.model, config.optimizer, config.sampling
    return [
        (not model.multipliers, "model.multipliers=(): at least one is needed"),
        (
            optimizer.warmup_steps >= fit.steps,
            f"optimizer.warmup_steps={optimizer.warmup_steps} must be less than steps={fit.steps}",
        ),
        (
            fit.batch_size % optimizer.accumulate != 0,
            f"optimizer.accumulate={optimizer.accumulate} must divide batch_size={fit.batch_size}",
        ),
        (
            fit.backend == "pmap" and fit.fsdp != 1,
            f"fsdp={fit.fsdp}: backend='pmap' cannot split parameters; valid is 1, or backend='jit'",
        ),
        (
            bool(sampling.eta) and sampling.sampler not in _WITH_ETA,
            f"sampling.eta={sampling.eta} is for {', '.join(_WITH_ETA)}, and sampling.sampler={sampling.sampler!r}",
        ),
        (
            sampling.grid in ("karras", "exponential") and config.method.schedule in _WITHOUT_SIGNAL,
            f"sampling.grid={sampling.grid!r}: method.schedule={config.method.schedule!r} ends in pure noise, where "
            "sigma / alpha is infinite; valid are 'linspace', 'quadratic'",
        ),
        (config.evaluation.num == 1, "evaluation.num=1: valid are 0 (no score) and 2 or more"),
    ]


def check_fits(
    config: Config, train: data.Source, test: data.Source, method: Method, mesh: Mesh
) -> TrainState:
    """Checks that data, network and devices go together; nothing is compiled.

    Returns:
        The state that training will start from, as shapes and types.

    Raises:
        UserError: they do not.
    """
    sharding.check_batch_size(config.fit.batch_size, mesh)
    _check_alike(train.info, test.info)
    _check_attention(config, train.info.image_shape)
    key, example = jax.random.key(0), build.example(train.info)
    jax.eval_shape(lambda key, batch: build.augment(config.data, key, batch), key, example)
    return jax.eval_shape(method.init, key, example)


def _check_alike(train: data.DataInfo, test: data.DataInfo) -> None:
    for name in ("image_shape", "num_classes"):
        first, second = getattr(train, name), getattr(test, name)
        if first != second:
            raise UserError(
                f"dataset={train.name!r}: {name} is {first} in split {train.split!r}, "
                f"but {second} in split {test.split!r}"
            )


def _check_attention(config: Config, image_shape: tuple[int, int, int]) -> None:
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
