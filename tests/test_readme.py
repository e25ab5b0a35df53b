"""What the README and docs say is run: the Python examples as written, commands as far as their options go."""

import contextlib
import functools
import importlib
import importlib.util
import io
import pathlib
import re
import shlex
import sys
from unittest import mock

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import genjax
from genjax.diffusion import SAMPLERS, SCHEDULES, interop, prediction, schedules

ROOT = pathlib.Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
WRITTEN = sorted(
    path for room in (".", "concepts", "how-to", "tutorials") for path in ROOT.glob(f"docs/{room}/*.md")
)
DOCS = [path.read_text(encoding="utf-8") for path in WRITTEN]
PAGES = sorted([*ROOT.glob("*.md"), *WRITTEN, *ROOT.glob("tpu_scripts/*.md")])


def example(name):
    """The Python block after ``<!-- example: NAME -->``."""
    (text,) = re.findall(
        rf"^<!-- example: {name} -->\n```python\n(.*?)```$", README, re.DOTALL | re.MULTILINE
    )
    return text


def commands(verb):
    """Arguments of the commands in the blocks of the README and of the docs, and in the code of their text."""
    lines = []
    for page in (README, *DOCS):
        for block in re.findall(r"```bash\n(.*?)```", page, re.DOTALL):
            lines += block.replace("\\\n", " ").splitlines()
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


class Net(nn.Module):
    """A network of the reader's own: the smallest that uses all it is given."""

    @nn.compact
    def __call__(self, x, c_noise, condition):
        features = nn.Conv(4, (3, 3))(x) + nn.Dense(4)(c_noise[:, None])[:, None, None]
        if "label" in condition:
            features += nn.Embed(10, 4)(condition["label"])[:, None, None]
        return nn.Conv(x.shape[-1], (3, 3))(jnp.tanh(features))


def test_the_marked_python_examples_are_all_there_are():
    marked = re.findall(r"^<!-- example: ([\w-]+) -->$", README, re.MULTILINE)
    assert marked == ["load", "core", "own-network"]
    assert README.count("```python\n") == len(marked)


def test_core_example():
    condition = {"label": np.arange(16, dtype=np.int32) % 10}
    net = Net()
    params = jax.jit(net.init)(jax.random.key(0), np.zeros((16, 28, 28, 1)), np.zeros(16), condition)
    names = {"net": net, "params": params, "label": condition["label"]}
    exec(example("core").replace("grids.linspace(50)", "grids.linspace(2)"), names)
    assert names["images"].shape == (16, 28, 28, 1)
    assert np.abs(names["images"]).max() <= 1
    # As its comment says: another schedule, scale and eta compile nothing.
    names["generate"](names["keys"], params, condition, schedules.linear(), 3.0, 0.5)
    assert names["generate"]._cache_size() == 1


@pytest.mark.quick_compilation
@pytest.mark.skipif(not hasattr(genjax, "load"), reason="genjax.load is being written")
def test_load_example(tmp_path, capsys):
    """On a tiny run of the first command, with fewer images."""
    from experiments import train, train_command

    (command,) = [arguments for arguments in commands("train") if arguments[0] == "ddpm-digits"][:1]
    assert command == ["ddpm-digits", "--workdir", "runs/digits"]
    tiny = "--steps=2 --batch-size=16 --model.channels=8 --model.multipliers 1 --model.blocks=1 --model.attention"
    tiny += (
        " --evaluation.num=0 --optimizer.warmup-steps=1 --sampling.num-steps=2 --evaluation.grid-columns=1"
    )
    command = train_command.parse([command[0], "--workdir", str(tmp_path / "run"), *tiny.split()])
    train.train(command.config, command.launch)
    capsys.readouterr()
    names = {}
    exec(example("load").replace("runs/digits", str(tmp_path / "run")).replace("num=1000", "num=48"), names)
    assert names["images"].shape == (16, 8, 8, 1) and names["images"].dtype == np.uint8
    assert capsys.readouterr().out.startswith("2 UNetConfig(")


@pytest.mark.skipif(not example("own-network").strip(), reason="the example is being written")
def test_own_network_example(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(example("own-network"), {})


def test_the_counts_of_the_diffusion_core():
    counts = len(SAMPLERS), len(SCHEDULES), len(prediction.PREDICTIONS)
    assert (
        "The diffusion core has {} samplers, {} noise schedules and {} predictions".format(*counts) in README
    )
    assert f"It knows {len(interop.classes.CLASSES)} scheduler classes." in README


def test_numbers_of_the_table_are_quoted_from_the_docs():
    table = README.partition("## What works")[2].partition("\n## ")[0]
    rows = [row.split(" | ") for row in re.findall(r"^\| (.*) \|$", table, re.MULTILINE)[1:]]
    assert 5 <= len(rows) <= 12
    known = {number for page in DOCS for number in re.findall(r"\d[\d.e-]*\d|\d", page)}
    for what, _, number in rows:
        assert set(re.findall(r"\d[\d.e-]*\d|\d", number)) <= known, what


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


def test_citation_has_the_version():
    assert f"\nversion: {genjax.__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    for link in [*re.findall(r"\]\(([^)\s]+)\)", text), *re.findall(r'src="([^"]+)"', text)]:
        if link.startswith("http"):
            continue
        path, _, anchor = link.partition("#")
        there = page.parent / path if path else page
        if there.resolve().parent == ROOT / "docs/api":
            # Written when the site is built: a page for each package.
            spec = importlib.util.find_spec(there.stem)
            assert spec is not None and spec.submodule_search_locations, link
            continue
        assert there.exists(), link
        assert not anchor or anchor in anchors(there), link
