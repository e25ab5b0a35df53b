"""The contract of methods, for methods with options that no config names, or that one small config has not."""

import functools

import flax.linen as nn
import optax
import pytest

from genjax.diffusion import distance, grids, prediction, samplers, schedules, times, uncertainty, weighting
from genjax.losses import adversarial, likelihood, penalties
from genjax.losses.logistic_mixture import logistic_mixture
from genjax.losses.perceptual import perceptual
from genjax.methods import diffusion, vae
from genjax.methods.codes.code_prior import code_prior
from genjax.methods.codes.two_stages import two_stages
from genjax.methods.codes.vq_gan import vq_gan
from genjax.methods.codes.vq_vae import vq_vae, vq_vae_codes
from genjax.methods.gan import auxiliary, latent_prior
from genjax.methods.gan.cycle_gan import cycle_gan
from genjax.methods.gan.gan import gan
from genjax.methods.gan.pix2pix import pix2pix
from genjax.methods.vae import regularizers
from genjax.methods.vae.autoencoder import autoencoder, gaussian_noise, kl
from genjax.methods.vae.vae_gan import vae_gan
from genjax.metrics.digits_classifier import load_feature_maps
from genjax.models import VAE, DeepVAE, UNet
from genjax.models.codes.pixel_cnn import PixelCNN
from genjax.models.codes.vq_vae import VQVAE
from genjax.models.gan.conditioning import Join, Projection
from genjax.models.gan.dcgan import DCGANDiscriminator, DCGANGenerator
from genjax.models.gan.discriminator import ImageDiscriminator, PatchDiscriminator
from genjax.models.gan.heads import CodeHead
from genjax.models.gan.residual import ResidualDiscriminator, ResidualGenerator
from genjax.models.gan.residual_translator import ResidualTranslator
from genjax.models.gan.translation_unet import UNetGenerator
from genjax.models.vae.autoencoder import Autoencoder
from genjax.models.vae.conv import ConvDecoder, ConvEncoder
from genjax.models.vae.mlp import MLPDecoder, MLPEncoder
from genjax.nn import SpectralNorm, flows
from genjax.nn.quantization import FiniteScalarQuantizer, VectorQuantizer
from tests.contracts.method_contract import CLASSES, SHAPE, SOURCE, MethodContract, Subject

LABEL = ("label",)


def ddpm():
    return diffusion(
        UNet(channels=8, multipliers=(1,), blocks=1, num_classes=CLASSES, dropout=0.1),
        optax.adam(1e-3),
        schedules.cosine(100),
        samplers.ddpm(),
        grids.linspace(4),
        image_shape=SHAPE,
        conditions=LABEL,
    )


def every_option():
    """Diffusion with a learned variance, a learned uncertainty, and times that learn from the losses."""
    return diffusion(
        UNet(
            channels=8,
            multipliers=(1,),
            blocks=1,
            num_classes=CLASSES,
            dropout=0.1,
            out_channels=2 * SHAPE[-1],
        ),
        optax.adam(1e-3),
        schedules.cosine(4),
        samplers.ddpm,
        grids.linspace(4),
        image_shape=SHAPE,
        conditions=LABEL,
        predict=prediction.v,
        draw_times=times.loss_aware(4, history=2),
        weight=weighting.min_snr(),
        distance=distance.pseudo_huber(),
        uncertainty=uncertainty.fourier(16),
        learn_variance=True,
        variance_steps=4,
    )


def conditional_vae():
    network = VAE(
        MLPEncoder((16,), CLASSES),
        MLPDecoder(SHAPE, (16,), CLASSES),
        4,
        posterior_flow=flows.InverseAutoregressive(steps=2, hidden=(8,)),
        prior_flow=flows.RealNVP(couplings=2, hidden=(8,)),
    )
    return vae(
        network,
        optax.adam(1e-2),
        likelihood.bernoulli(),
        image_shape=SHAPE,
        conditions=LABEL,
        importance_samples=2,
    )


def tc_vae():
    return vae(
        VAE(ConvEncoder((4, 8), 16), ConvDecoder((8, 8, 2), (4, 8), 16), 4),
        optax.adam(1e-2),
        likelihood.gaussian_learned(),
        image_shape=SHAPE,
        regularizer=regularizers.total_correlation(dataset_size=100),
    )


def deep_vae():
    mixture = logistic_mixture(2)
    network = DeepVAE(
        outputs=mixture.outputs(1),
        image_size=SHAPE[:2],
        groups=(1, 1),
        widths=(4, 4),
        encoder_blocks=(1, 0),
        decoder_blocks=(0, 0),
        latent_channels=2,
        num_classes=CLASSES,
    )
    return vae(
        network,
        optax.adam(1e-2),
        mixture,
        image_shape=SHAPE,
        conditions=LABEL,
        regularizer=regularizers.kl(warmup_steps=2, free_bits=0.01, balance=True),
    )


def sparse_autoencoder():
    network = Autoencoder(MLPEncoder((16,)), MLPDecoder(SHAPE, (16,)), 4, nn.sigmoid)
    penalty = kl(0.1)
    return autoencoder(network, optax.adam(1e-2), likelihood.gaussian(), image_shape=SHAPE, penalty=penalty)


def denoising_autoencoder():
    return autoencoder(
        Autoencoder(MLPEncoder((16,), CLASSES), MLPDecoder(SHAPE, (16,), CLASSES), 4),
        optax.adam(1e-2),
        likelihood.gaussian(),
        image_shape=SHAPE,
        conditions=LABEL,
        corrupt=gaussian_noise(0.3),
        walkback=2,
        chain=3,
    )


def codes_of(quantizer, levels=1):
    network = VQVAE(1, quantizer, levels, downsamplings=1, channels=8, residual_blocks=1)
    return network, vq_vae(network, optax.adam(1e-3), image_shape=SHAPE)


def vq_vae_2():
    return codes_of(functools.partial(VectorQuantizer, 16, 4), levels=2)[1]


def fsq_with_a_prior():
    """Two stages in one run: the second begins after the first step."""
    network, first = codes_of(functools.partial(FiniteScalarQuantizer, (4, 3)))
    second = code_prior(
        [PixelCNN(12, channels=4, depth=2, kernel_size=3, num_classes=CLASSES, dropout=0.1)],
        optax.adam(1e-2),
        vq_vae_codes(network, SHAPE),
        first_state=first.init,
        conditions=LABEL,
    )
    return two_stages(first, second, 1)


def conditional_vae_gan():
    return vae_gan(
        VAE(MLPEncoder((16,), CLASSES), MLPDecoder(SHAPE, (16,), CLASSES), 4),
        ImageDiscriminator((4, 8), 8),
        optax.adam(1e-2),
        optax.adam(1e-3),
        likelihood.bernoulli(),
        image_shape=SHAPE,
        conditions=LABEL,
    )


def vq_gan_with_features():
    network, _ = codes_of(functools.partial(VectorQuantizer, 16, 4))
    return vq_gan(
        network,
        PatchDiscriminator(1, 4),
        optax.adam(1e-2),
        optax.adam(1e-3),
        image_shape=SHAPE,
        perceptual=perceptual(load_feature_maps()),
        game=adversarial.non_saturating(),
    )


def dcgan_with_every_rule():
    """Batch normalisation in both networks."""
    latent = latent_prior.with_codes(latent_prior.normal(4), (3,), 1)
    return gan(
        DCGANGenerator(SHAPE, 4, join=Join(CLASSES)),
        DCGANDiscriminator(4, join=Join(CLASSES)),
        optax.adam(1e-3),
        optax.adam(1e-3),
        image_shape=SHAPE,
        latent=latent,
        conditions=LABEL,
        game=adversarial.relativistic(),
        penalty=penalties.lecam(),
        generator_penalty=penalties.lazy(penalties.path_length(), 2),
        weight_penalties={side: penalties.orthogonal for side in ("generator", "discriminator")},
        auxiliary=auxiliary.mutual_information(CodeHead((3,), 1, 8), latent),
        top_k=lambda step: 1 - 0.1 * step,
        constrain=penalties.clip_weights,
    )


def sngan():
    """Spectral normalisation, and a penalty on slopes; the generator is updated in the second step only."""
    return gan(
        ResidualGenerator(SHAPE, (4,), num_classes=CLASSES),
        ResidualDiscriminator(
            (4, 4), 1, projection=Projection(CLASSES, SpectralNorm), weight_norm=SpectralNorm
        ),
        optax.adam(1e-3, b1=0.0),
        optax.adam(1e-3, b1=0.0),
        image_shape=SHAPE,
        latent=latent_prior.normal(4),
        conditions=LABEL,
        game=adversarial.hinge(),
        penalty=penalties.combine(penalties.r1(), penalties.lazy(penalties.gradient_penalty(), 2)),
        discriminator_steps=2,
    )


def pix2pix_with_noise():
    """Sources have another number of channels; batch normalisation and dropout are in the generator."""
    return pix2pix(
        UNetGenerator(1, 4, levels=2, dropout_levels=1),
        PatchDiscriminator(1, 4),
        optax.adam(1e-3),
        optax.adam(1e-3),
        image_shape=SHAPE,
        source_shape=SOURCE,
    )


def cycle_gan_with_a_pool():
    """The pool is full from the first step on."""
    return cycle_gan(
        ResidualTranslator(1, 4, blocks=1, halvings=1),
        UNetGenerator(2, 4, levels=2),
        PatchDiscriminator(1, 4),
        optax.adam(1e-3),
        optax.adam(1e-3),
        image_shape=SHAPE,
        source_shape=SOURCE,
        identity=0.0,
        pool=5,
    )


WITH_OPTIONS = {
    "GAN, batch normalisation and every rule": dcgan_with_every_rule,
    "GAN, spectral normalisation, two updates to one": sngan,
    "diffusion": ddpm,
    "diffusion, every option": every_option,
    "VAE, conditional, with flows": conditional_vae,
    "beta-TCVAE": tc_vae,
    "deep VAE": deep_vae,
    "autoencoder, sparse": sparse_autoencoder,
    "autoencoder, denoising": denoising_autoencoder,
    "VQ-VAE-2": vq_vae_2,
    "VAE-GAN, conditional": conditional_vae_gan,
    "VQGAN": vq_gan_with_features,
    "finite scalar quantisation, then a PixelCNN": fsq_with_a_prior,
    "pix2pix": pix2pix_with_noise,
    "CycleGAN": cycle_gan_with_a_pool,
}
DETERMINISTIC = {"autoencoder, sparse", "VQ-VAE-2", "VQGAN"}
"""Those whose step takes nothing from its key."""


@pytest.fixture(scope="module", params=WITH_OPTIONS)
def subject(request):
    return Subject(WITH_OPTIONS[request.param](), deterministic=request.param in DETERMINISTIC)


class TestMethod(MethodContract):
    """See `MethodContract`."""
