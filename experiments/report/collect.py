"""What the files of a study say: its runs in groups, what failed, what was claimed."""

import logging
import pathlib
import shlex
from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

from PIL import Image

from experiments import run_groups
from experiments.report import contents
from experiments.study.spec import STUDY
from genjax.app import workdir
from genjax.train import files
from genjax.typing import UserError

_log = logging.getLogger(__name__)
T = TypeVar("T")

CLAIMS = "claims.json"


class Run(NamedTuple):
    """A workdir, as read.

    Attributes:
        path: path of the workdir.
        name: its path inside the folder of the report.
        preset: that it was made from; "" where nothing says so.
        command: that made it; "" where nothing says so.
        fields: the content of config.json.
        config: the same by dotted name.
        data: what is known of its data sets.
        manifest: how it was started, each time.
        metrics: the score; empty without one.
        timing: what training took; empty where that was not written.
        lines: of metrics.jsonl.
        sweep: scores by number of sampler steps.
    """

    path: pathlib.Path
    name: str
    preset: str
    command: str
    fields: dict[str, Any]
    config: dict[str, Any]
    data: dict[str, Any]
    manifest: list[dict[str, Any]]
    metrics: dict[str, Any]
    timing: dict[str, Any]
    lines: list[dict[str, Any]]
    sweep: list[dict[str, Any]]

    @property
    def seed(self) -> int:
        """Of the training."""
        return self.config["fit.seed"]

    @property
    def step(self) -> int | None:
        """That it got to."""
        return self.metrics.get("step", self.lines[-1].get("step") if self.lines else None)

    def scalars(self, name: str) -> dict[int, float]:
        """Step -> value of a scalar that was logged."""
        return {line["step"]: float(line[name]) for line in self.lines if line.get(name) is not None}

    def pictures(self, folder: str) -> dict[int, pathlib.Path]:
        """Number -> picture in `folder`: "samples", by training step, or "sweep", by sampler steps."""
        return workdir.numbered(self.path / folder)


class Group(NamedTuple):
    """Runs that differ in nothing but the seed, by seed.

    Attributes:
        name: preset and the fields in which groups of the preset differ.
        protocol: how its images were scored, the text of a `genjax.metrics.protocol.Protocol`; None: they were not
            scored.
        runs: at least one.
        failed: how many more runs of it ended with an error.
    """

    name: str
    protocol: str | None
    runs: list[Run]
    failed: int = 0

    def values(self, name: str, where: str = "metrics") -> list[float]:
        """One number a run: of its metrics or its timing; of the runs that have it."""
        found = [getattr(run, where).get(name) for run in self.runs]
        return [float(x) for x in found if isinstance(x, int | float)]


class Failure(NamedTuple):
    """A run that ended with an error: its exit code, and the end of what it printed."""

    name: str
    exit_code: int
    tail: str


class Study(NamedTuple):
    """All that a report is made of.

    Attributes:
        name: name of the study, or of the folder.
        groups: groups of runs, in the order of their names.
        failures: runs that ended with an error.
        missing: names of runs that were planned and have not ended.
        unreadable: what could not be read, by the folder: a damaged file is no reason to leave out the rest.
        claims: what `experiments.claims` found.
        command: that runs the study; "" where nothing says so.
        budget: that its runs have, as "3 epochs"; "" where their configs decide.
        grid: field -> the values that were tried.
        baseline: name of the group that the others are compared with; "": the best.
    """

    name: str
    groups: list[Group]
    failures: list[Failure]
    missing: list[str]
    claims: list[dict[str, Any]]
    command: str = ""
    budget: str = ""
    grid: Mapping[str, Sequence[Any]] = MappingProxyType({})
    unreadable: Mapping[str, str] = MappingProxyType({})
    baseline: str = ""


def read(folder: str) -> Study:
    """Reads a study, or any folder with workdirs below it; folders of `experiments.ensemble` count as runs.

    Raises:
        UserError: there is no such folder or no run in it, a file in it cannot be read, or two runs of one config have
            the same seed.
    """
    root = pathlib.Path(folder).expanduser()
    if not root.is_dir():
        raise UserError(f"folder={folder!r}: there is no such folder")
    unreadable: dict[str, str] = {}
    study: dict[str, Any] = _or_none(unreadable, root, _study, root) or {}
    planned = {run["name"]: run for run in study.get("runs", [])}
    failures = [
        Failure(path.stem, content.get("exit_code", 1), str(content.get("tail", "")))
        for path in sorted((root / "failed").glob("*.json"))
        for content in [_or_none(unreadable, path, workdir.read_json, path, {}) or {}]
    ]
    found = (
        _or_none(unreadable, path.parent, _run, root, path.parent, planned)
        for path in sorted(root.rglob(workdir.CONFIG))
        if path.is_file()
    )
    runs = [run for run in found if run is not None]
    for run in runs:
        for path in (run.path / workdir.GRID, *run.pictures(workdir.PICTURES).values()):
            if path.exists():
                _or_none(unreadable, path, _verify, path)
    scored = (path.parent for path in sorted(root.rglob(workdir.METRICS)))
    others = (
        _or_none(unreadable, path, _read, root, path)
        for path in scored
        if not (path / workdir.CONFIG).exists()
    )
    runs += [_mixture(run) for run in others if run is not None and "members" in run.metrics]
    if not runs and len(unreadable) == 1:
        raise UserError(f"folder={folder!r} cannot be read: {next(iter(unreadable.values()))}")
    if not runs and not failures and not unreadable:
        raise UserError(
            f"folder={folder!r} holds no run: {workdir.CONFIG} is missing in it and in all folders below it"
        )
    # A run that failed half-way is told of as a failure.
    failed = {failure.name for failure in failures}
    ended = {run.path.name for run in runs if run.metrics} | failed
    return Study(
        str(study.get("name") or root.resolve().name),
        [
            group._replace(failed=_lost(group, failed))
            for group in _groups([run for run in runs if run.path.name not in failed or run.metrics])
        ],
        failures,
        [name for name in planned if name not in ended],
        _or_none(unreadable, root / CLAIMS, workdir.read_json, root / CLAIMS, []) or [],
        str(study.get("command") or ""),
        "{amount:g} {kind}".format(**study["budget"]) if study.get("budget") else "",
        study.get("grid") or {},
        {str(path): reason for path, reason in unreadable.items()},
    )


def _or_none(
    unreadable: dict[str, str], path: pathlib.Path, read: Callable[..., T], *arguments: Any
) -> T | None:
    """What `read` returns; None, and a line in `unreadable`, where a file has other things in it than it should."""
    try:
        return read(*arguments)
    except (UserError, OSError, KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        reason = str(error) if isinstance(error, UserError) else f"{path}: {type(error).__name__}: {error}"
        unreadable[str(path)] = reason
        _log.warning("left out: %s", reason)
        return None


def _verify(path: pathlib.Path) -> None:
    try:
        with Image.open(path, formats=["PNG"]) as image:  # by other formats it might be a program
            image.verify()
    except (SyntaxError, Image.DecompressionBombError) as error:  # as Pillow says of a damaged PNG file
        raise UserError(f"{path} cannot be read: {error}") from error


def _study(root: pathlib.Path) -> dict[str, Any]:
    """What ``study.json`` says of its runs, which must have names."""
    study = workdir.read_json(root / STUDY, {})
    for run in study.get("runs", []):
        run["name"]
    return study


def _lost(group: Group, failed: Collection[str]) -> int:
    """How many of the runs that failed belong to a group and are not in it: they have no score, or another one's."""
    here = {run.path.name for run in group.runs}
    cells = set(map(_cell, here))
    return sum(_cell(name) in cells and name not in here for name in failed)


def _cell(name: str) -> str:
    """The name of a run of a study without its seed, which the variant's other runs share."""
    return name.rpartition(",seed=")[0]


def _run(root: pathlib.Path, path: pathlib.Path, planned: Mapping[str, Any]) -> Run:
    read = _read(root, path)
    if "fit.seed" not in read.config:
        raise UserError(f"{path / workdir.CONFIG} is not the config of a run: seed is missing")
    plan = planned.get(path.name, {})
    command = str(plan.get("command") or read.command)
    return read._replace(command=command, preset=str(plan.get("preset") or _preset(command)))


def _mixture(read: Run) -> Run:
    """Several runs as one, which have one config each and together none: what tells it apart is its name."""
    return read._replace(
        preset=f"ensemble {read.name}",
        fields={name: read.metrics[name] for name in ("weights", "fit", "sampling") if name in read.metrics},
        config={"fit.seed": read.metrics.get("sampling", {}).get("seed", 0)},
    )


def _read(root: pathlib.Path, path: pathlib.Path) -> Run:
    """What the files of a folder say, without its preset."""
    fields: dict[str, Any] = _json(path, workdir.CONFIG, {})
    manifest: list[dict[str, Any]] = _json(path, workdir.MANIFEST, [])
    return Run(
        path=path,
        name=path.relative_to(root).as_posix() if path != root else path.resolve().name,
        preset="",
        command=str(manifest[0].get("command", "")) if manifest else "",
        fields=fields,
        config=run_groups.flatten(fields),
        data=_json(path, workdir.DATA, {}),
        manifest=manifest,
        metrics=_json(path, workdir.METRICS, {}),
        timing=_json(path, workdir.TIMING, {}),
        lines=_lines(path / workdir.LINES),
        sweep=sorted(_json(path, workdir.SWEEP, []), key=lambda entry: entry["num_steps"]),
    )


_EXPECTED = {
    workdir.CONFIG: contents.CONFIG,
    workdir.MANIFEST: contents.MANIFEST,
    workdir.DATA: contents.DATA,
    workdir.METRICS: contents.SCORES,
    workdir.TIMING: contents.TIMING,
    workdir.SWEEP: contents.SCORES,
}


def _json(path: pathlib.Path, name: str, default: T) -> T:
    """The content of a file of a run, of which the types are right that are needed here."""
    found = workdir.read_json(path / name, default)
    for one in found if isinstance(found, list) else [found]:
        contents.check(
            path / name, run_groups.flatten(one) if name == workdir.CONFIG else one, _EXPECTED[name]
        )
    return found


def _preset(command: str) -> str:
    """The first argument of the training command."""
    try:
        words = shlex.split(command)
    except ValueError:
        return ""
    after = words[words.index("experiments.train") + 1 :] if "experiments.train" in words else []
    return after[0] if after and not after[0].startswith("-") else ""


class _Stepped(NamedTuple):
    """A run as `experiments.run_groups` takes it: also where it has no score, it got to a step."""

    path: pathlib.Path
    config: dict[str, Any]
    metrics: dict[str, Any]
    run: Run


def _groups(runs: Sequence[Run]) -> list[Group]:
    stepped = [
        # What was scored in another way, and what was made from another preset, is another group.
        _Stepped(
            run.path,
            {**run.config, "preset": run.preset, "protocol": run.metrics.get("protocol")},
            {**run.metrics, "step": run.step},
            run,
        )
        for run in runs
    ]
    groups = sorted(run_groups.grouped(stepped), key=lambda group: group[0].run.name)
    named: dict[str, Group] = {}
    for group in groups:
        first = group[0].run
        alike = [other[0] for other in groups if other[0].run.preset == first.preset]
        identities = [run_groups.identity(other) for other in alike]
        text = run_groups.names([_told(i) for i in identities], short=True)[alike.index(group[0])]
        name = ", ".join(part for part in (first.preset, "" if text == "all" else text) if part) or "all"
        same = sum(other == name or other.startswith(f"{name} (") for other in named)
        unique = f"{name} ({same + 1})" if same else name
        members = sorted((member.run for member in group), key=lambda run: run.seed)
        named[unique] = Group(unique, first.metrics.get("protocol"), members)
    return list(named.values())


def _told(identity: Mapping[str, Any]) -> dict[str, Any]:
    """What may stand in a name: protocols are too long for that, and tables say them."""
    return {name: value for name, value in identity.items() if name not in ("preset", "protocol")}


def _lines(path: pathlib.Path) -> list[dict[str, Any]]:
    """The objects in a file, one a line; a last line that a kill left half-written is left out."""
    if not path.exists():
        return []
    lines = [files.logged(path, number, line) for number, line in files.whole_lines(files.read_bytes(path))]
    for line in lines:
        contents.check_line(path, line)
    return lines
