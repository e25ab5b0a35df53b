"""Checkpoints that are either whole or known not to be: saved in the background, sealed with digests.

A checkpoint of step 1200 is the folder ``00001200``:

* ``state/``: the arrays, one entry a leaf, named by its path (``params/Dense_0/kernel``). Readable without
  genjax: ``orbax.checkpoint.StandardCheckpointer().restore(folder / "state")`` gives a flat dict.
* ``metadata/``: JSON: the caller's `extra`, and shape and dtype of every leaf.
* ``SHA256SUMS``: the seal, written last. A folder without it was not finished; one whose files do not match
  it is corrupt. ``sha256sum -c SHA256SUMS`` verifies it by hand.

Orbax writes into a temporary folder and renames it, so a killed process leaves either a temporary folder, a
folder without seal, or a sealed one. On several processes, which must share the file system, process 0
decides which checkpoint is used and all others follow.
"""

import errno
import json
import logging
import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from jax.experimental import multihost_utils

from genjax.train import seal
from genjax.train.leaves import named_leaves
from genjax.train.plain_path import PlainPath
from genjax.train.saved import folder_steps, saved_steps
from genjax.typing import PyTree, UserError

_log = logging.getLogger(__name__)

_TEMPORARY = ".orbax-checkpoint-tmp"
_NONE, _FAILED = -1, -2
_MAX_LISTED = 20


class CheckpointError(UserError):
    """A checkpoint could not be written or read, because of the disk, of its files or of a changed config."""


class Checkpointer:
    """Saves and restores the state of a run in a directory.

    All processes of a run call the same methods in the same order. Use it as a context manager, or call
    `close`: an error of the last save is raised there.

    Args:
        directory: where the checkpoints live; created if missing. Anything `etils.epath` understands; ``gs://``
            needs what etils needs for it (``pip install gcsfs``).
        keep: number of newest checkpoints to keep, at least 1.
        read_only: for readers of a run that may be alive: nothing is created, renamed or removed, and
            unusable checkpoints are only passed over.

    Raises:
        UserError: `keep` is less than 1.
    """

    def __init__(self, directory: epath.PathLike, *, keep: int = 3, read_only: bool = False):
        if keep < 1:
            raise UserError(f"keep must be at least 1, got {keep}")
        self._directory = PlainPath(epath.Path(directory).resolve())
        self._keep = keep
        self._read_only = read_only
        self._orbax = ocp.AsyncCheckpointer(ocp.CompositeCheckpointHandler())
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._pending: tuple[int, Future] | None = None
        if not read_only:
            _on_first_process(lambda: self._directory.mkdir(parents=True, exist_ok=True))

    def __enter__(self) -> "Checkpointer":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def steps(self) -> list[int]:
        """Steps of the finished checkpoints, ascending. Their files are not verified."""
        return saved_steps(self._directory)

    def save(self, step: int, state: PyTree, extra: Mapping[str, Any] | None = None) -> None:
        """Starts to save; waits for an earlier save first.

        Returns once `state` is on the host: its buffers may then be donated (where host and device share
        memory, JAX itself keeps a buffer that is still being written out). A step that is already saved is
        left as it is, since the state of a run is a function of its step.

        Args:
            step: number of updates done, 0 <= step < 2^31.
            state: pytree of arrays, sharded or not, typed PRNG keys included.
            extra: JSON-able values; floats come back exact.

        Raises:
            UserError: `extra` is not JSON-able.
            CheckpointError: this save could not start, or the one before it failed (see `wait`).
        """
        if self._read_only:
            raise UserError(f"the checkpoints in {self._directory} are open with read_only=True: cannot save")
        self.wait()
        step = int(step)
        leaves = named_leaves(state)
        metadata = {"extra": dict(extra or {}), "leaves": {name: _describe(x) for name, x in leaves.items()}}
        try:
            # A copy: Orbax writes it in a thread, when the caller may have gone on to change `extra`.
            metadata = json.loads(json.dumps(metadata))
        except (TypeError, ValueError) as error:
            raise UserError(f"extra must hold JSON-able values only: {error}") from error
        if _on_first_process(lambda: int(self._is_saved(step))):
            _log.info("step %d is already saved in %s", step, self._directory)
            return
        args = ocp.args.Composite(state=ocp.args.StandardSave(leaves), metadata=ocp.args.JsonSave(metadata))
        try:
            self._orbax.save(self._path(step), args=args)
        except Exception as error:
            raise self._failure(step, error) from error
        self._pending = step, self._executor.submit(self._commit, step)

    def wait(self) -> None:
        """Returns when no save is under way.

        Raises:
            CheckpointError: the save failed. Names the directory, the free bytes and the latest usable step.
                What was written of the failed checkpoint is removed, older ones stay usable.
        """
        if self._pending is None:
            return
        (step, future), self._pending = self._pending, None
        try:
            future.result()
        except Exception as error:
            raise self._failure(step, error) from error

    def close(self) -> None:
        """Waits for the save under way and frees the threads. Raises what `wait` raises."""
        try:
            self.wait()
        finally:
            self._executor.shutdown()
            try:
                self._orbax.close()
            except Exception as error:
                raise CheckpointError(
                    f"cannot write the checkpoints in {self._directory}: {error}"
                ) from error

    def restore_latest(
        self, abstract_state: PyTree, step: int | None = None
    ) -> tuple[PyTree, dict[str, Any], int] | None:
        """The newest checkpoint whose files match its seal, or the one of a step.

        Newer ones that are unfinished, truncated or corrupt are reported by `logging.warning` and set aside
        (renamed to ``00001200.unusable``), so that the run can save that step again.

        Args:
            abstract_state: pytree of `jax.ShapeDtypeStruct` (or arrays) with the structure, shapes and dtypes
                of the saved state. Each leaf is restored with the sharding given there, whatever sharding and
                number of devices it was saved with; without one it goes to the first local device.
            step: step of the checkpoint that is asked for; None: the newest. One that is asked for is not set aside.

        Returns:
            ``(state, extra, step)``, or None where no checkpoint was ever finished.

        Raises:
            CheckpointError: there are checkpoints and none is usable (they are left in place), or the saved
                state has other leaves, shapes or dtypes than `abstract_state` (those are listed).
            UserError: there is no checkpoint of the step that is asked for; the message lists those that there are.
        """
        self.wait()
        step = self._choose(step)
        if step == _NONE:
            return None
        path = self._path(step)
        wanted = named_leaves(abstract_state)
        metadata = self._metadata(path)
        _check_structure(path, metadata["leaves"], {name: _describe(x) for name, x in wanted.items()})
        target = {name: _with_sharding(x) for name, x in wanted.items()}
        restored = self._arrays(path, target)
        state = jax.tree.unflatten(jax.tree.structure(abstract_state), [restored[name] for name in wanted])
        return state, metadata["extra"], step

    def digest(self, step: int) -> str:
        """What tells the checkpoint of a step from every other one, see `genjax.train.seal.digest`."""
        return seal.digest(self._path(step))

    def shapes(self, step: int | None = None) -> tuple[dict[str, jax.ShapeDtypeStruct], int]:
        """Shapes and types of the arrays of a checkpoint by name, and its step; no array is read.

        Args:
            step: step of the checkpoint; None: the newest one whose files match its seal.

        Raises:
            CheckpointError, UserError: as `restore_latest`; also where there is no checkpoint.
        """
        self.wait()
        step = self._choose(step)
        if step == _NONE:
            raise UserError(f"{self._directory} holds no checkpoint that can be used")
        described = self._metadata(self._path(step))["leaves"]
        return {name: _parse(text) for name, text in described.items()}, step

    def leaves(self, prefixes: tuple[str, ...], step: int | None = None) -> tuple[dict[str, np.ndarray], int]:
        """Arrays of a checkpoint by name, whatever the rest of its state is.

        Args:
            prefixes: of the names, such as "params/".
            step: step of the checkpoint; None: the newest whose files match its seal.

        Returns:
            The arrays, on the host, and the step.

        Raises:
            CheckpointError, UserError: as `shapes`.
        """
        shapes, step = self.shapes(step)
        target = {name: _with_sharding(shape) for name, shape in shapes.items()}
        restored = self._arrays(self._path(step), target)
        return {name: np.asarray(x) for name, x in restored.items() if name.startswith(prefixes)}, step

    def _choose(self, step: int | None) -> int:
        """The step to read: the newest usable one, or the one that is asked for."""
        if step is None:
            return _on_first_process(self._latest_usable)
        if step not in self.steps():
            there = ", ".join(map(str, self.steps())) or "none"
            raise UserError(f"step={step}: {self._directory} holds no such checkpoint; there are {there}")
        if reason := seal.defect(self._path(step)):
            raise CheckpointError(f"the checkpoint {self._path(step)} cannot be used: {reason}")
        return step

    def _metadata(self, path: epath.Path) -> Any:
        return self._orbax.restore(path, args=ocp.args.Composite(metadata=ocp.args.JsonRestore())).metadata

    def _arrays(self, path: epath.Path, target: dict[str, jax.ShapeDtypeStruct]) -> dict[str, jax.Array]:
        args = ocp.args.Composite(state=ocp.args.StandardRestore(target))
        try:
            return self._orbax.restore(path, args=args).state
        except ValueError as error:  # TensorStore's, which ends with a page of its options
            reason = str(error).partition(" [tensorstore_spec")[0]
            raise CheckpointError(
                f"the checkpoint {path} is as it was written, and cannot be read: {reason}"
            ) from error

    def _path(self, step: int) -> epath.Path:
        return self._directory / f"{step:08d}"

    def _commit(self, step: int) -> None:
        """In a thread: seals the checkpoint once Orbax is done, then drops the oldest ones."""
        self._orbax.wait_until_finished()
        if jax.process_index() == 0:
            seal.seal(self._path(step))
            oldest = self.steps()[-self._keep :][0]
            for old in folder_steps(self._directory):  # sealed or not: a kill may have cut a removal short
                if old < oldest:
                    _remove(self._path(old))

    def _is_saved(self, step: int) -> bool:
        path = self._path(step)
        if path.exists() and not (path / seal.SEAL).exists():
            self._set_aside(step, f"it was not finished: {seal.SEAL} is missing")
        return path.exists()

    def _latest_usable(self) -> int:
        """The step of the newest checkpoint that matches its seal, or _NONE; sets aside newer ones."""
        if not self._read_only:
            _clear_temporary(self._directory)
        unusable: dict[int, str] = {}
        for step in reversed(folder_steps(self._directory)):
            reason = seal.defect(self._path(step))
            if reason is None:
                break
            unusable[step] = reason
        else:
            step = _NONE
        # A kill between Orbax's rename and the seal of a run's first checkpoint leaves one unsealed folder
        # and nothing else: nothing is lost by starting over. Otherwise no usable checkpoint means a loss.
        unfinished = [step for step in unusable if not (self._path(step) / seal.SEAL).exists()]
        if step == _NONE and unusable and (len(unusable) > 1 or not unfinished):
            reasons = "".join(f"\n  {self._path(bad).name}: {reason}" for bad, reason in unusable.items())
            raise CheckpointError(
                f"no checkpoint in {self._directory} is usable:{reasons}\n"
                "Nothing was changed. Restore the files, or start over in another directory."
            )
        for bad, reason in unusable.items():
            self._set_aside(bad, reason)
        return step

    def _set_aside(self, step: int, reason: str) -> None:
        path = self._path(step)
        if self._read_only:
            _log.warning("the checkpoint %s is not usable and is passed over: %s", path, reason)
            return
        names = {other.name for other in self._directory.iterdir()}
        suffixes = (f".unusable{i or ''}" for i in range(len(names) + 1))
        aside = self._directory / next(path.name + end for end in suffixes if path.name + end not in names)
        path.rename(aside)
        _log.warning("the checkpoint %s is not usable and is set aside as %s: %s", path, aside.name, reason)

    def _failure(self, step: int, error: BaseException) -> CheckpointError:
        """The error of a failed save, once what it wrote is removed."""
        if jax.process_index() == 0:
            _clear_temporary(self._directory, prefix=self._path(step).name, report=False)
            if self._path(step).exists() and not (self._path(step) / seal.SEAL).exists():
                _remove(self._path(step))
        steps = self.steps()
        latest = f"the latest usable one is of step {steps[-1]}" if steps else "there is no usable one yet"
        reason = "no space left on the device" if _is_disk_full(error) else f"{type(error).__name__}: {error}"
        return CheckpointError(
            f"cannot write the checkpoint of step {step} into {self._directory}: {reason} "
            f"({_free_bytes(self._directory)} bytes free). Older checkpoints are untouched, {latest}."
        )


def _on_first_process(decide: Callable[[], int | None]) -> int:
    """What `decide` returns on process 0, on every process; raises on every process if it raises there."""
    if jax.process_count() == 1:
        return decide() or 0
    value, failure = 0, None
    if jax.process_index() == 0:
        try:
            value = decide() or 0
        except Exception as error:
            value, failure = _FAILED, error
    value = int(multihost_utils.broadcast_one_to_all(np.int32(value)))
    if value == _FAILED:
        raise failure or CheckpointError("process 0 could not use the checkpoints; its message says why")
    return value


def _describe(leaf: Any) -> str:
    """Dtype and shape, such as ``float32[3,4]``."""
    leaf = leaf if hasattr(leaf, "dtype") else np.asarray(leaf)
    return f"{leaf.dtype}[{','.join(map(str, leaf.shape))}]"


def _parse(text: str) -> jax.ShapeDtypeStruct:
    """Inverts `_describe`."""
    dtype, _, shape = text.rstrip("]").partition("[")
    kind = jax.random.key(0).dtype if dtype.startswith("key<") else dtype
    return jax.ShapeDtypeStruct(tuple(map(int, filter(None, shape.split(",")))), kind)


def _with_sharding(leaf: Any) -> jax.ShapeDtypeStruct:
    sharding = getattr(leaf, "sharding", None) or jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


def _check_structure(path: epath.Path, saved: Mapping[str, str], wanted: Mapping[str, str]) -> None:
    names = sorted(name for name in saved.keys() | wanted.keys() if saved.get(name) != wanted.get(name))
    lines = [
        f"  {name}: saved {saved.get(name, 'nothing')}, wanted {wanted.get(name, 'nothing')}"
        for name in names
    ]
    if lines:
        more = [f"  and {len(lines) - _MAX_LISTED} more"] if len(lines) > _MAX_LISTED else []
        raise CheckpointError(
            f"the checkpoint {path} holds another state than the one asked for; was the config changed?\n"
            + "\n".join(lines[:_MAX_LISTED] + more)
        )


def _clear_temporary(directory: epath.Path, prefix: str = "", report: bool = True) -> None:
    for path in directory.iterdir():
        if _TEMPORARY in path.name and path.name.startswith(prefix):
            _remove(path)
            if report:
                _log.warning("removed %s: half-written, the run was killed while it saved", path)


def _remove(path: epath.Path) -> None:
    # Unsealed first, so that a removal cut short leaves an unfinished checkpoint and not a corrupt one.
    try:
        (path / seal.SEAL).unlink(missing_ok=True)
        path.rmtree(missing_ok=True)
    except OSError as error:
        _log.warning("could not remove %s: %s", path, error)


def _is_disk_full(error: BaseException | None) -> bool:
    """True for a full disk or quota, also where a library re-raised it as another error or as text only."""
    full_errnos = (errno.ENOSPC, errno.EDQUOT)
    texts = ("No space left", "RESOURCE_EXHAUSTED", "Disk quota")
    while error is not None:
        if getattr(error, "errno", None) in full_errnos or any(text in str(error) for text in texts):
            return True
        error = error.__cause__ or error.__context__
    return False


def _free_bytes(directory: epath.Path) -> str:
    try:
        return f"{shutil.disk_usage(directory).free:,}"
    except OSError:
        return "an unknown number of"
