"""The folder of a study: ``study.json``, the runs, their output, what failed."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

from etils import epath

from experiments.study import fields
from experiments.study.plan import Run
from experiments.study.spec import STUDY, Study
from genjax.app import workdir
from genjax.typing import UserError

_EXTENDABLE = ("seeds", "grid")


class Folder:
    """The paths of a study, and what they say of its runs.

    Attributes:
        path: path of the folder.
        command: that runs the study, for those who read about it.
    """

    def __init__(self, path: str, command: str = ""):
        self.path = epath.Path(path).expanduser()
        self.command = command

    def workdir(self, run: Run) -> epath.Path:
        """Of a run."""
        return self.path / "runs" / run.name

    def log(self, run: Run) -> epath.Path:
        """The file with all that the run's commands print."""
        return self.path / "runs" / f"{run.name}.log"

    def failure(self, run: Run) -> epath.Path:
        """The file that a failed run has."""
        return self.path / "failed" / f"{run.name}.json"

    def is_trained(self, run: Run) -> bool:
        """Whether the run is trained to its last step and scored."""
        return workdir.read_json(self.workdir(run) / workdir.METRICS, {}).get("step") == run.config.fit.steps

    def missing(self, run: Run) -> list[list[str]]:
        """The commands that are still to be run, one after the other."""
        directory = self.workdir(run)
        after = run.evaluations(str(directory))
        if not self.is_trained(run):
            return [run.training(str(directory)), *after.values()]
        scored = workdir.read_json(directory / workdir.METRICS, {})
        have = {
            "score": not run.scored_with or scored.get("scored_with") == run.scored_with,
            "cost": "samples_per_second" in scored,
            "sweep": set(run.sweep) <= _swept(directory / workdir.SWEEP, run.config.fit.steps),
        }
        if not _as_configured(scored.get("sampling", {}), run):  # somebody has scored it otherwise
            after, have["score"] = {"score": run.score(str(directory)), **after}, False
        # A score leaves nothing of the one before it.
        have["cost"] = have["cost"] and have["score"]
        return [command for name, command in after.items() if not have[name]]

    def read(self) -> dict[str, Any]:
        """``study.json``, or {} before there is one."""
        found = workdir.read_json(self.path / STUDY, {})
        runs = found.get("runs", [])
        if found and not (
            isinstance(runs, list) and all(isinstance(run, dict) and "name" in run for run in runs)
        ):
            raise UserError(f"{self.path / STUDY} is damaged: runs is not a list of runs with names")
        return found

    def write(
        self, name: str, study: Study, runs: Sequence[Run], measured: Mapping[str, Mapping[str, Any]]
    ) -> None:
        """Writes ``study.json``; a kill leaves the old one or the new one.

        Args:
            name: name of the study.
            study: what it is.
            runs: all of them.
            measured: cell -> what its step takes, where the budget needs to know.
        """
        decided = [
            run.described(str(self.workdir(run)))
            | ({"steps": None, "command": None} if study.budget and run.steps is None else {})
            for run in runs
        ]
        about = {"name": name, "command": self.command}
        self.path.mkdir(parents=True, exist_ok=True)
        workdir.write_json(
            self.path / STUDY,
            {**about, **described(study, runs), "measured": measured, "runs": decided},
        )


def described(study: Study, runs: Sequence[Run]) -> dict[str, Any]:
    """The parts of a study as JSON has them; fields by their full names, values by their types.

    What `base`, `per_preset` and `seeds_of` say is in the runs.
    """
    grid: dict[str, list[Any]] = {name: [] for name in _grid_names(study, runs)}
    for run in runs:
        for name, values in grid.items():
            if run.overrides[name] not in values:
                values.append(run.overrides[name])
    parts = {
        "presets": study.presets,
        "grid": grid,
        "seeds": study.seeds,
        "budget": study.budget and {"kind": study.budget.kind, "amount": study.budget.amount},
        "sweep": study.sweep,
        "cost": study.cost,
        "scoring": runs[0].scored_with if runs else {},
    }
    return json.loads(json.dumps(parts))  # tuples become lists, as after reading


def check_same(before: Mapping[str, Any], study: Study, runs: Sequence[Run], path: epath.PathLike) -> None:
    """Checks that the study in a folder is this one, or becomes it by more seeds or values of the grid.

    Args:
        before: its ``study.json``.
        study: what it is to be.
        runs: of that.
        path: path of the folder, for the message.

    Raises:
        UserError: it is another one; the message lists what differs.
    """
    now = described(study, runs)
    before = {"scoring": {}, "runs": [], **before}  # which was all there was, once
    lines = [
        f"  {name}: {before.get(name)!r} before, {value!r} now"
        for name, value in now.items()
        if not (_extends(before.get(name), value) if name in _EXTENDABLE else before.get(name) == value)
    ]
    overrides = {run.name: json.loads(json.dumps(dict(run.overrides))) for run in runs}
    for run in [] if lines else before["runs"]:
        old, new = run["overrides"], overrides.get(run["name"])
        if new is None:
            lines.append(f"  {run['name']} is not part of it now")
        elif differing := [name for name in {**old, **new} if old.get(name) != new.get(name)]:
            lines += [
                f"  {name} of {run['name']}: {old.get(name)!r} before, {new.get(name)!r} now"
                for name in differing
            ]
            break  # the other runs differ alike
    if lines:
        raise UserError(
            f"workdir={str(path)!r} holds another study:\n"
            + "\n".join(lines)
            + "\nSeeds and values of the grid can be "
            "added to a study; for anything else choose another --workdir."
        )


def _extends(old: Any, new: Any) -> bool:
    """Whether nothing of the old is lost: values of a list, or of the lists of a grid with the same fields."""
    if isinstance(new, dict):
        same = isinstance(old, dict) and old.keys() == new.keys()
        return same and all(_extends(old[name], new[name]) for name in new)
    return isinstance(old, list) and all(value in new for value in old)


def _as_configured(sampling: Mapping[str, Any], run: Run) -> bool:
    """Whether images were made as the run's config says, whatever their number and seed."""
    used = {name: value for name, value in sampling.items() if name not in ("num", "seed")}
    options = dataclasses.asdict(run.config.sampling)
    return used == {name: options.get(name) for name in used}


def _grid_names(study: Study, runs: Sequence[Run]) -> list[str]:
    return [fields.full_name(name, runs[0].preset) for name in study.grid]


def _swept(path: epath.Path, step: int) -> set[int]:
    """Numbers of sampler steps at which the state of a training step is scored."""
    return {entry["num_steps"] for entry in workdir.read_json(path, []) if entry.get("step", step) == step}
