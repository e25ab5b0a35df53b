"""Instance normalisation."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from genjax.typing import Array


class InstanceNorm(nn.Module):
    """Zero mean and unit variance of every channel of every image, without parameters.

    Attributes:
        epsilon: added to the variance.
        dtype: type of the result; moments are always float32.

    Example:
        >>> import jax.numpy as jnp, numpy as np
        >>> from genjax.models.gan.instance_norm import InstanceNorm
        >>> x = jnp.array([1.0, 3.0, 10.0, 30.0]).reshape(2, 1, 2, 1)  # two images of two pixels
        >>> print(np.asarray(InstanceNorm().apply({}, x)).ravel().round(3))
        [-1.  1. -1.  1.]

    References:
        Ulyanov, Vedaldi and Lempitsky, "Instance Normalization: The Missing Ingredient for Fast Stylization" (2016).
    """

    epsilon: float = 1e-5
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, x: Array, *, train: bool = False) -> Array:
        """float[B,H,W,C] -> float[B,H,W,C]; training changes nothing."""
        wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        mean = wide.mean((1, 2))
        variance = jnp.maximum(jnp.square(wide).mean((1, 2)) - jnp.square(mean), 0.0)
        factor = jax.lax.rsqrt(variance + self.epsilon)
        y = wide * factor[:, None, None] - (mean * factor)[:, None, None]
        return y.astype(self.dtype or x.dtype)
