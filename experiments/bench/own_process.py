"""A training step in a process of its own: ``python -m experiments.bench.own_process genjax|torch NAME BATCH STARTED``.

Initialises, does two steps (of which the second has all of the optimizer's state) and prints a JSON object. What one
of the two contenders imports is not in the memory of the other.
"""

import json
import os
import sys
import time
from collections.abc import Callable

from experiments import allocator
from experiments.bench import memory, specs


def main() -> None:
    """One start: see the module."""
    contender, name, size, started = sys.argv[1:]
    allocator.keep_freed_memory()
    spec = specs.SPECS[name]
    result = _CONTENDERS[contender](spec, specs.batch(spec, int(size)), float(started))
    print(json.dumps({**result, "peak_rss_bytes": memory.peak_rss_bytes()}))


def genjax(spec: specs.Spec, batch: specs.Arrays, started: float) -> dict[str, float]:
    """Seconds to compile, and to the end of the first step, imports and initialisation included."""
    # Small programs are kept as well, as `experiments.cli` has it; that would import what only checkpoints need.
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    import jax

    from experiments.bench import tasks, workloads

    imported = memory.peak_rss_bytes()
    variables = tasks.task(spec).init(jax.random.key(0), batch)
    subject, losses = tasks.subject(spec, variables, batch)
    losses()
    seconds = time.time() - started
    losses()
    return {
        "compile_seconds": subject.program.compile_seconds,
        "start_seconds": seconds,
        "imports_rss_bytes": imported,
        **workloads.peak_device_memory(),
    }


def torch(spec: specs.Spec, batch: specs.Arrays, started: float) -> dict[str, float]:
    """Seconds to the end of the first step."""
    import torch  # noqa: F401

    from experiments.bench import torch_tasks

    imported = memory.peak_rss_bytes()
    twin = torch_tasks.twin(spec, batch)
    twin.losses()
    seconds = time.time() - started
    twin.losses()
    return {"start_seconds": seconds, "imports_rss_bytes": imported}


_CONTENDERS: dict[str, Callable[[specs.Spec, specs.Arrays, float], dict[str, float]]] = {
    "genjax": genjax,
    "torch": torch,
}

if __name__ == "__main__":
    main()
