"""VAE-GAN: a variational autoencoder whose images are judged by a discriminator, and by the features it looks at.

Larsen, Sønderby, Larochelle and Winther, "Autoencoding beyond pixels using a learned similarity metric" (2016).
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from genjax.conditions import select
from genjax.losses import adversarial as games
from genjax.losses.adversarial import GAMES, AdversarialLoss, GameName
from genjax.losses.gaussian import sum_components
from genjax.losses.likelihood import Likelihood
from genjax.methods.averages import Average, averaged, exponential
from genjax.methods.gan.adversary import descend, judge, with_discriminator
from genjax.methods.gradients import Gradient, mean_gradient
from genjax.methods.kind import Context, MethodKind
from genjax.methods.vae import choices, regularizers
from genjax.methods.vae.regularizers import Regularizer
from genjax.methods.vae.vae import VAEConfig, latent_space, vae
from genjax.models.gan.discriminator import ImageDiscriminator
from genjax.nn.latent import LatentGroup
from genjax.random import example_keys
from genjax.ranges import Count, Counts, NonNegative, Positive
from genjax.typing import Array, Batch, Key, Method, PyTree, TrainState, UserError

_ELBO = regularizers.kl()
_AVERAGE, _GRADIENT = exponential(), mean_gradient()
_GAME = games.non_saturating()
_ENCODER = ("encoder", "parameters", "posterior_flow")


class _View(NamedTuple):
    """What the network makes of a batch, and the discriminator of that.

    Attributes:
        log_prob: float[B], log p(x|z).
        groups: groups of latent variables.
        feature: float[B], half the squared distance of the features of images and reconstructions.
        logits: logits of the images, of reconstructions, of images drawn from the prior.
    """

    log_prob: Array
    groups: Sequence[LatentGroup]
    feature: Array
    logits: tuple[Array, ...]


def in_encoder(path: str) -> bool:
    """Whether a parameter of `genjax.models.VAE` is the encoder's; `path` is its name, as "encoder/hidden/bias"."""
    return path.split("/")[0] in _ENCODER


def vae_gan(
    network: nn.Module,
    discriminator: nn.Module,
    optimizer: optax.GradientTransformation,
    discriminator_optimizer: optax.GradientTransformation,
    likelihood: Likelihood,
    *,
    image_shape: tuple[int, int, int],
    conditions: Sequence[str] = (),
    regularizer: Regularizer = _ELBO,
    pixel: float = 1.0,
    weight: float = 1.0,
    gamma: float = 1.0,
    game: AdversarialLoss = _GAME,
    fakes: tuple[float, float] = (0.5, 0.5),
    layer: int = -1,
    encodes: Callable[[str], bool] = in_encoder,
    draw_pixels: bool = False,
    average: Average = _AVERAGE,
    gradient: Gradient = _GRADIENT,
    importance_samples: int = 0,
) -> Method:
    """A variational autoencoder with a discriminator as a method.

    There are two kinds of fake images: reconstructions, and images of draws from the prior. All three parts are updated
    at once, on the same images, each on the mean over the batch of a loss of its own::

        encoder        regularizer + pixel * distortion + weight * feature
        decoder        regularizer + pixel * distortion + weight * (gamma * feature + adversarial)
        discriminator  its loss in the game, summed over the kinds of fakes, each times its weight in `fakes`

    distortion is ``-log p(x|z)`` as in `genjax.methods.vae`, feature is ``|f(x) - f(reconstruction)|^2 / 2``, minus the
    logarithm of a standard normal density of the discriminator's features and a constant (equation 7), and adversarial
    is the generator's loss, summed as the discriminator's.

    With ``weight=0`` the network is trained as by `genjax.methods.vae`, bit for bit, and the discriminator, which has
    no say, is not trained. The paper's model (algorithm 1) is ``pixel=0, weight=1, game=minimax(real_weight=0.5),
    fakes=(1, 1)``: it counts a real image once against two fakes.

    Args:
        network: as for `genjax.methods.vae`.
        discriminator: ``network.apply(variables, images) -> (logits, features)``, as in `genjax.models.gan`.
        optimizer: optimizer of the network's parameters, encoder and decoder (`optax.partition` gives each one of its
            own).
        discriminator_optimizer: optimizer of the discriminator's parameters.
        likelihood: what the outputs mean; the discriminator sees its expected images. Where these are clipped
            (`gaussian`) the discriminator has no say in clipped pixels, so with ``pixel=0`` take one that is smooth
            (`bernoulli`).
        image_shape: H, W, C of the images.
        conditions: see `genjax.methods.vae`. The discriminator does not see them.
        regularizer: the price of the latent variables, see `genjax.methods.vae.regularizers`.
        pixel: weight of the distortion, 0 or more; 1 where ``weight=0``.
        weight: weight of all losses that involve the discriminator, 0 or more.
        gamma: weight of the features against the game in the decoder's loss, 0 or more.
        game: see `genjax.losses.adversarial`.
        fakes: weights of reconstructions and of images drawn from the prior in the game, 0 or more.
        layer: which of the discriminator's features are compared.
        encodes: ``path -> bool``, which of the network's parameters are the encoder's, for networks other than
            `genjax.models.VAE`.
        draw_pixels: see `genjax.methods.vae`.
        average: moving average of the network's parameters, see `genjax.methods.averages`.
        gradient: how gradients are computed, see `genjax.methods.gradients`.
        importance_samples: see `genjax.methods.vae`.

    Returns:
        The method. ``TrainState.params`` and ``opt`` are ``{"network": ..., "discriminator": ...}``; ``ema`` is of the
        network alone, as in `genjax.methods.vae`, whose `sample` and `evaluate` this method has; `evaluate` adds
        "feature". Metrics of a step are "distortion", "rate", "feature", "adversarial" and "discriminator" too; "loss"
        is the decoder's.

    Raises:
        UserError: a negative weight; from `init`, a `layer` that the discriminator does not have, or parameters that
            are all the encoder's, or all not.

    Example:
        >>> import jax, jax.numpy as jnp, optax
        >>> from genjax import methods, models
        >>> from genjax.losses import likelihood
        >>> from genjax.models.gan.discriminator import ImageDiscriminator
        >>> from genjax.models.vae.mlp import MLPDecoder, MLPEncoder
        >>> network = models.VAE(MLPEncoder((16,)), MLPDecoder((8, 8, 1), (16,)), latent=2)
        >>> method = methods.vae_gan(
        ...     network, ImageDiscriminator(channels=(4, 8), hidden=8), optax.adam(1e-3), optax.adam(1e-3),
        ...     likelihood.bernoulli(), image_shape=(8, 8, 1),
        ... )
        >>> batch = {"image": jnp.zeros((4, 8, 8, 1)), "_index": jnp.arange(4)}
        >>> state = jax.eval_shape(method.init, jax.random.key(0), batch)
        >>> sorted(state.params), sorted(state.ema)
        (['discriminator', 'network'], ['decoder', 'encoder', 'parameters'])
    """
    for name, value in {"pixel": pixel, "weight": weight, "gamma": gamma}.items():
        if not value >= 0:
            raise UserError(f"{name}={value}: valid are 0 and more")
    if len(fakes) != 2 or not min(fakes) >= 0:
        raise UserError(f"fakes={fakes}: valid are two numbers of 0 and more")
    if not weight and pixel != 1:
        raise UserError(f"pixel={pixel} with weight=0: valid is 1, as in the variational autoencoder")
    names = tuple(conditions)
    base = vae(
        network,
        optimizer,
        likelihood,
        image_shape=image_shape,
        conditions=names,
        regularizer=regularizer,
        draw_pixels=draw_pixels,
        average=average,
        gradient=gradient,
        importance_samples=importance_samples,
    )
    optimizers = {"network": optimizer, "discriminator": discriminator_optimizer}

    def init(key: Key, batch: Batch) -> TrainState:
        state = base.init(key, batch)
        encoders = jax.tree.leaves(_of_encoder(state.params, encodes))
        if all(encoders) or not any(encoders):
            raise UserError(
                f"encodes says {encoders[0]} of every parameter of the network; valid is one that tells the "
                f"encoder from the decoder, among {sorted(state.params)}"
            )
        state = with_discriminator(state, discriminator, optimizers, key, batch)
        image = jnp.zeros((1, *image_shape))
        maps = jax.eval_shape(lambda p: judge(discriminator, p, image)[1], state.params["discriminator"])
        if not -len(maps) <= layer < len(maps):
            raise UserError(
                f"layer={layer}: the discriminator has {len(maps)} feature maps, 0..{len(maps) - 1}"
            )
        return state

    def look(params: PyTree, key: Key, batch: Batch) -> _View:
        """z is drawn in the same way as in `vae`."""
        x, told = batch["image"], select(batch, names, required=True)
        keys, prior_keys = (example_keys(k, batch["_index"]) for k in (key, jax.random.split(key)[1]))
        outputs, groups = _apply(network, params["network"], keys, x, told, method="infer")
        drawn = _apply(network, params["network"], prior_keys, told, method="generate")
        images = x, likelihood.mean(outputs), likelihood.mean(drawn)
        judged = [judge(discriminator, params["discriminator"], image) for image in images]
        (_, real), (_, reconstructed), _ = judged
        feature = 0.5 * sum_components(jnp.square(real[layer] - reconstructed[layer]))
        return _View(likelihood.log_prob(outputs, x), groups, feature, tuple(logits for logits, _ in judged))

    def play(side: Callable[[Array, Array], Array], logits: Sequence[Array]) -> Array:
        """float[B]: the loss of one side of the game."""
        real, reconstruction, prior = logits
        return fakes[0] * side(real, reconstruction) + fakes[1] * side(real, prior)

    def step(key: Key, state: TrainState, batch: Batch) -> tuple[TrainState, dict[str, Array]]:
        def mean_loss(params: PyTree, key: Key, batch: Batch) -> tuple[Array, dict[str, Array]]:
            """The sum of the three losses, each of which has the gradient of its own part only.

            The network is written down three times and computed once: XLA merges equal operations.
            """
            view = look(_only("encoder", params, encodes), key, batch)
            encoder = regularizer(state.step, view.groups) - pixel * view.log_prob + weight * view.feature

            view = look(_only("decoder", params, encodes), key, batch)
            played = play(game.generator, view.logits)
            decoder = regularizer(state.step, view.groups) - pixel * view.log_prob
            decoder += weight * (gamma * view.feature + played)

            judge_view = look(_only("discriminator", params, encodes), key, batch)
            judging = play(game.discriminator, judge_view.logits)
            metrics = {
                "distortion": -view.log_prob,
                "rate": regularizers.divergence(view.groups),
                "feature": view.feature,
                "adversarial": played,
                "discriminator": judging,
                "decoder": decoder,
            }
            total = encoder.mean() + decoder.mean() + judging.mean()
            return total, {name: value.mean() for name, value in metrics.items()}

        metrics, grads = gradient(mean_loss, state.params, key, batch)
        params, opt = descend(optimizers, grads, state.opt, state.params)
        number = state.step + 1
        ema = average.update(state.ema, params["network"], number)
        new = dataclasses.replace(state, step=number, params=params, opt=opt, ema=ema)
        return new, {**metrics, "loss": metrics.pop("decoder")}

    def step_alone(key: Key, state: TrainState, batch: Batch) -> tuple[TrainState, dict[str, Array]]:
        """A step of the autoencoder, in a program that holds nothing else: in another one it could round otherwise."""
        alone = dataclasses.replace(state, params=state.params["network"], opt=state.opt["network"])
        new, metrics = base.step(key, alone, batch)
        params, opt = {**state.params, "network": new.params}, {**state.opt, "network": new.opt}
        return dataclasses.replace(new, params=params, opt=opt), metrics

    def evaluate(key: Key, state: TrainState, batch: Batch) -> dict[str, Array]:
        params = {"network": averaged(state), "discriminator": state.params["discriminator"]}
        view = look(params, key, batch)
        return {**base.evaluate(key, state, batch), "feature": view.feature}

    return Method(init, step if weight else step_alone, evaluate, base.sample)


def _only(part: str, params: PyTree, encodes: Callable[[str], bool]) -> PyTree:
    """The same parameters, but only one part has a gradient: "encoder", "decoder" or "discriminator"."""
    fixed = jax.lax.stop_gradient
    if part == "discriminator":
        return {**params, "network": fixed(params["network"])}
    mask = _of_encoder(params["network"], encodes)
    kept = jax.tree.map(
        lambda x, mine: x if mine == (part == "encoder") else fixed(x), params["network"], mask
    )
    return {"network": kept, "discriminator": fixed(params["discriminator"])}


def _of_encoder(params: PyTree, encodes: Callable[[str], bool]) -> PyTree:
    """Of each parameter, whether it is the encoder's."""

    def name(path: Any) -> str:
        return "/".join(str(entry.key) for entry in path)

    return jax.tree_util.tree_map_with_path(lambda path, _: bool(encodes(name(path))), params)


def _apply(network: nn.Module, params: PyTree, *args: Any, method: str) -> Any:
    return network.apply({"params": params}, *args, method=method)


@dataclasses.dataclass(frozen=True)
class VAEGANConfig(VAEConfig):
    """The training method: a variational autoencoder with a discriminator (genjax.methods.vae.vae_gan).

    Attributes:
        pixel: Weight of the distortion -log p(x|z), the negative log-likelihood of the pixels.
        weight: Weight of all losses that involve the discriminator. 0 makes a plain variational autoencoder.
        gamma: In the decoder's loss, weight of the distance between the discriminator's features, relative to the game.
        game: Loss of the decoder and the discriminator.
        reconstructions: Weight of the reconstructions among the fake images.
        draws: Weight, among the fake images, of images that are drawn from the prior.
        discriminator_channels: Widths of the discriminator's convolutions. All but the first are strided.
        discriminator_hidden: Width of the discriminator's dense layer.
        discriminator_rate: Learning rate of the discriminator, as a multiple of the autoencoder's learning rate.
    """

    pixel: NonNegative = 1.0
    weight: NonNegative = 1.0
    gamma: NonNegative = 1.0
    game: GameName = "non_saturating"
    reconstructions: NonNegative = 0.5
    draws: NonNegative = 0.5
    discriminator_channels: Counts = (32, 128, 256)
    discriminator_hidden: Count = 512
    discriminator_rate: Positive = 1.0


def _build(context: Context) -> Method:
    options = context.config.method
    return vae_gan(
        choices.network(context),
        ImageDiscriminator(options.discriminator_channels, options.discriminator_hidden),
        context.optimizer(),
        context.optimizer(rate=options.discriminator_rate),
        choices.likelihood_of(context),
        pixel=options.pixel,
        weight=options.weight,
        gamma=options.gamma,
        game=GAMES[options.game](),
        fakes=(options.reconstructions, options.draws),
        **choices.settings(context),
    )


def _contradictions(config: Any) -> list[tuple[bool, str]]:
    options = config.method
    return [
        *choices.contradictions(config),
        (
            not options.weight and options.pixel != 1,
            f"method.pixel={options.pixel}: with method.weight=0 valid is 1",
        ),
        (not options.discriminator_channels, "method.discriminator_channels=(): at least one is needed"),
    ]


METHOD = MethodKind(
    VAEGANConfig,
    "encoder_decoder",  # which only networks with one code have
    _build,
    choices.network,
    contradictions=_contradictions,
    sampling=("temperature",),
    latent_space=latent_space,
    small={"class_conditional": True, "discriminator_channels": (4, 8), "discriminator_hidden": 8},
)
