"""Linen layers that several networks share."""

from genjax.nn.attention import SelfAttention
from genjax.nn.dropout import Dropout
from genjax.nn.embedding import sinusoidal_embedding
from genjax.nn.initialization import initialize
from genjax.nn.normalization import GroupNorm
from genjax.nn.resampling import downsample, upsample

__all__ = [
    "Dropout",
    "GroupNorm",
    "SelfAttention",
    "downsample",
    "initialize",
    "sinusoidal_embedding",
    "upsample",
]
