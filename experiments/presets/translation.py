"""Models from images to images."""

import dataclasses

from genjax.app.config import Config, DataConfig, EvaluationConfig
from genjax.methods.gan.cycle_gan import CycleGANConfig
from genjax.methods.gan.pix2pix import Pix2PixConfig
from genjax.methods.optimizers import OptimizerConfig
from genjax.models.gan.residual_translator import ResidualTranslatorConfig
from genjax.models.gan.translation_unet import TranslationUNetConfig
from genjax.train.options import FitOptions

_PIX2PIX = Config(
    fit=FitOptions(steps=8000, batch_size=32, log_every=100, checkpoint_every=1000),
    data=DataConfig(dataset="mnist", source="edges:mnist"),
    model=TranslationUNetConfig(channels=32, levels=2, dropout_levels=1),
    method=Pix2PixConfig(discriminator_layers=2, discriminator_channels=32),
    optimizer=OptimizerConfig(learning_rate=5e-4, b1=0.5, warmup_steps=0, decay="linear", clip_norm=None),
    evaluation=EvaluationConfig(loss_every=1000, sample_every=1000, num=1000),
)

_CYCLE_GAN = Config(
    fit=FitOptions(steps=4000, batch_size=16, log_every=50, checkpoint_every=500),
    data=DataConfig(dataset="mnist", source="inverted:mnist", pairing="unpaired"),
    model=ResidualTranslatorConfig(channels=16, blocks=2),
    # The domains are so different that no image of one domain looks like an image of the other: identity=0.
    method=CycleGANConfig(discriminator_layers=2, discriminator_channels=32, identity=0.0),
    optimizer=OptimizerConfig(learning_rate=5e-4, b1=0.5, warmup_steps=0, decay="linear", clip_norm=None),
    evaluation=EvaluationConfig(loss_every=1000, sample_every=1000, num=1000),
)

TRANSLATION: dict[str, tuple[str, Config]] = {
    "pix2pix-mnist": (
        "pix2pix on MNIST (TFDS), from the edges of digits to digits: minutes on two CPU cores.",
        _PIX2PIX,
    ),
    "cyclegan-mnist": (
        "CycleGAN on MNIST (TFDS), between digits and their negatives: ten minutes on two CPU cores.",
        _CYCLE_GAN,
    ),
    "pix2pix-digits": (
        "pix2pix on scikit-learn's 8x8 digits, from their edges: a minute on two CPU cores, no download.",
        dataclasses.replace(
            _PIX2PIX,
            fit=FitOptions(steps=3000, batch_size=32, log_every=50, checkpoint_every=1000),
            data=DataConfig(dataset="digits", source="edges:digits"),
            method=Pix2PixConfig(discriminator_layers=1, discriminator_channels=16),
        ),
    ),
    "cyclegan-digits": (
        "CycleGAN between scikit-learn's 8x8 digits and their negatives: minutes on two CPU cores, no download.",
        dataclasses.replace(
            _CYCLE_GAN,
            fit=FitOptions(steps=3000, batch_size=16, log_every=50, checkpoint_every=1000),
            data=DataConfig(dataset="digits", source="inverted:digits", pairing="unpaired"),
            model=ResidualTranslatorConfig(channels=16, blocks=2, halvings=1),
            method=CycleGANConfig(discriminator_layers=1, discriminator_channels=16, identity=0.0),
        ),
    ),
}
