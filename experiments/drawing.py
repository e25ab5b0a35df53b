"""The picture of samples that a run leaves: always from the same noise, one row a class."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from genjax import data
from genjax.app import build, kinds, pictures, translation
from genjax.app.config import Config
from genjax.train.generate import generator
from genjax.typing import Method, TrainState


def drawer(
    config: Config, method: Method, mesh: Mesh, test: data.Source, seed: int
) -> Callable[[TrainState], np.ndarray]:
    """A function from a state to a picture, uint8[H,W,C], of ``config.evaluation.grid_columns`` samples a row: one row
    a class, of `pictures.MOST_CLASSES` classes at most, or translations of the same test images. It is compiled
    once."""
    columns = config.evaluation.grid_columns
    if kinds.method(config).translates:
        return translation.drawer(config, method, mesh, test, 4 * columns, columns)
    generate = generator(method, mesh, config.sampling.batch_size)
    classes = build.num_classes(config, test.info)
    labels = None if classes is None else np.repeat(pictures.shown_classes(classes), columns)
    count = 10 * columns if labels is None else len(labels)
    condition = build.condition(config, labels, count) | translation.given(config, test, range(count))

    def draw(state: TrainState) -> np.ndarray:
        images = list(generate(state, jax.random.key(seed), condition, range(count)))
        levels = np.asarray(data.to_uint8(jnp.asarray(np.concatenate(images))))
        return pictures.by_class(levels, labels, columns, test.info.class_names)

    return draw
