"""Editing an attribute by moving a latent: does the image become what was asked, and does it stay itself?

No network in here: a decoder and classifiers come in as functions of arrays.
"""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
from jaxtyping import Float, Float64, Int, UInt8

from genjax.metrics.disentanglement import in_batches
from genjax.typing import UserError

Identity: TypeAlias = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""``(before, after)``, images [N,H,W,C] without and with the edit, ``-> float[N]`` in [0, 1]: is it still the same?"""


def class_directions(
    latents: Float[np.ndarray, "N D"], labels: Int[np.ndarray, "N"], num_classes: int
) -> Float64[np.ndarray, "K K D"]:
    """Entry [a, b] leads from the mean latent of class a to the mean latent of class b.

    Args:
        latents: latents of N images, for example the training set.
        labels: their classes, or values of a factor, in ``range(num_classes)``.
        num_classes: K, how many classes there are.

    Raises:
        UserError: a class without an image, or labels out of range.

    References:
        Larsen et al., "Autoencoding beyond Pixels using a Learned Similarity Metric" (2016), on attribute vectors.
    """
    counts = np.bincount(labels, minlength=num_classes)
    if labels.min() < 0 or len(counts) > num_classes or not counts.all():
        raise UserError(
            f"labels has {np.unique(labels)}: each of 0..{num_classes - 1} is needed, and no other"
        )
    sums = np.zeros((num_classes, latents.shape[1]))
    np.add.at(sums, labels, latents)
    means = sums / counts[:, None]
    return means[None] - means[:, None]


def other_labels(labels: Int[np.ndarray, "N"], num_classes: int, *, seed: int = 0) -> Int[np.ndarray, "N"]:
    """For each image a class to turn it into: one of the others, all equally likely.

    Raises:
        UserError: fewer than two classes.
    """
    if num_classes < 2:
        raise UserError(f"num_classes={num_classes}: there is no other class")
    return (labels + np.random.default_rng(seed).integers(1, num_classes, size=len(labels))) % num_classes


def edit_success(
    latents: Float[np.ndarray, "N D"],
    directions: Float[np.ndarray, "_ D"],
    targets: Int[np.ndarray, "_"],
    *,
    decode: Callable,
    classify: Callable,
    identity: Identity,
    strength: float = 1.0,
    batch_size: int = 256,
) -> dict[str, float]:
    """Moves every latent, decodes, and asks a classifier whether the image is now what was asked for.

    Image i is edited to ``decode(latents[i] + strength * directions[i])`` and compared with the unedited
    ``decode(latents[i])``, not with the image the latent was inferred from: errors of reconstruction are not held
    against the edit. All N images count, those too that the classifier already puts into the target class unedited;
    `unedited` says how many these are.

    Args:
        latents: latents of N images, held out from what the directions were made of.
        directions: one for each image, ``class_directions(...)[labels, targets]``.
        targets: the class (value of the edited attribute) asked for.
        decode: ``float32[B,D] -> [B,H,W,C]``, compiled by the caller.
        classify: ``images [B,H,W,C] as decode gives them -> int[B]``, the class (value of the edited attribute).
        identity: measure of what should stay: `unchanged` or `nearer_than_another`.
        strength: factor of the directions; 1 moves from mean to mean.
        batch_size: images at a time for `decode` and `classify`.

    Returns:
        Shares of the N images, in [0, 1]. ``success``: the edited image is classified as the target.
        ``identity``: mean of the measure. ``both``: mean of the measure with 0 where the edit failed, the share of
        edits that are right in both respects. ``unedited``: the unedited image is classified as the target, which
        is the success of doing nothing.

    Raises:
        UserError: lengths that differ, or no image.
    """
    if not len(latents) == len(directions) == len(targets) > 0:
        raise UserError(
            f"latents, directions and targets have {len(latents)}, {len(directions)} and {len(targets)} rows: "
            "one of each per image, and at least one image, is needed"
        )
    moved = latents + np.asarray(strength * directions, latents.dtype)
    before, after = (in_batches(decode, z.astype(np.float32), batch_size) for z in (latents, moved))
    done, already = (in_batches(classify, images, batch_size) == targets for images in (after, before))
    same = np.asarray(identity(before, after), np.float64)
    return {
        "success": float(done.mean()),
        "identity": float(same.mean()),
        "both": float((same * done).mean()),
        "unedited": float(already.mean()),
    }


def unchanged(classify: Callable, attributes: Sequence[int], batch_size: int = 256) -> Identity:
    """Identity measure for images of several attributes: 1 where all that should stay are classified as before.

    A value next to the one before is another one: a measure of eight angles is stricter than one of two.

    Args:
        classify: ``images -> int[B,A]``, values of all attributes: `nearest`, or a trained classifier.
        attributes: columns that should stay: usually all but the edited one; a single one tells which is disturbed.
        batch_size: images at a time.
    """

    def identity(before: np.ndarray, after: np.ndarray) -> np.ndarray:
        same = in_batches(classify, before, batch_size) == in_batches(classify, after, batch_size)
        return same[:, list(attributes)].all(1).astype(np.float64)

    return identity


def nearer_than_another(labels: Int[np.ndarray, "N"], *, seed: int = 0) -> Identity:
    """Identity measure for images of one attribute: 1 where the edited image is nearest to its own unedited one.

    It is compared with its own and with one other unedited image of the same class, drawn at random: nearer to its
    own in mean squared error means that what tells it from its class is still there. 1/2 is chance: what an edit
    gets that paints the same image of the target class whatever it starts from. A tie counts 1/2.

    Args:
        labels: classes of the images before the edit.
        seed: seed of the choice of the others.

    Raises:
        UserError: a class with a single image.
    """
    counts = np.bincount(labels)
    if (counts == 1).any():
        raise UserError(f"labels: class {np.argmax(counts == 1)} has a single image, two or more are needed")
    # Shuffled, then sorted by class: the next one of the class, in a circle, is another one.
    order = np.random.default_rng(seed).permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    other = np.empty(len(labels), np.int64)
    for members in np.split(order, np.cumsum(counts)[:-1]):
        other[members] = np.roll(members, 1)

    def identity(before: np.ndarray, after: np.ndarray) -> np.ndarray:
        def distance(images: np.ndarray) -> np.ndarray:
            return np.square(after.astype(np.float64) - images).reshape(len(after), -1).mean(1)

        own, others = distance(before), distance(before[other])
        return np.where(own == others, 0.5, own < others)

    return identity


def nearest(
    gallery: UInt8[np.ndarray, "M H W C"], values: Int[np.ndarray, "M A"], chunk_size: int = 4096
) -> Callable[[np.ndarray], np.ndarray]:
    """A classifier without training: it returns the attributes of the nearest picture in a gallery.

    For data of which every picture is known, as the shapes; nearest in squared distance.

    Args:
        gallery: pictures, levels 0..255.
        values: values of the attributes of each.
        chunk_size: pictures at a time, for memory O(chunk_size H W C).

    Returns:
        ``images float[B,H,W,C] in [-1, 1] -> int[B,A]``.
    """

    def classify(images: np.ndarray) -> np.ndarray:
        x = np.asarray(images, np.float32).reshape(len(images), -1)
        best, found = np.full(len(x), np.inf, np.float32), np.zeros(len(x), np.int64)
        for start in range(0, len(gallery), chunk_size):
            chunk = gallery[start : start + chunk_size]
            y = (2 * chunk.reshape(len(chunk), -1).astype(np.float32) - 255) / 255
            distance = np.square(y).sum(1) - 2 * x @ y.T  # plus |x|^2, which is the same for all
            closest = distance.argmin(1)
            here = distance[np.arange(len(x)), closest]
            found, best = np.where(here < best, start + closest, found), np.minimum(here, best)
        return values[found]

    return classify
