"""What is measured: the compiled programs that the other verbs run, from the same config."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from experiments import build, families, translation
from experiments.config import Config
from genjax import data
from genjax.train import backend as backends
from genjax.train import sharding
from genjax.train.feed import stack
from genjax.train.generate import sampling_program
from genjax.train.program import Program
from genjax.typing import Batch, Method, PyTree, TrainState

Alter = Callable[[Method], Method]
"""What a baseline does to a method before it is compiled."""


class Subject(NamedTuple):
    """Work that can be done again and again.

    Attributes:
        run: ``count -> result`` does it `count` times, and returns the last result when that is there.
        images: that doing it once handles.
        program: what is compiled for it, by the first `run`; None outside of JAX.
    """

    run: Callable[[int], PyTree]
    images: int
    program: Any  # a Program


def _unaltered(method: Method) -> Method:
    return method


def train(config: Config, alter: Alter = _unaltered) -> Subject:
    """Training steps, as `genjax.train.fit` runs them, on one batch that is on the devices already."""
    from genjax.train.fit import train_step  # brings Orbax

    options = config.fit
    mesh = sharding.make_mesh(options.fsdp)
    sharding.check_batch_size(options.batch_size, mesh)
    source = build.source(config.data, config.data.train_split)
    feed = build.training_feed(config, source, 0, 1)
    method, example = alter(build.method(config, source.info)), build.example(source.info)

    init_key, train_key = jax.random.split(jax.random.key(options.seed))
    step = train_step(method, functools.partial(build.augment, config.data))
    abstract = jax.eval_shape(method.init, init_key, example)
    backend = backends.make(options.backend, step, train_key, feed, abstract, mesh, options.fsdp_min_size)
    state = backend.spread(sharding.place(method.init(init_key, example), backend.layout))

    every = config.evaluation.loss_every, config.evaluation.sample_every
    due = [options.log_every, options.checkpoint_every, *every, options.steps]
    stride = backends.steps_per_dispatch(due, options.steps_per_dispatch)
    with feed.items(0) as items:
        item = backend.put(stack([next(items) for _ in range(stride)]))

    def run(count: int) -> TrainState:
        nonlocal state
        for _ in range(count):
            state, _ = backend.advance(state, backend.constants, item)
        return jax.block_until_ready(state)

    return Subject(run, stride * options.batch_size, backend.advance)


def sample(config: Config, alter: Alter = _unaltered) -> Subject:
    """Batches of images, as `genjax.train.generate` makes them, by a network that is not trained."""
    mesh, info = sharding.make_mesh(), data_info(config)
    method = alter(build.method(config, info))
    rows, everywhere = sharding.batch_sharding(mesh), sharding.replicated(mesh)
    size = sampling_batch(config, mesh)
    key = jax.random.key(config.fit.seed)
    state, key = jax.device_put((method.init(key, build.example(info)), key), everywhere)
    numbers, given = jax.device_put((np.arange(size, dtype=np.int32), condition(config, info, size)), rows)
    program = sampling_program(method, mesh)

    def run(count: int) -> jax.Array:
        for _ in range(count):
            images = program(state, key, numbers, given)
        return jax.block_until_ready(images)

    return Subject(run, size, program)


def feed(config: Config) -> Subject:
    """Training batches, from the data set to the devices: indices and a gather, or reading ahead on the host.

    Every repeat goes on where the last one ended, with nothing read ahead.
    """
    mesh = sharding.make_mesh(config.fit.fsdp)
    sharding.check_batch_size(config.fit.batch_size, mesh)
    source = build.source(config.data, config.data.train_split)
    batches = build.training_feed(config, source, 0, 1)
    arrays = jax.device_put(dict(batches.arrays), sharding.replicated(mesh))
    program = Program(batches.batch, "the batch")
    step = 0

    def run(count: int) -> Batch:
        nonlocal step
        with batches.items(step) as items:
            for _ in range(count):
                batch = program(arrays, sharding.place_batch(next(items), mesh))
            jax.block_until_ready(batch)
        step += count
        return batch

    return Subject(run, config.fit.batch_size, program)


def data_info(config: Config) -> data.DataInfo:
    """What is known of the data without decoding it."""
    return build.source(dataclasses.replace(config.data, resident_mb=0), config.data.train_split).info


def sampling_batch(config: Config, mesh: Mesh) -> int:
    """Images made at a time: as configured, rounded up so that every device makes as many."""
    return sharding.round_up(config.sampling.batch_size, mesh)


def condition(config: Config, info: data.DataInfo, num: int) -> dict[str, np.ndarray]:
    """What `num` images are asked to be: all classes in turn."""
    classes = families.num_classes(config, info)
    labels = None if classes is None else np.arange(num) % classes
    return build.condition(config, labels, num) | translation.blank(config, info, num)


def network_evaluations(config: Config) -> int:
    """How often the network is evaluated for one image: once a step, twice under guidance."""
    return config.sampling.num_steps * (1 if config.sampling.guidance == 1.0 else 2)


def memory(program: Program | None) -> dict[str, int]:
    """Bytes that a compiled program needs on each device, as the compiler counts them."""
    analysis = None if program is None else program.compiled.memory_analysis()
    if analysis is None:
        return {}
    return {
        "temporary_bytes": analysis.temp_size_in_bytes,
        "argument_bytes": analysis.argument_size_in_bytes,
        "output_bytes": analysis.output_size_in_bytes,
    }


def peak_device_memory() -> dict[str, int]:
    """Most bytes that an accelerator held so far, as "peak_device_bytes"; nothing where the device does not say."""
    stats = jax.local_devices()[0].memory_stats() or {}
    return {"peak_device_bytes": stats["peak_bytes_in_use"]} if "peak_bytes_in_use" in stats else {}
