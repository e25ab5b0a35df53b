"""Single layers in PyTorch, in channels_last format, with Linen's weights."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from experiments.bench import torch_weights
from experiments.bench.torch_unet import attention, attention_layers, group_norm


class Peer(NamedTuple):
    """One thing to time: `run` does it, `arrays` converts what it returns to what Linen returns."""

    run: Callable[[], Any]
    arrays: Callable[[Any], list[np.ndarray]]


def peers(layer: Any, params: Any, x: np.ndarray, dy: np.ndarray) -> dict[str, Peer]:
    """Part -> what PyTorch does for it.

    Args:
        layer: a `layers.Layer`.
        params: its parameters.
        x: float[B,H,W,C], the input.
        dy: gradient in the output.
    """
    import torch

    modules, apply = _KINDS[layer.kind](layer)
    if params:
        torch_weights.load(modules, params)
    modules = modules.to(memory_format=torch.channels_last)
    given, gradient = torch_weights.images(x).requires_grad_(), torch_weights.images(dy)
    output = apply(given)
    weights = list(modules.parameters())

    def forward() -> Any:
        with torch.no_grad():
            return apply(given)

    def gradients(inputs: list) -> Callable[[], Any]:
        return lambda: torch.autograd.grad(output, inputs, gradient, retain_graph=True)

    def both() -> Any:
        y = apply(given)
        return y, *torch.autograd.grad(y, [given, *weights], gradient)

    def kernel(grads: Any) -> list[np.ndarray]:
        return [torch_weights.to_linen(grads[0].numpy(), type(modules).__name__)]

    parts = {
        "forward": Peer(forward, lambda y: [_nhwc(y)]),
        "input_gradient": Peer(gradients([given]), lambda grads: [_nhwc(grads[0])]),
        "forward_backward": Peer(both, lambda results: [_nhwc(results[0]), _nhwc(results[1])]),
    }
    return parts | ({"kernel_gradient": Peer(gradients(weights), kernel)} if weights else {})


def _nhwc(x: Any) -> np.ndarray:
    return x.detach().permute(0, 2, 3, 1).numpy()


def _conv(layer: Any) -> tuple[Any, Callable]:
    from torch import nn

    if layer.kernel % 2 == 0 and layer.kernel != 2 * layer.stride:
        raise ValueError(f"kernel={layer.kernel}, stride={layer.stride}: SAME padding is not PyTorch's")
    module = nn.Conv2d(
        layer.shape[-1],
        layer.features,
        layer.kernel,
        stride=layer.stride,
        padding=(layer.kernel - layer.stride + 1) // 2,
        groups=layer.groups,
        bias=False,
    )
    return module, module


def _conv_transpose(layer: Any) -> tuple[Any, Callable]:
    from torch import nn

    module = nn.ConvTranspose2d(
        layer.shape[-1],
        layer.features,
        layer.kernel,
        stride=layer.stride,
        padding=(layer.kernel - layer.stride) // 2,
        bias=False,
    )
    return module, module


def _group_norm(layer: Any) -> tuple[Any, Callable]:
    module = group_norm(layer.shape[-1])
    return module, module


def _max_pool(layer: Any) -> tuple[Any, Callable]:
    from torch import nn

    module = nn.MaxPool2d(layer.kernel)
    return module, module


def _attention(layer: Any) -> tuple[Any, Callable]:
    modules = attention_layers(layer.shape[-1])
    return modules, lambda x: attention(modules, x, layer.head_channels)


_KINDS: dict[str, Callable[[Any], tuple[Any, Callable]]] = {
    "conv": _conv,
    "conv_transpose": _conv_transpose,
    "group_norm": _group_norm,
    "max_pool": _max_pool,
    "attention": _attention,
}
"""Kind of layer -> its modules, and what they do with [B,C,H,W]."""
