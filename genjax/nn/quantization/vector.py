"""Vector quantisation: the nearest vector of a learned code book.

van den Oord, Vinyals and Kavukcuoglu, "Neural Discrete Representation Learning" (2017).
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from genjax.nn.quantization import statistics as stats
from genjax.nn.quantization.quantizer import COLLECTION, Quantized, straight_through
from genjax.nn.quantization.statistics import Statistics
from genjax.typing import Array, UserError


class VectorQuantizer(nn.Module):
    """Replaces each vector by the nearest of K codes (section 3.1), which follow the vectors that choose them.

    The codes start small and random; the first update of a quantiser that restarts replaces all of them by vectors of
    the first batch.

    Attributes:
        num_codes: K, at least 1.
        width: D, of the vectors.
        by_gradient: the codes are parameters, to be trained on `Quantized.codebook` (equation 3). Otherwise they are
            moving averages in the "codebook" collection (appendix A.1).
        decay: decay of the moving averages, in [0, 1).
        epsilon: added to the counts (Laplace smoothing), so that codes are never divided by 0.
        restart: replace dead codes by random vectors of the batch (Dhariwal et al., "Jukebox: A
            Generative Model for Music" (2020), section 3.1).
        dead_below: a code is dead whose average count is under this fraction, in [0, 1), of the mean over all codes.

    Example:
        >>> import jax, jax.numpy as jnp, numpy as np
        >>> from genjax.nn import quantization
        >>> quantizer = quantization.VectorQuantizer(num_codes=2, width=1)
        >>> variables = {"codebook": {"codes": jnp.array([[0.0], [1.0]]), "counts": jnp.ones(2)}}
        >>> quantized = jax.jit(quantizer.apply)(variables, jnp.array([0.2, 0.9]).reshape(1, 1, 2, 1))
        >>> print(quantized.codes.ravel(), quantized.z.ravel(), np.asarray(quantized.commitment).round(3))
        [0 1] [0. 1.] [0.025]
    """

    num_codes: int = 512
    width: int = 64
    by_gradient: bool = False
    decay: float = 0.99
    epsilon: float = 1e-5
    restart: bool = True
    dead_below: float = 0.05

    def __post_init__(self) -> None:
        for name in ("num_codes", "width"):
            if getattr(self, name) < 1:
                raise UserError(f"{name}={getattr(self, name)}: valid are 1 and more")
        for name in ("decay", "dead_below"):
            if not 0 <= getattr(self, name) < 1:
                raise UserError(f"{name}={getattr(self, name)}: valid are [0, 1)")
        if not self.epsilon >= 0:
            raise UserError(f"epsilon={self.epsilon}: valid are 0 and more")
        super().__post_init__()

    def setup(self) -> None:
        shape = (self.num_codes, self.width)

        def initial() -> Array:
            scale = 1 / self.num_codes
            return jax.random.uniform(self.make_rng("params"), shape, jnp.float32, -scale, scale)

        self.codes = self.variable("params" if self.by_gradient else COLLECTION, "codes", initial)
        self.counts = self.variable(COLLECTION, "counts", jnp.ones, (self.num_codes,), jnp.float32)

    def __call__(self, encoded: Array) -> Quantized:
        """Quantises float[B,H,W,D]."""
        encoded = encoded.astype(jnp.float32)
        codes = nearest(jax.lax.stop_gradient(encoded), jax.lax.stop_gradient(self.codes.value))
        z = self.lookup(codes)
        fixed = jax.lax.stop_gradient
        return Quantized(
            z=straight_through(encoded, z),
            codes=codes,
            vectors=encoded,
            commitment=_mean_square(encoded - fixed(z)),
            codebook=_mean_square(fixed(encoded) - z) if self.by_gradient else jnp.zeros(len(encoded)),
        )

    def lookup(self, codes: Array) -> Array:
        """int32[B,H,W] -> float32[B,H,W,D]."""
        return self.codes.value[codes]

    def learn(self, statistics: Statistics, first: Array) -> dict[str, Array]:
        """See `Quantizer.learn`."""
        assert statistics.sums is not None and statistics.candidates is not None
        codes, counts = self.codes.value, self.counts.value
        if self.restart:
            counts = jnp.where(first, 0.0, counts)
        average = stats.moving_average(counts, statistics.counts, self.decay)
        if not self.by_gradient:
            codes = moved(codes, counts, average, statistics.sums, self.decay, self.epsilon)
        dead = stats.dead(average, self.dead_below)
        if self.restart:
            codes, average = restarted(codes, average, statistics.candidates, dead | first)
        self.codes.value, self.counts.value = codes, average
        return stats.usage(statistics.counts, dead)


def nearest(vectors: Array, codes: Array) -> Array:
    """float32[..., D], float32[K, D] -> int32[...]: the code at the smallest distance, the first of equal ones."""
    num_codes, width = codes.shape
    # |v|^2 is the same for all codes. Full precision: a TPU would round to bfloat16, and find other codes.
    product = jnp.dot(vectors.reshape(-1, width), codes.T, precision=jax.lax.Precision.HIGHEST)
    distance = jnp.square(codes).sum(-1)[None] - 2 * product
    # XLA on CPU computes an argmin element by element: ten times slower than two minima.
    least = distance.min(-1, keepdims=True)
    number = jnp.arange(num_codes, dtype=jnp.int32)[None]
    first = jnp.where(distance == least, number, num_codes - 1).min(-1)
    return first.reshape(vectors.shape[:-1])


def moved(codes: Array, before: Array, after: Array, sums: Array, decay: float, epsilon: float) -> Array:
    """The codes as moving averages of the vectors that chose them (appendix A.1, equations 7 and 8).

    The paper's m, the moving average of the sums, is the code times its smoothed count.

    Args:
        codes: float32[K,D].
        before: float32[K], average counts until now.
        after: float32[K], including the counts of the batch (equation 6).
        sums: float32[K,D], of the vectors of the batch.
        decay: decay of the averages.
        epsilon: see `VectorQuantizer`.
    """
    m = decay * codes * smoothed(before, epsilon)[:, None] + (1 - decay) * sums
    total = smoothed(after, epsilon)[:, None]
    return jnp.where(total > 0, m / jnp.where(total > 0, total, 1.0), codes)


def smoothed(counts: Array, epsilon: float) -> Array:
    """Counts float32[K] as if each code had been seen `epsilon` times more, with the same sum as before."""
    total = counts.sum()
    rest = total + counts.size * epsilon
    return (counts + epsilon) * (total / jnp.where(rest > 0, rest, 1.0))


def restarted(codes: Array, counts: Array, candidates: Array, dead: Array) -> tuple[Array, Array]:
    """Dead codes become candidates, with the mean count: it takes them some time without use to be dead again.

    Args:
        codes: float32[K,D].
        counts: float32[K], average counts.
        candidates: float32[K,D], see `Statistics`.
        dead: bool[K].

    Returns:
        The new codes and average counts.
    """
    fresh = jnp.where(dead[:, None], candidates, codes)
    return fresh, jnp.where(dead, counts.mean(), counts)


def _mean_square(x: Array) -> Array:
    return jnp.square(x).mean((1, 2, 3))
