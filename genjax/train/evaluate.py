"""Means of per-example metrics over a whole data set."""

import math
from collections.abc import Callable, Iterable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from genjax.train import sharding
from genjax.train.program import Program
from genjax.typing import Array, Batch, Key, Method, TrainState


def evaluator(
    method: Method, mesh: Mesh, preprocess: Callable[[Key, Batch], Batch]
) -> Callable[[TrainState, Key, Iterable[Mapping[str, np.ndarray]]], dict[str, float]]:
    """A function that averages what `method.evaluate` gives for each example.

    Returns:
        ``(state, key, batches) -> {name: mean}``. Batches are this process's shares, all of one shape, "_index" being
        the position in the data set; examples with ``_mask == False`` are not counted.
    """

    def sums(state: TrainState, key: Key, batch: Batch) -> tuple[dict[str, Array], Array]:
        values = method.evaluate(key, state, preprocess(key, batch))
        mask = batch["_mask"]
        # where, not a product: a NaN of the padding must not spoil the sum.
        totals = {name: jnp.where(mask, x, 0.0).sum(dtype=jnp.float32) for name, x in values.items()}
        return totals, mask.sum()

    program = Program(sums, "evaluation", out_shardings=sharding.replicated(mesh))

    def evaluate(
        state: TrainState, key: Key, batches: Iterable[Mapping[str, np.ndarray]]
    ) -> dict[str, float]:
        key = sharding.place(key, sharding.replicated(mesh))
        results = jax.device_get(
            [program(state, key, sharding.place_batch(batch, mesh)) for batch in batches]
        )
        count = sum(int(n) for _, n in results)
        return {k: math.fsum(float(totals[k]) for totals, _ in results) / count for k in results[0][0]}

    return evaluate
