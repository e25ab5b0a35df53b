"""Images of any sizes, to be measured rather than trained on: files in a folder, or arrays in a file."""

import pathlib
from collections.abc import Sequence

import numpy as np

from genjax.data import images
from genjax.data.arrays import SUFFIXES, load_npz
from genjax.data.convert import conversion, with_channels
from genjax.data.ignored import Ignored
from genjax.data.listing import check_folder, listing
from genjax.data.source import BadRecordError
from genjax.typing import UserError


def open_images(
    path: str | pathlib.Path,
    *,
    channels: int = 3,
    on_bad_record: images.OnBadRecord = "error",
    convert: Sequence[str] = (),
    image_size: int | None = None,
) -> "ImageFiles | ImageArray":
    """The images in a folder, or those in a ``.npz`` or ``.npy`` file, as `genjax.data.load_npz` reads them.

    Args:
        path: the folder or the file.
        channels: 3 shows grayscale images as colour ones; 1 refuses colour.
        on_bad_record: see `ImageFiles`.
        convert: names of conversions (`genjax.data.convert.CONVERSIONS`).
        image_size: scale the shorter side to this and crop the centre square, as in training; None: as they are.

    Raises:
        UserError: no such folder or file, no image in it, or images that are refused.

    Example:
        >>> import numpy as np
        >>> from genjax import data
        >>> np.save("made.npy", np.full((10, 8, 8), 7, np.uint8))
        >>> pictures = data.open_images("made.npy")  # or a folder
        >>> len(pictures), pictures[np.array([9])].shape
        (10, (1, 8, 8, 3))
    """
    if pathlib.Path(path).suffix.lower() in SUFFIXES and not pathlib.Path(path).expanduser().is_dir():
        return ImageArray(path, channels=channels, convert=convert, image_size=image_size)
    return ImageFiles(
        path, channels=channels, on_bad_record=on_bad_record, convert=convert, image_size=image_size
    )


class ImageFiles:
    """The images in a folder and its sub-folders, sorted by path, each of its own size; read when they are needed.

    Symbolic links are followed. Of a file with several frames the first is used. Other files are counted (`ignored`).

    ``files[np.array([0, 5])]`` gives uint8[B,H,W,C] where the sizes are equal, and else a list of uint8[H,W,C].

    Args:
        path: the folder.
        channels: 3 shows grayscale images as colour ones; 1 refuses colour.
        on_bad_record: "error" raises when a bad file is met; "skip" decodes every file at the start, and leaves out,
            counts and logs the bad ones.
        convert: names of conversions (`genjax.data.convert.CONVERSIONS`).
        image_size: see `open_images`.

    Raises:
        UserError: no such folder, no image in it, or none left.

    Example:
        >>> import numpy as np
        >>> from PIL import Image
        >>> from genjax import data
        >>> Image.new("L", (4, 2)).save("a.png"), Image.new("RGB", (3, 3)).save("b.png")
        (None, None)
        >>> [picture.shape for picture in data.ImageFiles(".")[np.array([0, 1])]]  # each of its own size
        [(2, 4, 3), (3, 3, 3)]
    """

    def __init__(
        self,
        path: str | pathlib.Path,
        *,
        channels: int = 3,
        on_bad_record: images.OnBadRecord = "error",
        convert: Sequence[str] = (),
        image_size: int | None = None,
    ):
        images.check_options(image_size, channels, on_bad_record)
        self._conversion, self._image_size = conversion(convert), image_size
        root = pathlib.Path(path).expanduser()
        check_folder(root, f"folder {str(root)!r}")
        self._channels = channels
        listed = listing(root)
        self.ignored = Ignored(listed.ignored)
        self._files = [root.joinpath(*parts) for parts in listed.files]
        if not self._files:
            also = f"; {self.ignored}" if listed.ignored else ""
            raise UserError(f"folder {str(root)!r}: no image in it, nor in its sub-folders{also}")
        if on_bad_record == "skip":
            read = images.outcome(lambda file: self._read(file).shape)
            found = images.parallel_map(read, self._files, desc=f"checking {root}")
            bad = [str(error) for error in found if isinstance(error, BadRecordError)]
            images.report_skipped(str(root), len(self._files), bad)
            self._files = [f for f, got in zip(self._files, found, strict=True) if isinstance(got, tuple)]

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, indices: np.ndarray) -> np.ndarray | Sequence[np.ndarray]:
        """See above.

        Raises:
            BadRecordError: names a file that cannot be read, or is colour where grayscale is asked for.
        """
        pictures = images.parallel_map(self._read, [self._files[i] for i in indices])
        return np.stack(pictures) if len({picture.shape for picture in pictures}) == 1 else pictures

    def _read(self, file: pathlib.Path) -> np.ndarray:
        image = images.decode_image(file, str(file), image_size=self._image_size, conversion=self._conversion)
        if image.shape[-1] > self._channels:
            raise BadRecordError(
                f"{file} is colour where grayscale is needed; convert=['grayscale'] converts it"
            )
        return np.repeat(image, self._channels // image.shape[-1], axis=-1)


class ImageArray:
    """The images in a ``.npz`` or ``.npy`` file without splits, all in memory; see `load_npz` for the names of arrays.

    Args:
        path: the file.
        channels: as for `ImageFiles`.
        convert: as for `ImageFiles`.
        image_size: see `open_images`.

    Raises:
        UserError: as `load_npz`, or the images are in colour where grayscale is needed.

    Example:
        >>> import numpy as np
        >>> from genjax import data
        >>> np.savez("made.npz", images=np.zeros((10, 8, 8), np.uint8))
        >>> data.ImageArray("made.npz", image_size=4)[np.array([0, 5])].shape
        (2, 4, 4, 3)
    """

    def __init__(
        self,
        path: str | pathlib.Path,
        *,
        channels: int = 3,
        convert: Sequence[str] = (),
        image_size: int | None = None,
    ):
        images.check_options(image_size, channels, "error")
        wanted = conversion(convert)
        source = load_npz(path, "all", wanted, argument="images")
        self.ignored = source.ignored
        found = with_channels(source.read(np.arange(len(source)))["image"], wanted.channels)
        if found.shape[-1] > channels:
            raise UserError(
                f"{str(path)!r} is colour where grayscale is needed; convert=['grayscale'] converts it"
            )
        found = found if image_size is None else images.resize_array(found, image_size)
        self._images, self._repeat = found, channels // found.shape[-1]

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, indices: np.ndarray) -> np.ndarray:
        """uint8[B,H,W,C]."""
        return np.repeat(self._images[indices], self._repeat, axis=-1)
