"""Convolutions that XLA does not trip over on CPU, with derivatives of every order.

* `layers`: `Conv` and `ConvTranspose`, drop-in replacements for flax.linen's layers.
* `functional`: `conv_general_dilated` and `conv_transpose`, drop-in replacements for jax.lax's functions.
* `maps`: the primitive under them: a convolution and its two gradients, chosen per platform when it is lowered.
* `plain`: how GPU and TPU compute it. `cpu`: which algorithm a CPU takes: `winograd`, `polyphase` and smaller ones.
"""

from genjax.nn.convolution.functional import conv_general_dilated, conv_transpose
from genjax.nn.convolution.layers import Conv, ConvTranspose

__all__ = ["Conv", "ConvTranspose", "conv_general_dilated", "conv_transpose"]
