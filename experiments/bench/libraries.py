"""Whether PyTorch is there to be compared with, and the choice of what is measured and against what."""

import importlib.metadata
import importlib.util
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import jax

from genjax.typing import UserError

OURS, STOCK, TORCH = "genjax", "stock", "torch"


class Choice(Protocol):
    """What the options of `layers` and `step` have in common."""

    @property
    def only(self) -> tuple[str, ...]: ...
    @property
    def against(self) -> tuple[str, ...]: ...
    @property
    def repeats(self) -> int: ...
    @property
    def seconds(self) -> float: ...


def chosen(options: Choice, names: Iterable[str], batch_sizes: Sequence[int]) -> list[str]:
    """The `names` that the options choose; all of them by default.

    Raises:
        UserError: an option makes no sense.
    """
    names = list(names)
    for option, given, valid in (
        ("only", options.only, names),
        ("against", options.against, [STOCK, TORCH]),
    ):
        unknown = [name for name in given if name not in valid]
        if unknown:
            raise UserError(f"{option}={unknown[0]!r}: valid are {', '.join(valid)}")
    if options.repeats < 1 or options.seconds <= 0 or not batch_sizes or min(batch_sizes) < 1:
        raise UserError(
            f"repeats={options.repeats}, seconds={options.seconds}, batch_size={batch_sizes}: repeats and batch "
            "sizes must be at least 1, seconds more than 0"
        )
    return [name for name in names if name in (options.only or names)]


def torch_installed() -> bool:
    """Whether PyTorch can be imported."""
    return importlib.util.find_spec("torch") is not None


def why_no_torch() -> str | None:
    """Why PyTorch is not measured; None: it is. Takes a device."""
    if not torch_installed():
        return "not installed: pip install -e '.[parity]'"
    if jax.default_backend() != "cpu":
        return "compared on CPUs only"
    return None


def described(options: Choice) -> dict[str, Any]:
    """PyTorch's version and threads, or why it is not measured."""
    if TORCH not in options.against:
        return {}
    reason = why_no_torch()
    if reason:
        return {TORCH: reason}
    from experiments.bench import torch_tasks

    return {TORCH: {"version": importlib.metadata.version("torch"), "threads": torch_tasks.threads()}}
