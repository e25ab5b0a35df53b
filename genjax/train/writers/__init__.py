"""Where the metrics of a run go, by name. ``metrics.jsonl`` is always written: exact resumption needs it.

A writer is one file here with ``WRITER`` in it, and one line in `WRITERS`.
"""

import contextlib
import os
import pathlib
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import jax

from genjax.train.logging import JsonlWriter, MultiWriter, Writer
from genjax.train.writers import aim, tensorboard, wandb
from genjax.train.writers.aside import Aside
from genjax.train.writers.kind import WriterKind
from genjax.typing import UserError

WRITERS: dict[str, WriterKind] = {
    "tensorboard": tensorboard.WRITER,
    "wandb": wandb.WRITER,
    "aim": aim.WRITER,
}
NONE = "none"
"""Stands for no writer, in place of names."""
DEFAULT = ("tensorboard",)

Log: TypeAlias = Sequence[str | Writer]
"""Names of writers, and writers that are open."""


def check(log: Log) -> None:
    """Checks that the writers can be opened; touches no file.

    Raises:
        UserError: there is no such writer, one is named twice, its package is missing, or nobody is logged in.

    Example:
        >>> from genjax.train import writers
        >>> writers.check(["tensorboard"])
        >>> writers.check(["tensorflow"])
        Traceback (most recent call last):
        genjax.typing.UserError: log=['tensorflow']: valid are lists of tensorboard, wandb, aim, none
    """
    names = [one for one in log if not isinstance(one, Writer)]
    valid = ", ".join([*WRITERS, NONE])
    for name in names:
        if not isinstance(log, list | tuple) or name not in (*WRITERS, NONE):
            raise UserError(f"log={log!r}: valid are lists of {valid}")
        if names.count(name) > 1:
            raise UserError(f"log={log!r} has {name!r} twice")
    if NONE in names and len(log) > 1:
        raise UserError(f"log={log!r}: {NONE!r} does not go together with others")
    for name in names:
        if name != NONE:
            WRITERS[name].check(name)


@contextlib.contextmanager
def open_writers(
    workdir: str | os.PathLike,
    resume_step: int,
    log: Log = DEFAULT,
    hparams: Mapping[str, Any] = types.MappingProxyType({}),
) -> Iterator[Writer]:
    """Context with the writers of a run: ``metrics.jsonl`` in its `workdir`, and the writers of `log`.

    On other processes than process 0 nothing is written.

    Args:
        workdir: folder of the run; created if missing.
        resume_step: step from which the run goes on, 0 for a new one: what was written for later steps goes, as far as
            a writer can do that.
        log: names of writers, see `WRITERS`. Writers that are open already may be among them: they are flushed at the
            end, and not closed.
        hparams: the flat configuration of the run.

    Example:
        >>> import pathlib
        >>> from genjax.train import writers
        >>> with writers.open_writers("runs/mine", resume_step=0, log=()) as writer:
        ...     writer.write_scalars(1, {"loss": 0.5})
        >>> print(pathlib.Path("runs/mine/metrics.jsonl").read_text().strip())
        {"step": 1, "loss": 0.5}
    """
    if jax.process_index() != 0:
        yield MultiWriter()
        return
    folder = pathlib.Path(workdir)
    with contextlib.ExitStack() as stack:  # all are closed, also where one raises
        lines = stack.enter_context(JsonlWriter(folder / "metrics.jsonl"))
        lines.truncate_after(resume_step)
        others: list[Writer] = []
        for one in log:
            if isinstance(one, Writer):
                stack.callback(one.flush)
                one.truncate_after(resume_step)
                others.append(one)
            elif one != NONE:
                others.append(stack.enter_context(_opened(one, folder, resume_step)))
        writer = MultiWriter(lines, *others)
        if hparams:
            writer.write_hparams(hparams)
        yield writer


def _opened(name: str, folder: pathlib.Path, resume_step: int) -> Writer:
    kind = WRITERS[name]
    if kind.tracker:
        return Aside(name, lambda: kind.open(folder, resume_step))
    return kind.open(folder, resume_step)
