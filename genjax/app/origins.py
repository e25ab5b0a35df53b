"""Other runs that a run is made from: the one it starts from, and those whose parameters it holds frozen.

A config names a run as ``DIR``, its latest checkpoint, or ``DIR@STEP``. What that was is written to ``origins.json`` of
the new run, with a digest of the checkpoint and with all that is needed to build the frozen networks again: a run goes
on, and makes images, when the folders it came from are gone.
"""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from etils import epath

from genjax.app import build, config_files, kinds, workdir
from genjax.app.config import Config
from genjax.data import fields
from genjax.methods.averages import averaged
from genjax.methods.kind import Frozen
from genjax.train.leaves import named_leaves
from genjax.typing import TrainState, UserError

_LISTED = 8


class Taken(NamedTuple):
    """What becomes of the parameters of a run that another one starts from, by their names.

    Attributes:
        taken: they are in the new run as they were in the other.
        new: the new run has them and the other one has not, or has them in another shape.
        left: the other run has them and the new one has not.
    """

    taken: list[str]
    new: list[str]
    left: list[str]


def parse(reference: str) -> tuple[epath.Path, int | None]:
    """The folder of a run, and the step of its checkpoint (None: the latest), of "DIR" or "DIR@STEP"."""
    match = re.fullmatch(r"(.+)@(\d+)", reference)
    path, step = (match[1], int(match[2])) if match else (reference, None)
    return epath.Path(path).expanduser(), step


def references(config: Config) -> dict[str, str]:
    """The runs that a config names, by field: "init_from" and what its method calls frozen."""
    named = {"init_from": config.initial.init_from}
    named |= {name: getattr(config.method, name) for name in kinds.method(config).frozen}
    return {name: reference for name, reference in named.items() if reference is not None}


def describe(config: Config) -> dict[str, Any]:
    """What ``origins.json`` is to hold: of each run that the config names its folder, step, digest, config and data.

    Raises:
        UserError: there is no such run, or it has no such checkpoint.
    """
    found = {}
    for name, reference in references(config).items():
        directory, step = parse(reference)
        try:
            with _checkpoints(directory) as checkpoints:
                _, step = checkpoints.shapes(step)
                digest = checkpoints.digest(step)
        except UserError as error:
            raise UserError(f"{name}={reference!r}: {error}") from error
        found[name] = {
            "workdir": str(directory),
            "step": step,
            "digest": digest,
            "config": config_files.to_json(workdir.load_config(directory)),
            "data": fields.to_json(workdir.load_info(directory)),
        }
    return found


def frozen(config: Config, described: Mapping[str, Any], *, blank: bool = False) -> dict[str, Frozen]:
    """The frozen runs of a config, by the name of the field.

    Args:
        config: names them.
        described: what `describe` said of them.
        blank: zeros stand in for the parameters, where those will come from a checkpoint of the new run.

    Raises:
        UserError: a checkpoint is no longer there, or no longer the one that was described.
    """
    return {
        name: _frozen(described[name], blank) for name in kinds.method(config).frozen if name in described
    }


def _frozen(one: Mapping[str, Any], blank: bool) -> Frozen:
    config, info = config_files.from_json(one["config"]), fields.from_json(one["data"])
    abstract = jax.eval_shape(build.method(config, info).init, jax.random.key(0), build.example(info))
    kept = dataclasses.replace(abstract, params=(), opt=(), frozen=())
    if blank:
        state = jax.tree.map(lambda x: np.broadcast_to(np.zeros((), x.dtype), x.shape), kept)
    else:
        leaves = _read(one, ("ema/", "mutable/"))
        wanted = {name: x.shape for name, x in named_leaves(kept).items() if name != "step"}
        missing = [name for name in wanted if name not in leaves or leaves[name].shape != wanted[name]]
        if missing:
            raise UserError(f"the checkpoint lacks {missing[0]} and {len(missing) - 1} other arrays")
        state = _replaced(kept, leaves)
    return Frozen(kinds.context(config, info), averaged(state), state.mutable)


def compare(state: TrainState, described: Mapping[str, Any], *, partial: bool) -> Taken:
    """What `start_from` would do to the parameters of a state; no array is read.

    Args:
        state: state of the new run, as shapes and types.
        described: what `describe` said of "init_from".
        partial: allow that the runs do not have the same parameters.

    Raises:
        UserError: the parameters differ in names or shapes, and `partial` is False, or nothing is alike.
    """
    with _checkpoints(epath.Path(described["workdir"])) as checkpoints:
        shapes, _ = checkpoints.shapes(described["step"])
    own, other = (
        {name: x.shape for name, x in named.items() if name.startswith("params/")}
        for named in (named_leaves(state), shapes)
    )
    alike = {name for name in own if other.get(name) == own[name]}
    found = Taken(sorted(alike), sorted(own.keys() - alike), sorted(other.keys() - alike))
    if not found.taken or ((found.new or found.left) and not partial):
        lines = [f"  new: {name}" for name in found.new] + [f"  left: {name}" for name in found.left]
        more = [f"  and {len(lines) - _LISTED} more"] if len(lines) > _LISTED else []
        raise UserError(
            f"init_from={described['workdir']!r}: {len(found.taken)} arrays of its parameters are alike, "
            f"{len(found.new)} are new and {len(found.left)} would be left\n"
            + "\n".join(lines[:_LISTED] + more)
            + ("\n--init-partial starts from what is alike" if found.taken else "")
        )
    return found


def start_from(state: TrainState, described: Mapping[str, Any]) -> TrainState:
    """A state with another run's parameters, their averages and the other variables, as far as they are alike.

    The optimizer starts anew. An average that the other run does not keep starts at its parameters.

    Args:
        state: state of the new run, before its first step.
        described: what `describe` said of "init_from".

    Raises:
        UserError: the checkpoint is no longer there, or no longer the one that was described.
    """
    leaves = _read(described, ("params/", "ema/", "mutable/"))
    averages = {
        "ema" + name.removeprefix("params"): x for name, x in leaves.items() if name.startswith("params/")
    }
    return _replaced(state, averages | leaves)


def _replaced(state: TrainState, leaves: Mapping[str, np.ndarray]) -> TrainState:
    """A state with those arrays in `leaves` that have the name and the shape of its own."""

    def one(name: str, x: Any) -> Any:
        other = leaves.get(name)
        return x if other is None or other.shape != x.shape else other.astype(x.dtype)

    replaced = [one(name, x) for name, x in named_leaves(state).items()]
    return jax.tree.unflatten(jax.tree.structure(state), replaced)


def _read(described: Mapping[str, Any], prefixes: tuple[str, ...]) -> dict[str, np.ndarray]:
    directory = epath.Path(described["workdir"])
    with _checkpoints(directory) as checkpoints:
        leaves, step = checkpoints.leaves(prefixes, described["step"])
        digest = checkpoints.digest(step)
    if digest != described["digest"]:
        raise UserError(
            f"{directory}: the checkpoint of step {step} is another one than before, by its digest {digest[:16]} "
            f"instead of {described['digest'][:16]}"
        )
    return leaves


def _checkpoints(directory: epath.Path) -> Any:
    """The checkpoints of a run, to be read."""
    from genjax.train.checkpoint import Checkpointer  # brings Orbax

    if not workdir.has_checkpoint(directory):
        workdir.load_config(directory)  # says so if there is no run at all
        raise UserError(f"workdir={str(directory)!r} holds no checkpoint yet: train it first")
    return Checkpointer(directory / "checkpoints", read_only=True)
