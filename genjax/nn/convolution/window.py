"""How a kernel moves over its input."""

from typing import Any, Literal, NamedTuple, TypeAlias

Form: TypeAlias = Literal["output", "input", "kernel"]
"""Which of the three bilinear maps of a convolution: `genjax.nn.convolution.maps`."""


class Window(NamedTuple):
    """How the kernel moves over the input; hashable.

    Attributes:
        strides: step per spatial dimension.
        padding: (low, high) zeros per spatial dimension; negative crops.
        dilation: distance of the kernel's elements.
        groups: channels are split into that many groups, which are convolved apart.
        precision: as in `lax.conv_general_dilated`.
    """

    strides: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...]
    groups: int = 1
    precision: Any = None

    def output_size(self, x: tuple[int, ...], kernel: tuple[int, ...]) -> tuple[int, ...]:
        """Spatial sizes of the output, from the sizes of input and kernel."""
        sizes = zip(x, kernel, self.strides, self.padding, self.dilation, strict=True)
        return tuple(max(0, (n + sum(pad) - (k - 1) * d - 1) // s + 1) for n, k, s, pad, d in sizes)


def channels_last(rank: int) -> tuple[str, str, str]:
    """Dimension numbers of arrays with `rank` spatial dimensions, at most 3, as `jax.lax` writes them."""
    letters = "DHW"[-rank:]
    return f"N{letters}C", f"{letters}IO", f"N{letters}C"
