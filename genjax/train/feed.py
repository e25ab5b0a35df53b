"""How batches reach the compiled step: gathered from data that lives on the devices, or streamed from the host.

A feed makes, for each step, an `item` outside of the compiled step, and turns it into a batch inside. Both are pure
functions of the step, so a run needs no data cursor.
"""

import contextlib
import itertools
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from genjax.typing import Array, Batch


class Feed(NamedTuple):
    """A source of training batches.

    Attributes:
        arrays: what the compiled step keeps on every device; {} for a streamed feed.
        items: ``start_step -> context manager of an iterator`` over this process's share of the items of
            start_step, start_step + 1, ...: dicts of numpy arrays [B / processes, ...].
        batch: ``(arrays, item) -> Batch``, pure; runs inside the compiled step.
    """

    arrays: Mapping[str, np.ndarray]
    items: Callable[[int], AbstractContextManager[Iterator[Mapping[str, np.ndarray]]]]
    batch: Callable[[Mapping[str, Array], Mapping[str, Array]], Batch]


def resident(arrays: Mapping[str, np.ndarray], indices: Callable[[int], np.ndarray]) -> Feed:
    """All data on the devices; only the indices of a batch travel.

    Args:
        arrays: the data set, arrays [N, ...] by the names they have in a batch.
        indices: step -> int[B]: which records make the global batch. For one process.

    Example:
        >>> import numpy as np
        >>> from genjax.train import feed
        >>> batches = feed.resident({"label": np.arange(10)}, lambda step: np.array([step, 9]))
        >>> with batches.items(3) as items:
        ...     batch = batches.batch(batches.arrays, next(items))
        >>> {name: x.tolist() for name, x in batch.items()}
        {'label': [3, 9], '_index': [0, 1]}
    """

    def items(start: int) -> AbstractContextManager[Iterator[Mapping[str, np.ndarray]]]:
        return contextlib.nullcontext(_item(indices(step)) for step in itertools.count(start))

    def batch(data: Mapping[str, Array], item: Mapping[str, Array]) -> Batch:
        rows = {name: jnp.take(x, item["_record"], axis=0) for name, x in data.items()}
        return {**rows, "_index": item["_index"]}

    return Feed(arrays, items, batch)


def streamed(
    batches: Callable[[int], AbstractContextManager[Iterator[Mapping[str, np.ndarray]]]],
) -> Feed:
    """Batches made on the host, for data that does not fit on a device or is read by several processes.

    Args:
        batches: start_step -> context manager of an iterator over this process's share of each batch, arrays
            of shape [B / processes, ...] with "_index" among them; usually with read-ahead.

    Example:
        >>> import numpy as np
        >>> from genjax import data
        >>> from genjax.train import feed
        >>> source = data.ArraySource(np.zeros((10, 2, 2, 1), np.uint8), np.arange(10))
        >>> read = lambda step: data.train_batch(source, step, batch_size=4, seed=0)
        >>> batches = feed.streamed(lambda start: data.Prefetcher(read, start))
        >>> with batches.items(7) as items:
        ...     bool((next(items)["label"] == read(7)["label"]).all())
        True
    """
    return Feed({}, batches, lambda arrays, item: item)


def beside(main: Feed, other: Feed, names: Mapping[str, str]) -> Feed:
    """Two feeds as one, of data sets that have nothing to do with each other, nor as many records.

    Args:
        main: gives the batches.
        other: a feed of batches of the same size.
        names: which of its arrays join them, and under which names: ``{"image": "source"}``.

    Example:
        >>> import numpy as np
        >>> from genjax.train import feed
        >>> photos = feed.resident({"image": np.array([1, 2, 3])}, lambda step: np.array([0, 2]))
        >>> paintings = feed.resident({"image": np.array([70, 80])}, lambda step: np.array([1, 1]))
        >>> both = feed.beside(photos, paintings, {"image": "source"})
        >>> with both.items(0) as items:
        ...     batch = both.batch(both.arrays, next(items))
        >>> batch["image"].tolist(), batch["source"].tolist()
        ([1, 3], [80, 80])
    """
    prefix = "other/"

    @contextlib.contextmanager
    def items(start: int) -> Iterator[Iterator[Mapping[str, np.ndarray]]]:
        with main.items(start) as firsts, other.items(start) as seconds:
            yield (
                {**a, **{prefix + name: x for name, x in b.items()}}
                for a, b in zip(firsts, seconds, strict=False)
            )

    def batch(arrays: Mapping[str, Array], item: Mapping[str, Array]) -> Batch:
        (main_arrays, other_arrays), (main_item, other_item) = _apart(arrays, prefix), _apart(item, prefix)
        rows = other.batch(other_arrays, other_item)
        return {**main.batch(main_arrays, main_item), **{new: rows[old] for old, new in names.items()}}

    return Feed({**main.arrays, **{prefix + name: x for name, x in other.arrays.items()}}, items, batch)


def _apart(mapping: Mapping[str, Array], prefix: str) -> tuple[dict[str, Array], dict[str, Array]]:
    """What has no prefix, and what has one, without it."""
    own = {name: x for name, x in mapping.items() if not name.startswith(prefix)}
    return own, {name.removeprefix(prefix): x for name, x in mapping.items() if name not in own}


def _item(records: np.ndarray) -> dict[str, np.ndarray]:
    return {"_record": records.astype(np.int32), "_index": np.arange(len(records), dtype=np.int32)}


def stack(items: list[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Items of consecutive steps, arrays of shape [B,...] -> one item, of shape [steps,B,...].

    Example:
        >>> import numpy as np
        >>> from genjax.train import feed
        >>> feed.stack([{"_record": np.array([4, 5])}, {"_record": np.array([6, 7])}])["_record"].tolist()
        [[4, 5], [6, 7]]
    """
    return jax.tree.map(lambda *xs: np.stack(xs), *map(dict, items))
