"""Classes as people write them: by number or by name."""

import difflib
from collections.abc import Iterable

import numpy as np

from genjax.data import Field
from genjax.typing import UserError

_LISTED = 20


def class_numbers(asked: Iterable[int | str], field: Field, argument: str = "label") -> np.ndarray:
    """int32[N]: the numbers of classes.

    A text that is the name of a class stands for this class, and else for the number that it is.

    Args:
        asked: numbers or names.
        field: field of the labels.
        argument: name of the argument, for messages.

    Raises:
        UserError: there is no such class.
    """
    return np.array([_number(one, field, argument) for one in asked], np.int32)


def _number(asked: int | str, field: Field, argument: str) -> int:
    if isinstance(asked, str) and asked in field.names:
        return field.names.index(asked)
    count = field.num_classes or 0
    try:
        number = int(asked)
    except ValueError:
        number = -1
    if not 0 <= number < count:
        numbers = [str(number) for number in range(count)]
        names = "" if field.names in ((), tuple(numbers)) else f", or {', '.join(field.names[:_LISTED])}"
        more = ", ..." if names and count > _LISTED else ""
        raise UserError(
            f"{argument}={asked!r}: there is no such class{_hint(asked, field)}, valid are 0..{count - 1}{names}{more}"
        )
    return number


def _hint(asked: int | str, field: Field) -> str:
    """The name that was meant, perhaps; of a number, none is."""
    if str(asked).lstrip("-").isdecimal():
        return ""
    lower = {name.lower(): name for name in field.names}
    near = difflib.get_close_matches(str(asked).lower(), lower, n=1)
    return f" (perhaps you meant {lower[near[0]]!r})" if near else ""
