"""Batch normalisation that is not trained any more, as part of the convolution before it."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32


class Folded(NamedTuple):
    """A convolution and its batch normalisation.

    Attributes:
        kernel: float32[h,w,C,O].
        bias: float32[O].
    """

    kernel: Float32[np.ndarray, "h w C O"]
    bias: Float32[np.ndarray, "O"]


def fold(arrays: Mapping[str, np.ndarray], conv: str, norm: str, epsilon: float) -> Folded:
    """A convolution without bias, followed by batch normalisation with the running mean and variance.

    ``scale * (conv(x, k) - mean) / sqrt(variance + epsilon) + bias`` is ``conv(x, k * r) + bias - mean * r`` with
    ``r = scale / sqrt(variance + epsilon)`` of each output channel; computed in float64.

    Args:
        arrays: a state dict of PyTorch, with ``{conv}.weight`` float[O,C,h,w] and ``{norm}.weight``, ``.bias``,
            ``.running_mean`` and ``.running_var`` float[O].
        conv: name of the convolution.
        norm: name of the normalisation.
        epsilon: epsilon of the normalisation.
    """
    scale, bias, mean, variance = (
        arrays[f"{norm}.{name}"].astype(np.float64)
        for name in ("weight", "bias", "running_mean", "running_var")
    )
    scale = scale / np.sqrt(variance + epsilon)
    kernel = arrays[f"{conv}.weight"].astype(np.float64).transpose(2, 3, 1, 0)
    return Folded((kernel * scale).astype(np.float32), (bias - mean * scale).astype(np.float32))


def state_dict_shapes(conv: str, norm: str, shape: Sequence[int]) -> dict[str, tuple[int, ...]]:
    """What `fold` reads, and the shapes, for a kernel of `shape` (h, w, C, O)."""
    h, w, channels, features = shape
    names = ("weight", "bias", "running_mean", "running_var")
    return {f"{conv}.weight": (features, channels, h, w)} | {f"{norm}.{name}": (features,) for name in names}
