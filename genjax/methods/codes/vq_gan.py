"""VQGAN: a vector-quantised autoencoder that a perceptual distance and a patch discriminator keep sharp.

Esser, Rombach and Ommer, "Taming Transformers for High-Resolution Image Synthesis" (2021).
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import flax.linen as nn
import flax.traverse_util
import jax
import jax.numpy as jnp
import optax

from genjax.diffusion.distance import Distance
from genjax.losses import adversarial as games
from genjax.losses import perceptual as perceptual_distance
from genjax.losses.adversarial import GAMES, AdversarialLoss, GameName
from genjax.methods import update
from genjax.methods.averages import Average, averaged, exponential
from genjax.methods.codes import vq_vae as codes
from genjax.methods.codes.vq_vae import (
    VQVAEConfig,
    candidates,
    learn,
    learn_average,
    share,
    vq_vae,
    vq_vae_codes,
    with_prior,
)
from genjax.methods.gan.adversary import descend, judge, with_discriminator
from genjax.methods.gradients import Gradient, mean_gradient
from genjax.methods.kind import Context
from genjax.metrics.digits_classifier import load_feature_maps
from genjax.models.gan.discriminator import PatchDiscriminator
from genjax.nn.quantization import Quantized
from genjax.ranges import Count, FirstStepsOrNone, NonNegative, Positive
from genjax.typing import Array, Batch, Key, Method, PyTree, TrainState, UserError

_HINGE = games.hinge()
_AVERAGE, _GRADIENT = exponential(), mean_gradient()
_STATISTICS = "_statistics"


def absolute(output: Array, target: Array) -> Array:
    """float[B]: the mean of the absolute differences."""
    return jnp.abs(output - target).reshape(len(output), -1).mean(1)


def vq_gan(
    network: nn.Module,
    discriminator: nn.Module,
    optimizer: optax.GradientTransformation,
    discriminator_optimizer: optax.GradientTransformation,
    *,
    image_shape: tuple[int, int, int],
    distance: Distance = absolute,
    perceptual: Distance | None = None,
    perceptual_weight: float = 1.0,
    game: AdversarialLoss = _HINGE,
    adversarial_weight: float = 1.0,
    max_weight: float = 1e4,
    start: int = 0,
    last_layer: str | None = None,
    commitment: float = 0.25,
    average: Average = _AVERAGE,
    gradient: Gradient = _GRADIENT,
) -> Method:
    """An autoencoder with integer codes, and a discriminator, as a method.

    Network and discriminator are updated at once, on the same images, each on the mean over the batch of its loss::

        network        distance + perceptual_weight * perceptual
                       + sum over levels of the code book's and of commitment * the commitment's loss, as in `vq_vae`
                       + adversarial_weight * lambda * (the generator's loss in the game)
        discriminator  its loss in the game, images against reconstructions

    lambda (equation 7) gives both sides of the game the same say in the last layer of the decoder: see
    `adaptive_weight`. The gradients in it are of the first line, and of the generator's loss.

    Args:
        network: as for `genjax.methods.vq_vae`, with as many output channels as the images have.
        discriminator: ``network.apply(variables, images) -> (logits, features)``, as in `genjax.models.gan`.
        optimizer: optimizer of the network's parameters.
        discriminator_optimizer: optimizer of the discriminator's parameters.
        image_shape: H, W, C of the images.
        distance: ``(reconstruction, image) -> float[B]``; `absolute`, or `genjax.diffusion.distance.squared`.
        perceptual: ``(reconstruction, image) -> float[B]``, see `genjax.losses.perceptual`; None: without.
        perceptual_weight: its weight, 0 or more.
        game: see `genjax.losses.adversarial`.
        adversarial_weight: 0 or more.
        max_weight: the largest value of lambda, 0 or more.
        start: number of steps, 0 or more, before the game begins; until then the discriminator does not change.
        last_layer: name of the weights of the last layer, such as "decoders_0/out/kernel"; None: the last layer of the
            finest level of `genjax.models.codes.vq_vae.VQVAE`.
        commitment: see `genjax.methods.vq_vae`.
        average: moving average of the network's parameters, see `genjax.methods.vq_vae`.
        gradient: how gradients are computed, those in lambda too; see `genjax.methods.gradients`.

    Returns:
        The method. ``TrainState.params`` and ``opt`` are ``{"network": ..., "discriminator": ...}``; ``ema`` and
        ``mutable`` are of the network alone, as in `genjax.methods.vq_vae`: so
        `genjax.methods.codes.vq_vae_codes` makes a first stage of it, for a prior over its codes. Metrics of a step
        are "reconstruction", "perceptual", "commitment", "adversarial", "discriminator", "adaptive_weight"
        (``adversarial_weight * lambda``, 0 before `start`) and the usage of the codes. "loss" there, and in
        `evaluate`, is without the game, because a game has no value that falls; `evaluate` has the values of `vq_vae`
        and "perceptual", and "reconstruction" is `distance`. `sample` is as in `vq_vae`.

    Raises:
        UserError: a negative weight or `start`; an image size that the network cannot halve as often as it has to;
            from `init`, a `last_layer` that the network does not have; from the first step, another number of output
            channels than the images have.

    Example:
        >>> import functools, jax, jax.numpy as jnp, optax
        >>> from genjax import methods
        >>> from genjax.models.codes.vq_vae import VQVAE
        >>> from genjax.models.gan.discriminator import PatchDiscriminator
        >>> from genjax.nn.quantization import VectorQuantizer
        >>> quantizer = functools.partial(VectorQuantizer, num_codes=16, width=4)
        >>> network = VQVAE(out_channels=1, quantizer=quantizer, downsamplings=1, channels=8, residual_blocks=1)
        >>> judge, adam = PatchDiscriminator(layers=1, channels=4), optax.adam(1e-3)
        >>> method = methods.vq_gan(network, judge, adam, adam, image_shape=(8, 8, 1))
        >>> batch = {"image": jnp.zeros((4, 8, 8, 1)), "_index": jnp.arange(4)}
        >>> state = jax.eval_shape(method.init, jax.random.key(0), batch)
        >>> sorted(state.params), sorted(state.mutable)
        (['discriminator', 'network'], ['codebook'])
    """
    weights = {
        "perceptual_weight": perceptual_weight,
        "adversarial_weight": adversarial_weight,
        "max_weight": max_weight,
        "start": start,
    }
    for name, value in weights.items():
        if not value >= 0:
            raise UserError(f"{name}={value}: valid are 0 and more")
    model = vq_vae_codes(network, image_shape)
    base = vq_vae(network, optimizer, image_shape=image_shape, commitment=commitment, average=average)
    optimizers = {"network": optimizer, "discriminator": discriminator_optimizer}
    last = last_layer or f"decoders_{len(model.shapes) - 1}/out/kernel"

    def init(key: Key, batch: Batch) -> TrainState:
        state = base.init(key, batch)
        if last not in (names := flax.traverse_util.flatten_dict(state.params, sep="/")):
            raise UserError(f"last_layer={last!r}: the network has {', '.join(sorted(names))}")
        return with_discriminator(state, discriminator, optimizers, key, batch)

    def losses(variables: PyTree, x: Array) -> tuple[dict[str, Array], Array, Sequence[Quantized]]:
        """The terms of the network's loss without the game, float[B] each; reconstructions; the quantised levels."""
        result: Any = network.apply(variables, x)
        outputs, levels = result
        if outputs.shape != x.shape:
            raise UserError(
                f"out_channels={outputs.shape[-1]} of the network: valid is {x.shape[-1]}, as the images have"
            )
        values = {
            "reconstruction": distance(outputs, x),
            "perceptual": jnp.zeros(len(x)) if perceptual is None else perceptual(outputs, x),
            "commitment": sum(level.commitment for level in levels),
        }
        codes = sum(level.codebook for level in levels) + commitment * values["commitment"]
        return {"loss": _likeness(values) + codes, **values}, outputs, levels

    def _likeness(values: Mapping[str, Array]) -> Array:
        return values["reconstruction"] + perceptual_weight * values["perceptual"]

    def generate(judged: PyTree, outputs: Array, x: Array) -> Array:
        """float[B]: the generator's loss."""
        return game.generator(judge(discriminator, judged, x)[0], judge(discriminator, judged, outputs)[0])

    def balance(key: Key, state: TrainState, batch: Batch) -> Array:
        """lambda of the whole batch."""
        params = flax.traverse_util.flatten_dict(state.params["network"], sep="/")

        def of_last(weights: Array) -> PyTree:
            changed = flax.traverse_util.unflatten_dict({**params, last: weights}, sep="/")
            return {"params": changed, **state.mutable}

        def both(weights: PyTree, key: Key, batch: Batch) -> tuple[Array, dict[str, Array]]:
            """Each loss has a copy of the layer of its own, so that the gradients of both come apart."""
            x = batch["image"]
            likeness = _likeness(losses(of_last(weights["likeness"]), x)[0])
            outputs = losses(of_last(weights["game"]), x)[1]
            return likeness.mean() + generate(state.params["discriminator"], outputs, x).mean(), {}

        copies = {"likeness": params[last], "game": params[last]}
        _, grads = gradient(both, copies, key, batch)
        return adaptive_weight(grads["likeness"], grads["game"], maximum=max_weight)

    def step(key: Key, state: TrainState, batch: Batch) -> tuple[TrainState, dict[str, Array]]:
        batch_size = update.global_batch_size(batch)
        chosen = candidates(key, model, batch_size)
        playing = state.step >= start
        weight = jnp.where(playing, adversarial_weight * balance(key, state, batch), 0.0)

        def mean_loss(params: PyTree, key: Key, batch: Batch) -> tuple[Array, dict[str, Any]]:
            """The sum of both losses, each of which has the gradient of its own part only."""
            x, fixed = batch["image"], jax.lax.stop_gradient
            values, outputs, levels = losses({"params": params["network"], **state.mutable}, x)
            played = generate(fixed(params["discriminator"]), outputs, x)
            real, fake = (judge(discriminator, params["discriminator"], i)[0] for i in (x, fixed(outputs)))
            judging = game.discriminator(real, fake)
            means = {k: v.mean() for k, v in values.items()}
            total = means["loss"] + weight * played.mean() + judging.mean()
            return total, {
                "network": means.pop("loss"),
                **means,
                "adversarial": played.mean(),
                "discriminator": judging.mean(),
                _STATISTICS: share(levels, batch["_index"], chosen, batch_size),
            }

        metrics, grads = gradient(mean_loss, state.params, key, batch)
        statistics: Any = metrics.pop(_STATISTICS)
        params, opt = descend(optimizers, grads, state.opt, state.params)
        for new, old in ((params, state.params), (opt, state.opt)):
            new["discriminator"] = jax.tree.map(
                lambda a, b: jnp.where(playing, a, b), new["discriminator"], old["discriminator"]
            )
        number = state.step + 1
        ema = average.update(state.ema, params["network"], number)
        ema = learn_average(network, ema, state.mutable, statistics, state.step == 0)
        params["network"], mutable, usage = learn(
            network, params["network"], state.mutable, statistics, state.step == 0
        )
        metrics = {**metrics, **usage, "adaptive_weight": weight, "loss": metrics.pop("network")}
        new_state = dataclasses.replace(state, step=number, params=params, opt=opt, ema=ema, mutable=mutable)
        return new_state, metrics

    def evaluate(key: Key, state: TrainState, batch: Batch) -> dict[str, Array]:
        values, *_ = losses({"params": averaged(state), **state.mutable}, batch["image"])
        return {**base.evaluate(key, state, batch), **values}

    return Method(init, step, evaluate, base.sample)


def adaptive_weight(
    likeness: Array, adversarial: Array, *, delta: float = 1e-6, maximum: float = 1e4
) -> Array:
    """``|likeness| / (|adversarial| + delta)``, at most `maximum`: the weight that makes two gradients equally long.

    Args:
        likeness: gradient of the reconstruction's loss with respect to the weights of the last layer, of any shape.
        adversarial: gradient of the generator's loss, with respect to the same weights.
        delta: keeps the ratio finite, above 0.
        maximum: largest value of the result.

    Returns:
        float[].

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax.methods.codes.vq_gan import adaptive_weight
        >>> print(f"{adaptive_weight(jnp.array([3.0, 4.0]), jnp.array([0.0, 0.5])):.3f}")  # lengths 5 and 0.5
        10.000

    References:
        Esser et al. (2021), equation 7.
    """
    ratio = jnp.linalg.norm(likeness.ravel()) / (jnp.linalg.norm(adversarial.ravel()) + delta)
    return jnp.minimum(ratio, maximum)


DISTANCES: dict[str, Callable[[], Distance | None]] = {
    "none": lambda: None,
    "digits_classifier": lambda: perceptual_distance.perceptual(load_feature_maps()),
}
"""Perceptual distances by the name of the network whose features they compare."""

if TYPE_CHECKING:
    FeaturesName = str
else:
    FeaturesName = Literal[tuple(DISTANCES)]


@dataclasses.dataclass(frozen=True)
class VQGANConfig(VQVAEConfig):
    """The training methods: VQGAN, then a prior over its codes (genjax.methods.codes.vq_gan, code_prior, two_stages).

    Attributes:
        features: Network whose features the perceptual distance compares. The bundled classifier knows digits only.
        perceptual_weight: Weight of the perceptual distance.
        game: Loss of the network and the discriminator.
        adversarial_weight: Factor of the adaptive weight of the game. 0 trains without a game.
        max_weight: Upper bound of the adaptive weight.
        game_start: Number of updates before the game begins.
        discriminator_layers: Number of strided convolutions of the patch discriminator.
        discriminator_channels: Width of the first of these convolutions.
        discriminator_rate: Learning rate of the discriminator, as a multiple of the autoencoder's learning rate.
    """

    features: FeaturesName = "digits_classifier"
    perceptual_weight: NonNegative = 1.0
    game: GameName = "hinge"
    adversarial_weight: NonNegative = 1.0
    max_weight: NonNegative = 1e4
    game_start: FirstStepsOrNone = 500
    discriminator_layers: Count = 2
    discriminator_channels: Count = 32
    discriminator_rate: Positive = 1.0


def _build(context: Context) -> Method:
    options = context.config.method
    first = vq_gan(
        context.network("codes", image_shape=context.image_shape),
        PatchDiscriminator(options.discriminator_layers, options.discriminator_channels),
        context.optimizer(options.first_steps),
        context.optimizer(options.first_steps, options.discriminator_rate),
        image_shape=context.image_shape,
        perceptual=DISTANCES[options.features](),
        perceptual_weight=options.perceptual_weight,
        game=GAMES[options.game](),
        adversarial_weight=options.adversarial_weight,
        max_weight=options.max_weight,
        start=options.game_start,
        commitment=options.commitment,
        average=context.average,
        gradient=context.gradient,
    )
    return with_prior(context, first)


def _check(config: Any, image_shape: tuple[int, int, int]) -> None:
    if config.method.features == "digits_classifier" and image_shape[-1] != 1:
        raise UserError(
            "method.features='digits_classifier' compares grayscale images, and these have "
            f"{image_shape[-1]} channels; valid is 'none'"
        )


METHOD = codes.METHOD._replace(
    config=VQGANConfig,
    build=_build,
    check=_check,
    small={
        "first_steps": 2,
        "game": "non_saturating",
        "game_start": 0,
        "discriminator_layers": 1,
        "discriminator_channels": 4,
    },
)
