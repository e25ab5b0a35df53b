"""Generative adversarial networks."""

import dataclasses

from genjax.app.config import Config, DataConfig, EvaluationConfig
from genjax.methods.gan.gan_kind import GANConfig
from genjax.methods.optimizers import OptimizerConfig
from genjax.models.gan.biggan import BigGANConfig
from genjax.models.gan.dcgan import DCGANConfig
from genjax.models.gan.mlp import MLPGANConfig
from genjax.models.gan.r3gan import R3GANConfig
from genjax.models.gan.residual import ResidualGANConfig
from genjax.train.options import FitOptions

_ADAM = OptimizerConfig(learning_rate=2e-4, b1=0.5, warmup_steps=0, decay="cosine", clip_norm=None)

_DIGITS = Config(
    fit=FitOptions(steps=3000, batch_size=64, log_every=50, checkpoint_every=1000),
    data=DataConfig(dataset="digits"),
    model=DCGANConfig(channels=32),
    method=GANConfig(latent=32),
    optimizer=dataclasses.replace(_ADAM, learning_rate=5e-4),
    evaluation=EvaluationConfig(loss_every=1000, sample_every=1000, num=1000),
)

# On MNIST the rho of DCGAN is 2.4 so, and above 40 with the rate of its paper, 2e-4, for both networks.
_TWO_SCALES = dataclasses.replace(_ADAM, learning_rate=1e-3)
_BALANCED = GANConfig(latent=64, discriminator_rate=0.2)

_MNIST = Config(
    fit=FitOptions(steps=12_000, batch_size=64, log_every=100, checkpoint_every=1000),
    data=DataConfig(dataset="mnist"),
    model=DCGANConfig(channels=32, hidden=512),
    method=_BALANCED,
    optimizer=_TWO_SCALES,
    evaluation=EvaluationConfig(loss_every=1000, sample_every=1000, num=10_000),
)

GAN: dict[str, tuple[str, Config]] = {
    "gan-digits": (
        "The GAN of 2014, perceptrons, on scikit-learn's 8x8 digits: seconds on two CPU cores, no download.",
        dataclasses.replace(_DIGITS, model=MLPGANConfig(hidden=(256, 256), discriminator_hidden=(64, 64))),
    ),
    "dcgan-digits": (
        "DCGAN on scikit-learn's 8x8 digits: a minute on two CPU cores, no download.",
        _DIGITS,
    ),
    "dcgan-mnist": ("DCGAN on MNIST (TFDS).", _MNIST),
    "cgan-mnist": (
        "Conditional DCGAN, labels joined to both inputs, on MNIST (TFDS).",
        dataclasses.replace(_MNIST, method=dataclasses.replace(_BALANCED, conditioning="concatenation")),
    ),
    "acgan-mnist": (
        "DCGAN with an auxiliary classifier (ACGAN) on MNIST (TFDS).",
        dataclasses.replace(_MNIST, method=dataclasses.replace(_BALANCED, conditioning="auxiliary")),
    ),
    "infogan-mnist": (
        "InfoGAN, one code of ten values and two continuous ones, on MNIST (TFDS): do codes become classes?",
        dataclasses.replace(
            _MNIST,
            method=dataclasses.replace(
                _BALANCED, latent=62, categorical_codes=(10,), continuous_codes=2, noise="uniform"
            ),
        ),
    ),
    "wgan-gp-mnist": (
        "WGAN with gradient penalty, five updates of the critic to one, on MNIST (TFDS).",
        dataclasses.replace(
            _MNIST,
            fit=dataclasses.replace(_MNIST.fit, steps=20_000),
            model=DCGANConfig(channels=32, hidden=512, discriminator_norm="none"),
            method=GANConfig(game="wasserstein", penalty="gradient_penalty", discriminator_steps=5),
            optimizer=dataclasses.replace(_ADAM, b1=0.0, b2=0.9),
        ),
    ),
    "sngan-mnist": (
        "SNGAN with the hinge game, residual networks, on MNIST (TFDS).",
        dataclasses.replace(
            _MNIST,
            fit=dataclasses.replace(_MNIST.fit, steps=4000),
            model=ResidualGANConfig(channels=(64, 64), discriminator_channels=(32, 64, 64)),
            method=GANConfig(game="hinge", conditioning="projection"),
            optimizer=dataclasses.replace(_ADAM, b1=0.0, b2=0.9),
        ),
    ),
    "biggan-mnist": (
        "BigGAN-style class-conditional networks with attention on MNIST (TFDS): a recipe, not run here.",
        dataclasses.replace(
            _MNIST,
            fit=dataclasses.replace(_MNIST.fit, steps=6000),
            model=BigGANConfig(channels=(64, 64), discriminator_channels=(64, 64, 64)),
            method=GANConfig(latent=60, game="hinge", conditioning="projection", orthogonal=1e-4),
            optimizer=dataclasses.replace(_ADAM, b1=0.0, b2=0.9),
        ),
    ),
    "r3gan-mnist": (
        "R3GAN, the relativistic game with R1 and R2, on MNIST (TFDS).",
        dataclasses.replace(
            _MNIST,
            fit=dataclasses.replace(_MNIST.fit, steps=4000),
            model=R3GANConfig(channels=(96, 64, 16)),
            method=GANConfig(game="relativistic", penalty="r1_r2", penalty_weight=1.0),
            # Its rho is 4.9 so, and above 100 after 2,500 steps at 2e-4.
            optimizer=dataclasses.replace(_ADAM, learning_rate=1e-3, b1=0.0, b2=0.99),
        ),
    ),
}
