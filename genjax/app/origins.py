"""Other runs that a run is made from: the one it starts from, and those whose parameters it holds frozen.

A config names a run as ``DIR``, its latest checkpoint, or ``DIR@STEP``. What that was is written to ``origins.json`` of
the new run, with a digest of the checkpoint and with all that is needed to build the frozen networks again: a run goes
on, and makes images, when the folders it came from are gone.
"""

import dataclasses
import hashlib
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
from genjax.typing import TrainState, UserError

_PARTS = ("params", "ema", "mutable")
_LISTED = 8


class Taken(NamedTuple):
    """What became of the arrays of a run that another one starts from, by their names.

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
            _, step, digest = _leaves(directory, step, prefixes=())
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
    context = kinds.context(config, info)
    abstract = jax.eval_shape(build.method(config, info).init, jax.random.key(0), build.example(info))
    if blank:
        state = jax.tree.map(lambda x: np.broadcast_to(np.zeros((), x.dtype), x.shape), _arrays(abstract))
    else:
        state = _with_leaves(_arrays(abstract), _read(one, ("ema/", "mutable/")), strict=True)[0]
    return Frozen(context, averaged(state), state.mutable)


def _arrays(state: TrainState) -> TrainState:
    return dataclasses.replace(state, params=(), opt=(), frozen=())


def start_from(state: TrainState, described: Mapping[str, Any], *, partial: bool) -> tuple[TrainState, Taken]:
    """A state with another run's parameters, their averages and the other variables.

    The optimizer starts anew. An average that the other run does not keep starts at its parameters.

    Args:
        state: state of the new run, before its first step.
        described: what `describe` said of "init_from".
        partial: allow that the runs do not have the same parameters.

    Raises:
        UserError: the parameters differ in names or shapes, and `partial` is False, or nothing is alike.
    """
    leaves = _read(described, tuple(f"{part}/" for part in _PARTS))
    for name in [name for name in leaves if name.startswith("params/")]:
        leaves.setdefault("ema/" + name.removeprefix("params/"), leaves[name])
    new, found = _with_leaves(state, leaves, strict=False)
    parameters = Taken(*([name for name in names if name.startswith("params/")] for names in found))
    if not parameters.taken or ((parameters.new or parameters.left) and not partial):
        lines = [f"  new: {name}" for name in parameters.new] + [
            f"  left: {name}" for name in parameters.left
        ]
        more = [f"  and {len(lines) - _LISTED} more"] if len(lines) > _LISTED else []
        raise UserError(
            f"init_from={described['workdir']!r}: {len(parameters.taken)} arrays of its parameters are alike, "
            f"{len(parameters.new)} are new and {len(parameters.left)} would be left\n"
            + "\n".join(lines[:_LISTED] + more)
            + ("\n--init-partial starts from what is alike" if parameters.taken else "")
        )
    return new, parameters


def _with_leaves(
    state: TrainState, leaves: Mapping[str, np.ndarray], *, strict: bool
) -> tuple[TrainState, Taken]:
    from genjax.train.checkpoint import named_leaves

    own = {name: x for name, x in named_leaves(state).items() if name.split("/")[0] in _PARTS}
    alike = {name for name, x in own.items() if name in leaves and leaves[name].shape == x.shape}
    found = Taken(sorted(alike), sorted(own.keys() - alike), sorted(leaves.keys() - alike))
    if strict and found.new:
        raise UserError(f"the checkpoint lacks {found.new[0]} and {len(found.new) - 1} other arrays")
    every = named_leaves(state)
    replaced = [np.asarray(leaves[name]).astype(x.dtype) if name in alike else x for name, x in every.items()]
    return jax.tree.unflatten(jax.tree.structure(state), replaced), found


def _read(described: Mapping[str, Any], prefixes: tuple[str, ...]) -> dict[str, np.ndarray]:
    directory = epath.Path(described["workdir"])
    leaves, step, digest = _leaves(directory, described["step"], prefixes)
    if digest != described["digest"]:
        raise UserError(
            f"{directory}: the checkpoint of step {step} is another one than before, by its digest {digest[:16]} "
            f"instead of {described['digest'][:16]}"
        )
    return leaves


def _leaves(
    directory: epath.Path, step: int | None, prefixes: tuple[str, ...]
) -> tuple[dict[str, np.ndarray], int, str]:
    """Arrays of a checkpoint whose names begin with one of `prefixes`, its step, and its digest."""
    from genjax.train.checkpoint import SEAL, Checkpointer  # brings Orbax

    if not workdir.has_checkpoint(directory):
        workdir.load_config(directory)  # says so if there is no run at all
        raise UserError(f"workdir={str(directory)!r} holds no checkpoint yet: train it first")
    with Checkpointer(directory / "checkpoints", read_only=True) as checkpoints:
        leaves, step = checkpoints.leaves(prefixes, step)
    seal = directory / "checkpoints" / f"{step:08d}" / SEAL
    return leaves, step, hashlib.sha256(seal.read_bytes()).hexdigest()
