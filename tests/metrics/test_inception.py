"""The Inception extractor on weights of our own; tests/parity/test_inception.py compares it with torch-fidelity."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import PIL.Image
import pytest
import safetensors.numpy

from experiments.bench.inception import random_arrays
from genjax.metrics import inception, inception_network
from genjax.metrics.folding import Folded
from genjax.metrics.inception import load_inception, network_inputs
from genjax.metrics.inception_network import average_pool, max_pool
from genjax.metrics.protocol import Protocol
from genjax.metrics.resize import pillow, tf1_bilinear
from genjax.typing import UserError


@pytest.fixture(scope="module")
def arrays():
    return random_arrays(inception.state_dict_shapes())


@pytest.fixture(scope="module")
def path(arrays, tmp_path_factory):
    path = tmp_path_factory.mktemp("inception") / "weights.safetensors"
    safetensors.numpy.save_file(arrays, path)
    return path


@pytest.fixture(scope="module")
def extractors(path):
    return {protocol: load_inception(path, protocol, sha256=None) for protocol in ("legacy-tf", "clean")}


@pytest.fixture(scope="module")
def run(extractors):
    """Compiled once: (parameters, images of 299x299) -> features and logits, as the extractor computes them."""
    resize = extractors["legacy-tf"].apply.args[1]
    return jax.jit(lambda params, images: inception._apply(params, resize, images))


def test_number_of_parameters():
    """Of Inception v3 in torchvision, 23,834,568 without the auxiliary classifier, of which 2,049,000 classify."""
    shapes = inception.state_dict_shapes()
    statistics = ("running_mean", "running_var")
    trained = sum(np.prod(s, dtype=int) for name, s in shapes.items() if not name.endswith(statistics))
    assert trained == 23_834_568 - 2_049_000 + 1008 * 2049
    assert len(inception_network.kernel_shapes()) == 94


def test_network_without_kernels(run):
    """The features are the biases of the last block, ReLU'd, in the order of its branches."""
    rng = np.random.default_rng(0)

    def layer(shape):
        return Folded(np.zeros(shape, np.float32), rng.normal(size=shape[-1]).astype(np.float32))

    convolutions = {name: layer(shape) for name, shape in inception_network.kernel_shapes().items()}
    fc = rng.normal(size=(2048, 1008)).astype(np.float32)
    features, logits = run(inception._Params(convolutions, fc), jnp.zeros((2, 299, 299, 3)))
    ends = ("1x1", "3x3_2a", "3x3_2b", "3x3dbl_3a", "3x3dbl_3b", "_pool")
    biases = np.concatenate([convolutions[f"Mixed_7c.branch{end}"].bias for end in ends])
    np.testing.assert_allclose(features, np.tile(np.maximum(biases, 0), (2, 1)), rtol=1e-6)
    np.testing.assert_allclose(logits, features @ fc, rtol=1e-4, atol=1e-4)


def test_numbers_of_torch_fidelity(run, extractors):
    """What FeatureExtractorInceptionV3 of torch-fidelity 0.4.0 gave for the same weights and images."""
    images = np.random.default_rng(0).integers(0, 256, (2, 299, 299, 3), np.uint8)
    extractor = extractors["legacy-tf"]
    features, logits = run(extractor.apply.args[0], extractor.prepare(images))
    np.testing.assert_allclose(features[0, :4], [0.23788455, 4.191862, 5.198751, 9.550956], atol=1e-4)
    np.testing.assert_allclose(features[1, -3:], [0.01092391, 0.00638377, 0.82668334], atol=1e-4)
    np.testing.assert_allclose([features.mean(), features.std()], [1.9690602, 2.669448], atol=1e-4)
    np.testing.assert_allclose(logits[0, :3], [1.2589918, -1.7306222, 1.3631665], atol=1e-4)
    np.testing.assert_allclose(logits[1, -2:], [-7.264373, -6.973448], atol=1e-4)
    assert features.dtype == logits.dtype == jnp.float32
    # Nothing is resized, so the other protocol shows the network the same.
    np.testing.assert_array_equal(extractors["clean"].prepare(images), extractor.prepare(images))


@pytest.mark.parametrize("channels", [1, 3])
def test_what_the_network_sees(extractors, channels):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (3, 20, 31, channels), np.uint8)
    legacy, clean = extractors["legacy-tf"], extractors["clean"]

    def seen(extractor):
        resize = extractor.apply.args[1]
        return network_inputs(resize, jnp.asarray(extractor.prepare(images)))

    for extractor, levels in (
        (legacy, tf1_bilinear(jnp.asarray(images, jnp.float32), (299, 299))),
        (clean, pillow(images, (299, 299), "bicubic")),
    ):
        expected = np.broadcast_to((np.asarray(levels) - 128) / 128, (3, 299, 299, 3))
        np.testing.assert_allclose(seen(extractor), expected, atol=1e-6)
    first = PIL.Image.fromarray(images[0, ..., 0].astype(np.float32)).resize(
        (299, 299), PIL.Image.Resampling.BICUBIC
    )
    np.testing.assert_allclose(seen(clean)[0, ..., 0], (np.clip(first, 0, 255) - 128) / 128, atol=1e-6)
    # Levels are not rounded on the way.
    assert len(np.unique(np.asarray(seen(clean)))) > 1000


@pytest.mark.parametrize("platform, exact", [("cpu", False), ("cuda", True), ("tpu", True)])
def test_precision(extractors, platform, exact):
    """Every product is one of full float32 also where the default is a coarser one."""
    params, resize = extractors["legacy-tf"].apply.args
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), params)
    apply = jax.jit(lambda params, images: inception._apply(params, resize, images))
    images = jax.ShapeDtypeStruct((8, 32, 32, 3), jnp.float32)
    lowered = apply.trace(shapes, images).lower(lowering_platforms=(platform,)).as_text()
    products = [
        line for line in lowered.splitlines() if "stablehlo.convolution" in line or "dot_general" in line
    ]
    # 94 convolutions, of which 37 are 10 products, and the last layer.
    assert len(products) >= 68
    assert {"HIGHEST" in line for line in products} == {exact}


def test_protocols_cannot_be_confused(extractors, path):
    legacy, clean = extractors["legacy-tf"], extractors["clean"]
    assert legacy.name != clean.name and legacy.resize != clean.resize and legacy.sha256 == clean.sha256
    texts = {str(Protocol("fd", f"{e.name}@{e.sha256}", e.resize, 2, "x")) for e in (legacy, clean)}
    assert len(texts) == 2
    with pytest.raises(UserError, match="protocol is 'pytorch': valid are legacy-tf, clean"):
        load_inception.__wrapped__(path, "pytorch", sha256=None)


@pytest.mark.parametrize("protocol", ["legacy-tf", "clean"])
def test_shapes(extractors, protocol):
    apply = functools.partial(jax.eval_shape, extractors[protocol].apply)
    for shape in [(2, 299, 299, 3), (1, 299, 299, 1)]:
        assert [y.shape for y in apply(jnp.zeros(shape))] == [(shape[0], 2048), (shape[0], 1008)]
    for shape in [(2, 299, 299, 4), (2, 299, 299), (2, 299, 299, 0)]:
        with pytest.raises(UserError, match=r"takes colour, \[B,H,W,3\], or grayscale"):
            apply(jnp.zeros(shape))
    small = jnp.zeros((2, 28, 32, 1))
    if protocol == "legacy-tf":
        assert apply(small)[0].shape == (2, 2048)
    else:
        with pytest.raises(UserError, match="resized by the extractor's `prepare`"):
            apply(small)


def test_files_that_are_refused(tmp_path, path, arrays):
    with pytest.raises(
        UserError, match=r"missing\.pth'.*Download it from https://github\.com/toshas/torch-fidelity"
    ):
        load_inception(tmp_path / "missing.pth")
    # These are not the weights that distances are published with.
    with pytest.raises(
        UserError, match="where 6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
    ):
        load_inception(path)
    other = tmp_path / "other.safetensors"
    safetensors.numpy.save_file(
        {k: v for k, v in arrays.items() if not k.startswith("Mixed_7c.branch_pool.")}, other
    )
    with pytest.raises(
        UserError, match="not weights of the Inception network of 2015-12-05; these arrays differ: Mixed"
    ):
        load_inception(other, sha256=None)


def windows(x, stride, padding):
    """Every 3x3 window over a map, of the pixels that are there: {(i, j): array}."""
    low = 1 if padding else 0
    starts = range(-low, x.shape[0] + low - 2, stride)
    return [[x[max(i, 0) : i + 3, max(j, 0) : j + 3] for j in starts] for i in starts]


@pytest.mark.parametrize("size", [5, 8])
def test_pooling(size):
    x = np.random.default_rng(0).normal(size=(size, size)).astype(np.float32) - 3
    images = jnp.asarray(x)[None, :, :, None]
    means = [[w.mean() for w in row] for row in windows(x, 1, padding=True)]
    np.testing.assert_allclose(average_pool(images)[0, ..., 0], means, rtol=1e-5)
    maxima = [[w.max() for w in row] for row in windows(x, 2, padding=False)]
    np.testing.assert_array_equal(max_pool(images)[0, ..., 0], maxima)
    maxima = [[w.max() for w in row] for row in windows(x, 1, padding=True)]
    np.testing.assert_array_equal(max_pool(images, 1, "SAME")[0, ..., 0], maxima)
