"""Train a preset: ``python -m experiments.train PRESET --workdir DIR``; the same command resumes it.

The workdir gets ``config.json``, ``manifest.json``, ``checkpoints/``, TensorBoard events, ``metrics.jsonl``, a picture
of samples (one row a class) each time they are drawn, ``samples/00001000.png``, the newest also as ``samples.png``,
``timing.json`` (see `experiments.timing`) and, at the end, ``metrics.json``.
"""

import dataclasses
import functools
import json
import sys
from collections.abc import Callable
from typing import Annotated

import jax
import tyro
from clu import parameter_overview
from etils import epath
from jax.sharding import Mesh

from experiments import cli, timing
from experiments.drawing import drawer
from experiments.presets import PRESETS
from genjax import data
from genjax.app import build, checks, cost, pictures, restore, scoring, workdir
from genjax.app.config import Config, Launch
from genjax.app.image_scores import ImageScorer
from genjax.train import logging, sharding
from genjax.train.timing import Times
from genjax.typing import Method, PyTree, TrainState

_PROG = "python -m experiments.train"

HookFunction = Callable[[int, TrainState, logging.Writer], None]


@dataclasses.dataclass(frozen=True)
class Train:
    """Train a model, or go on with a run that was stopped."""

    config: Annotated[Config, tyro.conf.arg(name="")]
    launch: Annotated[Launch, tyro.conf.arg(name="")]


def main() -> None:
    """Reads the command line and trains."""
    command = parse(sys.argv[1:])
    cli.join_processes(command.launch)
    train(command.config, command.launch)


def parse(arguments: list[str]) -> Train:
    """A preset with what the command line changes about it."""
    name, rest = cli.choose({name: about for name, (about, _) in PRESETS.items()}, arguments, _PROG)
    about, config = PRESETS[name]
    default = Train(config, Launch(workdir=f"runs/{name}"))
    return tyro.cli(Train, args=rest, default=default, prog=f"{_PROG} {name}", description=about)


def train(config: Config, launch: Launch) -> None:
    """Trains `config` in ``launch.workdir``, and scores the result."""
    from genjax.train.fit import Hook, fit  # brings Orbax

    directory = epath.Path(launch.workdir).expanduser()
    # Whatever can be wrong is found before the workdir is touched.
    checks.check(config)
    mesh = sharding.make_mesh(config.fit.fsdp)
    train_source = build.source(config.data, config.data.train_split)
    test_source = build.source(config.data, config.data.test_split)
    method = build.method(config, train_source.info)
    abstract_state = checks.check_fits(config, train_source, test_source, method, mesh)
    if launch.override_config:
        restore.check_resumable(directory, method, train_source.info)
    workdir.claim(directory, config, workdir.describe_data(train_source, test_source), launch.override_config)

    overview(directory, abstract_state.params)
    evaluation = config.evaluation
    hooks = [
        Hook(evaluation.loss_every, test_loss(config, method, mesh, test_source)),
        Hook(evaluation.sample_every, sample_grid(config, method, mesh, test_source, directory)),
    ]
    if evaluation.score_every:
        hooks.append(
            Hook(evaluation.score_every, image_score(config, method, mesh, train_source, test_source))
        )
    fitted = fit(
        method,
        build.training_feed(config, train_source, jax.process_index(), jax.process_count()),
        config.fit,
        workdir=directory,
        example=build.example(train_source.info),
        preprocess=functools.partial(build.augment, config.data),
        hooks=hooks,
        mesh=mesh,
        progress=launch.progress or None,
        on_save=timekeeper(config, directory, train_source),
    )
    if fitted.preempted:
        say(f"preempted at step {fitted.step}: saved in {directory}; the same command goes on from there")
        return
    took = f": {in_words(fitted.times, config, len(train_source))}" if fitted.trained else ""
    say(f"trained to step {fitted.step}{took}")
    if is_scored(directory, fitted.step):
        say(f"already scored: {directory / workdir.METRICS}; python -m experiments.evaluate does so again")
    elif config.evaluation.num:
        run = restore.Run(config, train_source.info, method, fitted.state, fitted.step, mesh)
        results = scoring.score_run(run, directory, train_source, test_source, num=config.evaluation.num)
        say(json.dumps(results))


def timekeeper(config: Config, directory: epath.Path, train: data.Source) -> Callable[[Times], None]:
    """A function that writes the times of the run to its workdir."""
    step_cost = functools.cache(lambda: cost.training_cost(config, train.info))

    def write(times: Times) -> None:
        if cli.is_first_process():
            found = timing.record(times, len(train), config.fit.batch_size, step_cost())
            workdir.write_json(directory / workdir.TIMING, found)

    return write


def in_words(times: Times, config: Config, examples: int) -> str:
    """How long training took, with all the starts of the run."""
    epoch = times.train_seconds / times.steps * examples / config.fit.batch_size
    return (
        f"{times.steps} steps in {times.train_seconds:.1f} s, {epoch:.3g} s an epoch; the train step was compiled in "
        f"{times.compile_seconds:.1f} s"
    )


def test_loss(config: Config, method: Method, mesh: Mesh, test: data.Source) -> HookFunction:
    """A hook that writes the loss on the test split."""
    held_out = scoring.held_out(config, method, mesh, test)

    def write(step: int, state: TrainState, writer: logging.Writer) -> None:
        writer.write_scalars(step, {f"test/{name}": value for name, value in held_out(state).items()})

    return write


def sample_grid(
    config: Config, method: Method, mesh: Mesh, test: data.Source, directory: epath.Path
) -> HookFunction:
    """A hook that writes a picture of samples: as `drawing.drawer` says."""
    draw = drawer(config, method, mesh, test, config.fit.seed)

    def write(step: int, state: TrainState, writer: logging.Writer) -> None:
        picture = draw(state)
        if cli.is_first_process():
            workdir.write_picture(directory, step, pictures.encode(picture))
            writer.write_images(step, {"samples": picture})

    return write


def image_score(
    config: Config, method: Method, mesh: Mesh, train: data.Source, test: data.Source
) -> HookFunction:
    """A hook that writes the score of the images that `scoring.score_run` would score."""
    num = config.evaluation.score_num
    scorer = ImageScorer(config, train, test, mesh, num=num)
    make = scoring.maker(config, method, mesh, num)

    def write(step: int, state: TrainState, writer: logging.Writer) -> None:
        found = scorer.score(make(state, labels=scorer.labels, given=scorer.given), scorer.labels)
        writer.write_scalars(step, {f"test/{name}": found[name] for name in ("rho", "fd_generated")})

    return write


def is_scored(directory: epath.Path, step: int) -> bool:
    """Whether the workdir has the score of this step."""
    path = directory / workdir.METRICS
    return path.exists() and json.loads(path.read_text())["step"] == step


def overview(directory: epath.Path, params: PyTree) -> None:
    """Writes the table of parameters, and says how many there are."""
    if cli.is_first_process():
        table = parameter_overview.get_parameter_overview(params, include_stats=False)
        workdir.write_bytes(directory / "parameters.txt", f"{table}\n".encode())
    count = sum(x.size for x in jax.tree.leaves(params))
    say(f"{count:,} parameters; {jax.device_count()} device(s) of kind {jax.devices()[0].device_kind}")


def say(text: str) -> None:
    """Prints from the first process."""
    if cli.is_first_process():
        print(text, flush=True)


if __name__ == "__main__":
    cli.run(main, when_interrupted="the same command goes on from the latest checkpoint")
