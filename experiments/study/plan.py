"""From a study to its runs: their names, their configs, their commands."""

import dataclasses
import itertools
import re
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from experiments import cli
from experiments.study import fields, scores
from experiments.study.spec import Study
from genjax.app import checks, extractors, kinds, workdir
from genjax.app.config import Config, replace
from genjax.train import files
from genjax.typing import UserError

_EVALUATE = ("python", "-m", "experiments.evaluate", "--workdir")


_LONGEST = 200
"""Bytes that the name of a run has at most, without its seed; file systems take 255."""


@dataclasses.dataclass(frozen=True)
class Run:
    """One training.

    Attributes:
        cell: Name of the variant, which all seeds of the variant share.
        preset: Name of the preset.
        overrides: Full name of a field -> value, for fields that the study sets. The seed and the fields that a budget
            sets are not among them.
        seed: Seed of the training.
        config: The whole config.
        sweep: Numbers of sampler steps at which the run is also scored.
        cost: Whether the cost of making images is measured.
        scoring: Options of the run's evaluations.
        scored_with: What the run's score then has under this name. Empty if training's score stays.
        steps: Number of steps that a budget sets. None: the config's own number.
    """

    cell: str
    preset: str
    overrides: Mapping[str, Any]
    seed: int
    config: Config
    sweep: tuple[int, ...] = ()
    cost: bool = False
    scoring: tuple[str, ...] = ()
    scored_with: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    steps: int | None = None

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"{self.cell},seed={self.seed}"

    @property
    def is_scored(self) -> bool:
        """Whether its images are: by the extractor of its training, or by another one that the study asks for."""
        return extractors.scores_of(self.config) is not None or self.scored_with.get("extractor") is not None

    @property
    def values(self) -> dict[str, Any]:
        """The fields that the study, the seed and the budget set, by full name."""
        decided = {} if self.steps is None else {"fit.steps": self.steps}
        return {**self.overrides, **decided, "fit.seed": self.seed}

    def with_steps(self, steps: int) -> "Run":
        """The run with the steps that its budget is worth.

        Raises:
            UserError: they do not go with the rest of the config.
        """
        longer = dataclasses.replace(self, steps=steps)
        config = fields.configured(self.preset, longer.values)
        _check(self.cell, config)
        return dataclasses.replace(longer, config=config)

    def training(self, directory: str) -> list[str]:
        """The command that trains it, and goes on with it."""
        options = [*fields.options(self.values), "--workdir", directory]
        return ["python", "-m", "experiments.train", self.preset, *options]

    def evaluations(self, directory: str) -> dict[str, list[str]]:
        """What is measured of it when it is trained, "score", "cost" and "sweep", in this order: the commands."""
        asked = {"score": self.score(directory)} if self.scored_with else {}
        if self.cost:  # is added to the score; without another score, to training's score
            asked["cost"] = [*_EVALUATE, directory, "--num", "0", "--cost"]
        if self.sweep:
            asked["sweep"] = [*self.score(directory), "--sweep", *map(str, self.sweep)]
        return asked

    def score(self, directory: str) -> list[str]:
        """The command that scores it."""
        where = self.config.data.data_dir
        given = (
            [] if where is None else ["--data-dir", where]
        )  # it is the user's, and not only the run's config's
        return [*_EVALUATE, directory, "--num", str(self.config.evaluation.num), *given, *self.scoring]

    def described(self, directory: str) -> dict[str, Any]:
        """The run in ``study.json``."""
        return {
            "name": self.name,
            "preset": self.preset,
            "overrides": dict(self.overrides),
            "seed": self.seed,
            "steps": self.config.fit.steps,
            "command": shlex.join(self.training(directory)),
            "sweep": bool(self.sweep),
        }


def runs(study: Study) -> list[Run]:
    """All runs of a study: seeds in the outer loop, so that early on there is something of everything.

    Raises:
        UserError: a preset, a field, a value or a combination of them makes no sense, or two runs have one name.
        SystemExit: a value is none of its field; training's parser has said so.
    """
    _check_parts(study)
    words, recorded = tuple(scores.words(study.scoring)), scores.recorded(study.scoring)
    cells = [
        dataclasses.replace(cell, scoring=words, scored_with=recorded)
        for preset in study.presets
        for cell in _cells(study, preset)
    ]
    found = [
        dataclasses.replace(cell, seed=seed, config=replace(cell.config, {"fit.seed": seed}))
        for i, seed in enumerate(study.seeds)
        for cell in cells
        if i < study.seeds_of.get(cell.preset, len(study.seeds))
    ]
    repeated = [name for name, count in Counter(run.name for run in found).items() if count > 1]
    if repeated:
        raise UserError(f"{repeated[0]} occurs twice: every preset, value of the grid and seed must differ")
    if blind := [run for run in found if run.sweep and not run.is_scored]:
        raise UserError(
            f"{blind[0].cell}: sweep={study.sweep} needs a score, and the bundled classifier does not know "
            f"dataset={blind[0].config.data.dataset!r}; give an extractor, valid are inception and efficientnet-lite0"
        )
    if study.sweep and not any(run.sweep for run in found):
        raise UserError(
            f"sweep={study.sweep}: none of {', '.join(study.presets)} has a sampler with steps, diffusion models have"
        )
    return found


def _check_parts(study: Study) -> None:
    if not study.presets:
        raise UserError("presets: at least one is needed")
    if not study.seeds:
        raise UserError("seeds: at least one is needed")
    for seed in study.seeds:
        cli.check_seed(seed)
    if others := {*study.per_preset, *study.variants, *study.seeds_of} - set(study.presets):
        raise UserError(
            f"{sorted(others)[0]!r} has fields or seeds of its own and is not among presets={study.presets}"
        )
    for preset, count in study.seeds_of.items():
        if not 1 <= count <= len(study.seeds):
            raise UserError(f"seeds_of={preset}={count}: valid are [1, {len(study.seeds)}]")
    for field, values in study.grid.items():
        if not values:
            raise UserError(f"grid has no values of {field}")
    if wrong := [steps for steps in study.sweep if steps < 1]:
        raise UserError(f"sweep={wrong[0]}: valid are [1, inf)")


def _cells(study: Study, preset: str) -> list[Run]:
    """One run of each variant of a preset; its seed is to be replaced."""
    fixed = _typed(preset, {**_full(preset, study.base), **_full(preset, study.per_preset.get(preset, {}))})
    grid = _full(preset, study.grid)
    variants = [_typed(preset, _full(preset, values)) for values in study.variants.get(preset) or ({},)]
    varied = {name: None for values in (*variants, grid) for name in values}
    if twice := [name for name in varied if name in fixed]:
        raise UserError(f"{twice[0]} is in the grid, and set to {fixed[twice[0]]!r} beside it")
    if twice := [name for values in variants for name in values if name in grid]:
        raise UserError(f"{twice[0]} is in the grid, and in variants of {preset} beside it")
    if same := [name for name in varied if name in workdir.FREE]:
        raise UserError(f"{same[0]} is in the grid, and changes nothing of what a run learns")
    for name in ("fit.seed", *(["fit.steps"] if study.budget else [])):
        if name in varied or name in fixed:
            instead = "seeds" if name == "fit.seed" else "the budget"
            raise UserError(f"{name.removeprefix('fit.')}: {instead} decides on it")
    columns = [[(name, fields.typed(preset, name, value)) for value in grid[name]] for name in grid]
    short = _short_names(varied)
    cells = []
    for variant, *values in itertools.product(variants, *columns):
        chosen = [*variant.items(), *values]
        parts = [f"{short[name]}={_safe(fields.text(value))}" for name, value in chosen]
        cell = _short(",".join([preset, *parts]))
        overrides = {**fixed, **dict(chosen)}
        config = fields.configured(preset, overrides)
        if study.budget is None:
            _check(cell, config)
        swept = study.sweep if "num_steps" in kinds.method(config).sampling else ()
        # A sweep measures it as well.
        cost = study.cost and config.sampling.num_steps not in swept
        cells.append(Run(cell, preset, overrides, 0, config, swept, cost))
    return cells


def _check(cell: str, config: Config) -> None:
    try:
        checks.check(config)
    except UserError as error:
        raise UserError(f"{cell}: {error}") from error
    if not config.evaluation.num:
        raise UserError(f"{cell}: evaluation.num=0: a study compares scores, valid are 2 and more")


def _full(preset: str, values: Mapping[str, Any]) -> dict[str, Any]:
    return {fields.full_name(name, preset): value for name, value in values.items()}


def _typed(preset: str, values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: fields.typed(preset, name, value) for name, value in values.items()}


def _short_names(names: Sequence[str] | Mapping[str, Any]) -> dict[str, str]:
    """The last part of each name, or all of it where two end alike."""
    last = Counter(name.rsplit(".", 1)[-1] for name in names)
    return {name: end if last[end := name.rsplit(".", 1)[-1]] == 1 else name for name in names}


def _short(name: str) -> str:
    """A name that file systems take, seed and ending included: of one that is too long the rest becomes a digest."""
    if len(name.encode()) <= _LONGEST:
        return name
    return files.with_digest(name, _LONGEST - 13, 12, of=name)


def _safe(text: str) -> str:
    """What can stand in the name of a folder."""
    return re.sub(r"[^\w.+-]", "-", text)
