"""A new sampler is one new file and one line: what a reader of CONTRIBUTING would do."""

import pathlib
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
MADE_UP = '''"""One of ours by another name."""

from genjax.diffusion.samplers.base import Sampler, needs
from genjax.diffusion.samplers.consistency import consistency
from genjax.diffusion.samplers.ddim import ddim


{marked}def made_up() -> Sampler:
    """Order 1."""
    return {made}
'''
LINE = "from genjax.diffusion.samplers.made_up import made_up as made_up\n"


@pytest.mark.parametrize(
    ("made", "marked", "failed"),
    [
        ("ddim()", "", 0),
        ("ddim(0.0)._replace(step=lambda *a: (a[1], a[2]))", "", 1),
        ("consistency()", '@needs("consistency")\n', 0),
        ("consistency()", "", 1),
    ],
)
def test_one_file_and_one_line_are_enough(tmp_path, made, marked, failed):
    """And it is held to the contract: one that does not move x fails, and one that does not say what it needs."""
    for name in ("genjax", "tests"):
        shutil.copytree(ROOT / name, tmp_path / name)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    samplers = tmp_path / "genjax/diffusion/samplers"
    (samplers / "made_up.py").write_text(MADE_UP.format(made=made, marked=marked))
    init = samplers / "__init__.py"
    before, imports, after = init.read_text().partition("from genjax.diffusion.samplers.base")
    init.write_text(before + LINE + imports + after)

    command = "-m pytest -q -n 0 -p no:cacheprovider tests/contracts/test_samplers.py -k"
    result = subprocess.run(
        [sys.executable, *command.split(), "made_up and (cosine or bfloat16) and not gradients"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == failed, result.stdout + result.stderr
    assert ("2 passed" in result.stdout) == (not failed), result.stdout
