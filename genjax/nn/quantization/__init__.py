"""Quantisers: feature maps -> feature maps of finitely many vectors, and their integer codes.

* `vector`: a learned code book (VQ-VAE). `finite_scalar`: a fixed grid (FSQ). Either can be given where a
  `quantizer.Quantizer` is asked for.
* `statistics`: what learning a code book needs of a batch, in a form that can be averaged over parts of the batch.
"""

from genjax.nn.quantization.finite_scalar import FiniteScalarQuantizer
from genjax.nn.quantization.quantizer import Quantized, Quantizer, straight_through
from genjax.nn.quantization.statistics import Statistics, choose, collect, perplexity
from genjax.nn.quantization.vector import VectorQuantizer

__all__ = [
    "FiniteScalarQuantizer",
    "Quantized",
    "Quantizer",
    "Statistics",
    "VectorQuantizer",
    "choose",
    "collect",
    "perplexity",
    "straight_through",
]
