"""25 Gaussians on a grid: the data in two dimensions on which mode collapse is looked at."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32, Int64

from genjax.typing import UserError

STD = 0.05
CENTRES = np.stack(np.meshgrid(*[np.arange(-4.0, 5.0, 2.0)] * 2, indexing="ij"), -1).reshape(-1, 2)
"""float64[25,2], the grid {-4, -2, 0, 2, 4}^2."""
SCALE = 5.0
"""Divided by it, points lie in [-1, 1], as images do: a draw beyond it is 20 standard deviations away."""


def gaussian_grid(
    seed: int | Sequence[int], num: int
) -> tuple[Float32[np.ndarray, "N 2"], Int64[np.ndarray, "N"]]:
    """Draws of the mixture of 25 equally likely Gaussians, centres `CENTRES`, standard deviation 0.05.

    Args:
        seed: non-negative integer or integers.
        num: N, how many draws.

    Returns:
        float32[N,2], the points, and int64[N], the mode that each was drawn from.

    Raises:
        UserError: a negative seed or number.

    Example:
        >>> import numpy as np
        >>> from genjax.data.gaussians import CENTRES, gaussian_grid
        >>> points, modes = gaussian_grid(seed=0, num=1000)
        >>> points.shape, bool(np.abs(points - CENTRES[modes]).max() < 0.25), len(set(modes.tolist()))
        ((1000, 2), True, 25)

    References:
        Dumoulin et al., "Adversarially Learned Inference" (2017), and Srivastava et al., "VEEGAN" (2017), for the data;
        Lin et al., "PacGAN" (2018), for the numbers.
    """
    if num < 0 or np.min(seed) < 0:
        raise UserError(f"num={num}, seed={seed}: valid are 0 and more")
    rng = np.random.default_rng(seed)
    modes = rng.integers(len(CENTRES), size=num)
    return (CENTRES[modes] + STD * rng.standard_normal((num, 2))).astype(np.float32), modes
