"""Compile time with an empty and with a filled persistent cache, and peak memory, in processes of their own.

Run as ``python -m experiments.bench.fresh SUBJECT DIR STARTED``, it builds the subject from
``DIR/config.json``, does its work once and prints a JSON object.
"""

import dataclasses
import json
import os
import pathlib
import resource
import sys
import tempfile
import time
from collections.abc import Callable

import jax
from etils import epath

from experiments import cli, workdir
from experiments.bench import subjects
from experiments.bench.command import run_command
from experiments.config import Config

SUBJECTS: dict[str, Callable[[Config], subjects.Subject]] = {
    "train": subjects.train,
    "sample": subjects.sample,
}


def measure(subject: str, config: Config) -> dict[str, dict[str, float]]:
    """Cold and warm start of "train" or "sample".

    Returns:
        "cold" (empty cache) and "warm" (filled by it), each with "compile_seconds" (of the one large program,
        tracing included), "start_seconds" (from the start of the process to the end of the first call:
        imports, data, initialisation, all compilation), "peak_rss_bytes" and, on accelerators,
        "peak_device_bytes".
    """
    root = pathlib.Path(__file__).resolve().parents[2]
    with tempfile.TemporaryDirectory() as folder:
        workdir.write_json(epath.Path(folder) / workdir.CONFIG, dataclasses.asdict(config))
        path = os.pathsep.join([str(root), *filter(None, [os.environ.get("PYTHONPATH")])])
        env = {**os.environ, "PYTHONPATH": path, "JAX_COMPILATION_CACHE_DIR": os.path.join(folder, "cache")}
        command = [sys.executable, "-m", "experiments.bench.fresh", subject, folder]
        return {name: run_command([*command, repr(time.time())], env) for name in ("cold", "warm")}


def main() -> None:
    """One start: see the module."""
    name, folder, started = sys.argv[1:]
    subject = SUBJECTS[name](workdir.load_config(epath.Path(folder)))
    subject.run(1)
    stats = jax.local_devices()[0].memory_stats() or {}
    device = {"peak_device_bytes": stats["peak_bytes_in_use"]} if "peak_bytes_in_use" in stats else {}
    result = {
        "compile_seconds": subject.program.compile_seconds,
        "start_seconds": time.time() - float(started),
        "peak_rss_bytes": peak_rss_bytes(),
        **device,
    }
    print(json.dumps(result))


def peak_rss_bytes() -> int:
    """Most memory that this process had resident, so far."""
    status = pathlib.Path("/proc/self/status")
    if status.exists():  # getrusage would count what the parent process had when it started this one
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    cli.run(main)
