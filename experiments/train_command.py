"""What the command line of training means: a preset, what it is adapted to, and fields that are given."""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Annotated

import tyro
from etils import epath

from experiments import adapted, cli
from experiments.presets import PRESETS
from genjax.app import checks, kinds, workdir
from genjax.app.config import Config, Launch, differences, replace
from genjax.typing import UserError

PROG = "python -m experiments.train"

SPELLINGS = {
    "--lr": "--optimizer.learning-rate",
    "--wd": "--optimizer.weight-decay",
    "--optim": "--optimizer.name",
    "--bs": "--batch-size",
    "--batch": "--batch-size",
    "--iterations": "--steps",
    "--iters": "--steps",
    "--num-steps": "--steps",
    "--max-steps": "--steps",
    "--train-steps": "--steps",
    "--epochs": "--steps, the number of updates: an epoch of N images has N / batch size of them",
    "--data": "--dataset",
    "--data-path": "--dataset folder:DIR",
    "--train-data-dir": "--dataset folder:DIR",
    "--size": "--data.image-size",
    "--resolution": "--data.image-size",
    "--img-size": "--data.image-size",
    "--mirror": "--data.flip",
    "--hflip": "--data.flip",
    "--ema": "--method.ema-decay",
    "--out": "--workdir",
    "--outdir": "--workdir",
    "--output": "--workdir",
    "--output-dir": "--workdir",
    "--logdir": "--workdir",
    "--resume": "nothing: the command that started a run also goes on with it",
    "--resume-from-checkpoint": "nothing: the command that started a run also goes on with it",
    "--continue": "nothing: the command that started a run also goes on with it",
    "--load": "--init-from RUN",
    "--ckpt": "--init-from RUN",
    "--checkpoint": "--init-from RUN",
    "--pretrained": "--init-from RUN",
    "--fp16": "--model.dtype bfloat16",
    "--bf16": "--model.dtype bfloat16",
    "--amp": "--model.dtype bfloat16",
    "--mixed-precision": "--model.dtype bfloat16",
    "--save-every": "--checkpoint-every",
    "--devices": "nothing: all devices are used; CUDA_VISIBLE_DEVICES or JAX_PLATFORMS choose among them",
    "--gpus": "nothing: all devices are used; CUDA_VISIBLE_DEVICES or JAX_PLATFORMS choose among them",
    "--device": "nothing: all devices are used; CUDA_VISIBLE_DEVICES or JAX_PLATFORMS choose among them",
}
"""Options of other programs, and what to write here."""
_TRIAL = "--trial"


@dataclasses.dataclass(frozen=True)
class Train:
    """Train a model, or continue a run that was stopped."""

    config: Annotated[Config, tyro.conf.arg(name="")]
    launch: Annotated[Launch, tyro.conf.arg(name="")]


def parse(arguments: Sequence[str]) -> Train:
    """A preset with what the command line changes about it; no file is read."""
    return _parse(arguments, looks=False)[0]


def read(arguments: Sequence[str]) -> tuple[Train, list[str]]:
    """A preset with what the command line changes about it, and what the run in the workdir was started with.

    Returns:
        The command, and lines that say what was adapted to it without being asked for by name.

    Raises:
        UserError: a preset, a network, a method or an option that does not exist.
        SystemExit: tyro has printed the help, or what is wrong.
    """
    return _parse(arguments, looks=True)


def _parse(arguments: Sequence[str], looks: bool) -> tuple[Train, list[str]]:
    name, rest = cli.choose({name: about for name, (about, _) in PRESETS.items()}, list(arguments), PROG)
    about, preset = PRESETS[name]
    preset, rest = choose_kinds(preset, rest)
    _check_spelling(rest)
    trial = _TRIAL in rest
    rest = [argument for argument in rest if argument != _TRIAL]
    steps = _value(rest, "--steps") or ""
    config = adapted.adapt(
        adapted.to_trial(preset) if trial else preset,
        name,
        _value(rest, "--dataset"),
        int(steps) if steps.isdecimal() and int(steps) else None,  # tyro complains of anything else
    )
    folder = _value(rest, "--workdir") or f"runs/{name}{'-trial' if trial else ''}"
    config, before = _goes_on(config, folder) if looks else (config, None)
    networks = ", ".join(kinds.networks_for(kinds.method(config)))
    others = (
        f"--model NAME trains another network: {networks}. --method NAME trains by another method: "
        f"{', '.join(kinds.TABLES['method'])}. --help after the name lists their options. {_TRIAL} shrinks the run to "
        "a minute: few steps, images and samples, to see whether everything works."
    )
    command = tyro.cli(
        Train,
        args=rest,
        default=Train(config, Launch(workdir=folder)),
        prog=f"{PROG} {name}",
        description=f"{about}\n\n{others}",
    )
    given = {argument.partition("=")[0].removeprefix("--").replace("-", "_") for argument in rest}
    said = [
        f"{field}: {new}, where the preset has {old}"
        for field, (old, new) in differences(preset, config).items()
        if not trial and not {field, field.partition(".")[2]} & given
    ]
    steps_now = command.config.fit.steps
    if before is not None and steps_now > before:
        said.append(f"goes on to step {steps_now}; the run was started with {before} steps")
    return command, said


def choose_kinds(config: Config, arguments: Sequence[str]) -> tuple[Config, list[str]]:
    """Takes ``--model NAME`` and ``--method NAME`` from a command line.

    Returns:
        The config, with the defaults of the network and of the method that are named, and the other arguments.

    Raises:
        UserError: there is no such network or method.
    """
    rest, chosen = [], {}
    waiting = iter(arguments)
    for argument in waiting:
        option, equals, value = argument.partition("=")
        part = option.removeprefix("--")
        if option.startswith("--") and part in kinds.TABLES:
            chosen[part] = kinds.named(part, value if equals else next(waiting, "")).config()
        else:
            rest.append(argument)
    config = dataclasses.replace(config, **chosen)
    if "method" in chosen:  # how the preset's method makes images may mean nothing to another one
        config = dataclasses.replace(config, sampling=checks.default_sampling(config))
    return config, rest


def _goes_on(config: Config, folder: str) -> tuple[Config, int | None]:
    """A run that goes on for more steps keeps the warm-ups and first stages that it was started with.

    Returns:
        The config, and the number of steps that the run in the folder was started with; None: there is none.
    """
    directory = epath.Path(folder).expanduser()
    if not workdir.has_checkpoint(directory) or not (directory / workdir.CONFIG).exists():
        return config, None
    before = workdir.load_config(directory)
    if config.fit.steps <= before.fit.steps or type(before.method) is not type(config.method):
        return config, before.fit.steps
    return replace(config, adapted.parts_of_run(before)), before.fit.steps


def _value(arguments: Sequence[str], option: str) -> str | None:
    """The value of an option, the last one where it is given several times."""
    found = None
    for argument, following in itertools.zip_longest(arguments, arguments[1:]):
        name, equals, value = argument.partition("=")
        if name.replace("_", "-") == option:
            found = value if equals else following
    return found


def _check_spelling(arguments: Sequence[str]) -> None:
    """Raises UserError for an option of another program."""
    for argument in arguments:
        option = argument.partition("=")[0].replace("_", "-")
        if option in SPELLINGS:
            raise UserError(f"{argument.partition('=')[0]} is not an option here; write {SPELLINGS[option]}")
