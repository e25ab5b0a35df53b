"""A run against real images that are not its test split: ``evaluate --workdir DIR --reference FOLDER``."""

from typing import Any

import numpy as np

from experiments import folders
from genjax.app import build, kinds, scoring
from genjax.app.extractors import Chosen
from genjax.app.restore import Run
from genjax.data.images import OnBadRecord
from genjax.metrics.score import score
from genjax.train import sharding
from genjax.typing import UserError


def against_folder(
    run: Run,
    reference: str,
    chosen: Chosen,
    metrics: tuple[str, ...],
    *,
    num: int,
    seed: int,
    batch_size: int,
    resamples: int = 0,
    on_bad_record: OnBadRecord = "error",
) -> dict[str, Any]:
    """Generated images against all images of a folder, of any sizes; the data of the run is not read.

    Classes are asked for in turn, as often each as the others.

    Args:
        run: makes the images.
        reference: the folder; its images are converted as the run's data, and scaled and cropped to the size of the
            generated ones, if these are square.
        chosen: the extractor.
        metrics: names of `genjax.metrics.suite.METRICS` that need no training images.
        num: number of generated images.
        seed: seed of the generated images.
        batch_size: images whose features are computed at a time.
        resamples: number of bootstrap resamples for intervals; 0: no intervals.
        on_bad_record: what to do with a file that cannot be read.

    Returns:
        The results by name.

    Raises:
        UserError: the run needs images or other conditions than classes, or the folder cannot be read.
    """
    if kinds.method(run.config).translates or set(run.context.conditions) - {"label"}:
        raise UserError(
            f"reference={reference!r}: the run needs more than classes to make images, which its own data has"
        )
    height, width, _ = run.info.image_shape
    size = height if height == width else None  # others are not made by scaling and cropping
    real = folders.read(reference, chosen, on_bad_record, run.config.data.convert, size)
    classes = build.num_classes(run.config, run.info)
    labels = None if classes is None else np.arange(num, dtype=np.int32) % classes
    generated = scoring.make(run, labels=labels, num=num, seed=seed)
    if generated.shape[-1] > chosen.channels:
        raise UserError(
            f"extractor={chosen.extractor.name!r} takes images of {chosen.channels} channel, and the run makes "
            f"images of {generated.shape[-1]}; valid are inception and efficientnet-lite0"
        )
    found = score(
        generated,
        real,
        extractor=chosen.extractor,
        metrics=metrics,
        equal=False,
        resamples=resamples,
        batch_size=sharding.round_up(batch_size, run.mesh),
        sharding=sharding.batch_sharding(run.mesh),
        reference=folders.short(reference),
    )
    return {"step": run.step, **found, "sampling": scoring.sampling(run.config, num=num, seed=seed)}
