"""``python -m experiments.bench layers``: single layers, forward and each gradient alone."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from experiments.bench import layers_table, libraries, specs, timing
from experiments.bench.libraries import OURS, STOCK, TORCH
from experiments.bench.stock import with_stock_layers
from genjax.nn import Conv, ConvTranspose, GroupNorm, SelfAttention, max_pool
from genjax.typing import Array, PyTree, UserError

_TOLERANCE = 1e-4
PEAK = "matmul"
IN_SCAN = "kernel_gradient_in_scan"
SCANNED = 2
"""Iterations of the loop in which the kernel's gradient is measured too."""


@dataclasses.dataclass(frozen=True)
class Options:
    """Single layers, forward and gradients, against flax.linen's and against PyTorch.

    Contenders get the same weights and must give the same outputs. Prints milliseconds, ratios (above 1, genjax is
    faster) and GFLOP/s, also as a share of the GFLOP/s of a large matrix product in the same round.

    Attributes:
        only: Names of layers. Without it: all layers.
        batch_size: Number of images at a time.
        against: Implementations that genjax is compared with: stock (flax.linen's layers), torch.
        repeats: Number of rounds. Every contender is measured once in each round.
        seconds: Approximate duration of one measurement, at least one call.
    """

    only: tuple[str, ...] = ()
    batch_size: int = 64
    against: tuple[str, ...] = (STOCK, TORCH)
    repeats: int = 7
    seconds: float = 0.2


class Layer(NamedTuple):
    """What is measured: a layer without bias, stride 1 if not said otherwise, "SAME" padding.

    Attributes:
        kind: "conv", "conv_transpose", "group_norm", "max_pool" or "attention".
        shape: H, W, C of the input.
        features: channels of the output of a convolution.
        kernel: size of the kernel, or of a window.
        stride: stride of a convolution.
        groups: groups of channels in a convolution.
        head_channels: channels of attention.
    """

    kind: str
    shape: tuple[int, int, int]
    features: int = 0
    kernel: int = 0
    stride: int = 1
    groups: int = 1
    head_channels: int = 0


LAYERS: dict[str, Layer] = {
    "conv3-64-28": Layer("conv", (28, 28, 64), features=64, kernel=3),
    "conv3-128-16": Layer("conv", (16, 16, 128), features=128, kernel=3),
    "conv3-128-32": Layer("conv", (32, 32, 128), features=128, kernel=3),
    "conv1-128-64-32": Layer("conv", (32, 32, 128), features=64, kernel=1),
    "conv4-stride2-64-128-32": Layer("conv", (32, 32, 64), features=128, kernel=4, stride=2),
    "transpose4-stride2-128-64-16": Layer("conv_transpose", (16, 16, 128), features=64, kernel=4, stride=2),
    "transpose2-stride2-256-128-16": Layer("conv_transpose", (16, 16, 256), features=128, kernel=2, stride=2),
    "depthwise3-128-32": Layer("conv", (32, 32, 128), features=128, kernel=3, groups=128),
    "group-norm-128-32": Layer("group_norm", (32, 32, 128)),
    "max-pool2-64-32": Layer("max_pool", (32, 32, 64), kernel=2),
    "attention-heads8-128-16": Layer("attention", (16, 16, 128), head_channels=8),
    "attention-heads64-128-16": Layer("attention", (16, 16, 128), head_channels=64),
}
"""By kind, size of the kernel, channels in and out, and height."""

_CONVOLUTIONS = {"conv", "conv_transpose"}
_MODULES: dict[str, Callable[[Layer], nn.Module]] = {
    "conv": lambda x: Conv(
        x.features,
        (x.kernel, x.kernel),
        strides=(x.stride, x.stride),
        feature_group_count=x.groups,
        use_bias=False,
    ),
    "conv_transpose": lambda x: ConvTranspose(
        x.features, (x.kernel, x.kernel), strides=(x.stride, x.stride), use_bias=False
    ),
    "group_norm": lambda x: GroupNorm(),
    "attention": lambda x: SelfAttention(x.head_channels),
}

Function = Callable[[PyTree, Array], Any]
"""``(params, x) -> y``."""
Run = Callable[[int], None]
"""Does something `count` times."""


def bench(
    options: Options, known: Mapping[str, Layer] = LAYERS, matmul_size: int = 2048
) -> dict[str, dict[str, Any]]:
    """Measures what the options choose, prints a table and returns layer -> part -> numbers.

    Raises:
        UserError: an option makes no sense, or a contender gives other outputs.
    """
    names = libraries.chosen(options, known, [options.batch_size])
    peak = _matmul(matmul_size)
    results = {}
    for name in names:
        results[name] = measure(name, known[name], options, peak, 2 * matmul_size**3)
        print(layers_table.table({name: results[name]}, header=name == names[0]), flush=True)
    return results


def measure(
    name: str, layer: Layer, options: Options, peak: Callable[[int], object], peak_flops: int
) -> dict[str, Any]:
    """Part -> numbers, of one layer; see `bench`."""
    rng = np.random.default_rng(0)
    ours, params = _functions(layer, options.batch_size)
    x = rng.standard_normal((options.batch_size, *layer.shape), np.float32)
    dy = rng.standard_normal(jax.eval_shape(ours[OURS], params, x).shape, np.float32)
    made, expected = _jax_contenders(name, layer, ours, params, x, dy, options)
    if TORCH in options.against and libraries.why_no_torch() is None:
        for part, run in _torch(name, layer, params, x, dy, expected).items():
            made[part][TORCH] = run

    contenders = {PEAK: peak} | {f"{part} {who}": run for part, by in made.items() for who, run in by.items()}
    timed = {name: timing.timed(run, 1, options.seconds) for name, run in contenders.items()}
    measured = timing.interleave(timed, options.repeats)
    rates = {name: timing.column(rows, timing.RATE) for name, rows in measured.items()}

    def numbers(part: str) -> dict[str, Any]:
        calls = SCANNED if part == IN_SCAN else 1
        mine = [calls * rate for rate in rates[f"{part} {OURS}"]]
        others = {who: rates[f"{part} {who}"] for who in made[part] if who != OURS}
        work = flops(layer, part, options.batch_size)
        speed = [work * rate for rate in mine]
        limit = [peak_flops * rate for rate in rates[PEAK]]
        return {
            "ms": {OURS: _ms(mine)} | {who: _ms(x) for who, x in others.items()},
            "ratio": {who: timing.ratio(mine, x) for who, x in others.items()},
            **(
                {
                    "gflop_per_second": timing.summary([x / 1e9 for x in speed]),
                    "of_matmul_peak": timing.ratio(speed, limit),
                }
                if work
                else {}
            ),
        }

    return {part: numbers(part) for part in made}


def flops(layer: Layer, part: str, batch: int) -> int:
    """Operations of one call (one iteration of a scan), multiplications and additions; 0 where they do not matter.

    A convolution is counted as if it read no zeros beyond the border; attention without norm and softmax.
    """
    height, width, channels = layer.shape
    pixels = batch * height * width
    if layer.kind in _CONVOLUTIONS:
        steps = layer.stride**2 if layer.kind == "conv" else 1
        return 2 * pixels // steps * layer.kernel**2 * channels // layer.groups * layer.features
    if layer.kind == "attention":
        forward = 2 * pixels * channels * 4 * channels + 2 * 2 * pixels * height * width * channels
        return forward if part == "forward" else 3 * forward
    return 0


def _functions(layer: Layer, batch: int) -> tuple[dict[str, Function], PyTree]:
    """The layer of genjax.nn and of flax.linen, and their parameters."""
    if layer.kind == "max_pool":
        window = layer.kernel, layer.kernel
        return {
            OURS: lambda params, x: max_pool(x, window, strides=window),
            STOCK: lambda params, x: nn.max_pool(x, window, strides=window),
        }, {}
    module = _MODULES[layer.kind](layer)
    x = jax.ShapeDtypeStruct((batch, *layer.shape), jnp.float32)
    shapes = jax.eval_shape(module.init, jax.random.key(0), x)

    def apply(params: PyTree, x: Array) -> Any:
        return module.apply({"params": params}, x)

    return {OURS: apply, STOCK: with_stock_layers(apply)}, specs.weights(shapes["params"])


def _parts(layer: Layer, function: Function) -> dict[str, Callable]:
    """Part -> ``(params, x, dy) -> arrays``."""

    def input_gradient(params: PyTree, x: Array, dy: Array) -> list[Array]:
        return list(jax.vjp(functools.partial(function, params), x)[1](dy))

    def kernel_gradient(params: PyTree, x: Array, dy: Array) -> list[Array]:
        return jax.tree.leaves(jax.vjp(lambda params: function(params, x), params)[1](dy))

    def in_scan(params: PyTree, x: Array, dy: Array) -> list[Array]:
        def body(x: Array, _: None) -> tuple[Array, Array]:
            [gradient] = kernel_gradient(params, x, dy)
            # Every iteration needs the one before, or the compiler would take it out of the loop.
            return x.at[0, 0, 0, 0].add(1e-20 * gradient.ravel()[0]), gradient

        return [jax.lax.scan(body, x, length=SCANNED)[1][-1]]

    def forward_backward(params: PyTree, x: Array, dy: Array) -> list[Array]:
        y, pull_back = jax.vjp(function, params, x)
        gradients, dx = pull_back(dy)
        return [y, dx, *jax.tree.leaves(gradients)]

    parts: dict[str, Callable] = {"forward": lambda params, x, dy: [function(params, x)]}
    if layer.kind in _CONVOLUTIONS:
        gradients = {"input_gradient": input_gradient, "kernel_gradient": kernel_gradient}
        return parts | gradients | {IN_SCAN: in_scan}
    return parts | {"forward_backward": forward_backward}


def _jax_contenders(
    name: str,
    layer: Layer,
    functions: Mapping[str, Function],
    params: PyTree,
    x: np.ndarray,
    dy: np.ndarray,
    options: Options,
) -> tuple[dict[str, dict[str, Run]], dict[str, list[np.ndarray]]]:
    """Part -> contender -> what is timed, and part -> results of flax.linen, which genjax's are checked against."""
    arguments = jax.device_put((params, x, dy))
    parts = {who: _parts(layer, function) for who, function in functions.items()}
    made: dict[str, dict[str, Run]] = {}
    expected: dict[str, list[np.ndarray]] = {}

    def contender(who: str, part: str) -> tuple[Run, list[np.ndarray]]:
        program = jax.jit(parts[who][part])

        def run(count: int) -> None:
            for _ in range(count):
                jax.block_until_ready(program(*arguments))

        return run, [np.asarray(y) for y in program(*arguments)]

    for part in parts[OURS]:
        mine, results = contender(OURS, part)
        made[part] = {OURS: mine}
        if part == IN_SCAN:  # slow in flax.linen, and it has been computed outside
            check(f"{name} {part} of {OURS}", results, expected["kernel_gradient"])
            continue
        stock, expected[part] = contender(STOCK, part)
        check(f"{name} {part} of {OURS}", results, expected[part])
        if STOCK in options.against:
            made[part][STOCK] = stock
    return made, expected


def _torch(
    name: str,
    layer: Layer,
    params: PyTree,
    x: np.ndarray,
    dy: np.ndarray,
    expected: Mapping[str, list[np.ndarray]],
) -> dict[str, Run]:
    """Part -> what is timed in PyTorch, checked against the results of flax.linen."""
    from experiments.bench import torch_layers

    def run(peer: torch_layers.Peer, count: int) -> None:
        for _ in range(count):
            peer.run()

    made = {k: v for k, v in torch_layers.peers(layer, params, x, dy).items() if k in expected}
    for part, peer in made.items():
        check(f"{name} {part} of {TORCH}", peer.arrays(peer.run()), expected[part])
    return {part: functools.partial(run, peer) for part, peer in made.items()}


def check(what: str, given: list[np.ndarray], expected: list[np.ndarray]) -> None:
    """Raises UserError unless arrays differ by at most 1e-4 of the largest number; of fewer arrays, the first."""
    for a, b in zip(given, expected, strict=False):
        difference = float(np.abs(a - b).max() / np.abs(b).max()) if a.shape == b.shape else np.inf
        if not difference <= _TOLERANCE:
            raise UserError(
                f"{what}: shape {a.shape} and expected {b.shape}; differs from flax.linen's result by "
                f"{difference:.2g} of its largest number, more than {_TOLERANCE:g}"
            )


def _matmul(size: int) -> Callable[[int], None]:
    """A product of square float32 matrices."""
    a, b = jax.device_put(np.random.default_rng(0).standard_normal((2, size, size), np.float32))
    program = jax.jit(jnp.matmul)

    def run(count: int) -> None:
        for _ in range(count):
            jax.block_until_ready(program(a, b))

    return run


def _ms(rates: list[float]) -> dict[str, float]:
    return timing.summary([1000 / rate for rate in rates])
