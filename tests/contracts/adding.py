"""A copy of the house to which something is added, as a reader of CONTRIBUTING would."""

import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
NEW = pathlib.Path(__file__).parent / "new"

TINY = (
    "--steps=4 --batch-size=16 --optimizer.warmup-steps=1 --log-every=2 --checkpoint-every=2 --evaluation.num=20"
    " --evaluation.loss-every=4 --evaluation.grid-columns=2 --sampling.num-steps=2 --sampling.batch-size=24"
)

SCRIPT = """
import importlib, shlex, shutil, sys
from experiments import cli
for line in sys.argv[1:]:
    verb, *arguments = shlex.split(line)
    if verb == "forget":  # what a kill would have left undone
        shutil.rmtree(arguments[0])
        continue
    print("$", line, flush=True)
    sys.argv = [verb, *arguments]
    try:
        importlib.import_module(f"experiments.{verb}").main()
    except SystemExit as end:
        if end.code:
            raise
"""


class House:
    """The copy, in a folder."""

    def __init__(self, folder):
        self.folder = folder
        for name in ("genjax", "experiments", "tests"):
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.npz"))
        shutil.copy(ROOT / "pyproject.toml", folder)

    def add(self, new, place, line, table):
        """One new file, `new`, at `place`; one line in `table`. How many lines each has."""
        text = (NEW / new).read_text()
        (self.folder / place).write_text(text)
        path = self.folder / table
        before, imports, after = path.read_text().partition("\nfrom genjax.")
        assert imports
        path.write_text(f"{before}\n{line}{imports}{after}")
        return len(text.splitlines()), 1

    def pytest(self, *arguments):
        """What pytest prints of the copy's own tests, which must pass."""
        return self._run("-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", *arguments)

    def verbs(self, *commands):
        """What several verbs print, one after another in one process."""
        return self._run("-c", SCRIPT, *commands)

    def _run(self, *arguments):
        result = subprocess.run(
            [sys.executable, *arguments], cwd=self.folder, capture_output=True, text=True, timeout=600
        )
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout
