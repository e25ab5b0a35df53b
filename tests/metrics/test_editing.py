"""Edits with a decoder and classifiers that can be followed by hand: every share is counted out."""

import jax.numpy as jnp
import numpy as np
import pytest

from genjax.data.shapes import factors, indices, render
from genjax.metrics.editing import (
    class_directions,
    edit_success,
    nearer_than_another,
    nearest,
    other_labels,
    unchanged,
)
from genjax.typing import UserError


def decode(z):
    """The latent itself as an image of 1 x D pixels."""
    return jnp.asarray(z)[:, None, :, None]


def first_pixel(images):
    """Class 0, 1 or 2: the first pixel, rounded."""
    return np.rint(np.asarray(images)[:, 0, 0, 0]).astype(int)


def all_pixels(images):
    return np.rint(np.asarray(images)[:, 0, :, 0]).astype(int)


def one(before, after):
    return np.ones(len(before))


def test_class_directions():
    latents = np.array([[0.0, 0.0], [2.0, 0.0], [5.0, 1.0], [0.0, 9.0]])
    directions = class_directions(latents, np.array([0, 0, 1, 2]), 3)
    assert directions.shape == (3, 3, 2)
    assert directions[0, 1].tolist() == [4.0, 1.0] and directions[1, 0].tolist() == [-4.0, -1.0]
    assert directions[0, 2].tolist() == [-1.0, 9.0]
    np.testing.assert_array_equal(directions[[0, 1, 2], [0, 1, 2]], 0.0)
    with pytest.raises(UserError, match=r"labels has \[0 1 2\]: each of 0\.\.3 is needed, and no other"):
        class_directions(latents, np.array([0, 0, 1, 2]), 4)
    with pytest.raises(UserError, match=r"each of 0\.\.1 is needed"):
        class_directions(latents, np.array([0, 0, 1, 2]), 2)


def test_other_labels():
    labels = np.repeat(np.arange(3), 1000)
    targets = other_labels(labels, 3, seed=1)
    counts = np.zeros((3, 3), int)
    np.add.at(counts, (labels, targets), 1)
    assert (np.diag(counts) == 0).all() and counts[~np.eye(3, dtype=bool)].min() > 430
    assert (other_labels(labels, 3, seed=2) != targets).any()
    with pytest.raises(UserError, match="num_classes=1"):
        other_labels(labels * 0, 1)


def test_every_share_is_counted_out():
    latents = np.zeros((5, 2), np.float32)
    latents[4, 0] = 1.0  # is already what will be asked for
    directions = np.zeros((5, 2), np.float32)
    directions[:3, 0] = 1.0  # three edits that work; the fourth does nothing, nor does the fifth
    directions[2, 1] = 3.0  # and this one disturbs the other pixel
    targets = np.ones(5, int)
    for batch_size in (2, 100):
        found = edit_success(
            latents,
            directions,
            targets,
            decode=decode,
            classify=first_pixel,
            identity=unchanged(all_pixels, [1]),
            batch_size=batch_size,
        )
        assert found == {"success": 4 / 5, "identity": 4 / 5, "both": 3 / 5, "unedited": 1 / 5}


@pytest.mark.parametrize("strength, success", [(0.0, 0.0), (0.4, 0.0), (1.0, 1.0), (2.0, 0.0), (-1.0, 0.0)])
def test_strength(strength, success):
    arrays = np.zeros((3, 2), np.float32), np.float32([[1, 0]] * 3), np.ones(3, int)
    found = edit_success(*arrays, decode=decode, classify=first_pixel, identity=one, strength=strength)
    assert found == {"success": success, "identity": 1.0, "both": success, "unedited": 0.0}


def test_unchanged_needs_all_of_the_attributes():
    before = np.zeros((4, 1, 3, 1))
    after = before.copy()
    after[1, 0, 0], after[2, 0, 1], after[3, 0, 2] = 1.0, 1.0, 1.0
    assert unchanged(all_pixels, [0, 2], batch_size=3)(before, after).tolist() == [1.0, 0.0, 1.0, 0.0]


def test_mean_differences_edit_a_linear_model():
    # Class along the first axis, style along the second: the edit changes the one and keeps the other.
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, size=300)
    latents = np.stack([labels, rng.normal(size=300)], axis=1).astype(np.float32)
    targets = other_labels(labels, 3)
    directions = class_directions(latents, labels, 3)[labels, targets]
    identity = nearer_than_another(labels)
    found = edit_success(latents, directions, targets, decode=decode, classify=first_pixel, identity=identity)
    assert found["success"] == 1.0 and found["unedited"] == 0.0 and found["identity"] > 0.9
    # A decoder that forgets the style succeeds all the same, and keeps nothing: ties.
    forgetful = edit_success(
        latents[:, :1],
        directions[:, :1],
        targets,
        decode=decode,
        classify=first_pixel,
        identity=identity,
    )
    assert forgetful == {"success": 1.0, "identity": 0.5, "both": 0.5, "unedited": 0.0}


def test_nearer_than_another_compares_within_the_class():
    labels = np.array([0, 1, 0, 1])
    before = np.float32([0.0, 10.0, 4.0, 20.0])[:, None, None, None]
    identity = nearer_than_another(labels)
    # The only other one of the class is known: 0 with 2, 1 with 3.
    shift = np.float32([1.9, 6.0, 0.0, -5.0])[:, None, None, None]
    assert identity(before, before + shift).tolist() == [1.0, 0.0, 1.0, 0.5]
    with pytest.raises(UserError, match="labels: class 2 has a single image"):
        nearer_than_another(np.array([0, 0, 2]))


def test_nearer_than_another_never_compares_with_itself():
    labels = np.random.default_rng(3).integers(0, 4, size=101)
    before = np.random.default_rng(4).normal(size=(101, 1, 1, 1))
    assert nearer_than_another(labels, seed=5)(before, before).tolist() == [1.0] * 101


def test_nearest_reads_all_factors_off_a_noisy_picture():
    rows = factors(np.sort(indices("test")))
    pictures = render(rows, 16)
    noise = np.random.default_rng(0).normal(size=(20, 16, 16, 3))
    chosen = np.arange(0, 2400, 120)
    images = (pictures[chosen] / 127.5 - 1 + 0.05 * noise).astype(np.float32)
    for chunk_size in (1000, 10_000):
        np.testing.assert_array_equal(nearest(pictures, rows, chunk_size)(images), rows[chosen])


def test_edit_of_the_shapes():
    """The factors as latents and the renderer as decoder: the edit moves one shape, and nothing else."""
    rows = factors(indices("test")[:40])
    every = np.array([[shape, *row[1:]] for row in rows for shape in range(3)])
    classify = nearest(render(every, 16), every)
    to_unit = lambda images: (images / 127.5 - 1).astype(np.float32)  # noqa: E731
    targets = other_labels(rows[:, 0], 3)
    directions = np.zeros((40, 6), np.float32)
    directions[:, 0] = targets - rows[:, 0]
    found = edit_success(
        rows.astype(np.float32),
        directions,
        targets,
        decode=lambda z: to_unit(render(np.rint(np.asarray(z)).astype(int), 16)),
        classify=lambda images: classify(images)[:, 0],
        identity=unchanged(classify, range(1, 6)),
        batch_size=16,
    )
    assert found == {"success": 1.0, "identity": 1.0, "both": 1.0, "unedited": 0.0}


def test_lengths():
    z = np.zeros((2, 3), np.float32)
    with pytest.raises(UserError, match="latents, directions and targets have 2, 2 and 3 rows"):
        edit_success(z, z, np.zeros(3, int), decode=decode, classify=first_pixel, identity=one)
    with pytest.raises(UserError, match="at least one image"):
        edit_success(z[:0], z[:0], np.zeros(0, int), decode=decode, classify=first_pixel, identity=one)
