"""What the README and docs say is run: the Python example as written, commands as far as their options go."""

import contextlib
import functools
import importlib
import io
import pathlib
import re
import shlex
import sys
from unittest import mock

import jax
import numpy as np
import pytest

from genjax.diffusion import schedules
from genjax.models import UNet

ROOT = pathlib.Path(__file__).parent.parent
README, RESULTS = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "docs/results.md"))
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("tpu_scripts/*.md")])


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def commands(verb):
    """Arguments of the commands in the README's blocks, and in the code of its tables and of those of the results."""
    lines = [line for block in blocks("bash") for line in block.replace("\\\n", " ").splitlines()]
    for page in (README, RESULTS):
        lines += re.findall(r"`([^`\n]*python -m experiments\.[^`\n]*)`", page)
    found = [rest for line in lines for _, called, rest in [line.partition(f"experiments.{verb} ")] if called]
    return [shlex.split(rest.partition("&&")[0], comments=True) for rest in found]


@functools.cache
def help_text(verb, positional):
    package = importlib.import_module(f"experiments.{verb}")
    module = package if hasattr(package, "main") else importlib.import_module(f"experiments.{verb}.__main__")
    text = io.StringIO()
    with (
        mock.patch.object(sys, "argv", [verb, *positional, "--help"]),
        contextlib.redirect_stdout(text),
        pytest.raises(SystemExit) as end,
    ):
        module.main()
    assert end.value.code in (0, None)
    return text.getvalue()


def anchors(page):
    """Of the headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


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


@pytest.mark.parametrize(
    "verb",
    [
        "train",
        "sample",
        "evaluate",
        "bench",
        "collapse",
        "study",
        "claims",
        "ensemble",
        "scoreboard",
    ],
)
def test_options_of_the_commands_exist(verb):
    found = [arguments for arguments in commands(verb) if "PRESET" not in arguments]
    assert found
    for arguments in found:
        options = {a for a in arguments if a.startswith("--")} - {"--help"}
        positional = tuple(a for a in arguments[:2] if not a.startswith("--"))
        text = help_text(verb, positional)
        missing = {option for option in options if option not in text}
        assert not missing, (arguments, missing)


def test_options_of_the_launch_scripts_exist():
    """Their recipes cannot be run here; what they hand on to training can at least be known to it."""
    found = []
    for path in sorted((ROOT / "tpu_scripts").iterdir()):
        text = path.read_text(encoding="utf-8").replace("\\\n", " ")
        found += re.findall(r"(?:run|multi_gpu|slurm)\.sh (\w+-\w+)(.*)", text)
    assert len(found) >= 6
    for preset, rest in found:
        options = set(re.findall(r"--[\w.-]+", rest))
        assert options and not {option for option in options if option not in help_text("train", (preset,))}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    for link in [*re.findall(r"\]\(([^)\s]+)\)", text), *re.findall(r'src="([^"]+)"', text)]:
        if link.startswith("http"):
            continue
        path, _, anchor = link.partition("#")
        there = page.parent / path if path else page
        assert there.exists(), link
        assert not anchor or anchor in anchors(there), link
