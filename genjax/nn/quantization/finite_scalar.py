"""Finite scalar quantisation: each channel is bounded and rounded, and the code book is the grid of all combinations.

Mentzer, Minnen, Agustsson and Tschannen, "Finite Scalar Quantization: VQ-VAE Made Simple" (2023).
"""

import math

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from genjax.nn.quantization import statistics as stats
from genjax.nn.quantization.quantizer import COLLECTION, Quantized, straight_through
from genjax.nn.quantization.statistics import Statistics
from genjax.typing import Array, UserError

# How far the bound stays from where rounding would give one more level (the paper's code).
_MARGIN = 1e-3


class FiniteScalarQuantizer(nn.Module):
    """Rounds channel i to one of ``levels[i]`` values in [-1, 1]; nothing but the encoder learns.

    Attributes:
        levels: numbers of levels per channel, at least 2 each; the paper advises 5 and more. D is their number, K
            their product: (8, 5, 5, 5) has 1,000 codes (table 1 lists sizes up to 65,536).
        decay: decay of the moving average of the counts, in [0, 1). It serves to report dead codes only.
        dead_below: a code is dead whose average count is under this fraction, in [0, 1), of the mean over all codes.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from genjax.nn import quantization
        >>> quantizer = quantization.FiniteScalarQuantizer(levels=(3, 2))
        >>> encoded = jnp.array([[-9.0, -9.0], [0.1, -9.0], [9.0, 9.0]]).reshape(1, 1, 3, 2)
        >>> quantized, variables = jax.jit(quantizer.init_with_output)(jax.random.key(0), encoded)
        >>> quantized.codes.ravel().tolist(), quantized.z.reshape(3, 2).tolist()
        ([0, 1, 5], [[-1.0, -1.0], [0.0, -1.0], [1.0, 0.0]])
    """

    levels: tuple[int, ...] = (8, 5, 5, 5)
    decay: float = 0.99
    dead_below: float = 0.05

    def __post_init__(self) -> None:
        if not self.levels or min(self.levels) < 2 or math.prod(self.levels) >= 2**31:
            raise UserError(
                f"levels={self.levels}: valid are one or more numbers of at least 2 whose product is below 2^31"
            )
        for name in ("decay", "dead_below"):
            if not 0 <= getattr(self, name) < 1:
                raise UserError(f"{name}={getattr(self, name)}: valid are [0, 1)")
        super().__post_init__()

    @property
    def num_codes(self) -> int:
        """K, the number of different codes."""
        return math.prod(self.levels)

    @property
    def width(self) -> int:
        """D, channels of the feature maps."""
        return len(self.levels)

    def setup(self) -> None:
        self.counts = self.variable(COLLECTION, "counts", jnp.ones, (self.num_codes,), jnp.float32)

    def __call__(self, encoded: Array) -> Quantized:
        """Quantises float[B,H,W,D]."""
        encoded = encoded.astype(jnp.float32)
        bounded = bound(encoded, self.levels)
        half = _last(np.array(self.levels) // 2, bounded)
        digits = (jnp.round(bounded) + half).astype(jnp.int32)
        z = straight_through(bounded / half, values(digits, self.levels))
        zeros = jnp.zeros(len(encoded))
        return Quantized(z, to_codes(digits, self.levels), vectors=None, commitment=zeros, codebook=zeros)

    def lookup(self, codes: Array) -> Array:
        """int32[B,H,W] -> float32[B,H,W,D] in [-1, 1]."""
        return values(to_digits(codes, self.levels), self.levels)

    def learn(self, statistics: Statistics, first: Array) -> dict[str, Array]:
        """See `Quantizer.learn`: only the counts."""
        before = jnp.where(first, 0.0, self.counts.value)
        self.counts.value = stats.moving_average(before, statistics.counts, self.decay)
        return stats.usage(statistics.counts, stats.dead(self.counts.value, self.dead_below))


def bound(x: Array, levels: tuple[int, ...]) -> Array:
    """float[..., D] -> an interval of each channel that holds as many whole numbers as the channel has levels.

    A hyperbolic tangent (section 3.1). For even levels the interval is not symmetric: it is moved by one half, and the
    argument by as much as brings 0 back to 0 (appendix A.1).
    """
    number = np.array(levels)
    half = (number - 1) * (1 - _MARGIN) / 2
    offset = np.where(number % 2 == 1, 0.0, 0.5)
    shift = np.tan(offset / half)
    return jnp.tanh(x + _last(shift, x)) * _last(half, x) - _last(offset, x)


def values(digits: Array, levels: tuple[int, ...]) -> Array:
    """int32[..., D] with channel i in 0..levels[i]-1 -> float32[..., D] in [-1, 1]."""
    half = _last(np.array(levels) // 2, digits)
    return (digits - half) / half


def to_codes(digits: Array, levels: tuple[int, ...]) -> Array:
    """int32[..., D] with channel i in 0..levels[i]-1 -> int32[...] in [0, K): the first channel counts fastest."""
    return (digits * _last(_basis(levels), digits)).sum(-1)


def to_digits(codes: Array, levels: tuple[int, ...]) -> Array:
    """Inverse of `to_codes`: int32[...] in [0, K) -> int32[..., D]."""
    basis = _basis(levels).reshape((1,) * codes.ndim + (-1,))
    return codes[..., None] // basis % np.array(levels, np.int32).reshape(basis.shape)


def _basis(levels: tuple[int, ...]) -> np.ndarray:
    return np.cumprod([1, *levels[:-1]]).astype(np.int32)


def _last(row: np.ndarray, like: Array) -> Array:
    """[D] -> [1, ..., D], of the type of `like`."""
    return jnp.asarray(row, like.dtype).reshape((1,) * (like.ndim - 1) + (-1,))
