"""A process that runs commands, one after another, as the harness sends them."""

import contextlib
import ctypes
import functools
import hashlib
import importlib
import os
import sys
import tempfile
import traceback
from multiprocessing.connection import Listener

from experiments import cli
from genjax.app import lock

PATIENCE = 1.0
"""Seconds for which the lock of another machine must stay unchanged here; users wait longer."""
_RENEWED_EVERY = 0.2
# Of linux/capability.h: version 3, and CAP_DAC_OVERRIDE with CAP_DAC_READ_SEARCH in the effective set.
_CAPABILITIES_VERSION, _OVERRIDE_MODES = 0x20080522, 0b110


def main():
    """Runs what comes through the socket that it opens at the path of the command line, until that is closed."""
    cli._end_at_interrupt, cli._let_go = (
        lambda: None,
        lambda code: None,
    )  # this process goes on after a command
    lock.held = functools.partial(lock.held, renewed_every=_RENEWED_EVERY, patience=PATIENCE)
    with Listener(sys.argv[1]) as listener, listener.accept() as connection, contextlib.suppress(EOFError):
        while True:
            verb, arguments = connection.recv()
            connection.send(_digest(*arguments) if verb == "digest" else _run(verb, arguments))


def _run(verb, arguments):
    """Exit code and output of a command."""
    kept = [os.dup(number) for number in (1, 2)]
    with tempfile.TemporaryFile() as output:
        for number in (1, 2):  # the descriptors: handlers of logs keep the stream that they were made with
            os.dup2(output.fileno(), number)
        try:
            with without_privileges():
                code = _called(verb, arguments)
        finally:
            for number, before in zip((1, 2), kept, strict=True):
                os.dup2(before, number)
                os.close(before)
        output.seek(0)
        return code, output.read().decode(errors="replace")


def _called(verb, arguments):
    name = f"experiments.{verb}" + (".__main__" if verb == "report" else "")
    sys.argv = [name, *arguments]
    try:
        cli.run(importlib.import_module(name).main)
    except SystemExit as end:
        code = end.code or 0
    except BaseException:
        traceback.print_exc()
        code = 1
    else:
        code = 0
    sys.stdout.flush()
    sys.stderr.flush()
    return code


@contextlib.contextmanager
def without_privileges():
    """Context in which modes of files hold for root, too, in this thread and in those that it starts."""
    libc = ctypes.CDLL(None)
    header = (ctypes.c_uint32 * 2)(_CAPABILITIES_VERSION, 0)
    before, less = (ctypes.c_uint32 * 6)(), (ctypes.c_uint32 * 6)()
    libc.capget(header, before)
    less[:] = before[:]
    less[0] &= ~_OVERRIDE_MODES
    libc.capset(header, less)
    try:
        yield
    finally:
        libc.capset(header, before)


def _digest(workdir):
    """Digest of all arrays of the newest usable checkpoint of a run, and its step."""
    from genjax.train.checkpoint import Checkpointer

    with Checkpointer(os.path.join(workdir, "checkpoints"), read_only=True) as checkpoints:
        leaves, step = checkpoints.leaves(("",))
    digest = hashlib.sha256()
    for name in sorted(leaves):
        digest.update(f"{name} {leaves[name].dtype}{leaves[name].shape}".encode())
        digest.update(leaves[name].tobytes())
    return digest.hexdigest(), step


if __name__ == "__main__":
    main()
