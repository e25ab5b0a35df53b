"""Pictures of a latent space: reconstructions, traversals of its components, paths between images."""

import jax
import jax.numpy as jnp
import numpy as np

from genjax import data
from genjax.app import kinds, pictures
from genjax.app.restore import Run
from genjax.methods.latent_space import LatentSpace, interpolate, traverse
from genjax.typing import Array, UserError

SPREAD = 3.0
"""How far traversals go, in standard deviations of a component over the images."""


def reconstructions(run: Run, source: data.Source, num: int, seed: int, columns: int) -> np.ndarray:
    """A picture of `num` images, each row of them above the row of their reconstructions."""
    space, batch = _space(run), _batch(source, num)
    made = jax.jit(space.reconstruct)(jax.random.key(seed), run.state, batch)
    return pictures.below_each_other([_levels(batch["image"]), _levels(made)], columns)


def traversals(run: Run, source: data.Source, num: int, columns: int) -> np.ndarray:
    """A picture with a row for each of the `num` components that differ most over images: the code of the first image,
    the component from -3 to 3 standard deviations around its mean."""
    space, batch = _with_codes(run, "traversals"), _batch(source, min(1000, len(source)))
    assert space.encode is not None and space.decode is not None
    codes = jax.jit(space.encode)(run.state, batch)
    mean, std = codes.mean(0), codes.std(0)
    chosen = np.argsort(-np.asarray(std))[:num]
    steps = jnp.linspace(-SPREAD, SPREAD, columns)
    paths = jnp.concatenate([traverse(codes[0], int(j), mean[j] + steps * std[j]) for j in chosen])
    return pictures.grid(_decoded(run, space, paths, batch, np.zeros(len(paths), int)), columns)


def interpolations(run: Run, source: data.Source, num: int, columns: int) -> np.ndarray:
    """A picture with `num` rows, each a path from one image of the data to another, both as they are reconstructed.

    In a conditional model a row has the label of its first image.
    """
    space, batch = _with_codes(run, "interpolations"), _batch(source, 2 * num)
    assert space.encode is not None
    codes = jax.jit(space.encode)(run.state, batch)
    paths = jnp.concatenate([interpolate(codes[2 * i], codes[2 * i + 1], columns) for i in range(num)])
    return pictures.grid(_decoded(run, space, paths, batch, np.repeat(2 * np.arange(num), columns)), columns)


def _decoded(
    run: Run, space: LatentSpace, z: Array, batch: dict[str, Array], example: np.ndarray
) -> np.ndarray:
    assert space.decode is not None
    told = {name: batch[name][example] for name in run.context.conditions}
    return _levels(jax.jit(space.decode)(run.state, z, told))


def _space(run: Run) -> LatentSpace:
    make = kinds.method(run.config).latent_space
    if make is None:
        raise UserError(f"show: {kinds.name('method', run.config.method)} has no encoder; valid is 'samples'")
    return make(run.context)


def _with_codes(run: Run, what: str) -> LatentSpace:
    space = _space(run)
    if space.encode is None:
        raise UserError(
            f"show={what!r}: {kinds.name('model', run.config.model)} has no single code for an image; valid are "
            "'samples', 'reconstructions'"
        )
    return space


def _batch(source: data.Source, num: int) -> dict[str, Array]:
    """The first images of a fixed permutation of the data: sets are often sorted by class."""
    if num > len(source):
        raise UserError(f"num={num}: the data has {len(source)} images for it")
    index = data.permute(np.arange(num), len(source), (0,))
    return data.preprocess(jax.random.key(0), {**source.read(index), "_index": jnp.arange(num)})


def _levels(images: Array) -> np.ndarray:
    return np.asarray(data.to_uint8(images))
