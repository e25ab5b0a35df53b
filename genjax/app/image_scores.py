"""How far the images of a run are from real ones, measured again and again: of many states, or of many samplers."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jax.sharding import Mesh

from genjax import data
from genjax.app import build, collapse_scores, translation
from genjax.app.config import Config
from genjax.data import names
from genjax.metrics import suite
from genjax.metrics.extractor import Extractor
from genjax.metrics.score import Scorer
from genjax.train import sharding
from genjax.typing import UserError

BATCH = 500
"""Images of digits whose features are computed at a time."""
LARGE_BATCH = 50
"""Images whose features another extractor computes at a time."""


def has_score(config: Config) -> bool:
    """Whether the bundled classifier knows what the images show."""
    return collapse_scores.is_known(config.data.dataset)


class ImageScorer:
    """Scores images of one run, all against the same real ones, whose features are computed once.

    Labels are requested as often as they occur in the training set: image i gets the label of record ``permute(i)``.

    Args:
        config: config of the run.
        train: real images, which say how far real images are from `test`.
        test: held-out real images.
        mesh: devices that compute features.
        num: number of generated images, at least 2. They are compared with the same number of test and of training
            images, or with all if there are fewer.
        extractor: feature extractor; None: the bundled classifier, which must know what the images show.
        metrics: see `genjax.metrics.suite`.
        batch_size: images whose features are computed at a time; None: `BATCH` by the bundled classifier, `LARGE_BATCH`
            by another extractor.
        resamples: number of bootstrap resamples for intervals; 0: no intervals.

    Attributes:
        real_train: the training set in memory.
        real_test: the test set in memory.
        labels: int[num], what the images are asked to show; None for a model that takes no labels.
        given: the images to translate, see `translation.given`.
        extractor: extractor of features.
        classifier: the bundled classifier if it knows what the images show. It finds collapse and copies.
        scorer: see `genjax.metrics.score`.
    """

    def __init__(
        self,
        config: Config,
        train: data.Source,
        test: data.Source,
        mesh: Mesh,
        *,
        num: int,
        extractor: Extractor | None = None,
        metrics: Sequence[str] = ("fd",),
        batch_size: int | None = None,
        resamples: int = 0,
    ):
        classifier = collapse_scores.extractor(config.data.dataset) if has_score(config) else None
        measured_by = extractor or classifier
        assert measured_by is not None, "has_score says where there is a classifier"
        self.extractor, self.classifier = measured_by, classifier
        self.real_train, self.real_test = data.to_memory(train), data.to_memory(test)
        conditional = build.num_classes(config, train.info)
        self.labels = labels_like(self.real_train["label"], num) if conditional else None
        self.given = translation.given(config, test, range(num))
        # Classes of another extractor are not those that were asked for.
        self._knows_labels = classifier is not None and measured_by.name == classifier.name
        self.scorer = Scorer(
            self.real_test["image"],
            self.real_train["image"],
            num=num,
            extractor=measured_by,
            metrics=metrics,
            resamples=resamples,
            batch_size=sharding.round_up(batch_size or (LARGE_BATCH if extractor else BATCH), mesh),
            sharding=sharding.batch_sharding(mesh),
            reference=f"{names.short(config.data.dataset)}/{config.data.test_split}",
        )

    def score(self, generated: np.ndarray, labels: np.ndarray | None) -> dict[str, Any]:
        """The scores by name of uint8[num,H,W,C], which were asked to show `labels`, int[num], if any."""
        return self.scorer(generated, labels if self._knows_labels else None)

    def collapse(self, generated: np.ndarray) -> dict[str, Any]:
        """What `collapse_scores` says of the images; nothing where the classifier does not know what they show."""
        if self.classifier is None:
            return {}
        return collapse_scores.collapse_scores(
            generated, self.real_train, self.real_test["image"], self.classifier
        )


def metric_names(text: str) -> tuple[str, ...]:
    """Names of metrics, separated by commas.

    Raises:
        UserError: there is none.
    """
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if not names:
        raise UserError(f"metrics={text!r}: valid are {', '.join(suite.METRICS)}")
    return names


def check_resamples(resamples: int) -> None:
    """Raises UserError for a number of bootstrap resamples that gives no interval and is not 0."""
    if resamples == 1 or resamples < 0:
        raise UserError(f"resamples={resamples}: valid are 0, no intervals, and numbers from 2")


def labels_like(labels: np.ndarray, num: int) -> np.ndarray:
    """int[N] -> `num` labels, in a fixed order that is mixed: each one of `labels` as often as the others, as far as
    `num` allows."""
    positions = np.arange(num) % len(labels)
    return labels[data.permute(positions, len(labels), (0,))]
