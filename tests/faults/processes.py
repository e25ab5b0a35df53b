"""Processes of the commands under test, each with a watchdog: whatever does not end in time has hung."""

import contextlib
import ctypes
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
from multiprocessing.connection import Client

ROOT = pathlib.Path(__file__).parents[2]
_SUBREAPER = 36
"""PR_SET_CHILD_SUBREAPER of linux/prctl.h: orphans among the descendants become children of this process."""
_POLL_SECONDS = 0.001


class Hung(Exception):
    """A process did not end in time; the text holds the stacks of its threads."""


class Server:
    """Starts processes; use it as a context manager, which ends those that are left.

    Args:
        folder: for logs.
        environment: variables of all processes.
        patience: seconds after which a process has hung.
    """

    def __init__(self, folder, environment, patience=120.0):
        self.folder, self.patience = folder, patience
        self._environment, self._lock = environment, threading.Lock()
        self._count, self._left = 0, set()

    def __enter__(self):
        ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.server"],
            cwd=ROOT,
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        if self._process.stdout.readline() != "ready\n":
            raise RuntimeError("the server of processes did not start")
        return self

    def __exit__(self, *_):
        self.end()
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def end(self):
        """Ends the processes that are left."""
        for child in list(self._left):
            child.end()

    def start(self, module, *arguments, stdout=None, file_size=None, fresh=False, **environment):
        """Starts ``python -m MODULE ARGUMENTS``.

        Args:
            module: such as "experiments.train".
            *arguments: texts or paths.
            stdout: file of standard output, "|" for a pipe that nobody reads; None: the log.
            file_size: the most bytes that a file may have; None: any.
            fresh: whether it imports everything itself, as a command of a user does.
            **environment: variables for this process alone.
        """
        with self._lock:
            self._count += 1
            log = self.folder / f"{self._count:04d}.log"
            request = {
                "module": module,
                "arguments": [os.fspath(argument) for argument in arguments],
                "log": str(log),
                "stdout": stdout,
                "file_size": file_size,
                "fresh": fresh,
                "environment": {name: str(value) for name, value in environment.items()},
            }
            self._process.stdin.write(json.dumps(request) + "\n")
            child = Child(int(self._process.stdout.readline()), log, self)
            self._left.add(child)
        return child

    def forget(self, child):
        """Of a process that has ended."""
        self._left.discard(child)


class Child:
    """A running command.

    Attributes:
        pid: number of the process.
        code: as a shell gives it less the signals: exit code, or minus the number of the signal; None: it runs.
        began: when it was started, by `time.monotonic`.
    """

    def __init__(self, pid, log, server):
        self.pid, self.code, self.began = pid, None, time.monotonic()
        self._log, self._server = log, server

    @property
    def said(self):
        """What it printed so far."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    @property
    def seconds(self):
        """Since it was started."""
        return time.monotonic() - self.began

    def ended(self):
        """Whether it has ended; reaps it."""
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
                self._server.forget(self)
        return self.code is not None

    def is_zombie(self):
        """Whether it has ended and nobody has asked how."""
        stat = pathlib.Path(f"/proc/{self.pid}/stat")
        return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z"

    def signal(self, number):
        """Sends a signal, unless it has ended."""
        if not self.ended():
            os.kill(self.pid, number)

    def until(self, condition):
        """Waits for ``condition()``. False: the process ended before. Raises Hung."""
        deadline = self.began + self._server.patience
        while not condition():
            if self.ended():
                return False
            if time.monotonic() > deadline:
                raise Hung(self._stacks())
            time.sleep(_POLL_SECONDS)
        return True

    def sleep(self, seconds):
        """Waits a while; False: the process ended meanwhile."""
        deadline = time.monotonic() + seconds
        return self.until(lambda: time.monotonic() > deadline) and not self.ended()

    def wait(self):
        """Waits for the end and returns the process. Raises Hung."""
        self.until(lambda: False)
        return self

    def end(self):
        """Kills it."""
        if not self.ended():
            os.kill(self.pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self.pid, 0)
            self.code = -signal.SIGKILL
            self._server.forget(self)

    def _stacks(self):
        os.kill(self.pid, signal.SIGCONT)
        os.kill(self.pid, signal.SIGUSR1)  # faulthandler prints them
        time.sleep(1.0)
        said = self.said
        self.end()
        return f"no end after {self._server.patience:.0f} s:\n{said[-6000:]}"


class Driver:
    """Runs one command after another in one process, for damages that need no process of their own."""

    def __init__(self, server):
        self._server, self._child, self._connection = server, None, None

    def run(self, verb, *arguments):
        """``python -m experiments.VERB ARGUMENTS``: ``(exit code, what it printed)``. Raises Hung.

        "digest" with a workdir gives the digest of the arrays of the newest usable checkpoint, and its step.
        """
        if self._child is None or self._child.ended():
            self._start()
        self._child.began = time.monotonic()
        self._connection.send((verb, [os.fspath(argument) for argument in arguments]))
        if not self._child.until(self._connection.poll):
            said, self._child = self._child.said, None
            raise RuntimeError(f"{verb} ended the whole process: {said[-3000:]}")
        return self._connection.recv()

    def close(self):
        if self._child is not None:
            self._child.end()

    def _start(self):
        address = self._server.folder / f"driver-{id(self)}.socket"
        address.unlink(missing_ok=True)
        self._child = self._server.start("tests.faults.driver", address)
        if not self._child.until(lambda: self._connect(address)):
            raise RuntimeError(f"the driver did not start: {self._child.said}")

    def _connect(self, address):
        try:
            self._connection = Client(str(address))
        except OSError:
            return False
        return True
