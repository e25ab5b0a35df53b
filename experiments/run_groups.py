"""Runs that differ in nothing but the seed, and what sets their groups apart."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeVar

from genjax.app import workdir
from genjax.typing import UserError

_SEED, _STEPS, _STEP = "fit.seed", "fit.steps", "step"
_ABSENT = object()


class Grouped(Protocol):
    """What is asked of a run: where it is, its config by dotted name (see `flatten`), its metrics.json."""

    @property
    def path(self) -> Any: ...
    @property
    def config(self) -> Mapping[str, Any]: ...
    @property
    def metrics(self) -> Mapping[str, Any]: ...


R = TypeVar("R", bound=Grouped)


def flatten(fields: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The content of a config.json by dotted name."""
    flat: dict[str, Any] = {}
    for name, value in fields.items():
        nested = isinstance(value, dict)
        flat |= flatten(value, f"{prefix}{name}.") if nested else {prefix + name: value}
    return flat


def identity(run: Grouped) -> dict[str, Any]:
    """All that runs of a group have in common: their config, the step they got to, and how their images were made where
    that was not by their config."""
    fixed = {k: v for k, v in run.config.items() if k != _SEED and k not in workdir.FREE}
    sampling = run.metrics.get("sampling") or {}
    other = {
        f"scored with {name}": value
        for name, value in sampling.items()
        if name not in ("seed", "num") and run.config.get(f"sampling.{name}", value) != value
    }
    return {**fixed, **other, _STEP: run.metrics.get("step")}


def grouped(runs: Sequence[R]) -> list[list[R]]:
    """The runs in groups of one `identity`, in the order of their first runs.

    Raises:
        UserError: a seed occurs twice in a group.
    """
    groups: dict[str, list[R]] = {}
    for run in runs:
        group = groups.setdefault(json.dumps(identity(run), sort_keys=True), [])
        if same := [other for other in group if other.config[_SEED] == run.config[_SEED]]:
            raise UserError(
                f"workdirs: {same[0].path} and {run.path} are runs of the same config with the same "
                f"seed={run.config[_SEED]}: they would count as independent"
            )
        group.append(run)
    return list(groups.values())


def names(identities: Sequence[Mapping[str, Any]], *, short: bool = False) -> list[str]:
    """What sets each apart from the others, as "field=value, field=value"; "all" where nothing does.

    Args:
        identities: of the groups.
        short: write the last part of a dotted name only, where that is enough to know which it is.
    """
    fields = sorted({name for identity in identities for name in identity})
    differing = [
        name
        for name in fields
        if any(i.get(name, _ABSENT) != identities[0].get(name, _ABSENT) for i in identities)
    ]
    if _STEPS in differing and all(i[_STEP] == i.get(_STEPS) for i in identities):
        differing.remove(_STEP)  # they got to where they were to go
    lasts = [name.rpartition(".")[2] for name in differing]
    shown = {
        name: last if short and lasts.count(last) == 1 else name
        for name, last in zip(differing, lasts, strict=True)
    }
    return [
        ", ".join(f"{shown[name]}={identity[name]}" for name in differing if name in identity) or "all"
        for identity in identities
    ]
