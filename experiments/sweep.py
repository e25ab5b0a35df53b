"""One diffusion model, sampled with several numbers of steps: what each is worth and what it costs."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from etils import epath

from experiments import drawing
from genjax import data
from genjax.app import checks, extractors, kinds, pictures, scoring, workdir
from genjax.app.config import Config
from genjax.app.cost import sampling_cost
from genjax.app.image_scores import ImageScorer
from genjax.app.restore import Run
from genjax.metrics.extractor import Extractor
from genjax.typing import UserError

_PRINTED = ("num_steps", "network_evaluations", "samples_per_second", "rho", "fd_generated")


def sweep(
    run: Run,
    directory: epath.Path,
    train: data.Source,
    test: data.Source,
    num_steps: Sequence[int],
    *,
    num: int,
    seed: int = 0,
    metrics: Sequence[str] = ("fd",),
    extractor: Extractor | None = None,
    batch_size: int | None = None,
    resamples: int = 0,
) -> list[dict[str, Any]]:
    """Scores a trained state at each number of steps, from the same noise; prints a line for each.

    ``sweep.json`` and the picture of a number of steps, ``sweep/00005.png``, are there as soon as it is scored. Started
    again, a sweep leaves out what is there; what was measured otherwise (other images, sampler, step or protocol) goes.

    Args:
        run: what to score; its ``config.sampling`` says all but the number of steps.
        directory: the workdir.
        train, test, num, seed, metrics, extractor, batch_size, resamples: see `scoring.score_run`.
        num_steps: number of steps of the sampler.

    Returns:
        What ``sweep.json`` holds, by ascending number of steps: "num_steps", the score, "step", "sampling", and what
        `cost.sampling_cost` says.

    Raises:
        UserError: the run has no sampler with steps or its images no score, or there is no such number of steps.
    """
    _check(run, num_steps, extractor)
    scorer = ImageScorer(
        run.config,
        train,
        test,
        run.mesh,
        num=num,
        metrics=metrics,
        extractor=extractors.of_run(run.config) if extractor is None else extractor,
        batch_size=batch_size,
        resamples=resamples,
    )

    def described(number: int) -> dict[str, Any]:
        return {
            "num_steps": number,
            "step": run.step,
            "sampling": scoring.sampling(_with_steps(run.config, number), num=num, seed=seed),
            "resamples": resamples,
            "protocols": scorer.scorer.protocols,
        }

    before = {entry.get("num_steps"): entry for entry in workdir.read_json(directory / workdir.SWEEP, [])}
    found = {number: entry for number, entry in before.items() if described(number).items() <= entry.items()}
    for number in sorted(set(num_steps) - set(found)):
        config = _with_steps(run.config, number)
        one = run.with_config(config)
        generated = scoring.make(one, labels=scorer.labels, num=num, seed=seed, given=scorer.given)
        found[number] = described(number) | scorer.score(generated, scorer.labels) | sampling_cost(one)
        draw = drawing.drawer(config, one.method, run.mesh, test, seed)
        _write(directory, found, number, pictures.encode(draw(run.state)))
        print(
            ", ".join(f"{name} {found[number][name]:.6g}" for name in _PRINTED if name in found[number]),
            flush=True,
        )
    return _ordered(found)


def _check(run: Run, num_steps: Sequence[int], extractor: Extractor | None) -> None:
    asked = f"sweep={tuple(num_steps)}"
    if "num_steps" not in kinds.method(run.config).sampling:
        raise UserError(f"{asked}: {kinds.name('method', run.config.method)} has no sampler with steps")
    if extractor is None and extractors.scores_of(run.config) is None:
        raise UserError(
            f"{asked}: the bundled classifier does not know {run.config.data.dataset!r}; an extractor is needed"
        )
    for number in num_steps:
        checks.check(_with_steps(run.config, number))


def _with_steps(config: Config, num_steps: int) -> Config:
    return dataclasses.replace(config, sampling=dataclasses.replace(config.sampling, num_steps=num_steps))


def _ordered(found: Mapping[int, dict[str, Any]]) -> list[dict[str, Any]]:
    return [found[number] for number in sorted(found)]


def _write(directory: epath.Path, found: Mapping[int, dict[str, Any]], number: int, picture: bytes) -> None:
    """Writes the picture first: of what the file names there is a picture, whenever a kill comes."""
    folder = directory / workdir.SWEEP_PICTURES
    folder.mkdir(exist_ok=True)
    workdir.write_bytes(folder / f"{number:05d}.png", picture)
    workdir.write_json(directory / workdir.SWEEP, _ordered(found))
    for other, path in workdir.numbered(folder).items():
        if other not in found:
            path.unlink()
