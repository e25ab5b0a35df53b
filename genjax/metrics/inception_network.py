"""The layers of the Inception network of 5 December 2015, from images of 299x299 to features and logits.

It is Inception v3 (Szegedy et al. 2016, "Rethinking the Inception architecture for computer vision", table 1 and
figures 5 to 7 and 10) as TensorFlow's graph ``inception-2015-12-05`` has it, where it differs from the paper and from
what torchvision has:

* 1008 logits;
* average pooling divides by the pixels in the window, not by 9 at the border;
* the last block, `Mixed_7c`, takes the maximum where the other blocks take the average.

Batch normalisation is not here: it is part of kernels and biases (`genjax.metrics.folding`). Names of layers are the
same as in the common PyTorch conversion. Two rearrangements change only the rounding: the 1x1 convolutions at the start
of a block's branches are one matrix product, and the average-pooling branch has its 1x1 convolution before the pooling,
so that a quarter of the channels or less are pooled.
"""

import functools
import itertools
from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Float

from genjax.nn import conv_general_dilated
from genjax.typing import Array

IMAGE_SIZE = 299
FEATURE_DIM = 2048
NUM_CLASSES = 1008

Shape: TypeAlias = tuple[int, int, int, int]
Weights: TypeAlias = Callable[[str, Shape], tuple[Array, Array]]
"""Name of a convolution and shape (h, w, C, O) of its kernel -> kernel float[h,w,C,O] and bias float[O]."""


class Layers(NamedTuple):
    """The convolutions of (a part of) the network, by name.

    Attributes:
        weights: weights of all.
        prefix: prefix of the names of this part.
        precision: precision of products, as in jax.lax.
    """

    weights: Weights
    prefix: str
    precision: lax.Precision | None

    def part(self, name: str) -> "Layers":
        """The layers of a block."""
        return self._replace(prefix=f"{self.prefix}{name}.")

    def conv(
        self,
        name: str,
        x: Array,
        features: int,
        size: tuple[int, int] = (3, 3),
        stride: int = 1,
        padding: str = "SAME",
    ) -> Array:
        """float[B,H,W,C] -> float[B,H',W',features]: convolution, bias and ReLU."""
        kernel, bias = self.weights(self.prefix + name, (*size, x.shape[-1], features))
        return jax.nn.relu(self._convolve(x, kernel, stride, padding) + bias[None, None, None])

    def heads(self, x: Array, **features: int) -> list[Array]:
        """1x1 convolutions of the same images, and their biases, without ReLU; as one product."""
        pairs = [self.weights(self.prefix + name, (1, 1, x.shape[-1], n)) for name, n in features.items()]
        kernel, bias = (jnp.concatenate(arrays, -1) for arrays in zip(*pairs, strict=True))
        ends = list(itertools.accumulate(features.values()))[:-1]
        return jnp.split(self._convolve(x, kernel, 1, "VALID") + bias[None, None, None], ends, -1)

    def _convolve(self, x: Array, kernel: Array, stride: int, padding: str) -> Array:
        return conv_general_dilated(
            x,
            kernel,
            (stride, stride),
            padding,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            precision=self.precision,
        )


def network(
    weights: Weights,
    fc: Float[Array, "2048 1008"],
    images: Float[Array, "B 299 299 3"],
    precision: lax.Precision | None = None,
) -> tuple[Float[Array, "B 2048"], Float[Array, "B 1008"]]:
    """Features and logits.

    Args:
        weights: weights of the convolutions.
        fc: kernel of the last layer.
        images: levels 0..255, less 128, by 128.
        precision: precision of products, as in jax.lax.

    Returns:
        Means over the last feature maps, 8x8; and logits without the last layer's bias, as in the Inception Score.
    """
    layers = Layers(weights, "", precision)
    features = convolutions(layers, images).mean((1, 2))
    return features, jnp.matmul(features, fc, precision=precision)


def convolutions(layers: Layers, images: Float[Array, "B 299 299 3"]) -> Float[Array, "B 8 8 2048"]:
    """All but the end of `network`."""
    x = layers.conv("Conv2d_1a_3x3", images, 32, stride=2, padding="VALID")  # 149
    x = layers.conv("Conv2d_2a_3x3", x, 32, padding="VALID")  # 147
    x = layers.conv("Conv2d_2b_3x3", x, 64)
    x = max_pool(x)  # 73
    x = layers.conv("Conv2d_3b_1x1", x, 80, (1, 1))
    x = layers.conv("Conv2d_4a_3x3", x, 192, padding="VALID")  # 71
    x = max_pool(x)  # 35
    for name, pooled in (("5b", 32), ("5c", 64), ("5d", 64)):
        x = _block_35(layers.part(f"Mixed_{name}"), x, pooled)
    x = _reduction_17(layers.part("Mixed_6a"), x)
    for name, width in (("6b", 128), ("6c", 160), ("6d", 160), ("6e", 192)):
        x = _block_17(layers.part(f"Mixed_{name}"), x, width)
    x = _reduction_8(layers.part("Mixed_7a"), x)
    x = _block_8(layers.part("Mixed_7b"), x, pool_maximum=False)
    return _block_8(layers.part("Mixed_7c"), x, pool_maximum=True)


def kernel_shapes() -> Mapping[str, Shape]:
    """Name of every convolution -> (h, w, C, O) of its kernel."""
    shapes = {}

    def weights(name: str, shape: Shape) -> tuple[Array, Array]:
        shapes[name] = shape
        return jnp.zeros(shape), jnp.zeros(shape[-1:])

    images = jax.ShapeDtypeStruct((1, IMAGE_SIZE, IMAGE_SIZE, 3), jnp.float32)
    jax.eval_shape(functools.partial(convolutions, Layers(weights, "", None)), images)
    return shapes


def _block_35(layers: Layers, x: Array, pooled: int) -> Array:
    """Figure 5 with one of its 3x3 replaced by 5x5: 35x35 pixels."""
    a, b, c, d = layers.heads(x, branch1x1=64, branch5x5_1=48, branch3x3dbl_1=64, branch_pool=pooled)
    b = layers.conv("branch5x5_2", jax.nn.relu(b), 64, (5, 5))
    c = layers.conv("branch3x3dbl_2", jax.nn.relu(c), 96)
    c = layers.conv("branch3x3dbl_3", c, 96)
    return _join(jax.nn.relu(a), b, c, jax.nn.relu(average_pool(d)))


def _reduction_17(layers: Layers, x: Array) -> Array:
    """Figure 10: from 35x35 to 17x17 pixels."""
    a = layers.conv("branch3x3", x, 384, stride=2, padding="VALID")
    b = layers.conv("branch3x3dbl_1", x, 64, (1, 1))
    b = layers.conv("branch3x3dbl_2", b, 96)
    b = layers.conv("branch3x3dbl_3", b, 96, stride=2, padding="VALID")
    return _join(a, b, max_pool(x))


def _block_17(layers: Layers, x: Array, width: int) -> Array:
    """Figure 6 with n = 7: 17x17 pixels."""
    a, b, c, d = layers.heads(x, branch1x1=192, branch7x7_1=width, branch7x7dbl_1=width, branch_pool=192)
    b = layers.conv("branch7x7_2", jax.nn.relu(b), width, (1, 7))
    b = layers.conv("branch7x7_3", b, 192, (7, 1))
    c = layers.conv("branch7x7dbl_2", jax.nn.relu(c), width, (7, 1))
    c = layers.conv("branch7x7dbl_3", c, width, (1, 7))
    c = layers.conv("branch7x7dbl_4", c, width, (7, 1))
    c = layers.conv("branch7x7dbl_5", c, 192, (1, 7))
    return _join(jax.nn.relu(a), b, c, jax.nn.relu(average_pool(d)))


def _reduction_8(layers: Layers, x: Array) -> Array:
    """From 17x17 to 8x8 pixels."""
    a, b = map(jax.nn.relu, layers.heads(x, branch3x3_1=192, branch7x7x3_1=192))
    a = layers.conv("branch3x3_2", a, 320, stride=2, padding="VALID")
    b = layers.conv("branch7x7x3_2", b, 192, (1, 7))
    b = layers.conv("branch7x7x3_3", b, 192, (7, 1))
    b = layers.conv("branch7x7x3_4", b, 192, stride=2, padding="VALID")
    return _join(a, b, max_pool(x))


def _block_8(layers: Layers, x: Array, pool_maximum: bool) -> Array:
    """Figure 7: 8x8 pixels."""
    heads = {"branch1x1": 320, "branch3x3_1": 384, "branch3x3dbl_1": 448}
    if pool_maximum:
        # A maximum and a convolution do not change places.
        a, b, c = layers.heads(x, **heads)
        d = layers.conv("branch_pool", max_pool(x, 1, "SAME"), 192, (1, 1))
    else:
        a, b, c, d = layers.heads(x, **heads, branch_pool=192)
        d = jax.nn.relu(average_pool(d))
    b = jax.nn.relu(b)
    c = layers.conv("branch3x3dbl_2", jax.nn.relu(c), 384)
    split = [
        layers.conv(f"{name}{end}", y, 384, size)
        for name, y in (("branch3x3_2", b), ("branch3x3dbl_3", c))
        for end, size in (("a", (1, 3)), ("b", (3, 1)))
    ]
    return _join(jax.nn.relu(a), *split, d)


def average_pool(x: Float[Array, "B H W C"]) -> Float[Array, "B H W C"]:
    """Mean over the pixels of the image that lie in the 3x3 window around each one."""
    for axis in (1, 2):
        x = _in_threes(jnp.add, x, axis, 1, 0.0)
    rows, columns = (np.minimum(np.arange(n) + 2, n) - np.maximum(np.arange(n) - 1, 0) for n in x.shape[1:3])
    return x / np.outer(rows, columns).astype(np.float32)[None, :, :, None]


def max_pool(x: Float[Array, "B H W C"], stride: int = 2, padding: str = "VALID") -> Float[Array, "B h w C"]:
    """Maximum over 3x3 pixels."""
    for axis in (1, 2):
        x = _in_threes(jnp.maximum, x, axis, stride, None if padding == "VALID" else -jnp.inf)
    return x


def _in_threes(
    combine: Callable[[Array, Array], Array], x: Array, axis: int, stride: int, border: float | None
) -> Array:
    """Combines three neighbours along an axis; at least twice as fast as `lax.reduce_window` on CPU."""
    if border is not None:
        x = jnp.pad(x, [(1, 1) if i == axis else (0, 0) for i in range(4)], constant_values=border)
    last = x.shape[axis] - 2
    parts = [lax.slice_in_dim(x, i, last + i, stride, axis) for i in range(3)]
    return combine(combine(parts[0], parts[1]), parts[2])


def _join(*branches: Array) -> Array:
    return jnp.concatenate(branches, -1)
