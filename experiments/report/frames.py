"""Pictures of samples for a page: without their magnification, and no more of them than a page should carry."""

import base64
import io
import pathlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from experiments.report.collect import Group, Run
from genjax.app import pictures, workdir

LIMIT = 1_500_000
"""Bytes that the pictures of one section may have, roughly."""

_Pictures = dict[int | None, pathlib.Path]

_UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)
"""What Pillow says of files that are no pictures, or damaged ones."""
_COUNTS = (24, 16, 12, 8, 6, 4, 3, 2, 1)


class Frame(NamedTuple):
    """A picture at a position of a slider.

    Attributes:
        at: the training step, or the number of sampler steps; None where only the last picture is there.
        uri: the picture, as ``data:image/png;base64,...``.
        width: pixels.
        height: pixels.
    """

    at: int | None
    uri: str
    width: int
    height: int


class Strip(NamedTuple):
    """The pictures of one run of a group, from the same noise.

    Attributes:
        group: number of the group.
        seed: seed of the run.
        frames: at growing positions; at least one.
        available: how many pictures there are on disk.
    """

    group: int
    seed: int
    frames: list[Frame]
    available: int


def training(groups: Sequence[Group], limit: int = LIMIT) -> list[Strip]:
    """Pictures by training step, of one run of each group; of a run without them its last picture alone.

    Among the runs with the most pictures, it is the run of the seed that most groups have: the same seed means the same
    noise.
    """
    shown = [{run.seed: _pictures(run) for run in group.runs} for group in groups]
    full = [
        [seed for seed, found in seeds.items() if found and len(found) == max(map(len, seeds.values()))]
        for seeds in shown
    ]
    votes = Counter(seed for seeds in full for seed in seeds)
    chosen = {i: min(seeds, key=lambda seed: (-votes[seed], seed)) for i, seeds in enumerate(full) if seeds}
    return _strips({i: (seed, shown[i][seed]) for i, seed in chosen.items()}, limit)


def _pictures(run: Run) -> _Pictures:
    last = run.path / workdir.GRID
    return _positions(run.pictures(workdir.PICTURES)) or ({None: last} if last.exists() else {})


def sweeps(groups: Sequence[Group], limit: int = LIMIT) -> list[Strip]:
    """Pictures by number of sampler steps, of the first seed of each group that has some."""
    found: dict[int, tuple[int, _Pictures]] = {}
    for i, group in enumerate(groups):
        for run in group.runs:
            shown = _positions(run.pictures(workdir.SWEEP_PICTURES))
            if shown and i not in found:
                found[i] = run.seed, shown
    return _strips(found, limit)


def _positions(found: Mapping[int, pathlib.Path]) -> _Pictures:
    return {at: path for at, path in found.items()}


def _strips(found: Mapping[int, tuple[int, _Pictures]], limit: int) -> list[Strip]:
    """As many pictures of each, spread evenly, as stay below the limit; of each the last, whatever its size."""
    encoded: dict[pathlib.Path, bytes] = {}
    strips: list[Strip] = []
    for count in _COUNTS:
        chosen = {group: (seed, _thinned(shown, count)) for group, (seed, shown) in found.items()}
        for _, shown in chosen.values():
            encoded |= {path: small(path) for path in shown.values() if path not in encoded}
        total = sum(len(encoded[path]) for _, shown in chosen.values() for path in shown.values())
        strips = [
            Strip(
                group,
                seed,
                [_frame(at, encoded[path]) for at, path in shown.items()],
                len(found[group][1]),
            )
            for group, (seed, shown) in chosen.items()
        ]
        if total <= limit:
            break
    return strips


def _thinned(shown: _Pictures, count: int) -> _Pictures:
    """`count` of the pictures at most: the last, and others at even distances from it."""
    items = list(shown.items())
    if len(items) <= count:
        return shown
    kept = sorted({round(j) for j in np.linspace(len(items) - 1, 0, count)})
    return {items[j][0]: items[j][1] for j in kept}


def small(path: pathlib.Path) -> bytes:
    """A picture as a smaller PNG file: pixels that were repeated to magnify it are there once, and colours are at most
    256. A grey square stands for a file that is no picture; `experiments.report.collect` lists it.
    """
    try:
        with Image.open(
            path, formats=["PNG"]
        ) as image:  # as runs write them, and no format that starts a program
            pixels = np.asarray(image.convert("L" if image.mode in ("1", "L") else "RGB"))
    except _UNREADABLE:
        pixels = np.full((16, 16), 128, np.uint8)
    height, width = pixels.shape[:2]
    for scale in range(min(32, height, width), 1, -1):
        once = pixels[::scale, ::scale]
        same = height % scale == width % scale == 0 and np.array_equal(
            once.repeat(scale, 0).repeat(scale, 1), pixels
        )
        if same:
            pixels = once
            break
    if pixels.ndim == 2:
        return pictures.encode(pixels[..., None])
    return _with_palette(pixels)


def _with_palette(pixels: np.ndarray) -> bytes:
    content = io.BytesIO()
    reduced = Image.fromarray(pixels).quantize(256, dither=Image.Dither.NONE)
    reduced.save(content, format="PNG", optimize=True)
    return content.getvalue()


def _frame(at: int | None, png: bytes) -> Frame:
    # Width and height stand at a fixed place of every PNG file.
    width, height = (int.from_bytes(png[i : i + 4], "big") for i in (16, 20))
    return Frame(at, "data:image/png;base64," + base64.b64encode(png).decode(), width, height)
