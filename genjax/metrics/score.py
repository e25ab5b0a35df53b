"""One call from images to numbers: how far generated images are from real ones, on a scale real ones set."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from genjax.metrics import suite
from genjax.metrics.extractor import Extractor
from genjax.metrics.features import Features, Images, features
from genjax.metrics.protocol import Protocol
from genjax.metrics.sizes import TooFewError
from genjax.typing import UserError

SUBSET_SEED = 0


def score(
    generated: Images,
    test: Images,
    train: Images | None = None,
    *,
    extractor: Extractor,
    metrics: Sequence[str] = ("fd",),
    labels: np.ndarray | None = None,
    equal: bool = True,
    resamples: int = 0,
    batch_size: int = 500,
    sharding: jax.sharding.Sharding | None = None,
    reference: str = "test",
) -> dict[str, Any]:
    """Scores generated images against real ones.

    A distance alone says little: its scale is the extractor's, and it falls as the number of images grows. So the
    Fréchet distance is measured between the real train and test sets too, from the same number of images on every
    side; `rho`, the quotient, is near 1 when generated images are as close to the test set as real ones are.

    Arrays are quantised to 8 bits by `quantize`, as images that are written to disk are.

    Args:
        generated: uint8[N1,H,W,C], or float[N1,H,W,C] in [-1, 1], or images that are read when needed.
        test: as `generated`: held-out real images, the reference.
        train: as `generated`: real images the model was trained on; None where they are not known.
        extractor: extractor of features and logits.
        metrics: names in `suite.METRICS`.
        labels: int[N1], the class asked of each generated image; None if the model takes none.
        equal: cut every set to the size of the smallest one, by `subset`.
        resamples: number of bootstrap resamples for 95 % intervals; 0: no intervals.
        batch_size: images passed to the extractor at a time, a multiple of the devices of `sharding`.
        sharding: how a batch is laid out on devices; None is one device.
        reference: name of the test set, for the protocol: "mnist/test".

    Returns:
        What the metrics say, by name, and how it was measured: see `suite.measure`. With `labels` ``label_agreement``,
        the share of the images that are classified as what was asked for.

    Raises:
        UserError: if there are fewer than two images on a side, shapes or types do not fit, a value is not finite, or
            a metric is not known.

    Example:
        >>> import numpy as np
        >>> from genjax.metrics import load_digits_classifier
        >>> from genjax.metrics.score import score
        >>> train, test = np.random.default_rng(0).integers(0, 256, (2, 130, 8, 8, 1), dtype=np.uint8)
        >>> found = score(255 - train, test, train, extractor=load_digits_classifier(), batch_size=130)
        >>> print(f"{found['rho']:.1f}")
        1.1
    """
    scorer = Scorer(
        test,
        train,
        num=len(generated),
        extractor=extractor,
        metrics=metrics,
        equal=equal,
        resamples=resamples,
        batch_size=batch_size,
        sharding=sharding,
        reference=reference,
    )
    return scorer(generated, labels)


class Scorer:
    """`score` of one set of generated images after another: features of the real images are computed once.

    The arguments are the same as in `score`, plus `num`, the number of images in each set.

    Raises:
        UserError: as `score` does.
    """

    def __init__(
        self,
        test: Images,
        train: Images | None = None,
        *,
        num: int,
        extractor: Extractor,
        metrics: Sequence[str] = ("fd",),
        equal: bool = True,
        resamples: int = 0,
        batch_size: int = 500,
        sharding: jax.sharding.Sharding | None = None,
        reference: str = "test",
    ):
        suite.check(metrics, has_train=train is not None, extractor=extractor.name)
        self._real = {"test": test} | ({} if train is None else {"train": train})
        sizes = {"generated": num} | {name: len(images) for name, images in self._real.items()}
        self._few = min(sizes.values())
        if self._few < 2:
            numbers = ", ".join(f"{name} has {size}" for name, size in sizes.items())
            raise TooFewError(f"{numbers} images: at least 2 of each are needed")
        self._num, self._equal, self._reference = num, equal, reference
        self._extractor, self._batch_size, self._sharding = extractor, batch_size, sharding
        self._metrics, self._resamples = metrics, resamples

    def __call__(self, generated: Images, labels: np.ndarray | None = None) -> dict[str, Any]:
        """What `score` returns.

        Args:
            generated: `num` images.
            labels: int[num], or None.

        Raises:
            UserError: as `score` does, and for another number of images.
        """
        if len(generated) != self._num:
            raise UserError(f"generated has {len(generated)} images: num={self._num} are needed")
        if labels is not None and np.shape(labels) != (self._num,):
            raise UserError(
                f"labels has shape {np.shape(labels)}: one per generated image, ({self._num},), is needed"
            )
        cut = self._cut(generated, "generated")
        _check_shapes({"generated": cut, **self._real})
        sets = suite.Sets(generated=self._features(cut), **self.real)
        scores = suite.measure(self._metrics, sets, self._protocol, resamples=self._resamples)
        if labels is not None:
            asked = subset(np.asarray(labels), len(cut))
            scores["label_agreement"] = label_agreement(sets.generated.classes, asked)
        return scores

    @functools.cached_property
    def real(self) -> dict[str, Features]:
        """Features of "test" and, where they are known, of "train" images: of as many as are compared with."""
        return {name: self._features(self._cut(images, name)) for name, images in self._real.items()}

    @property
    def protocols(self) -> dict[str, str]:
        """How each metric is measured: ``protocols`` of a score."""
        return suite.protocols(self._metrics, self._protocol)

    @property
    def _protocol(self) -> Protocol:
        test = self.real["test"]
        return Protocol(
            metric="fd",
            extractor=self._extractor.identity,
            resize=self._extractor.preparation,
            num_samples=self._few if self._equal else self._num,
            reference=describe(self._reference, len(self._real["test"]), len(test.values), test.digest),
        )

    def _cut(self, images: Images, name: str) -> Images:
        return _ready(images, self._few if self._equal else len(images), name)

    def _features(self, images: Images) -> Features:
        return features(images, self._extractor, self._batch_size, self._sharding)


def label_agreement(classes: np.ndarray, labels: np.ndarray) -> float:
    """Share of the images that are classified as the class asked for, in [0, 1].

    Args:
        classes: int[N], what the classifier says.
        labels: int[N], what was asked for.

    Example:
        >>> import numpy as np
        >>> from genjax.metrics import label_agreement
        >>> label_agreement(classes=np.array([3, 1, 7, 7]), labels=np.array([3, 1, 7, 0]))
        0.75
    """
    return float(np.mean(classes == labels))


def subset(array: np.ndarray, n: int) -> np.ndarray:
    """Rows of `array`, of shape [N, ...], at the first n entries of one fixed permutation; all, in order, if N is n.

    The permutation is ``numpy.random.Generator(PCG64(0)).permutation(len(array))``: data sets are often
    sorted by class, where the first n rows would not be a sample.

    Example:
        >>> import numpy as np
        >>> from genjax.metrics.score import subset
        >>> subset(np.arange(10), 3).tolist()
        [4, 6, 2]
    """
    if n == len(array):
        return array
    return array[_order(len(array))[:n]]


def quantize(images: np.ndarray, name: str = "images") -> np.ndarray:
    """Images as uint8[N,H,W,C]: floats in [-1, 1] are scaled to 0..255, rounded and clipped; uint8 passes unchanged.

    Raises:
        UserError: if `images` is not [N,H,W,C], of another type, or has a value that is not finite.

    Example:
        >>> import numpy as np
        >>> from genjax.metrics.score import quantize
        >>> quantize(np.array([-1.0, 0.0, 1.0]).reshape(1, 1, 3, 1)).ravel().tolist()
        [0, 128, 255]
    """
    images = np.asarray(images)
    if images.ndim != 4:
        raise UserError(f"{name} has shape {images.shape}: images are [N,H,W,C]")
    if images.dtype == np.uint8:
        return images
    if images.dtype.kind != "f":
        raise UserError(f"{name} has type {images.dtype}: images are uint8, or float in [-1, 1]")
    if not np.isfinite(images).all():
        raise UserError(f"{name} has a value that is not finite")
    return np.clip(np.rint((images + 1.0) * 127.5), 0, 255).astype(np.uint8)


def _ready(images: Images, n: int, name: str) -> Images:
    """`n` of the images. Images from an array are quantised."""
    chosen = (
        images
        if n == len(images)
        else (subset(images, n) if isinstance(images, np.ndarray) else _Some(images, _order(len(images))[:n]))
    )
    return quantize(chosen, name) if isinstance(chosen, np.ndarray) else chosen


class _Some:
    """Some images of those that are read when needed."""

    def __init__(self, images: Images, rows: np.ndarray):
        self._images, self._rows = images, rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, indices: np.ndarray) -> Any:
        return self._images[self._rows[indices]]


def _order(n: int) -> np.ndarray:
    return np.random.Generator(np.random.PCG64(SUBSET_SEED)).permutation(n)


def _check_shapes(sets: dict[str, Images]) -> None:
    shapes = {name: images.shape[1:] for name, images in sets.items() if isinstance(images, np.ndarray)}
    if len(set(shapes.values())) > 1:
        raise UserError(f"generated, test and train hold images of different shapes: {shapes}")


def describe(name: str, size: int, n: int, digest: str) -> str:
    """Name, size and content of the reference: two sets of one name must not pass for each other.

    Example:
        >>> from genjax.metrics.score import describe
        >>> describe("mnist/test", size=10_000, n=500, digest="0123456789abcdef")
        'mnist/test[permutation(10000, seed=0)[:500]]#0123456789abcdef'
    """
    rows = f"[:{n}]" if n == size else f"[permutation({size}, seed={SUBSET_SEED})[:{n}]]"
    return f"{name}{rows}#{digest}"
