"""The built-in baselines: what genjax is compared with, by name."""

import dataclasses
import itertools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.bench import torch_gan, torch_vae, workloads
from experiments.bench.stock import with_stock_layers
from experiments.bench.workloads import Workload
from genjax.app import build, kinds
from genjax.app.config import Config
from genjax.conditions import select
from genjax.diffusion import PREDICTIONS, Denoiser, denoiser, guidance, initial_noise
from genjax.diffusion import sample as take_steps
from genjax.methods.averages import averaged
from genjax.methods.diffusion import choices
from genjax.methods.gan.gan_kind import GANConfig
from genjax.train import sharding
from genjax.train.program import Program
from genjax.typing import Array, Condition, Method


def stock(method: Method) -> Method:
    """The method with layers of flax.linen in place of genjax.nn's: the same parameters and numbers."""
    return Method(*map(with_stock_layers, method))


def python_loop(config: Config) -> Workload:
    """Sampling as a Python loop over a compiled step; the images of `workloads.sample` where eta is 0 and a step needs
    no other."""
    info, sampling = build.data_info(config), config.sampling
    context = kinds.context(config, info)
    network, sampler = kinds.method(config).network(context), choices.sampler(sampling)
    schedule, times = choices.schedule(config.method), np.asarray(choices.sampling_times(config))
    mesh = sharding.make_mesh()
    size = build.sampling_batch(config, mesh)
    key = jax.random.key(config.fit.seed)
    params = averaged(build.method(config, info).init(key, build.example(info)))
    keys = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, jnp.arange(size))
    rows, everywhere = sharding.batch_sharding(mesh), sharding.replicated(mesh)
    params, pairs = jax.device_put((params, list(itertools.pairwise(times))), everywhere)
    keys, given = jax.device_put((keys, build.every_condition(config, info, size)), rows)

    def one_step(params: Any, keys: Array, x: Array, pair: tuple, given: Mapping[str, Array]) -> Array:
        def denoise_given(condition: Condition) -> Denoiser:
            def apply(x: Array, c_noise: Array) -> Any:
                return network.apply({"params": params}, x, c_noise, condition)

            return denoiser(apply, schedule, PREDICTIONS[config.method.prediction])

        denoise = denoise_given(select(given, context.conditions))
        if "guidance" in given:
            denoise = guidance.classifier_free(denoise, denoise_given({}), given["guidance"])
        return take_steps(keys, x, jnp.stack(pair), guidance.clip(denoise), sampler, schedule)

    program = Program(one_step, "a sampling step", out_shardings=rows)
    start = jax.jit(
        lambda keys: initial_noise(keys, info.image_shape, schedule, times[0]), out_shardings=rows
    )

    def run(count: int) -> Array:
        for _ in range(count):
            x = start(keys)
            for pair in pairs:
                x = program(params, keys, x, pair, given)
        return jax.block_until_ready(x)

    return Workload(run, size, program)


def in_torch(config: Config) -> Workload:
    """Training steps as PyTorch's examples of the model write them."""
    return (torch_gan.example if isinstance(config.method, GANConfig) else torch_vae.textbook)(config)


def _with(config: Config, part: str, **fields: Any) -> Config:
    """`config` with some fields of one part changed."""
    return dataclasses.replace(config, **{part: dataclasses.replace(getattr(config, part), **fields)})


BUILT_IN: dict[str, dict[str, Callable[[Config], Workload]]] = {
    "train": {
        "stock": lambda config: workloads.train(config, stock),
        "pmap": lambda config: workloads.train(_with(config, "fit", backend="pmap")),
        "one-step": lambda config: workloads.train(_with(config, "fit", steps_per_dispatch=1)),
        "torch": in_torch,
    },
    "sample": {
        "stock": lambda config: workloads.sample(config, stock),
        "python-loop": python_loop,
    },
    "data": {
        "streamed": lambda config: workloads.feed(_with(config, "data", resident_mb=0)),
    },
}
"""What is measured -> name -> the baseline."""
