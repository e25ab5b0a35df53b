"""Where compiled programs are kept between runs of the suite, and what is thrown away.

The folder lies outside of the clone, so that `.ci/run`, which tests a fresh one, finds what earlier runs compiled. All
workers share it. jax's key of an entry holds the program, the compiler's options and jaxlib's version: sources that
change need nothing here. It holds nothing of the processor, whose instructions the entries are made of, and so the
folder's name does.

jax writes an entry in one piece but not atomically. Whoever reads half of one gets a warning, which pyproject.toml
ignores, and compiles (an entry's checksum tells). Such an entry would stay for ever if a process was killed while it
wrote: `tidy` removes it.
"""

import hashlib
import os
import pathlib
import platform
import re
import sys
import time
import zlib

DAYS = 14
"""Entries that nobody read for so long are removed."""
BYTES = 4 * 2**30
"""The most bytes that are kept, of all versions together."""


def root(environment=os.environ):
    """The folder of all versions: $GENJAX_TEST_CACHE, or one below the user's folder of caches."""
    chosen = environment.get("GENJAX_TEST_CACHE")
    caches = environment.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(chosen) if chosen else pathlib.Path(caches) / "genjax" / "tests"


def machine(cpuinfo="/proc/cpuinfo"):
    """What tells this processor from others: its name and its instructions."""
    try:
        text = pathlib.Path(cpuinfo).read_text(encoding="utf-8")
    except OSError:
        text = platform.processor()
    told = re.findall(r"^(?:model name|flags|Features|CPU part)\s*: (.*)$", text, re.MULTILINE)
    return " ".join([platform.system(), platform.machine(), *sorted(set(told or [text]))])


def folder(*packages):
    """The folder of this Python, of these packages' versions, and of this machine."""
    python = f"py{sys.version_info[0]}.{sys.version_info[1]}"
    versions = [f"{package.__name__}{package.__version__}" for package in packages]
    return root() / "-".join([python, *versions, hashlib.sha256(machine().encode()).hexdigest()[:12]])


def is_whole(entry):
    """Whether an entry can be read; those that aren't of zlib are believed to be."""
    data = entry.read_bytes()
    if data and data[0] != 0x78:
        return True
    try:
        zlib.decompress(data)
    except zlib.error:
        return False
    return True


def tidy(since, path=None, days=DAYS, most=BYTES):
    """Removes old entries, the least recently used ones of too many, and broken ones among the new.

    Args:
        since: entries written after this time (of the epoch) are looked into.
        path: what to tidy; None: `root`.
        days: what was not read for so long goes.
        most: bytes that may stay.
    """
    found = []
    for entry in (path or root()).glob("*/*-cache"):
        try:
            stat = entry.stat()
            used = max(stat.st_atime, stat.st_mtime)
            if used < time.time() - days * 24 * 3600 or (stat.st_mtime >= since and not is_whole(entry)):
                entry.unlink()
            else:
                found.append((used, stat.st_size, entry))
        except OSError:  # another run removed it
            continue
    total = sum(size for _, size, _ in found)
    for _, size, entry in sorted(found):
        if total <= most:
            break
        entry.unlink(missing_ok=True)
        total -= size
