"""A preset, adapted to what the command line asks of it: another number of steps, other data, a trial."""

import dataclasses
from typing import Any

from experiments.presets.photos import PHOTOS
from genjax import ranges
from genjax.app import checks, kinds
from genjax.app.config import Config, flatten
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
    plain = dataclasses.replace(config, fit=dataclasses.replace(config.fit, steps=steps))
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
    source = before.source
    if source is not None and source.endswith(f":{before.dataset}"):
        source = source.removesuffix(before.dataset) + dataset
    data = dataclasses.replace(
        before,
        dataset=dataset,
        source=source,
        binarize=default.binarize,
        train_split=default.train_split,
        test_split=default.test_split,
    )
    method: Any = config.method
    fields = {field.name for field in dataclasses.fields(method)}
    changed: dict[str, Any] = {}
    strokes = dataset.removeprefix("stacked:").partition(":")[0] in _STROKES
    if "likelihood" in fields and method.likelihood == "bernoulli" and not strokes:
        changed["likelihood"] = "logistic_mixture"
    if "dataset_size" in fields:
        changed["dataset_size"] = None
    if before.binarize != data.binarize and "draw_pixels" in fields:
        changed["draw_pixels"] = False
    return dataclasses.replace(config, data=data, method=dataclasses.replace(method, **changed))


def to_trial(config: Config) -> Config:
    """The config of a minute: few steps, images and samples, with all that a whole run does."""
    steps = _TRIAL_STEPS
    every = steps // 2
    fit = dataclasses.replace(
        config.fit,
        steps=steps,
        batch_size=_multiple(min(config.fit.batch_size, 16), config.optimizer.accumulate),
        log_every=steps // 4,
        checkpoint_every=every,
    )
    evaluation = dataclasses.replace(
        config.evaluation,
        loss_every=every,
        sample_every=every,
        grid_columns=min(config.evaluation.grid_columns, 4),
        num=min(config.evaluation.num, _TRIAL_SAMPLES),
        importance_samples=min(config.evaluation.importance_samples, 5),
        score_every=0,
    )
    limit = min(config.data.limit or _TRIAL_IMAGES, _TRIAL_IMAGES)
    sampling = dataclasses.replace(
        config.sampling, batch_size=min(config.sampling.batch_size, _TRIAL_SAMPLES)
    )
    if "num_steps" in kinds.method(config).sampling:
        sampling = dataclasses.replace(sampling, num_steps=min(sampling.num_steps, 10))
    changed = dataclasses.replace(
        config,
        fit=fit,
        evaluation=evaluation,
        sampling=sampling,
        data=dataclasses.replace(config.data, limit=limit),
    )
    return _in_proportion(changed, steps / config.fit.steps)


def differences(before: Config, after: Config) -> dict[str, tuple[Any, Any]]:
    """The fields that differ, by dotted name: value before and after."""
    old, new = flatten(before), flatten(after)
    return {name: (old[name], new[name]) for name in old if name in new and old[name] != new[name]}


def parts_of_run(config: Config) -> list[str]:
    """The dotted names of numbers of steps that are a part of the run."""
    return [
        f"{part}.{name}"
        for part in ("method", "optimizer")
        for name in ranges.parts_of_run(getattr(config, part))
    ]


def _in_proportion(config: Config, factor: float) -> Config:
    for name in parts_of_run(config):
        part, _, field = name.partition(".")
        options = getattr(config, part)
        number = getattr(options, field)
        scaled = max(1, round(number * factor)) if number else 0
        config = dataclasses.replace(config, **{part: dataclasses.replace(options, **{field: scaled})})
    return config


def _fits(config: Config) -> bool:
    try:
        checks.check(config)
    except UserError:
        return False
    return True


def _multiple(number: int, of: int) -> int:
    return max(of, number - number % of)
