"""From a config to the things it describes: sources, feeds, networks, optimizers, methods."""

import functools
import inspect
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax

from experiments.config import Config, DataConfig, DiffusionConfig, OptimizerConfig, SamplingConfig
from genjax import data
from genjax.diffusion import PREDICTIONS, SAMPLERS, SCHEDULES, Sampler, Schedule
from genjax.diffusion.grids import GRIDS
from genjax.diffusion.schedules import DISCRETE
from genjax.diffusion.times import TIMES, Adaptive, DrawTimes
from genjax.diffusion.weighting import WEIGHTINGS
from genjax.methods import diffusion
from genjax.models import UNet
from genjax.train import feed
from genjax.typing import Array, Batch, Key, Method

_READ_AHEAD, _READERS = 4, 2


def source(config: DataConfig, split: str) -> data.Source:
    """One split of the data set; decoded into memory once where it is small."""
    lazy = data.load(
        config.dataset,
        split,
        data_dir=config.data_dir,
        image_size=config.image_size,
        channels=config.channels,
        on_bad_record=config.on_bad_record,
    )
    if isinstance(lazy, data.ArraySource) or not is_small(config, lazy):
        return lazy
    return data.ArraySource.from_records(data.to_memory(lazy), lazy.info, lazy.skipped)


def is_small(config: DataConfig, source: data.Source) -> bool:
    """Whether a source is to live on the devices."""
    return data.nbytes(source) <= config.resident_mb * 2**20


def training_feed(config: Config, source: data.Source, process_index: int, process_count: int) -> feed.Feed:
    """The batches of a run: resident where the data is small and one process reads it, streamed otherwise."""
    batch_size, seed = config.fit.batch_size, config.fit.seed
    if is_small(config.data, source) and process_count == 1 and config.fit.backend == "jit":
        indices = functools.partial(
            data.train_indices, batch_size=batch_size, num_examples=len(source), seed=seed
        )
        return feed.resident(data.to_memory(source), indices)
    read = functools.partial(
        data.train_batch,
        source,
        batch_size=batch_size,
        seed=seed,
        process_index=process_index,
        process_count=process_count,
    )
    return feed.streamed(lambda start: data.Prefetcher(read, start, depth=_READ_AHEAD, num_threads=_READERS))


def example(info: data.DataInfo) -> Batch:
    """A batch of one blank image, from which shapes are taken."""
    batch: dict[str, Any] = {
        "image": np.zeros((1, *info.image_shape), np.uint8),
        "_index": np.zeros(1, np.int32),
    }
    return batch | ({} if info.num_classes is None else {"label": np.zeros(1, np.int32)})


def augment(config: DataConfig, key: Key, batch: Batch) -> Batch:
    """What happens to training images inside the step."""
    return data.preprocess(key, batch, flip=config.flip, crop_padding=config.crop_padding)


def optimizer(config: OptimizerConfig, steps: int) -> optax.GradientTransformation:
    """Adam with the configured learning-rate schedule, decay and clipping."""
    warmup = optax.linear_schedule(0.0, config.learning_rate, config.warmup_steps)
    after = {
        "constant": optax.constant_schedule(config.learning_rate),
        "cosine": optax.cosine_decay_schedule(config.learning_rate, steps - config.warmup_steps),
    }[config.decay]
    rate = optax.join_schedules([warmup, after], [config.warmup_steps])
    clipping = [] if config.clip_norm is None else [optax.clip_by_global_norm(config.clip_norm)]
    return optax.chain(*clipping, optax.adamw(rate, weight_decay=config.weight_decay))


def sampler(config: SamplingConfig) -> Sampler:
    """The sampler, with the `eta` that is asked for where it has one."""
    options = {} if config.eta is None or not has_eta(config.sampler) else {"eta": config.eta}
    return SAMPLERS[config.sampler](**options)


def has_eta(sampler: str) -> bool:
    """Whether a sampler can be told how much noise to add."""
    return "eta" in inspect.signature(SAMPLERS[sampler]).parameters


def schedule(config: DiffusionConfig) -> Schedule:
    """The noise schedule."""
    return SCHEDULES[config.schedule](*([config.timesteps] if config.schedule in DISCRETE else []))


def sampling_times(config: Config) -> Array:
    """float32[K+1]: the times at which images are made."""
    return GRIDS[config.sampling.grid](config.sampling.num_steps, schedule(config.method))


def training_times(config: DiffusionConfig) -> DrawTimes | Adaptive:
    """How the times to train at are drawn."""
    name = config.times or ("discrete" if config.schedule in DISCRETE else "uniform")
    return TIMES[name](*([config.timesteps] if name in ("discrete", "loss_aware") else []))


def num_classes(config: Config, info: data.DataInfo) -> int | None:
    """Classes the model is conditioned on; None for an unconditional one."""
    return info.num_classes if config.method.class_conditional else None


def network(config: Config, info: data.DataInfo) -> UNet:
    """The network."""
    model = config.model
    return UNet(
        channels=model.channels,
        multipliers=model.multipliers,
        blocks=model.blocks,
        attention=model.attention,
        head_channels=model.head_channels,
        num_classes=num_classes(config, info),
        dropout=model.dropout,
        dtype=jnp.dtype(model.dtype),
        remat=model.remat,
    )


def method(config: Config, info: data.DataInfo) -> Method:
    """The training method, with its network and optimizer."""
    options = config.method
    return diffusion(
        network(config, info),
        optimizer(config.optimizer, config.fit.steps),
        schedule(options),
        sampler(config.sampling),
        sampling_times(config),
        image_shape=info.image_shape,
        num_classes=num_classes(config, info),
        predict=PREDICTIONS[options.prediction],
        draw_times=training_times(options),
        weight=WEIGHTINGS[options.weighting],
        ema_decay=options.ema_decay,
        condition_dropout=options.condition_dropout,
        accumulate=config.optimizer.accumulate,
    )


def condition(config: Config, labels: np.ndarray | None, num: int) -> dict[str, np.ndarray]:
    """What `Method.sample` is told of `num` images."""
    if labels is None:
        return {}
    given = {"label": labels.astype(np.int32)}
    if config.sampling.guidance != 1.0:  # at 1 the second evaluation of the network would be multiplied by 0
        given["guidance"] = np.full(num, config.sampling.guidance, np.float32)
    return given
