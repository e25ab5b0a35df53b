"""Weights & Biases. What the user has set up decides where: `wandb login`, or ``WANDB_*`` variables.

The project is ``WANDB_PROJECT``, or "genjax". With ``WANDB_MODE=offline`` nothing is sent: the files are in ``wandb/``
of the workdir, and `wandb sync` sends them later.
"""

import html
import os
import pathlib
import uuid
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from genjax.train.logging import Scalar, Writer
from genjax.train.writers import aside, tracker
from genjax.train.writers.kind import WriterKind
from genjax.typing import UserError

ID = "wandb.json"
_SILENT_MODES = ("offline", "dryrun", "disabled")
_BEGIN_SECONDS = 60.0
"""For which it waits for the server at the beginning, while the training goes on."""
_FINISH_SECONDS = 0.7 * aside.PATIENCE
"""For which it sends what is left at the end; `wandb sync` sends the rest from the files in the workdir."""


class WandbWriter(Writer):
    """A run of Weights & Biases, named like the workdir.

    A run that goes on does so in the same run there. Weights & Biases takes no step twice: what it has of steps after
    the checkpoint stays. A resumed run computes the same values again, unless its config was changed.

    Args:
        workdir: folder of the run; gets ``wandb.json`` with the id, and the files of Weights & Biases in ``wandb/``.
        resume_step: step from which the run goes on; 0: it begins, in a new run there.
    """

    def __init__(self, workdir: pathlib.Path, resume_step: int):
        import wandb

        run_id = tracker.stored_id(workdir / ID, resume_step) or uuid.uuid4().hex[:16]
        tracker.store_id(workdir / ID, run_id)
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT") or "genjax",
            name=workdir.resolve().name,
            id=run_id,
            resume="allow",
            dir=os.fspath(workdir),
            # What is printed stays here; and a server that does not answer must not keep the process.
            settings=wandb.Settings(
                console="off", init_timeout=_BEGIN_SECONDS, finish_timeout=_FINISH_SECONDS
            ),
        )
        self._first = self._run.starting_step

    def write_scalars(self, step: int, scalars: Mapping[str, Scalar]) -> None:
        self._write(step, dict(scalars))

    def write_images(self, step: int, images: Mapping[str, np.ndarray]) -> None:
        import wandb

        self._write(
            step, {name: [wandb.Image(x) for x in tracker.pictures(of)] for name, of in images.items()}
        )

    def write_texts(self, step: int, texts: Mapping[str, str]) -> None:
        import wandb

        shown = {name: wandb.Html(f"<pre>{html.escape(text)}</pre>") for name, text in texts.items()}
        self._write(step, shown)

    def write_hparams(self, hparams: Mapping[str, Any]) -> None:
        self._run.config.update(tracker.plain(hparams), allow_val_change=True)

    def close(self) -> None:
        self._run.finish()

    def _write(self, step: int, values: dict[str, Any]) -> None:
        if step >= self._first:
            self._run.log(values, step=step)


def _ready() -> None:
    """Raises UserError where nobody is logged in: wandb would ask for a key in the middle of the training."""
    import wandb

    if jax.process_index() != 0 or os.environ.get("WANDB_MODE") in _SILENT_MODES:
        return
    if not wandb.login(verify=False, prompt=False):
        raise UserError(
            "log='wandb': nobody is logged in to Weights & Biases here. Run `wandb login`, or set WANDB_API_KEY, or "
            "set WANDB_MODE=offline to keep everything in the workdir"
        )


WRITER = WriterKind(WandbWriter, "wandb", ready=_ready, tracker=True)
