"""What all quantisers have in common: their interface, and the straight-through estimator."""

from typing import NamedTuple, Protocol

import jax

from genjax.nn.quantization.statistics import Statistics
from genjax.typing import Array

COLLECTION = "codebook"
"""The variable collection in which quantisers keep what no optimizer trains."""


class Quantized(NamedTuple):
    """What a quantiser makes of feature maps [B,H,W,D].

    Attributes:
        z: float32[B,H,W,D], quantised; the gradient goes to the feature maps.
        codes: int32[B,H,W] in [0, K).
        vectors: float32[B,H,W,D], what the code book learns from: the feature maps; None if there is nothing to learn.
        commitment: float32[B], mean square of ``vectors - sg(z)``, sg the stopped gradient: pulls the encoder to the
            codes. 0 for quantisers that need none.
        codebook: float32[B], mean square of ``sg(vectors) - z``: pulls the codes to the encoder. 0 unless an
            optimizer trains the code book.
    """

    z: Array
    codes: Array
    vectors: Array | None
    commitment: Array
    codebook: Array


class Quantizer(Protocol):
    """A Linen module that quantises feature maps.

    Attributes:
        num_codes: K, the number of different codes.
        width: D, channels of the feature maps.
    """

    @property
    def num_codes(self) -> int: ...

    @property
    def width(self) -> int: ...

    def __call__(self, encoded: Array) -> Quantized:
        """Quantises float[B,H,W,D]."""

    def lookup(self, codes: Array) -> Array:
        """int32[B,H,W] -> float32[B,H,W,D], the vectors that the codes stand for: ``lookup(q.codes) == q.z``."""

    def learn(self, statistics: Statistics, first: Array) -> dict[str, Array]:
        """One update of what no optimizer trains; the collections "params" and "codebook" must be mutable.

        Args:
            statistics: statistics of the whole batch.
            first: bool[], whether this is the first update.

        Returns:
            Scalars: "perplexity" of the codes of the batch, in [1, K], and "dead_codes", the number of codes that
            were hardly used in this batch and those before.
        """


def straight_through(x: Array, value: Array) -> Array:
    """`value`, exactly, with the derivative of `x`; both have one shape.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from genjax.nn import quantization
        >>> rounded = lambda x: quantization.straight_through(2 * x, jnp.round(2 * x))
        >>> value, slope = jax.value_and_grad(rounded)(0.4)
        >>> float(value), float(slope)
        (1.0, 2.0)

    References:
        Bengio et al., "Estimating or Propagating Gradients Through Stochastic Neurons" (2013), section 4.
    """
    return jax.lax.stop_gradient(value) + (x - jax.lax.stop_gradient(x))
