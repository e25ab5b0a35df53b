"""What the commands share: presets by name, how errors end a command, caches, several processes."""

import contextlib
import difflib
import errno
import functools
import gc
import logging
import os
import pathlib
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax

from experiments import allocator
from genjax.app.config import Launch
from genjax.app.terminal import printable
from genjax.train.program import RecompileError
from genjax.typing import NonFiniteError, UserError

_ENVIRONMENT = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ESTALE),
    *(errno.EACCES, errno.EPERM, errno.EROFS),
    *(errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP),
}
"""What an operating system says that is no bug of ours: no room, no permission, a folder for a file."""


def run(main: Callable[[], None], *, when_interrupted: str = "") -> None:
    """Runs a command: a mistake of the user ends it with a message and exit code 2, a failed run with code 1.

    Args:
        main: the command.
        when_interrupted: what to add to the message after Ctrl-C, if the KeyboardInterrupt itself says nothing.
    """
    try:
        _quiet_libraries()
        _enable_compilation_cache()
        allocator.keep_freed_memory()
        main()
        sys.stdout.flush()
        return
    except UserError as error:
        code = _say(error, 2)
    except (NonFiniteError, RecompileError) as error:
        code = _say(error, 1)
    except OSError as error:
        if _output_is_lost(error):
            error = OSError(f"standard output cannot be written: {error.strerror}")
        elif error.errno not in _ENVIRONMENT:
            raise
        code = _say(error, 1)
    except KeyboardInterrupt as interrupt:
        more = str(interrupt) or when_interrupted
        print(f"\ninterrupted{more and ': '}{more}", file=sys.stderr)
        code = 128 + signal.SIGINT  # as a shell says of a command that a signal ended
    finally:
        _end_at_interrupt()
    _let_go(code)
    sys.exit(code)


def _let_go(code: int) -> None:
    """Ends what Orbax had begun when it failed.

    At its own end the interpreter, half gone, would complain of it. And it would wait for threads that wait, for
    minutes, for files that could not be written: where there are any, the process ends here.
    """
    gc.collect()
    threads = (thread for thread in threading.enumerate() if not thread.daemon)
    if any(type(thread).__module__.startswith("orbax.") for thread in threads):
        with contextlib.suppress(OSError):
            sys.stdout.flush()
        os._exit(code)


def _end_at_interrupt() -> None:
    """One more Ctrl-C ends a command that is over at once: what its libraries do at their end has no word for it."""
    is_main = threading.current_thread() is threading.main_thread()
    if is_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def _output_is_lost(error: OSError) -> bool:
    """Whether standard output caused an error: its disk is full, or its reader has gone, as after ``| head -1``.

    The error does not say so. An empty line does: where it cannot be written, nothing could. What is left goes nowhere
    then, or the interpreter would complain of it once more at its end.
    """
    output = sys.__stdout__
    if error.filename is not None or output is None or output is not sys.stdout:
        return False
    try:
        output.flush()
        os.write(output.fileno(), b"\n")
        return False
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), output.fileno())
        output.flush()
        return True


def _say(error: Exception, code: int) -> int:
    print(printable(f"error: {error}"), file=sys.stderr)
    return code


class _Printable(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


def _quiet_libraries() -> None:
    """Warnings are shown, each on a line.

    Warnings of Orbax are not: it logs a traceback for each array it could not write, through absl and asyncio, and
    prints one for each that it was still writing by then; the error itself reaches `genjax.train.checkpoint`, which
    raises it once and in words.
    """
    import absl.logging

    shown = logging.StreamHandler()
    shown.setFormatter(_Printable("%(levelname)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[shown])
    absl.logging.set_verbosity(absl.logging.FATAL)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    sys.unraisablehook = functools.partial(_say_unraisable, sys.unraisablehook)


def _say_unraisable(say: Callable[[Any], object], unraisable: Any) -> None:
    """Says an error that nobody can catch, but of writes that end after Orbax has given up waiting for them."""
    error = unraisable.exc_value
    if not (isinstance(error, RuntimeError) and str(error) == "Event loop is closed"):
        say(unraisable)


def _enable_compilation_cache() -> None:
    """Keeps compiled programs on disk, small ones too: in JAX_COMPILATION_CACHE_DIR; "" switches it off."""
    if jax.config.jax_compilation_cache_dir is None:  # neither the variable nor the caller says where
        default = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "genjax" / "xla"
        jax.config.update("jax_compilation_cache_dir", str(default))
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)


def choose(presets: Mapping[str, str], arguments: Sequence[str], prog: str) -> tuple[str, list[str]]:
    """Takes the name of a preset from the front of a command line.

    Args:
        presets: what each is about, by name.
        arguments: the command line without the program.
        prog: the program, for messages.

    Returns:
        The name, and the arguments after it.

    Raises:
        UserError: there is no such preset, or none is named first.
        SystemExit: after the list of presets was printed: with code 0 for --help, 2 without arguments.
    """
    width = max(map(len, presets))
    usage = (
        f"usage: {prog} PRESET [OPTIONS]\n\npresets:\n"
        + "".join(f"  {name:<{width}}  {about}\n" for name, about in presets.items())
        + f"\n{prog} PRESET --help lists the options, which are all fields of the preset."
    )
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage, file=sys.stdout if arguments else sys.stderr)
        sys.exit(0 if arguments else 2)
    name, *rest = arguments
    if name in presets:
        return name, rest
    if name.startswith("-"):
        raise UserError(f"the name of a preset must come before {name!r}\n{usage}")
    near = difflib.get_close_matches(name, presets, n=1)
    hint = f"; perhaps you meant {near[0]!r}" if near else ""
    raise UserError(f"no preset is called {name!r}{hint}. Presets: {', '.join(presets)}")


def check_seed(seed: int) -> None:
    """Raises UserError for a seed that is no unsigned 32-bit integer."""
    if not 0 <= seed < 2**32:
        raise UserError(f"seed={seed}: valid are 0..{2**32 - 1}")


def join_processes(launch: Launch) -> None:
    """Becomes one of several processes, if asked to; before anything touches a device.

    Raises:
        UserError: only some of coordinator, num_processes and process_id are given, or the other processes do
            not answer.
    """
    given = {name: getattr(launch, name) for name in ("coordinator", "num_processes", "process_id")}
    missing = [name for name, value in given.items() if value is None]
    if not launch.distributed:
        if len(missing) < 3:
            raise UserError(f"{sorted(set(given) - set(missing))} need --distributed")
        return
    if 0 < len(missing) < 3:
        raise UserError(
            f"distributed: {missing} missing; give all of {sorted(given)}, or none to find them out"
        )
    try:
        jax.distributed.initialize(launch.coordinator, launch.num_processes, launch.process_id)
    except (ValueError, RuntimeError) as error:
        raise UserError(f"distributed: the processes did not find each other: {error}") from error


def is_first_process() -> bool:
    """Whether this process is the one that prints and writes files."""
    return jax.process_index() == 0
