"""Decoding and resizing of single images."""

import io

import numpy as np
import pytest
from PIL import Image, ImageOps

from genjax.data import BadRecordError
from genjax.data.images import decode_image, image_header, parallel_map, resize, resize_array

RNG = np.random.default_rng(0)
GRAY = RNG.integers(0, 256, (7, 9), np.uint8)
COLOUR = RNG.integers(0, 256, (7, 9, 3), np.uint8)


def encode(picture, kind="PNG", **options):
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_lossless_formats_are_exact(kind):
    np.testing.assert_array_equal(decode_image(encode(Image.fromarray(GRAY), kind), "x")[..., 0], GRAY)
    np.testing.assert_array_equal(decode_image(encode(Image.fromarray(COLOUR), kind), "x"), COLOUR)


def test_palettes_and_opaque_alpha_become_rgb():
    palette = Image.fromarray(COLOUR).quantize(16)
    np.testing.assert_array_equal(decode_image(encode(palette), "x"), np.asarray(palette.convert("RGB")))
    opaque = np.concatenate([COLOUR, np.full((7, 9, 1), 255, np.uint8)], axis=-1)
    np.testing.assert_array_equal(decode_image(encode(Image.fromarray(opaque)), "x"), COLOUR)


def test_mode_converts_as_declared():
    assert decode_image(encode(Image.fromarray(COLOUR)), "x", mode="L").shape == (7, 9, 1)
    repeated = decode_image(encode(Image.fromarray(GRAY)), "x", mode="RGB")
    np.testing.assert_array_equal(repeated, np.repeat(GRAY[..., None], 3, axis=-1))


@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path, orientation, suffix):
    """Once: Pillow turns a TIFF when it is loaded, and no other file."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored, path = Image.fromarray(COLOUR), tmp_path / f"a{suffix}"
    stored.save(path, exif=exif, **({"lossless": True} if suffix == ".webp" else {}))
    upright = decode_image(path, "x")
    with Image.open(path) as image:
        np.testing.assert_array_equal(upright, np.asarray(ImageOps.exif_transpose(image)))
    if orientation == 6:  # to be turned by 90 degrees clockwise
        np.testing.assert_array_equal(upright, np.rot90(COLOUR, -1))
    assert image_header(path, "x") == upright.shape
    if suffix != ".png":
        return
    # A mode asks for the pixels as they are stored.
    as_stored = decode_image((tmp_path / "a.png").read_bytes(), "x", mode="RGB")
    np.testing.assert_array_equal(as_stored, COLOUR)


PNG = encode(Image.fromarray(COLOUR))
TRANSPARENT = np.concatenate([COLOUR, np.full((7, 9, 1), 200, np.uint8)], axis=-1)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "photo 3 is not an image of a known format"),
        (b"hello", "photo 3 is not an image of a known format"),
        (PNG[:-30], "photo 3 cannot be read: .*truncated"),
        (encode(Image.fromarray(COLOUR), "JPEG")[:-40], "photo 3 cannot be read: .*truncated"),
        (PNG[:45] + bytes([PNG[45] ^ 0xFF]) + PNG[46:], "photo 3 cannot be read"),
        (
            encode(Image.fromarray(GRAY.astype(np.uint16) * 257)),
            "photo 3 has Pillow mode 'I;16': only eight bits",
        ),
        (encode(Image.fromarray(TRANSPARENT)), "photo 3 is partly transparent"),
    ],
    ids=["empty", "text", "truncated png", "truncated jpeg", "flipped bits", "16 bits", "transparent"],
)
def test_bad_images_are_named(data, message):
    with pytest.raises(BadRecordError, match=message):
        decode_image(data, "photo 3")


@pytest.mark.parametrize("size", [4, 8, 16])
def test_resize_scales_the_shorter_side_and_crops_the_centre(size):
    wide = Image.fromarray(RNG.integers(0, 256, (8, 24, 3), np.uint8))
    whole = np.asarray(wide.resize((3 * size, size), Image.Resampling.LANCZOS))
    np.testing.assert_array_equal(np.asarray(resize(wide, size)), whole[:, size : 2 * size])
    tall = wide.transpose(Image.Transpose.TRANSPOSE)
    assert np.asarray(resize(tall, size)).shape == (size, size, 3)
    centre = np.asarray(resize(tall, size)).astype(int).swapaxes(0, 1)
    # Rows and columns are filtered in another order: a rounding apart.
    assert np.abs(centre - whole[:, size : 2 * size]).max() <= 2


def test_shrinking_is_antialiased():
    # The finest checkerboard has no energy below half the sampling rate: only its mean is left.
    board = ((np.indices((32, 32)).sum(0) % 2) * 255).astype(np.uint8)
    small = np.asarray(resize(Image.fromarray(board), 8)).astype(int)
    assert np.abs(small[2:-2, 2:-2] - 127).max() <= 2


def test_arrays_are_resized_as_files_are():
    for images in (GRAY[None, ..., None], COLOUR[None]):
        (one,) = images
        expected = decode_image(encode(Image.fromarray(one.squeeze())), "x", image_size=5)
        np.testing.assert_array_equal(resize_array(images, 5), expected[None])
    square = COLOUR[None, :, :7]
    np.testing.assert_array_equal(resize_array(square, 7), square)


@pytest.mark.parametrize("n", [0, 1, 5, 100, 1000])
def test_parallel_map_keeps_order_and_errors(n):
    assert parallel_map(lambda x: x * x, range(n)) == [x * x for x in range(n)]
    if n:
        with pytest.raises(ZeroDivisionError):
            parallel_map(lambda x: 1 // (n - 1 - x), range(n))


def test_heic_under_another_name_is_known(tmp_path, monkeypatch):
    """Telephones and chats call it .jpg; where its reader is missing the message says what it is."""
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(40))
    monkeypatch.setattr("genjax.data.images.suffixes", lambda: frozenset({".jpg"}))
    with pytest.raises(BadRecordError, match=r"photo\.jpg cannot be read: it is HEIC.*\[heic\]"):
        decode_image(path, str(path))
    registered = []
    monkeypatch.setattr("genjax.data.images.suffixes", lambda: frozenset({".jpg", ".heic", ".heif", ".hif"}))
    monkeypatch.setattr("genjax.data.images.register_heif", lambda: registered.append(True))
    with pytest.raises(
        BadRecordError, match="not an image of a known format"
    ):  # its reader is no real one here
        decode_image(path.read_bytes(), "x")
    assert registered == [True]
