"""How a number was measured, kept beside the number, so that only like is compared with like."""

import dataclasses
import json

from genjax.typing import UserError


class ProtocolError(UserError):
    """Two numbers measured in different ways were about to be compared."""


@dataclasses.dataclass(frozen=True)
class Protocol:
    """All that a distance between image sets depends on, apart from the generated images.

    `str` gives its canonical text (JSON, keys sorted), equal exactly if the protocols are; `parse` reads it
    back.

    Attributes:
        metric: what was computed, "fd" for a Fréchet distance.
        extractor: the feature extractor, as "name@sha256 of its weights".
        resize: how images reached the extractor, in words: quantisation and resampling.
        num_samples: number of images on each side; a Fréchet distance falls as it grows.
        reference: the images compared with, as "mnist/test[:10000]", with a digest of their content.
    """

    metric: str
    extractor: str
    resize: str
    num_samples: int
    reference: str

    def __str__(self) -> str:
        return json.dumps(dataclasses.asdict(self), sort_keys=True, ensure_ascii=False)

    @classmethod
    def parse(cls, text: str) -> "Protocol":
        """The protocol of which `text` is the canonical text.

        Raises:
            UserError: if it is not one.
        """
        try:
            found = cls(**json.loads(text))
            for name, value in dataclasses.asdict(found).items():
                if not isinstance(value, int if name == "num_samples" else str):
                    raise TypeError(f"{name} is {value!r}")
            return found
        except (TypeError, ValueError, RecursionError) as error:
            names = ", ".join(field.name for field in dataclasses.fields(cls))
            raise UserError(f"text is {text!r}: not a protocol, which is a JSON object of {names}") from error


@dataclasses.dataclass(frozen=True)
class Result:
    """A measured number.

    Attributes:
        name: name of what was measured: a model, a run.
        value: the number.
        protocol: how it was measured.
    """

    name: str
    value: float
    protocol: Protocol


def compare(a: Result, b: Result) -> float:
    """Difference ``a.value - b.value`` of two numbers measured in the same way.

    Returns:
        The difference; below zero if `a` has the lower value (for a distance: is the better one).

    Raises:
        ProtocolError: if the protocols differ; the message names each field that does, with both values.

    Example:
        >>> from genjax.metrics import Protocol, Result, compare
        >>> many, few = (Protocol("fd", "inception@6726825d", "none", n, "mnist/test") for n in (10_000, 500))
        >>> compare(Result("mine", 4.5, many), Result("baseline", 6.0, many))
        -1.5
        >>> compare(Result("mine", 4.5, many), Result("baseline", 6.0, few))
        Traceback (most recent call last):
            ...
        genjax.metrics.protocol.ProtocolError: ...they differ in num_samples (10000 and 500)...
    """
    _check_same(a, b)
    return a.value - b.value


def ratio(a: Result, b: Result) -> float:
    """Quotient ``a.value / b.value`` of two numbers measured in the same way; infinite if b's is zero.

    Raises:
        ProtocolError: as `compare`.

    Example:
        >>> from genjax.metrics import Protocol, Result, protocol
        >>> how = Protocol("fd", "inception@6726825d", "none", 10_000, "mnist/test")
        >>> protocol.ratio(Result("mine", 4.5, how), Result("train set", 3.0, how))
        1.5
    """
    _check_same(a, b)
    return a.value / b.value if b.value else float("inf")


def _check_same(a: Result, b: Result) -> None:
    first, second = dataclasses.asdict(a.protocol), dataclasses.asdict(b.protocol)
    differing = [
        f"{name} ({first[name]!r} and {second[name]!r})" for name in first if first[name] != second[name]
    ]
    if differing:
        raise ProtocolError(
            f"{a.name!r} and {b.name!r} cannot be compared: they differ in {', '.join(differing)}; "
            "measure both in the same way"
        )
