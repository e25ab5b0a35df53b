"""Options of the training loop, apart from the loop so that configs need not import Orbax."""

import dataclasses
from typing import Literal


@dataclasses.dataclass(frozen=True)
class FitOptions:
    """Options of `fit`.

    Attributes:
        steps: Number of updates of the whole run.
        batch_size: Examples per update, over all devices and hosts.
        seed: Seed of everything random in the run.
        log_every: Steps between lines of metrics; each is the mean over the interval.
        checkpoint_every: Steps between checkpoints; the last step always gets one.
        keep_checkpoints: How many of the newest checkpoints stay.
        backend: How a step is spread over devices: "jit" (global arrays on a mesh) or "pmap".
        fsdp: Over how many devices each large parameter is split; divides the number of devices.
        fsdp_min_size: Arrays with fewer elements are not split.
        steps_per_dispatch: Most updates per call of the compiled program; None: 1 on CPU, 32 elsewhere.
    """

    steps: int = 1000
    batch_size: int = 64
    seed: int = 0
    log_every: int = 50
    checkpoint_every: int = 500
    keep_checkpoints: int = 3
    backend: Literal["jit", "pmap"] = "jit"
    fsdp: int = 1
    fsdp_min_size: int = 2**14
    steps_per_dispatch: int | None = None
