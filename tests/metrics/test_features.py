"""From images to features: whatever the batches, the devices and the sizes of the images."""

import hashlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from genjax.metrics.extractor import Extractor
from genjax.metrics.features import extract, features
from genjax.metrics.frechet import stream
from genjax.typing import UserError


def means(images):
    """Features are mean and largest pixel; logits tell whether the mean is above zero."""
    flat = images.reshape(images.shape[0], -1)
    return jnp.stack([flat.mean(1), flat.max(1)], -1), jnp.stack([-flat.mean(1), flat.mean(1)], -1)


def top_left(images):
    return (2 * images[:, :2, :2].astype(np.float32) - 255) / 255


MEANS = Extractor("means", "00", 2, "none", means)
CROPS = MEANS._replace(prepare=top_left)


class Pictures:
    """Images of several sizes, read when needed."""

    def __init__(self, pictures):
        self.pictures, self.read = pictures, []

    def __len__(self):
        return len(self.pictures)

    def __getitem__(self, indices):
        self.read += indices.tolist()
        return [self.pictures[i] for i in indices]


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(256, size=(37, 3, 4, 1), dtype=np.uint8)


def test_values_and_classes(images):
    found = features(images, MEANS, 10)
    exact = images.reshape(37, -1).astype(np.float64) / 127.5 - 1
    np.testing.assert_allclose(found.values, np.stack([exact.mean(1), exact.max(1)], 1), atol=1e-6)
    np.testing.assert_array_equal(found.classes, (exact.mean(1) > 0).astype(int))
    assert found.digest == hashlib.sha256(images.tobytes()).hexdigest()[:16]


def test_batches_and_devices_change_nothing(images):
    first = features(images, MEANS, 37)
    assert features(images, MEANS, 5).digest == first.digest
    np.testing.assert_allclose(features(images, MEANS, 5).values, first.values, atol=1e-6)
    spread = NamedSharding(Mesh(np.array(jax.devices()), ("data",)), P("data"))
    np.testing.assert_allclose(features(images, MEANS, 16, spread).values, first.values, atol=1e-6)
    # So are statistics of one pass over batches.
    whole, parts = (stream(x for x, _ in extract(images, MEANS, n, s)) for n, s in ((37, None), (16, spread)))
    np.testing.assert_allclose(parts.m2, whole.m2, rtol=1e-5)
    assert parts.count == whole.count == 37


def test_several_sizes_are_brought_to_one(images):
    big = np.pad(images, ((0, 0), (0, 5), (0, 1), (0, 0)))
    pictures = Pictures([big[i] if i % 3 else images[i] for i in range(37)])
    found = features(pictures, CROPS, 8)
    np.testing.assert_array_equal(found.values, features(images, CROPS, 8).values)
    assert pictures.read == list(range(37))
    assert found.digest != features(images, CROPS, 8).digest
    with pytest.raises(UserError, match=r"several sizes, \(3, 4\) and \(8, 5\)"):
        features(pictures, MEANS, 8)


def test_no_batch_of_nothing(images):
    with pytest.raises(UserError, match="batch_size is 0"):
        features(images, MEANS, 0)
