"""What it costs to make images with a trained run: time, evaluations of the network, memory; compilation apart.
And what a step of training costs, whatever it runs on.

`experiments.bench` compares speeds, in turns and with their ranges; this is a plain account of one run on one machine.
"""

import dataclasses
import functools
import time
from collections.abc import Callable, Iterator
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from jax.sharding import Mesh

from genjax.app import build, kinds
from genjax.app.config import Config
from genjax.app.restore import Run
from genjax.data import DataInfo
from genjax.train import sharding
from genjax.train.generate import sampling_program
from genjax.train.program import memory
from genjax.typing import Method, PyTree


def sampling_cost(run: Run, *, batches: int = 1) -> dict[str, float]:
    """Makes batches of images as `genjax.app.scoring.make` does, and measures that.

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
    size = build.sampling_batch(config, mesh)
    key = sharding.place(jax.random.key(config.fit.seed), sharding.replicated(mesh))
    numbers, condition = jax.device_put(
        (np.arange(size, dtype=np.int32), build.every_condition(config, run.info, size)),
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
        "peak_memory_bytes": sum(memory(program).values()),
    }


def network_evaluations(run: Run) -> int:
    """How often networks are called to make one image, counted while one is made.

    All networks of the run count alike: a decoder behind a diffusion model is one call more. So do the two calls of
    guidance. What a sampler leaves out in its last step, and what guidance does where its scale is 1, is not counted.
    """
    count = 0

    def increment() -> None:
        nonlocal count
        count += 1

    keys = jax.random.split(jax.random.key(run.config.fit.seed), 1)
    arguments = keys, run.state, build.every_condition(run.config, run.info, 1)
    # On one device, or each would count.
    arguments = jax.device_put(arguments, jax.local_devices()[0])
    with nn.intercept_methods(_at_each_call(lambda args: jax.debug.callback(increment))):
        sample = build.method(run.config, run.info, frozen=run.frozen).sample  # which was not traced before
        jax.block_until_ready(sample(*arguments))
    jax.effects_barrier()
    return count


def training_cost(
    config: Config,
    info: DataInfo | None = None,
    frozen: kinds.Frozens = kinds.NONE,
    *,
    method: Method | None = None,
    mesh: Mesh | None = None,
) -> dict[str, float | None]:
    """What a step of training costs, as it is written: nothing is compiled or run, and the device makes no difference.

    Args:
        config: config of the run.
        info: description of its data; None: it is read from the data, which must be there.
        frozen: trained runs that the config names.
        method: method of the run, whose step is not traced again on the mesh of the run; None: it is built.
        mesh: devices of the run; None: the first one there is.

    Returns:
        * "flops_per_step", see `flops`, of the step for the whole batch, before XLA merges what is computed twice; None
          where XLA does not say. The body of a loop counts once, but micro-batches all do.
        * "network_evaluations_per_step": forward calls of all networks times the images of each call, so that a GAN's
          discriminator counts for real images and for fakes. The backward pass is no call of its own.

        Where a step sometimes does more, as a GAN whose generator learns in every fifth, both are of the most it does.
    """
    from genjax.train.fit import train_step  # brings Orbax

    info = info or build.data_info(config)

    def made(config: Config) -> Method:
        return build.method(config, info, frozen=frozen)

    fresh, key = made(config), jax.random.key(0)
    state = jax.eval_shape((method or fresh).init, key, build.example(info))
    arguments = sharding.shapes(
        (key, state, build.example(info, config.fit.batch_size)), mesh or sharding.make_mesh(num_devices=1)
    )

    def traced(method: Method) -> Any:
        return jax.jit(train_step(method, functools.partial(build.augment, config.data))).trace(*arguments)

    with nn.intercept_methods(_at_each_call(_mark)):
        marked = traced(fresh)
    # Micro-batches do the same work, but in a loop, whose body XLA counts once.
    if config.optimizer.accumulate > 1:
        method = made(
            dataclasses.replace(config, optimizer=dataclasses.replace(config.optimizer, accumulate=1))
        )
    # Marks are callbacks, of which there are none on platforms that are not here.
    counted = flops(traced(method or made(config)))
    return {"flops_per_step": counted, "network_evaluations_per_step": _marked(marked.jaxpr.jaxpr)}


def flops(traced: Any) -> float | None:
    """Floating-point operations of a traced program: by XLA's cost analysis of what would be run on a TPU, which is not
    needed here.

    There convolutions are operations that XLA counts, without products with the zeros beyond the edges. On CPU they are
    other algorithms (`genjax.nn.convolution.cpu`), in loops of which XLA counts the body once: a tenth at times.

    Args:
        traced: what ``jax.jit(function).trace(*arguments)`` returns.

    Returns:
        A multiplication and an addition are two; None where XLA does not say.
    """
    analysis = traced.lower(lowering_platforms=("tpu",)).cost_analysis() or {}
    return analysis.get("flops")


def _at_each_call(act: Callable[[Any], object]) -> Callable[..., PyTree]:
    """An interceptor of Linen that acts at each call of a network, given its arguments."""
    inside = False

    def counted(call: Any, args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> PyTree:
        nonlocal inside
        if inside:  # layers inside a network are modules too
            return call(*args, **kwargs)
        inside = True
        try:
            if context.method_name != "setup":  # which comes before the call, and may have calls of its own
                act(args)
            return call(*args, **kwargs)
        finally:
            inside = False

    return counted


def _noted(x: object) -> None:
    """Where a traced step calls a network."""


def _mark(args: Any) -> None:
    # With the images as its argument: under vmap it is called for each, as the network is.
    jax.debug.callback(_noted, jax.tree.leaves(args)[0])


def _marked(jaxpr: Any) -> int:
    """Images of all marked calls in a jaxpr."""
    count = 0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "debug_callback":
            count += equation.invars[0].aval.shape[0]
        inner = [_marked(part) for part in _parts(equation.params)]
        branches = equation.primitive.name == "cond"
        count += (max(inner) if branches else sum(inner)) * equation.params.get("length", 1)
    return count


def _parts(parameters: dict[str, Any]) -> Iterator[Any]:
    """The jaxprs inside an equation."""
    for value in parameters.values():
        for part in value if isinstance(value, tuple | list) else (value,):
            if hasattr(part, "eqns"):
                yield getattr(part, "jaxpr", part)
