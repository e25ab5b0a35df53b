"""Linen layers that several networks share."""

from genjax.nn.attention import SelfAttention, dot_product_attention
from genjax.nn.batch_norm import BatchNorm, ConditionalBatchNorm
from genjax.nn.convolution import Conv, ConvTranspose, conv_general_dilated, conv_transpose
from genjax.nn.dropout import Dropout
from genjax.nn.embedding import sinusoidal_embedding
from genjax.nn.initialization import initialize
from genjax.nn.materialize import materialize
from genjax.nn.normalization import GroupNorm
from genjax.nn.pooling import max_pool
from genjax.nn.resampling import downsample, upsample
from genjax.nn.spectral_norm import SpectralNorm

__all__ = [
    "BatchNorm",
    "ConditionalBatchNorm",
    "Conv",
    "ConvTranspose",
    "Dropout",
    "GroupNorm",
    "SelfAttention",
    "SpectralNorm",
    "conv_general_dilated",
    "conv_transpose",
    "dot_product_attention",
    "downsample",
    "initialize",
    "materialize",
    "max_pool",
    "sinusoidal_embedding",
    "upsample",
]
