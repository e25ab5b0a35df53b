"""The stochastic layer of a variational autoencoder: a group of latent variables with a posterior and a prior."""

from typing import NamedTuple

from genjax.losses import gaussian
from genjax.losses.gaussian import Gaussian, sum_components
from genjax.typing import Array, Key


class LatentGroup(NamedTuple):
    """A draw of a group of latent variables from its posterior, and what it costs.

    Attributes:
        z: float[B, ...], the draw.
        log_q: float[B], log-density of z under the posterior given the image (and the groups above), in nats.
        log_p: float[B], under the prior (given the groups above), in nats.
        kl: float[B], KL(posterior || prior) in nats: the closed form where there is one, else ``log_q - log_p``.
        posterior: the normal distribution of which z, or what a flow made z of, is a draw.
    """

    z: Array
    log_q: Array
    log_p: Array
    kl: Array
    posterior: Gaussian


def draw(keys: Key, posterior: Gaussian, prior: Gaussian) -> LatentGroup:
    """A draw from `posterior`; `keys`: Key[B], the distributions' arrays float[B, ...] of one shape."""
    z = gaussian.sample(keys, posterior)
    return LatentGroup(
        z=z,
        log_q=sum_components(gaussian.log_density(z, *posterior)),
        log_p=sum_components(gaussian.log_density(z, *prior)),
        kl=sum_components(gaussian.kl(posterior, prior)),
        posterior=posterior,
    )
