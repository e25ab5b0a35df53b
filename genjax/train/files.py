"""Files that are whole or not there: how a run writes and reads its small files."""

import codecs
import contextlib
import errno
import hashlib
import json
import math
import os
import pathlib
import stat
import uuid
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO, TypeAlias

from etils import epath

from genjax.typing import NonFiniteError, UserError

TEMPORARY = ".tmp"
"""End of the names of files that are being written; a kill may leave them."""
_Path: TypeAlias = epath.Path | pathlib.Path


_LITTER = frozenset({".DS_Store", "Thumbs.db", "desktop.ini", "@eaDir"})
_LITTER_STARTS = ("._", ".nfs", ".fuse_hidden")


def is_litter(name: str) -> bool:
    """Whether a file of this name is one that file managers and network file systems leave in any folder."""
    return name in _LITTER or name.startswith(_LITTER_STARTS)


def write_bytes(path: _Path, content: bytes) -> None:
    """Writes a file so that a kill or a full disk leaves the old one or the new one, and two writers one of theirs.

    Raises:
        OSError: it cannot be written; the error names the file.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "a folder is in the place of this file", os.fspath(path))
    # A name that nobody can have guessed: another writer's file, or a link in a folder that somebody sent, is not met.
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex[:12]}{TEMPORARY}")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        # A full disk names no file, and a read-only one the temporary file.
        raise OSError(error.errno, error.strerror or str(error), os.fspath(path)) from error


@contextlib.contextmanager
def naming(path: _Path | str) -> Iterator[None]:
    """Context in which an OSError without the name of a file, as of a full disk, gets this one."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = os.fspath(path)
        raise


def write_json(path: _Path, value: Any) -> None:
    """Writes a JSON file, as `write_bytes` does.

    Raises:
        NonFiniteError: `value` has a number in it that is not finite, which JSON has no text for.
        OSError: as `write_bytes`.
    """
    check_finite(value, f"{path.name} is not written")
    write_bytes(path, (json.dumps(value, indent=2, allow_nan=False) + "\n").encode())


def check_finite(value: Any, what: str) -> None:
    """Raises NonFiniteError, which begins with `what`, for numbers in lists and mappings that are not finite."""
    bad = [f"{name} is {number}" for name, number in _numbers(value, "") if not math.isfinite(number)]
    if bad:
        raise NonFiniteError(f"{what}: {', '.join(bad[:5])}{', ...' if len(bad) > 5 else ''}")


def _numbers(value: Any, name: str) -> list[tuple[str, float]]:
    if isinstance(value, float):
        return [(name or "the value", value)]
    if isinstance(value, Mapping):
        parts = [(f"{name}.{key}" if name else str(key), part) for key, part in value.items()]
    elif isinstance(value, list | tuple):
        parts = [(f"{name}[{i}]", part) for i, part in enumerate(value)]
    else:
        return []
    return [number for key, part in parts for number in _numbers(part, key)]


def append_line(file: BinaryIO, line: bytes) -> None:
    """Appends a line, with its end, to a file that is open without a buffer: all of it, or nothing.

    Raises:
        OSError: it cannot be written; what a full disk took of it is taken back.
    """
    start, rest = os.fstat(file.fileno()).st_size, memoryview(line + b"\n")
    try:
        with naming(file.name):
            while rest:
                rest = rest[file.write(rest) or 0 :]
    except OSError:
        file.truncate(start)
        raise


def with_digest(name: str, length: int, digits: int, of: str) -> str:
    """A name cut to `length` bytes, and the first `digits` of a text's SHA-256: other texts have other names."""
    kept = name.encode()[:length].decode(errors="ignore")
    return f"{kept}-{hashlib.sha256(of.encode()).hexdigest()[:digits]}"


def whole_lines(content: bytes) -> list[tuple[int, bytes]]:
    """Lines with their numbers and ends, but blank ones and a last one that a kill left half-written."""
    lines = content.removeprefix(codecs.BOM_UTF8).splitlines(keepends=True)
    return [(number, line) for number, line in enumerate(lines, 1) if line.endswith(b"\n") and line.strip()]


def logged(path: _Path, number: int, line: bytes) -> dict[str, Any]:
    """The object in a line of ``metrics.jsonl``.

    Raises:
        UserError: it is not a JSON object with a "step", a whole number.
    """
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or type(found.get("step")) is not int:
        shown = line if len(line) < 200 else line[:200] + b" ..."
        raise UserError(
            f"{path}, line {number}: not a JSON object with a step: {shown!r}; a run goes on without the line"
        )
    return found


def read_bytes(path: _Path) -> bytes:
    """The content of a file.

    Raises:
        UserError: it cannot be read, or is no file: a folder, or a pipe, which would be waited for.
    """
    try:
        check_is_file(path)
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error


def check_is_file(path: _Path) -> None:
    """Raises UserError for a folder, a pipe or a device in the place of a file; a missing one is OSError."""
    if path.is_dir():
        raise UserError(f"{path} cannot be read: it is a folder, and a file is expected")
    if "://" not in os.fspath(path) and not stat.S_ISREG(os.stat(os.fspath(path)).st_mode):
        raise UserError(f"{path} cannot be read: it is a pipe or a device, and a file is expected")


def read_json(path: _Path, default: Any) -> Any:
    """The object, or the list of objects, in a JSON file; `default`, one of the same type, where there is no such file.

    Raises:
        UserError: the file holds none.
    """
    if not path.exists():
        return default
    content = read_bytes(path)
    try:
        value = json.loads(content.decode("utf-8-sig"))  # editors put a byte-order mark before it
    except (ValueError, RecursionError) as error:  # of the text or of its encoding
        raise UserError(f"{path} cannot be read: {error}") from error
    fine = isinstance(value, type(default))
    if not fine or (isinstance(value, list) and not all(isinstance(one, dict) for one in value)):
        kind = "object" if isinstance(default, dict) else "list of objects"
        raise UserError(f"{path} cannot be read: it holds no JSON {kind}")
    return value
