"""Commands in processes of their own, of this code and others; shell commands as baselines: anything that times itself
and prints a JSON object."""

import json
import os
import pathlib
import subprocess
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from experiments.bench import timing
from genjax.typing import UserError

ROOT = pathlib.Path(__file__).resolve().parents[2]
"""Where this code is."""

_MAX_QUOTED = 2000


def contender(line: str) -> Callable[[], timing.Measurement]:
    """A contender that is a shell command; each repeat runs it from start to end.

    It does its own timing, so that its start and compilation do not count, and prints a JSON object with
    a positive "images_per_second" as its last line. Other numbers in it are reported beside. It is run once
    here, to warm up what it caches, and so that a mistake shows at once.

    Raises:
        UserError: here or later, if it fails or prints something else.
    """

    def measure() -> timing.Measurement:
        result = run_command(line)
        if not timing.is_rate(result.get(timing.RATE)):
            raise UserError(
                f"baseline={line!r} must report a positive number as {timing.RATE!r}, got {result}"
            )
        return {name: x for name, x in result.items() if isinstance(x, int | float)}

    measure()
    return measure


def environment(**variables: str) -> dict[str, str]:
    """The environment of a process that finds this code wherever it runs: this one's, with other variables."""
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PYTHONPATH": path, **variables}


def run_command(line: str | Sequence[str], env: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The JSON object that a command prints as its last line; `line` is a string for a shell, or a list.

    Raises:
        UserError: it fails (the message ends with what it wrote to stderr), or prints something else.
    """
    done = subprocess.run(line, shell=isinstance(line, str), env=env, capture_output=True, text=True)
    if done.returncode:
        said = done.stderr.strip()[-_MAX_QUOTED:] or "nothing on stderr"
        raise UserError(f"the command {line!r} ended with exit code {done.returncode}: {said}")
    last = (done.stdout.strip().splitlines() or [""])[-1]
    try:
        result = json.loads(last)
    except ValueError:
        result = None
    if not isinstance(result, dict):
        raise UserError(
            f"the command {line!r} must print a JSON object as its last line, got {last[:_MAX_QUOTED]!r}"
        )
    return result
