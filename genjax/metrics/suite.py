"""Metrics by name: from the features of generated and real images to numbers, and intervals around them."""

import dataclasses
import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from genjax.metrics import copying, extrapolation, inception_score, intervals, kernel, manifold, vendi
from genjax.metrics import frechet as fd
from genjax.metrics.features import Features
from genjax.metrics.intervals import Interval
from genjax.metrics.protocol import Protocol
from genjax.metrics.sizes import TooFewError
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
        compute: from what is prepared to numbers by name.
        values: these names; some may be missing where training images are.
        settings: constants that the numbers depend on, for the protocol.
        needs_train: whether `Sets.train` has to be there.
        needs_logits: whether the extractor has to be a classifier.
        extractor: how the name of the extractor has to begin.
        interval: 95 % bootstrap intervals over the images, from what is prepared and the number of resamples; None
            where there is none that can be trusted.
        prepare: what numbers and intervals share, from the sets, so that it is made once; the sets themselves where
            nothing does.
    """

    compute: Callable[[Any], dict[str, float]]
    values: tuple[str, ...]
    settings: str = ""
    needs_train: bool = False
    needs_logits: bool = False
    extractor: str = ""
    interval: Callable[[Any, int], dict[str, Interval]] | None = None
    prepare: Callable[[Sets], Any] = lambda sets: sets


def frechet(sets: Sets) -> dict[str, float]:
    """``fd_generated``, the distance of generated to test images; with training images also ``fd_train``, theirs, and
    ``rho``, the first by the second: near 1 where generated images are as near to the test images as real ones are."""
    generated = _distance(sets.generated.values, sets.test.values)
    if sets.train is None:
        return {"fd_generated": generated}
    real = _distance(sets.train.values, sets.test.values)
    found = {"fd_generated": generated, "fd_train": real}
    return found | ({"rho": generated / real} if real else {})  # real images may all be the same


def _distance(generated: np.ndarray, test: np.ndarray) -> float:
    return fd.distance(fd.moments(generated), fd.moments(test))


def _frechet_interval(name: str) -> Callable[[Sets, int], dict[str, Interval]]:
    return lambda sets, resamples: {
        name: intervals.bootstrap(_distance, sets.generated.values, sets.test.values, resamples=resamples)
    }


def frechet_limit(sets: Sets) -> dict[str, float]:
    """``fd_infinity`` and ``fd_infinity_stderr``, from subsets of a tenth of the images and more, but 5,000 at most."""
    smallest = max(2, min(5000, len(sets.generated.values) // 10))
    found = extrapolation.fd_infinity(sets.generated.values, fd.moments(sets.test.values), smallest=smallest)
    return {"fd_infinity": found.limit, "fd_infinity_stderr": found.standard_error}


def kernel_distance(sets: Sets) -> dict[str, float]:
    """``kid`` and ``kid_stderr``, over 100 subsets of 1,000 images, or of all where there are fewer.

    Where a subset is more than half of a set, subsets hardly differ, and their spread says nothing of the images: there
    the standard error is the jackknife's over all images, and is left out below 3 images.
    """
    real, generated = sets.test.values, sets.generated.values
    fewest = min(len(real), len(generated))
    size = min(1000, fewest)
    found = kernel.kid(real, generated, subset_size=size)
    if 2 * size <= fewest:
        return {"kid": found.mean, "kid_stderr": found.standard_error}
    return {"kid": found.mean} | (
        {"kid_stderr": kernel.mmd(real, generated).standard_error} if fewest > 2 else {}
    )


def _kernel_interval(sets: Sets, resamples: int) -> dict[str, Interval]:
    return {"kid": kernel.mmd_interval(sets.test.values, sets.generated.values, resamples=resamples)}


def memberships(sets: Sets) -> dict[str, np.ndarray]:
    """One number an image for each metric, of which it is the mean: ``precision`` and ``recall`` from the third
    neighbours, ``density`` and ``coverage`` from the fifth.

    Precision and density are float64[M] over M generated images, recall and coverage float64[N] over N test images."""
    real, generated = sets.test.values, sets.generated.values
    third = manifold.memberships(real, generated, k=3, closed=True)
    fifth = manifold.memberships(real, generated, k=5, closed=False)
    return {
        "precision": (third.generated > 0).astype(np.float64),
        "recall": (third.real > 0).astype(np.float64),
        "density": fifth.generated / 5,
        "coverage": fifth.reached.astype(np.float64),
    }


def _means(each: Mapping[str, np.ndarray]) -> dict[str, float]:
    return {name: float(values.mean()) for name, values in each.items()}


def _means_intervals(each: Mapping[str, np.ndarray], resamples: int) -> dict[str, Interval]:
    return {name: intervals.bootstrap(np.mean, values, resamples=resamples) for name, values in each.items()}


def classifier_score(sets: Sets) -> dict[str, float]:
    """``inception_score`` and ``inception_score_std``, over 10 parts of the generated images."""
    found = inception_score.inception_score(sets.generated.logits)
    return {"inception_score": found.mean, "inception_score_std": found.std}


def _classifier_interval(sets: Sets, resamples: int) -> dict[str, Interval]:
    """The interval of the mean, which is the reported number. Each resample is split as the images are."""
    found = intervals.bootstrap(
        lambda logits: inception_score.inception_score(logits).mean,
        sets.generated.logits,
        resamples=resamples,
    )
    return {"inception_score": found}


def diversity(sets: Sets) -> dict[str, float]:
    """``vendi``, of the cosine similarity."""
    return {"vendi": vendi.vendi_score(sets.generated.values)}


def _diversity_interval(sets: Sets, resamples: int) -> dict[str, Interval]:
    """For scores far below the number of images: a resample has but 63 % of these, which is no matter then."""
    return {"vendi": intervals.bootstrap(vendi.vendi_score, sets.generated.values, resamples=resamples)}


class Copies(NamedTuple):
    """What tells copies.

    Attributes:
        located: distances to training images, cell by cell.
        authentic: one number an image, by the metric of which it is the mean.
    """

    located: copying.Located
    authentic: dict[str, np.ndarray]


def looked_up(sets: Sets) -> Copies:
    """Generated and test images among the training images."""
    assert sets.train is not None
    generated, test, train = (x.values for x in (sets.generated, sets.test, sets.train))
    each = {
        "authenticity": copying.authentic(generated, train),
        "authenticity_test": copying.authentic(test, train),
    }
    return Copies(copying.locate(generated, test, train), each)


def copies(found: Copies) -> dict[str, float]:
    """``c_t``, below -3 where generated images are nearer to training images than test images are; ``authenticity``,
    and ``authenticity_test``, the same number for the test images, to compare with."""
    return {"c_t": copying.copying_score_of(found.located).score, **_means(found.authentic)}


def _copies_interval(found: Copies, resamples: int) -> dict[str, Interval]:
    c_t = copying.copying_interval(found.located, resamples=resamples)
    return {"c_t": c_t, **_means_intervals(found.authentic, resamples)}


def embedding_distance(sets: Sets) -> dict[str, float]:
    """``cmmd``, of embeddings divided by their norms."""
    normed = [x.values / np.linalg.norm(x.values, axis=1, keepdims=True) for x in (sets.test, sets.generated)]
    return {"cmmd": kernel.cmmd(*normed)}


METRICS: dict[str, Metric] = {
    "fd": Metric(frechet, ("fd_generated", "fd_train", "rho"), interval=_frechet_interval("fd_generated")),
    "fid": Metric(
        lambda sets: {"fid": _distance(sets.generated.values, sets.test.values)},
        ("fid",),
        extractor="inception",
        interval=_frechet_interval("fid"),
    ),
    "fd_infinity": Metric(
        frechet_limit, ("fd_infinity", "fd_infinity_stderr"), "15 subsets from a tenth, 5,000 at most, seed 0"
    ),
    "kid": Metric(
        kernel_distance,
        ("kid", "kid_stderr"),
        f"100 subsets of 1,000 or all, seed {kernel.SEED}, cubic kernel",
        interval=_kernel_interval,
    ),
    "prdc": Metric(
        _means,
        ("precision", "recall", "density", "coverage"),
        "neighbours 3 and 5",
        interval=_means_intervals,
        prepare=memberships,
    ),
    "is": Metric(
        classifier_score,
        ("inception_score", "inception_score_std"),
        f"10 splits, shuffled with seed {inception_score.SEED}",
        needs_logits=True,
        interval=_classifier_interval,
    ),
    "vendi": Metric(diversity, ("vendi",), "cosine, q 1", interval=_diversity_interval),
    "copies": Metric(
        copies,
        ("c_t", "authenticity", "authenticity_test"),
        "10 cells, seed 0",
        needs_train=True,
        interval=_copies_interval,
        prepare=looked_up,
    ),
    "cmmd": Metric(embedding_distance, ("cmmd",), "sigma 10, times 1000", extractor="clip"),
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


def measure(names: Sequence[str], sets: Sets, images: Protocol, *, resamples: int = 0) -> dict[str, Any]:
    """What the metrics say, together, and how that was measured.

    Args:
        names: names of `METRICS`.
        sets: see `Sets`.
        images: how the images reached the extractor; its `metric` is of no meaning.
        resamples: number of resamples of the bootstrap; 0: no intervals.

    Returns:
        The numbers by name; with `resamples`, ``intervals``, by name the 95 % interval [low, high] over the images;
        ``left_out``, if a set is too small for some metric: what it says, by name of the metric, or of what it lacks;
        ``num_samples``, the number of generated images; ``protocol``, the protocol of the Fréchet distance, as text;
        and ``protocols``, the protocol of each metric.

    Raises:
        UserError: as `check`, or as the metrics themselves.
    """
    check(names, has_train=sets.train is not None, extractor=images.extractor)
    results: dict[str, Any] = {}
    found: dict[str, list[float]] = {}
    left_out: dict[str, str] = {}
    for name in names:
        metric = METRICS[name]
        if metric.needs_logits and not sets.generated.logits.shape[1]:
            raise UserError(f"metrics has {name!r}, which needs a classifier, and not features alone")
        try:
            prepared = metric.prepare(sets)
            results |= metric.compute(prepared)
            if resamples and metric.interval is not None:
                found |= {k: [v.low, v.high] for k, v in metric.interval(prepared, resamples).items()}
        except TooFewError as error:
            left_out[name] = str(error)
            _note(name, str(error))
    results |= {"intervals": found} if resamples else {}
    results |= {"left_out": left_out} if left_out else {}
    results["num_samples"] = len(sets.generated.values)
    results["protocol"] = str(dataclasses.replace(images, metric="fd"))
    results["protocols"] = protocols(names, images)
    return results


@functools.cache
def _note(name: str, why: str) -> None:
    """Says once in a process that a metric is left out, however many scores there are."""
    logging.getLogger(__name__).warning("%s is left out: %s", name, why)


def protocols(names: Sequence[str], images: Protocol) -> dict[str, str]:
    """The protocol of each metric, as text; `images` as in `measure`."""
    return {name: str(_protocol(name, images)) for name in names}


def _protocol(name: str, images: Protocol) -> Protocol:
    settings = METRICS[name].settings
    return dataclasses.replace(images, metric=f"{name}, {settings}" if settings else name)
