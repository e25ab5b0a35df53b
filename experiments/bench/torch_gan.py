"""The DCGAN step as PyTorch's example of it is written, with the layers of a config."""

from typing import Any

import numpy as np

from experiments.bench import libraries
from experiments.bench.workloads import Workload
from genjax import data
from genjax.app import build
from genjax.app.config import Config
from genjax.methods.gan.gan_kind import GANConfig
from genjax.models.gan.dcgan import DCGANConfig
from genjax.models.gan.sizes import doublings
from genjax.typing import UserError

Size = tuple[int, int, int]


def generator(config: Config, image_shape: Size) -> Any:
    """Transposed convolutions, from latent variables with one position on."""
    from torch import nn

    count, base = doublings(image_shape)
    widths = [config.model.channels * 2**i for i in reversed(range(count))]
    width, layers = config.method.latent, []
    if (hidden := config.model.hidden) is not None:
        layers += [nn.Conv2d(width, hidden, 1, bias=False), nn.BatchNorm2d(hidden), nn.ReLU(True)]
        width = hidden
    layers += [nn.ConvTranspose2d(width, widths[0], base, bias=False)]
    for before, after in zip(widths, [*widths[1:], image_shape[-1]], strict=True):
        layers += [nn.BatchNorm2d(before), nn.ReLU(True)]
        layers += [nn.ConvTranspose2d(before, after, 4, 2, 1, bias=False)]
    return nn.Sequential(*layers, nn.Tanh())


def discriminator(config: Config, image_shape: Size) -> Any:
    """Strided convolutions; a probability."""
    from torch import nn

    count, base = doublings(image_shape)
    widths = [image_shape[-1], *(config.model.channels * 2**i for i in range(count))]
    layers: list[Any] = []
    for i in range(count):
        layers += [nn.Conv2d(widths[i], widths[i + 1], 4, 2, 1, bias=False)]
        layers += [nn.BatchNorm2d(widths[i + 1])] if i else []
        layers += [nn.LeakyReLU(0.2, inplace=True)]
    if (hidden := config.model.hidden) is not None:
        layers += [nn.Conv2d(widths[-1], hidden, base, bias=False), nn.BatchNorm2d(hidden)]
        layers += [nn.LeakyReLU(0.2, inplace=True)]
        widths, base = [hidden], (1, 1)
    return nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, base, bias=False), nn.Sigmoid())


def is_dcgan(config: Config) -> bool:
    """Whether the config is one of a DCGAN without more."""
    plain = GANConfig(latent=config.method.latent) if isinstance(config.method, GANConfig) else None
    return config.method == plain and config.model == DCGANConfig(
        getattr(config.model, "channels", 0), getattr(config.model, "hidden", None)
    )


def example(config: Config) -> Workload:
    """Training steps on images that are in memory as float32 already.

    As in pytorch/examples: three passes of the discriminator and three backward ones, of which the last computes
    gradients that nobody wants, and two steps of Adam. No moving average: less than a step of ours. Numbers too small
    for normal floats become 0, as in JAX: once the discriminator is sure there are many, and they are slow.

    Raises:
        UserError: PyTorch is not there, or the config is of something else.
    """
    reason = libraries.why_no_torch()
    if reason is not None:
        raise UserError(f"against='torch': {reason}")
    if not is_dcgan(config):
        raise UserError("against='torch' knows the plain DCGAN, as that of the preset dcgan-mnist")
    import torch
    from torch import nn

    arrays = data.to_memory(build.source(config.data, config.data.train_split))["image"]
    images = torch.tensor(np.ascontiguousarray(arrays.transpose(0, 3, 1, 2)), dtype=torch.float32) / 127.5 - 1
    shape: Size = arrays.shape[1:]
    network_g, network_d = generator(config, shape), discriminator(config, shape)
    betas, rate = (config.optimizer.b1, config.optimizer.b2), config.optimizer.learning_rate
    optimizer_g = torch.optim.Adam(network_g.parameters(), rate, betas)
    optimizer_d = torch.optim.Adam(network_d.parameters(), rate * config.method.discriminator_rate, betas)
    criterion, size = nn.BCELoss(), config.fit.batch_size
    real, fake = torch.ones(size), torch.zeros(size)

    def step(x: Any) -> None:
        network_d.zero_grad()
        criterion(network_d(x).view(-1), real).backward()
        made = network_g(torch.randn(size, config.method.latent, 1, 1))
        criterion(network_d(made.detach()).view(-1), fake).backward()
        optimizer_d.step()
        network_g.zero_grad()
        criterion(network_d(made).view(-1), real).backward()
        optimizer_g.step()

    def run(count: int) -> None:
        torch.set_flush_denormal(True)
        try:
            for _ in range(count):
                step(images[torch.randint(len(images), (size,))])
        finally:
            torch.set_flush_denormal(False)  # it holds for all that this thread computes, NumPy included

    return Workload(run, size, None)
