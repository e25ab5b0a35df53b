"""The KL divergence of a VAE, split by what it costs: mutual information, total correlation, dimension-wise KL.

With q(z) the posterior averaged over the data set::

    KL(q(z|x) || p(z)) = [log q(z|x) - log q(z)] + [log q(z) - sum_j log q(z_j)] + [sum_j log q(z_j) - log p(z)]

in expectation over x and z: what z tells of x, how dependent its components are, and how far each is from the prior.
q(z) and q(z_j) are averages over the data set, of which a batch gives estimates. An estimator here is nothing but the
weights of that average: ``(batch_size, dataset_size) -> log-weights``, for `decompose`.
"""

import math
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from genjax.losses.gaussian import Gaussian, log_density, sum_components
from genjax.typing import Array, UserError

Estimator: TypeAlias = Callable[[int, int], Array]
"""``(batch_size B, dataset_size N) -> log-weights``, float[B,B] or one number for all, float[]."""


class Decomposition(NamedTuple):
    """Three terms that add up to ``log q(z|x) - log p(z)`` of each example, in nats.

    Attributes:
        mutual_information: float[M], ``log q(z|x) - log q(z)``.
        total_correlation: float[M], ``log q(z) - sum_j log q(z_j)``.
        dimension_kl: float[M], ``sum_j log q(z_j) - log p(z)``.
    """

    mutual_information: Array
    total_correlation: Array
    dimension_kl: Array


def decompose(
    z: Float[Array, "M D"],
    posterior: Gaussian,
    log_weights: Float[Array, "M B"] | Float[Array, ""],
    aggregate: Gaussian | None = None,
    chunk_size: int | None = None,
) -> Decomposition:
    """Splits ``log q(z|x) - log p(z)`` of every example; the prior p is the standard normal distribution.

    The time is O(M B D). Every term is differentiable in all arrays.

    Args:
        z: draws, z[i] from posterior i.
        posterior: means and log-variances float[M,D] of q(z|x) for the M examples.
        log_weights: entry [i,b] is the logarithm of the weight that posterior b has in q(z[i]): from `exact`,
            `minibatch_weighted` or `minibatch_stratified`.
        aggregate: means and log-variances float[B,D] of which q(z) is made; None takes `posterior`. Differs from it
            where `z` is one device's share of a batch (give the posteriors of all devices, and the share's rows
            of the weights), or some rows of a large sample.
        chunk_size: examples at a time, for memory O(chunk_size B D) instead of O(M B D), in the backward pass too.

    Returns:
        The terms, float[M] each.

    Raises:
        UserError: arrays that do not fit, or a chunk size below 1.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from genjax.losses.decomposition import decompose, exact
        >>> from genjax.losses.gaussian import Gaussian
        >>> means = jnp.array([[-10.0, -10.0], [10.0, 10.0]])  # of two examples; both components say which
        >>> terms = jax.jit(decompose)(means, Gaussian(means, jnp.zeros((2, 2))), exact(2, 2))
        >>> print(f"{terms.mutual_information[0]:.3f} {terms.total_correlation[0]:.3f}")  # log 2
        0.693 0.693

    References:
        Chen et al., "Isolating Sources of Disentanglement in Variational Autoencoders" (2018), equation 2.
    """
    aggregate = posterior if aggregate is None else aggregate
    _check(z, posterior, log_weights, aggregate, chunk_size)
    log_weights = jnp.broadcast_to(log_weights, (len(z), *log_weights.shape[1:]))

    def averages(row: tuple[Array, Array]) -> tuple[Array, Array]:
        """log q(z) and sum_j log q(z_j) of one z."""
        z, log_weight = row
        density = log_density(jnp.broadcast_to(z, aggregate.mean.shape), *aggregate)
        log_weight = log_weight.reshape(-1, 1)
        joint = jax.nn.logsumexp(log_weight[:, 0] + density.sum(1))
        return joint, jax.nn.logsumexp(log_weight + density, axis=0).sum()

    # What one chunk needs for its gradient is computed again then, or all chunks together would fill the memory.
    log_q, log_q_components = (
        jax.vmap(averages)((z, log_weights))
        if chunk_size is None
        else jax.lax.map(jax.checkpoint(averages), (z, log_weights), batch_size=chunk_size)
    )
    log_q_given_x = sum_components(log_density(z, *posterior))
    log_p = sum_components(log_density(z, jnp.zeros_like(z), jnp.zeros_like(z)))
    return Decomposition(log_q_given_x - log_q, log_q - log_q_components, log_q_components - log_p)


_compiled = jax.jit(decompose, static_argnames="chunk_size")


def decompose_data_set(
    z: Float[Array, "N D"], posterior: Gaussian, *, num: int | None = None, chunk_size: int = 64
) -> Decomposition:
    """The terms for a large sample that counts as the data set: the estimator is `exact`. Compiled, in chunks.

    The mutual information cannot exceed log N, and is an underestimate where it comes near.

    Args:
        z: draws, z[i] from posterior i.
        posterior: means and log-variances float[N,D] of all N examples.
        num: evaluate the first `num` examples only, against all N posteriors: the time is O(num N D). None: all.
        chunk_size: examples at a time, for memory O(chunk_size N D).

    Returns:
        The terms, float[num] each; their means estimate the terms of the data set.

    Raises:
        UserError: as `decompose`, or `num` outside 1..N.

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax.losses.decomposition import decompose_data_set
        >>> from genjax.losses.gaussian import Gaussian
        >>> means = jnp.linspace(-100, 100, 8).reshape(8, 1)  # the posteriors of 8 examples do not overlap
        >>> terms = decompose_data_set(means, Gaussian(means, jnp.zeros((8, 1))), num=2)
        >>> print(f"{terms.mutual_information[0]:.3f}")  # log 8
        2.079
    """
    num = len(z) if num is None else num
    if not 1 <= num <= len(z):
        raise UserError(f"num={num}: valid are 1..{len(z)}, the number of examples")
    rows = Gaussian(posterior.mean[:num], posterior.log_variance[:num])
    return _compiled(z[:num], rows, exact(len(z), len(z)), posterior, chunk_size=min(chunk_size, num))


def exact(batch_size: int, dataset_size: int) -> Array:
    """Every example has the weight 1/B, ``-log B`` as float32[]: right if the batch is the data set.

    Raises:
        UserError: if it is not.

    Example:
        >>> from genjax.losses import decomposition
        >>> print(f"{decomposition.exact(4, 4):.3f}")  # log(1 / 4)
        -1.386
    """
    if dataset_size != batch_size:
        raise UserError(
            f"dataset_size={dataset_size}, batch_size={batch_size}: exact weights need the whole data set in the "
            "batch; minibatch_weighted and minibatch_stratified do not"
        )
    return jnp.asarray(-math.log(_positive(batch_size)), jnp.float32)


def minibatch_weighted(batch_size: int, dataset_size: int) -> Array:
    """Every example has the weight 1/(N B), ``-log(N B)`` as float32[].

    Biased: q(z) comes out too small, B times where no two posteriors overlap, about N times where all are alike, and so
    does each q(z_j). Most of that is a constant: good for gradients, not for values to report.

    Args:
        batch_size: B, at least 1.
        dataset_size: N, at least B.

    Raises:
        UserError: sizes out of range.

    Example:
        >>> from genjax.losses import decomposition
        >>> print(f"{decomposition.minibatch_weighted(4, 100):.3f}")  # log(1 / 400)
        -5.991

    References:
        Chen et al., "Isolating Sources of Disentanglement in Variational Autoencoders" (2018), equation 5 and
        appendix C.1.
    """
    _check_sizes(batch_size, dataset_size, 1)
    return jnp.asarray(-math.log(dataset_size * batch_size), jnp.float32)


def minibatch_stratified(batch_size: int, dataset_size: int) -> Array:
    """Unbiased for q(z), with weights that depend on the row: the own example is known to be in the data set.

    With M = B - 1 other examples: the own one has weight 1/N, M - 1 of the others 1/M and one of them, here the next in
    the batch, (N - M)/(N M), so that the sum is 1.

    Args:
        batch_size: B, at least 2; the examples are distinct.
        dataset_size: N, at least B.

    Returns:
        float32[B,B], the logarithms of the weights.

    Raises:
        UserError: sizes out of range.

    Example:
        >>> import numpy as np
        >>> from genjax.losses import decomposition
        >>> print(np.exp(decomposition.minibatch_stratified(3, 10)).round(2))
        [[0.1 0.4 0.5]
         [0.5 0.1 0.4]
         [0.4 0.5 0.1]]

    References:
        Chen et al., "Isolating Sources of Disentanglement in Variational Autoencoders" (2018), appendix C.2.
    """
    _check_sizes(batch_size, dataset_size, 2)
    n, m = dataset_size, batch_size - 1
    weights = np.full(batch_size, 1 / m)
    weights[:2] = 1 / n, (n - m) / (n * m)
    row = np.arange(batch_size)
    return jnp.asarray(np.log(weights)[(row[None, :] - row[:, None]) % batch_size], jnp.float32)


def _check(
    z: Array, posterior: Gaussian, log_weights: Array, aggregate: Gaussian, chunk_size: int | None
) -> None:
    for name, array in [("mean", posterior.mean), ("log_variance", posterior.log_variance)]:
        if array.shape != z.shape:
            raise UserError(f"posterior.{name} has shape {array.shape}: that of z, {z.shape}, is needed")
    weights = (len(z), len(aggregate.mean))
    if log_weights.shape not in ((), weights):
        raise UserError(
            f"log_weights has shape {log_weights.shape}: valid are () and {weights}, a row for each z and a column "
            "for each posterior"
        )
    if chunk_size is not None and chunk_size < 1:
        raise UserError(f"chunk_size={chunk_size}: at least one example at a time is needed")


def _check_sizes(batch_size: int, dataset_size: int, smallest: int) -> None:
    if batch_size < smallest:
        raise UserError(f"batch_size={batch_size}: this estimator needs at least {smallest}")
    if dataset_size < batch_size:
        raise UserError(f"dataset_size={dataset_size}: it cannot be below the batch_size={batch_size}")


def _positive(batch_size: int) -> int:
    if batch_size < 1:
        raise UserError(f"batch_size={batch_size}: at least 1 is needed")
    return batch_size
