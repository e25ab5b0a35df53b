"""Finished runs: found by their config, or trained where they are missing and cheap."""

import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

from etils import epath

from experiments import train_command
from experiments.bench.command import environment
from experiments.claims.claim import Place
from experiments.presets import PRESETS
from genjax.app import workdir
from genjax.app.config import Config, flatten
from genjax.train.saved import folder_steps
from genjax.typing import UserError

_TAIL = 500
_UNSEEN = {"evaluation.loss-every": 0, "evaluation.sample-every": 0, "evaluation.num": 0}
"""Options of what is trained here: nobody looks at it but the claim."""


def command(preset: str, options: Mapping[str, Any], seed: int | str, directory: str) -> list[str]:
    """The arguments of ``python -m experiments.train``."""
    given = [text for name, value in options.items() for text in (f"--{name}", str(value))]
    return [preset, *given, "--seed", str(seed), "--workdir", directory]


def line(preset: str, options: Mapping[str, Any]) -> str:
    """The command that trains it, with SEED and DIR in place of these."""
    return f"python -m experiments.train {shlex.join(command(preset, options, 'SEED', 'DIR'))}"


def trained(place: Place, preset: str, options: Mapping[str, Any], seed: int) -> epath.Path:
    """The workdir of a preset with some options: one that is there already, whatever its name, or a new one.

    Raises:
        RuntimeError: training fails; the message ends with what it printed last.
    """
    wanted = train_command.parse(command(preset, options, seed, "DIR")).config
    for directory in finished(place, lambda config: what_is_trained(config) == what_is_trained(wanted)):
        return directory
    own = [f"{name.rpartition('.')[2]}={value}" for name, value in {**options, "seed": seed}.items()]
    directory = place.runs / ",".join([preset, *own])
    run_training(command(preset, {**options, **_UNSEEN}, seed, str(directory)))
    return directory


def finished(place: Place, accept: Callable[[Config], bool]) -> list[epath.Path]:
    """Workdirs among the runs that are trained to their end and whose config is accepted, in the order of their names.

    Configs of other versions are passed over.
    """
    found = []
    for directory in sorted(place.runs.iterdir()) if place.runs.exists() else []:
        if not (directory / workdir.CONFIG).exists():
            continue
        try:
            config = workdir.load_config(directory)
        except UserError:
            continue
        if is_trained(directory, config.fit.steps) and accept(config):
            found.append(directory)
    return found


def is_trained(directory: epath.Path, steps: int) -> bool:
    """Whether a workdir has the checkpoint of its last step."""
    return steps in folder_steps(directory / "checkpoints")


def is_plain(config: Config, preset: str) -> bool:
    """Whether network, method and optimizer are the same as in a preset."""
    _, plain = PRESETS[preset]
    return (config.model, config.method, config.optimizer) == (plain.model, plain.method, plain.optimizer)


def what_is_trained(config: Config) -> dict[str, Any]:
    """The fields of a config that the trained network depends on: not how it is looked at and scored."""
    return {
        name: value
        for name, value in flatten(config).items()
        if name not in workdir.FREE and not name.startswith(("evaluation.", "sampling."))
    }


def scores(directory: epath.Path) -> dict[str, Any]:
    """The content of metrics.json; nothing if the run is not scored."""
    return workdir.read_json(directory / workdir.METRICS, {})


def run_training(arguments: list[str]) -> None:
    """``python -m experiments.train ARGUMENTS`` in a process of its own, without compiled programs of earlier runs.

    Raises:
        RuntimeError: it fails.
    """
    ended = subprocess.run(
        [sys.executable, "-m", "experiments.train", *arguments],
        # Compile times are among what is asked about: each process compiles for itself.
        env=environment(JAX_COMPILATION_CACHE_DIR=""),
        capture_output=True,
        text=True,
    )
    if ended.returncode:
        raise RuntimeError(f"training {shlex.join(arguments)} failed: {ended.stderr[-_TAIL:].strip()}")
