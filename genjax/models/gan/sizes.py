"""How often a small map is doubled on the way to an image."""

from genjax.typing import UserError

LARGEST_BASE = 7
"""Sides of the smallest map are at most this."""


def doublings(image_shape: tuple[int, ...], at_least: int = 4) -> tuple[int, tuple[int, int]]:
    """How many doublings lead to an image, and from what size.

    The shorter side is halved until it is 7 or less: 28 = 7 * 4, 32 = 4 * 8, 64 = 4 * 16.

    Args:
        image_shape: H, W, C.
        at_least: the shortest side of the smallest map.

    Returns:
        The number of doublings, 1 or more, and the smallest height and width.

    Raises:
        UserError: if sides are odd too early, or too short.

    Example:
        >>> from genjax.models.gan.sizes import doublings
        >>> doublings((28, 28, 1)), doublings((64, 32, 3))
        ((2, (7, 7)), (3, (8, 4)))
    """
    height, width, _ = image_shape
    count, short = 0, min(height, width)
    while short > LARGEST_BASE and short % 2 == 0:
        count, short = count + 1, short // 2
    factor = 2**count
    if not at_least <= short <= LARGEST_BASE or not count or height % factor or width % factor:
        raise UserError(
            f"image_shape={tuple(image_shape)}: valid are sides of {at_least} to {LARGEST_BASE} pixels, doubled one "
            "or more times, as 28, 32 and 64"
        )
    return count, (height // factor, width // factor)


def base_of(image_shape: tuple[int, int, int], count: int, name: str) -> tuple[int, int]:
    """The height and width from which `count` doublings lead to an image.

    Raises:
        UserError: if they are not whole; it names the attribute `name` that says how many doublings there are.
    """
    height, width, _ = image_shape
    factor = 2**count
    if height % factor or width % factor or not height * width:
        raise UserError(
            f"{name} has {count} doublings: the sides of image_shape={tuple(image_shape)} must be multiples of "
            f"{factor}"
        )
    return height // factor, width // factor


def check_halvings(shape: tuple[int, ...], count: int, name: str) -> None:
    """That the sides of images [B,H,W,C] can be halved so often.

    Raises:
        UserError: if not; it names the attribute `name` that says how often.
    """
    factor = 2**count
    if shape[1] % factor or shape[2] % factor:
        raise UserError(
            f"{name} has {count} halvings: the sides of images must be multiples of {factor}, not "
            f"{shape[1]}x{shape[2]}"
        )
