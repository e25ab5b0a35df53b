"""Stacked-MNIST: three grayscale images as the channels of one, and so the cube of the number of classes."""

import functools
import itertools
import zlib

import numpy as np

from genjax.data.batches import to_memory
from genjax.data.digest import digest, made
from genjax.data.fields import labelled_images
from genjax.data.ignored import ignored
from genjax.data.source import Source
from genjax.typing import UserError

CHANNELS = 3
RECORDS = {"train": 128_000, "test": 26_000}
"""How many images are stacked, by split, as is the custom on Stacked-MNIST; of other splits as many as for training."""
_MANY = RECORDS["train"]


class Stacked:
    """Three images of another source, drawn at random with replacement, as red, green and blue.

    Which three is a function of the seed, the name of the split and the record's number only: the data set is the same
    everywhere, whatever its size (and on any NumPy: the raw numbers of PCG64 are used). It is not the one of any paper,
    none of which says which digits it drew. A split is stacked from the same split of the other source, so that
    no digit is both in the training and in the test set.

    The other source is decoded into memory when the first record is read.

    Args:
        source: grayscale images; of K classes, if it has labels.
        num: number of records; None: as `RECORDS` says.
        seed: non-negative.

    Attributes:
        info: images [H,W,3]; K^3 classes, label ``K^2 a + K b + c`` for the labels a, b, c of red, green, blue, named
            "a-b-c" by the names of a, b and c.
        skipped: records that `source` skipped.

    Raises:
        UserError: a source that is not grayscale, or an argument out of range.

    Example:
        >>> from genjax import data
        >>> stacked = data.Stacked(data.digits("test"), num=10)
        >>> stacked.info.image_shape, stacked.info.num_classes, stacked.info.class_names[123]
        ((8, 8, 3), 1000, '1-2-3')

    References:
        Che et al., "Mode Regularized Generative Adversarial Networks" (2017), section 4.1; Metz et al., "Unrolled
        Generative Adversarial Networks" (2017); Srivastava et al., "VEEGAN" (2017).
    """

    def __init__(self, source: Source, num: int | None = None, seed: int = 0):
        info = source.info
        if info.image_shape[-1] != 1:
            raise UserError(
                f"dataset='stacked:{info.name}': images of {info.name!r} have {info.image_shape[-1]} channels; only "
                "grayscale images can be stacked"
            )
        num = RECORDS.get(info.split, _MANY) if num is None else num
        if num < 1 or seed < 0:
            raise UserError(f"num={num}, seed={seed}: valid are num >= 1 and seed >= 0")
        self._source, self.skipped, self.ignored = source, source.skipped, ignored(source)
        self.digest = made("stacked", digest(source))
        draws = np.random.PCG64([seed, zlib.crc32(info.split.encode())])
        # The remainder prefers the first records, by less than one in 10^12.
        self._drawn = (draws.random_raw((num, CHANNELS)) % len(source)).astype(np.int64)
        names = ("-".join(names) for names in itertools.product(info.class_names, repeat=CHANNELS))
        self.info = labelled_images(
            name=f"stacked:{info.name}",
            split=info.split,
            image_shape=(*info.image_shape[:2], CHANNELS),
            num_classes=None if info.num_classes is None else info.num_classes**CHANNELS,
            class_names=tuple(names) if info.class_names else (),
        )

    def __len__(self) -> int:
        return len(self._drawn)

    def read(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """See `Source.read`."""
        drawn = self._drawn[indices]
        records = {"image": np.moveaxis(self._records["image"][drawn][..., 0], 1, -1)}
        if self._source.info.num_classes is not None:
            weights = self._source.info.num_classes ** np.arange(CHANNELS)[::-1]
            labels = self._records["label"][drawn]
            records["label"] = (labels * weights[None]).sum(1).astype(np.int32)
        return records

    @functools.cached_property
    def _records(self) -> dict[str, np.ndarray]:
        return to_memory(self._source)
