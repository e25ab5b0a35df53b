"""How a writer is chosen by name: what opens it, and what it needs."""

import importlib
import pathlib
from collections.abc import Callable
from typing import NamedTuple

from genjax.train.logging import Writer
from genjax.typing import UserError


class WriterKind(NamedTuple):
    """A kind of writer, a line in `genjax.train.writers.WRITERS`.

    Attributes:
        open: ``(workdir, resume_step) -> writer``: opens it for the run in a folder, which goes on from a step (0: it
            begins). What was written for later steps is dropped as far as this is possible.
        package: what it imports, and the name of the extra that installs it; None: it is always installed.
        note: what else is to be known where the package is missing.
        ready: raises UserError where the user has something to do first.
        tracker: whether it may be slow or fail, as what talks to a server may: then it works aside, and no error of
            it ends the training, see `genjax.train.writers.aside`.
    """

    open: Callable[[pathlib.Path, int], Writer]
    package: str | None = None
    note: str = ""
    ready: Callable[[], None] = lambda: None
    tracker: bool = False

    def check(self, name: str) -> None:
        """Checks that it can be opened, without opening it.

        Raises:
            UserError: its package is not installed, or the user has something to do first.
        """
        if self.package is not None:
            try:
                importlib.import_module(self.package)
            except ImportError as error:
                raise UserError(
                    f"log={name!r} needs the package {self.package}: pip install -e '.[{self.package}]'{self.note}"
                ) from error
        self.ready()
