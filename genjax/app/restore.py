"""A trained run, read back from its workdir."""

import dataclasses
from typing import Any, NamedTuple

import jax
from etils import epath
from jax.sharding import Mesh

from genjax import data
from genjax.app import build, checks, kinds, origins, workdir
from genjax.app.config import Config, SamplingOverrides
from genjax.app.kinds import NONE, Frozens
from genjax.methods.kind import Context
from genjax.train import sharding
from genjax.typing import Method, PyTree, TrainState, UserError


class Run(NamedTuple):
    """Everything needed to make images with a trained model, and to score it.

    Attributes:
        config: config of the experiment.
        info: description of its data.
        method: the four functions.
        state: state of a checkpoint.
        step: step of the state.
        mesh: the devices that hold it.
        frozen: runs whose parameters the state holds, see `genjax.app.origins`.
    """

    config: Config
    info: data.DataInfo
    method: Method
    state: TrainState
    step: int
    mesh: Mesh
    frozen: Frozens = NONE

    @property
    def context(self) -> Context:
        """From which the method was made."""
        return kinds.context(self.config, self.info, frozen=self.frozen)

    def with_config(self, config: Config) -> "Run":
        """The same state under another config, as one with another sampler."""
        return self._replace(config=config, method=build.method(config, self.info, frozen=self.frozen))


def restore(
    directory: epath.Path,
    overrides: SamplingOverrides,
    importance_samples: int | None = None,
    step: int | None = None,
) -> Run:
    """A checkpoint of a run, on the devices of this machine, whatever it was trained on.

    Args:
        directory: the workdir of the run; nothing in it is changed.
        overrides: how images are made, where that is to differ from the run's config.
        importance_samples: of the likelihood, if other than the run's config says.
        step: step of the checkpoint; None: the latest.

    Raises:
        UserError: there is no run, or no such checkpoint, or the overrides make no sense.
    """
    from genjax.train.checkpoint import Checkpointer  # brings Orbax

    config = workdir.load_config(directory)
    config = dataclasses.replace(config, sampling=overrides.apply(config.sampling))
    if importance_samples is not None:
        evaluation = dataclasses.replace(config.evaluation, importance_samples=importance_samples)
        config = dataclasses.replace(config, evaluation=evaluation)
    checks.check(config)
    info = workdir.load_info(directory)
    frozen = origins.frozen(config, recorded(directory), blank=True)
    method = build.method(config, info, frozen=frozen)
    mesh = sharding.make_mesh()
    if not workdir.has_checkpoint(directory):
        raise UserError(f"workdir={str(directory)!r} holds no checkpoint yet: train it first")
    with Checkpointer(directory / "checkpoints", read_only=True) as checkpoints:
        restored = checkpoints.restore_latest(_target(method, info, mesh), step)
    if restored is None:
        raise UserError(f"workdir={str(directory)!r} holds no checkpoint that can be used")
    state, _, found = restored
    return Run(config, info, method, state, found, mesh, frozen)


def recorded(directory: epath.Path) -> dict[str, Any]:
    """What ``origins.json`` of a run holds; nothing where there is no such file."""
    return workdir.read_json(directory / workdir.ORIGINS, {})


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
