"""How much compute latent diffusion saves.

Counted, not timed: floating-point operations as `genjax.app.cost` counts them.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from experiments.claims.claim import Allowed, Claim, Measured, Place
from genjax.app import cost
from genjax.models import UNet
from genjax.models.codes.vq_vae import Decoder

IMAGE, STEPS, WIDTH = 256, 50, 128
LATENT_CHANNELS = {4: 3, 8: 4}
"""Downsampling -> channels of the latent grid, as in Rombach et al., "High-Resolution Image Synthesis with Latent
Diffusion Models" (2022), section 4 and Stable Diffusion."""


def flops(network: nn.Module, *shapes: tuple[int, ...]) -> float:
    """Operations of one call of a network on arrays float32 of these shapes."""
    arguments = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    variables = jax.eval_shape(network.init, jax.random.key(0), *arguments)
    counted = cost.flops(jax.jit(network.apply).trace(variables, *arguments))
    assert counted is not None, "XLA says it of layers"
    return counted


def saving(pixels: float, latent: float, decoder: float, steps: int) -> float:
    """Percent of the compute of an image that is saved by `steps` calls on latents and one of the decoder."""
    return 100 * (1 - (steps * latent + decoder) / (steps * pixels))


def latent_saving(place: Place, *, downsampling: int) -> Measured:
    """The same U-Net on pixels and on latents, and the decoder of the latents once an image."""
    del place
    unet = UNet(channels=WIDTH, multipliers=(1, 2, 2), blocks=2)
    side, channels = IMAGE // downsampling, LATENT_CHANNELS[downsampling]
    decoder = Decoder(3, WIDTH, downsampling.bit_length() - 1, residual_blocks=2, residual_channels=WIDTH)
    pixels = flops(unet, (1, IMAGE, IMAGE, 3), (1,))
    latent = flops(unet, (1, side, side, channels), (1,))
    once = flops(decoder, (1, side, side, channels))
    return Measured(
        saving(pixels, latent, once, STEPS),
        None,
        f"GFLOP of one call: U-Net on {IMAGE}x{IMAGE}x3 {pixels / 1e9:,.0f}, on {side}x{side}x{channels} "
        f"{latent / 1e9:,.1f}, decoder {once / 1e9:.1f}; {STEPS} steps an image. U-Net of width {WIDTH}, multipliers "
        f"1, 2, 2, two blocks, attention in the middle; convolutional decoder of width {WIDTH}. Exact for these "
        "networks; training the autoencoder is not counted",
    )


CLAIMS = [
    Claim(
        f"latent-compute-{downsampling}",
        f"Latent diffusion saves 96 % of the compute of diffusion on pixels (downsampling by {downsampling})",
        "surveys of diffusion models",
        "96 % (here: at least that)",
        Allowed(low=96),
        "%",
        functools.partial(latent_saving, downsampling=downsampling),
    )
    for downsampling in LATENT_CHANNELS
]
