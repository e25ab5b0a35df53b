"""`python -m experiments.bench inception`: what it measures, on a network that does next to nothing."""

import dataclasses

import numpy as np
import pytest

from experiments.bench import inception, libraries, torch_fidelity, torch_inception
from genjax.metrics.extractor import Extractor
from genjax.typing import UserError

OPTIONS = inception.Options(only=("legacy-tf",), image_size=4, batch_size=2, repeats=2, seconds=0.01)


def features(images):
    flat = images.reshape(len(images), -1)
    return flat[:, :5], flat[:, 5:7]


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """In place of the network and of torch-fidelity's: pixels."""

    def load(path, protocol, *, sha256):
        assert path.is_file() and sha256 is None
        return Extractor(protocol, "", 5, "", features)

    def theirs(arrays):
        assert arrays.keys() == {"fc.weight", "fc.bias"}
        return lambda images: features((2 * images.astype(np.float32) - 255) / 255)

    monkeypatch.setattr(inception.inception, "load_inception", load)
    monkeypatch.setattr(
        inception.inception, "state_dict_shapes", lambda: {"fc.weight": (2, 3), "fc.bias": (2,)}
    )
    monkeypatch.setattr(torch_inception, "extractor", theirs)
    monkeypatch.setattr(torch_inception, "images", lambda x: x)
    monkeypatch.setattr(torch_fidelity, "installed", lambda: True)
    monkeypatch.setattr(libraries, "torch_installed", lambda: True)


def test_ratio(capsys):
    results = inception.bench(OPTIONS)["legacy-tf"]
    assert results["images_per_second"]["median"] > 0 and results["compile_seconds"] > 0
    rates = results["against"]["torch"]
    assert rates["ratio"]["min"] <= rates["ratio"]["median"] and rates["images_per_second"]["median"] > 0
    assert "against torch ratio" in capsys.readouterr().out


def test_other_features_are_an_error(monkeypatch):
    monkeypatch.setattr(
        torch_inception, "extractor", lambda arrays: lambda images: features(images.astype(np.float32))
    )
    with pytest.raises(UserError, match=r"its features differ by .* of the largest, more than 0\.0001"):
        inception.bench(OPTIONS)


def test_where_there_is_nothing_to_compare_with(monkeypatch):
    both = inception.bench(dataclasses.replace(OPTIONS, only=()))
    assert list(both) == ["legacy-tf", "clean"]
    assert both["clean"]["against"] == {"torch": "torch-fidelity has no such protocol"}
    assert inception.bench(dataclasses.replace(OPTIONS, against=()))["legacy-tf"]["against"] == {}
    monkeypatch.setattr(torch_fidelity, "installed", lambda: False)
    assert "not installed: pip install" in inception.bench(OPTIONS)["legacy-tf"]["against"]["torch"]


def test_wrong_options():
    with pytest.raises(UserError, match="only='tf2': valid are legacy-tf, clean"):
        inception.bench(dataclasses.replace(OPTIONS, only=("tf2",)))
    with pytest.raises(UserError, match=r"batch_size=\[0, 4\]"):
        inception.bench(dataclasses.replace(OPTIONS, batch_size=0))


def test_random_arrays():
    shapes = {"a.weight": (64, 32, 3, 3), "b.running_var": (1000,), "b.weight": (1000,), "b.bias": (1000,)}
    arrays = inception.random_arrays(shapes)
    assert {name: array.shape for name, array in arrays.items()} == shapes
    assert {array.dtype for array in arrays.values()} == {np.dtype(np.float32)}
    np.testing.assert_allclose(arrays["a.weight"].std(), (2 / 288) ** 0.5, rtol=0.05)
    assert arrays["b.running_var"].min() > 0
    np.testing.assert_array_equal(inception.random_arrays(shapes)["b.bias"], arrays["b.bias"])
