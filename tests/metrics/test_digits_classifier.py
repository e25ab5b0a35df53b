"""The bundled classifier: its file, its digest, its features, and what it makes of real digits."""

import hashlib

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from genjax.data import digits
from genjax.metrics import digits_classifier
from genjax.metrics.digits_classifier import FEATURE_DIM, SHA256, WEIGHTS, load_digits_classifier, resize
from genjax.typing import UserError


@pytest.fixture(scope="module")
def extractor():
    return load_digits_classifier()


@pytest.fixture(scope="module")
def held_out():
    """scikit-learn's digits of the test split, which the classifier was not trained on."""
    source = digits("test")
    records = source.read(np.arange(len(source)))
    return (records["image"] / 127.5 - 1).astype(np.float32), records["label"]


def test_bundled_file(extractor):
    content = WEIGHTS.read_bytes()
    assert len(content) < 1_000_000
    assert extractor.sha256 == SHA256 == hashlib.sha256(content).hexdigest()
    assert (extractor.name, extractor.feature_dim) == ("digits_classifier", FEATURE_DIM)
    arrays = safetensors.numpy.load(content)
    assert {array.dtype for array in arrays.values()} == {np.dtype(np.float32)}


def test_serialize_gives_back_the_bundled_bytes():
    content = WEIGHTS.read_bytes()
    params = flax.traverse_util.unflatten_dict(safetensors.numpy.load(content), sep="/")
    assert digits_classifier.serialize(params) == content


def test_classifies_held_out_digits(extractor, held_out):
    images, labels = held_out
    features, logits = jax.jit(extractor.apply)(images)
    assert features.shape == (355, FEATURE_DIM) and features.dtype == jnp.float32
    assert np.mean(np.asarray(logits).argmax(-1) == labels) >= 0.98
    # The features span their space: no dead one, no copy.
    assert np.linalg.matrix_rank(np.cov(np.asarray(features, np.float64), rowvar=False)) == FEATURE_DIM


def test_image_does_not_depend_on_its_batch(extractor, held_out):
    images, _ = held_out
    apply = jax.jit(extractor.apply)
    alone, together = apply(images[:1]), apply(images[:8])
    for a, b in zip(alone, together, strict=True):
        np.testing.assert_allclose(a, b[:1], rtol=1e-4, atol=1e-4)


def test_resize_keeps_28_and_interpolates_linearly():
    x = jax.random.uniform(jax.random.key(0), (2, 28, 28, 1), minval=-1.0)
    np.testing.assert_array_equal(resize(x), x)
    # A ramp of 14 pixels, twice as fine: pixel i of the result lies at (i - 0.5) / 2 of the ramp.
    ramp = jnp.broadcast_to(jnp.arange(14.0)[:, None], (1, 14, 14))[..., None].swapaxes(1, 2)
    expected = np.clip((np.arange(28) - 0.5) / 2, 0, 13)
    np.testing.assert_allclose(resize(ramp)[0, 5, :, 0], expected, atol=1e-5)
    # Shrinking averages over the widened triangle: a checkerboard becomes gray, not black or white.
    checkerboard = jnp.asarray(np.indices((84, 84)).sum(0) % 2 * 2.0 - 1.0)[None, :, :, None]
    assert float(jnp.abs(resize(checkerboard)[0, 1:-1, 1:-1]).max()) < 0.02


def test_larger_images_are_classified_alike(extractor, held_out):
    images, labels = held_out
    images, labels = images[:100], labels[:100]
    larger = np.kron(images, np.ones((1, 4, 4, 1), np.float32))
    assert larger.shape == (100, 32, 32, 1)
    _, logits = jax.jit(extractor.apply)(larger)
    assert np.mean(np.asarray(logits).argmax(-1) == labels) >= 0.95


@pytest.mark.parametrize("shape", [(2, 28, 28, 3), (2, 28, 28), (2, 28, 28, 0)])
def test_colour_is_refused(extractor, shape):
    with pytest.raises(UserError, match="grayscale"):
        jax.jit(extractor.apply)(jnp.zeros(shape))


def test_damaged_weights_are_refused(tmp_path):
    content = bytearray(WEIGHTS.read_bytes())
    content[-1] ^= 1
    path = tmp_path / "damaged.safetensors"
    path.write_bytes(content)
    with pytest.raises(UserError) as error:
        load_digits_classifier(path)
    digest = hashlib.sha256(content).hexdigest()
    for part in (str(path), digest, SHA256, "could not be compared", "sha256=None"):
        assert part in str(error.value)
    # Asked for, other weights are taken, under their own digest.
    assert load_digits_classifier(path, sha256=None).sha256 == digest
    assert load_digits_classifier(path, sha256=digest).sha256 == digest


def test_other_files_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"missing\.safetensors'.*no such weights file"):
        load_digits_classifier(tmp_path / "missing.safetensors")
    path = tmp_path / "other"
    path.write_bytes(b"not weights at all")
    with pytest.raises(UserError, match="not a safetensors file"):
        load_digits_classifier(path, sha256=None)
    arrays = safetensors.numpy.load(WEIGHTS.read_bytes())
    arrays["logits/bias"] = np.zeros(11, np.float32)
    del arrays["conv0/bias"]
    path.write_bytes(safetensors.numpy.save(arrays))
    with pytest.raises(UserError, match=r"these arrays differ: conv0/bias, logits/bias$"):
        load_digits_classifier(path, sha256=None)


def test_feature_maps_are_those_that_the_classifier_sees(extractor, held_out):
    images = jnp.asarray(held_out[0][:3])
    maps = jax.jit(digits_classifier.load_feature_maps())(images)
    assert [m.shape for m in maps] == [(3, 14, 14, 32), (3, 14, 14, 64), (3, 7, 7, 96), (3, 4, 4, 64)]
    p = flax.traverse_util.unflatten_dict(safetensors.numpy.load(WEIGHTS.read_bytes()), sep="/")
    before = resize(images)
    for i, (stride, found) in enumerate(zip((2, 1, 2, 2), maps, strict=True)):
        kernel, bias = p[f"conv{i}"]["kernel"], p[f"conv{i}"]["bias"]
        y = jax.lax.conv_general_dilated(
            before, kernel, (stride, stride), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        before = jnp.maximum(y + bias.reshape(1, 1, 1, -1), 0)
        np.testing.assert_allclose(found, before, atol=1e-4)
    features = maps[-1].reshape(3, -1) @ p["features"]["kernel"] + p["features"]["bias"][None]
    np.testing.assert_allclose(features, jax.jit(extractor.apply)(images)[0], rtol=1e-4, atol=1e-4)
    with pytest.raises(UserError, match="grayscale"):
        digits_classifier.feature_maps(p, jnp.zeros((2, 28, 28, 3)))
