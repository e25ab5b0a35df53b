"""Black-and-white images drawn from grey ones: what likelihoods of MNIST are reported on."""

import zlib

import numpy as np

from genjax.data.digest import digest
from genjax.data.ignored import ignored
from genjax.data.source import Source
from genjax.typing import UserError


class Binarized:
    """A source whose pixels are black or white, white with probability level / 255, drawn once and for all.

    The draw of a record depends on the seed, the name of the split and the record's number only (a Philox generator
    each), so that the binarised data set is the same everywhere. It is not the one that Larochelle and Murray (2011)
    drew of MNIST, but another draw from the same distribution.

    Args:
        source: grey images; labels pass unchanged.
        seed: unsigned 32-bit integer.

    Example:
        >>> import numpy as np
        >>> from genjax import data
        >>> grey = data.ArraySource(np.full((1, 32, 32, 1), 51, np.uint8))  # one pixel in five is to be white
        >>> image = data.Binarized(grey).read(np.array([0]))["image"]
        >>> np.unique(image).tolist(), round(float((image > 0).mean()), 1)
        ([0, 255], 0.2)

    References:
        Salakhutdinov and Murray, "On the Quantitative Analysis of Deep Belief Networks" (2008).
    """

    def __init__(self, source: Source, seed: int = 0):
        if not 0 <= seed < 2**32:
            raise UserError(f"seed={seed}: valid are 0..{2**32 - 1}")
        self._source, self._key = source, (zlib.crc32(source.info.split.encode()) << 32) + seed
        self.info, self.skipped = source.info, source.skipped
        self.ignored, self.digest = ignored(source), digest(source)

    def __len__(self) -> int:
        return len(self._source)

    def read(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """See `Source.read`."""
        records = self._source.read(indices)
        image = records["image"]
        threshold = np.stack([self._draw(int(i), image.shape[1:]) for i in indices]) if len(image) else 0
        return {**records, "image": np.where(image > threshold, 255, 0).astype(np.uint8)}

    def _draw(self, index: int, shape: tuple[int, ...]) -> np.ndarray:
        """Integers in [0, 255), each as probable: a level exceeds ``level`` of the 255."""
        generator = np.random.Generator(np.random.Philox(key=self._key, counter=index << 64))
        return generator.integers(0, 255, shape, dtype=np.uint8)
