"""Batches are functions of (seed, step), on any number of processes; evaluation counts each record once."""

import threading
import time

import numpy as np
import pytest

from genjax.data import (
    ArraySource,
    Prefetcher,
    digits,
    eval_batches,
    nbytes,
    to_memory,
    train_batch,
    train_indices,
)
from genjax.typing import UserError


def numbered(n, num_classes=10):
    """A source whose image i is filled with i."""
    images = np.broadcast_to(np.arange(n, dtype=np.uint8)[:, None, None, None], (n, 2, 3, 1))
    return ArraySource(images, np.arange(n) % num_classes, num_classes=num_classes)


def stream(steps, **kwargs):
    return np.concatenate([train_indices(step, **kwargs) for step in range(steps)])


@pytest.mark.parametrize("batch_size", [1, 7, 50, 64, 230])
def test_every_epoch_is_a_fresh_permutation(batch_size):
    n, epochs = 50, 6
    indices = stream(-(-n * epochs // batch_size), batch_size=batch_size, num_examples=n, seed=4)
    table = indices[: n * epochs].reshape(epochs, n)
    np.testing.assert_array_equal(np.sort(table, axis=1), np.tile(np.arange(n), (epochs, 1)))
    assert len({tuple(row) for row in table}) == epochs
    # The stream is one and the same, however it is cut into batches.
    np.testing.assert_array_equal(table.ravel(), stream(epochs, batch_size=n, num_examples=n, seed=4))


def test_a_batch_depends_on_seed_and_step_only():
    options = {"batch_size": 32, "num_examples": 1000}
    late = train_indices(10**9, seed=1, **options)
    np.testing.assert_array_equal(late, train_indices(10**9, seed=1, **options))
    assert not np.array_equal(late, train_indices(10**9, seed=2, **options))
    assert not np.array_equal(late, train_indices(10**9 + 1, seed=1, **options))
    assert late.dtype == np.int64 and late.min() >= 0 and late.max() < 1000


@pytest.mark.parametrize("process_count", [2, 3, 4])
def test_shares_make_up_the_global_batch(process_count):
    source = numbered(40)
    whole = train_batch(source, 5, batch_size=24, seed=9)
    shares = [
        train_batch(source, 5, batch_size=24, seed=9, process_index=i, process_count=process_count)
        for i in range(process_count)
    ]
    assert set(whole) == {"image", "label", "_index"}
    for name, values in whole.items():
        joined = np.concatenate([share[name] for share in shares])
        assert joined.dtype == values.dtype
        np.testing.assert_array_equal(joined, values)
    np.testing.assert_array_equal(whole["_index"], np.arange(24))
    np.testing.assert_array_equal(whole["image"][:, 0, 0, 0] % 10, whole["label"])
    np.testing.assert_array_equal(
        whole["image"][:, 0, 0, 0], train_indices(5, batch_size=24, num_examples=40, seed=9)
    )


def test_a_process_reads_its_share_only():
    class Counting(ArraySource):
        def read(self, indices):
            self.asked = len(indices)
            return super().read(indices)

    source = Counting(np.zeros((40, 2, 2, 1), np.uint8))
    train_batch(source, 0, batch_size=24, seed=0, process_index=1, process_count=4)
    assert source.asked == 6


@pytest.mark.parametrize("batch_size", [1, 4, 7, 10, 16, 1000])
def test_evaluation_counts_every_record_once(batch_size):
    source = numbered(10)
    batches = list(eval_batches(source, batch_size))
    assert {len(batch["image"]) for batch in batches} == {batch_size}
    mask = np.concatenate([batch["_mask"] for batch in batches])
    index = np.concatenate([batch["_index"] for batch in batches])
    image = np.concatenate([batch["image"] for batch in batches])[:, 0, 0, 0]
    np.testing.assert_array_equal(image[mask], np.arange(10))
    np.testing.assert_array_equal(index[mask], np.arange(10))
    # Padding is a valid record, so that whatever is computed of it is finite.
    assert np.all(image[~mask] == 9) and len(set(index)) == len(index)


def test_evaluation_of_the_digits_counts_1797():
    batches = list(eval_batches(digits("all"), 256))
    assert sum(batch["_mask"].sum() for batch in batches) == 1797
    assert batches[-1]["image"].shape == (256, 8, 8, 1)


def test_evaluation_shares_have_the_same_number_of_batches():
    source = numbered(10)
    whole = list(eval_batches(source, 8))
    shares = [list(eval_batches(source, 8, process_index=i, process_count=4)) for i in range(4)]
    assert [len(share) for share in shares] == [2] * 4
    for number, batch in enumerate(whole):
        for name, values in batch.items():
            np.testing.assert_array_equal(np.concatenate([share[number][name] for share in shares]), values)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 10, "process_count": 4}, "batch_size=10: valid are positive multiples of 4"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"batch_size": 4, "process_index": 2, "process_count": 2}, r"process_index=2: valid are 0\.\.1"),
    ],
)
def test_bad_shares(arguments, message):
    with pytest.raises(UserError, match=message):
        train_batch(numbered(10), 0, seed=0, **arguments)
    with pytest.raises(UserError, match=message):
        next(eval_batches(numbered(10), **arguments))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"step": -1}, "step=-1"), ({"seed": -1}, "seed="), ({"num_examples": 0}, "num_examples=0")],
)
def test_bad_indices(arguments, message):
    with pytest.raises(UserError, match=message):
        train_indices(**{"step": 0, "batch_size": 4, "num_examples": 10, "seed": 0, **arguments})


def prefetch_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("genjax-prefetch")]


@pytest.mark.parametrize("num_threads", [1, 3])
def test_prefetch_keeps_the_order(num_threads):
    def slow_square(step):
        time.sleep(0.003 if step % 3 == 0 else 0)
        return step * step

    with Prefetcher(slow_square, start_step=5, depth=4, num_threads=num_threads) as values:
        assert [next(values) for _ in range(20)] == [step * step for step in range(5, 25)]
    assert not prefetch_threads()


def test_prefetch_works_ahead_but_not_further_than_its_depth():
    started, go_on = [], threading.Event()

    def fn(step):
        started.append(step)
        if len(started) == 3:
            go_on.set()
        return step

    with Prefetcher(fn, depth=3) as values:
        assert go_on.wait(10)
        time.sleep(0.02)
        assert started == [0, 1, 2]
        assert next(values) == 0


def test_prefetch_raises_at_the_step_that_failed():
    def fn(step):
        if step == 3:
            raise UserError("record 17 is bad")
        return step

    values = Prefetcher(fn, depth=8)
    assert [next(values) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(UserError, match="record 17 is bad"):
        next(values)
    assert not prefetch_threads()
    assert list(values) == []


def test_prefetch_closes_when_the_consumer_fails():
    with pytest.raises(ZeroDivisionError), Prefetcher(lambda step: step, depth=4) as values:
        1 / next(values)
    assert not prefetch_threads()
    with pytest.raises(UserError, match="depth=0"):
        Prefetcher(lambda step: step, depth=0)


@pytest.mark.parametrize("chunk_size", [1, 4, 10, 64])
def test_in_memory_it_is_the_same(chunk_size):
    source = numbered(10)
    arrays = to_memory(source, chunk_size=chunk_size)
    expected = source.read(np.arange(10))
    assert set(arrays) == set(expected)
    for name in arrays:
        assert arrays[name].dtype == expected[name].dtype
        np.testing.assert_array_equal(arrays[name], expected[name])
    assert nbytes(source) == sum(values.nbytes for values in arrays.values()) == 10 * (6 + 4)
    assert nbytes(ArraySource(np.zeros((10, 2, 3, 1), np.uint8))) == 60
