"""A preset, adapted to what the command line asks of it: another number of steps, other data, a trial."""

import dataclasses
from typing import Any

from experiments.presets.photos import PHOTOS
from genjax import ranges
from genjax.app import checks, kinds
from genjax.app.config import Config, replace
from genjax.typing import UserError

_STROKES = ("digits", "mnist", "emnist", "kmnist", "fashion_mnist", "shapes")
"""Data sets of light strokes on black, which a Bernoulli distribution of each pixel suits."""
_TRIAL_STEPS, _TRIAL_IMAGES, _TRIAL_SAMPLES = 20, 128, 32


def adapt(config: Config, preset: str, dataset: str | None = None, steps: int | None = None) -> Config:
    """The config of a preset for another data set and another number of steps; None: the preset's own."""
    if dataset not in (None, config.data.dataset):
        config = to_dataset(config, str(dataset))
    return config if steps is None else to_steps(config, steps, preset)


def to_steps(config: Config, steps: int, preset: str) -> Config:
    """The config with another number of training steps.

    Warm-ups and first stages keep their share of the run: in presets for photographs always, in the others where their
    own numbers of steps do not fit into so short a run.

    Args:
        config: config of the preset.
        steps: number of steps of the whole run.
        preset: name of the preset.
    """
    plain = replace(config, {"fit.steps": steps})
    return plain if preset not in PHOTOS and _fits(plain) else _in_proportion(plain, steps / config.fit.steps)


def to_dataset(config: Config, dataset: str) -> Config:
    """The config for another data set: what the preset says of its own data only is gone.

    These are the splits, the drawing of black and white pixels, the Bernoulli distribution of pixels (for data sets
    other than of strokes), the number of training images, and the name of the data set from which sources are made, as
    in "edges:mnist".

    Args:
        config: config of the preset.
        dataset: name of the data set.
    """
    before, default = config.data, type(config.data)()
    changed: dict[str, Any] = {
        "data.dataset": dataset,
        "data.binarize": default.binarize,
        "data.train_split": default.train_split,
        "data.test_split": default.test_split,
    }
    if before.source is not None and before.source.endswith(f":{before.dataset}"):
        changed["data.source"] = before.source.removesuffix(before.dataset) + dataset
    method: Any = config.method
    fields = {field.name for field in dataclasses.fields(method)}
    strokes = dataset.removeprefix("stacked:").partition(":")[0] in _STROKES
    if "likelihood" in fields and method.likelihood == "bernoulli" and not strokes:
        changed["method.likelihood"] = "logistic_mixture"
    if "dataset_size" in fields:
        changed["method.dataset_size"] = None
    if before.binarize != default.binarize and "draw_pixels" in fields:
        changed["method.draw_pixels"] = False
    return replace(config, changed)


def to_trial(config: Config) -> Config:
    """The config of a minute: few steps, images and samples, with all that a whole run does."""
    steps, every = _TRIAL_STEPS, _TRIAL_STEPS // 2
    evaluation, sampling = config.evaluation, config.sampling
    changed: dict[str, Any] = {
        "fit.steps": steps,
        "fit.batch_size": _multiple(min(config.fit.batch_size, 16), config.optimizer.accumulate),
        "fit.log_every": steps // 4,
        "fit.checkpoint_every": every,
        "data.limit": min(config.data.limit or _TRIAL_IMAGES, _TRIAL_IMAGES),
        "sampling.batch_size": min(sampling.batch_size, _TRIAL_SAMPLES),
        "evaluation.loss_every": every,
        "evaluation.sample_every": every,
        "evaluation.grid_columns": min(evaluation.grid_columns, 4),
        "evaluation.num": min(evaluation.num, _TRIAL_SAMPLES),
        "evaluation.importance_samples": min(evaluation.importance_samples, 5),
        "evaluation.score_every": 0,
    }
    if "num_steps" in kinds.method(config).sampling:
        changed["sampling.num_steps"] = min(sampling.num_steps, 10)
    return _in_proportion(replace(config, changed), steps / config.fit.steps)


def parts_of_run(config: Config) -> dict[str, int]:
    """The numbers of steps that are a part of the run, by dotted name."""
    return {
        f"{part}.{name}": getattr(getattr(config, part), name)
        for part in ("method", "optimizer")
        for name in ranges.parts_of_run(getattr(config, part))
    }


def _in_proportion(config: Config, factor: float) -> Config:
    parts = parts_of_run(config)
    return replace(
        config, {name: max(1, round(number * factor)) if number else 0 for name, number in parts.items()}
    )


def _fits(config: Config) -> bool:
    try:
        checks.check(config)
    except UserError:
        return False
    return True


def _multiple(number: int, of: int) -> int:
    return max(of, number - number % of)
