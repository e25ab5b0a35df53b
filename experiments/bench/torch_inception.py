"""The Inception network of torch-fidelity, the implementation in PyTorch by which others measure."""

import importlib
import importlib.util
import pathlib
import sys
import tempfile
import types
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

PACKAGE = "torch_fidelity"


def installed() -> bool:
    """Whether torch-fidelity is there."""
    return importlib.util.find_spec(PACKAGE) is not None


def module(name: str) -> Any:
    """Module `name` of torch-fidelity, without the rest of the package, which imports torchvision."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None:
        raise ModuleNotFoundError(f"{PACKAGE} is not installed", name=PACKAGE)
    before = set(sys.modules)
    if PACKAGE not in before:
        package = types.ModuleType(PACKAGE)
        package.__path__ = list(spec.submodule_search_locations or [])
        sys.modules[PACKAGE] = package
    try:
        return importlib.import_module(f"{PACKAGE}.{name}")
    finally:
        # Who imports the package later gets all of it.
        if PACKAGE not in before:
            for imported in {n for n in sys.modules if n.split(".")[0] == PACKAGE} - before:
                del sys.modules[imported]


def extractor(arrays: Mapping[str, np.ndarray]) -> Callable[[Any], tuple[np.ndarray, np.ndarray]]:
    """Their extractor with these weights: a uint8 tensor [B,3,H,W] -> features [B,2048] and unbiased logits [B,1008].

    Args:
        arrays: a state dict.
    """
    import torch

    network = module("feature_extractor_inceptionv3").FeatureExtractorInceptionV3
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "weights.pth")
        torch.save({name: torch.from_numpy(array) for name, array in arrays.items()}, path)
        theirs = network("inception", ["2048", "logits_unbiased"], str(path))

    def run(images: Any) -> tuple[np.ndarray, np.ndarray]:
        with torch.inference_mode():
            features, logits = theirs(images)
        return features.numpy(), logits.numpy()

    return run


def images(x: np.ndarray) -> Any:
    """uint8[B,H,W,C] -> a tensor [B,C,H,W]."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2)))
