"""Train a preset: ``python -m experiments.train PRESET --workdir DIR``; the same command resumes it.

The workdir gets ``config.json``, ``manifest.json``, ``checkpoints/``, TensorBoard events, ``metrics.jsonl``,
``samples.png`` (one row a class) and, at the end, ``metrics.json``.
"""

import dataclasses
import functools
import json
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from clu import parameter_overview
from etils import epath
from jax.sharding import Mesh

from experiments import build, checks, cli, families, pictures, restore, scoring, translation, workdir
from experiments.config import Config, Launch
from experiments.presets import PRESETS
from genjax import data
from genjax.train import logging, sharding
from genjax.train.generate import generator
from genjax.typing import Method, PyTree, TrainState

_PROG = "python -m experiments.train"

if TYPE_CHECKING:
    from genjax.train.fit import Fitted  # brings Orbax

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
    fitted = fit(
        method,
        build.training_feed(config, train_source, jax.process_index(), jax.process_count()),
        config.fit,
        workdir=directory,
        example=build.example(train_source.info),
        preprocess=functools.partial(build.augment, config.data),
        hooks=[
            Hook(config.evaluation.loss_every, test_loss(config, method, mesh, test_source)),
            Hook(
                config.evaluation.sample_every,
                sample_grid(config, method, mesh, test_source, directory),
            ),
        ],
        mesh=mesh,
        progress=launch.progress or None,
    )
    if fitted.preempted:
        say(f"preempted at step {fitted.step}: saved in {directory}; the same command goes on from there")
        return
    say(f"trained to step {fitted.step}{took(directory, fitted, config.fit.batch_size, len(train_source))}")
    if is_scored(directory, fitted.step):
        say(f"already scored: {directory / workdir.METRICS}; python -m experiments.evaluate does so again")
    elif config.evaluation.num:
        run = restore.Run(config, train_source.info, method, fitted.state, fitted.step, mesh)
        results = scoring.score_run(run, directory, train_source, test_source, num=config.evaluation.num)
        say(json.dumps(results))


def took(directory: epath.Path, fitted: "Fitted", batch_size: int, num_examples: int) -> str:
    """Says how long training took, and writes it to the workdir: of this process alone, if the run was resumed."""
    if not fitted.trained:
        return ""
    timing = {
        "steps": fitted.trained,
        "train_seconds": fitted.train_seconds,
        "seconds_per_epoch": fitted.train_seconds / fitted.trained * num_examples / batch_size,
        "compile_seconds": fitted.compile_seconds,
    }
    if cli.is_first_process():
        workdir.write_json(directory / workdir.TIMING, timing)
    return (
        f": {fitted.trained} steps in {fitted.train_seconds:.1f} s, {timing['seconds_per_epoch']:.3g} s an epoch; the "
        f"train step was compiled in {fitted.compile_seconds:.1f} s"
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
    """A hook that writes a picture of samples, always from the same noise: one row a class, or translations of the same
    test images."""
    columns = config.evaluation.grid_columns
    if families.of(config).translates:
        draw = translation.drawer(config, method, mesh, test, 4 * columns, columns)
    else:
        draw = _drawer(config, method, mesh, test.info, columns)

    def write(step: int, state: TrainState, writer: logging.Writer) -> None:
        picture = draw(state)
        if cli.is_first_process():
            workdir.write_bytes(directory / workdir.GRID, pictures.encode(picture))
            writer.write_images(step, {"samples": picture})

    return write


def _drawer(
    config: Config, method: Method, mesh: Mesh, info: data.DataInfo, columns: int
) -> Callable[[TrainState], np.ndarray]:
    """A function from a state to a picture of samples, one row a class."""
    generate = generator(method, mesh, config.sampling.batch_size)
    classes = families.num_classes(config, info)
    labels = None if classes is None else np.repeat(np.arange(classes), columns)
    count = 10 * columns if labels is None else len(labels)
    condition = build.condition(config, labels, count)

    def draw(state: TrainState) -> np.ndarray:
        images = list(generate(state, jax.random.key(config.fit.seed), condition, range(count)))
        levels = np.asarray(data.to_uint8(jnp.asarray(np.concatenate(images))))
        return pictures.by_class(levels, labels, columns)

    return draw


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
