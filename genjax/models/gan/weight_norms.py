"""What can be chosen by name to normalise the weights of a network."""

import functools
from typing import TYPE_CHECKING, Literal, TypeAlias

from genjax.nn import SpectralNorm
from genjax.nn.weight_norm import WeightNorm

WEIGHT_NORMS: dict[str, WeightNorm | None] = {
    "none": None,
    "spectral": SpectralNorm,
    "spectral_operator": functools.partial(SpectralNorm, operator=True),
}
"""By name: what wraps a layer, see `genjax.nn.weight_norm`."""

if TYPE_CHECKING:
    WeightNormName: TypeAlias = str
else:
    WeightNormName = Literal[tuple(WEIGHT_NORMS)]
