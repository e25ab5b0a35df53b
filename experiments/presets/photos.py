"""Presets for a folder of one's own photographs, in colour, of 32 or 64 pixels; docs/own-images.md says more."""

from genjax.app.config import Config, DataConfig, EvaluationConfig, SamplingConfig
from genjax.methods.codes.vq_vae import VQVAEConfig
from genjax.methods.diffusion.diffusion import DiffusionConfig
from genjax.methods.gan.gan_kind import GANConfig
from genjax.methods.optimizers import OptimizerConfig
from genjax.methods.vae.vae import VAEConfig
from genjax.models.codes.vq_vae import CodesConfig
from genjax.models.denoisers.unet import UNetConfig
from genjax.models.gan.dcgan import DCGANConfig
from genjax.models.vae.conv import ConvConfig
from genjax.train.options import FitOptions

_FOLDER = DataConfig(
    dataset="folder:photos",
    image_size=32,
    channels=3,
    convert=("colour", "8-bit", "on:white"),
    on_bad_record="skip",
    flip=True,
)


def _fit(steps: int) -> FitOptions:
    return FitOptions(steps=steps, batch_size=64, log_every=100, checkpoint_every=1000)


def _evaluation(every: int) -> EvaluationConfig:
    return EvaluationConfig(loss_every=every, sample_every=every, grid_columns=8, num=1000)


PHOTOS: dict[str, tuple[str, Config]] = {
    "ddpm-photos": (
        "DDPM on colour photographs: --dataset folder:DIR, --data.image-size 32 or 64.",
        Config(
            fit=_fit(20_000),
            data=_FOLDER,
            model=UNetConfig(channels=64, multipliers=(1, 2, 2), blocks=2, attention=(16,), dropout=0.1),
            method=DiffusionConfig(),
            optimizer=OptimizerConfig(learning_rate=5e-4, warmup_steps=1000),
            sampling=SamplingConfig(sampler="ddim", num_steps=50, eta=0.5),
            evaluation=_evaluation(2000),
        ),
    ),
    "vae-photos": (
        "VAE on colour photographs, with a learned scale of its errors: --dataset folder:DIR, --data.image-size 32 or "
        "64.",
        Config(
            fit=_fit(20_000),
            data=_FOLDER,
            model=ConvConfig(latent=128, channels=(32, 64, 128), dense=512),
            method=VAEConfig(likelihood="gaussian_shared"),
            optimizer=OptimizerConfig(learning_rate=5e-4, warmup_steps=500),
            evaluation=_evaluation(2000),
        ),
    ),
    "vqvae-photos": (
        "VQ-VAE with a PixelCNN prior on colour photographs: --dataset folder:DIR, --data.image-size 32 or 64.",
        Config(
            fit=_fit(20_000),
            data=_FOLDER,
            model=CodesConfig(num_codes=256, code_width=32, downsamplings=2, channels=64, prior_dropout=0.1),
            method=VQVAEConfig(first_steps=8000),
            optimizer=OptimizerConfig(learning_rate=5e-4, warmup_steps=500),
            evaluation=_evaluation(2000),
        ),
    ),
    "dcgan-photos": (
        "DCGAN on colour photographs, with differentiable augmentation: --dataset folder:DIR, --data.image-size 32 or "
        "64.",
        Config(
            fit=_fit(20_000),
            data=_FOLDER,
            model=DCGANConfig(channels=32),
            method=GANConfig(latent=128, augmentation="diff", discriminator_rate=0.5),
            optimizer=OptimizerConfig(
                learning_rate=4e-4, b1=0.5, warmup_steps=0, decay="cosine", clip_norm=None
            ),
            evaluation=_evaluation(2000),
        ),
    ),
}
