"""What a fault has to work with, and what has to hold after each."""

import hashlib
import random
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from tests.faults import families


class Wrong(Exception):
    """Something that must hold after a fault does not."""


class Kind(NamedTuple):
    """A kind of fault.

    Attributes:
        theme: name of the group of kinds.
        name: of the kind.
        inject: does it, and checks what came of it; returns what was seen, raises `Wrong`.
        share: how many of the faults are of this kind, relative to the others.
    """

    theme: str
    name: str
    inject: Callable[["World"], str]
    share: int


class World(NamedTuple):
    """What a fault has to work with.

    Attributes:
        family: of the models.
        draw: what is random about the fault.
        folder: of this fault alone.
        server, driver, references: see there.
    """

    family: str
    draw: random.Random
    folder: Any
    server: Any
    driver: Any
    references: Any

    @property
    def workdir(self):
        return self.folder / "run"

    def train(self, *more, workdir=None, **options):
        """Starts the training of the family."""
        arguments = families.arguments(self.family, workdir or self.workdir, *more)
        return self.server.start("experiments.train", *arguments, **options)

    def go_on(self, *more, workdir=None):
        """The same command ends where the run without a fault ends. Returns what it printed."""
        workdir = workdir or self.workdir
        before = self.seals(workdir)
        child = self.train(*more, workdir=workdir).wait()
        if child.code != 0:
            raise Wrong(f"going on ended with code {child.code}: {child.said}")
        self.ended_well(workdir, *more)
        after = self.seals(workdir)
        rewritten = [step for step in before if before[step] != after.get(step, before[step])]
        if rewritten:
            raise Wrong(f"the checkpoints of steps {rewritten} were written again, and were there")
        return child.said

    def ended_well(self, workdir, *more, locked=False):
        """Raises `Wrong` unless a finished run is the one without a fault, bit for bit; `locked`: or still locked."""
        differences = self.references.differences(self.driver, workdir, self.family, *more)
        if not locked and (workdir / "lock.json").exists():
            differences.append("the lock is still there")
        if differences:
            raise Wrong("; ".join(differences))

    def seals(self, workdir):
        """What tells whether a finished checkpoint was written again: step -> content and time of its seal."""
        paths = {
            step: workdir / "checkpoints" / f"{step:08d}" / "SHA256SUMS" for step in families.sealed(workdir)
        }
        return {step: (path.read_bytes(), path.stat().st_mtime_ns) for step, path in paths.items()}


def check_message(code, said, *names):
    """Raises `Wrong` unless a command that failed says so in words that hold one of the names.

    Args:
        code: its exit code.
        said: what it printed.
        *names: of files or folders.
    """
    check_words(said)
    if code not in (1, 2):
        raise Wrong(f"exit code {code} where 1 or 2 is due: {said}")
    messages = said.rpartition("error: ")[2] if "error: " in said else ""
    if not any(str(name) in messages for name in names):
        raise Wrong(f"no error that names one of {', '.join(map(str, names))}: {said}")


def check_words(said):
    """Raises `Wrong` for a traceback."""
    if "Traceback" in said or "Exception ignored" in said:
        raise Wrong(f"a traceback: {said}")


def last_line(said):
    """The last message of what a command printed."""
    lines = [line for line in said.splitlines() if re.match(r"(error|WARNING|interrupted)", line)]
    return (lines or said.splitlines() or [""])[-1]


def content(folder):
    """Digest of each file below a folder, by its path; links are not followed."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink())
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files
    }
