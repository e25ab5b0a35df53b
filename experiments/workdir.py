"""The folder of a run: its config, what it ran on, its results."""

import dataclasses
import datetime
import json
import os
import platform
import shlex
import subprocess
import sys
from importlib import metadata
from typing import Any

import dacite
import jax
from etils import epath

from experiments.config import Config
from genjax.data import DataInfo
from genjax.typing import UserError

CONFIG, MANIFEST, DATA, METRICS, GRID = "config.json", "manifest.json", "data.json", "metrics.json", "samples.png"

# What may differ when a run is resumed, since the states a run goes through do not depend on it.
_FREE = {
    "fit.checkpoint_every",
    "fit.keep_checkpoints",
    "fit.steps_per_dispatch",
    "data.data_dir",
    "data.resident_mb",
    "evaluation.num",
}
_PACKAGES = ("genjax-images", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "tensorflow-datasets", "clu", "numpy")


def claim(workdir: epath.Path, config: Config, info: DataInfo, override: bool) -> None:
    """Makes `workdir` the folder of a run with this config on this data, or checks that it already is.

    Raises:
        UserError: the folder holds a run with another config (the message lists the fields that differ), or
            something that is not a run, or it cannot be written.
    """
    path = workdir / CONFIG
    if path.exists():
        differences = _differences(flatten(load_config(workdir)), flatten(config))
        if differences and not override:
            lines = "\n".join(f"  {name}: {old!r} before, {new!r} now" for name, (old, new) in differences.items())
            raise UserError(
                f"workdir={str(workdir)!r} holds a run that was started with another config:\n{lines}\n"
                "Start with the old config to resume it, choose another --workdir for a new run, or resume with the "
                "new config all the same by --override-config."
            )
    elif workdir.exists() and any(workdir.iterdir()):
        raise UserError(f"workdir={str(workdir)!r} is not empty and holds no run ({CONFIG} is missing)")
    if jax.process_index() == 0:
        try:
            workdir.mkdir(parents=True, exist_ok=True)
            write_json(path, dataclasses.asdict(config))
            write_json(workdir / DATA, dataclasses.asdict(info))
            write_json(workdir / MANIFEST, [*_manifests(workdir), manifest(config.fit.seed)])
        except OSError as error:
            raise UserError(f"workdir={str(workdir)!r} cannot be written: {error}") from error


def load_config(workdir: epath.Path) -> Config:
    """The config a run was started with.

    Raises:
        UserError: there is no run in `workdir`, or its config has fields that this version does not know.
    """
    path = workdir / CONFIG
    if not path.exists():
        raise UserError(f"workdir={str(workdir)!r} holds no run: {CONFIG} is missing")
    try:
        return dacite.from_dict(Config, json.loads(path.read_text()), dacite.Config(cast=[tuple], strict=True))
    except (ValueError, dacite.DaciteError) as error:
        raise UserError(f"{path} is not a config of this version of genjax: {error}") from error


def load_info(workdir: epath.Path) -> DataInfo:
    """What is known of the data a run was trained on, so that images can be made without the data."""
    return dacite.from_dict(DataInfo, json.loads((workdir / DATA).read_text()), dacite.Config(cast=[tuple]))


def flatten(config: Any, prefix: str = "") -> dict[str, Any]:
    """Fields by dotted name."""
    flat: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        nested = dataclasses.is_dataclass(value)
        flat |= flatten(value, f"{prefix}{field.name}.") if nested else {prefix + field.name: value}
    return flat


def _differences(old: dict[str, Any], new: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    return {name: (old[name], new[name]) for name in new if name not in _FREE and old[name] != new[name]}


def manifest(seed: int) -> dict[str, Any]:
    """What is needed to say where a number comes from: command, commit, versions, devices, seed."""
    return {
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["python", "-m", *_module(), *sys.argv[1:]]),
        "git_commit": _git_commit(),
        "seed": seed,
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "devices": [f"{d.platform}:{d.device_kind}" for d in jax.devices()],
        "processes": jax.process_count(),
        "host": {"platform": platform.platform(), "cpus": os.cpu_count()},
    }


def _module() -> list[str]:
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return [spec.name] if spec else [sys.argv[0]]


def _manifests(workdir: epath.Path) -> list[dict[str, Any]]:
    path = workdir / MANIFEST
    return json.loads(path.read_text()) if path.exists() else []


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _git_commit() -> str | None:
    """The commit of the checkout this file is in, with "-dirty" if files differ from it; None outside of one."""
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


def write_json(path: epath.Path, value: Any) -> None:
    """Writes a JSON file so that a kill leaves the old one or the new one."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(json.dumps(value, indent=2) + "\n")
    temporary.replace(path)
