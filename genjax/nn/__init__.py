"""Linen layers that several networks share."""

from genjax.nn.attention import SelfAttention
from genjax.nn.convolution import Conv, ConvTranspose, conv_general_dilated, conv_transpose
from genjax.nn.dropout import Dropout
from genjax.nn.embedding import sinusoidal_embedding
from genjax.nn.initialization import initialize
from genjax.nn.materialize import materialize
from genjax.nn.normalization import GroupNorm
from genjax.nn.resampling import downsample, upsample

__all__ = [
    "Conv",
    "ConvTranspose",
    "Dropout",
    "GroupNorm",
    "SelfAttention",
    "conv_general_dilated",
    "conv_transpose",
    "downsample",
    "initialize",
    "materialize",
    "sinusoidal_embedding",
    "upsample",
]
