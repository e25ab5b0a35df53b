"""flax.linen's convolutional layers, computed with `genjax.nn.convolution.functional`."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from genjax.nn.convolution.functional import conv_general_dilated, conv_transpose
from genjax.typing import Array


class Conv(nn.Conv):
    """`flax.linen.Conv`: the same attributes, parameters and, up to rounding, numbers; faster on CPU.

    Example:
        >>> import flax.linen, jax, jax.numpy as jnp
        >>> from genjax import nn
        >>> layer, x = nn.Conv(1, (3, 3), kernel_init=flax.linen.initializers.ones), jnp.ones((1, 3, 3, 1))
        >>> y, variables = jax.jit(layer.init_with_output)(jax.random.key(0), x)
        >>> y[0, :, :, 0].tolist()  # zeros around the image, as in Flax
        [[4.0, 6.0, 4.0], [6.0, 9.0, 6.0], [4.0, 6.0, 4.0]]
    """

    # Linen calls what this returns in place of `lax.conv_general_dilated`.
    conv_general_dilated_cls: Any = lambda: conv_general_dilated


class ConvTranspose(nn.ConvTranspose):
    """`flax.linen.ConvTranspose`: the same attributes, parameters and, up to rounding, numbers; faster on CPU, its
    kernel's gradient tens of times.

    Example:
        >>> import flax.linen, jax, jax.numpy as jnp
        >>> from genjax import nn
        >>> layer = nn.ConvTranspose(1, (2, 2), strides=(2, 2), kernel_init=flax.linen.initializers.ones)
        >>> x = jnp.array([1.0, 2.0]).reshape(1, 1, 2, 1)
        >>> y, variables = jax.jit(layer.init_with_output)(jax.random.key(0), x)
        >>> y[0, :, :, 0].tolist()
        [[1.0, 1.0, 2.0, 2.0], [1.0, 1.0, 2.0, 2.0]]
    """

    @nn.compact
    def __call__(self, inputs: Array) -> Array:
        """float[..., *S, C] -> float[..., *S', features], with any number of batch axes."""
        if self.padding == "CIRCULAR" or self.mask is not None or self.preferred_element_type is not None:
            return super().__call__(inputs)
        size = (self.kernel_size,) if isinstance(self.kernel_size, int) else tuple(self.kernel_size)
        rank = len(size)

        def per_dimension(x: Any) -> tuple[int, ...]:
            return (x or 1,) * rank if x is None or isinstance(x, int) else tuple(x)

        batch_shape, channels = inputs.shape[: -rank - 1], inputs.shape[-1]
        pair = (self.features, channels) if self.transpose_kernel else (channels, self.features)
        kernel = self.param("kernel", self.kernel_init, (*size, *pair), self.param_dtype)
        bias = None
        if self.use_bias:
            bias = self.param("bias", self.bias_init, (self.features,), self.param_dtype)
        arrays: Any = self.promote_dtype(inputs, kernel, bias, dtype=self.dtype)
        x, kernel, bias = arrays
        padding: Any = self.padding
        if not isinstance(padding, str):
            padding = [(p, p) if isinstance(p, int) else p for p in per_dimension(padding)]
        y = conv_transpose(
            jnp.reshape(x, (-1, *inputs.shape[-rank - 1 :])),
            kernel,
            per_dimension(self.strides),
            padding,
            per_dimension(self.kernel_dilation),
            self.transpose_kernel,
            self.precision,
        )
        if bias is not None:
            y += bias.reshape((1,) * (rank + 1) + (-1,))
        return y.reshape(*batch_shape, *y.shape[1:])
