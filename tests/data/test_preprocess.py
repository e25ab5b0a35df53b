"""Scaling is exact, and augmentation is random per example and by its position in the global batch alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax.data import preprocess, to_float, to_uint8
from genjax.typing import UserError

KEY = jax.random.key(0)
LEVELS = jnp.arange(256, dtype=jnp.uint8).reshape(1, 16, 16, 1)


def batch(n, height=6, width=5, channels=2, seed=0):
    image = np.random.default_rng(seed).integers(0, 256, (n, height, width, channels), np.uint8)
    return {
        "image": jnp.asarray(image),
        "label": jnp.arange(n, dtype=jnp.int32),
        "_index": jnp.arange(n, dtype=jnp.int32),
    }


@pytest.mark.parametrize("transform", [lambda f: f, jax.jit], ids=["eager", "jit"])
def test_scaling_is_exact_for_every_level(transform):
    scaled = transform(to_float)(LEVELS)
    assert scaled.dtype == jnp.float32
    exact = np.arange(256).reshape(1, 16, 16, 1) / 127.5 - 1
    np.testing.assert_allclose(scaled, exact, rtol=0, atol=1.2e-7)
    assert scaled.min() == -1 and scaled.max() == 1
    np.testing.assert_array_equal(scaled, -scaled.reshape(-1)[::-1].reshape(scaled.shape))
    np.testing.assert_array_equal(transform(to_uint8)(scaled), LEVELS)


def test_to_uint8_rounds_and_clips():
    step = 2 / 255
    x = jnp.array([-7.0, -1 + 0.49 * step, -1 + 0.51 * step, 1 - 0.49 * step, 1 + step, 50.0]).reshape(
        1, 1, 6, 1
    )
    np.testing.assert_array_equal(to_uint8(x).ravel(), np.array([0, 0, 1, 255, 255, 255], np.uint8))


def test_without_augmentation_it_only_scales():
    given = batch(3)
    result = preprocess(KEY, given)
    np.testing.assert_array_equal(result["image"], to_float(given["image"]))
    for name in ("label", "_index"):
        np.testing.assert_array_equal(result[name], given[name])


def test_half_of_the_images_are_mirrored_left_to_right():
    given = batch(400)
    plain = np.asarray(to_float(given["image"]))
    flipped = np.asarray(preprocess(KEY, given, flip=True)["image"])
    is_flipped = np.array([np.array_equal(a, b[:, ::-1]) for a, b in zip(flipped, plain, strict=True)])
    is_same = np.array([np.array_equal(a, b) for a, b in zip(flipped, plain, strict=True)])
    assert np.all(is_flipped ^ is_same)
    assert abs(is_flipped.mean() - 0.5) < 5 * 0.5 / np.sqrt(400)


def corners(given, cropped, padding):
    """Corner of the window of the reflect-padded image that each cropped image is."""
    pad = ((0, 0), (padding, padding), (padding, padding), (0, 0))
    padded = np.pad(np.asarray(given["image"]), pad, mode="reflect")
    height, width = cropped.shape[1:3]
    found = []
    for whole, part in zip(padded, cropped, strict=True):
        hits = [
            (i, j)
            for i in range(2 * padding + 1)
            for j in range(2 * padding + 1)
            if np.array_equal(whole[i : i + height, j : j + width], part)
        ]
        assert len(hits) == 1
        found.append(hits[0])
    return np.array(found)


def test_crops_are_windows_of_the_reflected_image_all_equally_likely():
    given, padding = batch(900, height=5, width=6), 1
    cropped = np.asarray(to_uint8(preprocess(KEY, given, crop_padding=padding)["image"]))
    found = corners(given, cropped, padding)
    counts = np.bincount(found[:, 0] * 3 + found[:, 1], minlength=9)
    assert np.abs(counts - 100).max() < 5 * 10


def test_flip_and_crop_have_keys_of_their_own():
    given = batch(400, height=5, width=6)
    flipped = np.asarray(to_uint8(preprocess(KEY, given, flip=True)["image"]))
    is_flipped = np.array([not np.array_equal(a, b) for a, b in zip(flipped, given["image"], strict=True)])
    cropped = np.asarray(to_uint8(preprocess(KEY, given, crop_padding=1)["image"]))
    both = np.asarray(to_uint8(preprocess(KEY, given, flip=True, crop_padding=1)["image"]))
    found = corners(given, cropped, 1)
    # One does not change the other's draws, ...
    mirrored = {**given, "image": jnp.asarray(flipped)}
    np.testing.assert_array_equal(corners(mirrored, both, 1), found)
    # ... and they are independent of each other.
    for axis in (0, 1):
        assert abs(np.corrcoef(is_flipped, found[:, axis])[0, 1]) < 5 / np.sqrt(400)


def test_randomness_follows_the_position_in_the_global_batch():
    given = batch(16)
    whole = jax.jit(lambda b: preprocess(KEY, b, flip=True, crop_padding=2))(given)
    for rows in (slice(0, 8), slice(8, 16), slice(5, 6)):
        part = {name: values[rows] for name, values in given.items()}
        np.testing.assert_array_equal(
            preprocess(KEY, part, flip=True, crop_padding=2)["image"], whole["image"][rows]
        )
    other = preprocess(jax.random.key(1), given, flip=True, crop_padding=2)
    assert not np.array_equal(other["image"], whole["image"])


@pytest.mark.parametrize("crop_padding", [-1, 5, 9])
def test_impossible_padding(crop_padding):
    with pytest.raises(UserError, match=rf"crop_padding={crop_padding}: valid are 0\.\.4 for images of 6x5"):
        preprocess(KEY, batch(2), crop_padding=crop_padding)
