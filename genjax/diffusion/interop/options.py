"""The fields of somebody else's configuration file, read with care: nothing in it is passed over in silence."""

import json
import logging
import os
import pathlib
from collections.abc import Mapping
from typing import Any

from genjax.diffusion.interop.fields import FIELDS, KNOWN
from genjax.ranges import Range
from genjax.typing import UserError

_log = logging.getLogger(__name__)


class Options:
    """The fields of a `scheduler_config.json` that its class reads.

    Attributes:
        name: name of the class that is described; one of `FIELDS`.
        mu: how far a dynamic shift goes, if the caller says so; see `from_diffusers_config`.
    """

    def __init__(self, fields: Mapping[str, Any], mu: float | None = None) -> None:
        if not isinstance(fields.get("_class_name"), str):
            raise UserError(f"config must have a '_class_name'; it has {', '.join(fields) or 'nothing'}")
        self.name: str = fields["_class_name"]
        self.mu = mu
        if self.name not in FIELDS:
            raise UserError(
                f"_class_name = {self.name!r} is not supported; supported are {', '.join(FIELDS)}"
            )
        own = FIELDS[self.name]
        given = {name: value for name, value in fields.items() if not name.startswith("_")}
        for name, value in given.items():
            if name not in KNOWN and value not in (None, False):
                raise UserError(
                    f"{self.name}: {name} = {value!r} is not supported; supported are {', '.join(sorted(own))}"
                )
        self._values = {**own, **{name: value for name, value in given.items() if name in own}}
        for name, default in own.items():
            # null where the class has a number or a string is from another class: as if it were not there.
            if self._values[name] is None and not isinstance(default, bool):
                self._values[name] = default
        if ignored := [name for name in given if name not in own]:
            _log.warning("%s has no fields %s: ignored", self.name, ", ".join(ignored))

    def get(self, name: str, otherwise: Any = None) -> Any:
        """The value of a field; its default if the file has none, `otherwise` if the class has no such field."""
        return self._values.get(name, otherwise)

    def flag(self, name: str, otherwise: bool = False) -> bool:
        """The value of a field that is true or false; null is false.

        Raises:
            UserError: if it is something else.
        """
        value = self.get(name, otherwise)
        if value is not None and not isinstance(value, bool):
            raise self.error(name, "supported are true and false")
        return bool(value)

    def number(self, name: str, interval: str) -> Any:
        """The value of a field that is a number in an interval such as "(0, 1]"; a whole one where the default is.

        Raises:
            UserError: if it is something else.
        """
        value = self.get(name)
        whole = isinstance(FIELDS[self.name].get(name), int)
        is_number = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
        if not is_number or not Range(interval).has(value):
            kind = "whole numbers" if whole else "numbers"
            raise self.error(name, f"supported are {kind} in {interval}")
        return value

    def choose(self, name: str, choices: Mapping[Any, Any], otherwise: Any = None) -> Any:
        """What `choices` has for the value of a field.

        Raises:
            UserError: if it has nothing for it.
        """
        value = self.get(name, otherwise)
        try:
            return choices[value]
        except (KeyError, TypeError):
            raise self.error(name, f"supported are {', '.join(map(repr, choices))}") from None

    def refuse(self, **because: str) -> None:
        """Raises a UserError with the reason if a field is there and not false, null, 0 or empty."""
        for name, reason in because.items():
            if self.get(name):
                raise self.error(name, reason)

    def without(self, *names: str) -> "Options":
        """The same for a class that has no such fields."""
        other = Options({"_class_name": self.name}, self.mu)
        other._values = {name: value for name, value in self._values.items() if name not in names}
        return other

    def error(self, name: str, reason: str) -> UserError:
        """That the value of a field is not supported, and why."""
        colon = ";" if reason.startswith("supported") else ":"
        return UserError(f"{self.name}: {name} = {self.get(name)!r} is not supported{colon} {reason}")


def read(config: Mapping[str, Any] | str | os.PathLike, mu: float | None = None) -> Options:
    """The options in a mapping, a JSON text or a file.

    Raises:
        UserError: if there is no such file, or no JSON object in it, or a class or a field that nobody knows.
    """
    if isinstance(config, Mapping):
        return Options(config, mu)
    text = str(config)
    try:
        if not text.lstrip().startswith("{"):
            text = pathlib.Path(config).read_text(encoding="utf-8-sig")
        fields = json.loads(text)
    except (OSError, ValueError) as error:
        raise UserError(f"config = {str(config)!r} is no JSON text, and no file with one: {error}") from error
    if not isinstance(fields, dict):
        raise UserError(f"config holds a {type(fields).__name__}, not a JSON object")
    return Options(fields, mu)
