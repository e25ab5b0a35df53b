"""The training steps of `tasks` in PyTorch, in channels_last format. No jax in here: see `specs`."""

import itertools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from experiments.bench import specs, torch_weights
from experiments.bench.torch_unet import unet

Losses = dict[str, Any]


class Twin(NamedTuple):
    """A network and its training in PyTorch.

    Attributes:
        layers: by Linen's names.
        prepare: Linen's parameters -> what is loaded into the layers.
        losses: one step; returns the losses before it.
    """

    layers: Any
    prepare: Callable[[Any], Any]
    losses: Callable[[], dict[str, float]]


def twin(spec: specs.Spec, batch: specs.Arrays, params: Any = None) -> Twin:
    """The twin of ``tasks.task(spec)``, which trains on one batch.

    Args:
        spec: what is trained.
        batch: what it is trained on.
        params: weights by Linen's names; None: PyTorch's initialisation.
    """
    import torch

    made = _KINDS[type(spec)](spec, batch)
    if params is not None:
        torch_weights.load(made.layers, made.prepare(params))
    made.layers.to(memory_format=torch.channels_last).train()
    return made


def threads() -> int:
    """How many threads PyTorch uses for one operation."""
    import torch

    return torch.get_num_threads()


def _adam(spec: specs.Spec, layers: Any) -> Any:
    """PyTorch's fastest Adam."""
    import torch

    numbers = specs.ADAM[type(spec)]
    betas = numbers["b1"], numbers["b2"]
    return torch.optim.Adam(layers.parameters(), numbers["learning_rate"], betas, eps=1e-8, fused=True)


def _update(optimizer: Any, loss: Any) -> float:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return float(loss.detach())


def _unet(spec: specs.UNet, batch: specs.Arrays) -> Twin:
    import torch

    layers, forward = unet(spec)
    optimizer = _adam(spec, layers)
    image, noise = torch_weights.images(batch["image"]), torch_weights.images(batch["noise"])
    time = torch.tensor(batch["time"])
    label = None if spec.num_classes is None else torch.tensor(batch["label"])

    def losses() -> dict[str, float]:
        angle = (math.pi / 2 * time)[:, None, None, None]
        noisy = torch.cos(angle) * image + torch.sin(angle) * noise
        return {"loss": _update(optimizer, torch.nn.functional.mse_loss(forward(noisy, time, label), noise))}

    return Twin(layers, lambda params: params, losses)


def _vae(spec: specs.VAE, batch: specs.Arrays) -> Twin:
    """All images are upside down: see `torch_weights.mirrored`."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    first, second = spec.widths
    inner = spec.image[0] // 4, spec.image[1] // 4, second
    encoder = nn.ModuleDict(
        {
            "down_0": nn.Conv2d(spec.image[-1], first, 3, stride=2, padding=1),
            "down_1": nn.Conv2d(first, second, 3, stride=2, padding=1),
            "hidden": nn.Linear(math.prod(inner), spec.hidden),
            "mean": nn.Linear(spec.hidden, spec.latent),
            "log_variance": nn.Linear(spec.hidden, spec.latent),
        }
    )
    decoder = nn.ModuleDict(
        {
            "hidden": nn.Linear(spec.latent, math.prod(inner)),
            "up_0": nn.ConvTranspose2d(second, second, 3, stride=2, padding=1, output_padding=1),
            "up_1": nn.ConvTranspose2d(second, first, 3, stride=2, padding=1, output_padding=1),
            "out": nn.ConvTranspose2d(first, spec.image[-1], 3, padding=1),
        }
    )
    layers = nn.ModuleDict({"encoder": encoder, "decoder": decoder})
    optimizer = _adam(spec, layers)
    image = torch_weights.images(np.flip(batch["image"], (1, 2)).copy())
    noise = torch.tensor(batch["noise"])

    def losses() -> dict[str, float]:
        h = F.relu_(encoder["down_1"](F.relu_(encoder["down_0"](image))))
        h = F.relu_(encoder["hidden"](h.permute(0, 2, 3, 1).flatten(1)))
        mean, log_variance = encoder["mean"](h), encoder["log_variance"](h)
        h = F.relu_(decoder["hidden"](mean + torch.exp(0.5 * log_variance) * noise))
        h = h.reshape(-1, *inner).permute(0, 3, 1, 2)
        logits = decoder["out"](F.relu_(decoder["up_1"](F.relu_(decoder["up_0"](h)))))
        reconstruction = F.binary_cross_entropy_with_logits(logits, image, reduction="sum")
        divergence = -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum()
        return {"loss": _update(optimizer, (reconstruction + divergence) / len(image))}

    return Twin(layers, lambda params: torch_weights.mirrored(params, inner), losses)


def _dcgan(spec: specs.DCGAN, batch: specs.Arrays) -> Twin:
    import torch
    from torch import nn
    from torch.nn import functional as F

    channels = spec.image[-1]
    generator, discriminator = nn.ModuleDict(), nn.ModuleDict()
    for i, (before, after) in enumerate(itertools.pairwise((spec.latent, *spec.generator))):
        resize: dict[str, Any] = {"stride": 2, "padding": 1} if i else {}
        generator[f"up_{i}"] = nn.ConvTranspose2d(before, after, 4, bias=False, **resize)
        generator[f"norm_{i}"] = nn.BatchNorm2d(after)
    generator["out"] = nn.ConvTranspose2d(spec.generator[-1], channels, 4, stride=2, padding=1, bias=False)
    for i, (before, after) in enumerate(itertools.pairwise((channels, *spec.discriminator))):
        discriminator[f"down_{i}"] = nn.Conv2d(before, after, 4, stride=2, padding=1, bias=False)
        if i:
            discriminator[f"norm_{i}"] = nn.BatchNorm2d(after)
    discriminator["out"] = nn.Conv2d(spec.discriminator[-1], 1, 4, bias=False)
    optimizers = _adam(spec, generator), _adam(spec, discriminator)
    image, latent = torch_weights.images(batch["image"]), torch.tensor(batch["latent"])[:, :, None, None]

    def generate() -> Any:
        h = latent
        for i in range(len(spec.generator)):
            h = F.relu_(generator[f"norm_{i}"](generator[f"up_{i}"](h)))
        return torch.tanh(generator["out"](h))

    def judge(x: Any) -> Any:
        for i in range(len(spec.discriminator)):
            x = discriminator[f"down_{i}"](x)
            x = F.leaky_relu_(discriminator[f"norm_{i}"](x) if i else x, 0.2)
        return discriminator["out"](x).flatten()

    def losses() -> dict[str, float]:
        fake = generate()
        judged = F.softplus(-judge(image)) + F.softplus(judge(fake.detach()))
        d_loss = _update(optimizers[1], judged.mean())
        discriminator.requires_grad_(False)  # or its gradients would be computed once more
        g_loss = _update(optimizers[0], F.softplus(-judge(fake)).mean())
        discriminator.requires_grad_(True)
        return {"discriminator": d_loss, "generator": g_loss}

    layers = nn.ModuleDict({"generator": generator, "discriminator": discriminator})
    return Twin(layers, lambda params: params, losses)


_KINDS: dict[type, Callable[[Any, specs.Arrays], Twin]] = {
    specs.UNet: _unet,
    specs.VAE: _vae,
    specs.DCGAN: _dcgan,
}
"""Kind of spec -> its step."""
