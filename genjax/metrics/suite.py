"""Metrics by name: from the features of generated and real images to numbers."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import NamedTuple

from genjax.metrics import frechet as fd
from genjax.metrics import inception_score, kernel, manifold
from genjax.metrics.features import Features
from genjax.metrics.protocol import Protocol
from genjax.typing import UserError


class Sets(NamedTuple):
    """What is compared, all by one extractor.

    Attributes:
        generated: images that a model made.
        test: real images, the reference.
        train: other real images, which the model was trained on; None where they are not known.
    """

    generated: Features
    test: Features
    train: Features | None = None


class Metric(NamedTuple):
    """A metric.

    Attributes:
        compute: from the sets to numbers by name.
        values: these names; some may be missing where training images are.
        settings: constants that the numbers depend on, for the protocol.
        needs_train: whether `Sets.train` has to be there.
        extractor: how the name of the extractor has to begin.
    """

    compute: Callable[[Sets], dict[str, float]]
    values: tuple[str, ...]
    settings: str = ""
    needs_train: bool = False
    extractor: str = ""


def frechet(sets: Sets) -> dict[str, float]:
    """``fd_generated``, the distance of generated to test images; with training images also ``fd_train``, theirs, and
    ``rho``, the first by the second: near 1 where generated images are as near to the test images as real ones are."""
    test = fd.moments(sets.test.values)
    generated = fd.distance(fd.moments(sets.generated.values), test)
    if sets.train is None:
        return {"fd_generated": generated}
    real = fd.distance(fd.moments(sets.train.values), test)
    return {"fd_generated": generated, "fd_train": real, "rho": generated / real if real else float("inf")}


def kernel_distance(sets: Sets) -> dict[str, float]:
    """``kid`` and ``kid_std``, over 100 subsets of 1,000 images, or of all where there are fewer."""
    size = min(1000, len(sets.test.values), len(sets.generated.values))
    found = kernel.kid(sets.test.values, sets.generated.values, subset_size=size)
    return {"kid": found.mean, "kid_std": found.std}


def neighbourhoods(sets: Sets) -> dict[str, float]:
    """``precision`` and ``recall`` from the third neighbours, ``density`` and ``coverage`` from the fifth."""
    real, generated = sets.test.values, sets.generated.values
    first = manifold.precision_recall(real, generated)
    return {**first._asdict(), **manifold.density_coverage(real, generated)._asdict()}


def classifier_score(sets: Sets) -> dict[str, float]:
    """``inception_score`` and ``inception_score_std``, over 10 parts of the generated images."""
    found = inception_score.inception_score(sets.generated.logits)
    return {"inception_score": found.mean, "inception_score_std": found.std}


METRICS: dict[str, Metric] = {
    "fd": Metric(frechet, ("fd_generated", "fd_train", "rho")),
    "fid": Metric(lambda sets: {"fid": frechet(sets)["fd_generated"]}, ("fid",), extractor="inception"),
    "kid": Metric(
        kernel_distance, ("kid", "kid_std"), f"100 subsets of 1,000 or all, seed {kernel.SEED}, cubic kernel"
    ),
    "prdc": Metric(neighbourhoods, ("precision", "recall", "density", "coverage"), "neighbours 3 and 5"),
    "is": Metric(
        classifier_score,
        ("inception_score", "inception_score_std"),
        f"10 splits, shuffled with seed {inception_score.SEED}",
    ),
}
"""By the name by which they are asked for."""


def check(names: Sequence[str], *, has_train: bool, extractor: str) -> None:
    """Raises `UserError` for a metric that there is not, that needs training images where there are none, or that is
    called so with another extractor only."""
    for name in names:
        if name not in METRICS:
            raise UserError(f"metrics has {name!r}; valid are {', '.join(METRICS)}")
        if METRICS[name].needs_train and not has_train:
            raise UserError(f"metrics has {name!r}, which needs the images that the model was trained on")
        if not extractor.startswith(METRICS[name].extractor):
            raise UserError(
                f"metrics has {name!r}, which is of the features of {METRICS[name].extractor}, and not of {extractor}"
            )


def measure(names: Sequence[str], sets: Sets) -> dict[str, float]:
    """What the metrics say, together."""
    results: dict[str, float] = {}
    for name in names:
        results |= METRICS[name].compute(sets)
    return results


def protocol(name: str, images: Protocol) -> Protocol:
    """How the metric was computed, given how the images were read."""
    settings = METRICS[name].settings
    return dataclasses.replace(images, metric=f"{name}, {settings}" if settings else name)
