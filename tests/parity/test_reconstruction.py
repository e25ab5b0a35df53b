"""PSNR and SSIM against scikit-image, and MS-SSIM against torchmetrics."""

import importlib.util
import logging
import pathlib
import sys
import types

import jax
import numpy as np
import pytest

from genjax.metrics.reconstruction import ms_ssim, psnr, ssim

IMAGE = "torchmetrics.functional.image"


def test_equals_scikit_image():
    metrics = pytest.importorskip("skimage.metrics")
    rng = np.random.default_rng(0)
    x = np.float32(rng.uniform(-1, 1, size=(3, 20, 17, 3)))
    y = np.float32(np.clip(x + 0.3 * rng.normal(size=x.shape), -1, 1))
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 2.0}
    pairs = list(zip(np.float64(x), np.float64(y), strict=True))
    expected = [metrics.structural_similarity(a, b, channel_axis=-1, **options) for a, b in pairs]
    np.testing.assert_allclose(jax.jit(ssim)(x, y), expected, atol=1e-6)
    expected = [metrics.peak_signal_noise_ratio(a, b, data_range=2.0) for a, b in pairs]
    np.testing.assert_allclose(jax.jit(psnr)(x, y), expected, rtol=1e-6)


@pytest.fixture(scope="module")
def torchmetrics():
    """Its functions of images: ``(name, a, b) -> float64[N]``, of float[N,H,W,C] in [0, 1].

    Its file of structural similarity alone: to import the whole would import torch-fidelity where that is installed,
    and torchvision with it.
    """
    torch = pytest.importorskip("torch")
    spec = importlib.util.find_spec("torchmetrics")
    if spec is None:
        pytest.skip("torchmetrics is not installed")
    (path,) = spec.submodule_search_locations
    packages = {name: types.ModuleType(name) for name in ("torchmetrics", "torchmetrics.functional", IMAGE)}
    for name, package in packages.items():
        package.__path__ = [str(pathlib.Path(path, *name.split(".")[1:]))]
    packages["torchmetrics"]._logger = logging.getLogger("torchmetrics")
    before = {
        name: sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] == "torchmetrics"
    }
    sys.modules |= packages
    try:
        module = importlib.import_module(f"{IMAGE}.ssim")
    finally:
        for name in [name for name in sys.modules if name.split(".")[0] == "torchmetrics"]:
            del sys.modules[name]
        sys.modules |= before

    def call(name, *images, **options):
        given = [torch.from_numpy(np.float64(x)).permute(0, 3, 1, 2) for x in images]
        return getattr(module, name)(*given, data_range=1.0, **options)

    return call


@pytest.mark.parametrize("shape", [(3, 176, 179, 3), (1, 190, 256, 1)])
def test_ms_ssim_equals_torchmetrics(shape, torchmetrics):
    # Of several sizes of structure, so that no scale is without.
    rng = np.random.default_rng(0)
    x = np.mean([rng.uniform(size=(shape[0], -(-shape[1] // k), -(-shape[2] // k), shape[3])).repeat(k, 1).repeat(k, 2)
                 [:, : shape[1], : shape[2]] for k in (1, 4, 16)], axis=0)  # fmt: skip
    noise = np.reshape([0.02, 0.1, 0.5][: shape[0]], (-1, 1, 1, 1))
    x, y = np.float32(x), np.float32(np.clip(x + noise * rng.normal(size=shape), 0, 1))
    expected = torchmetrics("multiscale_structural_similarity_index_measure", x, y, reduction="none")
    found = jax.jit(lambda x, y: ms_ssim(x, y, 1.0, reflect=True))(x, y)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    # Two scales with other weights.
    weights = (0.4, 0.6)
    expected = torchmetrics(
        "multiscale_structural_similarity_index_measure", x, y, reduction="none", betas=weights
    )
    found = jax.jit(lambda x, y: ms_ssim(x, y, 1.0, weights=weights, reflect=True))(x, y)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_parts_of_ms_ssim_away_from_the_edges_equal_torchmetrics(torchmetrics):
    """By default no window reaches over an edge: the last scale is the middle of torchmetrics' map of similarities."""
    rng = np.random.default_rng(0)
    x, y = (np.float32(rng.uniform(size=(2, 24, 23, 3))) for _ in range(2))
    _, everywhere = torchmetrics("structural_similarity_index_measure", x, y, return_full_image=True)
    expected = everywhere[:, :, 5:-5, 5:-5].mean((1, 2, 3)).numpy()
    np.testing.assert_allclose(jax.jit(lambda x, y: ssim(x, y, 1.0))(x, y), expected, atol=1e-5)
    np.testing.assert_allclose(
        jax.jit(lambda x, y: ms_ssim(x, y, 1.0, weights=(1.0,)))(x, y), np.maximum(expected, 0), atol=1e-5
    )
