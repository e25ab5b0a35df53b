"""Looking into a trained model: reconstructions, codes, and images of codes."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp

from genjax.conditions import select
from genjax.losses.gaussian import Gaussian
from genjax.losses.likelihood import Likelihood
from genjax.methods.averages import averaged
from genjax.random import example_keys
from genjax.typing import Array, Batch, Condition, Key, TrainState


class LatentSpace(NamedTuple):
    """What a model with an encoder can do in addition to making images. All functions are pure; images are in [-1, 1].

    Attributes:
        reconstruct: ``(key, state, batch) -> float32[B,H,W,C]``.
        encode: ``(state, batch) -> float32[B,D]``, the code, or the mean of its distribution; None where a model has no
            single vector for an image.
        decode: ``(state, z float32[B,D], condition) -> float32[B,H,W,C]``, where the condition is None or as in
            `genjax.conditions`; None where `encode` is.
        posterior: ``(state, batch) -> Gaussian`` of float32[B,D], the distribution of the code; None where it is not
            normal.
    """

    reconstruct: Callable[[Key, TrainState, Batch], Array]
    encode: Callable[[TrainState, Batch], Array] | None = None
    decode: Callable[[TrainState, Array, Condition | None], Array] | None = None
    posterior: Callable[[TrainState, Batch], Gaussian] | None = None


def vae_space(network: nn.Module, likelihood: Likelihood, conditions: Sequence[str] = ()) -> LatentSpace:
    """The functions of a variational autoencoder: reconstructions are expected images of draws from the posterior.

    Args:
        network: as for `genjax.methods.vae.vae`. With methods ``encode``, ``decode`` and ``posterior``, as
            `genjax.models.VAE`, there are codes too.
        likelihood: what the outputs mean.
        conditions: names of the arrays of a batch that the network is told; all of them must be there.
    """

    def reconstruct(key: Key, state: TrainState, batch: Batch) -> Array:
        keys = example_keys(key, batch["_index"])
        told = select(batch, conditions, required=True)
        outputs, _ = _apply(network, state, "infer", keys, batch["image"], told)
        return likelihood.mean(outputs)

    if not hasattr(network, "encode"):
        return LatentSpace(reconstruct)

    def posterior(state: TrainState, batch: Batch) -> Gaussian:
        told = select(batch, conditions, required=True)
        return _apply(network, state, "posterior", batch["image"], told)

    normal = getattr(network, "posterior_flow", None) is None
    codes = _codes(network, likelihood, conditions)
    return LatentSpace(reconstruct, *codes, posterior if normal else None)


def autoencoder_space(
    network: nn.Module, likelihood: Likelihood, conditions: Sequence[str] = ()
) -> LatentSpace:
    """The functions of an autoencoder, with the arguments of `vae_space`."""

    def reconstruct(key: Key, state: TrainState, batch: Batch) -> Array:
        told = select(batch, conditions, required=True)
        outputs, _ = _apply(network, state, "__call__", batch["image"], told)
        return likelihood.mean(outputs)

    return LatentSpace(reconstruct, *_codes(network, likelihood, conditions))


def traverse(z: Array, component: int, values: Array) -> Array:
    """A code with one component set to each of several values.

    Args:
        z: float[D].
        component: which, in ``range(D)``.
        values: float[V].

    Returns:
        float[V,D].

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax.methods.latent_space import traverse
        >>> traverse(jnp.array([5.0, 6.0]), 1, jnp.array([-1.0, 1.0])).tolist()
        [[5.0, -1.0], [5.0, 1.0]]
    """
    return jnp.broadcast_to(z, (len(values), len(z))).at[:, component].set(values)


def interpolate(first: Array, second: Array, steps: int) -> Array:
    """Codes from `first` to `second`, on the arc between their directions, the length changing evenly.

    On the straight line codes in the middle are shorter than any that a normal prior draws.

    Args:
        first: float[D].
        second: float[D].
        steps: number of codes, both ends included; at least 2.

    Returns:
        float[steps,D].

    Example:
        >>> import jax.numpy as jnp, numpy as np
        >>> from genjax.methods.latent_space import interpolate
        >>> print(np.asarray(interpolate(jnp.array([1.0, 0.0]), jnp.array([0.0, 3.0]), 3)[1]).round(3))  # length 2
        [1.414 1.414]

    References:
        White, "Sampling Generative Networks" (2016), section 3.2.
    """
    a, b = jnp.linalg.norm(first), jnp.linalg.norm(second)
    tiny = jnp.finfo(first.dtype).tiny
    u, v = first / jnp.maximum(a, tiny), second / jnp.maximum(b, tiny)
    t = jnp.linspace(0.0, 1.0, steps)[:, None]
    angle = jnp.arccos(jnp.clip(u @ v, -1.0, 1.0))
    arc = (jnp.sin((1 - t) * angle) * u[None] + jnp.sin(t * angle) * v[None]) / jnp.sin(angle)
    # Codes in (nearly) one direction, or opposite ones, have no arc between them.
    direction = jnp.where(jnp.abs(jnp.sin(angle)) < 1e-4, (1 - t) * u[None] + t * v[None], arc)
    return ((1 - t) * a + t * b) * direction


def _codes(network: nn.Module, likelihood: Likelihood, conditions: Sequence[str]) -> tuple[Any, Any]:
    def encode(state: TrainState, batch: Batch) -> Array:
        return _apply(network, state, "encode", batch["image"], select(batch, conditions, required=True))

    def decode(state: TrainState, z: Array, condition: Condition | None = None) -> Array:
        return likelihood.mean(_apply(network, state, "decode", z, condition))

    return encode, decode


def _apply(network: nn.Module, state: TrainState, method: str, *args: Any) -> Any:
    return network.apply({"params": averaged(state)}, *args, method=method)
