"""One process at a time writes into the folder of a run: a lock that says who, and that is taken over from the dead.

The lock is a file made in one piece, by a hard link, which NFS keeps to, too. Object stores have no such thing: there
the file is written, and read again after a moment. Its content says who holds it and changes every few
seconds. So nobody's clock matters: a lock of another machine whose content stays the same was left by a process that
is no more. Of a process of the same machine that is known at once.
"""

import contextlib
import errno
import hashlib
import json
import os
import pathlib
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import jax
from etils import epath

from genjax.app.terminal import printable
from genjax.train import files
from genjax.typing import UserError

LOCK = "lock.json"
RENEWED_EVERY = 10.0
"""Seconds between two renewals."""
PATIENCE = 45.0
"""Seconds for which a lock of another machine must stay unchanged before it is taken over."""
_OBJECT_STORE_SECONDS = 2.0
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
"""What file systems without hard links say."""


@contextlib.contextmanager
def held(
    folder: epath.Path,
    *,
    say: Callable[[str], None] = print,
    renewed_every: float = RENEWED_EVERY,
    patience: float = PATIENCE,
) -> Iterator[None]:
    """Context in which this process alone may write into `folder`, which is made where it is missing.

    Of several processes of a run the first one holds the lock for all.

    Args:
        folder: the folder of a run or of a study.
        say: gets a line where a lock that somebody left is waited for or taken over.
        renewed_every: seconds between two renewals of the lock.
        patience: seconds for which a lock of another machine must stay unchanged before it is taken over.

    Raises:
        UserError: another process holds the lock: the message says which.
        OSError: the lock cannot be written.
    """
    if jax.process_index() != 0:
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / LOCK
    mine = {**_me(), "token": uuid.uuid4().hex, "renewals": 0}
    while not (_make(path, mine) or _take_over(path, mine, say, patience)):
        time.sleep(0.02)
    ended = threading.Event()
    renewal = threading.Thread(target=_renew, args=(path, mine, ended, renewed_every), daemon=True)
    renewal.start()
    try:
        yield
    finally:
        ended.set()
        renewal.join()
        if (_read(path) or {}).get("token") == mine["token"]:
            path.unlink(missing_ok=True)


def holder(folder: epath.Path) -> str | None:
    """Who writes into `folder`, as "process 7 on host"; None: nobody. Whether a process of another machine lives cannot
    be known at once: it is named."""
    found = _read(folder / LOCK)
    if not found or _is_alive(found) is False:
        return None
    return f"process {found.get('pid')} on {found.get('host')}"


def _me() -> dict[str, Any]:
    """Which process of which machine this is: numbers of processes count within a container, until the next start."""
    return {
        "host": socket.gethostname(),
        "machine": f"{_text('/proc/sys/kernel/random/boot_id')} {_link('/proc/self/ns/pid')}".strip(),
        "pid": os.getpid(),
        "process_start": _process_start(os.getpid()),
        "since": time.strftime("%Y-%m-%d %H:%M:%S"),
    }


def _make(path: epath.Path, mine: dict[str, Any]) -> bool:
    """Whether there was no lock, and ours is there now: whole from the first moment."""
    if not _is_local(path):
        return not path.exists() and _overwritten(path, mine)
    new = _written_beside(path, mine)
    try:
        os.link(new, path)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        try:
            with open(os.fspath(path), "x", encoding="utf-8") as file:
                file.write(json.dumps(mine))
        except FileExistsError:
            return False
    finally:
        new.unlink()
    return True


def _take_over(path: epath.Path, mine: dict[str, Any], say: Callable[[str], None], patience: float) -> bool:
    """Whether ours is in the place of a lock that somebody dead has left. Raises UserError if its holder lives.

    Only whoever makes the heir's file of a dead lock may replace it, and looks at the lock once more before: a heir who
    was quicker has replaced it before the heir's file went.
    """
    found = _read(path)
    if found is None and not _exists(path):
        return False
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "a folder is in the place of the lock", os.fspath(path))
    holder = found or {}
    who = (
        printable(f"process {holder.get('pid')} on {holder.get('host')}, since {holder.get('since')}")
        if found
        else f"an unknown process ({path.name} is damaged)"
    )
    alive = _is_alive(holder)
    if alive is None:
        say(f"{path.parent} is locked by {who}: waiting {patience:.0f} s for a sign of life")
        alive = _changes(path, found, patience)
    if alive:
        raise UserError(
            f"workdir={str(path.parent)!r} is being written by {who}; wait for it to end, or choose another folder"
        )
    if _is_local(path):
        # Of its content: what stands in a lock that somebody sent is no name of a file.
        heir = path.with_name(f"{path.name}.{hashlib.sha256(repr(found).encode()).hexdigest()[:32]}.tmp")
        if not _make_heir(heir, patience):
            return False
        try:
            if _read(path) != found or not _exists(path):
                return False
            _replace(path, mine)
        finally:
            heir.unlink()
    elif not _overwritten(path, mine):
        return False
    say(f"{path.parent}: taking over the lock of {who}, which is gone")
    return True


def _make_heir(heir: epath.Path, patience: float) -> bool:
    """Whether the file was not there; one that a killed process has left goes after a while."""
    with contextlib.suppress(FileNotFoundError):
        if time.time() - os.stat(os.fspath(heir)).st_mtime > 60 + patience:
            heir.unlink()
    try:
        os.close(os.open(os.fspath(heir), os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


def _written_beside(path: epath.Path, content: dict[str, Any]) -> epath.Path:
    """A file of this process alone with the content of a lock."""
    beside = path.with_name(f"{path.name}.{content['token']}.tmp")
    try:
        beside.write_text(json.dumps(content))
    except OSError as error:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror or str(error), os.fspath(path)) from error
    return beside


def _replace(path: epath.Path, content: dict[str, Any]) -> None:
    """Puts a lock into the place of another one."""
    beside = _written_beside(path, content)
    try:
        beside.replace(path)
    except OSError:
        beside.unlink(missing_ok=True)
        raise


def _overwritten(path: epath.Path, mine: dict[str, Any]) -> bool:
    """Writes to an object store, and looks who has written last after a moment."""
    path.write_text(json.dumps(mine))
    time.sleep(_OBJECT_STORE_SECONDS)
    return (_read(path) or {}).get("token") == mine["token"]


def _is_alive(holder: dict[str, Any]) -> bool | None:
    """Whether the process that a lock names lives; None: it cannot be known from here."""
    me = _me()
    if (holder.get("host"), holder.get("machine")) != (me["host"], me["machine"]):
        return None
    pid = holder.get("pid")
    if not isinstance(pid, int) or pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # somebody else's process
        pass
    # Killed, and nobody has asked how it ended, as in containers: it has a number and writes no more.
    is_dead = _process(pid)[:1] in (["Z"], ["X"])
    return not is_dead and _process_start(pid) == holder.get("process_start")


def _changes(path: epath.Path, found: dict[str, Any] | None, patience: float) -> bool:
    """Whether the content of the lock changes within `patience` seconds."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        time.sleep(min(1.0, patience / 10))
        if _read(path) != found:
            return _exists(path)
    return False


def _renew(path: epath.Path, mine: dict[str, Any], ended: threading.Event, every: float) -> None:
    """In a thread: shows now and then that the holder lives. A full disk does not end the run."""
    while not ended.wait(every):
        with contextlib.suppress(OSError):
            if (_read(path) or {}).get("token") != mine["token"]:
                return  # somebody took it for dead
            mine["renewals"] += 1
            if _is_local(path):
                _replace(path, mine)
            else:
                path.write_text(json.dumps(mine))


def _read(path: epath.Path) -> dict[str, Any] | None:
    """What a lock says; None where there is none, or none that is whole."""
    try:
        value = json.loads(files.read_bytes(path))
    except (UserError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _exists(path: epath.Path) -> bool:
    """Whether something has the name of the lock, also a link that leads nowhere."""
    return os.path.lexists(os.fspath(path)) if _is_local(path) else path.exists()


def _is_local(path: epath.Path) -> bool:
    return "://" not in os.fspath(path)


def _process_start(pid: int) -> str | None:
    """When a process started, in ticks since the start of the machine; None where the system does not say."""
    fields = _process(pid)
    return fields[19] if len(fields) > 19 else None


def _process(pid: int) -> list[str]:
    """What the system says of a process, from its state on; nothing where it does not say."""
    return _text(f"/proc/{pid}/stat").rpartition(")")[2].split()


def _text(path: str) -> str:
    try:
        return pathlib.Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""
