"""LPIPS: files of its weights, its networks' shapes, and what a distance has to be (values: tests/parity)."""

import hashlib
import importlib.util
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from genjax.metrics import lpips
from genjax.metrics.lpips import BACKBONES, feature_maps, load_heads, load_lpips
from genjax.typing import UserError


def save(path, arrays):
    path.write_bytes(safetensors.numpy.save(arrays))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def random_arrays(network):
    """A state dictionary as torchvision's, and heads, both random."""
    rng, arrays, channels = np.random.default_rng(0), {}, 3
    for conv in (conv for stage in network.stages for conv in stage):
        shape = (conv.channels, channels, conv.kernel, conv.kernel)
        scale = np.sqrt(2 / np.prod(shape[1:]))
        arrays[f"features.{conv.number}.weight"] = np.float32(scale * rng.normal(size=shape))
        arrays[f"features.{conv.number}.bias"] = np.float32(0.1 * rng.normal(size=conv.channels))
        channels = conv.channels
    arrays["classifier.6.bias"] = np.zeros(10, np.float32)
    widths = [stage[-1].channels for stage in network.stages]
    heads = {
        f"lin{i}.model.1.weight": np.float32(rng.uniform(size=(1, c, 1, 1))) for i, c in enumerate(widths)
    }
    return arrays, heads


@pytest.fixture(scope="module")
def alex(tmp_path_factory):
    """Options of `load_lpips` for files with random weights."""
    folder = tmp_path_factory.mktemp("alex")
    arrays, heads = random_arrays(BACKBONES["alex"])
    path, heads_path = folder / "alex.safetensors", folder / "heads.safetensors"
    sha256, heads_sha256 = save(path, arrays), save(heads_path, heads)
    return {"path": path, "sha256": sha256, "heads": heads_path, "heads_sha256": heads_sha256}


def images(seed=0, size=40, num=2):
    return jax.random.uniform(jax.random.key(seed), (num, size, size + 3, 3), minval=-1.0)


def test_a_distance(alex):
    distance = jax.jit(load_lpips(**alex))
    x, y = images(0), images(1)
    values = distance(x, y)
    assert values.shape == (2,) and values.dtype == jnp.float32 and (values > 0.01).all()
    np.testing.assert_allclose(distance(y, x), values, rtol=1e-5)
    np.testing.assert_allclose(distance(x, x), 0.0, atol=1e-12)
    # Each image alone.
    np.testing.assert_allclose(distance(x[1:], y[1:]), values[1:], rtol=1e-5)
    # A smaller change is nearer.
    assert (distance(x, x + 0.1 * (y - x)) < values).all()


def test_the_gradient_is_finite_also_at_equal_images(alex):
    distance = load_lpips(**alex)
    gradient = jax.jit(jax.grad(lambda x, y: distance(x, y).sum()))
    x, y = images(0), images(1)
    size = jnp.abs(gradient(x, y)).max()
    assert jnp.isfinite(size) and size > 0
    np.testing.assert_allclose(gradient(x, x), 0.0, atol=1e-5 * size)
    assert jnp.isfinite(gradient(jnp.zeros_like(x), jnp.zeros_like(x))).all()


@pytest.mark.parametrize(
    "name, sizes",
    [("alex", [(15, 11), (7, 5), (3, 2)]), ("vgg", [(64, 48), (32, 24), (16, 12), (8, 6), (4, 3)])],
)
def test_shapes_of_the_feature_maps(name, sizes):
    network = BACKBONES[name]
    arrays = jax.eval_shape(lambda: random_arrays(network)[0])
    params = {
        conv.number: (
            jax.ShapeDtypeStruct(
                [arrays[f"features.{conv.number}.weight"].shape[i] for i in (2, 3, 1, 0)], np.float32
            ),
            arrays[f"features.{conv.number}.bias"],
        )
        for stage in network.stages
        for conv in stage
    }

    def shapes(height, width, channels=3):
        given = jax.ShapeDtypeStruct((2, height, width, channels), np.float32)
        maps = jax.eval_shape(lambda params, images: feature_maps(network, params, images), params, given)
        return [x.shape for x in maps]

    sizes = sizes + sizes[-1:] * (5 - len(sizes))
    channels = [stage[-1].channels for stage in network.stages]
    assert shapes(64, 48) == [(2, *size, c) for size, c in zip(sizes, channels, strict=True)]
    smallest = network.smallest
    assert shapes(smallest, smallest)[-1][1:3] == (1, 1)
    for wrong in ((smallest - 1, 64), (64, smallest - 1), (64, 64, 1)):
        with pytest.raises(UserError, match=rf"images has shape .*at least {smallest}x{smallest}"):
            shapes(*wrong)
    # The smallest is the smallest: one pixel less leaves a feature map without any.
    lenient = network._replace(smallest=1)
    maps = jax.eval_shape(
        lambda params, x: feature_maps(lenient, params, x),
        params,
        jax.ShapeDtypeStruct((1, smallest - 1, 64, 3), np.float32),
    )
    assert 0 in maps[-1].shape


def test_the_scaling_of_colours():
    """ImageNet's means and standard deviations in [0, 1], said for [-1, 1]."""
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    np.testing.assert_allclose(lpips._SHIFT, 2 * mean - 1, atol=1e-9)
    np.testing.assert_allclose(lpips._SCALE, 2 * deviation, atol=1e-9)


def test_other_weights_are_refused(alex, tmp_path):
    with pytest.raises(UserError, match="backbone='squeeze': valid are 'alex', 'vgg'"):
        load_lpips(**alex, backbone="squeeze")
    with pytest.raises(
        UserError, match=r"heads is .*channels: those of 'vgg' have \[64, 128, 256, 512, 512\]"
    ):
        load_lpips(**alex, backbone="vgg")
    published = alex | {"sha256": lpips.PUBLISHED}
    with pytest.raises(UserError, match=r"begins with 7be5be79.*sha256"):
        load_lpips(**published)
    with pytest.raises(UserError, match=r"where df73285e35b2.* is expected"):
        load_lpips(**(alex | {"heads_sha256": lpips.PUBLISHED}))
    with pytest.raises(UserError, match="where 00 is expected"):
        load_lpips(**(alex | {"sha256": "00"}))
    arrays, _ = random_arrays(BACKBONES["alex"])
    for change, message in (
        ({"features.3.bias": np.zeros(5, np.float32)}, r"'features.3.bias' of shape \(192,\) is \(5,\)"),
        ({"features.3.bias": None}, r"'features.3.bias' of shape \(192,\) is missing"),
    ):
        path = tmp_path / "changed.safetensors"
        save(path, {name: x for name, x in (arrays | change).items() if x is not None})
        with pytest.raises(UserError, match=message):
            load_lpips(**(alex | {"path": path, "sha256": None}))


def test_a_file_whose_digest_begins_as_the_published_one(alex, monkeypatch):
    begins = BACKBONES["alex"]._replace(sha256=alex["sha256"][:8])
    monkeypatch.setitem(BACKBONES, "alex", begins)
    load_lpips(**(alex | {"sha256": lpips.PUBLISHED}))


def test_heads_of_the_installed_package(alex, tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "lpips", raising=False)
    with monkeypatch.context() as absent:
        absent.setattr(importlib.util, "find_spec", lambda name: None)
        with pytest.raises(UserError, match=r"heads=None.*pip install --no-deps lpips"):
            load_lpips(**(alex | {"heads": None}))
    # A package that must not be imported.
    package = tmp_path / "lpips"
    (package / "weights" / "v0.1").mkdir(parents=True)
    (package / "__init__.py").write_text("raise AssertionError('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    read = []
    monkeypatch.setattr(lpips, "load_heads", lambda *arguments: read.append(arguments) or ())
    for name, network in BACKBONES.items():
        with pytest.raises(UserError, match=r"layers of \[\] channels"):
            load_lpips("unread", name)
        assert read.pop() == (package / "weights" / "v0.1" / f"{name}.pth", network.heads)


def test_heads_from_a_file(tmp_path):
    path = tmp_path / "heads.safetensors"
    # In the order of the layers, not of the alphabet.
    layers = {f"lin{i}.model.1.weight": np.full((1, i + 1, 1, 1), i, np.float32) for i in range(11)}
    digest = save(path, layers)
    loaded = load_heads(path, digest)
    assert [w.shape for w in loaded] == [(i + 1,) for i in range(11)]
    assert [float(w[0]) for w in loaded] == list(range(11))
    with pytest.raises(UserError, match=rf"{digest} where 00 is expected"):
        load_heads(path, "00")


def test_other_files_of_heads_are_refused(tmp_path):
    path = tmp_path / "other.safetensors"
    with pytest.raises(UserError, match="no such weights file"):
        load_heads(path, None)
    one = np.ones(3, np.float32)
    for wrong in (
        {"lin": one},
        {"lin0": -one},
        {"lin0": one, "lin0.bias": one},
        {"lin0": np.ones((3, 3), np.float32)},
    ):
        save(path, wrong)
        with pytest.raises(UserError, match="is not the weights of one layer"):
            load_heads(path, None)
