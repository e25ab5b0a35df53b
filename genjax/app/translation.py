"""What test records give to models: images to translate, and conditions; and pictures of translations."""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from genjax import data
from genjax.app import kinds, pictures
from genjax.app.config import Config
from genjax.train.generate import generator
from genjax.typing import Method, TrainState, UserError


def records(test: data.Source, numbers: range) -> dict[str, np.ndarray]:
    """The test records that belong to images by their numbers: the data, from its start again when it ends, in a fixed
    order that is mixed; arrays of shape [len(numbers),...]."""
    places = np.asarray(numbers) % len(test)
    return test.read(data.permute(places, len(test), (0,)))


def given(config: Config, test: data.Source, numbers: range, domain: str = "source") -> dict[str, np.ndarray]:
    """What test records tell `Method.sample`: the images it is to translate, and all conditions but the class.

    Args:
        config: config of the run.
        test: held-out records.
        numbers: numbers of the images, each of which belongs to one record.
        domain: which images are translated, by models that do so.

    Returns:
        By name; images are float32[N,H,W,C] in [-1, 1].

    Raises:
        UserError: the model translates no images of this domain.
    """
    valid = kinds.method(config).translates
    if domain not in valid and (valid or domain != "source"):
        raise UserError(
            f"domain={domain!r}: {kinds.name('method', config.method)} translates "
            + (f"images of {', '.join(map(repr, valid))}" if valid else "no images")
        )
    names = [domain] if valid else _conditions(config, test.info)
    if not names:
        return {}
    found = records(test, numbers)
    images = {name: test.info.fields[name].is_image for name in names}
    return {name: _in_range(found[name]) if images[name] else found[name] for name in names}


def blank(config: Config, info: data.DataInfo, num: int) -> dict[str, np.ndarray]:
    """As `given`, without data: zeros of shape [num,...]."""
    names = kinds.method(config).translates[:1] or _conditions(config, info)
    fields = {name: info.fields[name] for name in names}
    return {name: f.blank(num).astype(np.float32 if f.is_image else f.dtype) for name, f in fields.items()}


def _conditions(config: Config, info: data.DataInfo) -> list[str]:
    """All but the class, which images are asked for one after another."""
    told = kinds.context(config, info).conditions
    return [name for name in told if name != "label"]


def _in_range(images: np.ndarray) -> np.ndarray:
    return np.asarray(data.to_float(jnp.asarray(images)))


def drawer(
    config: Config, method: Method, mesh: Mesh, test: data.Source, count: int, columns: int
) -> Callable[[TrainState], np.ndarray]:
    """A function from a state to a picture uint8[H,W,C] of `count` translations in each direction there is."""
    numbers, key = range(count), jax.random.key(config.fit.seed)
    real = records(test, numbers)
    directions = [
        (domain, generator(method, mesh, config.sampling.batch_size), given(config, test, numbers, domain))
        for domain in kinds.method(config).translates
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
    """Rows of images of a domain, below each what they became and, of pairs, what they should have become.

    Args:
        config: config of the run.
        real: records, see `records`.
        domain: name of the images that were translated.
        made: uint8[N,H,W,C], what they became.
        columns: images per row.
        scale: see `genjax.app.pictures.grid`.

    Raises:
        UserError: the images are of different sizes.
    """
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
