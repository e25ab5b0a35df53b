"""Memory of this process. No jax in here: see `specs`."""

import pathlib
import resource
import sys


def peak_rss_bytes() -> int:
    """Most memory that this process had resident, so far."""
    status = pathlib.Path("/proc/self/status")
    if status.exists():  # getrusage would count what the parent process had when it started this one
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
