"""Data sets made of the images of another one: their edges, their negatives."""

import dataclasses
from collections.abc import Callable

import numpy as np
from jaxtyping import UInt8

from genjax.data.digest import digest, made
from genjax.data.fields import image
from genjax.data.ignored import ignored
from genjax.data.source import Source

Derivation = Callable[[np.ndarray], np.ndarray]
"""uint8[N,H,W,C] -> uint8[N,H,W,C'], a function of each image alone."""


def edges(images: UInt8[np.ndarray, "N H W C"]) -> UInt8[np.ndarray, "N H W 1"]:
    """White lines on black along the edges of images: 255 where the largest channel has a morphological gradient of at
    least 128, else 0.

    The gradient is the largest minus the smallest level of the 3x3 pixels around a pixel; outside of an image its
    border is repeated.

    Example:
        >>> import numpy as np
        >>> from genjax.data.derived import edges
        >>> edges(np.uint8([0, 0, 0, 255]).reshape(1, 1, 4, 1)).ravel().tolist()  # on both sides of the step
        [0, 0, 255, 255]
    """
    levels = images.max(-1)
    padded = np.pad(levels, ((0, 0), (1, 1), (1, 1)), mode="edge")
    height, width = levels.shape[1:]
    around = [padded[:, i : i + height, j : j + width] for i in range(3) for j in range(3)]
    gradient = np.maximum.reduce(around) - np.minimum.reduce(around)
    return np.where(gradient >= 128, 255, 0).astype(np.uint8)[..., None]


def inverted(images: UInt8[np.ndarray, "N H W C"]) -> UInt8[np.ndarray, "N H W C"]:
    """Negatives: level x becomes 255 - x.

    Example:
        >>> import numpy as np
        >>> from genjax.data.derived import inverted
        >>> inverted(np.uint8([0, 100]).reshape(1, 1, 2, 1)).ravel().tolist()
        [255, 155]
    """
    return 255 - images


DERIVATIONS: dict[str, Derivation] = {"edges": edges, "inverted": inverted}
"""By the prefix with which `genjax.data.load` knows them: "edges:mnist"."""


class Derived:
    """A source of what a function makes of the images of another source; labels pass unchanged.

    Args:
        source: the images.
        derivation: the function.
        name: the prefix, as in "NAME:DATASET".

    Example:
        >>> import numpy as np
        >>> from genjax import data
        >>> from genjax.data.derived import inverted
        >>> source = data.ArraySource(np.zeros((1, 2, 2, 1), np.uint8), name="black")
        >>> white = data.Derived(source, inverted, "inverted")
        >>> white.info.name, white.read(np.array([0]))["image"].ravel().tolist()
        ('inverted:black', [255, 255, 255, 255])
    """

    def __init__(self, source: Source, derivation: Derivation, name: str):
        self._source, self._derivation = source, derivation
        derived = derivation(np.zeros((1, *source.info.image_shape), np.uint8)).shape
        shape: tuple[int, int, int] = (derived[1], derived[2], derived[3])
        info = source.info.with_field("image", image(shape))
        self.info = dataclasses.replace(info, name=f"{name}:{source.info.name}")
        self.skipped, self.ignored = source.skipped, ignored(source)
        self.digest = made(name, digest(source))

    def __len__(self) -> int:
        return len(self._source)

    def read(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """See `Source.read`."""
        records = self._source.read(indices)
        return {**records, "image": self._derivation(records["image"])}
