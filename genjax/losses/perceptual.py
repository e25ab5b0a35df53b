"""How different two images look: the distance of their features in a network that was trained to recognise images.

Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric" (2018).
"""

import hashlib
import os
import pathlib
import re
from collections.abc import Callable, Sequence
from typing import TypeAlias

import jax.numpy as jnp
import safetensors
import safetensors.numpy
from jaxtyping import Float

from genjax.typing import Array, UserError

Features: TypeAlias = Callable[[Array], tuple[Array, ...]]
"""``images float[B,H,W,C] -> feature maps (float[B,h,w,c], ...)``, one of each layer that is compared."""

Distance: TypeAlias = Callable[[Array, Array], Array]
"""``(images float[B,H,W,C], images float[B,H,W,C]) -> float[B]``."""

# Keeps the gradient finite where all channels are 0, as they often are behind a ReLU.
_TINY = 1e-10


def perceptual(features: Features, weights: Sequence[Array] | None = None) -> Distance:
    """The distance of images in the feature maps of a network (equation 1).

    The vector of channels at each position is scaled to length 1; the squares of the differences are weighted, summed
    over the channels, averaged over the positions, and summed over the layers.

    Args:
        features: the network, without what changes in training: with its parameters, in evaluation mode.
        weights: for each layer float[c], not negative, the factors of the squares (the squares of the paper's w, which
            are what its learned weights are published as, see `load_lpips`); None: all 1.

    Returns:
        The distance, 0 for equal images.

    Raises:
        UserError: from the distance, weights of another number of layers or channels than the feature maps.
    """

    def distance(x: Float[Array, "B H W C"], y: Float[Array, "B H W C"]) -> Float[Array, "B"]:
        pairs = list(zip(features(x), features(y), strict=True))
        factors = [jnp.ones(a.shape[-1]) for a, _ in pairs] if weights is None else weights
        found, expected = [w.shape for w in factors], [a.shape[-1:] for a, _ in pairs]
        if found != expected:
            raise UserError(f"weights have the shapes {found}: the feature maps need {expected}")
        layers = [_layer(a, b, w) for (a, b), w in zip(pairs, factors, strict=True)]
        return jnp.stack(layers).sum(0)

    return distance


def load_lpips(path: str | os.PathLike[str], sha256: str | None) -> tuple[Array, ...]:
    """Reads the learned weights of LPIPS for `perceptual`.

    They belong to the feature maps of one network (the paper's are of AlexNet, SqueezeNet and VGG), which this file
    does not hold.

    Args:
        path: of a safetensors file with one array for each layer, [c] or, as in the published state dictionaries,
            [1,c,1,1]. The first number in the name of an array ("lin0.model.1.weight") is that of its layer.
        sha256: hexadecimal digest that the file must have; None accepts any.

    Returns:
        float32[c] of each layer.

    Raises:
        UserError: no such file, another digest, or a file that holds something else.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise UserError(f"path is {str(path)!r}: no such weights file")
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if sha256 not in (None, digest):
        raise UserError(f"path is {str(path)!r}, whose SHA-256 is {digest} where {sha256} is expected")
    try:
        arrays = safetensors.numpy.load(content)
    except safetensors.SafetensorError as error:
        raise UserError(f"path is {str(path)!r}: not a safetensors file ({error})") from error
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


def _layer(
    a: Float[Array, "B h w c"], b: Float[Array, "B h w c"], weights: Float[Array, "c"]
) -> Float[Array, "B"]:
    squares = jnp.square(_unit(a) - _unit(b)) * weights.reshape(1, 1, 1, -1)
    return squares.sum(-1).mean((1, 2))


def _unit(x: Float[Array, "B h w c"]) -> Float[Array, "B h w c"]:
    return x / jnp.sqrt(jnp.square(x).sum(-1, keepdims=True) + _TINY)
