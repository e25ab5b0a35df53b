"""The score of an encoder: reconstructions, what the code costs, whether its components mean something, edits by it."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from genjax import data
from genjax.app import kinds
from genjax.app.restore import Run
from genjax.data import shapes
from genjax.losses.decomposition import decompose_data_set
from genjax.losses.gaussian import Gaussian, sample
from genjax.methods.latent_space import LatentSpace
from genjax.metrics import editing, load_digits_classifier
from genjax.metrics.disentanglement import (
    beta_vae_score,
    factor_vae_score,
    in_batches,
    mutual_information_gap,
    tabulate,
)
from genjax.metrics.reconstruction import psnr, ssim

_BATCH = 500
_IMAGES = 2000
"""So many test images, or all if there are fewer, by a fixed permutation; of training images ten times as many."""


def latent_scores(run: Run, train: data.Source, test: data.Source, *, seed: int = 0) -> dict[str, Any]:
    """Everything that can be said of the run's model, by name; nothing of a model without an encoder.

    * ``test_psnr``, ``test_ssim``: of reconstructions.
    * ``mutual_information``, ``total_correlation``, ``dimension_kl``, in nats: the parts of the rate, the test images
      counting as the data set (`genjax.losses.decomposition`); ``active_units``: components whose posterior means vary
      by more than 0.01 (Burda et al. 2016, section 5.2).
    * ``mig``, ``beta_vae_score``, ``factor_vae_score``: on the shapes, where the factors are known.
    * ``edit_success`` and others: see `genjax.metrics.editing`; of classes of digits by the bundled classifier, of each
      factor of the shapes by the nearest of all pictures, averaged over the factors.
    """
    make = kinds.method(run.config).latent_space
    if make is None:
        return {}
    space = make(run.context)
    some = _read(test, _IMAGES)
    scores = _reconstruction(run, space, some, seed)
    conditional = bool(run.context.conditions)
    if space.encode is None or conditional:  # the code is not all that a conditional model knows of an image
        return scores
    encode, decode = _compiled(run, space)
    if space.posterior is not None:
        scores |= _parts_of_the_rate(run, space, some, seed)
    if run.config.data.dataset == "shapes":
        scores |= _disentanglement(encode, seed) | _edits_of_shapes(encode, decode, train, test, seed)
    elif "label" in some and run.config.data.dataset.partition(":")[0] in ("digits", "mnist"):
        scores |= _edits_of_digits(encode, decode, _read(train, 10 * _IMAGES), some, seed)
    return scores


def _read(source: data.Source, num: int) -> dict[str, np.ndarray]:
    return source.read(data.permute(np.arange(min(num, len(source))), len(source), (0,)))


def _batch(image: np.ndarray) -> dict[str, Any]:
    return {"image": data.to_float(jnp.asarray(image)), "_index": jnp.arange(len(image))}


def _compiled(run: Run, space: LatentSpace) -> tuple[Callable, Callable]:
    """``uint8[B,H,W,C] -> float[B,D]`` and ``float[B,D] -> float[B,H,W,C]``, on arrays of the host."""
    encode = jax.jit(lambda image: space.encode(run.state, _batch(image)))  # type: ignore[misc]
    decode = jax.jit(lambda z: space.decode(run.state, z, None))  # type: ignore[misc]
    return lambda image: np.asarray(encode(image)), lambda z: np.asarray(decode(z))


def _reconstruction(run: Run, space: LatentSpace, some: dict[str, np.ndarray], seed: int) -> dict[str, Any]:
    window = min(11, *(n - 1 + n % 2 for n in some["image"].shape[1:3]))

    @jax.jit
    def compare(image: Any, extra: dict[str, Any]) -> tuple[Any, Any]:
        batch = _batch(image) | extra
        made = space.reconstruct(jax.random.key(seed), run.state, batch)
        return psnr(made, batch["image"]), ssim(made, batch["image"], window=window)

    parts = []
    for start in range(0, len(some["image"]), _BATCH):
        rows = slice(start, start + _BATCH)
        extra = {name: some[name][rows] for name in run.context.conditions}
        parts.append(jax.device_get(compare(some["image"][rows], extra)))
    peak, similarity = (np.concatenate(x) for x in zip(*parts, strict=True))
    return {
        "test_psnr": float(peak.mean()),
        "test_ssim": float(similarity.mean()),
        "ssim_window": window,
        "latent_images": len(peak),
    }


def _parts_of_the_rate(
    run: Run, space: LatentSpace, some: dict[str, np.ndarray], seed: int
) -> dict[str, Any]:
    posterior = jax.jit(lambda image: space.posterior(run.state, _batch(image)))  # type: ignore[misc]
    parts = [posterior(some["image"][i : i + _BATCH]) for i in range(0, len(some["image"]), _BATCH)]
    whole = Gaussian(*(jnp.concatenate(x) for x in zip(*parts, strict=True)))
    z = sample(jax.random.split(jax.random.key(seed), len(whole.mean)), whole)
    terms = decompose_data_set(z, whole)
    return {name: float(x.mean()) for name, x in terms._asdict().items()} | {
        "active_units": int((whole.mean.var(0) > 0.01).sum())
    }


def _disentanglement(encode: Callable, seed: int) -> dict[str, Any]:
    codes = tabulate(encode, shapes.render, shapes.FACTOR_SIZES)
    index = data.permute(np.arange(10_000), shapes.NUM_IMAGES, (seed,))
    some = shapes.factors(index)
    return {
        "mig": float(mutual_information_gap(codes(some), some)),
        "beta_vae_score": float(beta_vae_score(codes, shapes.FACTOR_SIZES, seed=seed)),
        "factor_vae_score": float(factor_vae_score(codes, shapes.FACTOR_SIZES, seed=seed)),
    }


def _edits_of_digits(
    encode: Callable, decode: Callable, train: dict[str, np.ndarray], test: dict[str, np.ndarray], seed: int
) -> dict[str, Any]:
    classes = int(train["label"].max()) + 1
    directions = editing.class_directions(
        in_batches(encode, train["image"], _BATCH), train["label"].astype(np.int64), classes
    )
    labels = test["label"].astype(np.int64)
    targets = editing.other_labels(labels, classes, seed=seed)
    apply = jax.jit(load_digits_classifier().apply)
    found = editing.edit_success(
        in_batches(encode, test["image"], _BATCH),
        directions[labels, targets],
        targets,
        decode=decode,
        classify=lambda images: np.asarray(apply(images)[1]).argmax(-1),
        identity=editing.nearer_than_another(labels, seed=seed),
        batch_size=_BATCH,
    )
    return {f"edit_{name}": value for name, value in found.items()}


def _edits_of_shapes(
    encode: Callable, decode: Callable, train: data.Source, test: data.Source, seed: int
) -> dict[str, Any]:
    gallery = shapes.factors(np.arange(shapes.NUM_IMAGES))
    classify = editing.nearest(shapes.render(gallery), gallery)
    inside, outside = (_factors(source) for source in (train, test))
    codes = in_batches(encode, train.read(np.arange(len(train)))["image"], _BATCH)
    some = np.arange(min(_IMAGES // 4, len(test)))
    latents = in_batches(encode, test.read(some)["image"], _BATCH)
    found = []
    for factor, size in enumerate(shapes.FACTOR_SIZES):
        before = outside[some, factor]
        targets = editing.other_labels(before, size, seed=seed)
        directions = editing.class_directions(codes, inside[:, factor], size)
        others = [i for i in range(len(shapes.FACTOR_SIZES)) if i != factor]
        found.append(
            editing.edit_success(
                latents,
                directions[before, targets],
                targets,
                decode=decode,
                classify=lambda images, factor=factor: classify(images)[:, factor],
                identity=editing.unchanged(classify, others),
                batch_size=_BATCH,
            )
        )
    means = {f"edit_{name}": float(np.mean([f[name] for f in found])) for name in found[0]}
    names = zip(shapes.FACTOR_NAMES, found, strict=True)
    return means | {f"edit_success_{name}": f["success"] for name, f in names}


def _factors(source: data.Source) -> np.ndarray:
    return shapes.factors(shapes.indices(source.info.split))
