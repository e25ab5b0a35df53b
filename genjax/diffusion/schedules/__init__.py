"""Noise schedules: alpha(t), sigma(t), the log-SNR and its inverse, as pytrees.

A noisy example is ``x_t = alpha(t) x_0 + sigma(t) noise``. Time runs from t = 0 (clean data) to t = 1 (noise)
for every schedule; a discrete schedule of T betas lives at t = i / T, i = 1..T.

A schedule is a pytree whose leaves are its constants, so that it is an ordinary argument of a jitted
function: changing a constant recompiles nothing, and constants can be learned. A new schedule is a
``flax.struct.dataclass`` with the four methods of `Schedule`, and a line in `SCHEDULES`.
"""

from collections.abc import Callable

from genjax.diffusion.schedules.base import Schedule, VariancePreserving
from genjax.diffusion.schedules.continuous import edm, flow, polynomial, shifted_cosine, sub_vp, ve, vp
from genjax.diffusion.schedules.discrete import (
    Discrete,
    cosine,
    from_betas,
    linear,
    scaled_linear,
    sigmoid,
    sigmoid_betas,
    zero_terminal_snr,
)
from genjax.diffusion.schedules.learned import learned

DISCRETE: dict[str, Callable[..., Discrete]] = {
    "linear": linear,
    "scaled_linear": scaled_linear,
    "cosine": cosine,
    "sigmoid": sigmoid,
    "sigmoid_betas": sigmoid_betas,
}
"""Constructors of the schedules of T steps, by name; the first argument is T."""

SCHEDULES: dict[str, Callable[..., Schedule]] = DISCRETE | {
    "vp": vp,
    "sub_vp": sub_vp,
    "ve": ve,
    "edm": edm,
    "flow": flow,
    "shifted_cosine": shifted_cosine,
    "polynomial": polynomial,
    "learned": learned,
}
"""Constructors of all schedules, by name; each can be called without arguments."""

__all__ = [
    "DISCRETE",
    "SCHEDULES",
    "Discrete",
    "Schedule",
    "VariancePreserving",
    "cosine",
    "edm",
    "flow",
    "from_betas",
    "learned",
    "linear",
    "polynomial",
    "scaled_linear",
    "shifted_cosine",
    "sigmoid",
    "sigmoid_betas",
    "sub_vp",
    "ve",
    "vp",
    "zero_terminal_snr",
]
