"""Images of two domains side by side: "image" of the domain that is wanted, "source" of the one that is given."""

from collections import Counter
from collections.abc import Callable

import numpy as np

from genjax.data.batches import train_batch
from genjax.data.digest import beside, digest
from genjax.data.fields import DataInfo
from genjax.data.ignored import ignored
from genjax.data.permutation import permute
from genjax.data.source import Source
from genjax.typing import UserError

_OTHER_STREAM = 2**96
"""Added to the seed for the source's own order; no seed of a run is so large."""


class Paired:
    """A source whose record i has an image of each domain, which show the same.

    Two folders of images are paired by the files' paths in them, without the suffix; other data sets by index.

    Args:
        target: gives "image" and, where it has them, "label".
        source: its images become "source".

    Raises:
        UserError: of folders, names the first file without a partner; of others, if one has more records.

    Example:
        >>> import numpy as np
        >>> from genjax import data
        >>> pair = data.Paired(target=data.digits("test"), source=data.load("edges:digits", "test"))
        >>> records = pair.read(np.array([0, 1]))
        >>> sorted(records), records["source"].shape
        (['image', 'label', 'source'], (2, 8, 8, 1))
    """

    def __init__(self, target: Source, source: Source):
        self._parts, self._order = (target, source), _partners(target, source)
        self.info, self.skipped = _info(target, source), (*target.skipped, *source.skipped)
        self.ignored = ignored(target) | ignored(source)
        self.digest = beside(digest(target), digest(source))

    def __len__(self) -> int:
        return len(self._parts[0])

    def read(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """See `Source.read`; "source" too."""
        target, source = self._parts
        return {**target.read(indices), "source": source.read(self._order[indices])["image"]}

    def map(self, function: Callable[[Source], Source]) -> "Paired":
        """Both parts replaced, as by copies in memory; the records stay in their order."""
        new = object.__new__(Paired)
        new.__dict__.update(self.__dict__, _parts=tuple(map(function, self._parts)))
        return new


class Unpaired:
    """A source of images of two domains that have nothing to do with each other, nor as many records.

    It has the records of `target`. Read by index, record i has always the same partner, by a fixed permutation of the
    other domain: that is for evaluation. Training goes through both domains independently, each in an order of its own
    that is fresh each epoch: see `parts` and `unpaired_batch`. Both are pure functions of seed and position.

    Args:
        target: gives "image" and, where it has them, "label".
        source: its images become "source".
        seed: seed of the fixed permutation.

    Example:
        >>> import numpy as np
        >>> from genjax import data
        >>> white = data.ArraySource(np.full((3, 4, 4, 1), 255, np.uint8))
        >>> pair = data.Unpaired(target=data.digits("test"), source=white)
        >>> records = pair.read(np.array([0, 354]))
        >>> len(pair), records["image"].shape, records["source"].shape, int(records["source"].min())
        (355, (2, 8, 8, 1), (2, 4, 4, 1), 255)
    """

    def __init__(self, target: Source, source: Source, seed: int = 0):
        self.target, self.source, self._seed = target, source, seed
        self.info, self.skipped = _info(target, source), (*target.skipped, *source.skipped)
        self.ignored = ignored(target) | ignored(source)
        self.digest = beside(digest(target), digest(source))

    def __len__(self) -> int:
        return len(self.target)

    def read(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """See `Source.read`; "source" too."""
        turns, places = np.divmod(np.asarray(indices, np.int64), len(self.source))
        partners = np.zeros_like(places)
        for turn in np.unique(turns):
            chosen = turns == turn
            partners[chosen] = permute(places[chosen], len(self.source), (self._seed, int(turn)))
        return {**self.target.read(indices), "source": self.source.read(partners)["image"]}

    def map(self, function: Callable[[Source], Source]) -> "Unpaired":
        """Both parts replaced, as by copies in memory."""
        return Unpaired(function(self.target), function(self.source), self._seed)

    def parts(self, seed: int) -> tuple[tuple[Source, int], tuple[Source, int]]:
        """The two domains, each with the seed of its order in training, which must not be the same: sets of one size
        would be paired by index."""
        return (self.target, seed), (self.source, seed + _OTHER_STREAM)


def unpaired_batch(
    pair: Unpaired,
    step: int,
    *,
    batch_size: int,
    seed: int,
    process_index: int = 0,
    process_count: int = 1,
) -> dict[str, np.ndarray]:
    """This process's contiguous share of training batch `step`: as `train_batch`, of each domain in its own order.

    Args:
        pair: the two domains.
        step: number of the batch, from 0.
        batch_size: size of the global batch; a multiple of `process_count`.
        seed: non-negative.
        process_index: which share, in ``range(process_count)``.
        process_count: number of shares.

    Returns:
        The records of `pair.target` as `train_batch` gives them, and "source" uint8[B,H',W',C'].

    Example:
        >>> import numpy as np
        >>> from genjax import data
        >>> levels = np.arange(10, dtype=np.uint8).reshape(10, 1, 1, 1)
        >>> pair = data.Unpaired(data.ArraySource(levels), data.ArraySource(levels))
        >>> batch = data.unpaired_batch(pair, 0, batch_size=10, seed=0)
        >>> sorted(batch["source"].ravel().tolist()), bool((batch["source"] == batch["image"]).all())
        ([0, 1, 2, 3, 4, 5, 6, 7, 8, 9], False)
    """
    share = {"batch_size": batch_size, "process_index": process_index, "process_count": process_count}
    batch, other = (train_batch(part, step, seed=own, **share) for part, own in pair.parts(seed))
    return {**batch, "source": other["image"]}


def _info(target: Source, source: Source) -> DataInfo:
    return target.info.with_field("source", source.info.fields["image"])


def _partners(target: Source, source: Source) -> np.ndarray:
    """For each record of `target` the index of its partner."""
    names, others = getattr(target, "names", None), getattr(source, "names", None)
    if names is None or others is None:
        if len(target) != len(source):
            raise UserError(
                f"{target.info.name!r} has {len(target)} images in split {target.info.split!r} and "
                f"{source.info.name!r} has {len(source)} in split {source.info.split!r}: pairs by index need as many; "
                "or train without pairs"
            )
        return np.arange(len(target))
    infos = {True: target.info, False: source.info}
    for info, found in ((target.info, names), (source.info, others)):
        twice = [name for name, count in Counter(found).items() if count > 1]
        if twice:
            raise UserError(
                f"{twice[0]!r} is in {info.name!r} twice, with two suffixes: pairs need one file of a name "
                f"({len(twice)} such names)"
            )
    unmatched = sorted(set(names) ^ set(others))
    if unmatched:
        here = unmatched[0] in names
        raise UserError(
            f"{unmatched[0]!r} is in {infos[here].name!r} and not in {infos[not here].name!r} (split "
            f"{target.info.split!r}): pairs need files of the same names ({len(unmatched)} such files)"
        )
    index = {name: i for i, name in enumerate(others)}
    return np.array([index[name] for name in names])
