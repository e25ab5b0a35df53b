"""Image data sets of TensorFlow Datasets (TFDS), read at random and without TensorFlow."""

import copy
import difflib
import importlib.util
import pathlib
import re
from typing import Any

import numpy as np

from genjax.data import confirmed, images
from genjax.data.digest import NOTHING, of_tfds
from genjax.data.fields import DataInfo, labelled_images
from genjax.data.source import BadRecordError, Source, check_channels
from genjax.data.tfds_types import ForeignTypeError, check_name, own_types
from genjax.typing import UserError

_MODES = {1: "L", 3: "RGB"}


def load_tfds(
    name: str,
    split: str,
    *,
    data_dir: str | pathlib.Path | None = None,
    image_size: int | None = None,
    channels: int | None = None,
    on_bad_record: images.OnBadRecord = "error",
    download: bool = True,
) -> Source:
    """A data set of TFDS that has an image feature and, optionally, class labels.

    Args:
        name: name of the data set, with configuration and version if needed: "mnist", "downsampled_imagenet/32x32".
        split: "train", "test[:1000]" or whatever TFDS accepts for this data set.
        data_dir: where TFDS keeps its data sets; None is its default (``TFDS_DATA_DIR``, or a folder in the
            home).
        image_size: scale the shorter side to this and crop the centre square (`genjax.data.images.resize`).
            Needed where the images have differing sizes.
        channels: 1 or 3 insists on grayscale or colour; None takes what the data set declares.
        on_bad_record: "error" raises when a bad record is met; "skip" decodes every record at the start, and
            leaves out, counts and logs the bad ones (`Source.skipped`).
        download: a data set that is not on disk is downloaded and prepared by TFDS, which needs TensorFlow;
            False raises instead.

    Returns:
        The source. Images have the channels that the data set declares, as TFDS itself decodes them.

    Raises:
        UserError: unknown data set (the message has near matches), split or configuration; missing directory, or
            one that only a file names (`genjax.data.confirmed`); features of types that are not TFDS's own
            (`genjax.data.tfds_types`); not on disk and no TensorFlow; no image in it; differing sizes and no
            `image_size`; another number of channels than asked for.

    Example:
        >>> from genjax import data
        >>> data.load_tfds("mnist", "test", data_dir="elsewhere")
        Traceback (most recent call last):
        genjax.typing.UserError: data_dir='elsewhere': no such directory
    """
    images.check_options(image_size, channels, on_bad_record)
    check_name(name)
    confirmed.check(data_dir)
    with own_types(name):
        builder = _builder(name, data_dir)
        if not builder.is_prepared():
            _prepare(builder, name, download)
        image_name, label_name = _features(builder, name)
        records = _open(builder, name, split, image_name)
    height, width, declared_channels = builder.info.features[image_name].shape
    check_channels(channels, declared_channels, f"data set {name!r}")
    if image_size is None and None in (height, width):
        raise UserError(f"image_size=None: the images of {name!r} have differing sizes; pass an image_size")
    labels = builder.info.features[label_name] if label_name else None
    info = labelled_images(
        name=name,
        split=split,
        image_shape=(image_size or height, image_size or width, declared_channels),
        num_classes=labels.num_classes if labels else None,
        class_names=tuple(labels.names) if labels else (),
    )
    source = _TfdsSource(records, info, image_size, image_name, label_name)
    source.digest = of_tfds(builder, split, len(records), lambda number: records[number][image_name])
    return source.without_bad_records() if on_bad_record == "skip" else source


class _TfdsSource:
    """See `Source`. Records are fetched and parsed together, images decoded by a few threads."""

    def __init__(
        self, records: Any, info: DataInfo, image_size: int | None, image_name: str, label_name: str | None
    ):
        self.info = info
        self.skipped: tuple[str, ...] = ()
        self.digest = NOTHING
        self._records, self._kept = records, np.arange(len(records))
        self._image_size, self._image_name, self._label_name = image_size, image_name, label_name

    def __len__(self) -> int:
        return len(self._kept)

    def read(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """See `Source.read`.

        Raises:
            BadRecordError: names the index, in the split, of a record that cannot be used.
        """
        numbers = self._kept[indices].tolist()
        examples = list(zip(numbers, self._fetch(numbers), strict=True))
        pictures = images.parallel_map(self._image, examples)
        shape = (len(examples), *self.info.image_shape)
        records = {"image": np.stack(pictures) if pictures else np.empty(shape, np.uint8)}
        if self._label_name is not None:
            records["label"] = np.array(
                [self._label(number, int(example[self._label_name])) for number, example in examples],
                np.int32,
            )
        return records

    def without_bad_records(self) -> "_TfdsSource":
        """Reads everything once, and returns a source of the records that can be used."""
        good = copy.copy(self)
        name = f"{self.info.name} {self.info.split}"
        results = images.parallel_map(images.outcome(self._check), range(len(self)), desc=f"checking {name}")
        is_bad = np.array([isinstance(result, BadRecordError) for result in results])
        bad = [str(result) for result in results if isinstance(result, BadRecordError)]
        good.skipped = images.report_skipped(name, len(self), bad)
        good._kept = self._kept[~is_bad]
        return good

    def _check(self, number: int) -> None:
        self.read(np.array([number]))

    def _name(self, number: int) -> str:
        return f"data set {self.info.name!r}, split {self.info.split!r}, record {number}"

    def _fetch(self, numbers: list[int]) -> list[dict[str, Any]]:
        try:
            return list(self._records.__getitems__(numbers))
        except Exception:  # of which record, it does not say: one by one, then
            return [self._fetch_one(number) for number in numbers]

    def _fetch_one(self, number: int) -> dict[str, Any]:
        try:
            return self._records[number]
        except Exception as error:  # array_record and protobuf have errors of their own
            raise BadRecordError(f"{self._name(number)} cannot be read: {error}") from error

    def _image(self, numbered_example: tuple[int, dict[str, Any]]) -> np.ndarray:
        number, example = numbered_example
        name, shape = self._name(number), self.info.image_shape
        image = images.decode_image(
            example[self._image_name], name, image_size=self._image_size, mode=_MODES[shape[2]]
        )
        if image.shape != shape:
            raise BadRecordError(
                f"{name} has {image.shape[0]}x{image.shape[1]} pixels where the data set declares "
                f"{shape[0]}x{shape[1]}: pass image_size to scale and crop all of them"
            )
        return image

    def _label(self, number: int, label: int) -> int:
        num_classes = self.info.num_classes or 0
        if not 0 <= label < num_classes:
            raise BadRecordError(
                f"labels out of range: {self._name(number)} has label {label}, valid are 0..{num_classes - 1}"
            )
        return label


def _builder(name: str, data_dir: str | pathlib.Path | None) -> Any:
    # Here and not above: TFDS takes more than a second to import.
    import tensorflow_datasets as tfds

    options: dict[str, Any] = {}
    if data_dir is None:
        # The default directory may hold other formats of the same data set.
        options["file_format"] = "array_record"
    else:
        options["data_dir"] = pathlib.Path(data_dir).expanduser()
        if not options["data_dir"].is_dir():
            raise UserError(f"data_dir={str(data_dir)!r}: no such directory")
    try:
        return tfds.builder(name, **options)
    except ImportError as error:
        raise UserError(
            f"dataset={name!r}: TFDS cannot load its builder ({error}). "
            "It may need pip install -e '.[tensorflow]'"
        ) from error
    except ForeignTypeError:
        raise
    except (ValueError, AssertionError) as error:  # unknown data set, configuration or version
        raise UserError(f"dataset={name!r}: {_unknown(name) or error}") from error


def _unknown(name: str) -> str:
    """What to say if the data set that `name` begins with does not exist; else nothing."""
    import tensorflow_datasets as tfds

    known = ["digits", *tfds.list_builders(with_community_datasets=False)]
    base = re.split("[/:]", name)[0]
    if base in known:
        return ""
    near = difflib.get_close_matches(re.sub(r"[^a-z0-9_]", "", base.lower()), known, n=5, cutoff=0.5)
    hint = f"near matches: {', '.join(near)}" if near else "nothing in TFDS has a name like it"
    return f"no such data set; {hint}. A folder of images is folder:PATH, arrays are PATH.npz"


def _prepare(builder: Any, name: str, download: bool) -> None:
    where = f"data set {name!r} is not in {builder.data_dir}"
    if not download:
        raise UserError(f"{where}, and download=False")
    missing = [m for m in ("tensorflow", "importlib_resources") if importlib.util.find_spec(m) is None]
    if missing:
        raise UserError(
            f"{where}. To download and prepare it, TFDS needs {' and '.join(missing)}: "
            "pip install -e '.[tensorflow]'. If you have it elsewhere, pass that data_dir"
        )
    try:
        builder.download_and_prepare(file_format="array_record")
    except Exception as error:  # network, disk, checksums, manual downloads: each with its own class
        raise UserError(f"{where}, and TFDS could not prepare it: {error}") from error


def _features(builder: Any, name: str) -> tuple[str, str | None]:
    """Names of the image and the label: "image" and "label", or the only features of their kind."""
    import tensorflow_datasets as tfds

    features = dict(builder.info.features.items()) if hasattr(builder.info.features, "items") else {}
    pictures = [key for key, feature in features.items() if isinstance(feature, tfds.features.Image)]
    labels = [key for key, feature in features.items() if isinstance(feature, tfds.features.ClassLabel)]
    if not pictures or ("image" not in pictures and len(pictures) > 1):
        raise UserError(
            f"dataset={name!r}: one image in each record is needed, it has {pictures or 'none'} "
            f"(its features: {', '.join(features) or builder.info.features})"
        )
    image = "image" if "image" in pictures else pictures[0]
    if features[image].shape[-1] not in _MODES or features[image].np_dtype != np.uint8:
        raise UserError(
            f"dataset={name!r}: images of shape {features[image].shape} and dtype "
            f"{np.dtype(features[image].np_dtype)}; valid are uint8 of 1 or 3 channels"
        )
    return image, "label" if "label" in labels else labels[0] if len(labels) == 1 else None


def _open(builder: Any, name: str, split: str, image_name: str) -> Any:
    import tensorflow_datasets as tfds

    splits = ", ".join(repr(s) for s in builder.info.splits)
    valid = f"the data set {name!r} has {splits}, and slices such as 'train[:1000]'"
    try:
        records = builder.as_data_source(split, decoders={image_name: tfds.decode.SkipDecoding()})
    except NotImplementedError as error:
        raise UserError(
            f"data set {name!r} is in {builder.data_dir} in a format without random access: prepare it "
            "again, in another data_dir, with TFDS's file_format='array_record'"
        ) from error
    except (ValueError, KeyError) as error:
        raise UserError(f"split={split!r}: {valid} ({error})") from error
    if not len(records):
        raise UserError(f"split={split!r}: empty; {valid}")
    return records
