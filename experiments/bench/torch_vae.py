"""The variational autoencoder of perceptrons as PyTorch's tutorials write it, with the layers of a config."""

import itertools
from typing import Any

import numpy as np

from experiments.bench import libraries
from experiments.bench.workloads import Workload
from genjax import data
from genjax.app import build
from genjax.app.config import Config, flatten
from genjax.methods.vae.vae import VAEConfig
from genjax.models.vae.mlp import MLPConfig
from genjax.typing import UserError


def layers(config: Config, size: int) -> Any:
    """Encoder and decoder of images with `size` pixels."""
    from torch import nn

    def perceptron(*widths: int) -> list[Any]:
        return [layer for a, b in itertools.pairwise(widths) for layer in (nn.Linear(a, b), nn.ReLU())]

    hidden, latent = config.model.hidden, config.model.latent
    encoder = nn.Sequential(*perceptron(size, *hidden), nn.Linear(hidden[-1], 2 * latent))
    decoder = nn.Sequential(*perceptron(latent, *hidden[::-1]), nn.Linear(hidden[0], size))
    return nn.ModuleDict({"encoder": encoder, "decoder": decoder})


def textbook(config: Config) -> Workload:
    """Training steps, one call of every operation at a time, on images that are in memory as float32 already.

    No clipping, and no moving average: less than a step of ours.

    Raises:
        UserError: PyTorch is not there, or the config is of something else.
    """
    reason = libraries.why_no_torch()
    if reason is not None:
        raise UserError(f"against='torch': {reason}")
    fields = flatten(config)
    plain = {
        "model.posterior_flow": "none",
        "model.prior_flow": "none",
        "method.likelihood": "bernoulli",
        "method.rate": "kl",
        "method.beta": 1.0,
        "method.warmup_steps": 0,
        "method.free_bits": 0.0,
        "method.class_conditional": False,
    }
    known = isinstance(config.model, MLPConfig) and type(config.method) is VAEConfig
    if not known or any(fields[name] != value for name, value in plain.items()):
        raise UserError("against='torch' knows the plain VAE of perceptrons, as that of the preset vae-mnist")
    import torch
    from torch.nn import functional as F

    arrays = data.to_memory(build.source(config.data, config.data.train_split))["image"]
    images = torch.tensor(arrays.reshape(len(arrays), -1).astype(np.float32) / 255)
    network = layers(config, images.shape[1])
    optimizer = torch.optim.Adam(network.parameters(), config.optimizer.learning_rate, fused=True)
    size = config.fit.batch_size

    def step(x: Any) -> None:
        mean, log_variance = network["encoder"](x).chunk(2, 1)
        z = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
        logits = network["decoder"](z)
        distortion = F.binary_cross_entropy_with_logits(logits, x, reduction="sum")
        divergence = -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum()
        optimizer.zero_grad()
        ((distortion + divergence) / size).backward()
        optimizer.step()

    def run(count: int) -> None:
        for _ in range(count):
            step(images[torch.randint(len(images), (size,))])

    return Workload(run, size, None)
