"""Variational autoencoders."""

import dataclasses

from experiments.config import (
    Config,
    ConvConfig,
    DataConfig,
    DeepConfig,
    EvaluationConfig,
    MLPConfig,
    OptimizerConfig,
    VAEConfig,
)
from genjax.train.options import FitOptions

_BINARY_MNIST = DataConfig(dataset="mnist", binarize="static")

_DIGITS = Config(
    fit=FitOptions(steps=3000, batch_size=64, log_every=50, checkpoint_every=1000),
    data=DataConfig(dataset="digits"),
    model=MLPConfig(latent=8, hidden=(256, 256)),
    method=VAEConfig(),
    optimizer=OptimizerConfig(learning_rate=1e-3, decay="cosine"),
    evaluation=EvaluationConfig(loss_every=1000, sample_every=1000, num=1000),
)

VAE: dict[str, tuple[str, Config]] = {
    "vae-digits": ("VAE on scikit-learn's 8x8 digits: seconds on two CPU cores, no download.", _DIGITS),
    "cvae-digits": (
        "Conditional VAE on scikit-learn's 8x8 digits: seconds on two CPU cores, no download.",
        dataclasses.replace(_DIGITS, method=VAEConfig(class_conditional=True)),
    ),
    "vae-mnist": (
        "VAE of perceptrons on statically binarised MNIST (TFDS), judged by its importance-weighted likelihood.",
        Config(
            fit=FitOptions(steps=50_000, batch_size=100, log_every=500, checkpoint_every=10_000),
            data=_BINARY_MNIST,
            model=MLPConfig(latent=40, hidden=(300, 300)),
            method=VAEConfig(draw_pixels=True),
            optimizer=OptimizerConfig(learning_rate=1e-3),
            evaluation=EvaluationConfig(loss_every=5_000, sample_every=0, importance_samples=5000),
        ),
    ),
    "cvae-mnist": (
        "Conditional convolutional VAE on MNIST (TFDS).",
        Config(
            fit=FitOptions(steps=20_000, batch_size=100, log_every=500, checkpoint_every=5_000),
            data=DataConfig(dataset="mnist"),
            model=ConvConfig(latent=16),
            method=VAEConfig(class_conditional=True),
            optimizer=OptimizerConfig(learning_rate=1e-3),
            evaluation=EvaluationConfig(loss_every=2_000, sample_every=5_000, num=10_000),
        ),
    ),
    "deep-vae-mnist": (
        "Deep hierarchical VAE on statically binarised MNIST (TFDS): an hour on two CPU cores.",
        Config(
            fit=FitOptions(steps=15_000, batch_size=128, log_every=100, checkpoint_every=1000),
            data=_BINARY_MNIST,
            model=DeepConfig(),
            method=VAEConfig(draw_pixels=True, warmup_steps=2000, balance=True),
            optimizer=OptimizerConfig(learning_rate=2e-3, warmup_steps=500),
            evaluation=EvaluationConfig(loss_every=1000, sample_every=5000, importance_samples=100),
        ),
    ),
    "deep-vae-cifar10": (
        "Deep hierarchical VAE on CIFAR-10 (TFDS), bits/dim: a recipe for accelerators, not run here but for 10 steps.",
        Config(
            fit=FitOptions(steps=400_000, batch_size=128, log_every=100, checkpoint_every=5000),
            data=DataConfig(dataset="cifar10", flip=True),
            model=DeepConfig(
                patch=1,
                groups=(21, 12, 6, 4, 2),
                widths=(384, 384, 384, 384, 384),
                encoder_blocks=(11, 6, 6, 3, 3),
                decoder_blocks=(0, 0, 0, 0, 0),
                latent_channels=16,
                bottleneck=0.25,
            ),
            method=VAEConfig(
                likelihood="logistic_mixture", mixtures=10, draw_pixels=True, warmup_steps=10_000
            ),
            optimizer=OptimizerConfig(learning_rate=2e-4, decay="constant", weight_decay=0.01),
            evaluation=EvaluationConfig(loss_every=10_000, sample_every=10_000, num=0),
        ),
    ),
}
