"""What autoregressive networks of a grid of codes share: arguments, tables, and how features become logits."""

import abc
from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp

from genjax.models.labels import label_of
from genjax.typing import Array, Condition, UserError


class Autoregressive(nn.Module):
    """p(code | the codes before it in raster order, the class, the codes of the next coarser level), as logits.

    Attributes:
        num_codes: number K of values of a code.
        num_classes: number of classes, None for an unconditional network. Class `num_classes` is the null class, of
            examples without one.
        coarser_codes: number of values of a code of the coarser level; None where there is no such level.
        dropout: rate of dropout inside the network.
        dtype: type of the computation (bfloat16 for mixed precision); parameters and the output are float32.
    """

    num_codes: int
    num_classes: int | None = None
    coarser_codes: int | None = None
    dropout: float = 0.0
    dtype: jnp.dtype | None = None

    head: ClassVar[str] = "out"
    """Name of the layer that makes the logits."""

    @property
    @abc.abstractmethod
    def features(self) -> int:
        """Width F of the features that codes become."""

    @abc.abstractmethod
    def body(
        self, codes: Array, label: Array | None, coarser: Array | None, dropout_index: Array | None
    ) -> Array:
        """The features from which logits are made.

        Args:
            codes: int32[B,h,w] in [0, num_codes).
            label: int32[B] in [0, num_classes]; None for an unconditional network.
            coarser: int32[B,h',w'] in [0, coarser_codes); None where there is no coarser level.
            dropout_index: see `__call__`.

        Returns:
            float[B,h,w,F], in none of which is anything of its own code or of those after it.
        """

    def embed(self, x: Array, count: int, name: str) -> Array:
        """int32[...] in [0, count) -> float[...,F], by a table with this name."""
        return nn.Embed(count, self.features, dtype=self.dtype, name=name)(x)

    @nn.compact
    def __call__(
        self,
        codes: Array,
        condition: Condition | None = None,
        coarser: Array | None = None,
        *,
        dropout_index: Array | None = None,
    ) -> Array:
        """Apply the network.

        Args:
            codes: int32[B,h,w] in [0, num_codes).
            condition: "label" int32[B] in [0, num_classes), see `genjax.conditions`; examples without it have the null
                class, and so has None.
            coarser: int32[B,h',w'] in [0, coarser_codes).
            dropout_index: int32[B], positions in the global batch, which choose each example's dropout mask;
                None: no dropout.

        Returns:
            float32[B,h,w,num_codes], the logits of each code given those before it.

        Raises:
            UserError: for arguments that do not go with the attributes.
        """
        label = label_of(condition, self.num_classes, codes.shape[0])
        if (coarser is None) != (self.coarser_codes is None):
            given = "no coarser codes are given" if coarser is None else "coarser codes are given"
            raise UserError(f"{given}, but the network has coarser_codes={self.coarser_codes}")
        x = self.body(codes, label, coarser, dropout_index)
        return nn.Dense(self.num_codes, dtype=self.dtype, name=self.head)(x).astype(jnp.float32)
