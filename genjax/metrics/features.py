"""From images to features: batch by batch, on one device or many."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import numpy as np
from jaxtyping import Float32

from genjax.metrics.extractor import Extractor
from genjax.metrics.multihost import fetch
from genjax.typing import UserError


@runtime_checkable
class Images(Protocol):
    """Images that are read when they are needed: an array uint8[N,H,W,C] is one, and so is a list of files."""

    def __len__(self) -> int:
        """Their number."""

    def __getitem__(self, indices: np.ndarray, /) -> np.ndarray | Sequence[np.ndarray]:
        """uint8[B,H,W,C], or B arrays uint8[H,W,C] of several sizes."""


class Features(NamedTuple):
    """What an extractor says of N images.

    Attributes:
        values: float32[N,D], the features.
        logits: float32[N,K].
        digest: 16 hexadecimal digits of the SHA-256 of the pixels, by which two sets of one name are told apart.
    """

    values: Float32[np.ndarray, "N D"]
    logits: Float32[np.ndarray, "N K"]
    digest: str

    @property
    def classes(self) -> np.ndarray:
        """int[N], the likeliest class of each."""
        return self.logits.argmax(-1)


def features(
    images: Images, extractor: Extractor, batch_size: int = 500, sharding: jax.sharding.Sharding | None = None
) -> Features:
    """Features of all images, held at once: 4 (D + K) bytes an image.

    Args:
        images: N >= 1 of them.
        extractor: extractor of features and logits.
        batch_size: images passed to the extractor at a time, a multiple of the devices of `sharding`.
        sharding: how a batch is laid out on devices; None is one device.

    Raises:
        UserError: as `extract`.
    """
    digest = hashlib.sha256()
    parts = list(extract(images, extractor, batch_size, sharding, digest.update))
    values, logits = (np.concatenate([part[i] for part in parts]) for i in (0, 1))
    return Features(values, logits, digest.hexdigest()[:16])


def extract(
    images: Images,
    extractor: Extractor,
    batch_size: int = 500,
    sharding: jax.sharding.Sharding | None = None,
    seen: Callable[[bytes], Any] = lambda pixels: None,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Features float32[B,D] and logits float32[B,K] of images, batch by batch.

    The last batch is filled up before and cut after the extractor, which so compiles for one shape only.

    Args:
        images: see `features`.
        extractor: see `features`.
        batch_size: see `features`.
        sharding: see `features`.
        seen: called with the bytes of the pixels of each batch, in order.

    Raises:
        UserError: `batch_size` below 1, or images of several sizes that `extractor.prepare` does not bring to one.
    """
    if batch_size < 1:
        raise UserError(f"batch_size is {batch_size}: it must be at least 1")
    apply = jax.jit(extractor.apply)
    for start in range(0, len(images), batch_size):
        batch = images[np.arange(start, min(start + batch_size, len(images)))]
        for pixels in [batch] if isinstance(batch, np.ndarray) else batch:
            seen(np.ascontiguousarray(pixels).tobytes())
        prepared = _prepare(batch, extractor)
        padding = ((0, batch_size - len(prepared)), *((0, 0),) * (prepared.ndim - 1))
        values, logits = fetch(apply(jax.device_put(np.pad(prepared, padding, mode="edge"), sharding)))
        yield values[: len(prepared)], logits[: len(prepared)]


def _prepare(batch: np.ndarray | Sequence[np.ndarray], extractor: Extractor) -> np.ndarray:
    if isinstance(batch, np.ndarray):
        return extractor.prepare(batch)
    prepared = [extractor.prepare(image[None]) for image in batch]
    for image, first in zip(prepared, prepared[:1] * len(prepared), strict=True):
        if image.shape != first.shape:
            raise UserError(
                f"images have several sizes, {first.shape[1:3]} and {image.shape[1:3]} among them, and the extractor "
                f"{extractor.name!r} does not bring them to one before the network: scale them first, or take an "
                "extractor that does"
            )
    return np.concatenate(prepared)
