"""Options of the training loop, apart from the loop so that configs need not import Orbax."""

import dataclasses
from typing import Annotated, Literal

from genjax.ranges import Count, CountOrZero, Range


@dataclasses.dataclass(frozen=True)
class FitOptions:
    """Options of `fit`.

    Attributes:
        steps: Number of updates of the whole run.
        batch_size: Examples per update, over all devices and hosts.
        seed: Seed of everything random in the run.
        log_every: Steps between lines of metrics. Each line has the means over these steps.
        checkpoint_every: Steps between checkpoints. The last step always gets a checkpoint.
        keep_checkpoints: Number of newest checkpoints that are kept.
        backend: How a step is spread over devices: "jit" (global arrays on a mesh) or "pmap".
        fsdp: Number of devices that each large parameter is split over. It must divide the number of devices.
        fsdp_min_size: Smallest number of elements of an array that is split.
        steps_per_dispatch: Largest number of updates in one call of the compiled program. Without it: 1 on CPU, 32
            elsewhere.
    """

    steps: Count = 1000
    batch_size: Count = 64
    seed: Annotated[int, Range("[0, 4294967296)")] = 0
    log_every: Count = 50
    checkpoint_every: Count = 500
    keep_checkpoints: Count = 3
    backend: Literal["jit", "pmap"] = "jit"
    fsdp: Count = 1
    fsdp_min_size: CountOrZero = 2**14
    steps_per_dispatch: Count | None = None
