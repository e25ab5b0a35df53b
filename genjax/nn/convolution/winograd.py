"""Convolutions of small kernels with a fraction of the multiplications.

An output tile of m x m pixels of an r x r kernel needs n x n products a pair of channels, n = m + r - 1, instead of
m^2 r^2: a quarter for m = 4, r = 3. With d an n x n input tile and g the kernel,

    tile of y = A^T [ (G g G^T) * (B^T d B) ] A ,     products `*` summed over input channels: n^2 matrix products.

The kernel's gradient is the transpose in g: G^T [ (B^T d B) * (A dy A^T) ] G, products summed over all tiles.

Arrays are transformed along one axis after the other, and in blocks of images that fit the cache: what would be lost to
memory traffic otherwise is more than what is won.

References:
    Winograd, "Arithmetic Complexity of Computations" (1980); Lavin and Gray, "Fast Algorithms for Convolutional Neural
    Networks" (2016).
"""

import functools
import math

import jax.numpy as jnp
import numpy as np
from jax import lax

from genjax.nn.convolution.blocks import map_blocks, sum_blocks
from genjax.nn.convolution.plain import pad
from genjax.typing import Array

# n - 1 -> points of interpolation; infinity is one more. Symmetric pairs whose product is 1: for m = 4, r = 3 the error
# of float32 is half of that with the usual 0, 1, -1, 2, -2 (8e-7 of the output's standard deviation, 128 channels).
_POINTS = {4: (0.0, 0.6, -1.0, 2.0), 5: (0.0, 2 / 3, -2 / 3, 3 / 2, -3 / 2)}
_TILE = 4
KERNEL_SIZES = (2, 3)


@functools.cache
def matrices(m: int, r: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(B^T [n,n], G [n,r], A^T [m,n]) of Toom and Cook's algorithm, in float64, rows balanced in size."""
    n = m + r - 1
    points = np.array(_POINTS[n - 1])

    def evaluate(terms: int) -> np.ndarray:
        """[n, terms]: the values of 1, x, x^2, ... at the points, and the leading coefficient for infinity."""
        at_infinity = np.eye(terms)[-1:]
        return np.concatenate([points[:, None] ** np.arange(terms), at_infinity])

    b_t, g, a_t = np.linalg.inv(evaluate(n)).T, evaluate(r), evaluate(m).T
    # Any scale may move from one factor to another; equal norms lose the least to rounding.
    norms = np.stack([np.linalg.norm(b_t, axis=1), np.linalg.norm(g, axis=1), np.linalg.norm(a_t, axis=0)])
    b_scale, g_scale, a_scale = np.exp(np.log(norms).mean(0)) / norms
    b_t[np.abs(b_t) < 1e-12] = 0.0
    return b_t * b_scale[:, None], g * g_scale[:, None], a_t * a_scale


def _tiles(size: tuple[int, ...]) -> tuple[int, ...]:
    """Tiles along each dimension of an output of `size`."""
    return tuple(-(-n // _TILE) for n in size)


def num_tiles(size: tuple[int, ...]) -> int:
    """Tiles of an output of `size`."""
    return math.prod(_tiles(size))


def num_products(r: int, size: tuple[int, ...]) -> int:
    """Products of two channels for an image of `size`; ``r * r * prod(size)`` without the transforms."""
    return num_tiles(size) * (_TILE + r - 1) ** 2


def convolve(x: Array, kernel: Array, padding: tuple[tuple[int, int], ...]) -> Array:
    """Stride-1 convolution: float32[B,H,W,C], float32[r,r,C,O] -> float32[B,H',W',O]; r is 2 or 3.

    Args:
        x: images.
        kernel: kernel, not flipped.
        padding: (low, high) zeros around H and W; negative crops.
    """
    r = kernel.shape[0]
    _, g, a_t = matrices(_TILE, r)
    height, width = (x.shape[1 + i] + sum(padding[i]) - r + 1 for i in range(2))
    weights = _kernel_transform(g, kernel)

    def block(x: Array) -> Array:
        data = _input_tiles(x, r, padding, height, width)
        products = _per_product_matmul(data, weights, contract=(1, 0))
        return _output_tiles(a_t, products)[:, :height, :width]

    bytes_per_image = 4 * num_products(r, (height, width)) * max(x.shape[-1], kernel.shape[-1])
    return map_blocks(block, x, bytes_per_image)


def kernel_gradient(x: Array, dy: Array, padding: tuple[tuple[int, int], ...]) -> Array:
    """Gradient of `convolve` in the kernel: float32[B,H,W,C], float32[B,H',W',O] -> float32[r,r,C,O]."""
    height, width = dy.shape[1:3]
    r = x.shape[1] + sum(padding[0]) - height + 1
    _, g, a_t = matrices(_TILE, r)

    def block(x: Array, dy: Array) -> Array:
        data = _input_tiles(x, r, padding, height, width)
        return _per_product_matmul(data, _gradient_tiles(a_t, dy), contract=(0, 0))

    bytes_per_image = 4 * num_products(r, (height, width)) * max(x.shape[-1], dy.shape[-1])
    products = sum_blocks(block, x, dy, bytes_per_image)
    n = g.shape[0]
    transform = jnp.asarray(g, x.dtype)
    return jnp.einsum("ai,bj,baco->ijco", transform, transform, products.reshape(n, n, *products.shape[1:]))


def _kernel_transform(g: np.ndarray, kernel: Array) -> Array:
    """float[r,r,C,O] -> float[n*n,C,O]; products are ordered (column, row), as in `_input_tiles`."""
    n = len(g)
    transform = jnp.asarray(g, kernel.dtype)
    return jnp.einsum("ai,bj,ijco->baco", transform, transform, kernel).reshape(n * n, *kernel.shape[2:])


def _input_tiles(x: Array, r: int, padding: tuple[tuple[int, int], ...], height: int, width: int) -> Array:
    """float[B,H,W,C] -> float[n*n,B,h,w,C]: B^T d B of the h*w overlapping tiles d of each image."""
    m, n = _TILE, _TILE + r - 1
    b_t, _, _ = matrices(m, r)
    tiles = _tiles((height, width))
    parts = zip(padding, tiles, x.shape[1:3], strict=True)
    x = pad(x, [(low, t * m + r - 1 - old - low) for (low, _), t, old in parts])
    rows = [lax.slice_in_dim(x, i, i + (tiles[0] - 1) * m + 1, m, axis=1) for i in range(n)]
    x = _materialize(jnp.stack(_combine(b_t, rows)))
    columns = [lax.slice_in_dim(x, j, j + (tiles[1] - 1) * m + 1, m, axis=3) for j in range(n)]
    x = jnp.stack(_combine(b_t, columns))
    return x.reshape(n * n, *x.shape[2:])


def _output_tiles(a_t: np.ndarray, products: Array) -> Array:
    """float[n*n,B,h,w,O] -> float[B,h*m,w*m,O]: A^T [.] A of each tile."""
    m, n = a_t.shape
    batch, h, w, channels = products.shape[1:]
    columns = products.reshape(n, n, batch, h, w, channels)
    rows = _materialize(jnp.stack(_combine(a_t, list(columns)), axis=4))  # [n, B, h, w, m, O]
    return jnp.stack(_combine(a_t, list(rows)), axis=2).reshape(batch, h * m, w * m, channels)


def _gradient_tiles(a_t: np.ndarray, dy: Array) -> Array:
    """float[B,H',W',O] -> float[n*n,B,h,w,O]: A dy A^T of each tile."""
    m, n = a_t.shape
    batch, height, width, channels = dy.shape
    h, w = _tiles((height, width))
    dy = pad(dy, [(0, h * m - height), (0, w * m - width)])
    dy = dy.reshape(batch, h, m, w * m, channels)
    dy = _materialize(jnp.stack(_combine(a_t.T, [dy[:, :, i] for i in range(m)])))
    dy = dy.reshape(n, batch, h, w, m, channels)
    return jnp.stack(_combine(a_t.T, [dy[:, :, :, :, j] for j in range(m)])).reshape(
        n * n, batch, h, w, channels
    )


def _per_product_matmul(a: Array, b: Array, contract: tuple[int, int]) -> Array:
    """n*n matrix products; positions (batch and tiles) count as one axis."""
    positions = a.shape[1:-1]
    a, b = a.reshape(a.shape[0], -1, a.shape[-1]), b.reshape(b.shape[0], -1, b.shape[-1])
    y = lax.dot_general(a, b, (((1 + contract[0],), (1 + contract[1],)), ((0,), (0,))))
    return y.reshape(len(y), *positions, -1) if contract[0] else y


def _combine(matrix: np.ndarray, parts: list[Array]) -> list[Array]:
    """The rows of matrix @ parts, zeros left out."""

    def row(weights: np.ndarray) -> Array:
        terms = [p * np.asarray(w, p.dtype) for w, p in zip(weights, parts, strict=True) if w != 0]
        return functools.reduce(jnp.add, terms)

    return [row(weights) for weights in matrix]


def _materialize(x: Array) -> Array:
    """Keeps XLA from merging the transforms along both axes: the first would be computed n times."""
    return lax.optimization_barrier(x)
