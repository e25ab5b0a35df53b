"""Results of `layers` as a table: one row a layer and part."""

from collections.abc import Mapping
from typing import Any

from experiments.bench.libraries import OURS, STOCK, TORCH

_WHO = OURS, STOCK, TORCH
_WIDTHS = 52, *[9] * len(_WHO), *[19] * (len(_WHO) - 1), 9, 8


def table(results: Mapping[str, Mapping[str, Any]], header: bool = True) -> str:
    """Text of layer -> part -> numbers; widths are fixed, so that layers can be printed one after the other."""
    ratios = [f"{who}/{OURS}" for who in _WHO[1:]]
    titles = ["", *[f"{who} ms" for who in _WHO], *ratios, "GFLOP/s", "of peak"]
    rows = [titles] if header else []
    for name, parts in results.items():
        rows += [[f"{name} {part.replace('_', ' ')}", *_cells(numbers)] for part, numbers in parts.items()]
    return "\n".join(
        f"{row[0]:<{_WIDTHS[0]}}"
        + "".join(f" {x:>{width}}" for x, width in zip(row[1:], _WIDTHS[1:], strict=True))
        for row in rows
    )


def _cells(numbers: Mapping[str, Any]) -> list[str]:
    ms, ratio = numbers["ms"], numbers["ratio"]
    speed = numbers.get("gflop_per_second")
    return [
        *[f"{ms[who]['median']:.4g}" if who in ms else "-" for who in _WHO],
        *[_range(ratio[who]) if who in ratio else "-" for who in _WHO[1:]],
        f"{speed['median']:.4g}" if speed else "-",
        f"{numbers['of_matmul_peak']['median']:.0%}" if speed else "-",
    ]


def _range(x: Mapping[str, float]) -> str:
    return f"{x['median']:.2f} ({x['min']:.2f}-{x['max']:.2f})"
