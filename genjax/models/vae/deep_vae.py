"""A deep hierarchical variational autoencoder: many groups of latent variables, decided from coarse to fine.

The encoder goes bottom-up, once. The decoder goes top-down from a learned constant, and is shared by posterior and
prior: at every group it gives p(z_l | z_<l), and together with the encoder's features of that resolution
q(z_l | z_<l, x). `DeepVAE` names the papers.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeAlias

import flax.linen as nn
import jax.numpy as jnp

from genjax.losses import gaussian
from genjax.losses.gaussian import Gaussian
from genjax.models.kind import NetworkKind, num_classes, options
from genjax.models.labels import label_of
from genjax.nn.convolution import Conv
from genjax.nn.latent import LatentGroup, draw
from genjax.nn.materialize import materialize
from genjax.nn.resampling import upsample
from genjax.nn.top_down import Residual, TopDownGroup
from genjax.random import fold_in
from genjax.ranges import Count, Counts, CountsOrZero, Positive
from genjax.typing import Array, Condition, Key, UserError

Choose: TypeAlias = Callable[[int, Gaussian, Gaussian | None], Array]
"""``(number of the group, prior, posterior) -> z``."""


class DeepVAE(nn.Module):
    """A hierarchy of latent variables with a top-down decoder.

    Images are cut into patches (all pixels of a patch become the channels of one position); every further resolution
    halves the number of positions along each axis, odd ones rounded up. The tuples have one entry per resolution, the
    finest first: with 28x28 images and patches of 2, resolutions are 14x14, 7x7, 4x4, 2x2, 1x1.

    Attributes:
        outputs: channels of the output, as the likelihood asks for.
        image_size: H and W of the images; divisible by `patch`.
        patch: side of a patch.
        groups: number of groups of latent variables, at least 1 at the coarsest resolution; the number of all is the
            depth of the hierarchy.
        widths: channels of the features.
        encoder_blocks: number of residual blocks on the way up.
        decoder_blocks: number of residual blocks on the way down, after the groups, each of which begins with one.
        latent_channels: channels of a group.
        bottleneck: channels inside of residual blocks, as a fraction of their width.
        num_classes: number of classes, None for an unconditional model. What encoder and decoder start from gets a
            row of the class added to it, and nothing where an example has no class.
        residual_posterior: a posterior is parametrised by its difference from the prior (NVAE section 3.2), so that
            it follows where the prior goes, and a KL of zero is where the differences are.
        dtype: type of the computation (bfloat16 for mixed precision); parameters, latent variables and the output
            are float32.
        remat: recompute each residual branch's activations in the backward pass instead of storing them.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from genjax import models
        >>> network = models.DeepVAE(1, (8, 8), groups=(1, 0, 2), widths=(4,) * 3, encoder_blocks=(1,) * 3,
        ...                          decoder_blocks=(0,) * 3)
        >>> keys, x = jax.random.split(jax.random.key(0), 5), jnp.zeros((5, 8, 8, 1))
        >>> (outputs, groups), _ = jax.eval_shape(network.init_with_output, jax.random.key(0), keys, x)
        >>> outputs.shape, [group.z.shape for group in groups]  # coarse to fine
        ((5, 8, 8, 1), [(5, 1, 1, 8), (5, 1, 1, 8), (5, 4, 4, 8)])

    References:
        Child, "Very Deep VAEs Generalize Autoregressive Models and Can Outperform Them on Images" (2021), section 4.
        Vahdat and Kautz, "NVAE: A Deep Hierarchical Variational Autoencoder" (2020), section 3.
        Sønderby et al., "Ladder Variational Autoencoders" (2016), section 2.
    """

    outputs: int = 1
    image_size: tuple[int, int] = (28, 28)
    patch: int = 2
    groups: tuple[int, ...] = (0, 4, 3, 0, 2)
    widths: tuple[int, ...] = (64, 64, 64, 64, 64)
    encoder_blocks: tuple[int, ...] = (1, 1, 1, 0, 1)
    decoder_blocks: tuple[int, ...] = (1, 0, 0, 0, 0)
    latent_channels: int = 8
    bottleneck: float = 0.5
    num_classes: int | None = None
    residual_posterior: bool = True
    dtype: jnp.dtype | None = None
    remat: bool = False

    def setup(self) -> None:
        self._check()
        residual = nn.remat(Residual) if self.remat else Residual
        hidden = [max(1, round(self.bottleneck * width)) for width in self.widths]
        # So many branches add up: the sum starts as large as one of them.
        up = 1 / math.sqrt(max(1, sum(self.encoder_blocks)))
        down = 1 / math.sqrt(sum(self.groups + self.decoder_blocks))

        def blocks(level: int, count: int, scale: float) -> tuple[Residual, ...]:
            return tuple(residual(self.widths[level], hidden[level], scale, self.dtype) for _ in range(count))

        def group(level: int) -> TopDownGroup:
            return TopDownGroup(
                self.latent_channels,
                self.widths[level],
                hidden[level],
                down,
                self.residual_posterior,
                self.dtype,
                self.remat,
            )

        levels = range(len(self.groups))
        self.encoder = [blocks(i, self.encoder_blocks[i], up) for i in levels]
        self.decoder_groups = [tuple(group(i) for _ in range(self.groups[i])) for i in levels]
        self.decoder = [blocks(i, self.decoder_blocks[i], down) for i in levels]

        self.stem = Conv(self.widths[0], (3, 3), dtype=self.dtype)
        self.head = Conv(self.outputs * self.patch**2, (3, 3), dtype=self.dtype)
        # A change of width on the way up, and down; none where it stays.
        changes = [i for i in levels[1:] if self.widths[i - 1] != self.widths[i]]
        self.widen = {str(i): Conv(self.widths[i], (1, 1), dtype=self.dtype) for i in changes}
        self.narrow = {str(i): Conv(self.widths[i - 1], (1, 1), dtype=self.dtype) for i in changes}
        # Where it adds nothing, a position looks like every other one: all resolutions get their own.
        self.start = [
            self.param(f"start_{i}", nn.initializers.zeros, (*self._size(i), self.widths[i])) for i in levels
        ]
        if self.num_classes is not None:
            self.encoder_class = nn.Embed(self.num_classes, self.widths[0], dtype=self.dtype)
            self.decoder_class = nn.Embed(self.num_classes, self.widths[-1], dtype=self.dtype)

    def __call__(
        self, keys: Key, x: Array, condition: Condition | None = None
    ) -> tuple[Array, tuple[LatentGroup, ...]]:
        """See `infer`."""
        return self.infer(keys, x, condition)

    def infer(
        self, keys: Key, x: Array, condition: Condition | None = None
    ) -> tuple[Array, tuple[LatentGroup, ...]]:
        """A draw from the posterior, decoded.

        Args:
            keys: Key[B], one for each example.
            x: float[B,H,W,C], images in [-1, 1].
            condition: "label" int32[B] in [0, num_classes), for a conditional model.

        Returns:
            outputs: float32[B,H,W,outputs], the parameters of a likelihood.
            groups: from the coarsest to the finest; z is float32[B,h,w,latent_channels].

        Raises:
            UserError: images of another size; a label for an unconditional model.
        """
        latents: list[LatentGroup] = []

        def choose(number: int, prior: Gaussian, posterior: Gaussian | None) -> Array:
            assert posterior is not None
            latents.append(draw(fold_in(keys, number), posterior, prior))
            return latents[-1].z

        outputs = self._decode(len(keys), self._encode(x, condition), condition, choose)
        return outputs, tuple(latents)

    def generate(
        self, keys: Key, condition: Condition | None = None, temperature: float | Array = 1.0
    ) -> Array:
        """A draw from the prior, decoded.

        Args:
            keys: Key[B], one for each example.
            condition: "label" int32[B] in [0, num_classes), for a conditional model.
            temperature: factor of the priors' standard deviations, one for all or float[B].

        Returns:
            float32[B,H,W,outputs].
        """

        def choose(number: int, prior: Gaussian, posterior: Gaussian | None) -> Array:
            return gaussian.sample(fold_in(keys, number), prior, temperature)

        return self._decode(len(keys), None, condition, choose)

    def reconstruct_from(
        self, keys: Key, x: Array, condition: Condition | None = None, depth: int | Array = 1
    ) -> Array:
        """What the coarsest groups hold of an image: these are drawn from the posterior, the others are means of
        their priors.

        Args:
            keys: Key[B], one for each example.
            x: float[B,H,W,C], images in [-1, 1].
            condition: "label" int32[B] in [0, num_classes), for a conditional model.
            depth: number of groups from the posterior.

        Returns:
            float32[B,H,W,outputs].
        """

        def choose(number: int, prior: Gaussian, posterior: Gaussian | None) -> Array:
            assert posterior is not None
            return jnp.where(number < depth, gaussian.sample(fold_in(keys, number), posterior), prior.mean)

        return self._decode(len(keys), self._encode(x, condition), condition, choose)

    def _encode(self, x: Array, condition: Condition | None) -> list[Array]:
        """Features of every resolution, the finest first."""
        if x.shape[1:3] != self.image_size:
            raise UserError(f"images of {x.shape[1]}x{x.shape[2]}, but image_size={self.image_size}")
        h = self.stem(_space_to_depth(x, self.patch))
        label = label_of(condition, self.num_classes, len(x))
        if label is not None:
            h = h + _of_class(self.encoder_class, label)
        features = []
        for level, blocks in enumerate(self.encoder):
            if level:
                h = _pool(h)
                h = self.widen[str(level)](h) if str(level) in self.widen else h
            for block in blocks:
                h = materialize(h + block(h))
            features.append(h)
        return features

    def _decode(
        self, batch: int, features: list[Array] | None, condition: Condition | None, choose: Choose
    ) -> Array:
        """float32[B,H,W,outputs] from the latent variables that `choose` takes."""
        levels = len(self.groups)
        h = jnp.zeros((batch, *self.start[-1].shape), self.dtype)
        label = label_of(condition, self.num_classes, batch)
        if label is not None:
            h = h + _of_class(self.decoder_class, label)
        number = 0
        for level in reversed(range(levels)):
            if level < levels - 1:
                h = self.narrow[str(level + 1)](h) if str(level + 1) in self.narrow else h
                height, width = self._size(level)
                h = upsample(h)[:, :height, :width]
            h = h + self.start[level].astype(h.dtype)[None]
            for group in self.decoder_groups[level]:
                h, prior = group.prior(h)
                posterior = None if features is None else group.posterior(h, features[level], prior)
                h = group.add(h, choose(number, prior, posterior))
                number += 1
            for block in self.decoder[level]:
                h = materialize(h + block(h))
        return _depth_to_space(self.head(nn.silu(h)).astype(jnp.float32), self.patch)

    def _size(self, level: int) -> tuple[int, int]:
        height, width = (-(-n // (self.patch * 2**level)) for n in self.image_size)
        return height, width

    def _check(self) -> None:
        if any(n % self.patch for n in self.image_size):
            raise UserError(f"image_size={self.image_size} is not divisible by patch={self.patch}")
        for name in ("widths", "encoder_blocks", "decoder_blocks"):
            if len(getattr(self, name)) != len(self.groups):
                raise UserError(
                    f"{name}={getattr(self, name)} must have one entry per resolution, as groups={self.groups}"
                )
        if self.groups[-1] < 1:
            raise UserError(f"groups={self.groups}: the coarsest resolution needs at least 1 group")


def _of_class(table: nn.Embed, label: Array) -> Array:
    """float[B,1,1,C]: the row of each label; zeros where an example has none."""
    known = label < table.num_embeddings
    rows = table(jnp.where(known, label, 0))
    return jnp.where(known[:, None], rows, 0)[:, None, None]


def _pool(x: Array) -> Array:
    """float[B,H,W,C] -> float[B,ceil(H/2),ceil(W/2),C]: mean of 2x2 blocks, of what there is of them at the end."""
    height, width = x.shape[1:3]
    padding = ((0, 0), (0, height % 2), (0, width % 2), (0, 0))
    # Repeated, the last row and column count as themselves.
    x = jnp.pad(x, padding, mode="edge")
    batch, height, width, channels = x.shape
    return x.reshape(batch, height // 2, 2, width // 2, 2, channels).mean((2, 4))


def _space_to_depth(x: Array, patch: int) -> Array:
    """float[B,H,W,C] -> float[B,H/patch,W/patch,patch*patch*C]."""
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height // patch, patch, width // patch, patch, channels)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(batch, height // patch, width // patch, -1)


def _depth_to_space(x: Array, patch: int) -> Array:
    """The inverse of `_space_to_depth`."""
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height, width, patch, patch, channels // patch**2)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(batch, height * patch, width * patch, -1)


@dataclasses.dataclass(frozen=True)
class DeepConfig:
    """The network: a deep hierarchy (genjax.models.vae.deep_vae). Each tuple has an entry per resolution, finest first.

    Attributes:
        patch: Side of the patches that images are cut into, in pixels.
        groups: Number of groups of latent variables at each resolution. The sum is the depth of the hierarchy.
        widths: Number of channels of the features at each resolution.
        encoder_blocks: Number of residual blocks on the way up.
        decoder_blocks: Number of residual blocks on the way down. The blocks of the groups are not counted.
        latent_channels: Number of channels of each group.
        bottleneck: Channels inside a residual block, as a fraction of its width.
        dtype: Type of the computation. Parameters are always float32.
        remat: Recompute activations in the backward pass instead of storing them.
    """

    patch: Count = 2
    groups: CountsOrZero = (0, 4, 3, 0, 2)
    widths: Counts = (64, 64, 64, 64, 64)
    encoder_blocks: CountsOrZero = (1, 1, 1, 0, 1)
    decoder_blocks: CountsOrZero = (1, 0, 0, 0, 0)
    latent_channels: Count = 8
    bottleneck: Positive = 0.5
    dtype: Literal["float32", "bfloat16"] = "float32"
    remat: bool = False


def _build(
    config: DeepConfig, outputs: tuple[int, int, int], shared_scale: bool, conditions: Mapping[str, Any]
) -> DeepVAE:
    if shared_scale:
        raise UserError("shared_scale=True is for networks with one group of latent variables")
    height, width, depth = outputs
    size = height, width
    return DeepVAE(**options(config), outputs=depth, image_size=size, num_classes=num_classes(conditions))


NETWORK = NetworkKind(
    DeepConfig,
    {"vae": _build},
    conditions=("label",),
    small={
        "groups": (0, 1, 1),
        "widths": (4, 4, 4),
        "encoder_blocks": (1, 1, 0),
        "decoder_blocks": (0, 0, 0),
        "latent_channels": 2,
    },
)
