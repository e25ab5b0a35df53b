"""Docstrings: their examples are run, and what a user calls directly has an example, and says shapes."""

import doctest
import functools
import importlib
import inspect
import pkgutil
import re

import pytest

import genjax

DIRECT = """
conditions random
diffusion.analytic diffusion.decoders diffusion.distance diffusion.grids diffusion.learned_variance
diffusion.likelihood diffusion.prediction diffusion.probability_flow diffusion.process diffusion.times
diffusion.uncertainty diffusion.weighting diffusion.guidance.operators
losses.adversarial losses.attacks losses.decomposition losses.gaussian losses.likelihood losses.logistic_mixture
losses.perceptual losses.sparsity
methods.averages methods.gradients methods.optimizers
metrics.captions metrics.copying metrics.extrapolation metrics.frechet metrics.inception_score metrics.intervals
metrics.kernel metrics.manifold metrics.modes metrics.neighbours metrics.protocol metrics.purity
metrics.reconstruction metrics.reference_statistics metrics.robustness metrics.score metrics.sharpness metrics.vendi
train.feed train.fit train.options
"""
"""Files whose functions a user calls by the name of the file. What a package exports is called directly, too."""


@functools.cache
def modules():
    """Every public module, by its path."""
    names = ["genjax", *(info.name for info in pkgutil.walk_packages(genjax.__path__, "genjax."))]
    public = [name for name in names if not re.search(r"\._", name)]
    return {name: importlib.import_module(name) for name in public}


def own(module):
    """The public functions and classes that a module defines."""
    return {
        name: value
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (inspect.isfunction(inspect.unwrap(value)) or inspect.isclass(value))
        and getattr(value, "__module__", None) == module.__name__
    }


@functools.cache
def direct():
    """The functions that a user calls directly, by their path."""
    found = {}
    for path, module in modules().items():
        if path.removeprefix("genjax.") in DIRECT.split():
            found |= {f"{path}.{name}": value for name, value in own(module).items()}
        elif hasattr(module, "__path__"):
            exported = {name: getattr(module, name) for name in getattr(module, "__all__", vars(module))}
            found |= {
                f"{value.__module__}.{value.__name__}": value
                for name, value in exported.items()
                if not name.startswith("_") and getattr(value, "__module__", "").startswith("genjax.")
                and hasattr(value, "__name__")
            }  # fmt: skip
    found["genjax.app.run.load"] = genjax.load
    return {path: value for path, value in found.items() if inspect.isfunction(inspect.unwrap(value))}


def takes_arrays(function):
    """Whether a signature has an array in it."""
    return re.search(r"\b(Array|ArrayLike|Key|ndarray)\b", str(inspect.signature(function)))


def says_shapes(value):
    """Whether the signature or the docstring, without its example, says what shape arrays have."""
    lines = (inspect.getdoc(value) or "").splitlines()
    text = "\n".join(line for line in lines if not line.lstrip().startswith((">>>", "...")))
    text = f"{text} {inspect.signature(value)}"
    arrays = r"(u?int|float|bool|Key|Float|Int|UInt8|Bool|Num|array)s?\d*\[|\[(B|N|H|K|D|T)\b[^\]]*\]|\[\]|scalar|shape"
    return re.search(arrays, text)


@pytest.mark.quick_compilation
@pytest.mark.parametrize(
    "path", [path for path, module in modules().items() if ">>>" in inspect.getsource(module)]
)
def test_the_examples_in_docstrings(path, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    runner = doctest.DocTestRunner(optionflags=flags, verbose=False)
    for found in doctest.DocTestFinder(exclude_empty=True).find(modules()[path], path, globs={}):
        report = []
        runner.run(found, out=report.append)
        assert not report, "".join(report)


def test_what_a_user_calls_directly_has_an_example():
    lacking = [path for path, value in direct().items() if ">>>" not in (inspect.getdoc(value) or "")]
    assert not lacking, f"{len(lacking)} of {len(direct())}: " + " ".join(lacking)


def test_every_public_name_says_what_it_is():
    lacking = [
        f"{path}.{name}"
        for path, module in modules().items()
        for name, value in own(module).items()
        if not value.__doc__ or (inspect.isclass(value) and value.__doc__.startswith(f"{name}("))
    ]
    assert not lacking, " ".join(lacking)


def test_every_public_function_of_arrays_says_their_shapes():
    lacking = [
        f"{path}.{name}"
        for path, module in modules().items()
        for name, value in own(module).items()
        if inspect.isfunction(value) and takes_arrays(value) and not says_shapes(value)
    ]
    assert not lacking, f"{len(lacking)}: " + " ".join(lacking)
