"""A trained run, read back from its workdir."""

import dataclasses
from typing import NamedTuple

import jax
from etils import epath
from jax.sharding import Mesh

from genjax import data
from genjax.app import build, checks, workdir
from genjax.app.config import Config, SamplingOverrides
from genjax.train import sharding
from genjax.typing import Method, PyTree, TrainState, UserError


class Run(NamedTuple):
    """Everything needed to make images with a trained model, and to score it."""

    config: Config
    info: data.DataInfo
    method: Method
    state: TrainState
    step: int
    mesh: Mesh


def restore(
    directory: epath.Path,
    overrides: SamplingOverrides,
    data_dir: str | None = None,
    importance_samples: int | None = None,
) -> Run:
    """The latest checkpoint of a run, on the devices of this machine, whatever it was trained on.

    Args:
        directory: the workdir of the run; nothing in it is changed.
        overrides: how images are made, where that is to differ from the run's config.
        data_dir: where TFDS data sets live, if elsewhere than at training time.
        importance_samples: of the likelihood, if other than the run's config says.

    Raises:
        UserError: there is no run, or no checkpoint yet, or the overrides make no sense.
    """
    from genjax.train.checkpoint import Checkpointer  # brings Orbax

    config = workdir.load_config(directory)
    config = dataclasses.replace(config, sampling=overrides.apply(config.sampling))
    if data_dir is not None:
        config = dataclasses.replace(config, data=dataclasses.replace(config.data, data_dir=data_dir))
    if importance_samples is not None:
        evaluation = dataclasses.replace(config.evaluation, importance_samples=importance_samples)
        config = dataclasses.replace(config, evaluation=evaluation)
    checks.check(config)
    info = workdir.load_info(directory)
    method = build.method(config, info)
    mesh = sharding.make_mesh()
    if not workdir.has_checkpoint(directory):
        raise UserError(f"workdir={str(directory)!r} holds no checkpoint yet: train it first")
    with Checkpointer(directory / "checkpoints", read_only=True) as checkpoints:
        restored = checkpoints.restore_latest(_target(method, info, mesh))
    if restored is None:
        raise UserError(f"workdir={str(directory)!r} holds no checkpoint that can be used")
    state, _, step = restored
    return Run(config, info, method, state, step, mesh)


def check_resumable(directory: epath.Path, method: Method, info: data.DataInfo) -> None:
    """Checks that the latest checkpoint of a run holds a state of `method`, built from another config.

    Raises:
        CheckpointError: it does not; the message lists what differs.
    """
    from genjax.train.checkpoint import Checkpointer  # brings Orbax

    if workdir.has_checkpoint(directory):
        with Checkpointer(directory / "checkpoints", read_only=True) as checkpoints:
            checkpoints.restore_latest(_target(method, info, sharding.make_mesh()))


def _target(method: Method, info: data.DataInfo, mesh: Mesh) -> PyTree:
    """The state to restore, a copy on each device."""
    abstract = jax.eval_shape(method.init, jax.random.key(0), build.example(info))
    layout = sharding.replicated(mesh)
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=layout), abstract)
