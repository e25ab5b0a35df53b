"""A part of a data set: for trials, and for studies of how much data a model needs."""

import numpy as np

from genjax.data.digest import digest
from genjax.data.ignored import ignored
from genjax.data.source import Source, labels_of
from genjax.typing import UserError


class Limited:
    """Some records of a source, drawn at random, always the same ones, in the order of the source.

    Two sources of the same length have records of the same numbers. A source with fewer records is whole.

    Args:
        source: the records.
        num: number of records, at least 1.

    Raises:
        UserError: `num` below 1.

    Example:
        >>> import numpy as np
        >>> from genjax import data
        >>> part = data.Limited(data.digits("train"), num=100)
        >>> len(part), part.info.image_shape, bool((part.labels == part.read(np.arange(100))["label"]).all())
        (100, (8, 8, 1), True)
    """

    def __init__(self, source: Source, num: int):
        if num < 1:
            raise UserError(f"limit={num}: valid are 1 and more records")
        self._source = source
        order = np.random.Generator(np.random.Philox(key=0)).permutation(len(source))
        self._numbers = np.sort(order[:num])
        self.info, self.skipped = source.info, source.skipped
        self.ignored, self.digest = ignored(source), digest(source)

    def __len__(self) -> int:
        return len(self._numbers)

    @property
    def labels(self) -> np.ndarray | None:
        """int32[M], of these records; None where the source has none at hand."""
        labels = labels_of(self._source)
        return None if labels is None else labels[self._numbers]

    def read(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """See `Source.read`."""
        return self._source.read(self._numbers[indices])
