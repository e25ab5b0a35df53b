"""What is measured: the compiled programs that the other commands run, from the same config."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from genjax.app import build
from genjax.app.config import Config
from genjax.train import backend as backends
from genjax.train import sharding
from genjax.train.feed import stack
from genjax.train.generate import sampling_program
from genjax.train.program import Program
from genjax.typing import Batch, Method, PyTree, TrainState

Alter = Callable[[Method], Method]
"""What a baseline does to a method before it is compiled."""


class Workload(NamedTuple):
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


def train(config: Config, alter: Alter = _unaltered) -> Workload:
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

    return Workload(run, stride * options.batch_size, backend.advance)


def sample(config: Config, alter: Alter = _unaltered) -> Workload:
    """Batches of images, as `genjax.train.generate` makes them, by a network that is not trained."""
    mesh, info = sharding.make_mesh(), build.data_info(config)
    method = alter(build.method(config, info))
    rows, everywhere = sharding.batch_sharding(mesh), sharding.replicated(mesh)
    size = build.sampling_batch(config, mesh)
    key = jax.random.key(config.fit.seed)
    state, key = jax.device_put((method.init(key, build.example(info)), key), everywhere)
    numbers, given = jax.device_put(
        (np.arange(size, dtype=np.int32), build.every_condition(config, info, size)), rows
    )
    program = sampling_program(method, mesh)

    def run(count: int) -> jax.Array:
        for _ in range(count):
            images = program(state, key, numbers, given)
        return jax.block_until_ready(images)

    return Workload(run, size, program)


def feed(config: Config) -> Workload:
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

    return Workload(run, config.fit.batch_size, program)


def network_evaluations(config: Config) -> int:
    """How often the network is evaluated for one image: once a step, twice under guidance."""
    return config.sampling.num_steps * (1 if config.sampling.guidance == 1.0 else 2)


def peak_device_memory() -> dict[str, int]:
    """Most bytes that an accelerator held so far, as "peak_device_bytes"; nothing where the device does not say."""
    stats = jax.local_devices()[0].memory_stats() or {}
    return {"peak_device_bytes": stats["peak_bytes_in_use"]} if "peak_bytes_in_use" in stats else {}
