"""Variational autoencoders."""

import dataclasses

from genjax.app.config import Config, DataConfig, EvaluationConfig
from genjax.methods.codes.vq_gan import VQGANConfig
from genjax.methods.codes.vq_vae import VQVAEConfig
from genjax.methods.optimizers import OptimizerConfig
from genjax.methods.vae.autoencoder import AutoencoderConfig
from genjax.methods.vae.vae import VAEConfig
from genjax.methods.vae.vae_gan import VAEGANConfig
from genjax.models.codes.vq_vae import CodesConfig
from genjax.models.vae.conv import ConvConfig
from genjax.models.vae.deep_vae import DeepConfig
from genjax.models.vae.mlp import MLPConfig
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

_SHAPES = Config(
    fit=FitOptions(steps=15_000, batch_size=128, log_every=100, checkpoint_every=5000),
    data=DataConfig(dataset="shapes"),
    model=ConvConfig(latent=10, channels=(32, 32, 64)),
    method=VAEConfig(likelihood="bernoulli", beta=4.0),
    optimizer=OptimizerConfig(learning_rate=1e-3, decay="constant"),
    evaluation=EvaluationConfig(loss_every=5000, sample_every=5000, num=0),
)

VAE: dict[str, tuple[str, Config]] = {
    "vae-digits": ("VAE on scikit-learn's 8x8 digits: seconds on two CPU cores, no download.", _DIGITS),
    "cvae-digits": (
        "Conditional VAE on scikit-learn's 8x8 digits: seconds on two CPU cores, no download.",
        dataclasses.replace(_DIGITS, method=VAEConfig(class_conditional=True)),
    ),
    "dae-digits": (
        "Denoising autoencoder on scikit-learn's 8x8 digits, sampled by its Markov chain: seconds on two CPU cores.",
        dataclasses.replace(
            _DIGITS,
            model=MLPConfig(latent=32, hidden=(256, 256)),
            method=AutoencoderConfig(corruption="gaussian", corruption_level=0.7, walkback=2),
        ),
    ),
    "vaegan-digits": (
        "VAE-GAN on scikit-learn's 8x8 digits: a minute on two CPU cores, no download.",
        dataclasses.replace(
            _DIGITS,
            model=ConvConfig(latent=8, channels=(32, 64)),
            method=VAEGANConfig(discriminator_channels=(16, 32), discriminator_hidden=64),
            optimizer=OptimizerConfig(learning_rate=5e-4, decay="constant"),
        ),
    ),
    "beta-vae-shapes": (
        "beta-VAE on drawn shapes with six known factors: how disentangled is its code? No download.",
        _SHAPES,
    ),
    "tcvae-shapes": (
        "beta-TCVAE on drawn shapes with six known factors: how disentangled is its code? No download.",
        dataclasses.replace(
            _SHAPES, method=VAEConfig(likelihood="bernoulli", rate="tc", beta=6.0, dataset_size=22_119)
        ),
    ),
    "vqvae-digits": (
        "VQ-VAE with a PixelCNN prior on scikit-learn's 8x8 digits: a minute on two CPU cores, no download.",
        Config(
            fit=FitOptions(steps=4000, batch_size=64, log_every=100, checkpoint_every=1000),
            data=DataConfig(dataset="digits"),
            model=CodesConfig(num_codes=64, code_width=8, downsamplings=1, channels=32, prior_depth=4),
            method=VQVAEConfig(first_steps=1500),
            optimizer=OptimizerConfig(learning_rate=2e-3),
            evaluation=EvaluationConfig(loss_every=1000, sample_every=0, num=1000),
        ),
    ),
    "vqgan-digits": (
        "VQGAN with a transformer prior on scikit-learn's 8x8 digits: minutes on two CPU cores, no download.",
        Config(
            fit=FitOptions(steps=4000, batch_size=64, log_every=100, checkpoint_every=1000),
            data=DataConfig(dataset="digits"),
            model=CodesConfig(
                num_codes=64,
                code_width=8,
                downsamplings=1,
                channels=32,
                prior="transformer",
                prior_depth=4,
                prior_dropout=0.1,
            ),
            method=VQGANConfig(first_steps=2000, discriminator_layers=1, max_weight=1.0),
            optimizer=OptimizerConfig(learning_rate=1e-3),
            evaluation=EvaluationConfig(loss_every=1000, sample_every=0, num=1000),
        ),
    ),
    "vqvae-mnist": (
        "VQ-VAE with a PixelCNN prior on MNIST (TFDS).",
        Config(
            fit=FitOptions(steps=20_000, batch_size=64, log_every=100, checkpoint_every=2000),
            data=DataConfig(dataset="mnist"),
            model=CodesConfig(channels=32, code_width=16, prior_dropout=0.1),
            method=VQVAEConfig(first_steps=6000),
            optimizer=OptimizerConfig(learning_rate=1e-3),
            evaluation=EvaluationConfig(loss_every=2000, sample_every=0, num=10_000),
        ),
    ),
    "vae-mnist": (
        "VAE of perceptrons on statically binarised MNIST (TFDS), judged by its importance-weighted likelihood.",
        Config(
            fit=FitOptions(
                steps=50_000,
                batch_size=100,
                log_every=500,
                checkpoint_every=10_000,
                steps_per_dispatch=50,  # worth it on CPU as well, where there are no convolutions
            ),
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
            fit=FitOptions(steps=8000, batch_size=100, log_every=500, checkpoint_every=4000),
            data=DataConfig(dataset="mnist"),
            model=ConvConfig(latent=16),
            method=VAEConfig(class_conditional=True),
            optimizer=OptimizerConfig(learning_rate=1e-3),
            evaluation=EvaluationConfig(loss_every=4000, sample_every=4000, num=10_000),
        ),
    ),
    "deep-vae-mnist": (
        "Deep hierarchical VAE on statically binarised MNIST (TFDS): an hour on two CPU cores.",
        Config(
            fit=FitOptions(steps=20_000, batch_size=128, log_every=100, checkpoint_every=1000),
            data=_BINARY_MNIST,
            model=DeepConfig(widths=(32, 64, 64, 64, 64)),
            method=VAEConfig(draw_pixels=True, warmup_steps=2000, balance=True),
            optimizer=OptimizerConfig(
                learning_rate=2e-3, warmup_steps=500, clip_norm=200.0, skip_norm=5000.0
            ),
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
            # Child (2021) clips at 200 and skips at 400 where the loss is in nats per component of an image.
            optimizer=OptimizerConfig(
                learning_rate=2e-4,
                decay="constant",
                weight_decay=0.01,
                clip_norm=200.0 * 3072,
                skip_norm=400.0 * 3072,
            ),
            evaluation=EvaluationConfig(loss_every=10_000, sample_every=10_000, num=0),
        ),
    ),
}
