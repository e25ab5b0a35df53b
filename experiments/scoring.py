"""The score of a run: the loss on held-out images, and how far generated images are from real ones."""

import json
import time
from typing import Any

import jax
import numpy as np
import tqdm
from etils import epath
from jax.sharding import Mesh

from experiments import build, workdir
from experiments.config import Config
from genjax import data
from genjax.metrics import load_digits_classifier
from genjax.metrics.score import score
from genjax.train.evaluate import evaluator
from genjax.train.generate import generator
from genjax.typing import Method, TrainState, UserError

# What the bundled classifier was trained to tell apart. Its features mean nothing on other images.
_DIGIT_SETS = ("digits", "mnist")
_LOSS_BATCH = 256


def score_run(
    config: Config,
    directory: epath.Path,
    state: TrainState,
    step: int,
    method: Method,
    mesh: Mesh,
    *,
    num: int,
    seed: int = 0,
) -> dict[str, Any]:
    """Scores a trained state, prints the table and, as the last line, one JSON object, and writes ``metrics.json``.

    Labels are asked for as often as they occur in the training set: image i gets the label of record ``permute(i)``.

    Args:
        config: of the run; its `sampling` says how images are made.
        directory: the workdir, which gets ``metrics.json``.
        state: a trained state.
        step: number of its updates.
        method: of the run.
        mesh: devices.
        num: number of generated images; as many test and training images are compared with, or all if there are fewer.
        seed: of the generated images.

    Returns:
        The results by name.
    """
    train, test = (build.source(config.data, split) for split in (config.data.train_split, config.data.test_split))
    if num < 2:
        raise UserError(f"num={num}: at least 2 images are needed for a score")
    batch_size = -(-_LOSS_BATCH // mesh.size) * mesh.size
    share = {"process_index": jax.process_index(), "process_count": jax.process_count()}
    means = evaluator(method, mesh, data.preprocess)(
        state, jax.random.key(config.fit.seed), data.eval_batches(test, batch_size, **share)
    )
    results: dict[str, Any] = {"step": step, **{f"test_{name}": value for name, value in means.items()}}

    if config.data.dataset in _DIGIT_SETS:
        labels = _labels_like(train, num) if build.num_classes(config, train.info) else None
        start = time.perf_counter()
        generated = make(config, state, method, mesh, labels=labels, num=num, seed=seed)
        results["sampling_seconds"] = round(time.perf_counter() - start, 1)
        results |= score(
            generated,
            _images(test),
            _images(train),
            labels=labels,
            extractor=load_digits_classifier(),
            reference=f"{config.data.dataset}/{config.data.test_split}",
        )
        sampling = config.sampling
        results["sampling"] = {
            "sampler": sampling.sampler,
            "num_steps": sampling.num_steps,
            "eta": sampling.eta,
            "guidance": sampling.guidance,
            "seed": seed,
        }
    if jax.process_index() == 0:
        workdir.write_json(directory / workdir.METRICS, results)
        _print(results, config.data.dataset)
    return results


def make(
    config: Config,
    state: TrainState,
    method: Method,
    mesh: Mesh,
    *,
    labels: np.ndarray | None,
    num: int,
    seed: int,
    first: int = 0,
) -> np.ndarray:
    """Images number `first` to ``first + num - 1`` of `seed`: uint8[num,H,W,C], with a progress bar."""
    generate = generator(method, mesh, min(config.sampling.batch_size, num))
    condition = build.condition(config, labels, num)
    parts = []
    with tqdm.tqdm(total=num, desc="sample", unit=" images", disable=None) as bar:
        for images in generate(state, jax.random.key(seed), condition, range(first, first + num)):
            parts.append(np.asarray(data.to_uint8(images)))
            bar.update(len(images))
    return np.concatenate(parts)


def _labels_like(source: data.Source, num: int) -> np.ndarray:
    labels = _column(source, "label")
    positions = np.arange(num) % len(labels)
    return labels[data.permute(positions, len(labels), (0,))]


def _images(source: data.Source) -> np.ndarray:
    return _column(source, "image")


def _column(source: data.Source, name: str) -> np.ndarray:
    return source.read(np.arange(len(source)))[name]


def _print(results: dict[str, Any], dataset: str) -> None:
    width = max(map(len, results))
    for name, value in results.items():
        text = f"{value:.6g}" if isinstance(value, float) else str(value)
        print(f"{name:<{width}}  {text}")
    if "rho" not in results:
        print(
            f"No image score: the bundled classifier knows digits ({', '.join(_DIGIT_SETS)}), not {dataset!r}.",
        )
    print(json.dumps(results), flush=True)
