"""One call from images to numbers: how far generated images are from real ones, on a scale real ones set."""

import hashlib
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from genjax.metrics.extractor import Extractor
from genjax.metrics.frechet import Moments, distance, merge, moments
from genjax.metrics.protocol import Protocol, Result, ratio
from genjax.typing import UserError

SUBSET_SEED = 0


def score(
    generated: np.ndarray,
    test: np.ndarray,
    train: np.ndarray,
    *,
    extractor: Extractor,
    labels: np.ndarray | None = None,
    batch_size: int = 500,
    reference: str = "test",
) -> dict[str, Any]:
    """Scores generated images against real ones.

    A Fréchet distance alone says little: its scale is the extractor's, and it falls as the number of images
    grows. So the same distance is measured between the real train and test sets, from the same number of
    images on every side; `rho`, the quotient, is near 1 when generated images are as close to the test set as
    real ones are.

    Every set is cut to the size N of the smallest one by `subset`, and quantised to 8 bits by `quantize`, as
    images that are written to disk are.

    Args:
        generated: uint8[N1,H,W,C], or float[N1,H,W,C] in [-1, 1].
        test: uint8[N2,H,W,C] or float: held-out real images, the reference.
        train: uint8[N3,H,W,C] or float: real images the model was trained on.
        extractor: of features and logits.
        labels: int[N1], the class asked of each generated image; None if the model takes none.
        batch_size: images passed to the extractor at a time.
        reference: name of the test set, for the protocol: "mnist/test".

    Returns:
        ``fd_generated`` and ``fd_train``, distances of generated and train images to the test images;
        ``rho``, the first by the second; ``num_samples``, N; ``protocol``, the canonical text of the
        distances' `Protocol`; and with `labels` ``label_agreement``, the share of the N images that are
        classified as what was asked for.

    Raises:
        UserError: if there are fewer than two images on a side, shapes or types do not fit, or a value is not
            finite.
    """
    if labels is not None and np.shape(labels) != (len(generated),):
        raise UserError(
            f"labels has shape {np.shape(labels)}: one per generated image, ({len(generated)},), is needed"
        )
    if batch_size < 1:
        raise UserError(f"batch_size is {batch_size}: it must be at least 1")
    n = min(len(generated), len(test), len(train))
    if n < 2:
        raise UserError(
            f"generated, test and train have {len(generated)}, {len(test)} and {len(train)} images: at least "
            "2 of each are needed"
        )
    sets = {"generated": generated, "test": test, "train": train}
    sets = {name: quantize(subset(images, n), name) for name, images in sets.items()}
    shapes = {name: images.shape[1:] for name, images in sets.items()}
    if len(set(shapes.values())) > 1:
        raise UserError(f"generated, test and train hold images of different shapes: {shapes}")

    classes, generated_moments = _summarize(sets["generated"], extractor, batch_size)
    _, test_moments = _summarize(sets["test"], extractor, batch_size)
    _, train_moments = _summarize(sets["train"], extractor, batch_size)
    protocol = Protocol(
        metric="fd",
        extractor=f"{extractor.name}@{extractor.sha256}",
        resize=f"quantized to 8 bits, {extractor.resize}",
        num_samples=n,
        reference=_describe(reference, len(test), sets["test"]),
    )
    fd_generated = Result("generated", distance(generated_moments, test_moments), protocol)
    fd_train = Result("train", distance(train_moments, test_moments), protocol)
    scores = {
        "fd_generated": fd_generated.value,
        "fd_train": fd_train.value,
        "rho": ratio(fd_generated, fd_train),
        "num_samples": n,
        "protocol": str(protocol),
    }
    if labels is not None:
        scores["label_agreement"] = label_agreement(classes, subset(np.asarray(labels), n))
    return scores


def label_agreement(classes: np.ndarray, labels: np.ndarray) -> float:
    """Share of the images that are classified as the class asked for, in [0, 1].

    Args:
        classes: int[N], what the classifier says.
        labels: int[N], what was asked for.
    """
    return float(np.mean(classes == labels))


def subset(array: np.ndarray, n: int) -> np.ndarray:
    """Rows of `array` at the first n entries of one fixed permutation; all rows, in order, if there are n.

    The permutation is ``numpy.random.Generator(PCG64(0)).permutation(len(array))``: data sets are often
    sorted by class, where the first n rows would not be a sample.
    """
    if n == len(array):
        return array
    return array[np.random.Generator(np.random.PCG64(SUBSET_SEED)).permutation(len(array))[:n]]


def quantize(images: np.ndarray, name: str = "images") -> np.ndarray:
    """Images as uint8: floats in [-1, 1] are scaled to 0..255, rounded and clipped; uint8 passes unchanged.

    Raises:
        UserError: if `images` is not [N,H,W,C], of another type, or has a value that is not finite.
    """
    images = np.asarray(images)
    if images.ndim != 4:
        raise UserError(f"{name} has shape {images.shape}: images are [N,H,W,C]")
    if images.dtype == np.uint8:
        return images
    if images.dtype.kind != "f":
        raise UserError(f"{name} has type {images.dtype}: images are uint8, or float in [-1, 1]")
    if not np.isfinite(images).all():
        raise UserError(f"{name} has a value that is not finite")
    return np.clip(np.rint((images + 1.0) * 127.5), 0, 255).astype(np.uint8)


def extract(
    images: np.ndarray, extractor: Extractor, batch_size: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Features float32[B,D] and logits float32[B,K] of uint8 images, batch by batch.

    The last batch is filled up before and cut after the extractor, which so compiles for one shape only.
    """
    apply = jax.jit(extractor.apply)
    for start in range(0, len(images), batch_size):
        batch = images[start : start + batch_size]
        padded = np.pad(batch, ((0, batch_size - len(batch)), (0, 0), (0, 0), (0, 0)))
        features, logits = jax.device_get(apply(extractor.prepare(padded)))
        yield features[: len(batch)], logits[: len(batch)]


def _summarize(images: np.ndarray, extractor: Extractor, batch_size: int) -> tuple[np.ndarray, Moments]:
    """Classes int[N] and moments of the features, without holding all features at once."""
    classes, total = [], None
    for features, logits in extract(images, extractor, batch_size):
        classes.append(logits.argmax(-1))
        total = moments(features) if total is None else merge(total, moments(features))
    assert total is not None  # `score` refuses empty sets
    return np.concatenate(classes), total


def _describe(name: str, size: int, images: np.ndarray) -> str:
    """Name, size and content of the reference: two sets of one name must not pass for each other."""
    n = len(images)
    rows = f"[:{n}]" if n == size else f"[permutation({size}, seed={SUBSET_SEED})[:{n}]]"
    return f"{name}{rows}#{hashlib.sha256(np.ascontiguousarray(images).tobytes()).hexdigest()[:16]}"
