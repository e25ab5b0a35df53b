"""Image files to uint8 arrays: decoding, colour, size, and what is done with the bad ones."""

import concurrent.futures
import contextlib
import io
import logging
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias, TypeVar

import numpy as np
import tqdm
from PIL import Image

from genjax.data.convert import NO_CONVERSION, Conversion, on_background
from genjax.data.depth import DEEP_GRAY, has_more_than_eight_bits, is_heif
from genjax.data.listing import HEIF, register_heif, suffixes
from genjax.data.source import BadRecordError
from genjax.typing import UserError

OnBadRecord: TypeAlias = Literal["error", "skip"]
"""What to do with records that cannot be used: raise when one is met, or leave them out from the start."""

T = TypeVar("T")

# Eight bits a channel, by Pillow's mode: the mode that its pixels are taken in.
_TARGET_MODES = {
    "1": "L",
    "L": "L",
    "LA": "L",
    "P": "RGB",
    "PA": "RGB",
    "RGB": "RGB",
    "RGBA": "RGB",
    "CMYK": "RGB",
    "YCbCr": "RGB",
}
_CHANNELS = {"L": 1, "RGB": 3}
_MODES = {channels: mode for mode, channels in _CHANNELS.items()}

# By what is in the file, whatever its name says. Pillow knows more, among them PostScript (EPS), for which it starts
# Ghostscript: a picture that somebody sent would be a program that runs.
_FORMATS = ("PNG", "JPEG", "JPEG2000", "MPO", "BMP", "DIB", "GIF", "WEBP", "TIFF", "PPM", "AVIF", "HEIF")

# What turns an image of each EXIF orientation upright; 1 is upright.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class Header(NamedTuple):
    """What an image file is, without its pixels.

    Attributes:
        shape: (H, W, C) of the image that `decode_image` would give.
        animated: whether there are several frames; not so in files that hold smaller versions or depths of one photo
            (MPO).
    """

    shape: tuple[int, int, int]
    animated: bool


def decode_image(
    data: bytes | pathlib.Path,
    record: str,
    *,
    image_size: int | None = None,
    mode: str | None = None,
    conversion: Conversion = NO_CONVERSION,
) -> np.ndarray:
    """One image file as an array; of an animated file, its first frame.

    Args:
        data: the file's bytes, or its path.
        record: how a message names this image.
        image_size: see `resize`; None keeps the size.
        mode: "L" or "RGB" takes the stored pixels in this mode, as TFDS does; None takes grayscale files as
            grayscale and all others as colour, upright (the EXIF orientation is applied).
        conversion: what may be converted, if `mode` is None.

    Returns:
        uint8[H,W,1] or uint8[H,W,3].

    Raises:
        BadRecordError: not an image, truncated, or, unless `conversion` has a rule for it, more than eight bits a
            channel or (if `mode` is None) partly transparent.
    """
    with _reporting(record), _open(data) as image:
        orientation = _orientation(image)
        deep = mode is None and has_more_than_eight_bits(image, data)
        stored_mode = _target(image, record, deep, conversion)
        image.load()
        if mode is None:
            image = _opaque(_eight_bits(image, record, deep), record, conversion)
            image = image.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else image
        image = image.convert(mode or stored_mode)
        if image_size is not None:
            image = resize(image, image_size)
        array = np.asarray(image)
    return array.reshape(*array.shape[:2], -1)


def image_header(
    path: pathlib.Path, record: str, conversion: Conversion = NO_CONVERSION
) -> tuple[int, int, int]:
    """(H, W, C) that `decode_image` would give, without reading the pixels.

    Raises:
        BadRecordError: not an image, or more than eight bits a channel.
    """
    return read_header(path, record, conversion).shape


def read_header(path: pathlib.Path, record: str, conversion: Conversion = NO_CONVERSION) -> Header:
    """As `image_header`, and whether the file is animated."""
    with _reporting(record), _open(path) as image:
        width, height = image.size
        if _orientation(image) in (5, 6, 7, 8):  # it lies on its side
            width, height = height, width
        deep = has_more_than_eight_bits(image, path)
        channels = _CHANNELS[_target(image, record, deep, conversion)]
        return Header((height, width, channels), _is_animated(image))


def resize(image: Image.Image, size: int) -> Image.Image:
    """The centre square after scaling the shorter side to `size`, antialiased.

    Pillow's Lanczos filter (a = 3), whose support grows with the scale when shrinking. As when
    the whole image is scaled and then cropped, the filter sees the pixels beside the square.
    """
    width, height = image.size
    side = min(width, height)
    if (width, height) == (size, size):
        return image
    left, top = (width - side) / 2, (height - side) / 2
    return image.resize((size, size), Image.Resampling.LANCZOS, box=(left, top, left + side, top + side))


def resize_array(images: np.ndarray, size: int) -> np.ndarray:
    """`resize` for uint8[N,H,W,C]; gives uint8[N,size,size,C]."""

    def one(image: np.ndarray) -> np.ndarray:
        # Pillow has no mode for a last axis of one.
        picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
        return np.asarray(resize(picture, size)).reshape(size, size, -1)

    return np.stack([one(image) for image in images])


def check_options(image_size: int | None, channels: int | None, on_bad_record: str) -> None:
    """Raises `UserError` for an image size below 1, channels other than 1 and 3, or an unknown
    `on_bad_record`."""
    if image_size is not None and image_size < 1:
        raise UserError(
            f"image_size={image_size}: valid are positive numbers of pixels, and None: as the data is"
        )
    if channels not in (None, 1, 3):
        raise UserError(f"channels={channels}: valid are 1 (grayscale), 3 (colour), and None: as the data is")
    if on_bad_record not in ("error", "skip"):
        raise UserError(f"on_bad_record={on_bad_record!r}: valid are 'error' and 'skip'")


def parallel_map(fn: Callable[[Any], T], items: Sequence[Any], desc: str | None = None) -> list[T]:
    """``[fn(item) for item in items]`` by a few threads (Pillow decodes outside of the interpreter lock).

    Args:
        fn: called from several threads.
        items: its arguments.
        desc: shows a progress bar of this name, on a terminal, when it takes long.
    """
    workers = min(len(items) // 16, os.cpu_count() or 1, 16)
    disable = None if desc else True
    bar = {
        "total": len(items),
        "desc": desc,
        "unit": "images",
        "delay": 2.0,
        "disable": disable,
        "leave": False,
    }
    if workers < 2:
        return [fn(item) for item in tqdm.tqdm(items, **bar)]
    size = min(64, -(-len(items) // workers))
    chunks = [items[start : start + size] for start in range(0, len(items), size)]
    results: list[T] = []
    with concurrent.futures.ThreadPoolExecutor(workers) as pool, tqdm.tqdm(**bar) as progress:
        for chunk in pool.map(lambda chunk: [fn(item) for item in chunk], chunks):
            results.extend(chunk)
            progress.update(len(chunk))
    return results


def outcome(fn: Callable[[Any], T]) -> Callable[[Any], T | BadRecordError]:
    """`fn`, but a bad record's error is returned instead of raised."""

    def attempt(item: Any) -> T | BadRecordError:
        try:
            return fn(item)
        except BadRecordError as error:
            return error

    return attempt


def report_skipped(name: str, total: int, skipped: Iterable[str]) -> tuple[str, ...]:
    """Logs how many of the `total` records of `name` were skipped, and why; returns the messages.

    Raises:
        UserError: all of them were.
    """
    skipped = tuple(skipped)
    if skipped:
        shown = "\n  ".join(skipped[:10]) + ("\n  ..." if len(skipped) > 10 else "")
        summary = f"{name}: skipped {len(skipped)} of {total} records:\n  {shown}"
        if len(skipped) == total:
            raise UserError(f"{summary}\nno record is left")
        logging.getLogger(__name__).warning(summary)
    return skipped


def _open(data: bytes | pathlib.Path) -> Image.Image:
    if isinstance(data, pathlib.Path) and data.suffix.lower() in HEIF:
        register_heif()
    Image.init()
    try:
        return _open_known(data)
    except Image.UnidentifiedImageError:
        if not is_heif(data):
            raise
        if not suffixes() >= HEIF:
            raise ValueError(
                "it is HEIC, whatever its name says; pip install -e '.[heic]' reads it"
            ) from None
        register_heif()  # telephones and chats call such files .jpg
        return _open_known(data)


def _open_known(data: bytes | pathlib.Path) -> Image.Image:
    formats = [name for name in _FORMATS if name in Image.OPEN]
    return Image.open(io.BytesIO(data) if isinstance(data, bytes) else data, formats=formats)


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation that is still to be applied; Pillow itself applies a TIFF's, to size and pixels."""
    if image.format == "TIFF":
        return 1
    # Not image.getexif(): for a PNG, that decodes all pixels to look for metadata behind them.
    return Image.Image.getexif(image).get(0x0112, 1)


def _is_animated(image: Image.Image) -> bool:
    try:
        return image.format != "MPO" and getattr(image, "is_animated", False)
    except Exception:  # what is behind the first frame is damaged, and of no matter
        return False


def _target(image: Image.Image, record: str, deep: bool, conversion: Conversion) -> str:
    """The mode in which the pixels of a file are taken, "L" or "RGB"."""
    if deep and not conversion.eight_bits:
        raise BadRecordError(
            f"{record} has Pillow mode {image.mode!r}: only eight bits a channel are read, and it has more; "
            "convert=['8-bit'] takes the higher eight"
        )
    stored = "L" if deep and image.mode in DEEP_GRAY else _TARGET_MODES.get(image.mode)
    if stored is None:
        raise BadRecordError(
            f"{record} has Pillow mode {image.mode!r}: only eight bits a channel are read "
            f"({', '.join(_TARGET_MODES)})"
        )
    if image.has_transparency_data and not conversion.is_gray:
        stored = "RGB"
    return _MODES[conversion.channels] if conversion.channels else stored


def _eight_bits(image: Image.Image, record: str, deep: bool) -> Image.Image:
    """The higher eight bits of a grayscale image; of a colour image Pillow has taken them already."""
    if deep and "transparency" in image.info:
        raise BadRecordError(f"{record} has more than eight bits a channel and a transparent level: not read")
    if not deep or image.mode not in DEEP_GRAY:
        return image
    return Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8))


def _opaque(image: Image.Image, record: str, conversion: Conversion) -> Image.Image:
    """Dropping transparency would show colours that no viewer shows, so only full opacity is dropped."""
    if not image.has_transparency_data:
        return image
    if conversion.background is not None:
        gray = image.mode in ("L", "LA") and conversion.is_gray
        image = on_background(image, conversion.background)
        return image.getchannel(0) if gray else image
    if image.convert("RGBA").getchannel("A").getextrema() != (255, 255):
        raise BadRecordError(
            f"{record} is partly transparent: put it on a background first, or pass convert=['on:white'] or "
            "another colour"
        )
    return image


@contextlib.contextmanager
def _reporting(record: str) -> Iterator[None]:
    """Turns whatever a decoder raises on bad bytes into a `BadRecordError` that names the record."""
    try:
        yield
    except (BadRecordError, MemoryError):
        raise
    except Image.UnidentifiedImageError as error:
        raise BadRecordError(
            f"{record} is not an image of a known format (by its content; known are {', '.join(_FORMATS)})"
        ) from error
    except Exception as error:  # Pillow has OSError, SyntaxError, ValueError, struct.error, zlib.error ...
        raise BadRecordError(f"{record} cannot be read: {error}") from error
