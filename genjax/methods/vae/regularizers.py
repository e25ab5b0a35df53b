"""What a variational autoencoder pays for its latent variables: the second term of the evidence lower bound.

A regularizer is ``(step int32[], groups) -> float[B]``, in nats; it is added to the distortion
``-log p(x|z)``, and makes the loss with it. Models of the VAE family differ in little else.
"""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import jax
import jax.numpy as jnp

from genjax.losses.decomposition import decompose, minibatch_weighted
from genjax.nn.latent import LatentGroup
from genjax.typing import Array, UserError

Regularizer: TypeAlias = Callable[[Array, Sequence[LatentGroup]], Array]


def divergence(groups: Sequence[LatentGroup]) -> Array:
    """float[B]: KL(posterior || prior) of all groups together.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from genjax.losses import gaussian
        >>> from genjax.methods.vae import regularizers
        >>> from genjax.nn.latent import draw
        >>> posterior = gaussian.Gaussian(jnp.ones((1, 4)), jnp.zeros((1, 4)))
        >>> group = draw(jax.random.split(jax.random.key(0), 1), posterior, gaussian.standard((1, 4)))
        >>> regularizers.divergence([group, group]).tolist()
        [4.0]
    """
    return jnp.stack([group.kl for group in groups]).sum(0)


def kl(
    beta: float | Array = 1.0, *, warmup_steps: int = 0, free_bits: float = 0.0, balance: bool = False
) -> Regularizer:
    """``beta * KL``, float[B], summed over the groups; with beta = 1 the second term of the evidence lower bound.

    Args:
        beta: weight of the divergence, 0 or more (beta-VAE).
        warmup_steps: updates over which the weight grows linearly to `beta`; the first update has 1 / `warmup_steps`
            of it.
        free_bits: nats of each group that cost nothing: a group whose mean divergence over the examples is below
            counts as this many, and has no gradient. The mean is over the examples a device sees at once: a
            micro-batch with accumulated gradients.
        balance: while warming up, a group is weighted in proportion to its size times its mean divergence, so that
            those that use few nats cost less and are not given up.

    Raises:
        UserError: a negative number, or balance without warm-up.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from genjax.losses import gaussian
        >>> from genjax.methods.vae import regularizers
        >>> from genjax.nn.latent import draw
        >>> posterior = gaussian.Gaussian(jnp.ones((1, 4)), jnp.zeros((1, 4)))  # 2 nats from the prior
        >>> group = draw(jax.random.split(jax.random.key(0), 1), posterior, gaussian.standard((1, 4)))
        >>> price = regularizers.kl(beta=3.0, warmup_steps=10)
        >>> [round(float(price(step, [group])[0]), 3) for step in (0, 9, 99)]
        [0.6, 6.0, 6.0]

    References:
        Higgins et al., "beta-VAE: Learning Basic Visual Concepts with a Constrained Variational Framework" (2017),
        equation 4; Bowman et al., "Generating Sentences from a Continuous Space" (2016), and Sønderby et al., "Ladder
        Variational Autoencoders" (2016), for the warm-up; Kingma et al., "Improving Variational Inference with Inverse
        Autoregressive Flow" (2016), equation 15, for free bits; Vahdat and Kautz, "NVAE: A Deep Hierarchical
        Variational Autoencoder" (2020), appendix A, for the balance.
    """
    if not isinstance(beta, Array) and not beta >= 0:
        raise UserError(f"beta={beta}: valid are 0 and more")
    if warmup_steps < 0 or not free_bits >= 0:
        raise UserError(f"warmup_steps={warmup_steps}, free_bits={free_bits}: valid are 0 and more")
    if balance and not warmup_steps:
        raise UserError("balance=True is for the warm-up, and warmup_steps=0")

    def price(step: Array, groups: Sequence[LatentGroup]) -> Array:
        nats = jnp.stack([group.kl for group in groups])
        if balance:
            nats = jnp.where(step < warmup_steps, _balanced(nats, groups), nats)
        if free_bits:
            mean = jnp.broadcast_to(nats.mean(1, keepdims=True), nats.shape)
            nats = jnp.where(mean > free_bits, nats, free_bits)
        weight = jnp.minimum(1.0, (step + 1) / warmup_steps) if warmup_steps else 1.0
        return beta * weight * nats.sum(0)

    return price


def capacity(gamma: float, max_capacity: float, steps: int) -> Regularizer:
    """``gamma |KL - C|`` of each example, float[B], where C grows linearly from 0 to `max_capacity` nats.

    Args:
        gamma: weight, 0 or more.
        max_capacity: nats, 0 or more.
        steps: updates over which C grows, at least 1.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from genjax.losses import gaussian
        >>> from genjax.methods.vae import regularizers
        >>> from genjax.nn.latent import draw
        >>> posterior = gaussian.Gaussian(jnp.ones((1, 4)), jnp.zeros((1, 4)))  # 2 nats from the prior
        >>> group = draw(jax.random.split(jax.random.key(0), 1), posterior, gaussian.standard((1, 4)))
        >>> price = regularizers.capacity(gamma=10.0, max_capacity=5.0, steps=100)
        >>> [round(float(price(step, [group])[0]), 3) for step in (0, 40, 1000)]
        [20.0, 0.0, 30.0]

    References:
        Burgess et al., "Understanding disentangling in beta-VAE" (2018), equation 8.
    """
    if not (gamma >= 0 and max_capacity >= 0 and steps >= 1):
        raise UserError(
            f"gamma={gamma}, max_capacity={max_capacity}, steps={steps}: valid are [0, inf), [0, inf), [1, inf)"
        )

    def price(step: Array, groups: Sequence[LatentGroup]) -> Array:
        target = max_capacity * jnp.minimum(1.0, step / steps)
        return gamma * jnp.abs(divergence(groups) - target)

    return price


def total_correlation(
    beta: float = 6.0, *, mutual_information: float = 1.0, dimension: float = 1.0, dataset_size: int
) -> Regularizer:
    """beta-TCVAE: the divergence in three parts, each with a weight of its own, float[B]; of a model with one group.

    The parts are estimated by minibatch-weighted sampling over the examples that a device sees at once.

    Args:
        beta: weight of the total correlation of the latent variables.
        mutual_information: weight of the mutual information of image and latent variables.
        dimension: weight of the divergence of each latent variable from its prior.
        dataset_size: number of training images.

    References:
        Chen et al., "Isolating Sources of Disentanglement in VAEs" (2018), equations 2 and 4.
    """
    if min(beta, mutual_information, dimension) < 0:
        raise UserError(
            f"beta={beta}, mutual_information={mutual_information}, dimension={dimension}: valid are 0 and more"
        )

    def price(step: Array, groups: Sequence[LatentGroup]) -> Array:
        if len(groups) != 1:
            raise UserError(
                f"the network has {len(groups)} groups of latent variables: the total correlation needs 1"
            )
        (group,) = groups
        weights = minibatch_weighted(group.z.shape[0], dataset_size)
        parts = decompose(group.z, group.posterior, weights)
        return (
            mutual_information * parts.mutual_information
            + beta * parts.total_correlation
            + dimension * parts.dimension_kl
        )

    return price


def _balanced(nats: Array, groups: Sequence[LatentGroup]) -> Array:
    """[groups, B], each weighted by its size times its mean, of which no gradient is taken; the mean weight is 1."""
    size = jnp.array([float(group.z[0].size) for group in groups])
    weight = jax.lax.stop_gradient(size * nats.mean(1))
    return nats * (weight / weight.mean())[:, None]
