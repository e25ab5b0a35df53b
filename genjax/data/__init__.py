"""Data sets with random access, and batches that are pure functions of (seed, step)."""

from genjax.data.batches import Prefetcher, eval_batches, nbytes, to_memory, train_batch, train_indices
from genjax.data.binarize import Binarized
from genjax.data.derived import Derived
from genjax.data.digits import digits
from genjax.data.fields import DataInfo, Field, labelled_images
from genjax.data.files import ImageFiles
from genjax.data.folder import ImageFolder
from genjax.data.images import OnBadRecord
from genjax.data.pairs import Paired, Unpaired, unpaired_batch
from genjax.data.permutation import permute
from genjax.data.preprocess import preprocess, to_float, to_uint8
from genjax.data.registry import load
from genjax.data.source import ArraySource, BadRecordError, Source, load_npz
from genjax.data.stacked import Stacked
from genjax.data.tfds import load_tfds

__all__ = [
    "ArraySource",
    "BadRecordError",
    "Binarized",
    "DataInfo",
    "Derived",
    "Field",
    "ImageFiles",
    "ImageFolder",
    "OnBadRecord",
    "Paired",
    "Prefetcher",
    "Source",
    "Stacked",
    "Unpaired",
    "digits",
    "eval_batches",
    "labelled_images",
    "load",
    "load_npz",
    "load_tfds",
    "nbytes",
    "permute",
    "preprocess",
    "to_float",
    "to_memory",
    "to_uint8",
    "train_batch",
    "train_indices",
    "unpaired_batch",
]
