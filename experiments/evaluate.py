"""Score a run, ``python -m experiments.evaluate --workdir DIR --num 10000``, or images of any model,
``python -m experiments.evaluate --images DIR --reference DIR --metrics fid,kid,prdc``.

Prints a table and, as its last line, one JSON object, which also becomes ``metrics.json`` in the workdir.
With ``--sweep 5 10 20 50`` a diffusion run is scored at each of these numbers of sampler steps: the JSON is a list of
such objects, ``sweep.json``, there are pictures ``sweep/00005.png``, and ``metrics.json`` stays as it is.
"""

import contextlib
import dataclasses
import json
import logging
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import tyro
from etils import epath

from experiments import cli, score_differences
from experiments import sweep as sweeps
from experiments.folders import Folders, score_folders
from experiments.run_reference import against_folder
from genjax.app import extractors, likelihood_scores, links, lock, restore, run_data, scoring, workdir
from genjax.app.config import SamplingOverrides
from genjax.app.extractors import ExtractorOptions, changed
from genjax.app.image_scores import check_resamples, metric_names
from genjax.data.images import OnBadRecord
from genjax.metrics import suite
from genjax.typing import UserError

_NUM = 1000


@dataclasses.dataclass(frozen=True)
class Evaluate:
    """Score a trained model, or images made by any model.

    Attributes:
        workdir: The folder of a run.
        images: Instead of a run: a folder of generated images; a .npz file of them, as `python -m experiments.sample`
            and ADM write it ("images" or "arr_0", uint8[N,H,W,C]); a .npy file of them, uint8[N,H,W,C]; or a .npy file
            of their features, float[N,D].
        reference: The real images for the comparison: as for images, or a .npz file of statistics (written by
            `python -m experiments.reference` or by another program). A file with both is read as statistics for fd and
            fid alone, and as images for other metrics. For a run: a folder of images in place of its test split,
            scaled, cropped and converted as its data are. That score is printed and written to --out, and metrics.json
            stays.
        train: The model's training images, as for images, for the metrics that look for copies.
        features: Name of the extractor that made the features in .npy files, for example clip-vit-l14-336.
        metrics: Metrics, separated by commas. Without it: fd for a run, fd,kid,prdc for folders. Valid are {METRICS}.
            A metric that needs more images than there are is left out, with a note.
        num: Number of generated images of a run. They are compared with the same number of training and of test images,
            or with all if there are fewer. Without it: as many as at the end of the training, or 1,000 where nothing
            was scored then. 0, with --cost: keep the existing score.
        seed: Seed of the generated images.
        dataset: For runs: the data set of the training, where it lies now, such as folder:PATH. Without it: where it
            was during training. It is an error if it is not the same data.
        source: For translation models: the same for the images to translate.
        data_dir: Folder of TFDS data sets. Without it: the folder of the training.
        step: For runs: step of the checkpoint. Without it: the latest checkpoint.
        importance_samples: For VAEs: draws per image with which the likelihood is estimated, by importance weighting.
            Without it: the number in the run's config.
        likelihood: For diffusion models: number of test images whose likelihood is measured, in bits per dimension, by
            the variational bound and by the probability-flow ODE (pip install -e '.[ode]'). 0 leaves it out.
        resamples: Number of bootstrap resamples for 95 % intervals over the images. 0: no intervals.
        sweep: For diffusion runs: score the run at each of these numbers of sampler steps, from the same noise, and
            measure the cost of each. A number that sweep.json already has, measured in the same way, is skipped.
        cost: Also measure the cost of making images: samples/s, compile time, evaluations of the network, memory.
        against: A file of scores to compare with (metrics.json, or an earlier --out): the differences are printed. It
            is an error if the two were not measured in the same way.
        on_bad_record: What to do with a file of a folder that cannot be read: stop, or skip it.
        convert: For folders and files of images: what may be converted, "colour", "grayscale", "8-bit", "on:white" (or
            another colour), as for training.
        image_size: For folders and files of images: scale the shorter side of all images, generated and real, to this
            and crop the centre square, as training does. Without it: as they are. With a run, its own size is taken.
        out: File for the scores, a JSON object.
    """

    workdir: str | None = None
    images: str | None = None
    reference: str | None = None
    train: str | None = None
    features: str | None = None
    metrics: str | None = None
    num: int | None = None
    seed: int = 0
    dataset: str | None = None
    source: str | None = None
    data_dir: str | None = None
    step: int | None = None
    importance_samples: int | None = None
    likelihood: int = 0
    resamples: int = 0
    sweep: tuple[int, ...] = ()
    cost: bool = False
    against: str | None = None
    on_bad_record: OnBadRecord = "error"
    convert: tuple[str, ...] = ()
    image_size: int | None = None
    out: str | None = None
    extractor: Annotated[ExtractorOptions, tyro.conf.arg(name="")] = dataclasses.field(
        default_factory=ExtractorOptions
    )
    sampling: Annotated[SamplingOverrides, tyro.conf.arg(name="")] = dataclasses.field(
        default_factory=SamplingOverrides
    )


assert Evaluate.__doc__ is not None
Evaluate.__doc__ = Evaluate.__doc__.replace("{METRICS}", ", ".join(suite.METRICS))


def main() -> None:
    """Reads the command line and scores."""
    evaluate(parse(sys.argv[1:]))


def parse(arguments: Sequence[str]) -> Evaluate:
    """The options of a command line."""
    return tyro.cli(Evaluate, args=arguments, prog="python -m experiments.evaluate")


def scored_with(options: Evaluate) -> dict[str, Any]:
    """What measures the images, as far as it is not what does so by default: stands beside the score of a run.

    Where the file of the weights lies is of no matter; the protocols have their digest.
    """
    asked = {"metrics": options.metrics, "resamples": options.resamples or None, **changed(options.extractor)}
    return {
        name: value
        for name, value in asked.items()
        if value is not None and name not in ("weights", "extractor_batch")
    }


def evaluate(options: Evaluate) -> None:
    """Scores the run, and writes the result into its workdir; or the folders."""
    if (options.workdir is None) == (options.images is None):
        raise UserError(
            "give either workdir=DIR, a run, or images=DIR and reference=DIR, two folders (or .npz files)"
        )
    check_resamples(options.resamples)
    _check_sweep(options)
    _check_places(options)
    out = options.out
    if out is not None and "://" not in out and not epath.Path(out).expanduser().parent.is_dir():
        raise UserError(f"out={out!r}: there is no such folder")
    if out is not None and epath.Path(out).expanduser().is_dir():
        raise UserError(f"out={out!r} is a folder; valid is the name of a file")
    before = (
        None if options.against is None else workdir.read_scored(epath.Path(options.against).expanduser())
    )
    results = _run(options) if options.images is None else _folders(options)
    if options.out is not None:
        workdir.write_json(epath.Path(options.out).expanduser(), results)
    if before is not None:  # after the numbers are out: they may have taken hours
        found = score_differences.differences(results, before, options.against or "")
        scoring.print_table(
            {f"{name} less that of {options.against}": value for name, value in found.items()}
        )
    if cli.is_first_process():
        print(json.dumps(results), flush=True)


def _check_sweep(options: Evaluate) -> None:
    if not options.sweep:
        return
    if options.images is not None:
        raise UserError(f"sweep={options.sweep} is of a run, and there is none of images")
    if options.likelihood:
        raise UserError(f"likelihood={options.likelihood} is another measurement than sweep={options.sweep}")
    if options.sampling.num_steps is not None:
        raise UserError(
            f"num_steps={options.sampling.num_steps}: sweep={options.sweep} says how many there are"
        )
    if options.against is not None:
        raise UserError(
            f"against={options.against!r} compares one score, and sweep={options.sweep} gives several"
        )


def _check_places(options: Evaluate) -> None:
    for name in ("dataset", "source"):
        value = getattr(options, name)
        if value is not None and (options.images is not None or options.reference is not None):
            raise UserError(
                f"{name}={value!r}: the data of a run is not read where images or reference is given"
            )


def names(options: Evaluate, default: str, default_extractor: str) -> tuple[str, ...]:
    """The metrics that are asked for.

    Args:
        options: see `Evaluate`.
        default: metrics, where none are named.
        default_extractor: what computes features, where nothing is named.

    Raises:
        UserError: there is no such metric, or it does not go with the rest, or `resamples` gives no interval.
    """
    check_resamples(options.resamples)
    found = metric_names(options.metrics or default)
    has_train = options.images is None or options.train is not None
    suite.check(found, has_train=has_train, extractor=options.extractor.extractor or default_extractor)
    return found


def _run(options: Evaluate) -> Any:
    for name in ("train", "features"):
        if getattr(options, name) is not None:
            raise UserError(f"{name}={getattr(options, name)!r} goes with images; a run has its own data")
    if options.convert:
        raise UserError(f"convert={options.convert} goes with images; a run's config says what is converted")
    if options.image_size is not None:
        raise UserError(f"image_size={options.image_size} goes with images; a run has a size of its own")
    if options.reference is not None and (options.sweep or options.likelihood or options.cost):
        raise UserError(
            f"reference={options.reference!r}: sweep, likelihood and cost are measured without it"
        )
    only_cost = options.num == 0 and options.cost
    if options.num is not None and options.num < 2 and not only_cost:
        raise UserError(f"num={options.num}: at least 2 images are needed for a score")
    if only_cost and (options.sweep or options.likelihood or options.seed or scored_with(options)):
        raise UserError(
            "num=0: nothing is scored, and sweep, likelihood, seed and what is measured are of a score"
        )
    cli.check_seed(options.seed)
    directory = epath.Path(options.workdir or "").expanduser()
    links.check(directory, only=(workdir.SWEEP_PICTURES,), below=(workdir.SWEEP_PICTURES,))
    run = restore.restore(directory, options.sampling, options.importance_samples, options.step)
    num = (run.config.evaluation.num or _NUM) if options.num is None else options.num
    if options.reference is not None:
        return _against(options, run, options.reference, num)
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(lock.held(directory, say=lambda text: print(text, file=sys.stderr)))
        except OSError as error:  # of somebody else's run, which is scored all the same
            logging.getLogger(__name__).warning("%s is not locked: %s", directory, error)
        return _score(options, run, directory, num)


def _against(options: Evaluate, run: restore.Run, reference: str, num: int) -> dict[str, Any]:
    """The score of a run against a folder."""
    asked = options.extractor
    if asked.extractor is None:
        asked = dataclasses.replace(asked, extractor=extractors.scores_of(run.config))
    metrics = metric_names(options.metrics or "fd")
    suite.check(metrics, has_train=False, extractor=asked.extractor or "inception")
    results = against_folder(
        run,
        reference,
        extractors.load(asked),
        metrics,
        num=num,
        seed=options.seed,
        batch_size=asked.extractor_batch,
        resamples=options.resamples,
        on_bad_record=options.on_bad_record,
    )
    scoring.print_table(results)
    return results


def _score(options: Evaluate, run: restore.Run, directory: epath.Path, num: int) -> Any:
    if num == 0:
        return scoring.add_cost(run, directory)
    likelihood_scores.check(run.config, options.likelihood)
    chosen = None if options.extractor.extractor is None else extractors.load(options.extractor).extractor
    metrics = names(options, "fd", extractors.scores_of(run.config) or "digits")
    places = run_data.Places(options.dataset, options.source, options.data_dir)
    train, test = run_data.sources(directory, run.config.data, places)
    asked: dict[str, Any] = {
        "num": num,
        "seed": options.seed,
        "metrics": metrics,
        "extractor": chosen,
        "batch_size": None if chosen is None else options.extractor.extractor_batch,
        "resamples": options.resamples,
    }
    if options.sweep:
        return sweeps.sweep(run, directory, train, test, options.sweep, **asked)
    return scoring.score_run(
        *(run, directory, train, test),
        **asked,
        likelihood=options.likelihood,
        cost=options.cost,
        scored_with=scored_with(options),
    )


def _folders(options: Evaluate) -> dict[str, Any]:
    if options.reference is None:
        raise UserError("images needs reference=DIR, the real images to compare with")
    assert options.images is not None
    if options.likelihood:
        raise UserError(f"likelihood={options.likelihood} is that of a run, and there is none of images")
    if options.cost:
        raise UserError("cost is that of a run, and there is none of images")
    folders = Folders(
        options.images,
        options.reference,
        options.train,
        options.on_bad_record,
        options.features,
        options.convert,
        options.image_size,
    )
    metrics = names(options, "fd,kid,prdc", options.features or "inception")
    results = score_folders(folders, metrics, options.extractor, options.resamples)
    scoring.print_table(results)
    return results


if __name__ == "__main__":
    cli.run(main)
