"""Losses of the VAE family against pythae's: the same weights, images and noise; values and all gradients.

| here | pythae |
| --- | --- |
| `vae`: Bernoulli; Gaussian of scale 1, and of scale 2 | `VAE`: bce; mse, of images in [-1, 1] and in [0, 1] |
| `regularizers.kl(beta)` | `BetaVAE` |
| `regularizers.capacity` | `DisentangledBetaVAE` |
| `regularizers.total_correlation` | `BetaTCVAE(use_mss=False)` |
| `decompose`, with their weights | `BetaTCVAE(use_mss=True)`, each term |
| `vae(importance_samples)`: "nll" and its gradient | `IWAE` and `get_nll` |
| `vae` with the posterior's flow `InverseAutoregressive` | `VAE_IAF` |
| `InverseAutoregressive`, and `Inverse` of it | `IAF` and `MAF`, with the step of Kingma et al. (2016), equation 14 |
| `vq_vae`, `VectorQuantizer`: by gradient and by moving averages | `VQVAE(use_ema=False)` and `(use_ema=True)` |
| `vae_gan(pixel=0, game=minimax(), fakes=(0, 1))` | `VAEGAN`, the gradients of its three losses |

All in float64 and to 1e-6; where code books and discriminators have float32, to 1e-5. Conventions that differ:

* pythae's images are in [0, 1]. A scale of 1 there is 2 in [-1, 1], and the density changes by log 2 a component.
* Its mse leaves out the constant log(2 pi) / 2 of each component, in its losses but not in `get_nll`.
* `DisentangledBetaVAE` averages |KL - C| over the examples; `capacity` takes it of the average. They are the same as
  long as all examples are on one side of C, as here. Its C is full at epoch ``warmup_epoch + 1``, ours at `steps`.
* `BetaTCVAE`'s stratified weights have the 1/N of an example itself in the first column of every row, not on the
  diagonal (Chen et al. 2018, appendix C.2), so that its first row only is right.
* The value of `IWAE`'s loss is not the bound but the mean of log w with the weights w; its gradient is the bound's.
* `get_nll` gives the log-likelihood, of ``batch_size`` draws an example even where ``n_samples`` is less.
* `VQVAE` sums the squared error over the pixels, but takes the mean of the other terms, so these are scaled here. It
  keeps the smoothed counts and smooths them again at the next update; ours are kept as they are, as DeepMind's Sonnet
  does (the smoothing is not in the paper). So every update is compared from the same state.
* `VAEGAN` has no reconstructions among its fake images. The loss of its decoder weighs features and game with 1 - s and
  s, ours with `gamma` and 1, so ``gamma = (1 - s) / s`` and ours is theirs divided by s.
"""

import contextlib
import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from genjax.losses.adversarial import minimax
from genjax.losses.decomposition import decompose, minibatch_stratified
from genjax.losses.gaussian import Gaussian
from genjax.losses.likelihood import Likelihood, bernoulli, gaussian
from genjax.methods.codes.vq_vae import vq_vae, vq_vae_codes
from genjax.methods.vae import regularizers
from genjax.methods.vae.vae import vae
from genjax.methods.vae.vae_gan import vae_gan
from genjax.models.codes.vq_vae import VQVAE
from genjax.models.gan.discriminator import ImageDiscriminator
from genjax.models.vae.mlp import MLPDecoder, MLPEncoder
from genjax.models.vae.vae import VAE
from genjax.nn.flows import Inverse, InverseAutoregressive
from genjax.nn.quantization import VectorQuantizer

IMAGE = H, W, C = 4, 6, 2
SIZE = math.prod(IMAGE)
BATCH, LATENT, DRAWS = 5, 4, 6
TOLERANCE = 1e-6
# Of float32.
COARSE = 1e-5

# An "optimizer" that changes nothing; its state is the gradient.
RECORD = optax.GradientTransformation(
    lambda params: params, lambda grads, *_: (jax.tree.map(jnp.zeros_like, grads), grads)
)


@pytest.fixture(autouse=True, scope="module")
def installed():
    pytest.importorskip("torch")
    pytest.importorskip("pythae.models")


@pytest.fixture
def float64():
    import torch

    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    with jax.enable_x64(True):
        yield
    torch.set_default_dtype(before)


class Outputs(NamedTuple):
    """What a decoder's outputs mean, here and there.

    Attributes:
        likelihood: here.
        loss: name of pythae's loss.
        low: their images are in [low, 1].
        activation: of their decoder.
        constant: in our loss and not in theirs, nats a component.
    """

    likelihood: Likelihood
    loss: str
    low: float
    activation: Callable[[Any], Any]
    constant: float


NORMAL = 0.5 * math.log(2 * math.pi)
OUTPUTS = {
    "bernoulli": Outputs(bernoulli(), "bce", 0.0, lambda x: x.sigmoid(), 0.0),
    "gaussian": Outputs(gaussian(), "mse", -1.0, lambda x: x, NORMAL),
    "gaussian_01": Outputs(gaussian(2.0), "mse", 0.0, lambda x: (x + 1) / 2, NORMAL + math.log(2)),
}

# name: (our regularizer; their model, its options, arguments of its call); in the third step, number 2
CASES: dict[str, tuple[regularizers.Regularizer, str, dict, dict]] = {
    "vae": (regularizers.kl(), "VAE", {}, {}),
    "beta": (regularizers.kl(3.0), "BetaVAE", {"beta": 3.0}, {}),
    "capacity_below": (
        regularizers.capacity(3.0, 0.5, 5),
        "DisentangledBetaVAE",
        {"beta": 3.0, "C": 0.5, "warmup_epoch": 4},
        {"epoch": 2},
    ),
    "capacity_above": (
        regularizers.capacity(3.0, 100.0, 5),
        "DisentangledBetaVAE",
        {"beta": 3.0, "C": 100.0, "warmup_epoch": 4},
        {"epoch": 2},
    ),
    "total_correlation": (
        regularizers.total_correlation(4.0, mutual_information=0.5, dimension=2.0, dataset_size=100),
        "BetaTCVAE",
        {"alpha": 0.5, "beta": 4.0, "gamma": 2.0, "use_mss": False},
        {"dataset_size": 100},
    ),
}


def random_like(tree, scale=0.4):
    """Every parameter, those that start at 0 too."""
    rng = np.random.default_rng(0)
    dtype = jnp.float64 if jax.config.jax_enable_x64 else jnp.float32
    return jax.tree.map(lambda x: jnp.asarray(scale * rng.normal(size=x.shape), dtype), tree)


def our_batch():
    images = np.random.default_rng(1).uniform(-1, 1, size=(BATCH, *IMAGE))
    return {"image": jnp.asarray(images), "_index": jnp.arange(BATCH)}


def ours(outputs, flow=None, **options):
    """Network, method and state."""
    network = VAE(MLPEncoder((8, 6)), MLPDecoder(IMAGE, (7,)), LATENT, posterior_flow=flow)
    method = vae(network, RECORD, outputs.likelihood, image_shape=IMAGE, **options)
    state = method.init(jax.random.key(0), our_batch())
    params = random_like(state.params)
    return (
        network,
        method,
        dataclasses.replace(state, step=jnp.int32(2), params=params, ema=params, opt=params),
    )


def example_keys(key=None):
    key = jax.random.key(0) if key is None else key
    return jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(BATCH))


def noise(keys):
    """[B,D], as `genjax.losses.gaussian.sample` draws it."""
    return np.array(jax.vmap(lambda key: jax.random.normal(key, (LATENT,), jnp.float64))(keys))


def tensors(tree):
    import torch

    return jax.tree.map(lambda x: torch.nn.Parameter(torch.from_numpy(np.array(x))), tree)


def gradients(params):
    return jax.tree.map(lambda x: x.grad.numpy(), params)


def their_images(outputs=OUTPUTS["gaussian"]):
    import torch

    images = torch.from_numpy(np.array(our_batch()["image"])).permute(0, 3, 1, 2)
    return outputs.low + (1 - outputs.low) * (images + 1) / 2


def theirs(name, outputs, options, encode, decode, *others):
    """One of pythae's models around functions: ``[B,C,H,W] in [-1, 1] -> dict`` and ``z -> [B,C,H,W]``."""
    from pythae import models
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder

    encoder, decoder = BaseEncoder(), BaseDecoder()
    encoder.forward = lambda x: ModelOutput(**encode(2 * (x - outputs.low) / (1 - outputs.low) - 1))
    decoder.forward = lambda z: ModelOutput(reconstruction=outputs.activation(decode(z)))
    config = getattr(models, "VAE_IAF_Config" if name == "VAE_IAF" else f"{name}Config")
    config = config(input_dim=(C, H, W), latent_dim=LATENT, **options)
    return getattr(models, name)(config, encoder, decoder, *others)


def dense(layer, x):
    return x @ layer["kernel"] + layer["bias"]


def conv(layer, x, stride=1):
    """`genjax.nn.Conv` with the padding "SAME" on [B,C,H,W], for sides that the stride divides."""
    from torch.nn import functional

    kernel = layer["kernel"].permute(3, 2, 0, 1)
    low, odd = divmod(kernel.shape[-1] - stride, 2)
    return functional.conv2d(functional.pad(x, (low, low + odd) * 2), kernel, layer["bias"], stride)


def their_vae(name, params, outputs, options, *others, reverse=False):
    """With our parameters; `reverse` turns the order of the latent variables."""

    def hidden(network, x):
        names = sorted(name for name in network if name.startswith("hidden"))
        return functools.reduce(lambda x, name: dense(network[name], x).relu(), names, x)

    def ordered(z):
        return z.flip(-1) if reverse else z

    def encode(x):
        features = hidden(params["encoder"], x.permute(0, 2, 3, 1).flatten(1))
        mean, log_variance = dense(params["parameters"], features).chunk(2, -1)
        return {"embedding": ordered(mean), "log_covariance": ordered(log_variance)}

    def decode(z):
        pixels = dense(params["decoder"]["out"], hidden(params["decoder"], ordered(z)))
        return pixels.reshape(-1, *IMAGE).permute(0, 3, 1, 2)

    options = {"reconstruction_loss": outputs.loss, **options}
    return theirs(name, outputs, options, encode, decode, *others)


@contextlib.contextmanager
def drawing(*noises):
    """torch's standard normal draws are these, one after the other."""
    import torch

    draws = [torch.from_numpy(np.array(x)) for x in noises]

    def draw(like, **_):
        assert like.shape == draws[0].shape and like.dtype == draws[0].dtype
        return draws.pop(0)

    with mock.patch.object(torch, "randn_like", draw):
        yield
    assert not draws


def assert_same(actual, expected, tolerance=TOLERANCE):
    """Each array, relative to its largest component."""
    actual, expected = jax.tree.leaves_with_path(actual), jax.tree.leaves(expected)
    for (path, a), b in zip(actual, expected, strict=True):
        b = b.detach().numpy() if hasattr(b, "detach") else np.asarray(b)
        largest = np.abs(b).max()
        assert np.shape(a) == b.shape and largest > 0, path
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * largest, err_msg=jax.tree_util.keystr(path))


@pytest.mark.parametrize(
    ("case", "outputs"),
    [*((case, "bernoulli") for case in CASES), ("vae", "gaussian"), ("vae", "gaussian_01")],
)
def test_loss(float64, case, outputs):
    regularizer, name, options, arguments = CASES[case]
    outputs = OUTPUTS[outputs]
    _, method, state = ours(outputs, regularizer=regularizer)
    after, metrics = jax.jit(method.step)(jax.random.key(0), state, our_batch())

    params = tensors(state.params)
    model = their_vae(name, params, outputs, options)
    with drawing(noise(example_keys())):
        output = model({"data": their_images(outputs)}, **arguments)
    output.loss.backward()

    constant = SIZE * outputs.constant
    assert_same(metrics["loss"], output.loss + constant)
    assert_same(metrics["distortion"], output.recon_loss + constant)
    assert_same(after.opt, gradients(params))


def test_decomposition_with_their_stratified_weights(float64):
    import torch

    dataset_size = 100
    model = their_vae("BetaTCVAE", tensors(ours(OUTPUTS["gaussian"])[2].params), OUTPUTS["gaussian"], {})
    log_weights = model._log_importance_weight_matrix(BATCH, dataset_size).numpy()
    rows = np.stack([np.roll(log_weights[0], i) for i in range(BATCH)])
    assert_same(minibatch_stratified(BATCH, dataset_size), rows)
    assert not np.allclose(log_weights, rows)

    arrays = [np.random.default_rng(i).normal(size=(BATCH, LATENT)) for i in range(3)]

    @jax.jit
    def terms(z, mean, log_variance):
        parts = decompose(z, Gaussian(mean, log_variance), jnp.asarray(log_weights))
        return jnp.stack(parts).mean(1)

    actual, jacobian = terms(*arrays), jax.jacrev(terms, (0, 1, 2))(*arrays)
    for i in range(3):
        z, mean, log_variance = inputs = tensors(arrays)
        model.alpha, model.beta, model.gamma = np.eye(3)[i]
        image = torch.zeros(BATCH, SIZE)
        loss, _, _ = model.loss_function(image, image, mean, log_variance, z, dataset_size)
        loss.backward()
        assert_same(actual[i], loss)
        assert_same([x[i] for x in jacobian], gradients(inputs))


@pytest.mark.parametrize("outputs", ["bernoulli", "gaussian"])
def test_importance_weighted_bound(float64, outputs):
    import torch

    outputs = OUTPUTS[outputs]
    network, method, state = ours(outputs, importance_samples=DRAWS)
    batch = our_batch()

    @jax.jit
    @jax.value_and_grad
    def bound(params, batch):
        at = dataclasses.replace(state, ema=params)
        return method.evaluate(jax.random.key(0), at, batch)["nll"].mean()

    @jax.jit
    def log_weight(keys, x):
        decoded, (group,) = network.apply({"params": state.ema}, keys, x, method="infer")
        return outputs.likelihood.log_prob(decoded, x) + group.log_p - group.log_q

    keys = [jax.vmap(jax.random.fold_in, (0, None))(example_keys(), i) for i in range(DRAWS)]
    draws = np.stack([noise(k) for k in keys], axis=1)
    nll, gradient = bound(state.ema, batch)

    params, images = tensors(state.params), their_images(outputs)
    model = their_vae("IWAE", params, outputs, {"number_samples": DRAWS})
    with drawing(draws):
        loss = model({"data": images}).loss
    loss.backward()
    assert_same(gradient, gradients(params))
    weights = np.stack([log_weight(k, batch["image"]) for k in keys], axis=1)
    averages = (np.array(jax.nn.softmax(weights)) * weights).sum(1)
    assert_same(-averages.mean(), loss + SIZE * outputs.constant)

    with drawing(*draws.reshape(2 * BATCH, DRAWS // 2, LATENT)), torch.no_grad():
        log_likelihood = model.get_nll(images, n_samples=DRAWS, batch_size=DRAWS // 2)
    assert_same(nll, -log_likelihood)


def test_vae_gan(float64):
    import torch
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDiscriminator

    scale, outputs = 0.4, OUTPUTS["bernoulli"]
    network = VAE(MLPEncoder((8, 6)), MLPDecoder(IMAGE, (7,)), LATENT)
    method = vae_gan(
        network,
        ImageDiscriminator(channels=(3, 4), hidden=5, norm=None),
        RECORD,
        RECORD,
        outputs.likelihood,
        image_shape=IMAGE,
        pixel=0.0,
        gamma=(1 - scale) / scale,
        game=minimax(),
        fakes=(0.0, 1.0),
        layer=1,
    )
    key = jax.random.key(0)
    state = method.init(key, our_batch())
    state = dataclasses.replace(state, params=random_like(state.params))
    after, metrics = jax.jit(method.step)(key, state, our_batch())

    params = tensors(state.params)
    judge = params["discriminator"]

    def discriminate(x, output_layer_levels=None):
        first = conv(judge["conv_0"], 2 * x - 1).relu()
        second = conv(judge["conv_1"], first, 2).relu()
        hidden = dense(judge["hidden"], second.permute(0, 2, 3, 1).flatten(1)).relu()
        return ModelOutput(embedding_layer_2=second, embedding=dense(judge["logits"], hidden).sigmoid())

    discriminator = BaseDiscriminator()
    discriminator.forward, discriminator.depth = discriminate, 4
    options = {"adversarial_loss_scale": scale, "reconstruction_layer": 2}
    model = their_vae("VAEGAN", params["network"], outputs, options, discriminator)
    with drawing(noise(example_keys()), noise(example_keys(jax.random.split(key)[1]))):
        output = model({"data": their_images(outputs)})

    assert_same(metrics["feature"], output.recon_loss, COARSE)
    assert_same(metrics["rate"] + metrics["feature"], output.encoder_loss, COARSE)
    assert_same(metrics["discriminator"], output.discriminator_loss, COARSE)
    encoder = {name: params["network"][name] for name in ("encoder", "parameters")}
    decoder = params["network"]["decoder"]
    for actual, loss, tree in [
        ({name: after.opt["network"][name] for name in encoder}, output.encoder_loss, encoder),
        (after.opt["network"]["decoder"], output.decoder_loss / scale, decoder),
        (after.opt["discriminator"], output.discriminator_loss, judge),
    ]:
        assert_same(actual, torch.autograd.grad(loss, jax.tree.leaves(tree), retain_graph=True), COARSE)


# Units of a hidden layer for each number of components that they know.
UNITS = 2
FLOW = InverseAutoregressive(steps=2, hidden=(UNITS * LATENT, UNITS * LATENT))
THEIR_FLOW = {"n_made_blocks": 2, "n_hidden_in_made": 2, "hidden_size": UNITS * (LATENT - 1)}


def their_layers(network):
    """(weight, bias) of the linear layers of pythae's `MADE`, from a tree like that of our parameters of one step.

    Theirs has no unit that knows no component. Of the others, ours are sorted by the number that they know.
    """
    place = np.arange(UNITS * (LATENT - 1))
    units = (place % (LATENT - 1) + 1) * UNITS + place // (LATENT - 1)
    network = jax.tree.map(np.array, network)
    last = network["kernel_2"][units].transpose(2, 1, 0).reshape(2 * LATENT, -1)
    return [
        (network["kernel_0"][:, units].T, network["bias_0"][units]),
        (network["kernel_1"][np.ix_(units, units)].T, network["bias_1"][units]),
        (last, network["bias_2"].T.reshape(-1)),
    ]


def representable(flow):
    """Our parameters without what pythae has not: a context, and units that know no component."""
    flow = jax.tree.map(np.array, flow)
    for network in flow.values():
        network["kernel_1"][:UNITS] = network["kernel_2"][:UNITS] = 0
        if "context" in network:
            network["context"]["kernel"][:] = 0
    return flow


def convert(made, network, direction):
    """pythae's `MADE` computes one of our steps: the mean and log-scale of z given u, or of u given z."""
    import torch
    from pythae.models.base.base_utils import ModelOutput

    for i, layer in enumerate(made.net):
        if isinstance(layer, torch.nn.ReLU):
            made.net[i] = torch.nn.SiLU()
    linear = [layer for layer in made.net if isinstance(layer, torch.nn.Linear)]
    for layer, (weight, bias) in zip(linear, their_layers(network), strict=True):
        layer.weight, layer.bias = tensors((weight, bias))
    outputs = made.forward

    def forward(x):
        m, s = outputs(x).to_tuple()
        # 2: such that a step is little more than the identity at the start.
        log_sigma, shift = torch.nn.functional.logsigmoid(s + 2), torch.sigmoid(-s - 2) * m
        if direction == "IAF":
            return ModelOutput(mu=shift, log_var=log_sigma)
        return ModelOutput(mu=-shift * torch.exp(-log_sigma), log_var=-log_sigma)

    made.forward = forward
    return linear


@pytest.mark.parametrize("name", ["IAF", "MAF"])
def test_autoregressive_flow(float64, name):
    import torch
    from pythae.models import normalizing_flows

    u = np.random.default_rng(2).normal(size=(BATCH, LATENT))
    params = representable(random_like(jax.eval_shape(FLOW.init, jax.random.key(0), u)["params"]))
    config = getattr(normalizing_flows, f"{name}Config")(
        input_dim=(LATENT,), include_batch_norm=False, **THEIR_FLOW
    )
    model = getattr(normalizing_flows, name)(config)
    # Theirs turns the order before each step on the way from the base distribution, or after each on the way to it.
    flow, nets, order = {"IAF": (FLOW, model.net[::-1], -1), "MAF": (Inverse(FLOW), model.net, 1)}[name]
    for i, made in enumerate(nets):
        convert(made, params[f"networks_{i}"], name)
    variables = {"params": params if name == "IAF" else {"flow": params}}
    with torch.no_grad():
        for ours_is, theirs_is in [("forward", model.inverse), ("inverse", model.forward)]:
            actual, log_det = jax.jit(functools.partial(flow.apply, method=ours_is))(variables, u)
            expected = theirs_is(torch.from_numpy(u[:, ::order].copy()))
            assert_same(actual, expected.out.numpy()[:, ::order])
            assert_same(log_det, expected.log_abs_det_jac)


def test_loss_with_inverse_autoregressive_flow(float64):
    outputs = OUTPUTS["bernoulli"]
    _, method, state = ours(outputs, FLOW)
    params = {**state.params, "posterior_flow": representable(state.params["posterior_flow"])}
    after, metrics = jax.jit(method.step)(
        jax.random.key(0), dataclasses.replace(state, params=params), our_batch()
    )
    gradient = dict(after.opt)
    flow_gradient = gradient.pop("posterior_flow")

    others = tensors({name: x for name, x in params.items() if name != "posterior_flow"})
    model = their_vae("VAE_IAF", others, outputs, THEIR_FLOW, reverse=True)
    linear = {
        f"networks_{i}": convert(made, params["posterior_flow"][f"networks_{i}"], "IAF")
        for i, made in enumerate(model.iaf_flow.net[::-1])
    }
    with drawing(noise(example_keys())[:, ::-1]):
        output = model({"data": their_images(outputs)})
    output.loss.backward()

    assert_same(metrics["loss"], output.loss)
    assert_same(metrics["rate"], output.reg_loss)
    assert_same(gradient, gradients(others))
    for step, layers in linear.items():
        expected = [(layer.weight.grad, layer.bias.grad) for layer in layers]
        assert_same(their_layers(flow_gradient[step]), expected)


def our_vq_vae(**options):
    quantizer = functools.partial(VectorQuantizer, num_codes=6, width=3, restart=False, **options)
    network = VQVAE(C, quantizer, downsamplings=1, channels=4, residual_blocks=1, residual_channels=3)
    method = vq_vae(network, RECORD, image_shape=IMAGE, commitment=0.4)
    state = method.init(jax.random.key(0), our_batch())
    params = random_like(state.params)
    # Codes that are all in use: some of the encoder's vectors, and not quite.
    (level,) = network.apply({"params": params, **state.mutable}, our_batch()["image"], method="quantize")
    vectors = level.vectors.reshape(-1, 3)
    codes = vectors[:: len(vectors) // 6][:6] + random_like(jnp.zeros((6, 3)), 0.05)
    if "quantizers_0" in params:
        params["quantizers_0"]["codes"] = codes
    else:
        counts = jnp.array([3.0, 0.5, 1, 0, 2, 7])
        state = dataclasses.replace(
            state, mutable={"codebook": {"quantizers_0": {"codes": codes, "counts": counts}}}
        )
    return network, method, dataclasses.replace(state, params=params, ema=params, opt=params)


def their_vq_vae(params, **options):
    from torch.nn import functional

    def residual(stack, x):
        inside = conv(stack["block_0_1"], x.relu())
        return (x + conv(stack["block_0_2"], inside.relu())).relu()

    def encode(x):
        encoder = params["encoders_0"]
        x = conv(encoder["conv"], conv(encoder["down_0"], x, 2).relu())
        return {"embedding": conv(params["to_vectors_0"], residual(encoder["stack"], x))}

    def decode(z):
        decoder = params["decoders_0"]
        x = residual(decoder["stack"], conv(decoder["conv"], z))
        kernel = decoder["out"]["kernel"].flip(0, 1).permute(2, 3, 0, 1)
        return functional.conv_transpose2d(x, kernel, decoder["out"]["bias"], 2, 1)

    options = {"num_embeddings": 6, "commitment_loss_factor": 0.4 * SIZE, **options}
    return theirs("VQVAE", OUTPUTS["gaussian"], options, encode, decode)


def assert_same_vq_vae(method, network, state, model, params):
    """One step, of which gradients with respect to `params` are compared; the state after ours."""
    images = their_images()
    codes = vq_vae_codes(network, IMAGE).encode(state, our_batch()["image"])
    assert len(np.unique(codes)) > 3
    output = model({"data": images})
    output.loss.backward()
    np.testing.assert_array_equal(codes[0], output.quantized_indices[:, 0])
    after, metrics = jax.jit(method.step)(jax.random.key(0), state, our_batch())
    assert_same(metrics["loss"], output.loss / SIZE + 0.5 * math.log(math.pi), COARSE)
    assert_same(metrics["reconstruction"], output.recon_loss / SIZE + 0.5 * math.log(math.pi), COARSE)
    assert_same(after.opt, jax.tree.map(lambda x: x / SIZE, gradients(params)), COARSE)
    return after


def test_vq_vae_by_gradient():
    network, method, state = our_vq_vae(by_gradient=True)
    params = tensors(state.params)
    model = their_vq_vae(params, quantization_loss_factor=SIZE)
    model.quantizer.embeddings.weight = params["quantizers_0"]["codes"]
    assert_same_vq_vae(method, network, state, model, params)


def test_vq_vae_by_moving_averages():
    import torch

    def smoothed(counts):
        return (counts + 1e-5) / (counts.sum() + len(counts) * 1e-5) * counts.sum()

    network, method, state = our_vq_vae(decay=0.7)
    method = method._replace(step=jax.jit(method.step))
    for _ in range(3):
        book = jax.tree.map(np.array, state.mutable["codebook"]["quantizers_0"])
        params = tensors(state.params)
        model = their_vq_vae(params, use_ema=True, decay=0.7)
        quantizer = model.quantizer.train()
        quantizer.embeddings = torch.from_numpy(book["codes"])
        quantizer.cluster_size = torch.from_numpy(book["counts"])
        quantizer.ema_embed = torch.from_numpy(book["codes"] * smoothed(book["counts"])[:, None])
        state = assert_same_vq_vae(method, network, state, model, params)
        book = jax.tree.map(np.array, state.mutable["codebook"]["quantizers_0"])
        assert_same(book["codes"], quantizer.embeddings, COARSE)
        assert_same(smoothed(book["counts"]), quantizer.cluster_size, COARSE)
