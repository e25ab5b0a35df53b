"""Configs as JSON: what ``config.json`` of a run holds."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import dacite

from genjax.app import kinds
from genjax.app.config import Config
from genjax.data.confirmed import Foreign

KIND = "kind"
_STRICT = dacite.Config(cast=[tuple], strict=True)


def to_json(config: Config) -> dict[str, Any]:
    """The fields of a config, as nested dictionaries; "model" and "method" begin with their "kind"."""
    fields = dataclasses.asdict(config)
    for part in kinds.TABLES:
        fields[part] = {KIND: kinds.name(part, getattr(config, part)), **fields[part]}
    return fields


def from_json(stored: Mapping[str, Any]) -> Config:
    """Inverts `to_json`; files of older versions, which name no kinds, are read too.

    Nothing is run or opened. The data_dir is marked as named by a file, see `genjax.data.confirmed`.

    Raises:
        UserError: there is no such kind.
        ValueError, dacite.DaciteError: a field is unknown, missing, or of another type.
    """
    parts: dict[str, Any] = {}
    for part in kinds.TABLES:
        if part in stored:
            fields = dict(stored[part])
            kind = fields.pop(KIND, None)
            if fields.get("rate", "tc") != "tc" and "dataset_size" in fields:
                fields["dataset_size"] = None  # older versions wrote a number where it meant nothing
            config_class = _guess(part, fields) if kind is None else kinds.named(part, kind).config
            parts[part] = dacite.from_dict(config_class, fields, _STRICT)
    rest = {name: fields for name, fields in stored.items() if name not in parts}
    config = dataclasses.replace(dacite.from_dict(Config, rest, _STRICT), **parts)
    if config.data.data_dir is None:
        return config
    return dataclasses.replace(
        config, data=dataclasses.replace(config.data, data_dir=Foreign(config.data.data_dir))
    )


def as_own(config: Config) -> Config:
    """A config that was read from a file that this program wrote itself: its data_dir is as the user gave it."""
    if config.data.data_dir is None:
        return config
    return dataclasses.replace(
        config, data=dataclasses.replace(config.data, data_dir=str(config.data.data_dir))
    )


def _guess(part: str, fields: Mapping[str, Any]) -> type:
    """The config class that has these fields, and as few others as possible.

    Raises:
        ValueError: there is none.
    """

    def names(config_class: type) -> set[str]:
        return {field.name for field in dataclasses.fields(config_class)}

    classes: list[type] = [kind.config for kind in kinds.TABLES[part].values()]
    fitting = [config_class for config_class in classes if fields.keys() <= names(config_class)]
    if not fitting:
        raise ValueError(f"no {part} has the fields {sorted(fields)}")
    return min(fitting, key=lambda config_class: len(names(config_class)))
