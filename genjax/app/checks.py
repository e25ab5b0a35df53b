"""Whether a config makes sense: asked before anything is read, written or trained."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from genjax import data, ranges
from genjax.app import build, kinds
from genjax.app.collapse_scores import DIGIT_SETS
from genjax.app.config import Config, SamplingConfig
from genjax.app.extractors import scores_of
from genjax.methods.diffusion import choices
from genjax.methods.kind import Context
from genjax.methods.optimizers import OptimizerConfig
from genjax.train import sharding
from genjax.typing import Batch, Key, Method, TrainState, UserError


def check(config: Config) -> None:
    """Raises UserError for a number out of its range, and for fields that contradict each other."""
    kind = kinds.method(config)
    if kind.role not in kinds.network(config).roles:
        method = kinds.name("method", config.method)
        raise UserError(
            f"model={kinds.name('model', config.model)}: valid with the method {method} are "
            f"{', '.join(kinds.networks_for(kind))}"
        )
    ranges.check(config)
    if kind.samplers is not None:
        choices.check_sampler(config, kind.samplers, kinds.name("method", config.method))
    for wrong, message in [*_contradictions(config), *kind.contradictions(config)]:
        if wrong:
            raise UserError(message)


def default_sampling(config: Config) -> SamplingConfig:
    """How a config's method makes images where nothing else is said: with a sampler that it can be sampled by."""
    gives, default = kinds.method(config).samplers, SamplingConfig()
    fitting = [] if gives is None else choices.samplers_for(gives)
    if not fitting or default.sampler in fitting:
        return default
    return dataclasses.replace(default, sampler=fitting[0])


def _contradictions(config: Config) -> list[tuple[bool, str]]:
    fit, optimizer, sampling = config.fit, config.optimizer, config.sampling
    without_meaning = [
        field.name
        for field in dataclasses.fields(sampling)
        if field.name not in ("batch_size", *kinds.method(config).sampling)
        and getattr(sampling, field.name) != getattr(SamplingConfig(), field.name)
    ]
    return [
        (
            optimizer.warmup_steps >= fit.steps,
            f"optimizer.warmup_steps={optimizer.warmup_steps} must be less than steps={fit.steps}; "
            "--optimizer.warmup-steps sets it",
        ),
        (
            fit.batch_size % optimizer.accumulate != 0,
            f"optimizer.accumulate={optimizer.accumulate} must divide batch_size={fit.batch_size}",
        ),
        # Not so with b1 and b2: presets set them, and their optimizer is to be exchanged by its name alone.
        (
            bool(optimizer.momentum) and optimizer.name not in ("sgd", "rmsprop"),
            f"optimizer.momentum={optimizer.momentum} is for 'sgd' and 'rmsprop', and "
            f"optimizer.name={optimizer.name!r}",
        ),
        (
            optimizer.rms_decay != OptimizerConfig().rms_decay and optimizer.name != "rmsprop",
            f"optimizer.rms_decay={optimizer.rms_decay} is for 'rmsprop', and optimizer.name={optimizer.name!r}",
        ),
        (
            fit.backend == "pmap" and fit.fsdp != 1,
            f"fsdp={fit.fsdp}: backend='pmap' cannot split parameters; valid is 1, or backend='jit'",
        ),
        (
            bool(without_meaning),
            f"sampling.{''.join(without_meaning[:1])} has no meaning for {kinds.name('method', config.method)}, where "
            f"sampling has {', '.join((*kinds.method(config).sampling, 'batch_size'))}",
        ),
        (
            bool(kinds.method(config).translates) != (config.data.source is not None),
            f"data.source={config.data.source!r}: "
            + (
                "the name of a data set to translate from is needed"
                if kinds.method(config).translates
                else f"{kinds.name('method', config.method)} translates no images, valid is None"
            ),
        ),
        (config.evaluation.num == 1, "evaluation.num=1: valid are 0 (no score) and 2 or more"),
        (
            config.evaluation.score_every > 0 and scores_of(config) is None,
            f"evaluation.score_every={config.evaluation.score_every}: valid is 0, since nothing scores the images: the "
            f"bundled classifier knows {', '.join(DIGIT_SETS)}, and not {config.data.dataset!r}; "
            "--extractor efficientnet-lite0 does",
        ),
    ]


def check_fits(
    config: Config,
    train: data.Source,
    test: data.Source,
    method: Method,
    mesh: Mesh,
    frozen: kinds.Frozens = kinds.NONE,
) -> TrainState:
    """Checks that data, networks, method and devices go together, all functions of the method included.

    They are traced with the shapes of the run; nothing is compiled.

    Returns:
        The state that training will start from, as shapes and types.

    Raises:
        UserError: they contradict each other, or a function of the method breaks its contract (`genjax.typing.Method`).
        Exception: whatever a function of the method raises, with a note that says which one it is.
    """
    sharding.check_batch_size(config.fit.batch_size, mesh)
    _check_alike(train.info, test.info)
    kinds.network(config).check(config.model, train.info.image_shape)
    kinds.method(config).check(config, train.info.image_shape)
    info = train.info
    batch = build.example(info, config.fit.batch_size)
    key, batch = sharding.shapes((jax.random.key(0), batch), mesh)

    def augmented(key: Key, batch: Batch) -> Batch:
        return build.augment(config.data, key, batch)

    def stepped(key: Key, state: TrainState, batch: Batch) -> tuple[TrainState, dict[str, Any]]:
        return method.step(key, state, augmented(key, batch))

    state = sharding.shapes(_traced("init", method.init, jax.random.key(0), build.example(info)), mesh)
    _traced("preprocessing", augmented, key, batch)
    new, metrics = _traced("step", stepped, key, state, batch)
    _check_state(state, new)
    scalars = all(x.shape == () for x in jax.tree.leaves(metrics)) and bool(metrics)
    _promise(scalars, "step", f"metrics must be scalars by name, and are {_shapes(metrics)}")
    for evaluated in (method, build.thorough(method, config, info, frozen)):
        values = evaluation(evaluated, config, state, info, mesh)
        fine = bool(values) and all(x.shape == (config.fit.batch_size,) for x in values.values())
        _promise(
            fine, "evaluate", f"there must be one value for each example, and there are {_shapes(values)}"
        )
    num = build.sampling_batch(config, mesh)
    keys, condition = sharding.shapes(
        (jax.random.split(jax.random.key(0), num), build.every_condition(config, info, num)), mesh
    )
    images = _traced("sample", method.sample, keys, state, condition)
    wanted = (num, *info.image_shape)
    _promise(
        images.shape == wanted and images.dtype == np.float32,
        "sample",
        f"images must be float32{list(wanted)}, and are {_shapes(images)}",
    )
    _check_latent_space(kinds.context(config, info, frozen=frozen), key, state, batch)
    return state


def evaluation(
    method: Method, config: Config, state: TrainState, info: data.DataInfo, mesh: Mesh
) -> dict[str, jax.ShapeDtypeStruct]:
    """What `Method.evaluate` gives for a batch of held-out examples, as shapes and types.

    Args:
        method: whose function it is.
        config: config of the run.
        state: state of the run, as `check_fits` returns it.
        info: description of the data.
        mesh: devices.
    """
    batch = build.example(info, config.fit.batch_size)
    whole = np.ones(config.fit.batch_size, bool)
    key, batch = sharding.shapes((jax.random.key(0), {**batch, "_mask": whole}), mesh)
    return _traced(
        "evaluate",
        lambda key, state, batch: method.evaluate(key, state, data.preprocess(key, batch)),
        key,
        state,
        batch,
    )


def _check_latent_space(context: Context, key: Key, state: TrainState, batch: Any) -> None:
    """Traces what scores and pictures of a model with an encoder call."""
    make = kinds.method(context.config).latent_space
    if make is None:
        return
    space = make(context)
    batch = jax.eval_shape(data.preprocess, key, batch)
    _traced("reconstruct", space.reconstruct, key, state, batch)
    if space.encode is not None and space.decode is not None:
        codes = _traced("encode", space.encode, state, batch)
        told = {name: batch[name] for name in context.conditions}
        _traced("decode", space.decode, state, codes, told)
    if space.posterior is not None:
        _traced("posterior", space.posterior, state, batch)


def _traced(name: str, function: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return jax.eval_shape(function, *arguments)
    except Exception as error:
        error.add_note(f"This is {name!r} of the method, traced before anything was written or trained.")
        raise


def _check_state(before: TrainState, after: TrainState) -> None:
    """Raises UserError where a step changes the structure of the state, which the compiled step may not."""
    first, second = (
        {jax.tree_util.keystr(path): f"{x.dtype}{list(x.shape)}" for path, x in leaves}
        for leaves in map(jax.tree_util.tree_leaves_with_path, (before, after))
    )
    for name in sorted(first.keys() | second.keys()):
        old, new = first.get(name, "nothing"), second.get(name, "nothing")
        _promise(
            old == new, "step", f"the state must keep its structure, and {name} is {old} before, {new} after"
        )


def _promise(kept: bool, name: str, message: str) -> None:
    if not kept:
        raise UserError(f"{name!r} of the method breaks its contract: {message}")


def _shapes(tree: Any) -> str:
    return str(jax.tree.map(lambda x: f"{x.dtype}{list(x.shape)}", tree))


def _check_alike(train: data.DataInfo, test: data.DataInfo) -> None:
    for name in sorted(train.fields.keys() | test.fields.keys()):
        first, second = train.fields.get(name), test.fields.get(name)
        if first != second:
            raise UserError(
                f"dataset={train.name!r}: {name!r} is {_in_words(first)} in split {train.split!r}, "
                f"but {_in_words(second)} in split {test.split!r}"
            )


def _in_words(field: data.Field | None) -> str:
    if field is None:
        return "missing"
    classes = "" if field.num_classes is None else f" of {field.num_classes} classes"
    return f"{field.dtype}{list(field.shape)}{classes}"
