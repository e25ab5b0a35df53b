"""An extractor of grayscale images as one of images whose channels are such images: for Stacked-MNIST."""

import jax
import jax.numpy as jnp

from genjax.metrics.extractor import Extractor
from genjax.typing import Array, UserError


def stacked(extractor: Extractor, channels: int = 3) -> Extractor:
    """Applies an extractor of width D with K classes to each of C channels, which are images of their own.

    The features of the channels are put side by side, D * C wide. The K^C classes are the combinations of the classes
    of the channels, the last one running fastest (``100 a + 10 b + c`` for digits), and the logits their
    log-probabilities, because the channels are independent: the likeliest class combines the likeliest classes of the
    channels.

    Args:
        extractor: extractor of images [B,H,W,1].
        channels: C, how many there are.

    Returns:
        The extractor, whose `apply` refuses another number of channels with a `UserError`.
    """

    def apply(images: Array) -> tuple[Array, Array]:
        if images.ndim != 4 or images.shape[-1] != channels:
            raise UserError(f"images has shape {images.shape}: {channels} stacked channels are needed")
        batch = len(images)
        features, logits = extractor.apply(jnp.moveaxis(images, -1, 1).reshape(-1, *images.shape[1:3], 1))
        each = jax.nn.log_softmax(logits).reshape(batch, channels, -1)
        joint = jnp.zeros((batch, 1))
        for i in range(channels):
            joint = (joint[:, :, None] + each[:, i, None, :]).reshape(batch, -1)
        return features.reshape(batch, -1), joint

    return extractor._replace(
        name=f"{channels} stacked {extractor.name}", feature_dim=channels * extractor.feature_dim, apply=apply
    )
