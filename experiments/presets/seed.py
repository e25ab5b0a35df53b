"""A VAE, a GAN and a diffusion model on MNIST as comparative studies take them: small, well known, and without tricks.

No moving averages, no clipping, no warm-up, Adam at the rates of the originals; what is drawn is the last parameters'.
Numbers of parameters are the originals' (tests/experiments/test_seed.py); what differs is said at each.
Initial weights are this library's (LeCun's normal ones) where Keras has Glorot's uniform ones and torch its own.
"""

from genjax.app.config import Config, DataConfig, EvaluationConfig, SamplingConfig
from genjax.methods.diffusion.diffusion import DiffusionConfig
from genjax.methods.gan.gan_kind import GANConfig
from genjax.methods.optimizers import OptimizerConfig
from genjax.methods.vae.vae import VAEConfig
from genjax.models.denoisers.unet import UNetConfig
from genjax.models.gan.mlp import MLPGANConfig
from genjax.models.vae.conv import ConvConfig
from genjax.train.options import FitOptions

# "Variational AutoEncoder" of the Keras examples (Chollet 2020): 69,076 + 65,089 parameters, 30 epochs of 128. Theirs
# trains on the test images too, as it scores nothing.
_VAE = Config(
    fit=FitOptions(steps=14_000, batch_size=128, log_every=100, checkpoint_every=2000),
    data=DataConfig(dataset="mnist"),
    model=ConvConfig(latent=2, channels=(32, 64), dense=16, decoder_dense=False, kernel=3, extra=True),
    method=VAEConfig(likelihood="bernoulli", ema_decay=0.0),
    optimizer=OptimizerConfig(learning_rate=1e-3, warmup_steps=0, decay="constant", clip_norm=None),
    evaluation=EvaluationConfig(loss_every=1000, sample_every=1000, num=10_000),
)

# gan.py of Keras-GAN (Linder-Noren 2017): 1,489,936 + 533,505 parameters (and 3,584 running statistics), 30,000 steps.
# There the batch is 32 by default, and the discriminator makes two steps, one with real images and one with fakes; here
# it is 128 and there is one step with both. Batches of fakes have statistics of their own in both.
_GAN = Config(
    fit=FitOptions(steps=30_000, batch_size=128, log_every=100, checkpoint_every=2000),
    data=DataConfig(dataset="mnist"),
    model=MLPGANConfig(
        hidden=(256, 512, 1024),
        discriminator_hidden=(512, 256),
        pieces=1,
        generator_norm="batch",
        generator_slope=0.2,
    ),
    method=GANConfig(latent=100, ema_decay=0.0),
    optimizer=OptimizerConfig(learning_rate=2e-4, b1=0.5, warmup_steps=0, decay="constant", clip_norm=None),
    evaluation=EvaluationConfig(loss_every=2000, sample_every=2000, num=10_000),
)

# script.py of Conditional_Diffusion_MNIST (Pearce 2022), its sizes on MNIST: 20 epochs of 256, T = 400, betas from 1e-4
# to 0.02, which leave 13 % of the image at t = 1. Its ContextUnet (n_feat = 128) has 6.59 M parameters and 1.37 G
# multiplications an image; ours 6.66 M and 1.14 G, the nearest of its kind. That has group norm instead of batch norm,
# attention at 7x7 where theirs averages all of 7x7, embeddings that modulate every block and not the way up alone,
# and halves by averages where theirs takes maxima. The rate falls at every step, theirs after every epoch; images are
# in [-1, 1], theirs in [0, 1]. Their guidance is w in (0, 0.5, 2): a scale of 1 + w.
_DIFFUSION = Config(
    fit=FitOptions(steps=4700, batch_size=256, log_every=50, checkpoint_every=500),
    data=DataConfig(dataset="mnist"),
    model=UNetConfig(channels=72, multipliers=(1, 2, 2), blocks=1),
    method=DiffusionConfig(schedule="linear", timesteps=400, condition_dropout=0.1, ema_decay=0.0),
    optimizer=OptimizerConfig(learning_rate=1e-4, warmup_steps=0, decay="ramp", clip_norm=None),
    sampling=SamplingConfig(sampler="ddpm", num_steps=400, guidance=1.5),
    evaluation=EvaluationConfig(loss_every=1000, sample_every=0, grid_columns=4, num=1000),
)

SEED: dict[str, tuple[str, Config]] = {
    "seed-vae": ("The convolutional VAE of the Keras examples on MNIST (TFDS), for comparisons.", _VAE),
    "seed-gan": ("The perceptron GAN of Keras-GAN on MNIST (TFDS), for comparisons.", _GAN),
    "seed-diffusion": (
        "A conditional DDPM of 400 steps and 6.7 M parameters on MNIST (TFDS), for comparisons.",
        _DIFFUSION,
    ),
}
