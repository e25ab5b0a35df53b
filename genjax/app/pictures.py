"""Pictures of samples."""

import io
import math
from collections.abc import Sequence

import numpy as np
from PIL import Image

from genjax.app.row_names import with_row_names

MOST_CLASSES = 20
"""Classes that have a row of their own in a picture."""


def grid(images: np.ndarray, columns: int, *, scale: int | None = None, gap: int = 1) -> np.ndarray:
    """Images side by side, row by row.

    Args:
        images: uint8[N,H,W,C].
        columns: images per row.
        scale: integer magnification; None: as much as keeps width and height of the picture below 900 pixels.
        gap: pixels between images, before magnification.

    Returns:
        uint8[H',W',C]; places without an image, and the gaps, are white.
    """
    count, height, width, channels = images.shape
    rows = math.ceil(count / columns)
    canvas = np.full((rows * (height + gap) + gap, columns * (width + gap) + gap, channels), 255, np.uint8)
    for i, image in enumerate(images):
        top, left = (i // columns) * (height + gap) + gap, (i % columns) * (width + gap) + gap
        canvas[top : top + height, left : left + width] = image
    return enlarged(canvas) if scale is None else canvas.repeat(scale, 0).repeat(scale, 1)


def enlarged(picture: np.ndarray) -> np.ndarray:
    """A picture uint8[H,W,C], magnified by the largest whole number that leaves both sides at 900 pixels or fewer; a
    larger one stays as it is."""
    scale = max(1, 900 // max(picture.shape[:2]))
    return picture.repeat(scale, 0).repeat(scale, 1)


def below_each_other(stacks: Sequence[np.ndarray], columns: int, *, scale: int | None = None) -> np.ndarray:
    """A grid in which each row of images of the first stack stands above those that belong to them.

    Args:
        stacks: uint8[N,H,W,C] each.
        columns: images per row.
        scale: see `grid`.
    """
    shown = np.stack(stacks, axis=1)  # [N, stacks, H, W, C]
    blank = np.full((-len(shown) % columns, *shown.shape[1:]), 255, np.uint8)
    rows = np.concatenate([shown, blank]).reshape(-1, columns, *shown.shape[1:]).swapaxes(1, 2)
    return grid(rows.reshape(-1, *shown.shape[2:]), columns, scale=scale)


def by_class(
    images: np.ndarray, labels: np.ndarray | None, columns: int, names: Sequence[str] = ()
) -> np.ndarray:
    """A grid with one row (or more) a class; without labels, or with more than `MOST_CLASSES` of them, in order.

    Args:
        images: uint8[N,H,W,C].
        labels: int[N], or None.
        columns: images per row.
        names: names of classes by their numbers, to stand at the left of the rows; numbers themselves are not written.
    """
    if labels is None:
        return grid(images, columns)
    classes = np.unique(labels)
    if len(classes) > MOST_CLASSES:
        return grid(images, max(columns, math.ceil(math.sqrt(len(images)))))
    height = [math.ceil(np.sum(labels == label) / columns) for label in classes]
    blank = np.full((sum(height) * columns, *images.shape[1:]), 255, np.uint8)
    start = 0
    for label, rows in zip(classes, height, strict=True):
        chosen = images[labels == label]
        blank[start : start + len(chosen)] = chosen
        start += rows * columns
    picture = grid(blank, columns)
    if not names or list(names) == [str(i) for i in range(len(names))]:
        return picture
    rows_before = np.cumsum([0, *height[:-1]])
    return with_row_names(
        picture,
        dict(zip(rows_before.tolist(), (names[label] for label in classes), strict=True)),
        sum(height),
    )


def shown_classes(num_classes: int) -> np.ndarray:
    """int32[K], K <= `MOST_CLASSES`: all classes, or as many at equal distances."""
    if num_classes <= MOST_CLASSES:
        return np.arange(num_classes, dtype=np.int32)
    return np.linspace(0, num_classes - 1, MOST_CLASSES).round().astype(np.int32)


def columns(num: int, num_classes: int) -> int:
    """Columns of a picture of `num` images: one row a class, or more where that is wider than a square."""
    return min(math.ceil(num / num_classes), math.ceil(math.sqrt(num)))


def encode(image: np.ndarray) -> bytes:
    """uint8[H,W,C], C = 1 or 3, as the content of a PNG file."""
    content = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(content, format="PNG")
    return content.getvalue()
