"""The fields of somebody else's configuration file, read with care: nothing in it is passed over in silence."""

import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

from genjax.typing import UserError


class Options:
    """The fields of a `scheduler_config.json`.

    Each is asked for by name; what is left in the end is an option that nobody knows.

    Attributes:
        name: name of the class that is described.
    """

    def __init__(self, fields: Mapping[str, Any]) -> None:
        if not isinstance(fields.get("_class_name"), str):
            raise UserError(f"config must have a '_class_name'; it has {', '.join(fields) or 'nothing'}")
        self.name: str = fields["_class_name"]
        self._fields = {name: value for name, value in fields.items() if not name.startswith("_")}
        self._known: set[str] = set()

    def get(self, name: str, default: Any) -> Any:
        """The value of a field, `default` if it is not there."""
        self._known.add(name)
        return self._fields.get(name, default)

    def choose(self, name: str, choices: Mapping[Any, Any], default: Any) -> Any:
        """What `choices` has for the value of a field.

        Raises:
            UserError: if it has nothing for it.
        """
        value = self.get(name, default)
        if value not in choices:
            valid = ", ".join(map(repr, choices))
            raise UserError(f"{self.name}: {name} = {value!r} is not supported; supported are {valid}")
        return choices[value]

    def refuse(self, **because: str) -> None:
        """Raises a UserError with the reason if a field is there and not false, null, 0 or empty."""
        for name, reason in because.items():
            if value := self.get(name, None):
                raise UserError(f"{self.name}: {name} = {value!r} is not supported: {reason}")

    def finish(self) -> None:
        """Raises a UserError for a field that nobody asked for and that asks for something."""
        for name, value in self._fields.items():
            if name not in self._known and value not in (None, False):
                raise UserError(
                    f"{self.name}: {name} = {value!r} is not supported; "
                    f"supported are {', '.join(sorted(self._known))}"
                )


def read(config: Mapping[str, Any] | str | os.PathLike) -> Options:
    """The options in a mapping, a JSON text or a file.

    Raises:
        UserError: if there is no such file, or no JSON object in it.
    """
    if isinstance(config, Mapping):
        return Options(config)
    text = str(config)
    try:
        if not text.lstrip().startswith("{"):
            text = pathlib.Path(config).read_text()
        fields = json.loads(text)
    except (OSError, ValueError) as error:
        raise UserError(f"config = {str(config)!r} is no JSON text, and no file with one: {error}") from error
    if not isinstance(fields, dict):
        raise UserError(f"config holds a {type(fields).__name__}, not a JSON object")
    return Options(fields)
