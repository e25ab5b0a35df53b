"""Data sets with random access, and batches that are pure functions of (seed, step)."""

from genjax.data.arrays import load_npz
from genjax.data.batches import Prefetcher, eval_batches, nbytes, to_memory, train_batch, train_indices
from genjax.data.binarize import Binarized
from genjax.data.convert import Conversion, Converted, conversion
from genjax.data.derived import Derived
from genjax.data.digest import Digest, digest
from genjax.data.digits import digits
from genjax.data.fields import DataInfo, Field, labelled_images
from genjax.data.files import ImageArray, ImageFiles, open_images
from genjax.data.folder import ImageFolder
from genjax.data.ignored import Ignored, ignored
from genjax.data.images import OnBadRecord
from genjax.data.layout import Layout
from genjax.data.limited import Limited
from genjax.data.pairs import Paired, Unpaired, unpaired_batch
from genjax.data.permutation import permute
from genjax.data.preprocess import preprocess, to_float, to_uint8
from genjax.data.registry import load
from genjax.data.source import ArraySource, BadRecordError, Source
from genjax.data.stacked import Stacked
from genjax.data.tfds import load_tfds

__all__ = [
    "ArraySource",
    "BadRecordError",
    "Binarized",
    "Conversion",
    "Converted",
    "DataInfo",
    "Derived",
    "Digest",
    "Field",
    "Ignored",
    "ImageArray",
    "ImageFiles",
    "ImageFolder",
    "Layout",
    "Limited",
    "OnBadRecord",
    "Paired",
    "Prefetcher",
    "Source",
    "Stacked",
    "Unpaired",
    "conversion",
    "digest",
    "digits",
    "eval_batches",
    "ignored",
    "labelled_images",
    "load",
    "load_npz",
    "load_tfds",
    "nbytes",
    "open_images",
    "permute",
    "preprocess",
    "to_float",
    "to_memory",
    "to_uint8",
    "train_batch",
    "train_indices",
    "unpaired_batch",
]
