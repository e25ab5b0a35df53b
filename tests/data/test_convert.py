"""Conversions of images: refused without, exact with, and alike in files and arrays."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, features

from genjax.data import BadRecordError, ImageFiles, ImageFolder, conversion, load, to_memory
from genjax.data.convert import Conversion, plain_arrays, with_channels
from genjax.data.depth import has_more_than_eight_bits
from genjax.data.images import decode_image, image_header
from genjax.typing import UserError

RNG = np.random.default_rng(0)
GRAY, COLOUR = RNG.integers(0, 256, (5, 6), np.uint8), RNG.integers(0, 256, (5, 6, 3), np.uint8)
DEEP = RNG.integers(0, 1 << 16, (5, 6, 3), np.uint16)
ALPHA = RNG.integers(0, 256, (5, 6), np.uint8)


def saved(picture, kind="PNG", **options):
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def deep_png(levels):
    """A PNG file of 16 bits a channel, which Pillow does not write in colour."""
    height, width, channels = levels.shape
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in levels)
    chunks = {
        b"IHDR": struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0),
        b"IDAT": zlib.compress(rows),
    }
    chunks[b"IEND"] = b""
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks.items()
    )


def deep_tiff(levels):
    """An uncompressed TIFF file of 16 bits a channel."""
    height, width, channels = levels.shape
    tags = {256: width, 257: height, 258: (16,) * channels, 259: 1, 262: 2, 273: 1000, 277: channels}
    tags |= {278: height, 279: levels.nbytes, 284: 1}
    entries, extra = b"", b""
    for tag, value in tags.items():
        if isinstance(value, tuple):
            entries += struct.pack("<HHII", tag, 3, len(value), 500)
            extra = struct.pack(f"<{len(value)}H", *value)
        else:
            entries += struct.pack("<HHII", tag, 4, 1, value)
    head = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + b"\0" * 4
    return (head.ljust(500, b"\0") + extra).ljust(1000, b"\0") + levels.astype("<u2").tobytes()


def deep_netpbm(levels):
    height, width, channels = levels.shape
    kind = {1: b"P5", 3: b"P6"}[channels]
    return kind + b" %d %d 65535\n" % (width, height) + levels.astype(">u2").tobytes()


DEEP_FILES = {
    "grey.png": deep_png(DEEP[..., :1]),
    "colour.png": deep_png(DEEP),
    "colour.tif": deep_tiff(DEEP),
    "grey.pgm": deep_netpbm(DEEP[..., :1]),
    "colour.ppm": deep_netpbm(DEEP),
}


@pytest.mark.parametrize("name", DEEP_FILES)
def test_more_than_eight_bits(tmp_path, name):
    """In colour as strictly as in gray: Pillow itself drops the lower eight bits without a word."""
    path = tmp_path / name
    path.write_bytes(DEEP_FILES[name])
    for read in (lambda **o: decode_image(path, name, **o), lambda **o: image_header(path, name, **o)):
        with pytest.raises(BadRecordError, match=f"{name} has .*only eight bits.*convert=..8-bit"):
            read()
    made = decode_image(path, name, conversion=conversion(["8-bit"]))
    assert made.shape == image_header(path, name, conversion(["8-bit"]))
    expected = DEEP[..., : made.shape[-1]] >> 8
    # Pillow rounds levels of Netpbm colour files, and takes the higher bits of all others.
    assert np.abs(made.astype(int) - expected).max() <= (name == "colour.ppm")


def test_transparent_and_deep(tmp_path):
    data = deep_png(np.concatenate([DEEP, DEEP[..., :1]], -1))
    with pytest.raises(BadRecordError, match="more"):
        decode_image(data, "x", conversion=conversion(["on:white"]))
    found = decode_image(data, "x", conversion=conversion(["on:white", "8-bit"]))
    high = (DEEP >> 8).astype(np.uint8)
    below = Image.new("RGBA", (6, 5), (255, 255, 255, 255))
    above = Image.fromarray(np.concatenate([high, high[..., :1]], -1))
    np.testing.assert_array_equal(found, np.asarray(Image.alpha_composite(below, above))[..., :3])


def test_sixteen_bits_a_pixel_are_not_sixteen_a_channel(tmp_path):
    """A BMP file of 5, 6 and 5 bits, raw mode "BGR;16"."""
    masks = struct.pack("<III", 0xF800, 0x07E0, 0x001F)
    info = struct.pack("<IiiHHIIiiII", 40, 2, 1, 1, 16, 3, 4, 0, 0, 0, 0)
    offset = 14 + len(info) + len(masks)
    data = (
        b"BM"
        + struct.pack("<IHHI", offset + 4, 0, 0, offset)
        + info
        + masks
        + struct.pack("<HH", 0xF800, 0x001F)
    )
    np.testing.assert_array_equal(decode_image(data, "x")[0], [[255, 0, 0], [0, 0, 255]])


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow reads no AVIF")
def test_avif(tmp_path):
    for picture in (Image.fromarray(COLOUR), Image.fromarray(255 - COLOUR)):
        data = saved(picture, "AVIF", quality=100, subsampling="4:4:4")
        found = decode_image(data, "x")
        assert np.abs(found.astype(int) - np.asarray(picture)).max() <= 6
    (tmp_path / "a.avif").write_bytes(data)
    assert to_memory(ImageFolder(tmp_path))["image"].shape == (1, 5, 6, 3)


@pytest.mark.parametrize(("kind", "place", "bits"), [(b"av1C", 6, 0x40), (b"hvcC", 21, 2)])
def test_more_than_eight_bits_in_avif_and_heic(kind, place, bits):
    """By the configuration of the codec; Pillow writes no such files to test with."""
    image = Image.new("RGB", (1, 1))
    image.format = "AVIF"
    head = bytearray(b"....ftypavif" + kind + bytes(40))
    assert not has_more_than_eight_bits(image, bytes(head))
    head[head.index(kind) + place] = bits
    assert has_more_than_eight_bits(image, bytes(head))


def test_heic(tmp_path):
    heif = pytest.importorskip("pillow_heif")
    heif.register_heif_opener()
    (tmp_path / "a.heic").write_bytes(
        saved(Image.fromarray(COLOUR.repeat(8, 0).repeat(8, 1)), "HEIF", quality=100)
    )
    (made,) = to_memory(ImageFolder(tmp_path))["image"]
    assert np.abs(made[4::8, 4::8].astype(int) - COLOUR).mean() < 4


def test_gray_and_colour_are_exact():
    files = {"gray": saved(Image.fromarray(GRAY)), "colour": saved(Image.fromarray(COLOUR))}
    repeated = decode_image(files["gray"], "x", conversion=conversion(["colour"]))
    np.testing.assert_array_equal(repeated, np.repeat(GRAY[..., None], 3, -1))
    luma = decode_image(files["colour"], "x", conversion=conversion(["grayscale"]))
    np.testing.assert_array_equal(luma[..., 0], np.asarray(Image.fromarray(COLOUR).convert("L")))
    for name, channels in (("colour", 3), ("grayscale", 1)):  # what is right already stays as it is
        stored = files["colour" if channels == 3 else "gray"]
        np.testing.assert_array_equal(
            decode_image(stored, "x", conversion=conversion([name])), decode_image(stored, "x")
        )
    np.testing.assert_array_equal(with_channels(COLOUR[None], 1)[0], luma)
    np.testing.assert_array_equal(with_channels(GRAY[None, ..., None], 3)[0], repeated)


@pytest.mark.parametrize("colour", ["white", "black", "#204060"])
@pytest.mark.parametrize("kind", ["RGBA", "LA", "palette"])
def test_backgrounds(tmp_path, kind, colour):
    """What a viewer would show on the background: level * alpha + background * (1 - alpha)."""
    made = {
        "RGBA": Image.fromarray(np.concatenate([COLOUR, ALPHA[..., None]], -1)),
        "LA": Image.fromarray(np.stack([GRAY, ALPHA], -1), "LA"),
        "palette": Image.fromarray(COLOUR).quantize(8),
    }[kind]
    (tmp_path / "a.png").write_bytes(saved(made, **({"transparency": 2} if kind == "palette" else {})))
    with pytest.raises(BadRecordError, match=r"partly transparent.*on:white"):
        decode_image(tmp_path / "a.png", "x")
    wanted = conversion([f"on:{colour}"])
    found = decode_image(tmp_path / "a.png", "x", conversion=wanted)
    assert found.shape == image_header(tmp_path / "a.png", "x", wanted)
    assert found.shape[-1] == (1 if kind == "LA" and colour != "#204060" else 3)
    whole = np.asarray(Image.open(tmp_path / "a.png").convert("RGBA")).astype(float)
    opacity = whole[..., 3:] / 255
    expected = whole[..., :3] * opacity + np.array(wanted.background) * (1 - opacity)
    assert np.abs(found - expected[..., : found.shape[-1]]).max() <= 1


def test_names_of_conversions():
    assert conversion(()) == Conversion() and conversion("colour") == Conversion(channels=3)
    assert conversion(["8-bit", "on:white", "grayscale"]) == Conversion(1, True, (255, 255, 255))
    for names, message in [
        (["color"], r"convert='color': valid are 'colour', 'grayscale', '8-bit', and 'on:COLOUR'"),
        (["colour", "grayscale"], "'grayscale' contradicts the others"),
        (["on:white", "on:black"], "'on:black' contradicts"),
        (["on:whiter"], "convert='on:whiter': there is no such colour"),
        (["on:#12345678"], "a background is not transparent"),
    ]:
        with pytest.raises(UserError, match=message):
            conversion(names)
    for name in ("digits", "folder:nowhere", "nowhere.npz"):
        with pytest.raises(UserError, match="makes images of 3 channels where channels=1"):
            load(name, "all", convert=["colour"], channels=1)


def test_folders_of_all_kinds(tmp_path):
    """Photographs as they are: gray, colour, transparent, 16 bits. Each is a bad record, or skipped, or converted."""
    (tmp_path / "a.png").write_bytes(saved(Image.fromarray(COLOUR)))
    (tmp_path / "b.png").write_bytes(saved(Image.fromarray(COLOUR[::-1].copy())))
    (tmp_path / "c.png").write_bytes(saved(Image.fromarray(GRAY)))
    (tmp_path / "d.png").write_bytes(deep_png(DEEP))
    (tmp_path / "e.png").write_bytes(saved(Image.fromarray(np.dstack([COLOUR, ALPHA]))))
    with pytest.raises(BadRecordError, match=r"c\.png is grayscale .*convert="):
        ImageFolder(tmp_path)
    assert len(ImageFolder(tmp_path, on_bad_record="skip")) == 2
    everything = ("colour", "8-bit", "on:white")
    for options in ({}, {"on_bad_record": "skip"}, {"channels": 3}):
        source = ImageFolder(tmp_path, convert=everything, **options)
        found = to_memory(source)["image"]
        assert found.shape == (5, 5, 6, 3) and source.skipped == ()
        np.testing.assert_array_equal(found[[0, 2, 3]], [COLOUR, np.stack([GRAY] * 3, -1), DEEP >> 8])
    np.testing.assert_array_equal(ImageFiles(tmp_path, convert=everything)[np.arange(5)], found)
    gray = to_memory(ImageFolder(tmp_path, convert=("grayscale", "8-bit", "on:black"), image_size=4))["image"]
    assert gray.shape == (5, 4, 4, 1)


def test_other_data_sets(tmp_path):
    digits, colour = (to_memory(load("digits", "test", convert=c))["image"] for c in ((), ["colour"]))
    np.testing.assert_array_equal(colour, np.repeat(digits, 3, -1))
    assert load("digits", "test", convert=["colour"], channels=3, image_size=12).info.image_shape == (
        12,
        12,
        3,
    )
    np.savez(tmp_path / "a.npz", images=np.stack([DEEP, DEEP[::-1]]))
    with pytest.raises(UserError, match=r"dtype uint16.*convert=\['8-bit'\]"):
        load(str(tmp_path / "a.npz"), "all")
    made = to_memory(load(str(tmp_path / "a.npz"), "all", convert=["8-bit"]))["image"]
    np.testing.assert_array_equal(made[0], DEEP >> 8)
    np.savez(tmp_path / "b.npz", images=np.dstack([COLOUR, ALPHA])[None])
    with pytest.raises(UserError, match=r"shape \(1, 5, 6, 4\).*convert=\['on:white'\]"):
        load(str(tmp_path / "b.npz"), "all")
    on = to_memory(load(str(tmp_path / "b.npz"), "all", convert=["on:white"]))["image"]
    (tmp_path / "c.png").write_bytes(saved(Image.fromarray(np.dstack([COLOUR, ALPHA]))))
    np.testing.assert_array_equal(
        on[0], decode_image(tmp_path / "c.png", "x", conversion=conversion(["on:white"]))
    )
    stacked = load(f"stacked:{tmp_path / 'a.npz'}", "all", convert=["8-bit", "grayscale"])
    assert stacked.info.image_shape == (5, 6, 3)


@pytest.mark.parametrize("dtype", ["<u2", ">u2"])
def test_sixteen_bits_of_either_byte_order(dtype):
    levels = np.array([[0x1234, 0xFF00]], np.uint16).astype(dtype)[..., None, None]
    np.testing.assert_array_equal(plain_arrays(levels, conversion(["8-bit"])).ravel(), [0x12, 0xFF])
