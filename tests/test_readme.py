"""What the README says is run: its Python example as written, its commands as far as their options go."""

import pathlib
import re
import shlex
import sys

import jax
import numpy as np
import pytest

from genjax.diffusion import schedules
from genjax.models import UNet

README = (pathlib.Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_python_example():
    (example,) = blocks("python")
    net = UNet(channels=8, multipliers=(1,), num_classes=10)
    label = np.arange(16, dtype=np.int32) % 10
    params = jax.jit(net.init)(jax.random.key(0), np.zeros((1, 28, 28, 1)), np.zeros(1), label[:1])
    names = {"net": net, "params": params, "label": label}
    exec(example.replace("grids.linspace(50)", "grids.linspace(2)"), names)
    assert names["images"].shape == (16, 28, 28, 1)
    assert np.abs(names["images"]).max() <= 1
    # As its comment says: another schedule, scale and eta compile nothing.
    names["generate"](jax.random.split(jax.random.key(1), 16), params, label, schedules.linear(), 3.0, 0.5)
    assert names["generate"]._cache_size() == 1


@pytest.mark.parametrize("verb", ["train", "sample", "evaluate", "bench", "collapse"])
def test_options_of_the_commands_exist(verb, monkeypatch, capsys):
    lines = [
        line for block in blocks("bash") for line in block.splitlines() if f"experiments.{verb} " in line
    ]
    assert lines
    for line in lines:
        _, _, rest = line.partition(f"experiments.{verb} ")
        arguments = shlex.split(rest.replace("\\", ""), comments=True)
        options = {a for a in arguments if a.startswith("--")}
        positional = [a for a in arguments[:2] if not a.startswith("--")]
        monkeypatch.setattr(sys, "argv", [verb, *positional, "--help"])
        module = __import__(f"experiments.{verb}", fromlist=["main"])
        main = (
            module.main
            if hasattr(module, "main")
            else __import__(f"experiments.{verb}.__main__", fromlist=["main"]).main
        )
        with pytest.raises(SystemExit) as end:
            main()
        assert end.value.code in (0, None)
        text = capsys.readouterr().out
        missing = {option for option in options if option not in text}
        assert not missing, missing
