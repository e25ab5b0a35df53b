"""What training methods share: gradients of a mean over the global batch, one optimizer step, the moving average."""

import dataclasses
import functools
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import optax

from genjax.devices import mean_over_devices, num_devices
from genjax.typing import Array, Batch, Key, PyTree, TrainState, UserError

Loss = Callable[[PyTree, Key, Batch], tuple[Array, dict[str, Array]]]
"""``(params, key, batch) -> (scalar loss, {name: scalar})``, both means over the examples of `batch`.

An entry may be a pytree too, of statistics that are means over the examples, and of whole numbers that do not depend
on them.
"""


def global_batch_size(batch: Batch) -> int:
    """Number of examples on all devices, also where a device sees only its own."""
    return batch["_index"].size * num_devices()


def gradients(
    loss: Loss, params: PyTree, key: Key, batch: Batch, *, accumulate: int = 1
) -> tuple[dict[str, Array], PyTree]:
    """Gradient of the mean loss over the global batch.

    Args:
        loss: see `Loss`; its randomness must derive from ``batch["_index"]`` for the result to be that of the whole
            batch.
        params: what to differentiate with respect to.
        key: key of the step.
        batch: arrays with leading axis B.
        accumulate: number of micro-batches that are processed one after another, to save memory; divides B.

    Returns:
        The metrics (with "loss" and "grad_norm", the global norm before any clipping), and the gradient.

    Raises:
        UserError: if `accumulate` does not divide the batch of a device.
    """

    def one(micro_batch: Batch) -> tuple[dict[str, Array], PyTree]:
        (value, metrics), grads = jax.value_and_grad(loss, has_aux=True)(params, key, micro_batch)
        return {"loss": value, **metrics}, grads

    if accumulate == 1:
        metrics, grads = one(batch)
    else:
        total = _sum_over(one, _micro_batches(batch, accumulate))
        metrics, grads = jax.tree.map(lambda x: _share(x, accumulate), total)
    metrics, grads = mean_over_devices((metrics, grads))
    return {**metrics, "grad_norm": optax.tree.norm(grads)}, grads


def _share(total: Array, count: int) -> Array:
    """A `count`-th of a sum; of whole numbers, which are the same in all micro-batches, a whole one."""
    return total // count if jnp.issubdtype(total.dtype, jnp.integer) else total / count


def _micro_batches(batch: Batch, count: int) -> dict[str, Array]:
    """[B,...] -> [count,B/count,...]: micro-batch i takes every count-th example, so that where the batch is spread
    over devices each micro-batch is too."""
    size = next(iter(batch.values())).shape[0]
    if count < 1 or size % count:
        raise UserError(f"accumulate={count} must divide the batch size {size}")
    return {k: jnp.moveaxis(x.reshape(size // count, count, *x.shape[1:]), 1, 0) for k, x in batch.items()}


def _sum_over(function: Callable[[PyTree], PyTree], stacked: PyTree) -> PyTree:
    """Sum of `function` over the leading axis: a `scan`, but unrolled on CPU, where XLA computes the gradients of
    convolutions 40 times slower inside a loop."""
    if jax.default_backend() == "cpu":
        results = [
            function(jax.tree.map(lambda x: x[i], stacked)) for i in range(len(jax.tree.leaves(stacked)[0]))
        ]
        return functools.reduce(lambda a, b: jax.tree.map(jnp.add, a, b), results)
    shapes = jax.eval_shape(function, jax.tree.map(lambda x: x[0], stacked))
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    return jax.lax.scan(lambda t, x: (jax.tree.map(jnp.add, t, function(x)), None), zeros, stacked)[0]


def start(
    params: PyTree, optimizer: optax.GradientTransformation, *, mutable: PyTree = (), frozen: PyTree = ()
) -> TrainState:
    """The state before the first update; the average starts at the parameters."""
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        opt=optimizer.init(params),
        ema=jax.tree.map(jnp.copy, params),
        mutable=mutable,
        frozen=frozen,
    )


def advance(
    state: TrainState, optimizer: optax.GradientTransformation, grads: PyTree, ema_decay: float
) -> TrainState:
    """The state after one step of the optimizer: parameters, their moving average, and the number of updates."""
    changes, opt = optimizer.update(grads, state.opt, state.params)
    params = optax.apply_updates(state.params, changes)
    number = state.step + 1
    average = ema(state.ema, params, number, ema_decay)
    return dataclasses.replace(state, step=number, params=params, opt=opt, ema=average)


def asked_label(condition: Mapping[str, Array], num_classes: int | None) -> Array | None:
    """The labels of a batch, or of images that are to be made; None for an unconditional model.

    Raises:
        UserError: if they are missing.
    """
    if num_classes is None:
        return None
    if "label" not in condition:
        raise UserError(f"label is missing: the model is conditional, valid are 0..{num_classes - 1}")
    return condition["label"]


def psnr(error: Array) -> Array:
    """Peak signal-to-noise ratio in dB from the mean squared errors of images in [-1, 1], whose peak is 2.

    An exact image has 100 dB, not infinitely many.
    """
    return 10 * jnp.log10(4 / jnp.maximum(error, 4e-10))


def ema(average: PyTree, params: PyTree, step: Array, decay: float) -> PyTree:
    """Exponential moving average, with a decay that grows from 0.1 to `decay` so that early steps are forgotten.

    Args:
        average: the average so far.
        params: parameters after update number `step`.
        step: int32[], number of updates done, this one included.
        decay: in [0, 1); the decay in use is ``min(decay, (1 + step) / (10 + step))``.
    """
    rate = 1.0 - jnp.minimum(decay, (1.0 + step) / (10.0 + step))
    return jax.tree.map(lambda a, p: a + rate * (p - a), average, params)
