"""Inception features against the two implementations by which others measure: random weights, the same images.

| here | there |
| --- | --- |
| `load_inception(path, "legacy-tf")` | torch-fidelity's `FeatureExtractorInceptionV3`: "2048", "logits_unbiased" |
| `tf1_bilinear` | its `interpolate_bilinear_2d_like_tensorflow1x` |
| `load_inception(path, "clean")`: what `prepare` gives | clean-fid's resizer of mode "clean" |

To 1e-4 of the largest feature; the resizes to 1e-6, and bit for bit. Both packages ask for torchvision, which what is
compared does not need: ``pip install --no-deps torch-fidelity clean-fid``.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.bench import torch_inception
from experiments.bench.inception import random_arrays
from experiments.bench.torch_fidelity import installed, module
from genjax.metrics import inception
from genjax.metrics.inception import load_inception
from genjax.metrics.resize import pillow, tf1_bilinear

SIZES = [(32, 32), (64, 48), (299, 299), (310, 500)]


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


@pytest.fixture(scope="module")
def fidelity(torch):
    """Modules of torch-fidelity, by name."""
    if not installed():
        pytest.skip("torch-fidelity is not installed")
    return module


@pytest.fixture(scope="module")
def theirs(fidelity, arrays):
    """Their extractor. It loads our arrays: none is missing, and there is none more."""
    return torch_inception.extractor(arrays)


@pytest.fixture(scope="module")
def arrays():
    return random_arrays(inception.state_dict_shapes(), seed=3)


@pytest.fixture(scope="module")
def extractors(torch, arrays, tmp_path_factory):
    """Ours, of a checkpoint as PyTorch writes it."""
    path = tmp_path_factory.mktemp("inception") / "weights.pth"
    torch.save({name: torch.from_numpy(array) for name, array in arrays.items()}, path)
    return {protocol: load_inception(path, protocol, sha256=None) for protocol in ("legacy-tf", "clean")}


@pytest.fixture(scope="module")
def network(extractors):
    """Compiled once: images of 299x299 -> features and logits."""
    params, resize = extractors["clean"].apply.args
    # Parameters as arguments: constants would be in the compilation cache, 90 MB.
    return functools.partial(jax.jit(lambda params, x: inception._apply(params, resize, x)), params)


def images(size, seed=0):
    """Two images of smooth colours and of noise."""
    rng = np.random.default_rng(seed)
    smooth = pillow(rng.integers(0, 256, (1, 5, 5, 3), np.uint8), size, "bicubic")
    return np.concatenate([smooth.round().astype(np.uint8), rng.integers(0, 256, (1, *size, 3), np.uint8)])


def assert_close(ours, theirs):
    for a, b in zip(ours, theirs, strict=True):
        assert a.shape == b.shape and np.asarray(a).dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-4 * np.abs(b).max())


def test_what_metrics_use(fidelity):
    network = fidelity("feature_extractor_inceptionv3").FeatureExtractorInceptionV3
    used = {metric: network.get_default_feature_layer_for_metric(metric) for metric in ("isc", "fid", "kid")}
    assert used == {"isc": "logits_unbiased", "fid": "2048", "kid": "2048"}


@pytest.mark.parametrize("size", SIZES)
def test_features_and_logits(theirs, extractors, network, size):
    x = images(size)
    # The same compiled network behind the resize that `apply` has.
    resized = jax.jit(functools.partial(tf1_bilinear, size=(299, 299)))(extractors["legacy-tf"].prepare(x))
    given, expected = network(resized), theirs(torch_inception.images(x))
    assert_close(given, expected)
    # The two images differ by far more.
    assert np.abs(expected[0][0] - expected[0][1]).max() > 0.1 * np.abs(expected[0]).max()


def test_whole_extractor(theirs, extractors):
    extractor, x = extractors["legacy-tf"], images((32, 32), seed=1)
    assert_close(jax.jit(extractor.apply)(extractor.prepare(x)), theirs(torch_inception.images(x)))


@pytest.mark.parametrize("size", [*SIZES, (1, 1), (28, 28), (597, 300)])
def test_tf1_bilinear(fidelity, size):
    resize = fidelity("interpolate_compat_tensorflow").interpolate_bilinear_2d_like_tensorflow1x
    x = images(size).astype(np.float32)
    expected = resize(torch_inception.images(x), size=(299, 299), align_corners=False)
    given = jax.jit(functools.partial(tf1_bilinear, size=(299, 299)))(x)
    np.testing.assert_allclose(given, expected.permute(0, 2, 3, 1), rtol=0, atol=1e-6 * 255)


@pytest.mark.parametrize("size", [*SIZES, (28, 28), (597, 300)])
def test_clean_resize(extractors, size):
    build = pytest.importorskip("cleanfid.resize").build_resizer("clean")
    x = images(size)
    expected = np.stack([build(image) for image in x])
    np.testing.assert_array_equal(pillow(x, (299, 299), "bicubic"), expected)
    clean = extractors["clean"]
    seen = inception.network_inputs(clean.apply.args[1], jnp.asarray(clean.prepare(x)))
    np.testing.assert_allclose(seen, (expected - 128) / 128, rtol=0, atol=1e-6)
