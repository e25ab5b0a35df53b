"""Disks without room, read-only ones, and outputs that take nothing."""

import contextlib
import errno
import os
import shutil
import subprocess

from tests.faults.signals import interrupted
from tests.faults.world import Kind, Wrong, check_message, check_words, last_line

_PAGE = 4096
_ROOM = 32 << 20
"""Bytes of a file system that is large enough for all."""


@contextlib.contextmanager
def tmpfs(folder, size=_ROOM, **options):
    """A file system of its own at `folder`, which is made; root can do that on Linux."""
    folder.mkdir()
    given = ",".join([f"size={size}", *(f"{name}={value}" for name, value in options.items())])
    subprocess.run(["mount", "-t", "tmpfs", "-o", given, "tmpfs", folder], check=True, capture_output=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def can_mount(folder):
    """Whether `tmpfs` works here."""
    try:
        with tmpfs(folder):
            return True
    except (OSError, subprocess.CalledProcessError):
        return False
    finally:
        folder.rmdir()


def fill(folder, leave):
    """Takes the room of a file system but for some bytes; returns the file that takes it."""
    ballast = folder / "ballast"
    with ballast.open("wb") as file:
        while True:
            found = os.statvfs(folder)
            size = found.f_bavail * found.f_frsize + os.fstat(file.fileno()).st_size - leave
            if size <= 0:
                return ballast
            try:
                os.posix_fallocate(file.fileno(), 0, size)
                return ballast
            except OSError as error:  # the training was quicker
                if error.errno != errno.ENOSPC:
                    raise


def need(folder):
    """Bytes that the files of a folder take on a tmpfs."""
    return sum(-(-path.stat().st_size // _PAGE) * _PAGE for path in folder.rglob("*") if path.is_file())


def on(world, folder):
    """The same world with its workdir on another file system."""
    return world._replace(folder=folder)


def _ended(world, child, *more):
    """Checks how a training on a full disk ended; says it."""
    child.wait()
    if child.code == 0:
        check_words(child.said)
        scored = (world.workdir / "metrics.json").exists()
        if not scored and "metrics.json is not written" not in child.said:
            raise Wrong(f"it ended without a score and without a word of it: {child.said}")
        return "code 0" + ("" if scored else ", no score")
    check_message(child.code, child.said, world.workdir, *more)
    return last_line(child.said)


def _full(world):
    with tmpfs(world.folder / "disk") as folder:
        small = on(world, folder)
        leave = int(world.draw.uniform(0.0, 0.9) * need(world.references.run(world.family)))
        ballast = fill(folder, leave)
        seen = _ended(small, small.train())
        ballast.unlink()
        small.go_on()
    return f"{leave:,} bytes free; {seen}"


def _filled(world):
    with tmpfs(world.folder / "disk") as folder:
        small = on(world, folder)
        leave = world.draw.choice([0, world.draw.randrange(64 << 10)])
        child, moment = interrupted(small, lambda child: fill(folder, leave))
        seen = _ended(small, child)
        (folder / "ballast").unlink()
        small.go_on()
    return f"{leave:,} bytes left {moment}; {seen}"


def _no_inodes(world):
    count = world.draw.randrange(3, 100)
    with tmpfs(world.folder / "disk", nr_inodes=count) as folder:
        small = on(world, folder)
        seen = _ended(small, small.train())
        subprocess.run(["mount", "-o", "remount,nr_inodes=10000", folder], check=True)
        small.go_on()
    return f"{count} files allowed; {seen}"


def _file_size(world):
    largest = max(
        path.stat().st_size for path in world.references.run(world.family).rglob("*") if path.is_file()
    )
    limit = int(world.draw.uniform(0.1, 1.0) * largest)
    child = world.train(file_size=limit, stdout=os.devnull)
    seen = _ended(world, child)
    world.go_on()
    return f"files of {limit:,} bytes allowed, {largest:,} needed; {seen}"


def _read_only(world):
    verb = world.draw.choice(["train", "evaluate", "sample", "report"])
    with tmpfs(world.folder / "disk") as folder:
        small = on(world, folder)
        if verb == "train":
            world.references.half(world.family, small.workdir)
        else:
            shutil.copytree(world.references.run(world.family), small.workdir)
        subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
        seen = _ended(small, small.train()) if verb == "train" else _verb(small, verb)
        subprocess.run(["mount", "-o", "remount,rw", folder], check=True)
        small.go_on()
    return f"{verb}; {seen}"


def _verb_full(world):
    """A command other than the training, where nothing can be written."""
    verb = world.draw.choice(["evaluate", "sample", "report"])
    with tmpfs(world.folder / "disk") as folder:
        small = on(world, folder)
        shutil.copytree(world.references.run(world.family), small.workdir)
        ballast = fill(folder, 0)
        seen = _verb(small, verb)
        ballast.unlink()
        small.ended_well(small.workdir)
    return f"{verb}; {seen}"


def _verb(world, verb):
    """Runs a command that has to write into the workdir; says how it ended."""
    out = world.workdir / ("out.png" if verb == "sample" else "out.html")
    arguments = {
        "evaluate": ["--workdir", world.workdir, "--num", "20"],
        "sample": ["--workdir", world.workdir, "--num", "4", "--out", out],
        "report": [world.workdir, "--out", out],
    }[verb]
    code, said = world.driver.run(verb, *arguments)
    if verb == "evaluate":
        check_words(said)
        if code or "metrics.json is not written" not in said:
            raise Wrong(f"code {code}, and metrics.json is not named: {said}")
    else:
        check_message(code, said, out)
        if out.exists():
            raise Wrong(f"{out.name} is there in part")
    return last_line(said)


def _full_tmp(world):
    """No room where temporary files and compiled programs go: the training needs neither."""
    with tmpfs(world.folder / "disk", size=1 << 20) as folder:
        fill(folder, world.draw.randrange(8 << 10))
        cache = folder / "cache"
        child = world.train(TMPDIR=folder, JAX_COMPILATION_CACHE_DIR=cache, XDG_STATE_HOME=folder).wait()
    if child.code:
        raise Wrong(f"code {child.code}: {child.said}")
    check_words(child.said)
    world.ended_well(world.workdir)
    return "code 0"


def _output(world, stdout, what):
    child = world.train(stdout=stdout).wait()
    check_message(child.code, child.said, "standard output")
    world.go_on()
    return f"{what}; {last_line(child.said)}"


def _full_output(world):
    return _output(world, "/dev/full", "/dev/full")


def _closed_output(world):
    return _output(world, "|", "nobody reads")


KINDS = [
    Kind("disk", "full from the start", _full, 5),
    Kind("disk", "filled during training", _filled, 6),
    Kind("disk", "no inodes", _no_inodes, 3),
    Kind("disk", "limit of file sizes", _file_size, 3),
    Kind("disk", "read-only", _read_only, 2),
    Kind("disk", "other commands on a full disk", _verb_full, 2),
    Kind("disk", "full /tmp and cache", _full_tmp, 1),
    Kind("disk", "full output", _full_output, 1),
    Kind("disk", "closed output", _closed_output, 1),
]
WITHOUT_MOUNT = {"limit of file sizes", "full output", "closed output"}
"""Kinds that are possible where file systems may not be mounted."""
