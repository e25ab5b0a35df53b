"""Train a preset: ``python -m experiments.train PRESET --workdir DIR``; the same command resumes it.

The workdir gets ``config.json``, ``manifest.json``, ``checkpoints/``, ``metrics.jsonl``, what ``--log`` names (without
it: TensorBoard events), a picture of samples (one row for each class) each time samples are drawn,
``samples/00001000.png``, the newest also as ``samples.png``, ``timing.json`` (see `experiments.timing`) and, at the
end, ``metrics.json``.
"""

import contextlib
import functools
import json
import logging as log
import signal
import sys
from collections.abc import Callable, Iterator

import jax
from clu import parameter_overview
from etils import epath
from jax.sharding import Mesh

from experiments import cli, run_groups, timing
from experiments.drawing import drawer
from experiments.found import data_found
from experiments.train_command import read
from genjax import data
from genjax.app import (
    build,
    checks,
    config_files,
    cost,
    extractors,
    kinds,
    links,
    lock,
    origins,
    pictures,
    rehearsal,
    restore,
    scoring,
    workdir,
)
from genjax.app.config import Config, Launch, with_absolute_paths
from genjax.app.image_scores import ImageScorer
from genjax.app.terminal import printable
from genjax.data import confirmed
from genjax.train import logging, sharding, writers
from genjax.train.saved import saved_steps
from genjax.train.timing import Times
from genjax.typing import Method, PyTree, TrainState, UserError

logger = log.getLogger(__name__)

HookFunction = Callable[[int, TrainState, logging.Writer], None]


def main() -> None:
    """Reads the command line and trains."""
    command, said = read(sys.argv[1:])
    cli.join_processes(command.launch)
    for line in said:
        say(line)
    train(command.config, command.launch)


def train(config: Config, launch: Launch) -> None:
    """Trains `config` in ``launch.workdir``, and scores the result."""
    from genjax.train.fit import Hook, fit  # brings Orbax

    directory = epath.Path(launch.workdir).expanduser()
    # Whatever can be wrong is found before the workdir is touched.
    checks.check(config)
    config = with_absolute_paths(config)
    writers.check(launch.log)
    links.check(directory, below=(workdir.PICTURES, "checkpoints"))
    mesh = sharding.make_mesh(config.fit.fsdp)
    train_source = build.source(config.data, config.data.train_split)
    test_source = build.source(config.data, config.data.test_split)
    config = build.counted(config, len(train_source))
    confirmed.confirm(config.data.data_dir)  # evaluating the run reads it again
    goes_on = workdir.has_checkpoint(directory)
    described = restore.recorded(directory) if goes_on else origins.describe(config)
    frozen = origins.frozen(config, described, blank=goes_on)
    method = build.traced_once(build.method(config, train_source.info, frozen=frozen))
    abstract_state = checks.check_fits(config, train_source, test_source, method, mesh, frozen)
    first = None if goes_on else described.get("init_from")
    taken = first and origins.compare(abstract_state, first, partial=config.initial.init_partial)
    if launch.override_config:
        restore.check_resumable(directory, method, train_source.info)

    def hooks(method: Method, train: data.Source, test: data.Source, directory: epath.Path) -> list[Hook]:
        evaluation = config.evaluation
        made = [
            Hook(evaluation.loss_every, test_loss(config, method, mesh, test)),
            Hook(evaluation.sample_every, sample_grid(config, method, mesh, test, directory)),
        ]
        if evaluation.score_every:
            made.append(Hook(evaluation.score_every, image_score(config, method, mesh, train, test)))
        return made

    rehearsal.rehearse(config, method, abstract_state, mesh, train_source, test_source, hooks)
    facts = workdir.describe_data(train_source, test_source)
    workdir.check_ours(directory)
    say(data_found(train_source, test_source))
    with writing(directory):
        for line in workdir.claim(directory, config, facts, launch.override_config, described):
            say(line)
        overview(directory, abstract_state.params)
        if described and not goes_on:
            for name, one in described.items():
                say(f"{name}: {one['workdir']}@{one['step']}, SHA-256 {one['digest'][:16]}")
        if taken:
            say(f"init_from: {len(taken.taken)} arrays taken, {len(taken.new)} new, {len(taken.left)} left")
        fitted = fit(
            method,
            build.training_feed(config, train_source, jax.process_index(), jax.process_count()),
            config.fit,
            workdir=directory,
            example=build.example(train_source.info),
            preprocess=functools.partial(build.augment, config.data),
            hooks=hooks(method, train_source, test_source, directory),
            mesh=mesh,
            progress=launch.progress or None,
            on_save=timekeeper(config, directory, train_source, frozen, method, mesh),
            initial=(lambda state: origins.start_from(state, first)) if first else None,
            log=launch.log,
            hparams=run_groups.flatten(config_files.to_json(config)),
        )
        if fitted.preempted:
            how = "interrupted" if fitted.signal == signal.SIGINT else "preempted"
            say(f"{how} at step {fitted.step}: saved in {directory}; the same command goes on from there")
            sys.exit(128 + signal.SIGINT if fitted.signal == signal.SIGINT else 0)
        took = f": {in_words(fitted.times, config, len(train_source))}" if fitted.trained else ""
        say(f"trained to step {fitted.step}{took}")
        if is_scored(directory, fitted.step):
            say(
                f"already scored: {directory / workdir.METRICS}; python -m experiments.evaluate does so again"
            )
        elif config.evaluation.num:
            run = restore.Run(config, train_source.info, method, fitted.state, fitted.step, mesh, frozen)
            results = scoring.score_run(run, directory, train_source, test_source, num=config.evaluation.num)
            say(json.dumps(results))


@contextlib.contextmanager
def writing(directory: epath.Path) -> Iterator[None]:
    """Context in which this run alone writes into its workdir; Ctrl-C says what was last saved.

    Raises:
        UserError: another run does, or nobody can.
    """
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(lock.held(directory, say=say))
        except OSError as error:
            raise UserError(f"workdir={str(directory)!r} cannot be written: {error}") from error
        try:
            yield
        except KeyboardInterrupt:
            steps = saved_steps(directory / "checkpoints")
            raise KeyboardInterrupt(
                f"the newest checkpoint is of step {steps[-1]}, from which the same command goes on"
                if steps
                else "there is no checkpoint yet, the same command starts anew"
            ) from None


def timekeeper(
    config: Config,
    directory: epath.Path,
    train: data.Source,
    frozen: kinds.Frozens,
    method: Method,
    mesh: Mesh,
) -> Callable[[Times], None]:
    """A function that writes the times of the run to its workdir."""
    step_cost = functools.cache(
        lambda: cost.training_cost(config, train.info, frozen, method=method, mesh=mesh)
    )

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
    scorer = ImageScorer(config, train, test, mesh, num=num, extractor=extractors.of_run(config))
    make = scoring.maker(config, method, mesh, num)

    def write(step: int, state: TrainState, writer: logging.Writer) -> None:
        found = scorer.score(make(state, labels=scorer.labels, given=scorer.given), scorer.labels)
        writer.write_scalars(
            step, {f"test/{name}": found[name] for name in ("rho", "fd_generated") if name in found}
        )

    return write


def is_scored(directory: epath.Path, step: int) -> bool:
    """Whether the workdir has the score of this step."""
    try:
        return workdir.read_json(directory / workdir.METRICS, {}).get("step") == step
    except UserError as error:  # it is scored anew
        logger.warning("%s", error)
        return False


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
        print(printable(text), flush=True)


if __name__ == "__main__":
    cli.run(main)
