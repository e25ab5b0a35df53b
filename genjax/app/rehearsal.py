"""What a run does in addition to training, done once before it: hooks and scores of a few records and noise images.

A mistake in a picture or in a score would else be found when the model is trained. Networks have no part in it: their
functions are traced by `genjax.app.checks`, and a stand-in takes the place of the method, which compiles at once.
"""

import contextlib
import io
import json
import logging
import pathlib
import tempfile
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from jax.sharding import Mesh

from genjax import data
from genjax.app import checks
from genjax.app.config import Config
from genjax.app.extractors import of_run, scores_of
from genjax.app.image_scores import ImageScorer
from genjax.train.logging import JsonlWriter
from genjax.typing import Array, Batch, Key, Method, TrainState

_log = logging.getLogger(__name__)

RECORDS = 24
"""Records of each split that take part."""

Hooks = Callable[[Method, data.Source, data.Source, epath.Path], Sequence[Any]]
"""``(method, train, test, directory) -> hooks`` of a run, see `genjax.train.fit.Hook`."""


def rehearse(
    config: Config,
    method: Method,
    state: TrainState,
    mesh: Mesh,
    train: data.Source,
    test: data.Source,
    hooks: Hooks,
) -> None:
    """Runs every hook and the scores of a run; where temporary files cannot be written, it says so and leaves it.

    Args:
        config: config of the run.
        method: method of the run; it is traced only.
        state: state of the run, as shapes and types.
        mesh: devices.
        train: training records.
        test: held-out records.
        hooks: makes the hooks.

    Raises:
        Exception: whatever a hook or a score raises, with a note that says which one it is.
    """
    given = checks.evaluation(method, config, state, train.info, mesh)
    fake, train, test = stand_in(method, list(given), train.info), _first(train), _first(test)
    try:
        _run(config, fake, mesh, train, test, hooks)
    except OSError as error:
        _log.warning("pictures and scores are not tried before the training: %s", error)


def _run(
    config: Config, fake: Method, mesh: Mesh, train: data.Source, test: data.Source, hooks: Hooks
) -> None:
    """Runs the hooks and the scores of a method without networks."""
    nothing = TrainState(step=jnp.zeros((), jnp.int32), params=(), opt=())
    with tempfile.TemporaryDirectory() as folder, _silently():
        with JsonlWriter(pathlib.Path(folder) / "metrics.jsonl") as writer:
            for hook in hooks(fake, train, test, epath.Path(folder)):
                with _noted(f"a hook, {getattr(hook.run, '__qualname__', hook.run)},"):
                    hook.run(0, nothing, writer)
        if config.evaluation.num and scores_of(config) and len(test) > 1 and len(train) > 1:
            with _noted("the score of images"):
                num = min(RECORDS, config.evaluation.num)
                scorer = ImageScorer(config, train, test, mesh, num=num, extractor=of_run(config))
                levels = np.random.default_rng(0).integers(0, 256, (num, *train.info.image_shape), np.uint8)
                json.dumps(scorer.score(levels, scorer.labels) | scorer.collapse(levels))


def stand_in(method: Method, names: Sequence[str], info: data.DataInfo) -> Method:
    """A method without networks, that gives images of the right shape and numbers by the names of another one's."""

    def sample(keys: Key, state: TrainState, condition: Any) -> Array:
        return jax.vmap(lambda key: jax.random.uniform(key, info.image_shape, minval=-1.0))(keys)

    def evaluate(key: Key, state: TrainState, batch: Batch) -> dict[str, Array]:
        return {name: jnp.ones(batch["_index"].shape) for name in names}

    return method._replace(sample=sample, evaluate=evaluate)


def _first(source: data.Source) -> data.Source:
    records = source.read(np.arange(min(RECORDS, len(source))))
    if "source" in records:  # images of two domains may have two sizes
        other = data.ArraySource.from_records({"image": records.pop("source")}, source.info)
        return data.Paired(data.ArraySource.from_records(records, source.info), other)
    return data.ArraySource.from_records(records, source.info)


@contextlib.contextmanager
def _silently() -> Any:
    """Without what is printed, and without warnings: few records of noise deserve them."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(before)


@contextlib.contextmanager
def _noted(what: str) -> Any:
    try:
        yield
    except Exception as error:
        error.add_note(f"This is {what} tried on images of noise before anything was written or trained.")
        raise
