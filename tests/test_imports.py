"""Who may import whom, asserted from the source, and what importing the library must not do.

The rules are read off the syntax tree, so that they hold for imports inside functions too, which no run of
the code is sure to reach.
"""

import ast
import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Iterator
from typing import NamedTuple

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent

MAY_IMPORT = {
    "typing": set(),
    "random": {"typing"},
    "devices": {"typing"},
    "nn": {"typing", "random", "devices", "conditions", "losses"},
    "losses": {"typing", "random", "devices"},
    "augmentation": {"typing", "random", "devices"},
    "diffusion": {"typing", "random", "ranges", "conditions"},
    "ranges": {"typing"},
    "conditions": {"typing"},
    "data": {"typing", "ranges"},
    "train": {"typing", "ranges"},
    # A learned distance is a metric and, as a loss, what networks are trained with: its formula stands in losses.
    "metrics": {"typing", "nn", "losses"},
    # Hierarchies of latent variables know densities, which are losses.
    "models": {"typing", "random", "ranges", "conditions", "nn", "losses"},
    # To a method networks and augmentations come in as arguments; its `METHOD` makes them by name.
    "methods": {
        *("typing", "random", "devices", "ranges", "conditions", "nn", "losses", "augmentation", "diffusion"),
        *("data", "metrics", "models"),
    },
    # What a trained run needs: it stands on all the others.
    "app": {
        *(
            "typing",
            "random",
            "devices",
            "nn",
            "losses",
            "augmentation",
            "diffusion",
            "data",
            "train",
            "metrics",
        ),
        *("models", "methods", "ranges", "conditions"),
    },
}
"""Part of genjax -> the other parts that it may import."""

OPTIONAL = {
    "tensorflow",
    "torch",
    "diffusers",
    "diffrax",
    "matplotlib",
    "wandb",
    "aim",
    "sacrebleu",
    "pillow_heif",
}
"""Packages that only an extra installs: imported inside the function that uses them, not at module level."""

ORBAX_HOME = "genjax.train.checkpoint"
"""The one module that may import Orbax."""

DISTRIBUTION = {
    "PIL": "pillow",
    "absl": "absl-py",
    "orbax": "orbax-checkpoint",
    "pillow_heif": "pillow-heif",
    "sklearn": "scikit-learn",
    "tensorflow_datasets": "tensorflow-datasets",
}
"""Import name -> distribution name, where they differ."""

COMES_WITH = {
    "jaxlib": "jax",
    "ml_dtypes": "jax",
    "absl": "clu",
    "setuptools": "pip",
    "threadpoolctl": "scikit-learn",
}
"""Import name -> required distribution that brings it."""


class Import(NamedTuple):
    """One import in a source file.

    Attributes:
        name: absolute dotted name; ``from a import b`` is reported as both ``a`` and ``a.b``, since b may be
            a module.
        line: line number.
        at_import: whether importing the file executes it (not inside a function, not under TYPE_CHECKING).
    """

    name: str
    line: int
    at_import: bool


def imports(source: str, module: str, is_package: bool) -> Iterator[Import]:
    """All imports in `source`, the text of the module with the dotted name `module`."""

    def absolute(node: ast.ImportFrom) -> str:
        if node.level == 0:
            return node.module or ""
        parts = module.split(".")
        base = parts[: len(parts) - node.level + is_package]
        return ".".join([*base, *filter(None, [node.module])])

    def visit(node: ast.AST, at_import: bool) -> Iterator[Import]:
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, node.lineno, at_import) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = absolute(node)
            yield Import(base, node.lineno, at_import)
            yield from (Import(f"{base}.{alias.name}", node.lineno, at_import) for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in (
            "import_module",
            "__import__",
        ):
            names = [
                a.value for a in node.args[:1] if isinstance(a, ast.Constant) and isinstance(a.value, str)
            ]
            yield from (Import(name, node.lineno, at_import) for name in names)
        is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        is_typing = isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        for child in ast.iter_child_nodes(node):
            yield from visit(child, at_import and not is_function and not is_typing)

    yield from visit(ast.parse(source), True)


def violations(source: str, module: str, is_package: bool = False) -> list[str]:
    """The import rules that a module of genjax breaks, as sentences; empty if it keeps them all."""
    part = [*module.split("."), ""][1]
    found = []
    for name, line, at_import in imports(source, module, is_package):
        top, other = [*name.split("."), ""][:2]
        where = f"{module}:{line} imports {name}"
        if top in ("experiments", "tests"):
            found.append(f"{where}: genjax never imports {top}")
        if top in OPTIONAL and at_import:
            found.append(
                f"{where} at module level: {top} is an extra, import it in the function that uses it"
            )
        if top == "orbax" and module != ORBAX_HOME:
            found.append(f"{where}: only {ORBAX_HOME} imports Orbax")
        # The package itself may name its parts; its parts may not reach each other through it.
        if top == "genjax" and part and other in MAY_IMPORT and other not in MAY_IMPORT[part] | {part}:
            found.append(f"{where}: {part} may import only {sorted(MAY_IMPORT[part] | {part})}")
    return found


def module_name(path: pathlib.Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


GENJAX = {module_name(path): path for path in sorted(ROOT.glob("genjax/**/*.py"))}
EXPERIMENTS = {module_name(path): path for path in sorted(ROOT.glob("experiments/**/*.py"))}


@pytest.mark.parametrize("module", GENJAX)
def test_import_rules(module):
    path = GENJAX[module]
    assert violations(path.read_text(encoding="utf-8"), module, path.name == "__init__.py") == []


def test_every_part_has_a_rule():
    parts = {module.split(".")[1] for module in GENJAX if "." in module}
    assert parts <= set(MAY_IMPORT), "a new part of genjax: write down in MAY_IMPORT what it may import"


@pytest.mark.parametrize(
    "module, source, rule",
    [
        ("genjax.nn.attention", "from genjax import models", "nn may import only"),
        ("genjax.data.folder", "import genjax.metrics.frechet", "data may import only"),
        ("genjax.diffusion.samplers.ddim", "from ...models import unet", "diffusion may import only"),
        (
            "genjax.diffusion.guidance",
            "def f():\n    from genjax.models.denoisers.unet import UNet",
            "diffusion may import only",
        ),
        (
            "genjax.methods.vae.vae",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import genjax.train",
            "may",
        ),
        ("genjax.train.loop", "from genjax.methods import diffusion", "train may import only"),
        (
            "genjax.metrics.score",
            "import importlib\nimportlib.import_module('genjax.data')",
            "metrics may import only",
        ),
        ("genjax.train.loop", "import experiments.presets", "never imports experiments"),
        ("genjax", "from experiments import presets", "never imports experiments"),
        ("genjax.data.tfds", "import tensorflow as tf", "at module level"),
        (
            "genjax.data.tfds",
            "class A:\n    try:\n        import torch.nn\n    except ImportError:\n        pass",
            "at module",
        ),
        ("genjax.train.loop", "def f():\n    import orbax.checkpoint", "imports Orbax"),
    ],
)
def test_checker_catches(module, source, rule):
    assert any(rule in violation for violation in violations(source, module))


@pytest.mark.parametrize(
    "module, source",
    [
        ("genjax.data.tfds", "def prepare():\n    import tensorflow"),
        (
            "genjax.methods.diffusion.diffusion",
            "import jax\nfrom genjax.diffusion import schedules\nfrom genjax.typing import Method",
        ),
        ("genjax.diffusion.samplers.ddim", "from . import base\nfrom ..schedules import linear"),
        ("genjax.train.checkpoint", "import orbax.checkpoint as ocp\nfrom genjax.typing import PyTree"),
        ("genjax.nn.attention", "from typing import Any\nimport flax.linen as nn"),
        ("genjax", "from genjax import data, models"),
    ],
)
def test_checker_allows(module, source):
    assert violations(source, module) == []


def test_relative_imports_are_resolved():
    names = {
        i.name for i in imports("from . import a\nfrom .b import c\nfrom ..d import e", "genjax.x.y", False)
    }
    assert names == {"genjax.x", "genjax.x.a", "genjax.x.b", "genjax.x.b.c", "genjax.d", "genjax.d.e"}
    assert {i.name for i in imports("from .b import c", "genjax.x", True)} == {"genjax.x.b", "genjax.x.b.c"}


def imported_modules(source: str, module: str, is_package: bool, known: set[str]) -> set[str]:
    """The modules in `known` that a module imports, inside functions too.

    ``from a import b`` is an import of a.b where that is a module, and else of what a's own file defines.
    """
    names = [i.name for i in imports(source, module, is_package)]
    found = {name for name in names if name in known}
    for name in names:
        parent = name.rpartition(".")[0]
        if (
            name in known
            and parent in known
            and not any(other.rpartition(".")[0] == parent and other not in known for other in names)
        ):
            found.discard(parent)  # only sub-modules are taken from the package
    return found - {module}


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """The groups of modules that import each other, directly or not: strongly connected components (Tarjan 1972)."""
    order, low, stack, found = {}, {}, [], []

    def visit(node):
        order[node] = low[node] = len(order)
        stack.append(node)
        for other in sorted(graph[node]):
            if other not in order:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], order[other])
        if low[node] == order[node]:
            part = [stack.pop()]
            while part[-1] != node:
                part.append(stack.pop())
            if len(part) > 1:
                found.append(sorted(part))

    for node in sorted(graph):
        if node not in order:
            visit(node)
    return found


def import_graph(files: dict[str, pathlib.Path]) -> dict[str, set[str]]:
    return {
        module: imported_modules(
            path.read_text(encoding="utf-8"), module, path.name == "__init__.py", set(files)
        )
        for module, path in files.items()
    }


def test_there_is_no_circle_of_imports():
    """Between files, inside functions and under TYPE_CHECKING too."""
    assert circles(import_graph(GENJAX | EXPERIMENTS)) == []


def test_circles_are_found():
    graph = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": set(), "e": {"f"}, "f": {"e"}}
    assert circles(graph) == [["a", "b", "c"], ["e", "f"]]
    known = {"genjax.data", "genjax.data.source", "genjax.train"}
    text = "from genjax.data import source\nimport genjax.train\ndef f():\n    from genjax.data import load"
    assert imported_modules(text, "genjax.app", False, known) == known
    assert imported_modules(text.split("def")[0], "genjax.app", False, known) == known - {"genjax.data"}


def literal_of_setup(name: str):
    """Value of the top-level assignment `name` in setup.py."""
    tree = ast.parse((ROOT / "setup.py").read_text(encoding="utf-8"))
    return next(
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name
    )


@pytest.mark.parametrize("module", GENJAX | EXPERIMENTS)
def test_third_party_imports_are_required_by_setup(module):
    """What importing a module needs is installed by a plain ``pip install``, without any extra."""
    required = {r.split(">")[0].split("[")[0].lower() for r in literal_of_setup("REQUIRED")}
    path = (GENJAX | EXPERIMENTS)[module]
    for name, line, at_import in imports(
        path.read_text(encoding="utf-8"), module, path.name == "__init__.py"
    ):
        top = name.split(".")[0]
        if at_import and top not in sys.stdlib_module_names and top not in ("genjax", "experiments"):
            distribution = COMES_WITH.get(top, DISTRIBUTION.get(top, top)).lower()
            assert distribution in required, f"{module}:{line} imports {top}, which setup.py does not require"


IMPORT_ALL = """
import importlib, json, os, sys
import jax
from jax._src import xla_bridge

modules, forbidden = json.loads(sys.argv[1])
config = dict(jax.config.values)
found = []
for module in modules:
    importlib.import_module(module)
    new = sorted(name for name in forbidden if name in sys.modules)
    found += [f"importing {module} brings in {name}" for name in new]
    forbidden = [name for name in forbidden if name not in new]
    if xla_bridge.backends_are_initialized():
        found.append(f"importing {module} or one before it touches a device")
        break
    changed = [name for name in config if config[name] != jax.config.values[name]]
    found += [f"importing {module} sets jax.config.{name}" for name in changed]
    config = dict(jax.config.values)
print(json.dumps(found))
"""


def effects_of_importing(modules: list[str], path: pathlib.Path, absent: set[str]) -> list[str]:
    """What importing the modules, one after the other in a fresh interpreter, does that it should not."""
    result = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL, json.dumps([modules, sorted(absent)])],
        env={**os.environ, "PYTHONPATH": str(path), "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


def test_importing_has_no_side_effect():
    # Packages first, so that what one of them brings in is put down to it and not to a module inside another.
    packages = [module for module, path in GENJAX.items() if path.name == "__init__.py"]
    others = [module for module in GENJAX if module not in packages]
    light = [module for module in others if not module.startswith("genjax.train.")]
    assert effects_of_importing([*packages, *light], ROOT, OPTIONAL | {"orbax"}) == []
    # The loop saves checkpoints, so it may bring in Orbax; it touches no device and needs no extra either.
    loop = [module for module in others if module.startswith("genjax.train.")]
    assert effects_of_importing(loop, ROOT, OPTIONAL) == []


@pytest.mark.parametrize(
    "source, effect",
    [
        ("import jax.numpy as jnp\nTABLE = jnp.zeros(3)", "touches a device"),
        ("import orbax.checkpoint", "brings in orbax"),
        ("import jax\njax.config.update('jax_enable_x64', True)", "sets jax.config.jax_enable_x64"),
    ],
)
def test_side_effects_are_noticed(tmp_path, source, effect):
    (tmp_path / "careless.py").write_text(source)
    assert any(effect in found for found in effects_of_importing(["careless"], tmp_path, {"orbax"}))
