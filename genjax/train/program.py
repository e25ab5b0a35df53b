"""A function that is compiled exactly once."""

import time
from collections.abc import Callable
from typing import Any

import jax

from genjax.typing import PyTree


class RecompileError(RuntimeError):
    """A compiled function was called with arguments of another signature."""


class Program:
    """`jax.jit(function)` compiled at its first call; a call that would need a second compilation is an error.

    A recompile is nearly always a mistake (a Python number that changes, a weak type, a ragged batch) that costs
    minutes in silence. The error lists what differs.

    Args:
        function: what to compile.
        name: for messages.
        transform: `jax.jit` or `jax.pmap`.
        **options: of the transform.

    Attributes:
        compile_seconds: time spent tracing and compiling; 0 before the first call.
        compiled: the compiled executable (None before the first call); see `jax.stages.Compiled` for its cost and
            memory analysis.
    """

    def __init__(self, function: Callable, name: str, transform: Callable = jax.jit, **options: Any):
        self._jitted = transform(function, **options)
        self._name = name
        self._signature: dict[str, str] = {}
        self.compiled: Any = None
        self.compile_seconds = 0.0

    def compile(self, *args: PyTree) -> None:
        """Compiles for arguments like `args`, without running."""
        start = time.perf_counter()
        self._signature = _signature(args)
        self.compiled = self._jitted.lower(*args).compile()
        self.compile_seconds = time.perf_counter() - start

    def __call__(self, *args: PyTree) -> Any:
        if self.compiled is None:
            self.compile(*args)
        try:
            return self.compiled(*args)
        except (TypeError, ValueError) as error:
            differences = _differences(self._signature, _signature(args))
            if not differences:
                raise
            raise RecompileError(
                f"{self._name} was compiled for other arguments than it is called with now:\n"
                + "\n".join(differences)
            ) from error


def _signature(args: PyTree) -> dict[str, str]:
    def describe(x: Any) -> str:
        aval = jax.typeof(x)
        weak = " (weak type)" if getattr(aval, "weak_type", False) else ""
        sharding = getattr(x, "sharding", None)
        layout = f" {getattr(sharding, 'spec', sharding)}" if sharding is not None else ""
        return f"{aval.dtype}{list(aval.shape)}{weak}{layout}"

    leaves = jax.tree_util.tree_leaves_with_path(args)
    return {jax.tree_util.keystr(path): describe(leaf) for path, leaf in leaves}


def _differences(compiled: dict[str, str], called: dict[str, str]) -> list[str]:
    paths = [p for p in compiled | called if compiled.get(p) != called.get(p)]
    return [
        f"  argument {p}: compiled {compiled.get(p, 'absent')}, now {called.get(p, 'absent')}" for p in paths
    ]


def memory(program: Program | None) -> dict[str, int]:
    """Bytes that a compiled program needs on each device, as the compiler counts them."""
    analysis = None if program is None else program.compiled.memory_analysis()
    if analysis is None:
        return {}
    return {
        "temporary_bytes": analysis.temp_size_in_bytes,
        "argument_bytes": analysis.argument_size_in_bytes,
        "output_bytes": analysis.output_size_in_bytes,
    }
