"""The score of a generator of digits: modes, collapse, and copies (`genjax.metrics.modes`, `.neighbours`)."""

from typing import Any

import numpy as np

from genjax.metrics import load_digits_classifier, modes, neighbours
from genjax.metrics.extractor import Extractor
from genjax.metrics.features import features
from genjax.metrics.score import quantize, subset
from genjax.metrics.stacked import stacked

# What the bundled classifier was trained to tell apart. Its features mean nothing on other images.
DIGIT_SETS = ("digits", "mnist")
_STACKED = "stacked:"
_MOST = 10_000
"""So many generated images at most are looked up among the training images, and among each other."""


def is_known(dataset: str) -> bool:
    """Whether the bundled classifier knows what the images show, or what each of their channels does."""
    return dataset.removeprefix(_STACKED).partition(":")[0] in DIGIT_SETS  # "mnist:3.0.1" is a version of it


def extractor(dataset: str) -> Extractor:
    """Of a data set that `is_known`; of stacked digits, features and classes of the three channels together."""
    return stacked(load_digits_classifier()) if dataset.startswith(_STACKED) else load_digits_classifier()


def collapse_scores(
    generated: np.ndarray, train: dict[str, np.ndarray], test: np.ndarray, extractor: Extractor
) -> dict[str, Any]:
    """What can be said of the modes of generated digits, and of copies among them, by name.

    * ``modes`` of ``num_modes``, ``kl`` (nats; None: infinite), ``class_tv``, ``collapse``: of the classes that the
      classifier sees, against the labels of the training set, over ``mode_samples`` images. A healthy generator's
      collapse is 0 with probability 0.99 from ``mode_samples_needed`` on.
    * ``duplicates``: share of images with another generated one too near, where about 1 % of as many training images
      have one.
    * ``memorised``: share of images, of stacked digits of channels, with a training image too near, where 1 % of test
      images have one.

    Args:
        generated: uint8[N,H,W,C], or float in [-1, 1].
        train: "image" uint8[M,H,W,C], "label" int[M].
        test: uint8[L,H,W,C].
        extractor: see `extractor`.
    """
    features, classes, num_modes = _features(quantize(generated), extractor)
    reference = modes.mode_counts(train["label"], num_modes)
    found = modes.mode_scores(classes, reference)
    return {
        "modes": found.covered,
        "num_modes": num_modes,
        "kl": found.kl if np.isfinite(found.kl) else None,  # JSON has no infinity
        "class_tv": found.total_variation,
        "collapse": found.collapse,
        "mode_samples": len(classes),
        "mode_samples_needed": modes.samples_needed(reference),
        "duplicates": _duplicates(features, train["image"], extractor),
        "memorised": _memorised(features, train["image"], test),
    }


def _duplicates(features: np.ndarray, train: np.ndarray, extractor: Extractor) -> float:
    n = min(len(features), len(train), _MOST)
    real, _, _ = _features(subset(train, n), extractor)
    return neighbours.duplicate_rate(subset(features, n), neighbours.duplicate_threshold(real))


def _memorised(features: np.ndarray, train: np.ndarray, test: np.ndarray) -> float:
    """Channel by channel: no two stacked images share all of three digits, but each of their digits may be a copy."""
    single = load_digits_classifier()
    each = features.reshape(-1, single.feature_dim)
    seen, unseen = (_features(_channels(images), single)[0] for images in (train, test))
    threshold = neighbours.memorisation_threshold(subset(unseen, min(len(unseen), _MOST)), seen)
    return neighbours.memorisation_rate(subset(each, min(len(each), _MOST)), seen, threshold)


def _channels(images: np.ndarray) -> np.ndarray:
    """uint8[M,H,W,1]: the channels of all images, each picture once."""
    planes = np.ascontiguousarray(np.moveaxis(images, -1, 1)).reshape(-1, *images.shape[1:3])
    distinct = dict.fromkeys(plane.tobytes() for plane in planes)
    return np.frombuffer(b"".join(distinct), np.uint8).reshape(-1, *images.shape[1:3], 1)


def _features(images: np.ndarray, extractor: Extractor) -> tuple[np.ndarray, np.ndarray, int]:
    """Features [N,D] and classes int[N] of images, and the number of classes."""
    found = features(images, extractor)
    return found.values, found.classes, found.logits.shape[-1]
