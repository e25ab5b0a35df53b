"""What a code book learns from: sums over the vectors of a batch, which parts of it can add up."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from genjax.typing import Array, Key


class Statistics(NamedTuple):
    """Sums over the vectors of a batch, for K codes of width D. The sums of a batch add up from the sums of its parts.

    Attributes:
        counts: float32[K], number of vectors with each code.
        sums: float32[K,D], their sums; None for quantisers whose codes are fixed.
        candidates: float32[K,D], for each code the vector that would replace it, zeros where that is in another part;
            None as `sums`.
    """

    counts: Array
    sums: Array | None
    candidates: Array | None


def choose(key: Key, num_vectors: int, num_codes: int) -> Array:
    """int32[K], the places in a batch of the vectors that are candidates; distinct where there are enough.

    It depends on nothing but the key of the step and the size of the *global* batch, so that all devices choose the
    same.

    Example:
        >>> import jax
        >>> from genjax.nn import quantization
        >>> chosen = quantization.choose(jax.random.key(0), num_vectors=6, num_codes=6)
        >>> sorted(chosen.tolist())
        [0, 1, 2, 3, 4, 5]
    """
    return jax.random.choice(key, num_vectors, (num_codes,), replace=num_codes > num_vectors)


def collect(vectors: Array | None, codes: Array, index: Array, chosen: Array) -> Statistics:
    """The statistics of a part of a batch.

    Args:
        vectors: float32[B,H,W,D] that a code book learns from, or None.
        codes: int32[B,H,W] in [0, K).
        index: int32[B], positions of the examples in the global batch.
        chosen: int32[K], see `choose`; number ``(i * H + h) * W + w`` is position h, w of example i.

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax.nn import quantization
        >>> vectors, codes = jnp.array([1.0, 3.0]).reshape(1, 1, 2, 1), jnp.array([[[0, 0]]])
        >>> statistics = quantization.collect(vectors, codes, index=jnp.array([0]), chosen=jnp.array([0, 1]))
        >>> statistics.counts.tolist(), statistics.sums.tolist(), statistics.candidates.tolist()
        ([2.0, 0.0], [[4.0], [0.0]], [[1.0], [3.0]])
    """
    num_codes = chosen.size
    counts = jnp.bincount(codes.ravel(), length=num_codes).astype(jnp.float32)
    if vectors is None:
        return Statistics(counts, None, None)
    batch, height, width, features = vectors.shape
    vectors = jax.lax.stop_gradient(vectors).reshape(batch, height * width, features)
    # A product and not a scattered sum, whose order, and so its rounding, is left to chance on a GPU.
    member = jax.nn.one_hot(codes.reshape(batch, height * width), num_codes)
    sums = jnp.einsum("bnk,bnd->kd", member, vectors, precision=jax.lax.Precision.HIGHEST)

    example, place = jnp.divmod(chosen, height * width)
    here = index[None] == example[:, None]
    found = vectors[jnp.argmax(here, axis=1), place]
    return Statistics(counts, sums, jnp.where(here.any(1, keepdims=True), found, 0.0))


def moving_average(average: Array, counts: Array, decay: float) -> Array:
    """float32[K]: ``decay * average + (1 - decay) * counts``.

    References:
        van den Oord, Vinyals and Kavukcuoglu, "Neural Discrete Representation Learning" (2017), appendix A.1,
        equation 6.
    """
    return decay * average + (1 - decay) * counts


def dead(average: Array, below: float) -> Array:
    """bool[K]: whose average count is under the fraction `below` of the mean over all codes."""
    return average < below * average.mean()


def perplexity(counts: Array) -> Array:
    """exp(entropy) of the frequencies of the codes: the number of codes that, equally often used, would say as much.

    Args:
        counts: float[K], not all 0.

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax.nn import quantization
        >>> print(f"{quantization.perplexity(jnp.array([4.0, 4.0, 0.0, 0.0])):.3f}")
        2.000
    """
    share = counts / counts.sum()
    return jnp.exp(-jax.scipy.special.xlogy(share, share).sum())


def usage(counts: Array, dead: Array) -> dict[str, Array]:
    """What is reported of a batch's counts float32[K] and of dead codes bool[K]."""
    return {"perplexity": perplexity(counts), "dead_codes": dead.sum().astype(jnp.float32)}
