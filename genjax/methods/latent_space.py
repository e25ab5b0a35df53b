"""Looking into a trained model: reconstructions, codes, and images of codes."""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp

from genjax.losses.gaussian import Gaussian
from genjax.losses.likelihood import Likelihood
from genjax.random import example_keys
from genjax.typing import Array, Batch, Key, PyTree, TrainState


class LatentSpace(NamedTuple):
    """What a model with an encoder can do beside making images. All functions are pure; images are in [-1, 1].

    Attributes:
        reconstruct: ``(key, state, batch) -> float32[B,H,W,C]``.
        encode: ``(state, batch) -> float32[B,D]``, the code, or the mean of its distribution; None where a model has no
            single vector for an image.
        decode: ``(state, z float32[B,D], label int32[B] | None) -> float32[B,H,W,C]``; None where `encode` is.
        posterior: ``(state, batch) -> Gaussian`` of float32[B,D], the distribution of the code; None where it is not
            normal.
    """

    reconstruct: Callable[[Key, TrainState, Batch], Array]
    encode: Callable[[TrainState, Batch], Array] | None = None
    decode: Callable[[TrainState, Array, Array | None], Array] | None = None
    posterior: Callable[[TrainState, Batch], Gaussian] | None = None


def vae_space(network: nn.Module, likelihood: Likelihood, num_classes: int | None = None) -> LatentSpace:
    """That of a variational autoencoder: reconstructions are expected images of draws from the posterior.

    Args:
        network: as for `genjax.methods.vae.vae`. With methods ``encode``, ``decode`` and ``posterior``, as
            `genjax.models.VAE`, there are codes too.
        likelihood: what the outputs mean.
        num_classes: of a conditional model.
    """

    def reconstruct(key: Key, state: TrainState, batch: Batch) -> Array:
        keys = example_keys(key, batch["_index"])
        outputs, _ = _apply(network, state.ema, "infer", keys, batch["image"], _label(batch, num_classes))
        return likelihood.mean(outputs)

    if not hasattr(network, "encode"):
        return LatentSpace(reconstruct)

    def posterior(state: TrainState, batch: Batch) -> Gaussian:
        return _apply(network, state.ema, "posterior", batch["image"], _label(batch, num_classes))

    normal = getattr(network, "posterior_flow", None) is None
    codes = _codes(network, likelihood, num_classes)
    return LatentSpace(reconstruct, *codes, posterior if normal else None)


def autoencoder_space(
    network: nn.Module, likelihood: Likelihood, num_classes: int | None = None
) -> LatentSpace:
    """That of an autoencoder, as `vae_space`."""

    def reconstruct(key: Key, state: TrainState, batch: Batch) -> Array:
        outputs, _ = _apply(network, state.ema, "__call__", batch["image"], _label(batch, num_classes))
        return likelihood.mean(outputs)

    return LatentSpace(reconstruct, *_codes(network, likelihood, num_classes))


def traverse(z: Array, component: int, values: Array) -> Array:
    """A code with one component set to each of several values.

    Args:
        z: float[D].
        component: which, in ``range(D)``.
        values: float[V].

    Returns:
        float[V,D].
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


def _codes(network: nn.Module, likelihood: Likelihood, num_classes: int | None) -> tuple[Any, Any]:
    def encode(state: TrainState, batch: Batch) -> Array:
        return _apply(network, state.ema, "encode", batch["image"], _label(batch, num_classes))

    def decode(state: TrainState, z: Array, label: Array | None = None) -> Array:
        return likelihood.mean(_apply(network, state.ema, "decode", z, label))

    return encode, decode


def _label(batch: Batch, num_classes: int | None) -> Array | None:
    return None if num_classes is None else batch["label"]


def _apply(network: nn.Module, params: PyTree, method: str, *args: Any) -> Any:
    return network.apply({"params": params}, *args, method=method)
