"""What the verbs share: how errors end a command, caches, several processes."""

import logging
import os
import pathlib
import sys
from collections.abc import Callable

import jax

from experiments.config import Launch
from genjax.train.program import RecompileError
from genjax.typing import UserError


def run(main: Callable[[], None]) -> None:
    """Runs a verb; a mistake of the user ends it with a message and exit code 2, a failed run with exit code 1."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    _enable_compilation_cache()
    from genjax.train.fit import NonFiniteError

    try:
        main()
    except UserError as error:
        sys.exit(_say(error, 2))
    except (NonFiniteError, RecompileError) as error:
        sys.exit(_say(error, 1))
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from the latest checkpoint", file=sys.stderr)
        sys.exit(130)


def _say(error: Exception, code: int) -> int:
    print(f"error: {error}", file=sys.stderr)
    return code


def _enable_compilation_cache() -> None:
    """Compiled programs are kept on disk, small ones too; JAX_COMPILATION_CACHE_DIR says where, "" switches it off."""
    default = pathlib.Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "genjax" / "xla"
    jax.config.update("jax_compilation_cache_dir", os.environ.get("JAX_COMPILATION_CACHE_DIR", str(default)) or None)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)


def join_processes(launch: Launch) -> None:
    """Becomes one of several processes, if asked to; before anything touches a device.

    Raises:
        UserError: only some of coordinator, num_processes and process_id are given, or the others do not answer.
    """
    given = {name: getattr(launch, name) for name in ("coordinator", "num_processes", "process_id")}
    missing = [name for name, value in given.items() if value is None]
    if not launch.distributed:
        if len(missing) < 3:
            raise UserError(f"{sorted(set(given) - set(missing))} need --distributed")
        return
    if 0 < len(missing) < 3:
        raise UserError(f"distributed: {missing} missing; give all of {sorted(given)}, or none to find them out")
    try:
        jax.distributed.initialize(launch.coordinator, launch.num_processes, launch.process_id)
    except (ValueError, RuntimeError) as error:
        raise UserError(f"distributed: the processes did not find each other: {error}") from error


def is_first_process() -> bool:
    """Whether this process is the one that prints and writes files."""
    return jax.process_index() == 0
