"""Fields of a config by dotted name: their values from text or Python, and back onto the command line of training."""

import difflib
import functools
import shlex
from collections.abc import Mapping
from typing import Any

from experiments import adapted, train_command
from experiments.presets import PRESETS
from genjax.app.config import Config, flatten, replace
from genjax.typing import UserError

_UNPREFIXED = {"data.dataset", "data.data_dir", "evaluation.extractor"}
"""Fields of the data that the command line of training has without prefix, as all of ``fit``."""


def full_name(name: str, preset: str) -> str:
    """The dotted name of a field of a preset, which may be given without ``fit.`` or ``data.``, as on the command line.

    Raises:
        UserError: the preset has no such field.
    """
    names = flatten(config_of(preset))
    for candidate in (name, f"fit.{name}", f"data.{name}"):
        if candidate in names and (candidate == name or is_unprefixed(candidate)):
            return candidate
    near = difflib.get_close_matches(name, names, n=3)
    hint = f"; perhaps you meant {' or '.join(near)}" if near else ""
    raise UserError(f"{name}: preset {preset!r} has no such field{hint}")


def config_of(preset: str) -> Config:
    """The config of a preset.

    Raises:
        UserError: there is none of this name.
    """
    if preset not in PRESETS:
        near = difflib.get_close_matches(preset, PRESETS, n=1)
        hint = f"; perhaps you meant {near[0]!r}" if near else ""
        raise UserError(f"no preset is called {preset!r}{hint}. Presets: {', '.join(PRESETS)}")
    return PRESETS[preset][1]


def is_unprefixed(name: str) -> bool:
    """Whether the command line of training has the field by the last part of its name alone."""
    return name.startswith("fit.") or name in _UNPREFIXED


def typed(preset: str, name: str, value: Any) -> Any:
    """The value of a field, by training's own parser.

    Args:
        preset: whose field it is.
        name: name of the field, in full.
        value: a Python value, or text as on the command line; several words for a tuple.

    Raises:
        SystemExit: it is none of this field; training's parser has said why.
    """
    several = isinstance(value, str) and isinstance(flatten(config_of(preset))[name], tuple)
    return _parse(preset, name, tuple(shlex.split(value) if several else _words(value)))


@functools.cache
def _parse(preset: str, name: str, words: tuple[str, ...]) -> Any:
    return flatten(train_command.parse([preset, *_option(name, words)]).config)[name]


def configured(preset: str, values: Mapping[str, Any]) -> Config:
    """The config of a preset with values of the fields with these full names, as the command line makes it."""
    config = adapted.adapt(config_of(preset), preset, values.get("data.dataset"), values.get("fit.steps"))
    return replace(config, values)


def options(values: Mapping[str, Any]) -> list[str]:
    """Fields and their values as on the command line of training."""
    return [word for name, value in values.items() for word in _option(name, tuple(_words(value)))]


def text(value: Any) -> str:
    """A value in the name of a run."""
    return "-".join(_words(value)) or "none"


def _words(value: Any) -> list[str]:
    return [str(x) for x in value] if isinstance(value, list | tuple) else [str(value)]


def _option(name: str, words: tuple[str, ...]) -> list[str]:
    section, field = name.rsplit(".", 1)
    prefix = "" if is_unprefixed(name) else f"{section}."
    if words in (("True",), ("False",)):  # a flag, and its opposite
        return [f"--{prefix}{'no-' if words == ('False',) else ''}{field}".replace("_", "-")]
    return [f"--{prefix}{field}".replace("_", "-"), *words]
