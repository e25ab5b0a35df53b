"""Results as a table: one row a number, nested names joined."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_MAX_COMMAND = 40
_HEADER = ("", "median", "min", "max")


def table(results: Mapping[str, Any]) -> str:
    """Text of nested results; a leaf is a number, a string, or a dict with median, min and max."""
    return grid([_HEADER, *_rows("", results)])


def grid(rows: Sequence[Sequence[str]]) -> str:
    """Text in columns: the first to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        f"{row[0]:<{widths[0]}}" + "".join(f"  {x:>{w}}" for x, w in zip(row[1:], widths[1:], strict=True))
        for row in rows
    )


def _rows(prefix: str, results: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for name, value in results.items():
        label = f"{prefix} {_title(name)}".strip()
        if isinstance(value, Mapping) and "median" in value:
            shown = [_shown(name, value[x]) for x in _HEADER[1:]]
            yield label, *shown
        elif isinstance(value, Mapping):
            yield from _rows(label, value)
        else:
            yield label, _shown(name, value), "", ""


def _title(name: str) -> str:
    if not name.isidentifier():  # a command
        return name if len(name) <= _MAX_COMMAND else name[: _MAX_COMMAND - 3] + "..."
    return name.replace("_per_", "/").replace("_bytes", "_MiB").replace("_", " ")


def _shown(name: str, value: float | str) -> str:
    if isinstance(value, str):
        return value
    if name.endswith("bytes"):
        value = value / 2**20
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
