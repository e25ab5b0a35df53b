"""Valid values of numbers, written where the number is declared, and checked in one place.

A field of a config dataclass says what is valid in its annotation::

    channels: Annotated[int, Range("[1, inf)")] = 32

Each number of a tuple or a dictionary must lie in the range; None is valid where it is the field's type.
"""

import dataclasses
import functools
from collections.abc import Iterator
from typing import Annotated, Any, NamedTuple, TypeAlias, get_args, get_origin, get_type_hints

from genjax.typing import UserError


class Range(NamedTuple):
    """An interval of valid numbers, as it is written in mathematics: "[0, 1)" has 0 and not 1."""

    interval: str

    def has(self, value: float) -> bool:
        """Whether a number lies in it."""
        low, high = map(float, self.interval[1:-1].split(","))
        above = value >= low if self.interval[0] == "[" else value > low
        return above and (value <= high if self.interval[-1] == "]" else value < high)


class PartOfRun(NamedTuple):
    """Marks a number of training steps that is a part of the run: a warm-up, a first stage."""


Count: TypeAlias = Annotated[int, Range("[1, inf)")]
"""A whole number of 1 and more."""
CountOrZero: TypeAlias = Annotated[int, Range("[0, inf)")]
"""A whole number of 0 and more."""
FirstSteps: TypeAlias = Annotated[int, Range("[1, inf)"), PartOfRun()]
"""Number of the first training steps of a run in which something is so, 1 and more."""
FirstStepsOrNone: TypeAlias = Annotated[int, Range("[0, inf)"), PartOfRun()]
"""Number of the first training steps of a run in which something is so; 0: in none."""
Counts: TypeAlias = Annotated[tuple[int, ...], Range("[1, inf)")]
"""Whole numbers of 1 and more."""
CountsOrZero: TypeAlias = Annotated[tuple[int, ...], Range("[0, inf)")]
"""Whole numbers of 0 and more."""
NonNegative: TypeAlias = Annotated[float, Range("[0, inf)")]
"""A number of 0 and more, often a weight: 0 leaves out what it weighs."""
Positive: TypeAlias = Annotated[float, Range("(0, inf)")]
"""A number above 0."""
Probability: TypeAlias = Annotated[float, Range("[0, 1]")]
"""A number from 0 to 1, both included."""
Share: TypeAlias = Annotated[float, Range("[0, 1)")]
"""A number from 0 on, below 1: a rate of dropout, the decay of an average."""


@functools.cache
def ranges(config_class: type) -> dict[str, Range]:
    """The ranges of a dataclass' fields, by the name of the field."""
    return {name: note for name, note in _notes(config_class) if isinstance(note, Range)}


def parts_of_run(config: Any) -> list[str]:
    """The names of a dataclass' fields that are a number of training steps at the beginning of a run."""
    return [name for name, note in _notes(type(config)) if isinstance(note, PartOfRun)]


def _notes(config_class: type) -> Iterator[tuple[str, Any]]:
    for name, hint in get_type_hints(config_class, include_extras=True).items():
        for part in _annotated(hint):
            for note in get_args(part)[1:]:
                yield name, note


def _annotated(hint: Any) -> list[Any]:
    """The `Annotated` types in a hint: itself, or members of its union."""
    if get_origin(hint) is Annotated:
        return [hint, *_annotated(get_args(hint)[0])]
    return [part for inner in get_args(hint) if get_origin(inner) is Annotated for part in _annotated(inner)]


def check(config: Any, prefix: str = "") -> None:
    """Raises UserError for the first number of a dataclass, and of those inside it, that is out of its range."""
    kind: Any = type(config)
    known = ranges(kind)
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            check(value, f"{prefix}{field.name}.")
            continue
        valid = known.get(field.name)
        numbers = _numbers(value)
        if valid is not None and not all(valid.has(number) for number in numbers):
            name = (prefix + field.name).removeprefix("fit.")
            raise UserError(f"{name}={value}: valid are {valid.interval}")


def _numbers(value: Any) -> tuple[float, ...]:
    """The numbers in a value: itself, or what a tuple or a dictionary holds."""
    if isinstance(value, dict):
        return tuple(value.values())
    return value if isinstance(value, tuple) else () if value is None else (value,)
