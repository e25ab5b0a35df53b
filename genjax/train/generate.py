"""Many images from a trained state: batches of one shape, one compilation, images that belong to their keys."""

from collections.abc import Callable, Iterator, Mapping

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from genjax.train import sharding
from genjax.train.finite import check_images
from genjax.train.program import Program
from genjax.typing import Key, Method, TrainState, UserError


def generator(
    method: Method, mesh: Mesh, batch_size: int
) -> Callable[[TrainState, Key, Mapping[str, np.ndarray], range], Iterator[np.ndarray]]:
    """A function that makes any number of images, `batch_size` at a time.

    Args:
        method: its `sample` is compiled once.
        mesh: the images of a batch are spread over its devices.
        batch_size: made at a time; rounded up to a multiple of the number of devices.

    Returns:
        ``(state, key, condition, numbers) -> iterator of float32[b,H,W,C]`` in [-1, 1], on the host: image i of
        `numbers` is made from ``fold_in(key, i)`` and row i - numbers.start of each array in `condition`. It is the
        same image whatever batch it is made in, up to rounding. Conditions have the shape [len(numbers),...].

    Raises:
        UserError: if `batch_size` is less than 1, or a condition has another length than `numbers`.
        NonFiniteError: from the function, if an image is not finite.
    """
    if batch_size < 1:
        raise UserError(f"batch_size={batch_size} must be at least 1")
    size = sharding.round_up(batch_size, mesh)
    rows, everywhere = sharding.batch_sharding(mesh), sharding.replicated(mesh)
    program = sampling_program(method, mesh)

    def put(x: np.ndarray) -> jax.Array:
        return jax.make_array_from_callback(x.shape, rows, lambda part: x[part])

    def generate(
        state: TrainState, key: Key, condition: Mapping[str, np.ndarray], numbers: range
    ) -> Iterator[np.ndarray]:
        for name, x in condition.items():
            if len(x) != len(numbers):
                raise UserError(
                    f"condition {name!r} has {len(x)} rows, but {len(numbers)} images are asked for"
                )
        key = sharding.place(key, everywhere)
        for start in range(0, len(numbers), size):
            index = np.minimum(
                np.arange(start, start + size), len(numbers) - 1
            )  # the last batch repeats its last image
            batch = {name: put(np.asarray(x)[index]) for name, x in condition.items()}
            images = program(state, key, put(np.asarray(numbers)[index].astype(np.int32)), batch)
            yield check_images(_on_host(images)[: len(numbers) - start], numbers.start + start)

    return generate


def sampling_program(method: Method, mesh: Mesh) -> Program:
    """``(state, key, numbers: int32[B], condition) -> float32[B,H,W,C]``, image i from ``fold_in(key, i)``."""
    return Program(
        lambda state, key, numbers, condition: method.sample(
            jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, numbers), state, condition
        ),
        "sampling",
        out_shardings=sharding.batch_sharding(mesh),
    )


def _on_host(x: jax.Array) -> np.ndarray:
    if x.is_fully_addressable:
        return np.asarray(x)
    return np.asarray(multihost_utils.process_allgather(x, tiled=True))
