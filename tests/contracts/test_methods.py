"""What every training method must do. Add a line to `METHODS` for a new one."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
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
from genjax.models.gan.translation import ResidualTranslator, UNetGenerator
from genjax.models.vae.autoencoder import Autoencoder
from genjax.models.vae.vae import ConvDecoder, ConvEncoder, MLPDecoder, MLPEncoder
from genjax.nn import SpectralNorm, flows
from genjax.nn.quantization import FiniteScalarQuantizer, VectorQuantizer
from genjax.train import sharding
from genjax.train.program import Program

SHAPE = (8, 8, 1)
SOURCE = (8, 8, 2)
"""Of images that are to be translated."""
CLASSES = 3


def ddpm():
    return diffusion(
        UNet(channels=8, multipliers=(1,), blocks=1, num_classes=CLASSES, dropout=0.1),
        optax.adam(1e-3),
        schedules.cosine(100),
        samplers.ddpm(),
        grids.linspace(4),
        image_shape=SHAPE,
        num_classes=CLASSES,
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
        num_classes=CLASSES,
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
        num_classes=CLASSES,
        importance_samples=2,
    )


def tc_vae():
    return vae(
        VAE(ConvEncoder((4, 8), 16), ConvDecoder((8, 8, 2), (4, 8), 16), 4),
        optax.adam(1e-2),
        likelihood.gaussian_learned(),
        image_shape=SHAPE,
        rate=regularizers.total_correlation(dataset_size=100),
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
        num_classes=CLASSES,
        rate=regularizers.kl(warmup_steps=2, free_bits=0.01, balance=True),
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
        num_classes=CLASSES,
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
        num_classes=CLASSES,
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
        num_classes=CLASSES,
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
        num_classes=CLASSES,
        game=adversarial.relativistic(),
        penalty=penalties.lecam(),
        generator_penalty=penalties.lazy(penalties.path_length(), 2),
        weight_penalties={side: penalties.orthogonal for side in ("generator", "discriminator")},
        question=auxiliary.mutual_information(CodeHead((3,), 1, 8), latent),
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
        num_classes=CLASSES,
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


METHODS = {
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
N = 8


def batch(seed=0):
    image = jax.random.uniform(jax.random.key(seed), (N, *SHAPE), minval=-1)
    source = jax.random.uniform(jax.random.key(seed + 100), (N, *SOURCE), minval=-1)
    return {
        "image": image,
        "source": source,
        "label": jnp.arange(N) % CLASSES,
        "_index": jnp.arange(N, dtype=jnp.int32),
    }


class Subject:
    """A method, its state after three steps, and its compiled step (whose second compilation is an error)."""

    def __init__(self, name):
        self.name, self.method = name, METHODS[name]()
        self.initial = self.method.init(jax.random.key(0), batch())
        self.step = Program(self.method.step, "step")
        self.metrics = []
        self.state = self.initial
        for i in range(3):
            self.state, metrics = self.step(jax.random.key(i), self.state, batch(i))
            self.metrics.append(metrics)


@pytest.fixture(scope="module", params=METHODS)
def subject(request):
    return Subject(request.param)


def test_init_is_a_function_of_the_key(subject):
    again = subject.method.init(jax.random.key(0), batch(7))
    jax.tree.map(np.testing.assert_array_equal, again.params, subject.initial.params)
    other = subject.method.init(jax.random.key(1), batch())
    pairs = zip(jax.tree.leaves(other.params), jax.tree.leaves(again.params), strict=True)
    assert any((a != b).any() for a, b in pairs)


def test_step_changes_every_parameter_and_nothing_is_nan(subject):
    assert int(subject.state.step) == 3
    for path, leaf in jax.tree_util.tree_leaves_with_path(subject.state):
        assert jnp.isfinite(leaf).all(), jax.tree_util.keystr(path)
    moved = jax.tree.map(lambda a, b: bool((a != b).any()), subject.state.params, subject.initial.params)
    still = [jax.tree_util.keystr(p) for p, m in jax.tree_util.tree_leaves_with_path(moved) if not m]
    assert not still
    for metrics in subject.metrics:
        assert {"loss", "grad_norm"} <= metrics.keys()
        assert all(x.shape == () and jnp.isfinite(x) for x in metrics.values())


def test_step_keeps_the_structure(subject):
    def described(state):
        return jax.tree.map(lambda x: (x.shape, x.dtype, x.weak_type), state)

    assert described(subject.state) == described(subject.initial)


def test_step_is_a_function_of_key_state_and_batch(subject):
    one, _ = subject.step(jax.random.key(5), subject.state, batch())
    two, _ = subject.step(jax.random.key(5), subject.state, batch())
    jax.tree.map(np.testing.assert_array_equal, one, two)
    other, _ = subject.step(jax.random.key(6), subject.state, batch())
    pairs = zip(jax.tree.leaves(one.params), jax.tree.leaves(other.params), strict=True)
    assert any((a != b).any() for a, b in pairs) != (subject.name in DETERMINISTIC)


def test_one_and_eight_devices_agree(subject):
    mesh = sharding.make_mesh()
    everywhere = jax.tree.map(lambda _: sharding.replicated(mesh), subject.initial)
    step = Program(subject.method.step, "step on eight devices")
    state = sharding.place(subject.initial, everywhere)
    for i in range(3):
        spread = sharding.place_batch({k: np.asarray(x) for k, x in batch(i).items()}, mesh)
        state, metrics = step(sharding.place(jax.random.key(i), sharding.replicated(mesh)), state, spread)
        for name, value in metrics.items():
            np.testing.assert_allclose(value, subject.metrics[i][name], rtol=1e-5, err_msg=name)


def test_evaluate_gives_one_value_per_example(subject):
    evaluate = jax.jit(subject.method.evaluate)
    values = evaluate(jax.random.key(0), subject.state, batch())
    assert values
    for value in values.values():
        assert value.shape == (N,) and jnp.isfinite(value).all()
    order = jnp.array([3, 1, 0, 2, 7, 6, 5, 4])
    shuffled = evaluate(jax.random.key(0), subject.state, {k: x[order] for k, x in batch().items()})
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b[order], rtol=1e-4), shuffled, values)


def test_image_belongs_to_its_key_and_condition(subject):
    sample = jax.jit(subject.method.sample)
    keys = jax.random.split(jax.random.key(0), N)
    condition = {name: batch()[name] for name in ("label", "source")}
    images = sample(keys, subject.state, condition)
    assert images.shape == (N, *SHAPE) and images.dtype == jnp.float32
    assert float(jnp.abs(images).max()) <= 1.0
    one = {name: x[3:4] for name, x in condition.items()}
    np.testing.assert_allclose(sample(keys[3:4], subject.state, one), images[3:4], atol=1e-5)
    order = jnp.arange(N)[::-1]
    turned = {name: x[order] for name, x in condition.items()}
    np.testing.assert_allclose(sample(keys[order], subject.state, turned), images[order], atol=1e-5)
    assert len({x.tobytes() for x in np.asarray(images)}) == N
