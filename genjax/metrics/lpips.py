"""LPIPS: how different two images look, by the features of AlexNet or VGG16, weighted by what people said.

The distance itself is `genjax.losses.perceptual.perceptual`; here are the two networks that the published weights
belong to, and how their files are read. Nothing is downloaded. What is needed:

* the network's weights as torchvision publishes them: ``https://download.pytorch.org/models/alexnet-owt-7be5be79.pth``
  or ``.../vgg16-397923af.pth``;
* the learned weights of its layers, which are part of the package lpips (a few kilobytes; ``pip install --no-deps
  lpips`` is enough, it is not imported).

Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric" (2018).
"""

import functools
import importlib.util
import os
import pathlib
import re
from collections.abc import Mapping
from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from genjax.losses.perceptual import Distance, perceptual
from genjax.metrics import weight_files
from genjax.nn.convolution import conv_general_dilated
from genjax.nn.pooling import max_pool
from genjax.typing import Array, UserError

PUBLISHED = "published"
"""Stands for the digest of the published file."""

_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
"""Of red, green and blue: from [-1, 1] to what the networks were trained on, the colours of ImageNet standardised."""


class Conv(NamedTuple):
    """A convolution: its number in torchvision's network, channels, width of the kernel, stride and padding."""

    number: int
    channels: int
    kernel: int = 3
    stride: int = 1
    padding: int = 1


class Backbone(NamedTuple):
    """A network up to the last feature map that is compared.

    Attributes:
        sha256: how the digest of the published weights begins; torchvision writes it into the name of the file.
        heads: digest of the weights of the layers in the package lpips, version 0.1 of them.
        stages: convolutions up to each feature map, a ReLU after each.
        pooled: the stages that begin with a max pooling of stride 2.
        window: width of these poolings.
        smallest: images of fewer pixels end in nothing.
    """

    sha256: str
    heads: str
    stages: tuple[tuple[Conv, ...], ...]
    pooled: tuple[int, ...]
    window: int
    smallest: int


BACKBONES = {
    "alex": Backbone(
        "7be5be79",
        "df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0",
        (
            (Conv(0, 64, 11, 4, 2),),
            (Conv(3, 192, 5, 1, 2),),
            (Conv(6, 384),),
            (Conv(8, 256),),
            (Conv(10, 256),),
        ),
        pooled=(1, 2),
        window=3,
        smallest=31,
    ),
    "vgg": Backbone(
        "397923af",
        "a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868",
        (
            (Conv(0, 64), Conv(2, 64)),
            (Conv(5, 128), Conv(7, 128)),
            (Conv(10, 256), Conv(12, 256), Conv(14, 256)),
            (Conv(17, 512), Conv(19, 512), Conv(21, 512)),
            (Conv(24, 512), Conv(26, 512), Conv(28, 512)),
        ),
        pooled=(1, 2, 3, 4),
        window=2,
        smallest=16,
    ),
}
"""Of Krizhevsky (2014) and of Simonyan and Zisserman (2015, configuration D), without their classifiers."""


def load_lpips(
    path: str | os.PathLike[str],
    backbone: str = "alex",
    *,
    sha256: str | None = PUBLISHED,
    heads: str | os.PathLike[str] | None = None,
    heads_sha256: str | None = PUBLISHED,
) -> Distance:
    """The LPIPS distance, version 0.1: ``(images, references) -> float[B]``, pure and differentiable; the caller jits.

    The distance takes float32[B,H,W,3] in [-1, 1], of any size from 31 pixels on (16 for "vgg"), and is 0 for equal
    images. Authors report "alex" as the metric and train with "vgg"; their values are not comparable.

    Args:
        path: path of the network's weights: torchvision's state dictionary, as .pth or as safetensors. What belongs to
            its classifier may be left out.
        backbone: "alex" or "vgg".
        sha256: hexadecimal digest that this file must have; by default it must begin as the digest of torchvision's
            file does. None accepts any.
        heads: of the weights of the layers, one array each; None: those in the installed package lpips.
        heads_sha256: as `sha256`, of that file.

    Raises:
        UserError: an unknown backbone, no such file, another digest, arrays that are not the network's, or lpips not
            installed; from the distance, images that are not in colour or too small.

    References:
        Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric" (2018), equation 1;
        the scaling of the colours came with version 0.1 of the weights.
    """
    if backbone not in BACKBONES:
        raise UserError(f"backbone={backbone!r}: valid are {', '.join(map(repr, BACKBONES))}")
    network = BACKBONES[backbone]
    if heads is None:
        heads = _installed(backbone)
    if heads_sha256 == PUBLISHED:
        heads_sha256 = network.heads
    weights = load_heads(heads, heads_sha256)
    expected = [stage[-1].channels for stage in network.stages]
    if [len(w) for w in weights] != expected:
        raise UserError(
            f"heads is {str(heads)!r}, with layers of {[len(w) for w in weights]} channels: those of {backbone!r} have "
            f"{expected}"
        )
    return perceptual(functools.partial(feature_maps, network, _load(path, network, sha256)), weights)


def load_heads(path: str | os.PathLike[str], sha256: str | None) -> tuple[Array, ...]:
    """Reads the learned weights of LPIPS for `genjax.losses.perceptual.perceptual`.

    Args:
        path: path of a file with one array for each layer, float[c] or, as in the published state dictionaries,
            float[1,c,1,1]. The first number in the name of an array ("lin0.model.1.weight") is the number of its layer.
        sha256: hexadecimal digest that the file must have; None accepts any.

    Returns:
        For each layer its weights, of shape [c].

    Raises:
        UserError: no such file, another digest, or a file that holds something else.
    """
    _, arrays = weight_files.read(path, sha256)
    layers = {}
    for name, array in arrays.items():
        number = re.search(r"\d+", name)
        if number is None or int(number[0]) in layers or array.size != max(array.shape) or array.min() < 0:
            raise UserError(
                f"path is {str(path)!r}: {name!r} of shape {array.shape} is not the weights of one layer; valid are "
                "numbers of at least 0 in one array a layer, with the number of the layer in its name"
            )
        layers[int(number[0])] = jnp.asarray(array.ravel(), jnp.float32)
    return tuple(layers[i] for i in sorted(layers))


def feature_maps(
    network: Backbone, params: Mapping[int, tuple[Array, Array]], images: Float[Array, "B H W C"]
) -> tuple[Array, ...]:
    """What the last ReLU of each stage puts out: float32[B,h,w,c] each.

    Args:
        network: one of `BACKBONES`.
        params: number of each convolution -> its kernel float32[k,k,c,c'] and bias float32[c'].
        images: in [-1, 1], in colour.

    Raises:
        UserError: for images that are not in colour, or smaller than the network can see.
    """
    if images.shape[-1] != 3 or min(images.shape[1:3]) < network.smallest:
        raise UserError(
            f"images has shape {images.shape}: this network takes [B,H,W,3] of at least "
            f"{network.smallest}x{network.smallest} pixels; repeat the channel of grayscale images, enlarge small ones"
        )
    shift, scale = (jnp.asarray(x, jnp.float32).reshape(1, 1, 1, 3) for x in (_SHIFT, _SCALE))
    x = (images.astype(jnp.float32) - shift) / scale
    maps = []
    for i, stage in enumerate(network.stages):
        if i in network.pooled:
            x = max_pool(x, (network.window,) * 2, (2, 2))
        for conv in stage:
            kernel, bias = params[conv.number]
            padding = ((conv.padding, conv.padding),) * 2
            x = conv_general_dilated(
                x, kernel, (conv.stride,) * 2, padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
            )
            x = nn.relu(x + bias.reshape(1, 1, 1, -1))
        maps.append(x)
    return tuple(maps)


def _load(
    path: str | os.PathLike[str], network: Backbone, sha256: str | None
) -> dict[int, tuple[Array, Array]]:
    """`params` of `feature_maps`."""
    digest, arrays = weight_files.read(path, None if sha256 == PUBLISHED else sha256)
    if sha256 == PUBLISHED and not digest.startswith(network.sha256):
        raise UserError(
            f"path is {str(path)!r}, whose SHA-256 is {digest} where that of torchvision's file begins with "
            f"{network.sha256}: the file is damaged, converted or holds other weights. Give its own digest as "
            "sha256, or None to accept any"
        )
    params, channels = {}, 3
    for conv in (conv for stage in network.stages for conv in stage):
        names = [f"features.{conv.number}.{kind}" for kind in ("weight", "bias")]
        shapes = [(conv.channels, channels, conv.kernel, conv.kernel), (conv.channels,)]
        for name, shape in zip(names, shapes, strict=True):
            found = arrays[name].shape if name in arrays else "missing"
            if found != shape:
                raise UserError(
                    f"path is {str(path)!r}: not the network's weights, {name!r} of shape {shape} is {found}"
                )
        kernel, bias = (np.asarray(arrays[name], np.float32) for name in names)
        params[conv.number] = jnp.asarray(kernel.transpose(2, 3, 1, 0)), jnp.asarray(bias)
        channels = conv.channels
    return params


def _installed(backbone: str) -> pathlib.Path:
    """The weights of the layers in the package lpips, found without importing it, which would take torchvision."""
    package = importlib.util.find_spec("lpips")
    if package is None or not package.submodule_search_locations:
        raise UserError(
            "heads=None: the weights of the layers come with the package lpips, which is not installed: "
            f"pip install --no-deps lpips, or give the path of its weights/v0.1/{backbone}.pth"
        )
    return pathlib.Path(package.submodule_search_locations[0], "weights", "v0.1", f"{backbone}.pth")
