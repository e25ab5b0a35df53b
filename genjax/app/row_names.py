"""Names at the left of the rows of a picture."""

from collections.abc import Mapping

import numpy as np
from PIL import Image, ImageDraw, ImageFont, features

_LARGEST, _SMALLEST = 16, 7
"""Pixels of the letters' height."""
_MARGIN = 4
_LETTERS = 20


def with_row_names(picture: np.ndarray, names: Mapping[int, str], rows: int) -> np.ndarray:
    """A picture of equal rows with a white strip at its left, in which names stand.

    Args:
        picture: uint8[H,W,C].
        names: by the number of the row. Names of more than 20 letters are cut.
        rows: number of rows.

    Returns:
        uint8[H,W',C]; the picture as it is where the rows are too low for letters.
    """
    pitch = picture.shape[0] / rows
    size = min(_LARGEST, int(0.8 * pitch))
    if size < _SMALLEST:
        return picture
    font = ImageFont.load_default(size)
    written = {row: _writable(name) for row, name in names.items()}
    width = max(round(font.getlength(name)) for name in written.values()) + 2 * _MARGIN
    strip = Image.new("L", (width, picture.shape[0]), 255)
    draw = ImageDraw.Draw(strip)
    for row, name in written.items():
        left, top, right, bottom = font.getbbox(name)
        x = width - _MARGIN - (right - left)
        draw.text((x - left, (row + 0.5) * pitch - (bottom + top) / 2), name, fill=0, font=font)
    beside = np.broadcast_to(np.asarray(strip)[..., None], (*strip.size[::-1], picture.shape[-1]))
    return np.concatenate([beside, picture], axis=1)


def _writable(name: str) -> str:
    line = " ".join(name.split()) or "-"
    short = line if len(line) <= _LETTERS else f"{line[: _LETTERS - 3]}..."
    # Pillow's other built-in font has the letters of Latin-1.
    return short if features.check("freetype2") else short.encode("latin-1", "replace").decode("latin-1")
