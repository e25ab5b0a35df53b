"""Batch normalisation, with the statistics of the whole batch however many devices it is spread over."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from genjax.devices import mean_over_devices, num_devices
from genjax.nn.weight_norm import WeightNorm, apply_layer
from genjax.typing import Array, UserError

STATISTICS = "batch_stats"
"""The collection of running statistics."""


class BatchNorm(nn.Module):
    """Batch normalisation, optionally modulated by a scale and a shift per example and channel.

    Mean and variance are computed over the global batch: under pmap and shard_map they are averaged over the data axis,
    under jit on a mesh arrays are global anyway. The large array is read once for both moments, and once for one
    multiply-add. Names and shapes of parameters ("scale", "bias") and of statistics ("mean", "var" in the collection
    "batch_stats") are the same as in `flax.linen.BatchNorm`.

    Attributes:
        momentum: share of the old running statistics in the new ones, in [0, 1]: ``new = momentum * old + (1 -
            momentum) * batch``. PyTorch calls one minus this number its momentum.
        epsilon: added to the variance.
        unbiased: the running variance takes n / (n - 1) times the variance of a batch with n values per channel, as
            PyTorch's does; Flax's takes the variance itself. Images are always normalised by the latter.
        affine: learn a scale and a bias per channel.
        scale_init: initialiser of the learned scale.
        dtype: type of the result; moments are always float32.

    Example:
        >>> import jax, jax.numpy as jnp, numpy as np
        >>> from genjax import nn
        >>> norm, x = nn.BatchNorm(momentum=0.9), jnp.array([[1.0], [3.0]])
        >>> variables = norm.init(jax.random.key(0), x, train=False)
        >>> y, changed = norm.apply(variables, x, train=True, mutable=["batch_stats"])
        >>> print(np.asarray(y).ravel().round(3), np.asarray(changed["batch_stats"]["mean"]).round(3))
        [-1.  1.] [0.2]

    References:
        Ioffe and Szegedy, "Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate
        Shift" (2015), algorithm 1.
    """

    momentum: float = 0.9
    epsilon: float = 1e-5
    unbiased: bool = False
    affine: bool = True
    scale_init: Callable[..., Any] = nn.initializers.ones
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(
        self, x: Array, scale: Array | None = None, shift: Array | None = None, *, train: bool
    ) -> Array:
        """Normalise `x`, then, where given, ``(1 + scale) * x + shift``.

        Args:
            x: float[B,...,C].
            scale: float[B,C].
            shift: float[B,C].
            train: normalise by the moments of the batch, and update the running ones where the collection
                "batch_stats" is mutable; else normalise by the running ones.

        Returns:
            float[B,...,C].

        Raises:
            UserError: if `momentum` is not in [0, 1].
        """
        if not 0 <= self.momentum <= 1:
            raise UserError(f"momentum={self.momentum}: valid are numbers in [0, 1]")
        channels = x.shape[-1]
        running_mean = self.variable(STATISTICS, "mean", jnp.zeros, (channels,), jnp.float32)
        running_variance = self.variable(STATISTICS, "var", jnp.ones, (channels,), jnp.float32)
        wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        if train:
            mean, variance = moments(wide)
            if self.is_mutable_collection(STATISTICS) and not self.is_initializing():
                count = x.size // channels * num_devices()
                spread = variance * (count / max(count - 1, 1)) if self.unbiased else variance
                for old, new in ((running_mean, mean), (running_variance, spread)):
                    old.value = self.momentum * old.value + (1 - self.momentum) * new
        else:
            mean, variance = running_mean.value, running_variance.value

        factor = jax.lax.rsqrt(variance + self.epsilon)
        if self.affine:
            factor = factor * self.param("scale", self.scale_init, (channels,), jnp.float32)
        offset = -mean * factor
        if self.affine:
            offset = offset + self.param("bias", nn.initializers.zeros, (channels,), jnp.float32)
        factor, offset = factor[None], offset[None]
        if scale is not None:
            factor, offset = factor * (1 + scale), offset * (1 + scale)
        if shift is not None:
            offset = offset + shift
        y = wide * _beside(factor, x) + _beside(offset, x)
        return y.astype(self.dtype or x.dtype)


class ConditionalBatchNorm(nn.Module):
    """Batch normalisation whose gain and bias are functions of a class or of a vector.

    Attributes:
        num_classes: the condition is a label, which has a gain and a bias of its own; None: the condition is a
            vector, of which gain and bias are linear functions.
        weight_norm: wraps the linear maps (for a label, the linear maps of its one-hot code), see
            `genjax.nn.weight_norm`; None: no normalisation.
        norm: makes the normalisation, without parameters of its own.
        dtype: type of the result.

    Example:
        >>> import jax, jax.numpy as jnp, numpy as np
        >>> from genjax import nn
        >>> norm, x, label = nn.ConditionalBatchNorm(num_classes=10), jnp.array([[1.0], [3.0]]), jnp.array([4, 7])
        >>> variables = norm.init(jax.random.key(0), x, label, train=False)
        >>> variables["params"]["shift"]["kernel"] = jnp.arange(10.0)[:, None]  # class 4 is shifted by 4
        >>> y, _ = norm.apply(variables, x, label, train=True, mutable=["batch_stats"])
        >>> print(np.asarray(y).ravel().round(3))
        [3. 8.]

    References:
        Dumoulin et al., "A Learned Representation for Artistic Style" (2017), equation 5, of classes; Brock et al.,
        "Large Scale GAN Training for High Fidelity Natural Image Synthesis" (2019), section 3, of vectors.
    """

    num_classes: int | None = None
    weight_norm: WeightNorm | None = None
    norm: Callable[..., Any] = BatchNorm
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, x: Array, condition: Array, *, train: bool) -> Array:
        """float[B,...,C], int32[B] labels or float[B,E] -> float[B,...,C]; `train` as in `BatchNorm`.

        Raises:
            UserError: if the condition is a vector where a label is expected, or the reverse.
        """
        expected = 2 if self.num_classes is None else 1
        if condition.ndim != expected:
            raise UserError(
                f"condition has the shape {condition.shape}: valid with num_classes={self.num_classes} is "
                + ("float[B,E]" if expected == 2 else "int32[B]")
            )
        if self.num_classes is not None:
            condition = jax.nn.one_hot(condition, self.num_classes)

        def linear(name: str) -> Array:
            # Gain one and bias zero for every class; a vector has to matter from the start.
            init = nn.initializers.normal(0.02) if self.num_classes is None else nn.initializers.zeros
            layer = nn.Dense(x.shape[-1], use_bias=False, kernel_init=init, name=name)
            return apply_layer(self.weight_norm, layer, condition, train).astype(jnp.float32)

        norm = self.norm(affine=False, dtype=self.dtype, name="norm")
        return norm(x, linear("scale"), linear("shift"), train=train)


def moments(x: Array) -> tuple[Array, Array]:
    """float[B,...,C] -> mean and variance float[C] each, over all axes but the last and over all devices."""
    axes = tuple(range(x.ndim - 1))
    # One array, and so one collective.
    both = mean_over_devices(jnp.stack([x.mean(axes), jnp.square(x).mean(axes)]))
    return both[0], jnp.maximum(both[1] - jnp.square(both[0]), 0.0)


def _beside(per_channel: Array, x: Array) -> Array:
    """float[B or 1,C] -> float[B or 1,1,...,1,C], of the rank of `x`."""
    return per_channel.reshape(per_channel.shape[0], *(1,) * (x.ndim - 2), x.shape[-1])
