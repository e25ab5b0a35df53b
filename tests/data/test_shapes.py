"""Every picture shows what its factors say, no two are equal, and none is in both splits."""

import numpy as np
import pytest

from genjax.data.shapes import FACTOR_SIZES, NUM_IMAGES, SHAPE_NAMES, factors, indices, render, shapes
from genjax.typing import UserError

SIZE = 16


@pytest.fixture(scope="module")
def every():
    """Factors and pictures of the whole set, at the smallest size."""
    rows = factors(np.arange(NUM_IMAGES))
    return rows, render(rows, SIZE)


def grey(images):
    """Coverage in [0, 1]: the brightest channel."""
    return images.max(-1) / 255


def test_all_combinations_and_no_two_pictures_are_equal(every):
    rows, images = every
    assert len(rows) == NUM_IMAGES == 3 * 4 * 4 * 8 * 8 * 8
    assert len(np.unique(rows, axis=0)) == NUM_IMAGES
    assert (rows.min(0) == 0).all() and tuple(rows.max(0) + 1) == FACTOR_SIZES
    assert len({image.tobytes() for image in images}) == NUM_IMAGES


def test_render_is_a_function_of_each_row_alone(every):
    rows, images = every
    chosen = np.random.default_rng(0).permutation(NUM_IMAGES)[:150]
    np.testing.assert_array_equal(render(rows[chosen], SIZE), images[chosen])
    np.testing.assert_array_equal(render(rows[:1], SIZE), images[:1])
    assert render(rows[:0], SIZE).shape == (0, SIZE, SIZE, 3)


def test_splits_share_nothing_and_leave_nothing_out():
    train, test, whole = indices("train"), indices("test"), indices("all")
    assert (len(train), len(test), len(whole)) == (22_119, 2_457, NUM_IMAGES)
    np.testing.assert_array_equal(np.sort(np.concatenate([train, test])), np.arange(NUM_IMAGES))
    # Nearly all values of every factor are as frequent in the test set as they should be.
    for column, size in zip(factors(test).T, FACTOR_SIZES, strict=True):
        share = np.bincount(column, minlength=size) * size / len(test)
        assert share.min() > 0.8 and share.max() < 1.2
    with pytest.raises(UserError, match="split='validation': valid splits are"):
        indices("validation")


def test_source(every):
    rows, images = every
    source = shapes("test", SIZE)
    records = source.read(np.arange(len(source)))
    np.testing.assert_array_equal(records["image"], images[indices("test")])
    np.testing.assert_array_equal(records["label"], rows[indices("test"), 0])
    info = source.info
    assert (info.image_shape, info.num_classes, info.class_names) == ((SIZE, SIZE, 3), 3, SHAPE_NAMES)
    assert render(rows[:1]).shape == (1, 32, 32, 3)


def test_the_factors_mean_what_they_say(every):
    rows, images = every
    coverage = grey(images)
    shape, colour, scale, _, x, y = rows.T
    # Areas: a square, an ellipse of half the height, and the heart, by quadrature of its curve, of circumradius r.
    radius = np.linspace(1 / 8, 1 / 4, 4)[scale] * SIZE
    area = np.array([2.0, np.pi / 2, 3.66016 / 1.2905071**2])[shape] * radius**2
    np.testing.assert_allclose(coverage.sum((1, 2)), area, rtol=0.065)
    # Centroids: x to the right, y downwards, whatever the shape, the scale and the orientation.
    points = np.arange(SIZE) + 0.5
    for axis, place in [(1, x), (2, y)]:
        centroid = coverage.sum(axis) @ points / coverage.sum((1, 2))
        np.testing.assert_allclose(centroid, (1 / 4 + place / 14) * SIZE, atol=0.07)
    # Colours: channels that are lit.
    lit = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 1]])[colour]
    np.testing.assert_array_equal(images.max((1, 2)) > 0, lit == 1)


def test_orientations_turn_counter_clockwise_over_the_period_of_the_shape():
    # The long axis of the ellipse, from second moments about the centroid.
    rows = np.array([[1, 0, 3, o, 3, 3] for o in range(8)])
    coverage = grey(render(rows, 64))
    up, right = 63.5 - np.arange(64)[:, None] + np.zeros(64), np.arange(64) + np.zeros((64, 1))
    mass = coverage.sum((1, 2))
    u, v = (p - ((coverage * p).sum((1, 2)) / mass)[:, None, None] for p in (right, up))
    angle = 0.5 * np.arctan2(2 * (coverage * u * v).sum((1, 2)), (coverage * (u * u - v * v)).sum((1, 2)))
    difference = angle - np.arange(8) * np.pi / 8
    np.testing.assert_allclose((difference + np.pi / 2) % np.pi - np.pi / 2, 0.0, atol=0.02)
    # The heart turns by 45 degrees: two steps are a quarter turn, exactly where the place is symmetric to the grid.
    hearts = grey(render(np.array([[2, 0, 2, o, 0, 0] for o in range(8)]), 64))[:, :32, :32]
    for step in range(8):
        turned = np.rot90(hearts[step])
        assert np.abs(turned - hearts[(step + 2) % 8]).max() <= 1 / 16 + 1e-6
    assert np.abs(hearts[0] - hearts[4]).max() == 1


def test_nothing_is_cut_at_the_border(every):
    rows, images = every
    # The largest shapes at the outermost places have all the area of those in the middle.
    for shape in range(3):
        chosen = (rows[:, 0] == shape) & (rows[:, 1] == 0) & (rows[:, 2] == 3)
        mass = grey(images[chosen]).sum((1, 2))
        assert np.ptp(mass) < 0.06 * mass.mean()


def test_bad_arguments():
    with pytest.raises(UserError, match="size=15: shapes can be told apart from 16 pixels on"):
        shapes("train", 15)
    with pytest.raises(UserError, match=r"factors: colour is 4 in row 1, valid are 0\.\.3"):
        render(np.array([[0, 0, 0, 0, 0, 0], [0, 4, 0, 0, 0, 0]]))
    with pytest.raises(UserError, match=r"indices has values in 0\.\.24576; valid are 0\.\.24575"):
        factors(np.array([0, NUM_IMAGES]))
