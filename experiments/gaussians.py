"""A small GAN on 25 Gaussians in the plane: which of them it makes."""

import contextlib
import dataclasses
import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
from etils import epath

from genjax.app import lock, workdir
from genjax.data.gaussians import CENTRES, SCALE, STD, gaussian_grid
from genjax.losses.adversarial import GAMES
from genjax.losses.penalties import Penalty
from genjax.methods import gan
from genjax.methods.gan import latent_prior
from genjax.methods.gan.choices import PENALTIES as NAMED
from genjax.metrics import modes
from genjax.models.gan.mlp import MLPDiscriminator, MLPGenerator
from genjax.train import sharding
from genjax.train.feed import Feed, streamed
from genjax.train.generate import generator
from genjax.train.options import FitOptions
from genjax.typing import Method, UserError

POINT = (1, 1, 2)
"""Shape of a point as an image."""

PENALTIES: dict[str, Callable[[float], Penalty | None]] = {
    "none": lambda weight: None,
    **{name: NAMED[name].make for name in ("gradient_penalty", "dragan", "r1")},
}
_RADIUS = 3.0
"""Standard deviations from the nearest mode within which a point is of high quality."""


@dataclasses.dataclass(frozen=True)
class Gaussians:
    """Train a GAN of perceptrons on 25 Gaussians, and score it: modes, collapse, share of points of high quality.

    Attributes:
        workdir: Folder of the run. If it holds a run already, that run continues.
        game: Loss of the generator and the discriminator.
        penalty: Penalty of the discriminator.
        penalty_weight: Weight of the penalty.
        discriminator_steps: Number of updates of the discriminator for each update of the generator.
        hidden: Widths of the layers of both networks.
        latent: Number of latent variables.
        learning_rate: Learning rate of both networks.
        steps: Number of updates of the generator.
        batch_size: Number of points per update.
        seed: Seed of everything random.
        num: Number of generated points that are scored.
    """

    workdir: str = "runs/gaussians"
    game: Literal[tuple(GAMES)] = "non_saturating"  # type: ignore[valid-type]
    penalty: Literal[tuple(PENALTIES)] = "none"  # type: ignore[valid-type]
    penalty_weight: float = 1.0
    discriminator_steps: int = 1
    hidden: tuple[int, ...] = (128, 128)
    latent: int = 16
    learning_rate: float = 1e-3
    steps: int = 10_000
    batch_size: int = 128
    seed: int = 0
    num: int = 2_500

    def check(self) -> None:
        """Raises UserError for a number out of range."""
        for name in ("discriminator_steps", "hidden", "latent", "steps", "batch_size", "num"):
            if np.min(getattr(self, name), initial=1) < 1:
                raise UserError(f"{name}={getattr(self, name)}: valid are 1 and more")
        if not self.learning_rate > 0 or not self.penalty_weight >= 0:
            raise UserError(
                f"learning_rate={self.learning_rate}, penalty_weight={self.penalty_weight}: valid are numbers above 0, "
                "and of 0 and more"
            )
        if not 0 <= self.seed < 2**32:
            raise UserError(f"seed={self.seed}: valid are 0..{2**32 - 1}")


def make_gan(options: Gaussians) -> Method:
    """The method that is trained, of points as images float32[B,1,1,2]."""

    def optimizer() -> optax.GradientTransformation:
        return optax.adam(options.learning_rate, b1=0.5)

    return gan(
        MLPGenerator(POINT, options.hidden),
        MLPDiscriminator(options.hidden, pieces=1),
        optimizer(),
        optimizer(),
        image_shape=POINT,
        latent=latent_prior.normal(options.latent),
        game=GAMES[options.game](),
        penalty=PENALTIES[options.penalty](options.penalty_weight),
        discriminator_steps=options.discriminator_steps,
    )


def feed(seed: int, batch_size: int) -> Feed:
    """Fresh draws of the mixture in every step, a function of seed and step."""

    def batch(step: int) -> Mapping[str, np.ndarray]:
        points, _ = gaussian_grid((seed, step), batch_size)
        return {
            "image": (points / np.float32(SCALE)).reshape(-1, *POINT),
            "_index": np.arange(batch_size, dtype=np.int32),
        }

    def batches(start: int) -> AbstractContextManager[Iterator[Mapping[str, np.ndarray]]]:
        return contextlib.nullcontext(batch(step) for step in itertools.count(start))

    return streamed(batches)


def score_points(points: np.ndarray) -> dict[str, Any]:
    """Scores of generated points float[N,2] on the scale of the mixture; see `genjax.metrics.modes`.

    Modes, KL and total variation are computed from the points of high quality.
    """
    found = modes.nearest_mode(points, CENTRES, radius=_RADIUS * STD)
    reference = modes.uniform(len(CENTRES))
    scores = modes.mode_scores(found, reference)
    return {
        "high_quality": modes.high_quality(found),
        "modes": scores.covered,
        "num_modes": len(CENTRES),
        "kl": scores.kl if np.isfinite(scores.kl) else None,  # JSON has no infinity
        "class_tv": scores.total_variation,
        "collapse": scores.collapse,
        "mode_samples": len(found),
        "mode_samples_needed": modes.samples_needed(reference),
    }


def train(options: Gaussians) -> dict[str, Any]:
    """Trains and scores; writes config.json and metrics.json, which `experiments.collapse_table` reads."""
    options.check()
    directory = epath.Path(options.workdir).expanduser()
    config = _config(options)
    workdir.check_ours(directory)
    with lock.held(directory):
        _claim(directory, config)
        return _train(options, directory)


def _train(options: Gaussians, directory: epath.Path) -> dict[str, Any]:
    from genjax.train.fit import fit  # brings Orbax

    method, mesh = make_gan(options), sharding.make_mesh()
    fitted = fit(
        method,
        feed(options.seed, options.batch_size),
        FitOptions(
            steps=options.steps,
            batch_size=options.batch_size,
            seed=options.seed,
            log_every=max(1, options.steps // 20),
            checkpoint_every=options.steps,
        ),
        workdir=directory,
        example={"image": jnp.zeros((1, *POINT)), "_index": jnp.zeros(1, jnp.int32)},
        preprocess=lambda key, batch: batch,
        mesh=mesh,
    )
    if fitted.preempted:
        return {"step": fitted.step, "preempted": True}
    generate = generator(method, mesh, min(options.num, 1000))
    made = generate(fitted.state, jax.random.key(options.seed), {}, range(options.num))
    points = SCALE * np.concatenate(list(made)).reshape(-1, 2)
    results = {"step": fitted.step, **score_points(points)}
    workdir.write_json(directory / workdir.METRICS, results)
    return results


def _config(options: Gaussians) -> dict[str, Any]:
    fields = dataclasses.asdict(options)
    del fields["workdir"]
    fit = {name: fields.pop(name) for name in ("steps", "batch_size", "seed")}
    return {
        "fit": fit,
        "data": {"dataset": "gaussians"},
        "evaluation": {"num": fields.pop("num")},
        "method": fields,
    }


def _claim(directory: epath.Path, config: dict[str, Any]) -> None:
    path = directory / workdir.CONFIG
    if path.exists() and workdir.read_json(path, {}) != json.loads(json.dumps(config)):
        raise UserError(
            f"workdir={str(directory)!r} holds a run that was started with another config: {path}"
        )
    workdir.write_json(path, config)
