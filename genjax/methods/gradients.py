"""Gradients of a mean over the global batch: how they are computed is an argument of a method."""

import functools
from collections.abc import Callable
from typing import TypeAlias

import jax
import jax.numpy as jnp
import optax

from genjax.devices import mean_over_devices
from genjax.typing import Array, Batch, Key, PyTree, UserError

Loss: TypeAlias = Callable[[PyTree, Key, Batch], tuple[Array, dict[str, Array]]]
"""``(params, key, batch) -> (scalar loss, {name: scalar})``, both means over the examples of `batch`.

An entry may be a pytree too, of statistics that are means over the examples, and of whole numbers that do not depend
on them.
"""

Gradient: TypeAlias = Callable[[Loss, PyTree, Key, Batch], tuple[dict[str, Array], PyTree]]
"""``(loss, params, key, batch) -> (metrics, gradient)``.

The metrics are the loss's metrics, with "loss" and "grad_norm", the global norm of the gradient before any clipping.
The gradient is a mean over the global batch, whatever happens to the examples on the way to it.
"""


def mean_gradient(accumulate: int = 1) -> Gradient:
    """The gradient of the mean loss over the global batch.

    The randomness of the loss must derive from ``batch["_index"]`` for the result to be independent of the number of
    devices and of micro-batches.

    Args:
        accumulate: number of micro-batches that are processed one after another, to save memory; it must divide the
            B of a batch, whose arrays have the shape [B,...].

    Raises:
        UserError: if `accumulate` is below 1; from the first call, if it does not divide the batch of a device.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from genjax.methods.gradients import mean_gradient
        >>> batch = {"x": jnp.array([1.0, 2.0, 3.0, 6.0]), "_index": jnp.arange(4)}
        >>> def loss(w, key, batch):
        ...     return (w * batch["x"]).mean(), {}
        >>> metrics, slope = mean_gradient(accumulate=2)(loss, jnp.array(2.0), jax.random.key(0), batch)
        >>> float(metrics["loss"]), float(slope)  # as without accumulation
        (6.0, 3.0)
    """
    if accumulate < 1:
        raise UserError(f"accumulate={accumulate}: valid are whole numbers of 1 and more")

    def gradient(loss: Loss, params: PyTree, key: Key, batch: Batch) -> tuple[dict[str, Array], PyTree]:
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

    return gradient


def _share(total: Array, count: int) -> Array:
    """A `count`-th of a sum; of whole numbers, which are the same in all micro-batches, a whole one."""
    return total // count if jnp.issubdtype(total.dtype, jnp.integer) else total / count


def _micro_batches(batch: Batch, count: int) -> dict[str, Array]:
    """[B,...] -> [count,B/count,...]: micro-batch i takes every count-th example, so that where the batch is spread
    over devices each micro-batch is too."""
    size = next(iter(batch.values())).shape[0]
    if size % count:
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
