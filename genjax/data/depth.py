"""How many bits a channel of an image file has: Pillow takes eight of them without a word, in most formats."""

import pathlib
import re
from typing import Any

from PIL import Image

DEEP_GRAY = frozenset({"I;16", "I;16B", "I;16L", "I;16N", "I"})
"""Pillow's modes of grayscale images with 16 bits; "I" only in the Netpbm format."""

# Raw modes of PNG and TIFF; "BGR;16" of BMP is 16 bits a pixel.
_DEEP_RAW = re.compile(r"(L|LA|I|RGB|RGBA|RGBa|RGBX+|CMYK|LAB|YCbCr);16.*")
_HEAD = 1 << 16
_HEIF_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})


def has_more_than_eight_bits(image: Image.Image, data: bytes | pathlib.Path) -> bool:
    """Whether an opened image file, whose pixels have not been loaded, has more than eight bits a channel.

    Args:
        image: the file as Pillow opened it.
        data: the file's bytes, or its path.
    """
    if image.mode in DEEP_GRAY and (image.mode != "I" or image.format == "PPM"):
        return True
    if image.format in ("AVIF", "HEIF"):
        return _isobmff(data)
    arguments = [argument for tile in getattr(image, "tile", ()) for argument in _flat(tile[3])]
    if image.format == "PPM":
        return any(isinstance(argument, int) and argument > 255 for argument in arguments)
    return any(isinstance(argument, str) and _DEEP_RAW.fullmatch(argument) for argument in arguments)


def _flat(arguments: Any) -> tuple[Any, ...]:
    return arguments if isinstance(arguments, tuple) else (arguments,)


def is_heif(data: bytes | pathlib.Path) -> bool:
    """Whether it is an HEIC file by its first bytes (ISO/IEC 23008-12, annex B.4)."""
    head = _head(data, 12)
    return head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS


def _head(data: bytes | pathlib.Path, length: int) -> bytes:
    if isinstance(data, bytes):
        return data[:length]
    with data.open("rb") as file:
        return file.read(length)


def _isobmff(data: bytes | pathlib.Path) -> bool:
    """By the configuration of the codec: "av1C" (AV1 in ISOBMFF, section 2.3.3), "hvcC" (ISO/IEC 14496-15)."""
    head = _head(data, _HEAD)
    av1, hevc = head.find(b"av1C"), head.find(b"hvcC")
    high = av1 >= 0 and head[av1 + 6 : av1 + 7] and head[av1 + 6] & 0x40
    deep = hevc >= 0 and head[hevc + 21 : hevc + 22] and head[hevc + 21] & 7
    return bool(high or deep)
