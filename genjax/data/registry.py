"""From the name of a data set to its source."""

import pathlib

from genjax.data.batches import to_memory
from genjax.data.derived import DERIVATIONS, Derived
from genjax.data.digits import digits
from genjax.data.folder import ImageFolder
from genjax.data.images import OnBadRecord, check_options, resize_array
from genjax.data.shapes import shapes
from genjax.data.source import ArraySource, Source, check_channels, load_npz
from genjax.data.stacked import CHANNELS, Stacked
from genjax.data.tfds import load_tfds

_FOLDER = "folder:"
_STACKED = "stacked:"


def load(
    name: str,
    split: str,
    *,
    data_dir: str | pathlib.Path | None = None,
    image_size: int | None = None,
    channels: int | None = None,
    on_bad_record: OnBadRecord = "error",
) -> Source:
    """The source of a data set by name.

    Args:
        name: "digits" (bundled, 8x8); "shapes" (drawn, 32x32 or as `image_size` says); "folder:PATH" or a path
            with a slash to a folder of images; a path to a ``.npz`` file; "stacked:NAME", three images of NAME as the
            channels of one (see `Stacked`); otherwise the name of a TFDS data set such as "mnist" or
            "downsampled_imagenet/32x32". Before any of these, "edges:" stands for the edges of its images and
            "inverted:" for their negatives (`genjax.data.derived`); `channels` is then of the images.
        split: "train", "test", or what the data set has.
        data_dir: where TFDS keeps its data sets; None is TFDS's own default. Unused by the other kinds.
        image_size: resize the shorter side to this and crop the centre square; None takes images as they are.
        channels: 1 or 3 insists on grayscale or colour; None takes images as they are.
        on_bad_record: "error", or "skip" to check every record first and leave out the bad ones.

    Returns:
        The source.

    Raises:
        UserError: as `digits`, `ImageFolder`, `load_npz`, `load_tfds` and `Stacked`.
    """
    check_options(image_size, channels, on_bad_record)
    if name.startswith(_STACKED):
        check_channels(channels, CHANNELS, f"data set {name!r}")
        plain = name.removeprefix(_STACKED)
        return Stacked(
            load(plain, split, data_dir=data_dir, image_size=image_size, on_bad_record=on_bad_record)
        )
    prefix, _, rest = name.partition(":")
    if prefix in DERIVATIONS:
        images = load(
            rest,
            split,
            data_dir=data_dir,
            image_size=image_size,
            channels=channels,
            on_bad_record=on_bad_record,
        )
        return Derived(images, DERIVATIONS[prefix], prefix)
    path = pathlib.Path(name.removeprefix(_FOLDER)).expanduser()
    if name == "digits":
        return _as_asked(digits(split), image_size, channels)
    if name == "shapes":
        return _as_asked(shapes(split, 32 if image_size is None else image_size), image_size, channels)
    if name.endswith(".npz"):
        return _as_asked(load_npz(path, split), image_size, channels)
    options = {"image_size": image_size, "channels": channels, "on_bad_record": on_bad_record}
    # A relative path needs a slash or a leading dot, so that a folder "mnist" here does not hide the data
    # set. Names of TFDS may have a slash too, so other names with one are paths only if the folder is there.
    is_path = name.startswith((_FOLDER, "/", ".", "~")) or ("/" in name and path.is_dir())
    if is_path:
        return ImageFolder(path, split, **options)  # type: ignore[arg-type]
    return load_tfds(name, split, data_dir=data_dir, **options)  # type: ignore[arg-type]


def _as_asked(source: ArraySource, image_size: int | None, channels: int | None) -> ArraySource:
    """Arrays in memory, checked and resized as files are."""
    check_channels(channels, source.info.image_shape[-1], f"data set {source.info.name!r}")
    if image_size is None or source.info.image_shape[:2] == (image_size, image_size):
        return source
    records = to_memory(source)
    return ArraySource.from_records(
        {**records, "image": resize_array(records["image"], image_size)}, source.info
    )
