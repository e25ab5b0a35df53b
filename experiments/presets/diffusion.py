"""Diffusion models."""

from genjax.app.config import Config, DataConfig, EvaluationConfig, SamplingConfig
from genjax.methods.diffusion.diffusion import DiffusionConfig
from genjax.methods.optimizers import OptimizerConfig
from genjax.models.denoisers.unet import UNetConfig
from genjax.train.options import FitOptions

DIFFUSION: dict[str, tuple[str, Config]] = {
    "ddpm-digits": (
        "Class-conditional DDPM on scikit-learn's 8x8 digits: two minutes on two CPU cores, no download.",
        Config(
            fit=FitOptions(steps=1500, batch_size=64, log_every=50, checkpoint_every=500),
            data=DataConfig(dataset="digits"),
            model=UNetConfig(channels=32, multipliers=(1, 2), blocks=1, attention=(4,)),
            optimizer=OptimizerConfig(learning_rate=2e-3),
            sampling=SamplingConfig(sampler="ddpm", num_steps=50),
            evaluation=EvaluationConfig(loss_every=500, sample_every=500, num=1000),
        ),
    ),
    "ddpm-mnist": (
        "Class-conditional DDPM on MNIST (TFDS): about an hour on two CPU cores.",
        Config(
            fit=FitOptions(steps=5000, batch_size=64, log_every=50, checkpoint_every=500),
            data=DataConfig(dataset="mnist"),
            model=UNetConfig(channels=32, multipliers=(1, 2, 2), blocks=1),
            method=DiffusionConfig(),
            optimizer=OptimizerConfig(learning_rate=1e-3, warmup_steps=200),
            # Stochastic: new noise at every step mends what the first steps, where the network's error in the noise is
            # magnified most, get wrong. DDIM with as few steps leaves specks in some images.
            sampling=SamplingConfig(sampler="ddpm", num_steps=50),
            evaluation=EvaluationConfig(loss_every=1000, sample_every=1000, num=1000),
        ),
    ),
}
