"""The Inception network of torch-fidelity, the implementation in PyTorch by which others measure."""

import pathlib
import tempfile
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from experiments.bench import torch_fidelity


def extractor(arrays: Mapping[str, np.ndarray]) -> Callable[[Any], tuple[np.ndarray, np.ndarray]]:
    """Their extractor with these weights: a uint8 tensor [B,3,H,W] -> features [B,2048] and unbiased logits [B,1008].

    Args:
        arrays: a state dict.
    """
    import torch

    network = torch_fidelity.module("feature_extractor_inceptionv3").FeatureExtractorInceptionV3
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
