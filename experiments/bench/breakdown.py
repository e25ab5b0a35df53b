"""Where the time of a compiled program goes, by kind of operation: from a trace and the text of the program."""

import collections
import glob
import math
import os
import re
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax

from genjax.train.program import Program

FORWARD, INPUT, KERNEL = (
    "convolution_forward",
    "convolution_input_gradient",
    "convolution_kernel_gradient",
)
MATMUL, REDUCTION, COPY, ELEMENTWISE = "matmul", "reduction", "copy_and_transpose", "elementwise"

_SCOPE = re.compile(r"convolution_(kernel|input|output)")
"""Part of a source name (`jax.named_scope`): which argument of a convolution is computed from the other two, where the
algorithm consists of other operations."""
_BACKWARD = "transpose(jvp"
_COPIES = {
    "bitcast",
    "broadcast",
    "concatenate",
    "constant",
    "copy",
    "dynamic-slice",
    "dynamic-update-slice",
    "gather",
    "get-tuple-element",
    "iota",
    "pad",
    "parameter",
    "reshape",
    "reverse",
    "scatter",
    "slice",
    "transpose",
    "tuple",
}
_CONTAINERS = {"while", "conditional", "call"}
"""What consists of operations that have events of their own."""

_COMPUTATION = re.compile(r"^(?:ENTRY )?%?([\w.-]+) \(.*\{$")
_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?([\w.-]+) = (.+?) ([a-z][\w-]*)\(")
_CALLS = re.compile(r"calls=%?([\w.-]+)")
_SOURCE = re.compile(r'op_name="([^"]*)"')
_WINDOW = re.compile(r"window=\{size=([\dx]+)")
_LABELS = re.compile(r"dim_labels=\w+->(\w+)")
_SHAPE = re.compile(r"\[([\d,]*)\]")


class Instruction(NamedTuple):
    """A line of a compiled program.

    Attributes:
        name: as in a trace.
        opcode: "fusion", "convolution", ...
        text: the line.
        inner: the computation that a fusion calls.
    """

    name: str
    opcode: str
    text: str
    inner: str | None


def breakdown(run: Callable[[int], object], program: Program, steps: int = 2) -> dict[str, Any]:
    """Milliseconds a step by kind of operation.

    Operations run beside each other on several threads, so that their sum, "all_operations", may be more than the
    time of the step, "step", and idle threads make it less than the threads' time.
    """
    kinds = classify(program.compiled.as_text())
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            start = time.perf_counter()
            run(steps)
            seconds = time.perf_counter() - start
        totals: dict[str, float] = collections.defaultdict(float)
        for name, nanoseconds in _events(folder):
            kind = kinds.get(name, "unknown")
            if kind is not None:
                totals[kind] += nanoseconds
    milliseconds = {kind: x / steps / 1e6 for kind, x in sorted(totals.items(), key=lambda item: -item[1])}
    return {
        "step": 1000 * seconds / steps,
        "all_operations": sum(milliseconds.values()),
        "ms_by_kind": milliseconds,
    }


def classify(text: str) -> dict[str, str | None]:
    """Name of each instruction in a compiled program -> kind; None: its parts are counted."""
    computations = _parse(text)
    every = [instruction for lines in computations.values() for instruction in lines]
    return {
        x.name: None if x.opcode in _CONTAINERS else _kind([x, *computations.get(x.inner or "", [])])
        for x in every
    }


def _parse(text: str) -> dict[str, list[Instruction]]:
    computations: dict[str, list[Instruction]] = {}
    lines: list[Instruction] = []
    for line in text.splitlines():
        header, instruction = _COMPUTATION.match(line), _INSTRUCTION.match(line)
        if header:
            lines = computations[header[1]] = []
        elif instruction:
            inner = _CALLS.search(line)
            lines.append(Instruction(instruction[1], instruction[3], line, inner[1] if inner else None))
    return computations


def _kind(instructions: list[Instruction]) -> str:
    """The kind of one operation. An operation that is fused of several has the kind of the most expensive one."""
    sources = " ".join(source[1] for x in instructions if (source := _SOURCE.search(x.text)))
    if form := _SCOPE.search(sources):
        return KERNEL if form[1] == "kernel" else _direction(sources)
    for x in instructions:
        if x.opcode == "convolution":
            return _convolution(x.text, sources)
    opcodes = {x.opcode for x in instructions if x.opcode != "fusion"}
    if opcodes & {"dot"} or any("dot" in x.text for x in instructions if x.opcode == "custom-call"):
        return MATMUL
    if opcodes & {"reduce", "reduce-window", "select-and-scatter"}:
        return REDUCTION
    return COPY if opcodes <= _COPIES else ELEMENTWISE


def _convolution(text: str, sources: str) -> str:
    """Which gradient: for the kernel's gradient the window is as large as the image, and the result as the kernel.

    Compilers lose the source of some convolutions, but not of convolutions for an input's gradient.
    """
    window, labels, shape = _WINDOW.search(text), _LABELS.search(text), _SHAPE.search(text)
    size = math.prod(map(int, window[1].split("x"))) if window else 1
    if labels and shape:
        sizes = dict(zip(labels[1], map(int, shape[1].split(",")), strict=True))
        if size > math.prod(n for label, n in sizes.items() if label.isdigit()):
            return KERNEL
    return _direction(sources)


def _direction(sources: str) -> str:
    return INPUT if _BACKWARD in sources else FORWARD


def _events(folder: str) -> Iterator[tuple[str, float]]:
    """Name and nanoseconds of every operation in a trace."""
    [path] = glob.glob(os.path.join(folder, "**", "*.xplane.pb"), recursive=True)
    with warnings.catch_warnings():
        # Of the types that reading returns; nothing that a caller could do better.
        warnings.filterwarnings("ignore", "builtin type .* has no __module__", DeprecationWarning)
        for plane in jax.profiler.ProfileData.from_file(path).planes:
            for line in plane.lines:
                for event in line.events:
                    operation = dict(event.stats).get("hlo_op")
                    if operation is not None:
                        yield str(operation), event.duration_ns
