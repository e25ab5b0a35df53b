"""Which checkpoints a folder has, by names and seals alone: this needs no Orbax."""

import pathlib
import re

from etils import epath

from genjax.train import seal


def saved_steps(directory: epath.Path) -> list[int]:
    """Steps of the finished checkpoints in a directory, ascending. Their files are not verified."""
    return [step for step in folder_steps(directory) if (directory / f"{step:08d}" / seal.SEAL).exists()]


def folder_steps(directory: epath.Path | pathlib.Path) -> list[int]:
    """Steps of the folders that Orbax finished, ascending, sealed or not."""
    if not directory.exists():
        return []
    return sorted(int(path.name) for path in directory.iterdir() if re.fullmatch(r"\d{8,}", path.name))
