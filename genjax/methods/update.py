"""What training methods share beside gradients and averages: one step of the optimizer, and what they are asked for."""

import dataclasses
from collections.abc import Mapping

import jax.numpy as jnp
import optax

from genjax.devices import num_devices
from genjax.methods.averages import Average
from genjax.typing import Array, Batch, PyTree, TrainState


def global_batch_size(batch: Batch) -> int:
    """Number of examples on all devices, also where a device sees only its own, by "_index" int32[B]."""
    return batch["_index"].size * num_devices()


def start(
    params: PyTree,
    optimizer: optax.GradientTransformation,
    average: Average,
    *,
    mutable: PyTree = (),
    frozen: PyTree = (),
) -> TrainState:
    """The state before the first update; the average starts at the parameters."""
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        opt=optimizer.init(params),
        ema=average.init(params),
        mutable=mutable,
        frozen=frozen,
    )


def advance(
    state: TrainState, optimizer: optax.GradientTransformation, grads: PyTree, average: Average
) -> TrainState:
    """The state after one step of the optimizer: parameters, their average, and the number of updates."""
    changes, opt = optimizer.update(grads, state.opt, state.params)
    params = optax.apply_updates(state.params, changes)
    number = state.step + 1
    return dataclasses.replace(
        state, step=number, params=params, opt=opt, ema=average.update(state.ema, params, number)
    )


def temperature(condition: Mapping[str, Array], num: int) -> Array:
    """float[N]: the factor of the noise that `num` images are made with; 1 where nothing else is asked for."""
    return condition.get("temperature", jnp.ones(num))


def example_condition(batch: Batch, names: tuple[str, ...]) -> dict[str, Array]:
    """The conditions of one blank example, from which parameters get their shapes."""
    return {name: jnp.zeros_like(batch[name][:1]) for name in names}


def psnr(error: Array) -> Array:
    """float[B] -> float[B]: peak signal-to-noise ratio in dB from the mean squared errors of images in [-1, 1].

    The peak is 2. An exact image has 100 dB, not infinitely many.

    Example:
        >>> import jax.numpy as jnp, numpy as np
        >>> from genjax.methods.update import psnr
        >>> print(np.asarray(psnr(jnp.array([0.04, 0.0]))).round(3))
        [ 20. 100.]
    """
    return 10 * jnp.log10(4 / jnp.maximum(error, 4e-10))
