"""Pictures of one shape each, of which every factor of variation is known: for measuring disentanglement."""

import math

import numpy as np
from jaxtyping import Float, Int, UInt8

from genjax.data.digest import of_arrays
from genjax.data.permutation import permute
from genjax.data.source import ArraySource, split_indices
from genjax.typing import UserError

FACTOR_NAMES = ("shape", "colour", "scale", "orientation", "x", "y")
FACTOR_SIZES = (3, 4, 4, 8, 8, 8)
NUM_IMAGES = math.prod(FACTOR_SIZES)
SHAPE_NAMES = ("square", "ellipse", "heart")
COLOUR_NAMES = ("red", "yellow", "green", "blue")
MIN_SIZE = 16

_COLOURS = np.array([[255, 0, 0], [255, 255, 0], [0, 255, 0], [0, 0, 255]], np.float32)
# Radii and centres in units of the image: the largest shape touches the edge but is never cut.
_RADII = np.linspace(1 / 8, 1 / 4, FACTOR_SIZES[2])
_CENTRES = np.linspace(1 / 4, 3 / 4, FACTOR_SIZES[4])
# A square looks the same after a quarter turn, an ellipse after half a turn, a heart after a whole one only.
_PERIODS = np.array([np.pi / 2, np.pi, 2 * np.pi])
# Circumradius and height of the centroid of the heart (x^2 + y^2 - 1)^3 = x^2 y^3.
_HEART_RADIUS, _HEART_CENTROID = 1.2905071, 0.2934828
_POINTS = 128
_CHUNK = 64
_SEED = 0


def _square(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.maximum(np.abs(u), np.abs(v)) <= math.sqrt(0.5)


def _ellipse(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return u * u + 4 * v * v <= 1


def _heart(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    x2, y = np.square(_HEART_RADIUS * u), _HEART_RADIUS * v + _HEART_CENTROID
    y2 = y * y
    a = x2 + y2 - 1
    return a * a * a <= x2 * y2 * y


_SHAPES = (_square, _ellipse, _heart)
"""Each says which points (u right, v up, origin at the centroid, circumradius 1) are inside."""


def shapes(split: str, size: int = 32) -> ArraySource:
    """One coloured square, ellipse or heart on black: all 24,576 combinations of six factors, drawn here.

    Every combination of 3 shapes, 4 colours, 4 scales, 8 orientations, 8 horizontal and 8 vertical places occurs
    exactly once in "train" and "test" together, and no two pictures are equal: orientations are spread over each
    shape's own period. Record i of a split is picture ``indices(split)[i]``, an order in which neighbours have
    nothing in common.

    Args:
        split: "train" (22,119 pictures), "test" (2,457) or "all".
        size: H = W in pixels, at least 16.

    Returns:
        The source, images uint8[size,size,3], labels the shape: 0 square, 1 ellipse, 2 heart.

    Raises:
        UserError: another split, or a size below 16.

    References:
        Matthey et al., "dSprites" (2017), for the kind of data; there squares and ellipses turn by 360 degrees, so
        that different orientations give the same picture.
    """
    rows = factors(indices(split))
    source = ArraySource(
        render(rows, size),
        rows[:, 0],
        name="shapes",
        split=split,
        num_classes=len(SHAPE_NAMES),
        class_names=SHAPE_NAMES,
    )
    # Of the factors: pictures of another size are of the same data.
    source.digest = of_arrays(rows.astype(np.int64), rows[:, 0])
    return source


def indices(split: str) -> Int[np.ndarray, "N"]:
    """Which of the pictures 0..24,575 the records of a split are: every tenth of a fixed permutation is for testing.

    Raises:
        UserError: a split other than "train", "test" and "all".
    """
    return permute(split_indices(NUM_IMAGES, split, every=10), NUM_IMAGES, _SEED)


def factors(indices: Int[np.ndarray, "N"]) -> Int[np.ndarray, "N 6"]:
    """Values of the factors of pictures `indices`, the last one running fastest (`numpy.unravel_index`).

    Raises:
        UserError: an index outside 0..24,575.
    """
    indices = np.asarray(indices)
    if indices.size and (indices.min() < 0 or indices.max() >= NUM_IMAGES):
        raise UserError(
            f"indices has values in {indices.min()}..{indices.max()}; valid are 0..{NUM_IMAGES - 1}"
        )
    return np.stack(np.unravel_index(indices, FACTOR_SIZES), axis=1)


def render(factors: Int[np.ndarray, "N 6"], size: int = 32) -> UInt8[np.ndarray, "N size size 3"]:
    """Draws pictures; the edges are anti-aliased with 4x4 points a pixel, or more in pictures below 32 pixels.

    Args:
        factors: factors of each picture, column k in ``range(FACTOR_SIZES[k])``, in the order of FACTOR_NAMES. x runs
            to the right, y downwards, orientation counter-clockwise.
        size: H = W in pixels, at least 16.

    Returns:
        Levels 0..255.

    Raises:
        UserError: a value out of range, or a size below 16.
    """
    factors = np.asarray(factors)
    if size < MIN_SIZE:
        raise UserError(f"size={size}: shapes can be told apart from {MIN_SIZE} pixels on")
    bad = (factors < 0) | (factors >= FACTOR_SIZES)
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise UserError(
            f"factors: {FACTOR_NAMES[column]} is {factors[row, column]} in row {row}, "
            f"valid are 0..{FACTOR_SIZES[column] - 1}"
        )
    # The colour comes last: each outline is drawn once, in however many colours it is asked for.
    outlines, inverse = np.unique(np.delete(factors, 1, axis=1), axis=0, return_inverse=True)
    coverage = _coverage(outlines, size)
    images = np.empty((len(factors), size, size, 3), np.uint8)
    for start in range(0, len(factors), _CHUNK):
        rows = slice(start, start + _CHUNK)
        colour = _COLOURS[factors[rows, 1]][:, None, None]
        images[rows] = np.rint(coverage[inverse.ravel()[rows], :, :, None] * colour)
    return images


def _coverage(outlines: Int[np.ndarray, "N 5"], size: int) -> Float[np.ndarray, "N size size"]:
    """Share of each pixel that lies inside; outlines are shape, scale, orientation, x, y, sorted by shape."""
    coverage = np.empty((len(outlines), size, size), np.float32)
    per_pixel = max(4, -(-_POINTS // size))
    points = (np.arange(size * per_pixel) + 0.5) / (size * per_pixel)
    for shape, inside in enumerate(_SHAPES):
        (rows,) = np.nonzero(outlines[:, 0] == shape)
        for chunk in np.split(rows, range(_CHUNK, len(rows), _CHUNK)):
            _, scale, orientation, x, y = outlines[chunk].T
            angle = _PERIODS[shape] * orientation / FACTOR_SIZES[3]
            right = ((points - _CENTRES[x, None]) / _RADII[scale, None])[:, None, :]
            up = ((_CENTRES[y, None] - points) / _RADII[scale, None])[:, :, None]
            cos, sin = np.cos(angle)[:, None, None], np.sin(angle)[:, None, None]
            u = (cos * right).astype(np.float32) + (sin * up).astype(np.float32)
            v = (cos * up).astype(np.float32) - (sin * right).astype(np.float32)
            blocks = inside(u, v).reshape(len(chunk), size, per_pixel, size, per_pixel)
            coverage[chunk] = blocks.mean((2, 4), dtype=np.float32)
    return coverage
