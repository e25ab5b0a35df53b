"""Strict settings for every test: eight CPU devices, rank promotion raises, shape annotations are checked."""

import os

# Before jax is imported: the number of devices is fixed when the backend starts.
_FLAG = "--xla_force_host_platform_device_count=8"
if "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {_FLAG}".strip()
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# PyTorch's threads wait for each other by spinning: with a worker on every core they take each other's time.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import atexit
import pathlib
import shutil
import tempfile
import time

import jax
import jaxlib
import jaxtyping
import pytest

from tests import budget, compilation_cache

pytest.register_assert_rewrite("tests.contracts.method_contract", "tests.contracts.adding")

jaxtyping.install_import_hook(
    [
        "genjax.augmentation",
        "genjax.diffusion",
        "genjax.losses",
        "genjax.data",
        "genjax.metrics",
        "genjax.random",
    ],
    "beartype.beartype",
)

jax.config.update("jax_numpy_rank_promotion", "raise")
# Compiled programs survive between runs of the suite, also of processes that tests start; both minimum
# thresholds, or small programs are not kept.
for _name, _value in {
    "jax_compilation_cache_dir": str(compilation_cache.folder(jax, jaxlib)),
    "jax_persistent_cache_min_entry_size_bytes": -1,
    "jax_persistent_cache_min_compile_time_secs": 0,
}.items():
    jax.config.update(_name, _value)
    os.environ[_name.upper()] = str(_value)

# Folders that tests confirm (genjax.data.confirmed) are none that the user has; processes that tests start see the
# same.
os.environ["XDG_STATE_HOME"] = tempfile.mkdtemp(prefix="genjax-tests-")
atexit.register(shutil.rmtree, os.environ["XDG_STATE_HOME"], ignore_errors=True)

_STARTED = time.time()


@pytest.fixture(scope="session", autouse=True)
def no_photographs():
    """Runs are scored as where the weights for photographs are not installed, unless a test says otherwise."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("genjax.metrics.efficientnet_lite.is_installed", lambda: False)
        yield


def pytest_configure(config):
    config.pluginmanager.register(budget.Costs(), "costs")
    jax.monitoring.register_event_duration_secs_listener(budget.COMPILING)


def pytest_sessionfinish(session):
    if "PYTEST_XDIST_WORKER" not in os.environ:
        compilation_cache.tidy(_STARTED)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    """Marked tests, their fixtures and their processes compile in half the time; results are equal up to rounding."""
    quick = item.get_closest_marker("quick_compilation") is not None
    jax.config.update("jax_disable_most_optimizations", quick)
    os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = str(quick)
    return (yield)


_FIRST = ("train", "experiments", "app", "contracts", "methods", "models")
"""Folders whose files take longest: at the end, one would keep a single worker busy while the others have nothing."""
_QUICK = ("app", "experiments", "models", "augmentation", "contracts", "losses", "methods")
"""Folders of tiny programs, which mostly wait for the compiler: it takes a third less. Not nn, whose
convolutions are there for how they are compiled."""


def pytest_collection_modifyitems(items):
    """Long files first, the rest as it was; and what is to be compiled quickly."""
    root = pathlib.Path(__file__).parent
    folders = {item: item.path.relative_to(root).parts[0] for item in items}
    items.sort(key=lambda item: (*_FIRST, folders[item]).index(folders[item]))
    for item in items:
        if folders[item] in _QUICK:
            item.add_marker("quick_compilation")
