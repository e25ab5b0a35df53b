"""Train a preset: ``python -m experiments.train PRESET --workdir DIR``; the same command resumes it.

The workdir gets ``config.json``, ``manifest.json``, ``checkpoints/``, TensorBoard events, ``metrics.jsonl``,
``samples.png`` (one row a class) and, at the end, ``metrics.json``.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Annotated

import jax
import numpy as np
import tyro
from clu import parameter_overview
from etils import epath

from experiments import build, cli, pictures, scoring, workdir
from experiments.config import Config, Launch
from experiments.presets import PRESETS
from genjax import data
from genjax.train import sharding
from genjax.train.evaluate import evaluator
from genjax.train.generate import generator
from genjax.typing import Batch, Key, TrainState


@dataclasses.dataclass(frozen=True)
class Train:
    """Train a model, or go on with a run that was stopped."""

    config: Annotated[Config, tyro.conf.arg(name="")]
    launch: Annotated[Launch, tyro.conf.arg(name="")] = Launch()


def main() -> None:
    """Reads the command line and trains."""
    presets = {
        name: (about, Train(config, Launch(workdir=f"runs/{name}"))) for name, (about, config) in PRESETS.items()
    }
    command = tyro.extras.overridable_config_cli(presets, prog="python -m experiments.train")
    cli.join_processes(command.launch)
    train(command.config, command.launch)


def train(config: Config, launch: Launch) -> None:
    """Trains `config` in ``launch.workdir``, and scores the result."""
    from genjax.train.fit import Hook, fit  # brings Orbax

    directory = epath.Path(launch.workdir)
    mesh = sharding.make_mesh(config.fit.fsdp)
    train_source = build.source(config.data, config.data.train_split)
    test_source = build.source(config.data, config.data.test_split)
    method = build.method(config, train_source.info)
    workdir.claim(directory, config, train_source.info, launch.override_config)
    report_skipped(train_source, test_source)

    feed = build.training_feed(config, train_source, jax.process_index(), jax.process_count())
    example = build.example(train_source.info)
    overview(directory, method.init, example)

    evaluate = evaluator(method, mesh, data.preprocess)
    generate = generator(method, mesh, config.sampling.batch_size)
    labels = grid_labels(config, train_source.info)
    evaluation_batch = -(-256 // mesh.size) * mesh.size

    def test_loss(step: int, state: TrainState, writer) -> None:
        batches = data.eval_batches(
            test_source,
            evaluation_batch,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
        )
        means = evaluate(state, jax.random.key(config.fit.seed), batches)
        writer.write_scalars(step, {f"test/{name}": value for name, value in means.items()})

    def sample_grid(step: int, state: TrainState, writer) -> None:
        count = 10 * config.evaluation.grid_columns if labels is None else len(labels)
        condition = build.condition(config, labels, count)
        images = np.concatenate(
            list(generate(state, jax.random.key(config.fit.seed), condition, range(count)))
        )
        picture = pictures.by_class(
            np.asarray(data.to_uint8(images)), labels, config.evaluation.grid_columns
        )
        if cli.is_first_process():
            pictures.save(picture, directory / workdir.GRID)
            writer.write_images(step, {"samples": picture})

    fitted = fit(
        method,
        feed,
        config.fit,
        workdir=directory,
        example=example,
        preprocess=functools.partial(build.augment, config.data),
        hooks=[Hook(config.evaluation.loss_every, test_loss), Hook(config.evaluation.sample_every, sample_grid)],
        mesh=mesh,
        progress=launch.progress or None,
    )
    if fitted.preempted:
        say(f"preempted at step {fitted.step}: saved in {directory}; the same command goes on from there")
        return
    say(f"trained to step {fitted.step}; the train step was compiled in {fitted.compile_seconds:.1f} s")
    if config.evaluation.num:
        scoring.score_run(config, directory, fitted.state, fitted.step, method, mesh, num=config.evaluation.num)


def grid_labels(config: Config, info: data.DataInfo) -> np.ndarray | None:
    """One row a class; None for an unconditional model."""
    classes = build.num_classes(config, info)
    return None if classes is None else np.repeat(np.arange(classes), config.evaluation.grid_columns)


def report_skipped(*sources: data.Source) -> None:
    """Says how many records were left out, and which."""
    for source in sources:
        if source.skipped:
            say(f"{source.info.name}/{source.info.split}: {len(source.skipped)} bad records skipped:")
            for message in source.skipped[:10]:
                say(f"  {message}")


def overview(directory: epath.Path, init: Callable[[Key, Batch], TrainState], example: Batch) -> None:
    """Writes the table of parameters, and says how many there are."""
    params = jax.eval_shape(init, jax.random.key(0), example).params
    if cli.is_first_process():
        (directory / "parameters.txt").write_text(
            parameter_overview.get_parameter_overview(params, include_stats=False) + "\n"
        )
    count = sum(x.size for x in jax.tree.leaves(params))
    say(f"{count:,} parameters; {jax.device_count()} device(s) of kind {jax.devices()[0].device_kind}")


def say(text: str) -> None:
    """Prints from the first process."""
    if cli.is_first_process():
        print(text, flush=True)


if __name__ == "__main__":
    cli.run(main)
