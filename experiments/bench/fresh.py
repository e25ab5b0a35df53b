"""Compile time with an empty and with a filled persistent cache, and peak memory, in processes of their own.

Run as ``python -m experiments.bench.fresh SUBJECT DIR STARTED``, it builds the subject from
``DIR/config.json``, does its work once and prints a JSON object.
"""

import dataclasses
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable

from etils import epath

from experiments import cli
from experiments.bench import workloads
from experiments.bench.command import environment, run_command
from experiments.bench.memory import peak_rss_bytes
from genjax.app import config_files, workdir
from genjax.app.config import Config

WORKLOADS: dict[str, Callable[[Config], workloads.Workload]] = {
    "train": workloads.train,
    "sample": workloads.sample,
}


def measure(subject: str, config: Config) -> dict[str, dict[str, float]]:
    """Cold and warm start of "train" or "sample".

    Returns:
        "cold" (empty cache) and "warm" (filled by it), each with "compile_seconds" (of the one large program,
        tracing included), "start_seconds" (from the start of the process to the end of the first call:
        imports, data, initialisation, all compilation), "peak_rss_bytes" and, on accelerators,
        "peak_device_bytes".
    """
    with tempfile.TemporaryDirectory() as folder:
        workdir.write_json(epath.Path(folder) / workdir.CONFIG, dataclasses.asdict(config))
        cache = os.path.join(folder, "cache")
        return {
            name: start("experiments.bench.fresh", subject, folder, cache=cache) for name in ("cold", "warm")
        }


def start(module: str, *args: str, cache: str) -> dict[str, float]:
    """What a module prints that is run in a process of its own, with the time of its start as last argument.

    Args:
        module: of this repository.
        *args: its arguments.
        cache: folder for compiled programs.
    """
    env = environment(JAX_COMPILATION_CACHE_DIR=cache)
    return run_command([sys.executable, "-m", module, *args, repr(time.time())], env)


def main() -> None:
    """One start: see the module."""
    name, folder, started = sys.argv[1:]
    subject = WORKLOADS[name](config_files.as_own(workdir.load_config(epath.Path(folder))))
    subject.run(1)
    result = {
        "compile_seconds": subject.program.compile_seconds,
        "start_seconds": time.time() - float(started),
        "peak_rss_bytes": peak_rss_bytes(),
        **workloads.peak_device_memory(),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    cli.run(main)
