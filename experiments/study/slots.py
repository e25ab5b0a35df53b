"""Where the runs of a study go: each job has cores or a device of its own.

Run as ``python -m experiments.study.slots``, it prints the devices that jax finds, as a JSON object: the study itself
must not take any.
"""

import contextlib
import itertools
import json
import os
import sys
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from experiments import cli
from experiments.bench.command import environment, run_command
from genjax.typing import UserError

_MOST_CPU_JOBS = 4
"""By default: more would need more memory than machines with many cores may have."""


class Slot(NamedTuple):
    """What a job has for itself.

    Attributes:
        cores: that it is pinned to; () for all.
        env: environment variables that show it its device.
    """

    cores: tuple[int, ...] = ()
    env: tuple[tuple[str, str], ...] = ()

    def environment(self) -> dict[str, str]:
        """The environment of its commands, which find this code wherever they run."""
        return environment(**dict(self.env))

    def pin(self, process_id: int) -> None:
        """Keeps a process that has just started on the slot's cores: threads and processes of it inherit them.

        Threads of two trainings that take turns on one core cost both more than half of their speed.
        """
        if self.cores:
            with contextlib.suppress(ProcessLookupError):  # it has ended already
                os.sched_setaffinity(process_id, self.cores)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keeps this process, and what it starts meanwhile, on the slot's cores."""
        if not self.cores:
            yield
            return
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, self.cores)
        try:
            yield
        finally:
            os.sched_setaffinity(0, before)


def slots(jobs: int | None, most: int) -> list[Slot]:
    """One slot for each job: a share of the cores, or the GPUs in turn.

    Args:
        jobs: how many; None: one for each GPU, one on a TPU, and on CPU one for each core and at most four.
        most: how many could ever be used.

    Raises:
        UserError: ``jobs`` below 1.
    """
    if jobs is not None and jobs < 1:
        raise UserError(f"jobs={jobs}: valid are [1, inf)")
    platform, count = _devices()
    if platform == "gpu":
        return _on_gpus(_visible(count), max(1, min(most, jobs or count)))
    if platform != "cpu":
        return [Slot()] * max(1, min(most, jobs or 1))
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if not cores:  # not Linux: nothing can be pinned
        return [Slot()] * max(1, min(most, jobs or 1))
    return on_cores(cores, max(1, min(most, jobs or min(len(cores), _MOST_CPU_JOBS))))


def on_cores(cores: Sequence[int], jobs: int) -> list[Slot]:
    """The cores divided among the jobs; single cores in turn where there are more jobs."""
    if jobs >= len(cores):
        return [Slot((cores[i % len(cores)],)) for i in range(jobs)]
    edges = [i * len(cores) // jobs for i in range(jobs + 1)]
    return [Slot(tuple(cores[a:b])) for a, b in itertools.pairwise(edges)]


def _on_gpus(names: Sequence[str], jobs: int) -> list[Slot]:
    # Jax takes most of a GPU's memory when it starts, which two on one cannot.
    shared = (("XLA_PYTHON_CLIENT_PREALLOCATE", "false"),) if jobs > len(names) else ()
    return [Slot(env=(("CUDA_VISIBLE_DEVICES", names[i % len(names)]), *shared)) for i in range(jobs)]


def _visible(count: int) -> list[str]:
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    return given.split(",") if given else [str(i) for i in range(count)]


def _devices() -> tuple[str, int]:
    if os.environ.get("JAX_PLATFORMS") == "cpu":
        return "cpu", 1
    found = run_command([sys.executable, "-m", "experiments.study.slots"], Slot().environment())
    return found["platform"], found["count"]


def main() -> None:
    """Prints what jax finds."""
    import jax

    print(json.dumps({"platform": jax.default_backend(), "count": jax.local_device_count()}))


if __name__ == "__main__":
    cli.run(main)
