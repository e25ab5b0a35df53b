"""The handwritten digits that come with scikit-learn: real images with no download."""

import numpy as np

from genjax.data.digest import of_arrays
from genjax.data.source import ArraySource, split_indices


def digits(split: str) -> ArraySource:
    """The 1,797 handwritten digits of scikit-learn, 8x8 grayscale, ten classes.

    The 17 ink levels 0..16 become uint8 by ``round(level * 255 / 16)``.

    Args:
        split: "train" (1,442 images), "test" (355: every fifth image of each class, 34 to 36 of them) or "all"
            (1,797).

    Returns:
        The source, images uint8[8,8,1].

    Raises:
        UserError: another split.

    Example:
        >>> import numpy as np
        >>> from genjax import data
        >>> source = data.digits("test")
        >>> len(source), source.read(np.arange(4))["label"].tolist(), source.info.class_names[:2]
        (355, [5, 0, 9, 8], ('0', '1'))

    References:
        Alpaydin and Kaynak, "Optical Recognition of Handwritten Digits", UCI repository (1998), its test set.
    """
    # Here and not above: scikit-learn takes a second to import.
    from sklearn.datasets import load_digits

    data = load_digits()
    # Class by class: the digits come in runs of 0 to 9, of which a rule on the plain index would pick some digits only.
    per_class = [np.flatnonzero(data.target == digit) for digit in range(10)]
    index = np.sort(np.concatenate([i[split_indices(len(i), split, every=5)] for i in per_class]))
    images = np.round(data.images[index] * (255 / 16)).astype(np.uint8)
    source = ArraySource(
        images,
        data.target[index],
        name="digits",
        split=split,
        num_classes=10,
        class_names=[str(digit) for digit in range(10)],
    )
    source.digest = of_arrays(images, data.target[index])
    return source
