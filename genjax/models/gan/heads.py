"""What else is asked of a discriminator's features: the class of an image, or the codes that it was made from."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp

from genjax.losses.gaussian import Gaussian
from genjax.nn.weight_norm import WeightNorm, apply_layer
from genjax.typing import Array, UserError


class ClassHead(nn.Module):
    """The auxiliary classifier of ACGAN: a linear map of the last feature map.

    Attributes:
        num_classes: number of labels.
        weight_norm: wraps the linear map, see `genjax.nn.weight_norm`; None: no normalisation.
        dtype: type of the computation; parameters and logits are float32.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from genjax.models.gan.heads import ClassHead
        >>> head, features = ClassHead(num_classes=10), (jnp.zeros((2, 8, 8, 4)), jnp.zeros((2, 4, 4, 8)))
        >>> logits, variables = jax.eval_shape(head.init_with_output, jax.random.key(0), features)
        >>> logits.shape, variables["params"]["logits"]["kernel"].shape  # of the last features alone
        ((2, 10), (128, 10))

    References:
        Odena, Olah and Shlens, "Conditional Image Synthesis with Auxiliary Classifier GANs" (2017), section 3.
    """

    num_classes: int
    weight_norm: WeightNorm | None = None
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, features: Sequence[Array], *, train: bool = False) -> Array:
        """(float[B,h_i,w_i,c_i], ...) -> logits float32[B,num_classes]."""
        flat = features[-1].reshape(features[-1].shape[0], -1)
        linear = nn.Dense(self.num_classes, dtype=self.dtype, name="logits")
        return apply_layer(self.weight_norm, linear, flat, train).astype(jnp.float32)


class Codes(NamedTuple):
    """A distribution over the codes an image was made from.

    Attributes:
        logits: float[B,K_i] for each categorical code, with K_i values.
        continuous: mean and log-variance of the M continuous codes, float[B,M] each.
    """

    logits: tuple[Array, ...]
    continuous: Gaussian


class CodeHead(nn.Module):
    """The network Q of InfoGAN: a hidden layer on the last feature map, and a distribution over the codes.

    Attributes:
        categorical: number of values of each categorical code.
        continuous: number of continuous codes, which are normally distributed under Q.
        hidden: width of the hidden layer.
        norm: makes its normalisation, called with `train`; None: no normalisation.
        learn_variance: of the continuous codes; else it is one.
        dtype: type of the computation; parameters and the result are float32.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from genjax.models.gan.heads import CodeHead
        >>> head, features = CodeHead(categorical=(10, 3), continuous=2), (jnp.zeros((5, 4, 4, 8)),)
        >>> codes, _ = jax.eval_shape(head.init_with_output, jax.random.key(0), features)
        >>> [logits.shape for logits in codes.logits], codes.continuous.mean.shape
        ([(5, 10), (5, 3)], (5, 2))

    References:
        Chen et al., "InfoGAN: Interpretable Representation Learning by Information Maximizing Generative Adversarial
        Nets" (2016), sections 5 and 6.
    """

    categorical: tuple[int, ...] = (10,)
    continuous: int = 2
    hidden: int = 128
    norm: Callable[..., Any] | None = None
    learn_variance: bool = True
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, features: Sequence[Array], *, train: bool = False) -> Codes:
        """(float[B,h_i,w_i,c_i], ...) -> the distribution.

        Raises:
            UserError: if there is no code, or one with fewer than two values.
        """
        if (
            min((*self.categorical, 2)) < 2
            or self.continuous < 0
            or not (self.categorical or self.continuous)
        ):
            raise UserError(
                f"categorical={self.categorical}, continuous={self.continuous}: valid are at least one code, and "
                "categorical ones of 2 and more values"
            )
        flat = features[-1].reshape(features[-1].shape[0], -1)
        h = nn.Dense(self.hidden, use_bias=self.norm is None, dtype=self.dtype, name="hidden")(flat)
        if self.norm is not None:
            h = self.norm(dtype=self.dtype, name="norm")(h, train=train)
        h = nn.leaky_relu(h, 0.2)

        def linear(width: int, name: str) -> Array:
            return nn.Dense(width, dtype=self.dtype, name=name)(h).astype(jnp.float32)

        logits = tuple(linear(count, f"categorical_{i}") for i, count in enumerate(self.categorical))
        if not self.continuous:
            empty = jnp.zeros((h.shape[0], 0))
            return Codes(logits, Gaussian(empty, empty))
        mean = linear(self.continuous, "mean")
        log_variance = (
            linear(self.continuous, "log_variance") if self.learn_variance else jnp.zeros_like(mean)
        )
        return Codes(logits, Gaussian(mean, log_variance))
