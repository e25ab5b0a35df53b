"""Arrays of Linen as tensors of PyTorch and back. No jax in here: see `specs`."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np


def load(module: Any, params: Mapping[str, Any]) -> None:
    """Copies Linen's parameters into the layers of the same names; every one of them must have its place.

    Raises:
        ValueError: names or shapes differ.
    """
    import torch

    def walk(module: Any, params: Mapping[str, Any], path: str) -> None:
        children = dict(module.named_children())
        own = dict(module.named_parameters(recurse=False))
        arrays: Mapping[str, Any] = to_torch(params, type(module).__name__) if own else params
        if arrays.keys() != (own or children).keys():
            raise ValueError(
                f"{path or 'network'}: PyTorch has {sorted(own or children)}, Linen {sorted(arrays)}"
            )
        for name, tensor in own.items():
            if tensor.shape != arrays[name].shape:
                raise ValueError(
                    f"{path}/{name}: PyTorch has {tuple(tensor.shape)}, Linen {arrays[name].shape}"
                )
            tensor.copy_(torch.from_numpy(np.ascontiguousarray(arrays[name])))
        for name, child in children.items():
            walk(child, arrays[name], f"{path}/{name}")

    with torch.no_grad():
        walk(module, params, "")


def to_torch(params: Mapping[str, Any], layer: str) -> dict[str, np.ndarray]:
    """Parameters of one Linen layer by PyTorch's names and axes; `layer` is the class in PyTorch."""
    convert = _TO_TORCH.get(layer, np.asarray)
    return {_NAMES[name]: convert(np.asarray(x)) if x.ndim > 1 else x for name, x in params.items()}


def to_linen(weight: np.ndarray, layer: str) -> np.ndarray:
    """A weight, or its gradient, of a class in PyTorch, as Linen has it."""
    return _TO_LINEN.get(layer, np.asarray)(weight)


def images(x: np.ndarray) -> Any:
    """float[B,H,W,C] -> a tensor [B,C,H,W] in channels_last format: the same order in memory."""
    import torch

    return torch.tensor(x).permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)


def mirrored(params: Mapping[str, Any], shape: tuple[int, int, int]) -> dict[str, Any]:
    """Weights of `networks.VAE` such that it does to images turned by 180 degrees what it did to upright ones.

    Where a stride needs an odd number of zeros, "SAME" puts the larger part at the end, PyTorch's `padding` at the
    beginning. Turned images meet the same zeros in both, and PyTorch needs no padding or cropping of its own.

    Args:
        params: parameters of the encoder and of the decoder.
        shape: H, W, C of the features between convolutions and dense layers.
    """

    def turn(path: tuple[str, ...], x: Any) -> Any:
        if isinstance(x, Mapping):
            return {name: turn((*path, name), leaf) for name, leaf in x.items()}
        if x.ndim == 4:
            return x[::-1, ::-1]
        axis = [i for i, n in enumerate(x.shape) if n == math.prod(shape)]
        if path[-2] != "hidden" or not axis:
            return x
        outer, inner = x.shape[: axis[0]], x.shape[axis[0] + 1 :]
        unfolded = x.reshape(*outer, *shape, *inner)
        return np.flip(unfolded, (axis[0], axis[0] + 1)).reshape(x.shape)

    return turn((), params)


def _turned(x: np.ndarray) -> np.ndarray:
    """A transposed convolution of PyTorch is the gradient of a convolution: its kernel is turned by 180 degrees."""
    return x[::-1, ::-1].transpose(2, 3, 0, 1)


_NAMES = {"kernel": "weight", "scale": "weight", "embedding": "weight", "bias": "bias"}
_TO_TORCH: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "Conv2d": lambda x: x.transpose(3, 2, 0, 1),
    "ConvTranspose2d": _turned,
    "Linear": np.transpose,
}
_TO_LINEN: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "Conv2d": lambda x: x.transpose(2, 3, 1, 0),
    "ConvTranspose2d": lambda x: x.transpose(2, 3, 0, 1)[::-1, ::-1],
    "Linear": np.transpose,
}
"""Class in PyTorch -> its weight from Linen's kernel, and back."""
