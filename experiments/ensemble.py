"""Several models as one: ``python -m experiments.ensemble WORKDIR WORKDIR... --out DIR [--mixture-weights 0.7 0.3]``.

Image i of a seed comes from one of the models, drawn by the weights with the key of i, and is the image i that this
model makes of the seed, as its own config says. So it is the same whatever else is made.

Mixture and members are scored in the same way as by `experiments.evaluate`; `experiments.scoreboard` shows DIR beside
runs, and so does `experiments.report` where DIR is in its folder. With ``--fit mmd`` or ``--fit fd`` the weights are
those that bring the mixture nearest to the training images.
"""

import dataclasses
import io
import json
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from etils import epath

from experiments import cli, scoreboard
from genjax.app import (
    build,
    data_facts,
    extractors,
    image_scores,
    kinds,
    pictures,
    restore,
    run_data,
    scoring,
    workdir,
)
from genjax.app.config import Config, SamplingOverrides, with_absolute_paths
from genjax.app.extractors import ExtractorOptions
from genjax.app.image_scores import ImageScorer
from genjax.metrics import mixture
from genjax.metrics.features import features
from genjax.metrics.score import subset
from genjax.random import choose, example_keys
from genjax.train import sharding
from genjax.typing import UserError

IMAGES = "images.npz"
_SHOWN = 100
_FITS = {"mmd": mixture.fit_mmd, "fd": mixture.fit_frechet}
_OF_THE_IMAGES = ("dataset", "train_split", "test_split", "source", "image_size", "channels", "binarize")
"""Fields of ``config.data`` in which models of one data set agree."""


@dataclasses.dataclass(frozen=True)
class Ensemble:
    """Mix several trained models into one, and score the mixture and each model.

    Attributes:
        workdirs: Folders of runs on the same data.
        out: Folder for metrics.json, manifest.json and samples.png.
        mixture_weights: Weight of each model, in any unit. Without it: equal weights.
        fit: Find the weights for which the mixture is closest to the training images, by KID's distance ("mmd") or by
            the Fréchet distance ("fd").
        fit_num: Number of images of each model that the weights are fitted to, and number of training images (or all if
            there are fewer). These images are not the ones that are scored.
        num: Number of images of the mixture, and of each model, that are scored.
        seed: Seed of the images.
        data_dir: Folder of TFDS data sets. Without it: the folder of the training.
        metrics: Metrics, separated by commas.
        resamples: Number of bootstrap resamples for 95 % intervals over the images. 0: no intervals.
        save_images: Also write images.npz with "images" (uint8), "member" (the number of the model that made the image)
            and "labels" (the requested class, or -1).
    """

    workdirs: Annotated[tuple[str, ...], tyro.conf.Positional]
    out: str
    mixture_weights: tuple[float, ...] | None = None
    fit: Literal["mmd", "fd"] | None = None
    fit_num: int = 2000
    num: int = 1000
    seed: int = 0
    data_dir: str | None = None
    metrics: str = "fd"
    resamples: int = 0
    save_images: bool = False
    extractor: Annotated[ExtractorOptions, tyro.conf.arg(name="")] = dataclasses.field(
        default_factory=ExtractorOptions
    )


def main() -> None:
    """Reads the command line, makes images and scores them."""
    ensemble(tyro.cli(Ensemble, prog="python -m experiments.ensemble"))


def ensemble(options: Ensemble) -> dict[str, Any]:
    """Scores the mixture and its members, and writes the result into ``options.out``.

    Runs are restored one after the other. Memory holds one model, its images and the images of the mixture.

    Returns:
        What is in metrics.json: the scores of the mixture, as `genjax.app.scoring.score_run` names them; "weights" by
        name; "fit"; "members", the scores of each; "step", the training steps of all members together.

    Raises:
        UserError: fewer than two runs, runs on different data, weights that make no sense, a folder `out` that holds a
            run, or options out of range.
    """
    names, config = _check(options)
    scorer = _scorer(options, config)
    fit = _fit(options, scorer) if options.fit is not None else None
    weights = (
        mixture.normalized(options.mixture_weights or np.ones(len(names)), len(names))
        if fit is None
        else fit.weights
    )
    chosen = members(options.seed, range(options.num), weights)
    parts, asked, images = [], np.full(options.num, -1, np.int32), None
    for number, path in enumerate(options.workdirs):
        run = _restored(options, path)
        made, labels = _make(run, options, scorer, 0, options.num)
        own = chosen == number
        images = np.zeros_like(made) if images is None else images
        images[own] = made[own]
        asked[own] = -1 if labels is None else labels[own]
        parts.append({"name": names[number], "step": run.step, "weight": float(weights[number])})
        parts[-1] |= {"images": int(own.sum()), **_scores(scorer, made, labels)}
    assert images is not None
    results: dict[str, Any] = {
        "name": epath.Path(options.out).name,
        "step": sum(part["step"] for part in parts),
        "weights": dict(zip(names, map(float, weights), strict=True)),
        "fit": None if fit is None else _as_json(options, fit, names),
        **_scores(scorer, images, asked if (asked >= 0).all() else None),
        "sampling": {"seed": options.seed, "num": options.num},
        "members": parts,
    }
    if cli.is_first_process():
        _write(options, results, images, asked, chosen)
        _print(results)
    return results


def members(seed: int, numbers: range, weights: np.ndarray) -> np.ndarray:
    """int[N]: the model that each image of the seed is from, a function of its number and the weights."""
    keys = example_keys(jax.random.key(seed), jnp.asarray(numbers, jnp.int32))
    return np.asarray(choose(keys, weights))


def _check(options: Ensemble) -> tuple[list[str], Config]:
    """Names of the runs, and the config of the first; raises UserError for what would be noticed late."""
    if len(set(options.workdirs)) < max(2, len(options.workdirs)):
        raise UserError(f"workdirs={options.workdirs}: at least two different runs are needed")
    if options.mixture_weights is not None and options.fit is not None:
        raise UserError(
            f"mixture_weights={options.mixture_weights}, fit={options.fit!r}: give one of them, or none"
        )
    if options.mixture_weights is not None:
        mixture.normalized(options.mixture_weights, len(options.workdirs))
    for name in ("num", "fit_num"):
        if getattr(options, name) < 2:
            raise UserError(f"{name}={getattr(options, name)}: at least 2 images are needed")
    image_scores.check_resamples(options.resamples)
    cli.check_seed(options.seed)
    out = epath.Path(options.out).expanduser()
    if (out / workdir.CONFIG).exists() or (out.exists() and not out.is_dir()):
        raise UserError(f"out={options.out!r} is a run or a file: the mixture needs a folder of its own")
    folders = [epath.Path(path).expanduser() for path in options.workdirs]
    configs = [workdir.load_config(folder) for folder in folders]
    first, *others = [_described(f, c) for f, c in zip(folders, configs, strict=True)]
    for path, other in zip(options.workdirs[1:], others, strict=True):
        moved = workdir.PLACES if _is_same_data(options.workdirs[0], path, configs[0]) else ()
        differing = [
            f"{name} ({first[name]!r} and {other[name]!r})"
            for name in first
            if first[name] != other[name] and name not in moved
        ]
        if differing:
            raise UserError(
                f"workdirs: {options.workdirs[0]!r} and {path!r} are not of the same images: they differ in "
                f"{', '.join(differing)}"
            )
    if kinds.method(configs[0]).translates:
        raise UserError(f"workdirs: {options.workdirs[0]!r} translates images, and makes none anew")
    names = [folder.name for folder in folders]
    return names if len(set(names)) == len(names) else list(options.workdirs), configs[0]


def _described(folder: epath.Path, config: Config) -> dict[str, Any]:
    info = workdir.load_info(folder)
    where = with_absolute_paths(config).data
    fields = {f"data.{name}": getattr(where, name) for name in _OF_THE_IMAGES}
    return fields | {"image_shape": info.image_shape, "num_classes": info.num_classes}


def _is_same_data(first: str, other: str, config: Config) -> bool:
    """Whether two runs have recorded the same data, wherever it lay."""
    one, two = (workdir.load_facts(epath.Path(path).expanduser()) for path in (first, other))
    known = data_facts.has_digests(one) and data_facts.has_digests(two)
    return known and not data_facts.of_contents(one, two, data_facts.splits(config.data))


def _scorer(options: Ensemble, config: Config) -> ImageScorer:
    """What the mixture and all members are scored by; features of the real images are computed once."""
    asked = options.extractor.extractor is not None
    extractor = extractors.load(options.extractor).extractor if asked else extractors.of_run(config)
    where = config.data
    if extractor is None and not image_scores.has_score(config):
        raise UserError(
            f"extractor=None: the bundled classifier does not know {where.dataset!r}, name another"
        )
    first = epath.Path(options.workdirs[0]).expanduser()
    train, test = run_data.sources(first, where, run_data.Places(data_dir=options.data_dir))
    return ImageScorer(
        config,
        train,
        test,
        sharding.make_mesh(),
        num=options.num,
        extractor=extractor,
        metrics=image_scores.metric_names(options.metrics),
        batch_size=_batch_size(options),
        resamples=options.resamples,
    )


def _restored(options: Ensemble, path: str) -> restore.Run:
    return restore.restore(epath.Path(path).expanduser(), SamplingOverrides())


def _make(
    run: restore.Run, options: Ensemble, scorer: ImageScorer, first: int, num: int
) -> tuple[np.ndarray, np.ndarray | None]:
    """Images number `first` and on of a model, and the labels that they were asked for, as for its score."""
    labels = None
    if build.num_classes(run.config, run.info):
        labels = image_scores.labels_like(scorer.real_train["label"], first + num)[first:]
    return scoring.make(run, labels=labels, num=num, seed=options.seed, first=first), labels


def _fit(options: Ensemble, scorer: ImageScorer) -> mixture.Fitted:
    """Weights by images that are not scored, and no two of them of one key: models of one key may make like images."""
    found = []
    for number, path in enumerate(options.workdirs):
        first = options.num + number * options.fit_num
        images, _ = _make(_restored(options, path), options, scorer, first, options.fit_num)
        found.append(_features(options, scorer, images))
    wanted = subset(scorer.real_train["image"], min(options.fit_num, len(scorer.real_train["image"])))
    assert options.fit is not None
    return _FITS[options.fit](found, _features(options, scorer, wanted))


def _features(options: Ensemble, scorer: ImageScorer, images: np.ndarray) -> np.ndarray:
    mesh = sharding.make_mesh()
    usual = image_scores.BATCH if scorer.extractor is scorer.classifier else image_scores.LARGE_BATCH
    size = sharding.round_up(_batch_size(options) or usual, mesh)
    return features(images, scorer.extractor, size, sharding.batch_sharding(mesh)).values


def _batch_size(options: Ensemble) -> int | None:
    return None if options.extractor.extractor is None else options.extractor.extractor_batch


def _scores(scorer: ImageScorer, images: np.ndarray, labels: np.ndarray | None) -> dict[str, Any]:
    """What `genjax.app.scoring.score_run` says of images."""
    return scorer.score(images, labels) | scorer.collapse(images)


def _as_json(options: Ensemble, fit: mixture.Fitted, names: Sequence[str]) -> dict[str, Any]:
    return {
        "criterion": options.fit,
        "images": options.fit_num,
        "to": "training images",
        "distance": fit.distance,
        "alone": dict(zip(names, map(float, fit.alone), strict=True)),
    }


def _write(
    options: Ensemble, results: dict[str, Any], images: np.ndarray, labels: np.ndarray, chosen: np.ndarray
) -> None:
    out = epath.Path(options.out).expanduser()
    out.mkdir(parents=True, exist_ok=True)
    workdir.write_json(out / workdir.METRICS, results)
    workdir.write_json(out / workdir.MANIFEST, [workdir.manifest(options.seed)])
    shown = images[:_SHOWN]
    workdir.write_bytes(
        out / workdir.GRID, pictures.encode(pictures.grid(shown, pictures.columns(len(shown), 1)))
    )
    if options.save_images:
        content = io.BytesIO()
        np.savez(content, images=images, labels=labels, member=chosen)
        workdir.write_bytes(out / IMAGES, content.getvalue())


def _print(results: dict[str, Any]) -> None:
    """The weights, the table of the mixture beside its members, and the JSON."""
    for part in results["members"]:
        print(f"{part['name']}: weight {part['weight']:.4f}, {part['images']} images")
    rows = [
        {name: scores.get(name) for name in ("name", "step", "protocol", *scoreboard.COLUMNS)}
        for scores in (results, *results["members"])
    ]
    for protocol, board in scoreboard.group(rows).items():
        print(f"\n{scoreboard.markdown(protocol, board)}")
    print(json.dumps(results), flush=True)


if __name__ == "__main__":
    cli.run(main)
