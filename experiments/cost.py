"""What it costs to make images with a trained run: time, evaluations of the network, memory; compilation apart.

`experiments.bench` compares speeds, in turns and with their ranges; this is a plain account of one run on one machine.
"""

import time
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from experiments.bench import subjects
from experiments.restore import Run
from genjax.train import sharding
from genjax.train.generate import sampling_program
from genjax.typing import PyTree


def sampling_cost(run: Run, *, batches: int = 1) -> dict[str, float]:
    """Makes batches of images as `experiments.scoring.make` does, and measures that.

    Args:
        run: what makes them; its ``config.sampling`` says how, and how many at a time.
        batches: whose time is taken, after one that warms up.

    Returns:
        * "samples_per_second", of all devices together, the images in the memory of the devices;
        * "compile_seconds", tracing included, and short where the compiled program is found in jax's cache;
        * "network_evaluations", for one image: see `network_evaluations`;
        * "peak_memory_bytes" of each device, as the compiler counts them: parameters, images and what is between.
    """
    config, mesh = run.config, run.mesh
    size = subjects.sampling_batch(config, mesh)
    key = sharding.place(jax.random.key(config.fit.seed), sharding.replicated(mesh))
    numbers, condition = jax.device_put(
        (np.arange(size, dtype=np.int32), subjects.condition(config, run.info, size)),
        sharding.batch_sharding(mesh),
    )
    program = sampling_program(run.method, mesh)
    arguments = run.state, key, numbers, condition
    jax.block_until_ready(program(*arguments))
    start = time.perf_counter()
    for _ in range(batches):
        images = program(*arguments)
    jax.block_until_ready(images)
    seconds = time.perf_counter() - start
    return {
        "samples_per_second": batches * size / seconds,
        "compile_seconds": program.compile_seconds,
        "network_evaluations": network_evaluations(run),
        "peak_memory_bytes": sum(subjects.memory(program).values()),
    }


def network_evaluations(run: Run) -> int:
    """How often networks are called to make one image, counted while one is made.

    All networks of the run count alike: a decoder behind a diffusion model is one call more. So do the two calls of
    guidance. What a sampler leaves out in its last step, and what guidance does where its scale is 1, is not counted.
    """
    count, inside = 0, False

    def increment() -> None:
        nonlocal count
        count += 1

    def counted(call: Any, args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> PyTree:
        nonlocal inside
        # Layers inside a network are modules too, and `setup` is a call of its own.
        if inside or context.method_name == "setup":
            return call(*args, **kwargs)
        inside = True
        try:
            jax.debug.callback(increment)
            return call(*args, **kwargs)
        finally:
            inside = False

    keys = jax.random.split(jax.random.key(run.config.fit.seed), 1)
    arguments = keys, run.state, subjects.condition(run.config, run.info, 1)
    # On one device, or each would count.
    arguments = jax.device_put(arguments, jax.local_devices()[0])
    with nn.intercept_methods(counted):
        jax.block_until_ready(jax.jit(lambda *arguments: run.method.sample(*arguments))(*arguments))
    jax.effects_barrier()
    return count
