"""``python -m experiments.bench inception``: features for Fréchet distances, and the same with torch-fidelity."""

import dataclasses
import functools
import pathlib
import tempfile
from collections.abc import Callable
from typing import Any, get_args

import jax
import numpy as np
import safetensors.numpy

from experiments.bench import libraries, report, timing, torch_fidelity, torch_inception
from experiments.bench.libraries import OURS, TORCH
from genjax.metrics import inception
from genjax.metrics.extractor import Extractor
from genjax.train.program import Program
from genjax.typing import UserError

_TOLERANCE = 1e-4


@dataclasses.dataclass(frozen=True)
class Options:
    """Inception features of images in memory, uint8, in genjax and with torch-fidelity.

    Both get the same random weights (speed does not depend on them) and must give the same features and logits. Work on
    the host, such as the resize by Pillow under "clean", is included in the time.

    Attributes:
        only: Protocols, legacy-tf or clean. Without it: both. torch-fidelity has only legacy-tf.
        image_size: Height and width of the images.
        batch_size: Number of images at a time.
        against: Implementations that genjax is compared with: torch.
        repeats: Number of rounds. Every contender is measured once in each round.
        seconds: Approximate duration of one measurement, at least one batch.
    """

    only: tuple[str, ...] = ()
    image_size: int = 32
    batch_size: int = 32
    against: tuple[str, ...] = (TORCH,)
    repeats: int = 3
    seconds: float = 1.0


def bench(options: Options) -> dict[str, Any]:
    """Measures what the options choose, prints a table and returns nested results.

    Raises:
        UserError: an option makes no sense, or features differ.
    """
    protocols: tuple[inception.Resize, ...] = get_args(inception.Resize)
    names = libraries.chosen(options, protocols, [options.batch_size, options.image_size])
    arrays = random_arrays(inception.state_dict_shapes())
    shape = (options.batch_size, options.image_size, options.image_size, 3)
    images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "weights.safetensors")
        safetensors.numpy.save_file(arrays, path)
        for name in [protocol for protocol in protocols if protocol in names]:
            extractor = inception.load_inception(path, name, sha256=None)
            theirs = why_not(name) if TORCH in options.against else "not asked for"
            run = None
            if theirs is None:
                run = functools.partial(torch_inception.extractor(arrays), torch_inception.images(images))
            results[name] = _measure(extractor, images, run, theirs, options)
            print(report.table({name: results[name]}), flush=True)
    return results


def random_arrays(shapes: dict[str, tuple[int, ...]], seed: int = 0) -> dict[str, np.ndarray]:
    """A state dict of these shapes in which signals keep their size through a network with ReLUs."""
    rng = np.random.default_rng(seed)

    def draw(name: str, shape: tuple[int, ...]) -> np.ndarray:
        noise = rng.standard_normal(shape)
        if len(shape) > 1:
            return noise * np.sqrt(2 / np.prod(shape[1:]))
        if name.endswith(("bias", "running_mean")):
            return 0.1 * noise
        return np.exp(0.2 * noise)  # scales, variances

    return {name: draw(name, shape).astype(np.float32) for name, shape in shapes.items()}


def why_not(protocol: str) -> str | None:
    """Why torch-fidelity is not measured; None: it is."""
    if protocol != "legacy-tf":
        return "torch-fidelity has no such protocol"
    if not torch_fidelity.installed():
        return "torch-fidelity is not installed: pip install --no-deps torch-fidelity"
    return libraries.why_no_torch()


def _measure(
    extractor: Extractor,
    images: np.ndarray,
    theirs: Callable[[], tuple[np.ndarray, np.ndarray]] | None,
    reason: str | None,
    options: Options,
) -> dict[str, Any]:
    program = Program(extractor.apply, "the extractor")

    def ours() -> tuple[np.ndarray, np.ndarray]:
        return jax.device_get(program(extractor.prepare(images)))

    contenders: dict[str, Callable[[], tuple[np.ndarray, np.ndarray]]] = {OURS: ours}
    if theirs is not None:
        contenders[TORCH] = theirs
        check(ours(), theirs())

    def repeated(run: Callable[[], Any], count: int) -> None:
        for _ in range(count):
            run()

    timed = {
        name: timing.timed(functools.partial(repeated, run), options.batch_size, options.seconds)
        for name, run in contenders.items()
    }
    measured = timing.interleave(timed, options.repeats)
    rates = {name: timing.column(rows, timing.RATE) for name, rows in measured.items()}
    against: dict[str, Any] = {TORCH: reason}
    if theirs is not None:
        ratio = timing.ratio(rates[OURS], rates[TORCH])
        against = {TORCH: {"ratio": ratio, timing.RATE: timing.summary(rates[TORCH])}}
    return {
        timing.RATE: timing.summary(rates[OURS]),
        "compile_seconds": program.compile_seconds,
        "against": against if TORCH in options.against else {},
    }


def check(ours: tuple[np.ndarray, np.ndarray], theirs: tuple[np.ndarray, np.ndarray]) -> None:
    """Raises UserError unless features, and logits, differ by at most 1e-4 of the largest one."""
    for name, a, b in zip(("features", "logits"), ours, theirs, strict=True):
        difference = float(np.abs(a - b).max() / np.abs(b).max())
        if not difference <= _TOLERANCE:
            raise UserError(
                f"against={TORCH!r}: its {name} differ by {difference:.2g} of the largest, more than {_TOLERANCE:g}. "
                "What it computes is not the same"
            )
