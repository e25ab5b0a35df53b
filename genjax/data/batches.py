"""Batches as pure functions of (seed, step): nothing to save, nothing to restore, the same on any number of
hosts."""

import collections
import concurrent.futures
import itertools
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

import numpy as np
import tqdm

from genjax.data.permutation import permute
from genjax.data.source import Source
from genjax.typing import UserError

T = TypeVar("T")


def train_indices(step: int, *, batch_size: int, num_examples: int, seed: int) -> np.ndarray:
    """Which records make up training batch `step`.

    The stream of examples is one permutation of the data set after another, a fresh one each epoch; batch
    `step` is examples ``step * batch_size`` to ``(step + 1) * batch_size`` of it. So a batch may straddle
    epochs, may be larger than the data set, and no record is left out.

    Args:
        step: number of the batch, from 0.
        batch_size: size of the global batch.
        num_examples: size of the data set.
        seed: non-negative.

    Returns:
        int64[batch_size] record indices, in the order of the global batch.

    Raises:
        UserError: a negative step or seed, or a size below 1.

    Example:
        >>> from genjax import data
        >>> batches = [data.train_indices(step, batch_size=4, num_examples=6, seed=0) for step in range(3)]
        >>> stream = [int(number) for batch in batches for number in batch]
        >>> sorted(stream[:6]), sorted(stream[6:])  # two epochs; the second batch has a part of both
        ([0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 4, 5])
    """
    if step < 0:
        raise UserError(f"step={step}: steps count from 0")
    if batch_size < 1 or num_examples < 1:
        raise UserError(f"batch_size={batch_size}, num_examples={num_examples}: both must be at least 1")
    epochs, places = np.divmod(step * batch_size + np.arange(batch_size, dtype=np.int64), num_examples)
    parts = [
        permute(places[epochs == epoch], num_examples, (seed, int(epoch))) for epoch in np.unique(epochs)
    ]
    return np.concatenate(parts)


def train_batch(
    source: Source, step: int, *, batch_size: int, seed: int, process_index: int = 0, process_count: int = 1
) -> dict[str, np.ndarray]:
    """This process's contiguous share of training batch `step`; only the share is read.

    Args:
        source: the records.
        step: number of the batch, from 0.
        batch_size: size of the global batch; a multiple of `process_count`.
        seed: non-negative.
        process_index: which share, in ``range(process_count)``.
        process_count: number of shares.

    Returns:
        The records as `Source.read` gives them, "image" uint8[B,H,W,C] and the other fields, and "_index" int32[B]:
        positions in the global batch. B is ``batch_size // process_count``.

    Raises:
        UserError: a batch that cannot be shared evenly, or what `train_indices` and the source raise.

    Example:
        >>> import numpy as np
        >>> from genjax import data
        >>> source = data.ArraySource(np.zeros((10, 2, 2, 1), np.uint8), np.arange(10))
        >>> batch = data.train_batch(source, 0, batch_size=4, seed=0)
        >>> half = data.train_batch(source, 0, batch_size=4, seed=0, process_index=1, process_count=2)
        >>> half["_index"].tolist(), bool((half["label"] == batch["label"][2:]).all())
        ([2, 3], True)
    """
    share = _share(batch_size, process_index, process_count)
    indices = train_indices(step, batch_size=batch_size, num_examples=len(source), seed=seed)
    return {**source.read(indices[share]), "_index": np.arange(batch_size, dtype=np.int32)[share]}


def eval_batches(
    source: Source, batch_size: int, *, process_index: int = 0, process_count: int = 1
) -> Iterator[dict[str, np.ndarray]]:
    """This process's share of every evaluation batch: each record exactly once, in order.

    The last batch is filled up with copies of the last record, so that all batches have one shape and every
    process has as many.

    Args:
        source: the records.
        batch_size: size of the global batch; a multiple of `process_count`.
        process_index: which share, in ``range(process_count)``.
        process_count: number of shares.

    Yields:
        The records as `Source.read` gives them, "_mask" bool[B] (False on padding), and "_index" int32[B]:
        positions in the split, of which the whole is one global batch here. Randomness derived from it is
        therefore the same for every batch size.

    Raises:
        UserError: a batch that cannot be shared evenly, or what the source raises.

    Example:
        >>> import numpy as np
        >>> from genjax import data
        >>> source = data.ArraySource(np.zeros((3, 2, 2, 1), np.uint8), np.arange(3))
        >>> last = list(data.eval_batches(source, batch_size=2))[-1]
        >>> last["label"].tolist(), last["_mask"].tolist(), last["_index"].tolist()
        ([2, 2], [True, False], [2, 3])
    """
    share = _share(batch_size, process_index, process_count)
    for start in range(0, len(source), batch_size):
        positions = np.arange(start, start + batch_size)[share]
        records = source.read(np.minimum(positions, len(source) - 1))
        yield {**records, "_mask": positions < len(source), "_index": positions.astype(np.int32)}


def _share(batch_size: int, process_index: int, process_count: int) -> slice:
    if not 0 <= process_index < process_count:
        raise UserError(f"process_index={process_index}: valid are 0..{process_count - 1}")
    if batch_size < 1 or batch_size % process_count:
        raise UserError(
            f"batch_size={batch_size}: valid are positive multiples of {process_count}, the process count"
        )
    size = batch_size // process_count
    return slice(process_index * size, (process_index + 1) * size)


class Prefetcher(Generic[T]):
    """Iterates over ``fn(start_step), fn(start_step + 1), ...``, computed ahead by background threads.

    An exception in ``fn(step)`` is raised where that step's value would come, after all values before it.
    Use it as a context manager, or call `close`: afterwards no thread is left.

    Args:
        fn: step -> value; called from `num_threads` threads.
        start_step: the first step.
        depth: number of values that are computed ahead, at least 1.
        num_threads: number of values that are computed at the same time.

    Raises:
        UserError: a depth or number of threads below 1.

    Example:
        >>> from genjax import data
        >>> with data.Prefetcher(lambda step: step**2, start_step=3) as squares:
        ...     next(squares), next(squares)
        (9, 16)
    """

    def __init__(self, fn: Callable[[int], T], start_step: int = 0, depth: int = 2, num_threads: int = 1):
        if depth < 1 or num_threads < 1:
            raise UserError(f"depth={depth}, num_threads={num_threads}: both must be at least 1")
        self._fn = fn
        self._steps = itertools.count(start_step)
        self._pool = concurrent.futures.ThreadPoolExecutor(num_threads, thread_name_prefix="genjax-prefetch")
        self._pending: collections.deque[concurrent.futures.Future[T]] = collections.deque()
        for _ in range(depth):
            self._submit()

    def _submit(self) -> None:
        self._pending.append(self._pool.submit(self._fn, next(self._steps)))

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        if not self._pending:
            raise StopIteration
        future = self._pending.popleft()
        try:
            value = future.result()
        except BaseException:
            self.close()
            raise
        self._submit()
        return value

    def close(self) -> None:
        """Drops what was computed ahead and waits for the threads to end."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._pending.clear()

    def __enter__(self) -> "Prefetcher[T]":
        return self

    def __exit__(self, *exception: Any) -> None:
        self.close()


def nbytes(source: Source) -> int:
    """Bytes that the whole of `source` takes in memory, decoded.

    Example:
        >>> from genjax import data
        >>> data.nbytes(data.digits("test"))  # 355 images of 64 bytes, with labels of 4 bytes
        24140
    """
    return len(source) * sum(field.nbytes for field in source.info.fields.values())


def to_memory(source: Source, *, chunk_size: int = 1024) -> dict[str, np.ndarray]:
    """All records of `source`, decoded, in order; with a progress bar on a terminal when it takes long.

    Args:
        source: the records.
        chunk_size: number of records that are read at a time.

    Returns:
        The records as `Source.read` gives them, an array [N,...] for each field, N = ``len(source)``.

    Example:
        >>> from genjax import data
        >>> arrays = data.to_memory(data.digits("test"))
        >>> {name: (str(array.dtype), array.shape) for name, array in arrays.items()}
        {'image': ('uint8', (355, 8, 8, 1)), 'label': ('int32', (355,))}
    """
    arrays: dict[str, np.ndarray] = {}
    starts = range(0, len(source), chunk_size)
    with tqdm.tqdm(
        total=len(source),
        desc=f"reading {source.info.name}",
        unit="images",
        delay=2.0,
        disable=None,
        leave=False,
    ) as bar:
        for start in starts:
            index = np.arange(start, min(start + chunk_size, len(source)))
            for name, values in source.read(index).items():
                # Filled in place: a list of parts joined at the end would take twice the memory.
                if name not in arrays:
                    arrays[name] = np.empty((len(source), *values.shape[1:]), values.dtype)
                arrays[name][index] = values
            bar.update(len(index))
    return arrays
