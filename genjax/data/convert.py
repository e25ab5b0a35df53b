"""Images of another kind than a data set needs, made into that kind: only where somebody asks for it."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageColor

from genjax.data.digest import digest
from genjax.data.fields import image as image_field
from genjax.data.ignored import ignored
from genjax.data.source import Source
from genjax.typing import UserError


@dataclasses.dataclass(frozen=True)
class Conversion:
    """What is converted. An image that is of the right kind already stays as it is.

    Attributes:
        channels: 3 makes grayscale images colour ones (three equal channels), 1 makes colour images grayscale ones (by
            the luma of ITU-R BT.601, as Pillow does it); None: neither.
        eight_bits: of images with 16 bits a channel, the higher eight bits are taken.
        background: partly transparent images are laid on this colour (red, green, blue; 0..255); None: they are not.

    Example:
        >>> import numpy as np
        >>> from genjax import data
        >>> np.save("deep.npy", np.full((2, 8, 8), 0x80FF, np.uint16))
        >>> source = data.load_npz("deep.npy", "all", data.Conversion(eight_bits=True))
        >>> np.unique(source.read(np.arange(2))["image"]).tolist()  # 0x80
        [128]
    """

    channels: int | None = None
    eight_bits: bool = False
    background: tuple[int, int, int] | None = None

    @property
    def is_gray(self) -> bool:
        """Whether a grayscale image stays one on the background."""
        return self.background is None or len(set(self.background)) == 1


NO_CONVERSION = Conversion()
CONVERSIONS = {
    "colour": Conversion(channels=3),
    "grayscale": Conversion(channels=1),
    "8-bit": Conversion(eight_bits=True),
}
"""By the name in ``convert``; "on:COLOUR", such as "on:white", names a background in addition."""
_ON = "on:"
_VALID = f"valid are {', '.join(map(repr, CONVERSIONS))}, and 'on:COLOUR' such as 'on:white' or 'on:#102030'"


def conversion(names: Sequence[str]) -> Conversion:
    """What the names ask for together.

    Raises:
        UserError: there is no such conversion or colour, or two contradict each other.

    Example:
        >>> from genjax import data
        >>> data.conversion(["colour", "on:white"])
        Conversion(channels=3, eight_bits=False, background=(255, 255, 255))
    """
    chosen: dict[str, object] = {}
    for name in [names] if isinstance(names, str) else names:
        one = _background(name) if name.startswith(_ON) else CONVERSIONS.get(name)
        if one is None:
            raise UserError(f"convert={name!r}: {_VALID}")
        for field in dataclasses.fields(Conversion):
            value = getattr(one, field.name)
            if value != field.default and chosen.setdefault(field.name, value) != value:
                raise UserError(f"convert={list(names)!r}: {name!r} contradicts the others; {_VALID}")
    return Conversion(**chosen)  # type: ignore[arg-type]


def _background(name: str) -> Conversion:
    try:
        colour = ImageColor.getrgb(name.removeprefix(_ON))
    except ValueError as error:
        raise UserError(f"convert={name!r}: there is no such colour; {_VALID}") from error
    if len(colour) != 3:
        raise UserError(f"convert={name!r}: a background is not transparent; {_VALID}")
    return Conversion(background=colour)


def check_conversion(names: Sequence[str], channels: int | None) -> Conversion:
    """`conversion`, whose images have the `channels` that are asked for.

    Raises:
        UserError: as `conversion`, or they would have others.
    """
    found = conversion(names)
    if None not in (found.channels, channels) and found.channels != channels:
        raise UserError(
            f"convert={list(names)!r} makes images of {found.channels} channels where channels={channels}"
        )
    return found


def on_background(image: Image.Image, colour: tuple[int, int, int]) -> Image.Image:
    """A picture of mode "RGB": a transparent one on a background."""
    below = Image.new("RGBA", image.size, (*colour, 255))
    return Image.alpha_composite(below, image.convert("RGBA")).convert("RGB")


def with_channels(images: UInt8[np.ndarray, "N H W C"], channels: int | None) -> UInt8[np.ndarray, "N H W D"]:
    """Images with 1 or 3 channels; None: as they are. See `Conversion.channels`."""
    if channels in (None, images.shape[-1]):
        return images
    if channels == 3:
        return np.repeat(images, 3, axis=-1)
    red, green, blue = np.moveaxis(images.astype(np.uint32), -1, 0)
    luma = (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16  # Pillow's integers
    return luma.astype(np.uint8)[..., None]


def plain_arrays(images: np.ndarray, wanted: Conversion) -> np.ndarray:
    """uint16[N,H,W,C] as uint8, and [N,H,W,4] on a background, where the conversion asks for it."""
    if (images.dtype.kind, images.dtype.itemsize) == ("u", 2) and wanted.eight_bits:  # of either byte order
        images = (images >> 8).astype(np.uint8)
    if images.dtype == np.uint8 and images.ndim == 4 and images.shape[-1] == 4 and wanted.background:
        colour = wanted.background
        images = np.stack([np.asarray(on_background(Image.fromarray(one), colour)) for one in images])
    return images


class Converted:
    """A source with images of 1 or 3 channels, made of the images of another one; all else passes unchanged.

    Args:
        source: the images.
        channels: see `Conversion.channels`.

    Example:
        >>> import numpy as np
        >>> from genjax import data
        >>> red = data.ArraySource(np.uint8([255, 0, 0]).reshape(1, 1, 1, 3))
        >>> data.Converted(red, channels=1).read(np.array([0]))["image"].ravel().tolist()  # 0.299 of 255
        [76]
    """

    def __init__(self, source: Source, channels: int):
        self._source, self._channels = source, channels
        height, width = source.info.image_shape[:2]
        self.info = source.info.with_field("image", image_field((height, width, channels)))
        self.skipped, self.ignored, self.digest = source.skipped, ignored(source), digest(source)

    def __len__(self) -> int:
        return len(self._source)

    def read(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """See `Source.read`."""
        records = self._source.read(indices)
        return {**records, "image": with_channels(records["image"], self._channels)}
