"""A trained run, read back from its workdir."""

import dataclasses
from typing import NamedTuple

import jax
from etils import epath
from jax.sharding import Mesh

from experiments import build, workdir
from experiments.config import Config, SamplingConfig
from genjax import data
from genjax.train import sharding
from genjax.typing import Method, TrainState, UserError


class Run(NamedTuple):
    """What `restore` returns: everything needed to make images with a trained model."""

    config: Config
    info: data.DataInfo
    method: Method
    state: TrainState
    step: int
    mesh: Mesh


def restore(directory: epath.Path, overrides: dict[str, object], data_dir: str | None) -> Run:
    """The latest checkpoint of a run, on the devices of this machine, whatever it was trained on.

    Args:
        directory: the workdir of the run; nothing in it is changed.
        overrides: fields of `SamplingConfig` that differ from the run's; None values are ignored.
        data_dir: where TFDS data sets live, if elsewhere than at training time.

    Raises:
        UserError: there is no run, or no checkpoint yet.
    """
    from genjax.train.checkpoint import Checkpointer  # brings Orbax

    config = workdir.load_config(directory)
    sampling = dataclasses.replace(
        config.sampling, **{name: value for name, value in overrides.items() if value is not None}
    )
    check_sampling(sampling)
    config = dataclasses.replace(config, sampling=sampling)
    if data_dir is not None:
        config = dataclasses.replace(config, data=dataclasses.replace(config.data, data_dir=data_dir))
    info = workdir.load_info(directory)
    method = build.method(config, info)
    mesh = sharding.make_mesh()
    abstract = jax.eval_shape(method.init, jax.random.key(0), build.example(info))
    target = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding.replicated(mesh)), abstract
    )
    with Checkpointer(directory / "checkpoints", read_only=True) as checkpoints:
        restored = checkpoints.restore_latest(target)
    if restored is None:
        raise UserError(f"workdir={str(directory)!r} holds no checkpoint yet: train it first")
    state, _, step = restored
    return Run(config, info, method, state, step, mesh)


def check_sampling(config: SamplingConfig) -> None:
    """Raises UserError for numbers that make no sense."""
    for name in ("num_steps", "batch_size"):
        if getattr(config, name) < 1:
            raise UserError(f"{name}={getattr(config, name)} must be at least 1")
    if not 0 <= config.eta <= 1:
        raise UserError(f"eta={config.eta} must be in [0, 1]")
