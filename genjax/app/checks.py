"""Whether a config makes sense: asked before anything is read, written or trained."""

import dataclasses

import jax
from jax.sharding import Mesh

from genjax import data
from genjax.app import build, families
from genjax.app.collapse_scores import DIGIT_SETS
from genjax.app.config import Config, OptimizerConfig, SamplingConfig, flatten
from genjax.app.image_scores import has_score
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
    "method.ema_decay": "[0, 1)",
    "optimizer.learning_rate": "(0, inf)",
    "optimizer.b1": "[0, 1)",
    "optimizer.b2": "[0, 1)",
    "optimizer.momentum": "[0, 1)",
    "optimizer.rms_decay": "[0, 1)",
    "optimizer.warmup_steps": "[0, inf)",
    "optimizer.weight_decay": "[0, inf)",
    "optimizer.clip_norm": "(0, inf)",
    "optimizer.skip_norm": "(0, inf)",
    "optimizer.accumulate": "[1, inf)",
    "sampling.num_steps": "[1, inf)",
    "sampling.eta": "[0, 1]",
    "sampling.guidance": "[0, inf)",
    "sampling.temperature": "[0, inf)",
    "sampling.batch_size": "[1, inf)",
    "evaluation.loss_every": "[0, inf)",
    "evaluation.sample_every": "[0, inf)",
    "evaluation.grid_columns": "[1, inf)",
    "evaluation.num": "[0, inf)",
    "evaluation.importance_samples": "[0, inf)",
    "evaluation.score_every": "[0, inf)",
    "evaluation.score_num": "[2, inf)",
}
"""Valid values of every number that all families have, and of each in a tuple. None is valid where it is the type's."""


def check(config: Config) -> None:
    """Raises UserError for a number out of its range, and for fields that do not go together."""
    family = families.of(config)
    if not isinstance(config.model, family.models):
        valid = ", ".join(model.__name__ for model in family.models)
        raise UserError(
            f"model={type(config.model).__name__}: valid with {type(config.method).__name__} are {valid}"
        )
    fields = flatten(config)
    for name, interval in (RANGES | family.ranges).items():
        value = fields.get(name)
        numbers = value if isinstance(value, tuple) else () if value is None else (value,)
        if not all(_inside(number, interval) for number in numbers):
            raise UserError(f"{name.removeprefix('fit.')}={value}: valid are {interval}")
    for wrong, message in [*_contradictions(config), *family.contradictions(config)]:
        if wrong:
            raise UserError(message)


def _inside(value: float, interval: str) -> bool:
    low, high = map(float, interval[1:-1].split(","))
    above = value >= low if interval[0] == "[" else value > low
    below = value <= high if interval[-1] == "]" else value < high
    return above and below


def _contradictions(config: Config) -> list[tuple[bool, str]]:
    fit, optimizer, sampling = config.fit, config.optimizer, config.sampling
    without_meaning = [
        field.name
        for field in dataclasses.fields(sampling)
        if field.name not in ("batch_size", *families.of(config).sampling)
        and getattr(sampling, field.name) != getattr(SamplingConfig(), field.name)
    ]
    return [
        (
            optimizer.warmup_steps >= fit.steps,
            f"optimizer.warmup_steps={optimizer.warmup_steps} must be less than steps={fit.steps}; "
            "--optimizer.warmup-steps sets it",
        ),
        (
            fit.batch_size % optimizer.accumulate != 0,
            f"optimizer.accumulate={optimizer.accumulate} must divide batch_size={fit.batch_size}",
        ),
        # Not so with b1 and b2: presets set them, and their optimizer is to be exchanged by its name alone.
        (
            bool(optimizer.momentum) and optimizer.name not in ("sgd", "rmsprop"),
            f"optimizer.momentum={optimizer.momentum} is for 'sgd' and 'rmsprop', and "
            f"optimizer.name={optimizer.name!r}",
        ),
        (
            optimizer.rms_decay != OptimizerConfig().rms_decay and optimizer.name != "rmsprop",
            f"optimizer.rms_decay={optimizer.rms_decay} is for 'rmsprop', and optimizer.name={optimizer.name!r}",
        ),
        (
            fit.backend == "pmap" and fit.fsdp != 1,
            f"fsdp={fit.fsdp}: backend='pmap' cannot split parameters; valid is 1, or backend='jit'",
        ),
        (
            bool(without_meaning),
            f"sampling.{''.join(without_meaning[:1])} has no meaning for {type(config.method).__name__}, where "
            f"sampling has {', '.join((*families.of(config).sampling, 'batch_size'))}",
        ),
        (
            bool(families.of(config).translates) != (config.data.source is not None),
            f"data.source={config.data.source!r}: "
            + (
                "the name of a data set to translate from is needed"
                if families.of(config).translates
                else f"{type(config.method).__name__} translates no images, valid is None"
            ),
        ),
        (config.evaluation.num == 1, "evaluation.num=1: valid are 0 (no score) and 2 or more"),
        (
            config.evaluation.score_every > 0 and not has_score(config),
            f"evaluation.score_every={config.evaluation.score_every}: valid is 0, since the bundled classifier knows "
            f"{', '.join(DIGIT_SETS)}, and not {config.data.dataset!r}",
        ),
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
    families.of(config).check_images(config, train.info.image_shape)
    key, example = jax.random.key(0), build.example(train.info)
    jax.eval_shape(lambda key, batch: build.augment(config.data, key, batch), key, example)
    return jax.eval_shape(method.init, key, example)


def _check_alike(train: data.DataInfo, test: data.DataInfo) -> None:
    for name in ("image_shape", "num_classes", "source_shape"):
        first, second = getattr(train, name), getattr(test, name)
        if first != second:
            raise UserError(
                f"dataset={train.name!r}: {name} is {first} in split {train.split!r}, "
                f"but {second} in split {test.split!r}"
            )
