"""Pages of the API reference, made from the packages themselves: a new file needs no line here.

Every package is a page. On it the files follow each other: the docstring of a file, then its public names. A name
stands under the shortest path by which a user reaches it: `genjax.diffusion.sample`, not
`genjax.diffusion.sampling.sample`.
Public is what has no underscore, in a module without underscore.
"""

import dataclasses
import functools
import importlib
import inspect
import pathlib
import pkgutil
import types
from collections.abc import Iterator
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.errors import ExtensionError
from sphinx.pycode import ModuleAnalyzer
from sphinx.util.nodes import make_refnode

TOP = "genjax"


@dataclasses.dataclass(frozen=True)
class Name:
    """A public name.

    Attributes:
        path: the shortest path to it.
        defined: the path in the file that defines it.
        directive: autodoc's directive for it.
    """

    path: str
    defined: str
    directive: str


@functools.cache
def modules() -> dict[str, types.ModuleType]:
    """Every public module by its path, packages before what is in them."""
    top = importlib.import_module(TOP)
    found = {TOP: top}
    for info in pkgutil.walk_packages(top.__path__, TOP + "."):
        if not any(part.startswith("_") for part in info.name.split(".")):
            found[info.name] = importlib.import_module(info.name)
    return found


def is_package(module: types.ModuleType) -> bool:
    """Whether the module is a folder."""
    return hasattr(module, "__path__")


@functools.cache
def defined_in(path: str) -> dict[str, str]:
    """What a module defines: public names in the order of the file, and autodoc's directive for each."""
    module, analyzer = modules()[path], ModuleAnalyzer.for_module(path)
    analyzer.analyze()
    commented = {name for scope, name in analyzer.attr_docs if not scope}
    found: dict[str, str] = {}
    for name, value in vars(module).items():
        if name.startswith("_"):
            continue
        if getattr(value, "__module__", None) == path and inspect.isclass(value):
            found[name] = "autoexception" if issubclass(value, BaseException) else "autoclass"
        elif getattr(value, "__module__", None) == path and inspect.isroutine(inspect.unwrap(value)):
            found[name] = "autofunction"
        elif name in commented:
            found[name] = "autodata"
    order = analyzer.tagorder
    return dict(sorted(found.items(), key=lambda item: order.get(item[0], len(order))))


@functools.cache
def constants() -> set[str]:
    """Names of constants, tables and types that files define."""
    return {name for path in modules() for name, kind in defined_in(path).items() if kind == "autodata"}


@functools.cache
def exports() -> dict[int, str]:
    """The shortest path of everything public that a package gives, by identity."""
    shortest: dict[int, str] = {}
    for path, module in modules().items():
        if not is_package(module):
            continue
        for name in [*getattr(module, "__all__", vars(module)), *(["load"] if path == TOP else [])]:
            value = getattr(module, name)
            ours = (getattr(value, "__module__", None) or "").startswith(TOP) or name in constants()
            if name.startswith("_") or inspect.ismodule(value) or not ours:
                continue
            candidate = f"{path}.{name}"
            known = shortest.get(id(value))
            if known is None or candidate.count(".") < known.count("."):
                shortest[id(value)] = candidate
    return shortest


@functools.cache
def names(path: str) -> tuple[Name, ...]:
    """The public names that a module defines."""
    return tuple(
        Name(
            f"{path}.{name}" if directive == "autodata" else exported(path, name), f"{path}.{name}", directive
        )
        for name, directive in defined_in(path).items()
    )


def exported(path: str, name: str) -> str:
    """The shortest path of a name of a module. Of a constant only its file knows the docstring: it stands there."""
    return exports().get(id(getattr(modules()[path], name)), f"{path}.{name}")


@functools.cache
def aliases() -> dict[str, str]:
    """Other paths of a name -> the path under which it stands."""
    found = {}
    for path in modules():
        for name in names(path):
            others = {name.defined, exported(path, name.defined.rpartition(".")[2])} - {name.path}
            found |= dict.fromkeys(others, name.path)
    return found


def is_shown(module: str) -> bool:
    """Whether a module has a section: it is a package, or defines public names."""
    return is_package(modules()[module]) or bool(names(module))


def pages() -> dict[str, list[str]]:
    """The modules of every page, by the package that the page is about."""
    found: dict[str, list[str]] = {}
    for path, module in modules().items():
        found.setdefault(path if is_package(module) else path.rpartition(".")[0], []).append(path)
    return found


def label(module: str) -> str:
    """The place of a module on its page."""
    return f"module-{module.replace('.', '-').replace('_', '-').lower()}"


def page(package: str, paths: list[str]) -> Iterator[str]:
    """Lines of a page, in reStructuredText, as docstrings are."""
    for path in paths:
        title = path if path == package else path.removeprefix(package + ".")
        if not is_shown(path):
            continue
        yield from ("", f".. _{label(path)}:", "", title, ("=" if path == package else "-") * len(title), "")
        yield from (f".. automodule:: {path}", "   :no-index:", "")
        if path == package:
            below = [other for other in pages() if other.rpartition(".")[0] == package]
            if below:
                yield from (".. toctree::", "   :maxdepth: 1", "", *(f"   {other}" for other in below), "")
        for name in names(path):
            yield f".. {name.directive}:: {name.path}"
            if name.directive in ("autoclass", "autoexception"):
                yield from ("   :members:", "   :member-order: bysource")
            if name.directive == "autodata":
                yield "   :no-value:"
            yield ""


def write(app: Sphinx) -> None:
    """Writes the pages whose text has changed, and takes away the pages of packages that are gone."""
    folder = pathlib.Path(app.srcdir) / "api"
    folder.mkdir(exist_ok=True)
    expected = {f"{package}.rst": "\n".join(page(package, paths)) for package, paths in pages().items()}
    for old in folder.glob("*.rst"):
        if old.name not in expected:
            old.unlink()
    for file, text in expected.items():
        path = folder / file
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


@functools.cache
def _by_ending() -> dict[str, str]:
    """The paths that end in a name, by the name; only where there is one."""
    found: dict[str, set[str]] = {}
    for module in modules():
        for name in names(module):
            for whole in (name.path, name.defined):
                parts = whole.split(".")
                for start in range(1, len(parts)):
                    found.setdefault(".".join(parts[start:]), set()).add(name.path)
    return {ending: paths.pop() for ending, paths in found.items() if len(paths) == 1}


def resolve(
    app: Sphinx, environment: BuildEnvironment, reference: pending_xref, text: nodes.TextElement
) -> nodes.Node | None:
    """The target of a name in single backticks that is not written as the reference has it."""
    if reference.get("refdomain") != "py":
        return None
    target = reference["reftarget"]
    if target in modules() and is_shown(target):
        package = target if is_package(modules()[target]) else target.rpartition(".")[0]
        return make_refnode(app.builder, reference["refdoc"], f"api/{package}", label(target), text)
    path = aliases().get(target) or _by_ending().get(target)
    if path is None or path == target:
        return None
    return environment.get_domain("py").resolve_xref(
        environment, reference["refdoc"], app.builder, reference["reftype"], path, reference, text
    )


def skip(app: Sphinx, what: str, name: str, member: Any, skipped: bool, options: Any) -> bool | None:
    """Leaves out fields that the docstring of their class explains: of named tuples, and those whose default can be
    called, which would bring its whole docstring."""
    if what not in ("class", "exception"):
        return None
    method = (inspect.isfunction(member) or inspect.ismethod(member)) and "." in member.__qualname__
    return True if (callable(member) and not method) or type(member).__name__ == "_tuplegetter" else None


class Sentences:
    """Keeps Napoleon from reading "What a thing is: a thing", below a constant, as its type and what it means."""

    def __init__(self) -> None:
        self._kept: dict[str, list[str]] = {}

    def keep(self, app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
        """Before Napoleon."""
        if what in ("attribute", "data", "property"):
            self._kept[name] = list(lines)

    def give_back(self, app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
        """After it."""
        lines[:] = self._kept.pop(name, lines)


def check(app: Sphinx, error: Exception | None) -> None:
    """Ends the build where a public name is missing in the reference.

    Raises:
        ExtensionError: it names them.
    """
    if error is not None or app.builder.name not in ("html", "dirhtml"):
        return
    objects = app.env.get_domain("py").objects  # type: ignore[attr-defined]
    missing = [name.path for path in modules() for name in names(path) if name.path not in objects]
    if missing:
        raise ExtensionError(f"not in the API reference: {', '.join(missing)}")


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.connect("builder-inited", write)
    app.connect("missing-reference", resolve)
    app.connect("autodoc-skip-member", skip)
    sentences = Sentences()
    app.connect("autodoc-process-docstring", sentences.keep, priority=100)
    app.connect("autodoc-process-docstring", sentences.give_back, priority=900)
    app.connect("build-finished", check)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
