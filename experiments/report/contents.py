"""What has to stand in the files of a run, as far as a report reads it: a damaged one is named, and left out."""

import pathlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from experiments.scoreboard import COLUMNS
from genjax.metrics.protocol import Protocol
from genjax.typing import UserError


class Expected(NamedTuple):
    """What a value has to be, in words, and whether it is."""

    words: str
    holds: Callable[[Any], bool]


def _is_number(value: Any) -> bool:
    return type(value) is float or _is_whole(value)


def _is_whole(value: Any) -> bool:
    return type(value) is int and abs(value) < 2**63


def _is_protocol(value: Any) -> bool:
    try:
        return isinstance(value, str) and bool(Protocol.parse(value))
    except UserError:
        return False


def _is_pair(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_is_number, value))


def _or_none(holds: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or holds(value)


_TEXT = Expected("a text", lambda value: isinstance(value, str))
_OBJECT = Expected("an object", lambda value: isinstance(value, dict))
_WHOLE = Expected("a whole number", _or_none(_is_whole))
_NUMBER = Expected("a number", _or_none(_is_number))
_TEXTS = Expected(
    "a list of texts", lambda value: isinstance(value, list) and all(isinstance(x, str) for x in value)
)
_PAIRS = Expected(
    "pairs of numbers", lambda value: isinstance(value, dict) and all(map(_is_pair, value.values()))
)
_POINTS = Expected("a list of pairs", lambda value: isinstance(value, list) and all(map(_is_pair, value)))
_COUNT = Expected("a whole number", _is_whole)

CONFIG = {
    "fit.seed": _COUNT,
    **dict.fromkeys(("data.dataset", "data.test_split", "data.binarize"), _TEXT),
    **dict.fromkeys(("data.image_size", "evaluation.score_num"), _WHOLE),
}
DATA = dict.fromkeys(("train_records", "test_records"), _COUNT)
MANIFEST = {"command": _TEXT, "packages": _OBJECT, "devices": _TEXTS}
SCORES = {
    "step": _WHOLE,
    "num_steps": _COUNT,
    "protocol": Expected("the text of a protocol", _is_protocol),
    "sampling": _OBJECT,
    "intervals": _PAIRS,
    **dict.fromkeys((*COLUMNS, "samples_per_second", "network_evaluations"), _NUMBER),
}
TIMING = {
    "curve": _POINTS,
    **dict.fromkeys(("steps", "train_seconds", "compile_seconds", "flops_per_step"), _NUMBER),
    **dict.fromkeys(("first_epoch_seconds", "last_epoch_seconds"), _NUMBER),
}


def check(path: pathlib.Path, found: Mapping[str, Any], expected: Mapping[str, Expected]) -> None:
    """Checks those values of a file that are there.

    Raises:
        UserError: one is of another type than is expected; names the file, the value and what is expected.
    """
    for name in expected.keys() & found.keys():
        if not expected[name].holds(found[name]):
            raise UserError(
                f"{path} cannot be read: {name} is {str(found[name])[:80]!r}, and {expected[name].words} is expected"
            )


def check_line(path: pathlib.Path, line: Mapping[str, Any]) -> None:
    """Checks a line of ``metrics.jsonl``: it holds numbers. Raises as `check`."""
    check(path, line, dict.fromkeys(line, _NUMBER))
