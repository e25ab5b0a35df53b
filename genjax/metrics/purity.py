"""Whether codes that were found without labels are the classes."""

import numpy as np
from jaxtyping import Int

from genjax.typing import UserError


def purity(codes: Int[np.ndarray, "N"], labels: Int[np.ndarray, "M"]) -> float:
    """The share of examples whose label is the most frequent one among those with the same code.

    With as many codes as classes, 1 is one code for each class; C equally frequent classes that the code says nothing
    of give about 1 / C. More codes than classes make it easier.

    Args:
        codes: any integers.
        labels: from 0 on.

    Raises:
        UserError: if there is nothing, or not one of each.

    Example:
        >>> import numpy as np
        >>> from genjax.metrics.purity import purity
        >>> print(purity(codes=np.array([0, 0, 1, 1]), labels=np.array([7, 7, 7, 3])))
        0.75

    References:
        Manning, Raghavan and Schütze, "Introduction to Information Retrieval" (2008), section 16.3.
    """
    if len(codes) != len(labels) or not len(codes):
        raise UserError(
            f"codes and labels are {len(codes)} and {len(labels)}: valid are as many, at least one"
        )
    return sum(np.bincount(labels[codes == code]).max() for code in np.unique(codes)) / len(codes)
