"""Runs what is missing of a study, some runs at a time, each command a process of its own."""

import collections
import contextlib
import fcntl
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import IO, Any

from experiments.study.plan import Run
from experiments.study.progress import Progress, duration, seconds_left
from experiments.study.slots import Slot
from experiments.study.store import Folder
from genjax.app import links, workdir
from genjax.typing import UserError

_TICK_SECONDS = 0.1
_LOOK_SECONDS = 2.0
"""How often the steps of the runs under way are looked up."""
_TAIL = 3000
"""Characters of the output that are kept of a failure."""


class Stopped(Exception):
    """A signal ended the study before its end; `args` has its number."""


@contextlib.contextmanager
def only_study(folder: Folder) -> Iterator[int]:
    """Makes sure that nobody else runs the study in this folder, a run that outlived an earlier one included.

    Yields:
        A file descriptor that holds the lock; the processes of runs inherit it.

    Raises:
        UserError: somebody does.
    """
    if folder.path.exists() and not folder.path.is_dir():
        raise UserError(f"workdir={str(folder.path)!r} is a file; it must be a folder, which may be missing")
    folder.path.mkdir(parents=True, exist_ok=True)
    links.check(folder.path, below=("runs", "failed"))
    with open(os.fspath(folder.path / ".lock"), "a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(
                f"workdir={str(folder.path)!r}: a study, or a run that is left of one, is at work there; wait for "
                "it, or end it"
            ) from error
        yield file.fileno()


class _Job:
    """A run under way in a slot: its commands, one after the other."""

    def __init__(self, run: Run, folder: Folder, slot: Slot, lock: int):
        self.run, self.slot, self.began = run, slot, time.monotonic()
        self._commands, self._lock, self._folder = folder.missing(run), lock, folder
        self._metrics = folder.workdir(run) / workdir.LINES
        self._log = folder.log(run)
        self.before = self.share = self._share()
        self.process = self._start()

    @property
    def seconds(self) -> float:
        """Since its start."""
        return time.monotonic() - self.began

    def _start(self) -> subprocess.Popen:
        _, *arguments = self._commands.pop(0)
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with open(os.fspath(self._log), "ab") as log, _without_interrupts():
            process = subprocess.Popen(
                [sys.executable, *arguments],
                env=self.slot.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[self._lock],
            )
        self.slot.pin(process.pid)
        return process

    def ended(self) -> int | None:
        """The exit code of the last command, or the first that failed; None while it goes on."""
        code = self.process.poll()
        # A training that was asked to leave ends well too, and is not to be scored.
        if code == 0 and self._commands and self._folder.is_trained(self.run):
            self.process, code = self._start(), None
        return code

    def look(self) -> None:
        """Finds out how much of the training is done."""
        self.share = self._share()
        # It goes on from a checkpoint, which may be of an earlier step.
        self.before = min(self.before, self.share)

    def _share(self) -> float:
        return min(1.0, _last_step(self._metrics) / self.run.config.fit.steps)


class Runner:
    """The mutable side of a study at work.

    Args:
        folder: folder of the study.
        runs: all of them.
        slots: one for each job.
        retry_failed: whether runs that failed before are started again.
    """

    def __init__(self, folder: Folder, runs: Sequence[Run], slots: Sequence[Slot], retry_failed: bool):
        self.folder, self.total, self.jobs = folder, len(runs), len(slots)
        for run in runs:
            # Somebody may have ended by hand what had failed.
            if retry_failed or not folder.missing(run):
                folder.failure(run).unlink(missing_ok=True)
        self.failed = [run for run in runs if folder.failure(run).exists()]
        self.waiting = collections.deque(
            run for run in runs if folder.missing(run) and run not in self.failed
        )
        self.free = list(slots)
        self.under_way: list[_Job] = []
        self.seconds: dict[str, list[float]] = {}
        self.done = self.total - len(self.waiting) - len(self.failed)
        self.looked = 0.0

    def run(self, lock: int) -> None:
        """Runs all that waits.

        Args:
            lock: see `only_study`.

        Raises:
            Stopped: by SIGINT or SIGTERM; the runs under way have saved what they had.
        """
        with contextlib.closing(Progress(self.total, self.done)) as self.progress, _noticed() as signals:
            for run in self.failed:
                self.progress.say(
                    f"{run.name} failed before: {self.folder.failure(run)}; --retry-failed tries again"
                )
            try:
                while self.waiting or self.under_way:
                    if signals:
                        self._stop(signals)
                        raise Stopped(signals[0])
                    self._fill(lock)
                    time.sleep(_TICK_SECONDS)
                    ended = [(job, code) for job in self.under_way if (code := job.ended()) is not None]
                    # A signal to the whole group, as of SLURM, ends the runs as well: they have not failed.
                    if not signals:
                        self._collect(ended)
            finally:
                for job in self.under_way:
                    job.process.kill()

    def _fill(self, lock: int) -> None:
        while self.waiting and self.free:
            job = _Job(self.waiting.popleft(), self.folder, self.free.pop(0), lock)
            self.under_way.append(job)
            self.progress.say(f"{job.run.name} starts, {job.run.config.fit.steps} steps{self._left()}")

    def _collect(self, ended: Sequence[tuple[_Job, int]]) -> None:
        for job, code in ended:
            self.under_way.remove(job)
            self.free.append(job.slot)
            self._finish(job, code)
        if time.monotonic() - self.looked > _LOOK_SECONDS:
            self.looked = time.monotonic()
            for job in self.under_way:
                job.look()
            self.progress.show(self.done + sum(job.share for job in self.under_way), self._seconds_left())

    def _finish(self, job: _Job, code: int) -> None:
        run = job.run
        if code == 0 and not self.folder.missing(run):
            self.done += 1
            if not job.before:
                self.seconds.setdefault(run.preset, []).append(job.seconds)
            self.progress.say(
                f"{run.name} is done after {duration(job.seconds)}: {self.done} of {self.total}{self._left()}"
            )
            return
        self.failed.append(run)
        path = self.folder.failure(run)
        path.parent.mkdir(exist_ok=True)
        tail = _tail(self.folder.log(run))
        workdir.write_json(
            path,
            {"exit_code": code, "tail": tail, "command": shlex.join(job.process.args)},  # type: ignore[arg-type]
        )
        last = (tail.strip().splitlines() or ["it said nothing"])[-1]
        self.progress.say(f"{run.name} failed with exit code {code}: {last} ({path})")

    def _stop(self, signals: Sequence[int]) -> None:
        """Asks all runs to save and leave, and waits for them, or for a second signal."""
        self.progress.say("stopping: the runs under way save what they have")
        for job in self.under_way:
            job.process.terminate()
        while len(signals) == 1 and any(job.process.poll() is None for job in self.under_way):
            time.sleep(_TICK_SECONDS)

    def _seconds_left(self) -> float | None:
        running: dict[str, list[tuple[float, float, float]]] = {}
        for job in self.under_way:
            running.setdefault(job.run.preset, []).append((job.seconds, job.before, job.share))
        return seconds_left([run.preset for run in self.waiting], running, self.seconds, self.jobs)

    def _left(self) -> str:
        left = self._seconds_left()
        return "" if left is None else f"; about {duration(left)} left"


@contextlib.contextmanager
def _without_interrupts() -> Iterator[None]:
    """What is started in here never gets SIGINT: Ctrl-C reaches all processes of a terminal, and is for the study,
    which asks its runs to save. They stay in its process group, so that what kills the group kills them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _noticed() -> Iterator[list[int]]:
    """The SIGINT and SIGTERM that have come, in order; they interrupt nothing, least of all the start of a run."""
    signals: list[int] = []

    def notice(number: int, frame: FrameType | None) -> None:
        signals.append(number)

    before: dict[int, Any] = {
        number: signal.signal(number, notice) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _last_step(path: Any) -> int:
    """Of the last whole line of ``metrics.jsonl``; 0 before there is one."""
    try:
        lines = _tail(path).splitlines()
    except OSError:
        return 0
    for line in reversed(lines):
        with contextlib.suppress(ValueError, KeyError, TypeError):
            return int(json.loads(line)["step"])
    return 0


def _tail(path: Any) -> str:
    file: IO[bytes]
    with open(os.fspath(path), "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _TAIL))
        return file.read().decode(errors="replace")
