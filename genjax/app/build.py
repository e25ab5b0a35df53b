"""From a config to the things it describes: sources, feeds, networks, optimizers, methods."""

import dataclasses
import functools
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from genjax import data
from genjax.app import kinds, translation
from genjax.app.config import Config, DataConfig, replace
from genjax.app.kinds import NONE, Frozens
from genjax.models.kind import num_classes as classes_of
from genjax.train import feed, sharding
from genjax.typing import Batch, Key, Method

_READ_AHEAD, _READERS = 4, 2
_FACTORS = ("guidance", "temperature")
"""Options of sampling that methods take for each image. They are left out where they are 1, and so change nothing: with
guidance a network is evaluated twice, and the second evaluation would be multiplied by 0."""


def source(config: DataConfig, split: str) -> data.Source:
    """One split of the data set, with images of the other domain where there is one; decoded into memory once where it
    is small."""
    lazy = _open(config, config.dataset, split)
    if config.binarize == "static" or (config.binarize == "dynamic" and split == config.test_split):
        lazy = data.Binarized(lazy)
    lazy = _limited(config, lazy)
    if config.source is None:
        return _in_memory(lazy) if is_small(config, lazy) else lazy
    make = {"paired": data.Paired, "unpaired": data.Unpaired}[config.pairing]
    pair: data.Paired | data.Unpaired = make(lazy, _limited(config, _open(config, config.source, split)))
    return pair.map(_in_memory) if is_small(config, pair) else pair


def _open(config: DataConfig, name: str, split: str) -> data.Source:
    return data.load(
        name,
        split,
        data_dir=config.data_dir,
        image_size=config.image_size,
        channels=config.channels,
        on_bad_record=config.on_bad_record,
        convert=config.convert,
        layout=config.layout,
    )


def _limited(config: DataConfig, whole: data.Source) -> data.Source:
    return whole if config.limit is None else data.Limited(whole, config.limit)


def _in_memory(lazy: data.Source) -> data.ArraySource:
    if isinstance(lazy, data.ArraySource):
        return lazy
    return data.ArraySource.from_records(
        data.to_memory(lazy), lazy.info, lazy.skipped, data.ignored(lazy), data.digest(lazy)
    )


def is_small(config: DataConfig, source: data.Source) -> bool:
    """Whether a source is to live on the devices."""
    return data.nbytes(source) <= config.resident_mb * 2**20


def counted(config: Config, num_train: int) -> Config:
    """The config with the number of training images, where its method asks for it and does not have it."""
    method: Any = config.method
    if getattr(method, "dataset_size", 0) is not None or method.rate != "tc":
        return config
    return replace(config, {"method.dataset_size": num_train})


def training_feed(config: Config, source: data.Source, process_index: int, process_count: int) -> feed.Feed:
    """The batches of a run: resident where the data is small and one process reads it, streamed otherwise.

    Two domains without pairs are fed apart, each in its own order.
    """
    if isinstance(source, data.Unpaired):
        domains = source.parts(config.fit.seed)
        main, other = (_feed(config, part, seed, process_index, process_count) for part, seed in domains)
        return feed.beside(main, other, {"image": "source"})
    return _feed(config, source, config.fit.seed, process_index, process_count)


def _feed(
    config: Config, source: data.Source, seed: int, process_index: int, process_count: int
) -> feed.Feed:
    batch_size = config.fit.batch_size
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


def example(info: data.DataInfo, num: int = 1) -> Batch:
    """A batch of blank records, as they are loaded, from which shapes are taken."""
    batch: dict[str, Any] = {name: field.blank(num) for name, field in info.fields.items()}
    return {**batch, "_index": np.arange(num, dtype=np.int32)}


def augment(config: DataConfig, key: Key, batch: Batch) -> Batch:
    """What happens to training images inside the step: uint8[B,H,W,C] -> float32[B,H,W,C] in [-1, 1]."""
    return data.preprocess(
        key, batch, flip=config.flip, crop_padding=config.crop_padding, binarize=config.binarize == "dynamic"
    )


def method(config: Config, info: data.DataInfo, *, scoring: bool = False, frozen: Frozens = NONE) -> Method:
    """The training method, with its networks and optimizers.

    Args:
        config: config of the experiment.
        info: description of its data.
        scoring: `Method.evaluate` may be thorough and slow.
        frozen: trained runs that the config names, see `genjax.app.origins`.
    """
    return kinds.method(config).build(kinds.context(config, info, scoring=scoring, frozen=frozen))


def traced_once(method: Method) -> Method:
    """The method with functions that are traced once for all that ask for the same shapes.

    So one trace serves the checks before training, the account of what a step costs, and the program of the step:
    tracing is most of the time before the first step. Linen's interceptors act while something is traced, and find
    nothing to do in what was traced before.
    """
    return Method(*(jax.jit(function, inline=True) for function in method))


def thorough(trained: Method, config: Config, info: data.DataInfo, frozen: Frozens = NONE) -> Method:
    """The method whose `Method.evaluate` is for scores: `trained` itself, unless scores ask for more than training."""
    if not config.evaluation.importance_samples:
        return trained
    return traced_once(method(config, info, scoring=True, frozen=frozen))


def conditions(config: Config, info: data.DataInfo) -> dict[str, data.Field]:
    """What the networks of a config are told of images, by name."""
    return kinds.context(config, info).conditions


def num_classes(config: Config, info: data.DataInfo) -> int | None:
    """Number of classes that images can be asked for; None: images of a class cannot be asked for."""
    return classes_of(conditions(config, info))


def condition(config: Config, labels: np.ndarray | None, num: int) -> dict[str, np.ndarray]:
    """What `Method.sample` is told of N = `num` images: their labels int[N], and what the sampling options say,
    float32[N] each."""
    kind, given = kinds.method(config), {} if labels is None else {"label": labels.astype(np.int32)}
    for name in _FACTORS:
        value = getattr(config.sampling, name)
        if name in kind.sampling and value != 1.0:
            given[name] = np.full(num, value, np.float32)
    return given | kind.condition(config, num)


def data_info(config: Config) -> data.DataInfo:
    """What is known of the data without decoding it."""
    return source(dataclasses.replace(config.data, resident_mb=0), config.data.train_split).info


def sampling_batch(config: Config, mesh: Mesh) -> int:
    """Images made at a time: as configured, rounded up so that every device makes as many."""
    return sharding.round_up(config.sampling.batch_size, mesh)


def every_condition(config: Config, info: data.DataInfo, num: int) -> dict[str, np.ndarray]:
    """What `num` images are asked to be without any data: all classes in turn, and blank images where images are
    needed; arrays of shape [num,...]."""
    classes = num_classes(config, info)
    labels = None if classes is None else np.arange(num) % classes
    return condition(config, labels, num) | translation.blank(config, info, num)
