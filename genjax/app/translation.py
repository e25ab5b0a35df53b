"""Models from images to images: what they are given to translate, and pictures of what they make of it."""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from genjax import data
from genjax.app import families, pictures
from genjax.app.config import Config
from genjax.train.generate import generator
from genjax.typing import Method, TrainState, UserError


def records(test: data.Source, numbers: range) -> dict[str, np.ndarray]:
    """The test records that belong to images by their numbers: the data, from its start again when it ends, in a fixed
    order that is mixed."""
    places = np.asarray(numbers) % len(test)
    return test.read(data.permute(places, len(test), (0,)))


def given(config: Config, test: data.Source, numbers: range, domain: str = "source") -> dict[str, np.ndarray]:
    """What `Method.sample` is to translate, float32[N,H,W,C] in [-1, 1]; nothing for models that make images anew.

    Raises:
        UserError: the model translates no images of this domain.
    """
    valid = families.of(config).translates
    if not valid and domain == "source":
        return {}
    if domain not in valid:
        raise UserError(
            f"domain={domain!r}: {type(config.method).__name__} translates "
            + (f"images of {', '.join(map(repr, valid))}" if valid else "no images")
        )
    return {domain: np.asarray(data.to_float(jnp.asarray(records(test, numbers)[domain])))}


def blank(config: Config, info: data.DataInfo, num: int) -> dict[str, np.ndarray]:
    """As `given`, without data."""
    valid = families.of(config).translates
    return {"source": np.zeros((num, *info.source_shape), np.float32)} if valid and info.source_shape else {}


def drawer(
    config: Config, method: Method, mesh: Mesh, test: data.Source, count: int, columns: int
) -> Callable[[TrainState], np.ndarray]:
    """A function from a state to a picture of `count` translations in each direction there is."""
    numbers, key = range(count), jax.random.key(config.fit.seed)
    real = records(test, numbers)
    directions = [
        (domain, generator(method, mesh, config.sampling.batch_size), given(config, test, numbers, domain))
        for domain in families.of(config).translates
    ]

    def draw(state: TrainState) -> np.ndarray:
        parts = []
        for domain, generate, condition in directions:
            made = np.concatenate(list(generate(state, key, condition, numbers)))
            levels = np.asarray(data.to_uint8(jnp.asarray(made)))
            parts.append(picture(config, real, domain, levels, columns, scale=1))
        return pictures.enlarged(np.concatenate(_same_width(parts)))

    return draw


def picture(
    config: Config,
    real: Mapping[str, np.ndarray],
    domain: str,
    made: np.ndarray,
    columns: int,
    scale: int | None = None,
) -> np.ndarray:
    """Rows of images of a domain, below each what they became and, of pairs, what they should have become."""
    wanted = [real["image"]] if domain == "source" and config.data.pairing == "paired" else []
    stacks = [real[domain], made, *wanted]
    if len({images.shape[1:3] for images in stacks}) > 1:
        raise UserError(f"images of {[images.shape[1:3] for images in stacks]} do not fit into one picture")
    channels = max(images.shape[-1] for images in stacks)
    alike = [np.broadcast_to(images, (*images.shape[:-1], channels)) for images in stacks]
    return pictures.below_each_other(alike, columns, scale=scale)


def _same_width(parts: list[np.ndarray]) -> list[np.ndarray]:
    """Pictures of grey and coloured images, of one size, with as many channels."""
    channels = max(part.shape[-1] for part in parts)
    return [np.broadcast_to(part, (*part.shape[:-1], channels)) for part in parts]
