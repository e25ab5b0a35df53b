"""Networks, one architecture a file."""

from genjax.models.unet import UNet

__all__ = ["UNet"]
