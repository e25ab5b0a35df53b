"""From the name of a data set to its source."""

import pathlib
from collections.abc import Sequence

from genjax.data.arrays import load_npz
from genjax.data.batches import to_memory
from genjax.data.convert import NO_CONVERSION, Conversion, Converted, check_conversion, with_channels
from genjax.data.derived import DERIVATIONS, Derived
from genjax.data.digest import digest
from genjax.data.digits import digits
from genjax.data.folder import ImageFolder
from genjax.data.ignored import ignored
from genjax.data.images import OnBadRecord, check_options, resize_array
from genjax.data.layout import Layout
from genjax.data.names import STACKED, parse
from genjax.data.shapes import shapes
from genjax.data.source import ArraySource, Source, check_channels
from genjax.data.stacked import CHANNELS, Stacked
from genjax.data.tfds import load_tfds
from genjax.typing import UserError


def load(
    name: str,
    split: str,
    *,
    data_dir: str | pathlib.Path | None = None,
    image_size: int | None = None,
    channels: int | None = None,
    on_bad_record: OnBadRecord = "error",
    convert: Sequence[str] = (),
    layout: Layout = "auto",
) -> Source:
    """The source of a data set by name.

    Args:
        name: "digits" (bundled, 8x8); "shapes" (drawn, 32x32 or as `image_size` says); "folder:PATH" or a path
            with a slash to a folder of images; a path to a ``.npz`` or ``.npy`` file; "stacked:NAME", three images of
            NAME as the channels of one (see `Stacked`); otherwise the name of a TFDS data set such as "mnist" or
            "downsampled_imagenet/32x32". Before any of these, "edges:" stands for the edges of its images and
            "inverted:" for their negatives (`genjax.data.derived`); `channels` is then of the images.
        split: "train", "test", or what the data set has.
        data_dir: where TFDS keeps its data sets; None is TFDS's own default. Unused by the other kinds.
        image_size: resize the shorter side to this and crop the centre square; None takes images as they are.
        channels: 1 or 3 insists on grayscale or colour; None takes images as they are.
        on_bad_record: "error", or "skip" to check every record first and leave out the bad ones.
        convert: names of conversions, see `genjax.data.convert.CONVERSIONS`; images are converted before anything
            else is made of them.
        layout: what the sub-folders of a folder are, see `ImageFolder`.

    Returns:
        The source.

    Raises:
        UserError: as `digits`, `ImageFolder`, `load_npz`, `load_tfds` and `Stacked`; a `layout` for another data
            set than a folder.

    Example:
        >>> from genjax import data
        >>> source = data.load("edges:digits", "test", image_size=16)
        >>> source.info.name, len(source), source.info.image_shape, source.info.num_classes
        ('edges:digits', 355, (16, 16, 1), 10)
    """
    check_options(image_size, channels, on_bad_record)
    everywhere = {
        "data_dir": data_dir,
        "image_size": image_size,
        "on_bad_record": on_bad_record,
        "convert": convert,
        "layout": layout,
    }
    if name.startswith(STACKED):
        check_channels(channels, CHANNELS, f"data set {name!r}")
        return Stacked(load(name.removeprefix(STACKED), split, **everywhere))  # type: ignore[arg-type]
    wanted = check_conversion(convert, channels)
    prefix, _, rest = name.partition(":")
    if prefix in DERIVATIONS:
        images = load(rest, split, channels=channels, **everywhere)  # type: ignore[arg-type]
        return Derived(images, DERIVATIONS[prefix], prefix)
    found = parse(name)
    if found.kind == "folder":
        return ImageFolder(
            found.rest,
            split,
            image_size=image_size,
            channels=channels,
            on_bad_record=on_bad_record,
            convert=convert,
            layout=layout,
        )
    if layout != "auto":
        raise UserError(f"layout={layout!r} is for folders, and dataset={name!r} is none; valid is 'auto'")
    if name == "digits":
        return _as_asked(digits(split), image_size, channels, wanted)
    if name == "shapes":
        drawn = shapes(split, 32 if image_size is None else image_size)
        return _as_asked(drawn, image_size, channels, wanted)
    if found.kind == "file":
        return _as_asked(load_npz(found.rest, split, wanted), image_size, channels, wanted)
    stored = None if wanted.channels else channels
    source = load_tfds(
        name, split, data_dir=data_dir, image_size=image_size, channels=stored, on_bad_record=on_bad_record
    )
    if wanted.channels in (None, source.info.image_shape[-1]):
        return source
    return Converted(source, wanted.channels)


def _as_asked(
    source: ArraySource,
    image_size: int | None,
    channels: int | None,
    wanted: Conversion = NO_CONVERSION,
) -> ArraySource:
    """Arrays in memory, converted, checked and resized as files are."""
    height, width, found = source.info.image_shape
    made = wanted.channels or found
    check_channels(channels, made, f"data set {source.info.name!r}")
    if made == found and (image_size is None or (height, width) == (image_size, image_size)):
        return source
    records = to_memory(source)
    images = with_channels(records["image"], wanted.channels)
    if image_size is not None:
        images = resize_array(images, image_size)
    return ArraySource.from_records(
        {**records, "image": images}, source.info, source.skipped, ignored(source), digest(source)
    )
