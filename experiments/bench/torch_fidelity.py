"""torch-fidelity without torchvision, which what is compared does not need: its functions of features, any module."""

import importlib
import importlib.util
import sys
import types
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class Fidelity(NamedTuple):
    """torch-fidelity's metrics, of arrays.

    Attributes:
        kid: ``(real, generated, **options) -> (mean, std)``.
        inception_score: ``(logits) -> (mean, std)``.
        precision_recall: ``(real, generated) -> (precision, recall)``.
        frechet_distance: ``(mean1, cov1, mean2, cov2) -> float``.
    """

    kid: Callable[..., tuple[float, float]]
    inception_score: Callable[[np.ndarray], tuple[float, float]]
    precision_recall: Callable[[np.ndarray, np.ndarray], tuple[float, float]]
    frechet_distance: Callable[..., float]


def installed() -> bool:
    """Whether torch and torch-fidelity can be imported."""
    return all(importlib.util.find_spec(name) is not None for name in ("torch", "torch_fidelity"))


def load() -> Fidelity:
    """The functions; torch and torch-fidelity must be `installed`."""
    import torch

    fid, isc, kid, prc = (module(f"metric_{name}") for name in ("fid", "isc", "kid", "prc"))

    def tensor(x: np.ndarray) -> Any:
        return torch.from_numpy(np.ascontiguousarray(x))

    def values(found: dict[str, float]) -> tuple[float, float]:
        first, second, *_ = found.values()
        return first, second

    def distance(mean1: np.ndarray, cov1: np.ndarray, mean2: np.ndarray, cov2: np.ndarray) -> float:
        found = fid.fid_statistics_to_metric(
            {"mu": mean1, "sigma": cov1}, {"mu": mean2, "sigma": cov2}, verbose=False
        )
        return float(found[fid.KEY_METRIC_FID])

    def kernel(real: np.ndarray, generated: np.ndarray, **options: int) -> tuple[float, float]:
        named = {f"kid_{name}": value for name, value in options.items()}
        return values(kid.kid_features_to_metric(tensor(real), tensor(generated), verbose=False, **named))

    return Fidelity(
        kernel,
        lambda logits: values(isc.isc_features_to_metric(tensor(logits))),
        # Its first set is the generated one.
        lambda real, generated: values(
            prc.prc_features_to_metric(tensor(generated), tensor(real), verbose=False)
        ),
        distance,
    )


def module(name: str) -> Any:
    """A module of torch-fidelity. Its modules that read images, and so import torchvision, are left out."""
    before = {key: module for key, module in sys.modules.items() if key.split(".")[0] == "torch_fidelity"}
    spec = importlib.util.find_spec("torch_fidelity")
    assert spec is not None and spec.submodule_search_locations is not None
    package, utils = types.ModuleType("torch_fidelity"), types.ModuleType("torch_fidelity.utils")
    package.__path__ = list(spec.submodule_search_locations)
    utils.__getattr__ = lambda _: None  # type: ignore[method-assign]
    for key in before:
        del sys.modules[key]
    sys.modules.update({"torch_fidelity": package, "torch_fidelity.utils": utils})
    try:
        return importlib.import_module(f"torch_fidelity.{name}")
    finally:
        for key in [key for key in sys.modules if key.split(".")[0] == "torch_fidelity"]:
            del sys.modules[key]
        sys.modules.update(before)
