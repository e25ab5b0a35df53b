"""The folder of a run: its config, what it ran on, its results."""

import datetime
import logging
import os
import pathlib
import platform
import re
import shlex
import subprocess
import sys
import time
import types
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any, TypeVar

import dacite
import jax
from etils import epath

from genjax.app import config_files, data_facts, kinds
from genjax.app.config import Config, differences, with_absolute_paths
from genjax.app.lock import LOCK
from genjax.data import DataInfo, Source, fields, names
from genjax.train.files import TEMPORARY, is_litter, read_json, write_bytes, write_json
from genjax.typing import UserError

_log = logging.getLogger(__name__)

CONFIG, MANIFEST, DATA, ORIGINS, METRICS, LINES, GRID, PICTURES, TIMING, SWEEP, SWEEP_PICTURES = (
    "config.json",
    "manifest.json",
    "data.json",
    "origins.json",
    "metrics.json",
    "metrics.jsonl",
    "samples.png",
    "samples",
    "timing.json",
    "sweep.json",
    "sweep",
)
_FOLDERS, _FILES = (PICTURES, "checkpoints", "tensorboard"), (CONFIG, DATA, LINES, GRID, "parameters.txt")
"""What a training writes, and cannot where a file is in the place of a folder, or a folder in the place of a file."""
_PICTURE = re.compile(r"\d+\.png", re.ASCII)
_Path = TypeVar("_Path", epath.Path, pathlib.Path)
_SECTIONS = {"fit", "data", "method"}
"""Parts that the config of every version has; a `config.json` of other software has not all of them."""

# What may differ when a run is resumed, since the states a run goes through do not depend on it.
FREE = {
    "fit.checkpoint_every",
    "fit.keep_checkpoints",
    "fit.steps_per_dispatch",
    "data.data_dir",
    "data.resident_mb",
    "evaluation.num",
    "evaluation.importance_samples",
    "evaluation.extractor",
}
PLACES = ("data.dataset", "data.source")
"""What may differ if the data is the same."""
_PACKAGES = (
    "genjax-images",
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "orbax-checkpoint",
    "tensorflow-datasets",
    "clu",
    "numpy",
)


def claim(
    workdir: epath.Path,
    config: Config,
    facts: dict[str, Any],
    override: bool,
    origins: Mapping[str, Any] = types.MappingProxyType({}),
) -> list[str]:
    """Makes `workdir` the folder of a run with this config on this data, or checks that it already is.

    A run that has no checkpoint yet has nothing to resume: the new config takes its place.

    Args:
        workdir: the folder; made where it is missing.
        config: config of the run that is about to start or to go on.
        facts: see `describe_data`.
        override: resume although config or data differ.
        origins: see `genjax.app.origins`.

    Returns:
        Lines to say: where the data was before, if it has moved.

    Raises:
        UserError: the folder holds a run with another config or on other data (the message lists what
            differs), or something that is not a run, or it cannot be written.
    """
    check_ours(workdir)
    said: list[str] = []
    if (workdir / CONFIG).exists() and has_checkpoint(workdir) and not override:
        differences, said = _differences(workdir, config, facts)
        if differences:
            lines = "\n".join(f"  {line}" for line in differences)
            raise UserError(
                f"workdir={str(workdir)!r} holds a run that was started with another config or other data:\n{lines}\n"
                "Start with the old config to resume it, choose another --workdir for a new run, or resume "
                "with the new config all the same by --override-config."
            )
    if jax.process_index() == 0:
        try:
            workdir.mkdir(parents=True, exist_ok=True)
            before = _manifests(workdir)
            write_json(workdir / CONFIG, config_files.to_json(config))
            write_json(workdir / DATA, facts)
            if origins:
                write_json(workdir / ORIGINS, dict(origins))
            write_json(workdir / MANIFEST, [*before, manifest(config.fit.seed)])
        except OSError as error:
            raise UserError(f"workdir={str(workdir)!r} cannot be written: {error}") from error
    return said


def check_ours(workdir: epath.Path) -> None:
    """Raises UserError unless `workdir` is missing, empty, or the folder of a run; what anybody else has made stays."""
    if not workdir.exists():
        return
    if not workdir.is_dir():
        raise UserError(f"workdir={str(workdir)!r} is a file; it must be a folder, which may be missing")
    names = {path.name for path in workdir.iterdir() if not path.name.endswith(TEMPORARY)} - {LOCK}
    names = {name for name in names if not is_litter(name)}
    if not names:
        return
    if CONFIG not in names:
        raise UserError(f"workdir={str(workdir)!r} is not empty and holds no run ({CONFIG} is missing)")
    try:
        found = read_json(workdir / CONFIG, {})
    except UserError as error:
        raise UserError(
            f"workdir={str(workdir)!r} may hold a run of which {CONFIG} is damaged: {error}"
        ) from error
    if not found.keys() >= _SECTIONS:
        raise UserError(
            f"workdir={str(workdir)!r} is not empty and holds no run: its {CONFIG} is of other software, without "
            f"{', '.join(sorted(_SECTIONS - found.keys()))}"
        )
    for name in names.intersection(_FOLDERS + _FILES):
        if (workdir / name).is_dir() != (name in _FOLDERS):
            there, expected = ("file", "folder") if name in _FOLDERS else ("folder", "file")
            raise UserError(f"{workdir / name} is a {there}, and a {expected} is expected")


def has_checkpoint(workdir: epath.Path) -> bool:
    """Whether there is a checkpoint, usable or not."""
    directory = workdir / "checkpoints"
    return directory.exists() and any(
        re.fullmatch(r"\d+(\.unusable\d*)?", p.name) for p in directory.iterdir()
    )


def describe_data(train: Source, test: Source) -> dict[str, Any]:
    """What is to be known of the data once it is gone, and must not change while a run goes on."""
    splits = [*data_facts.of_split("train", train).items(), *data_facts.of_split("test", test).items()]
    return {**fields.to_json(train.info), **dict(splits)}


def load_config(workdir: epath.Path) -> Config:
    """The config a run was started with.

    Raises:
        UserError: there is no run in `workdir`, or its config has fields that this version does not know.
    """
    path = workdir / CONFIG
    if not path.exists():
        raise UserError(f"workdir={str(workdir)!r} holds no run: {CONFIG} is missing")
    try:
        return config_files.from_json(read_json(path, {}))
    except (ValueError, KeyError, TypeError, AttributeError, dacite.DaciteError) as error:
        raise UserError(f"{path} is not a config of this version of genjax: {error}") from error


def load_info(workdir: epath.Path) -> DataInfo:
    """What is known of the data a run was trained on, so that images can be made without the data.

    Raises:
        UserError: the file that says so is missing.
    """
    path = workdir / DATA
    if not path.exists():
        raise UserError(f"workdir={str(workdir)!r} holds no complete run: {DATA} is missing")
    try:
        return fields.from_json(read_json(path, {}))
    except UserError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} cannot be read: {type(error).__name__}: {error}") from error


def _differences(workdir: epath.Path, config: Config, facts: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Lines: what differs from the run in `workdir` and must not; what may, since its data has moved."""
    stored = load_config(workdir)
    every = differences(with_absolute_paths(stored), with_absolute_paths(config))
    changed = {name: values for name, values in every.items() if name not in FREE}
    if config.fit.steps > stored.fit.steps:  # the run goes on for longer
        del changed["fit.steps"]
    for part in kinds.TABLES:  # two kinds may have fields of the same names
        old_kind, new_kind = (kinds.name(part, getattr(c, part)) for c in (stored, config))
        if old_kind != new_kind:
            changed[part] = old_kind, new_kind
    moved = {name: changed[name] for name in PLACES if name in changed and None not in changed[name]}
    before, splits = load_facts(workdir), data_facts.splits(config.data)
    unlike = data_facts.of_contents(before, facts, splits)
    others = changed.keys() - moved.keys()
    if not others:
        shared = before.keys() & facts.keys() - {"name"} - {f"{role}_digest" for role in splits}
        unlike = [*data_facts.of_numbers(before, facts, sorted(shared)), *unlike]
    known = data_facts.has_digests(before) and data_facts.has_digests(facts)
    only_paths = not others and all(names.may_be_moved(*values) for values in moved.values())
    if not unlike and (known or only_paths):
        changed = {name: changed[name] for name in changed if name not in moved}
    lines = [f"{name}: {was!r} before, {now!r} now" for name, (was, now) in changed.items()]
    lines += [] if others else unlike  # other data follow from another config
    return lines, [] if lines else _said(every, config, known)


def _said(changed: Mapping[str, tuple[Any, Any]], config: Config, known: bool) -> list[str]:
    """Lines: where the same data was before, and whether it is known to be the same."""
    kind = names.parse(config.data.dataset).kind
    places = (*PLACES, "data.data_dir") if kind == "tfds" else PLACES
    lines = [
        "the data has moved; {}: {!r} before, {!r} now".format(name, *changed[name])
        for name in places
        if name in changed
    ]
    if not known and kind != "bundled":
        lines.append(
            "the run is of an older version, which wrote no digest of its data: the number of records, classes and "
            "shapes are as before; the digest is written now"
        )
    return lines


def load_facts(workdir: epath.Path) -> dict[str, Any]:
    """What ``data.json`` holds, in the form in which this version writes it; see `describe_data`."""
    path = workdir / DATA
    if not path.exists():
        return {}
    stored = read_json(path, {})
    sizes = {name: value for name, value in stored.items() if name.startswith(("train_", "test_"))}
    return {**fields.to_json(load_info(workdir)), **sizes}


def manifest(seed: int) -> dict[str, Any]:
    """What is needed to say where a number comes from: command, commit, versions, devices, seed."""
    return {
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": command(["python", "-m", *_module(), *sys.argv[1:]]),
        "git_commit": _git_commit(),
        "seed": seed,
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "devices": [f"{d.platform}:{d.device_kind}" for d in jax.devices()],
        "processes": jax.process_count(),
        "host": {"platform": platform.platform(), "cpus": os.cpu_count()},
    }


def command(words: Sequence[str]) -> str:
    """A command for a shell, with paths as others may see them: relative where they lie below the current folder, with
    ``~`` where they lie below the user's home."""
    return " ".join(map(_word, words))


def _word(word: str) -> str:
    option, equals, value = word.partition("=") if word.startswith("-") else ("", "", word)
    for folder, short in ((os.getcwd(), ""), (os.path.expanduser("~"), "~/")):
        rest = value.removeprefix(folder.rstrip("/") + "/")
        if len(folder) > 1 and rest != value and (rest or short):
            return (
                f"{shlex.quote(option + equals) if option else ''}{short}{shlex.quote(rest) if rest else ''}"
            )
    return shlex.quote(word)


def _module() -> list[str]:
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return [spec.name.removesuffix(".__main__")] if spec else [sys.argv[0]]


def _manifests(workdir: epath.Path) -> list[dict[str, Any]]:
    """The manifests of earlier starts. A damaged file is set aside: no run needs it to go on."""
    path = workdir / MANIFEST
    try:
        return read_json(path, [])
    except UserError as error:
        aside = path.with_name(f"{path.name}.damaged{time.time_ns()}")
        path.rename(aside)
        _log.warning("%s; it is set aside as %s", error, aside.name)
        return []


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _git_commit() -> str | None:
    """The commit of the checkout of this file, with "-dirty" if files differ from it; None outside of one."""
    here = os.path.dirname(os.path.abspath(__file__))
    try:
        text = subprocess.run(
            ["git", "-C", here, "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
            capture_output=True,
            text=True,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return text.stdout.strip() or None


def read_scored(path: epath.Path) -> dict[str, Any]:
    """The object in a file of a scored run.

    Raises:
        UserError: there is no such file, or it holds no JSON object.
    """
    if not path.exists():
        raise UserError(f"workdir={str(path.parent)!r} holds no scored run: {path.name} is missing")
    return read_json(path, {})


def numbered(folder: _Path) -> dict[int, _Path]:
    """The pictures in a folder by their numbers, ascending: ``00001000.png``. Other files there are somebody's own."""
    found = {p.name: p for p in folder.iterdir()} if folder.is_dir() else {}
    return {int(found[name].stem): found[name] for name in sorted(found) if _PICTURE.fullmatch(name)}


def write_picture(workdir: epath.Path, step: int, content: bytes) -> None:
    """Writes the picture of a step, ``samples/00001000.png`` and the newest one's ``samples.png``.

    Pictures of later steps are from before a kill. The run will draw them again, and the same, unless it goes on with
    another config: there they would be of a model that is no more. So they go.
    """
    folder = workdir / PICTURES
    folder.mkdir(exist_ok=True)
    for number, path in numbered(folder).items():
        if number > step:
            path.unlink()
    write_bytes(folder / f"{step:08d}.png", content)
    write_bytes(workdir / GRID, content)
