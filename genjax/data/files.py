"""Image files of any sizes, to be measured rather than trained on."""

import pathlib
from collections.abc import Sequence

import numpy as np

from genjax.data import images
from genjax.data.folder import images_in
from genjax.data.source import BadRecordError
from genjax.typing import UserError


class ImageFiles:
    """The images in a folder and its sub-folders, sorted by path, each of its own size; read when they are needed.

    ``files[np.array([0, 5])]`` gives uint8[B,H,W,C] where the sizes are equal, and else a list of uint8[H,W,C].

    Args:
        path: the folder.
        channels: 3 shows grayscale images as colour ones; 1 refuses colour.
        on_bad_record: "error" raises when a bad file is met; "skip" decodes every file at the start, and leaves out,
            counts and logs the bad ones.

    Raises:
        UserError: no such folder, no image in it, or none left.
    """

    def __init__(
        self, path: str | pathlib.Path, *, channels: int = 3, on_bad_record: images.OnBadRecord = "error"
    ):
        images.check_options(None, channels, on_bad_record)
        root = pathlib.Path(path).expanduser()
        if not root.is_dir():
            raise UserError(f"folder {str(root)!r}: no such folder")
        self._channels = channels
        self._files = [file for file, _ in images_in(root)]
        if not self._files:
            raise UserError(f"folder {str(root)!r}: no image in it, nor in its sub-folders")
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
        image = images.decode_image(file, str(file))
        if image.shape[-1] > self._channels:
            raise BadRecordError(f"{file} is colour where grayscale is needed")
        return np.repeat(image, self._channels // image.shape[-1], axis=-1)
