"""One tiny run on the bundled digits for all tests of the verbs, and the verbs as functions of a command line."""

import contextlib
import hashlib
import importlib
import io
import json
import pathlib
import shlex
import sys
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from experiments import cli

TINY = shlex.split(
    "--model.channels=8 --model.multipliers 1 --model.blocks=1 --model.attention --batch-size=16"
    " --optimizer.warmup-steps=1 --log-every=2 --checkpoint-every=2 --evaluation.loss-every=4"
    " --evaluation.grid-columns=2 --sampling.sampler=ddim --sampling.num-steps=2 --sampling.batch-size=24"
)
STEPS = 6


class Ended(NamedTuple):
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out.splitlines()[-1])


def run_verb(name, *arguments):
    """``python -m experiments.NAME ARGUMENTS`` in this process."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [name, *map(str, arguments)])
        # Of the whole process, and other tests look at what is logged.
        for function in ("_quiet_libraries", "_end_at_interrupt", "_let_go"):
            patch.setattr(cli, function, lambda *_: None)
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                cli.run(importlib.import_module(f"experiments.{name}").main)
            except SystemExit as end:
                code = end.code
    return Ended(code or 0, out.getvalue(), err.getvalue())


@pytest.fixture(scope="session")
def verb():
    """`run_verb`."""
    return run_verb


@pytest.fixture(scope="session")
def train_tiny():
    """``train ddpm-digits`` with a tiny model: ``(workdir, *options) -> Ended``."""

    def train(workdir, *options):
        return run_verb(
            "train",
            *("ddpm-digits", "--workdir", workdir, *TINY, f"--steps={STEPS}", "--evaluation.num=20"),
            *options,
        )

    return train


@pytest.fixture(scope="session")
def run(tmp_path_factory, train_tiny):
    """The workdir of a finished run; tests leave it as it is."""
    workdir = tmp_path_factory.mktemp("run") / "digits"
    ended = train_tiny(workdir)
    assert ended.code == 0, ended.err
    (workdir.parent / "out.txt").write_text(ended.out)
    return workdir


@pytest.fixture(scope="session")
def digest():
    """What is in a folder: sha256 of each file by its path, checkpoints included."""

    def of(folder, *ignored):
        files = sorted(p for p in pathlib.Path(folder).rglob("*") if p.is_file())
        names = {p.relative_to(folder).as_posix(): p for p in files}
        return {
            name: hashlib.sha256(p.read_bytes()).hexdigest()
            for name, p in names.items()
            if not name.startswith(ignored)
        }

    return of


@pytest.fixture(scope="session")
def write_images():
    """``(folder, images uint8[N,H,W,C], names)``: writes PNG files."""

    def write(folder, images, names=None):
        folder.mkdir(parents=True, exist_ok=True)
        for i, image in enumerate(images):
            picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
            picture.save(folder / (names[i] if names else f"{i:03d}.png"))
        return folder

    return write


@pytest.fixture(scope="session")
def noise_images():
    """``(n, size, channels) -> uint8[n,size,size,channels]``."""
    return lambda n, size=8, channels=1: np.random.default_rng(0).integers(
        0, 256, (n, size, size, channels), np.uint8
    )
