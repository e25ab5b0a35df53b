"""pix2pix: images are translated as in given pairs, and a discriminator sees both images of a pair.

Isola, Zhu, Zhou and Efros, "Image-to-Image Translation with Conditional Adversarial Networks" (2017).
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from genjax.losses import adversarial as games
from genjax.losses.adversarial import GAMES, AdversarialLoss, GameName
from genjax.methods import averages
from genjax.methods.averages import Average, exponential
from genjax.methods.gan.adversary import descend, initialize_all
from genjax.methods.gan.translation import asked_source, check_translation, source_shape_of
from genjax.methods.gradients import Gradient, mean_gradient
from genjax.methods.kind import Context, MethodKind
from genjax.methods.variables import after, averaged, run
from genjax.metrics.reconstruction import mean_absolute_error
from genjax.models.gan.discriminator import PatchDiscriminator
from genjax.random import example_keys
from genjax.ranges import Count, NonNegative, Positive, Share
from genjax.typing import Array, Batch, Key, Method, PyTree, TrainState, UserError

_GAME = games.non_saturating()
_AVERAGE, _GRADIENT = exponential(), mean_gradient()
_STATISTICS = "_statistics"


def pix2pix(
    generator: nn.Module,
    discriminator: nn.Module,
    optimizer: optax.GradientTransformation,
    discriminator_optimizer: optax.GradientTransformation,
    *,
    image_shape: tuple[int, int, int],
    source_shape: tuple[int, int, int],
    l1_weight: float = 100.0,
    discriminator_weight: float = 0.5,
    game: AdversarialLoss = _GAME,
    average: Average = _AVERAGE,
    gradient: Gradient = _GRADIENT,
) -> Method:
    """Translation of images, learned from pairs, as a method.

    A batch has "image" and "source", the same scene in the domain that is wanted and in the one that is given. A step
    updates the discriminator, then the generator against the new discriminator, on the same batch::

        discriminator  discriminator_weight * its loss in the game
        generator      its loss in the game + l1_weight * mean |image - translation|

    Both kinds of pairs, (source, image) and (source, translation), are joined in their channels for the discriminator.

    Args:
        generator: ``network.apply(variables, source, train=..., dropout_index=...)``, as
            `genjax.models.gan.translation_unet.UNetGenerator`, with as many output channels as the images have. Dropout
            is its only noise, in training and in sampling.
        discriminator: ``network.apply(variables, pairs, train=...) -> (logits, features)``;
            `genjax.models.gan.discriminator.PatchDiscriminator` with 3 layers sees patches of 70 pixels. The paper's
            normalises by batches, ours by groups.
        optimizer: optimizer of the generator's parameters.
        discriminator_optimizer: optimizer of the discriminator's parameters.
        image_shape: H, W, C of the images.
        source_shape: H, W, C of the sources. H and W are equal to the images' H and W.
        l1_weight: 0 or more.
        discriminator_weight: above 0; the paper halves the discriminator's loss.
        game: see `genjax.losses.adversarial`.
        average: moving average of the generator's parameters and statistics, with which images are made, see
            `genjax.methods.averages`. (The paper makes them with the moments of the batch that is translated, and so an
            image would depend on its neighbours in the batch.)
        gradient: how gradients are computed, see `genjax.methods.gradients`. Batch normalisation takes the moments of
            each micro-batch.

    Returns:
        The method. ``TrainState.params`` and ``opt`` are ``{"generator": ..., "discriminator": ...}``, and so is
        ``mutable``, of the other variables; ``ema`` is the generator's variables. Metrics of a step are "loss" (the
        generator's), "l1", "adversarial" and "discriminator"; `evaluate` gives "loss", "l1" and "adversarial" of each
        pair. `sample` translates ``condition["source"]``, float[N,H,W,C] in [-1, 1].

    Raises:
        UserError: a weight that is not valid, or shapes of different sizes; from `init`, sources of another shape or
            none, or another number of output channels than the images have; from `sample`, sources as in `init`.

    Example:
        >>> import jax, jax.numpy as jnp, optax
        >>> from genjax import methods
        >>> from genjax.models.gan.discriminator import PatchDiscriminator
        >>> from genjax.models.gan.translation_unet import UNetGenerator
        >>> method = methods.pix2pix(
        ...     UNetGenerator(out_channels=1, channels=4, levels=2), PatchDiscriminator(layers=1, channels=4),
        ...     optax.adam(2e-4), optax.adam(2e-4), image_shape=(8, 8, 1), source_shape=(8, 8, 3),
        ... )
        >>> batch = {"image": jnp.zeros((2, 8, 8, 1)), "source": jnp.zeros((2, 8, 8, 3)), "_index": jnp.arange(2)}
        >>> state = jax.eval_shape(method.init, jax.random.key(0), batch)
        >>> keys, told = jax.random.split(jax.random.key(0), 2), {"source": batch["source"]}
        >>> jax.eval_shape(method.sample, keys, state, told).shape
        (2, 8, 8, 1)
    """
    if not l1_weight >= 0 or not discriminator_weight > 0:
        raise UserError(
            f"l1_weight={l1_weight}, discriminator_weight={discriminator_weight}: valid are 0 and more, and above 0"
        )
    if image_shape[:2] != source_shape[:2]:
        raise UserError(
            f"source_shape={source_shape}: with image_shape={image_shape} valid are {image_shape[:2]} pixels"
        )
    generators, discriminators = {"generator": optimizer}, {"discriminator": discriminator_optimizer}

    def init(key: Key, batch: Batch) -> TrainState:
        asked_source(batch, "source", source_shape)
        pair_shape = (*image_shape[:2], source_shape[-1] + image_shape[-1])
        params, mutable = initialize_all(
            {"generator": (generator, source_shape), "discriminator": (discriminator, pair_shape)}, key
        )
        variables = {"params": params["generator"], **mutable["generator"]}
        check_translation("generator", generator, variables, source_shape, image_shape)
        return TrainState(
            step=jnp.zeros((), jnp.int32),
            params=params,
            opt={name: o.init(params[name]) for name, o in {**generators, **discriminators}.items()},
            ema=average.init(averaged(variables)),
            mutable=mutable,
        )

    def translate(params: PyTree, others: PyTree, key: Key, batch: Batch) -> tuple[Array, PyTree]:
        noise = _noise(example_keys(key, batch["_index"]))
        return run(generator, {"params": params, **others}, batch["source"], **noise)

    def judge(params: PyTree, others: PyTree, batch: Batch, fake: Array) -> tuple[Array, Array, PyTree]:
        """The logits of the pairs with images, of those with translations, and the new other variables."""
        variables = {"params": params, **others}
        (real_logits, _), changed = run(discriminator, variables, _pair(batch["source"], batch["image"]))
        (fake_logits, _), changed = run(
            discriminator, after(variables, changed), _pair(batch["source"], fake)
        )
        return real_logits, fake_logits, changed

    def step(key: Key, state: TrainState, batch: Batch) -> tuple[TrainState, dict[str, Array]]:
        old = state.mutable

        def judging(params: PyTree, key: Key, batch: Batch) -> tuple[Array, dict[str, Any]]:
            fake, _ = translate(state.params["generator"], old["generator"], key, batch)
            real_logits, fake_logits, others = judge(params, old["discriminator"], batch, fake)
            loss = discriminator_weight * game.discriminator(real_logits, fake_logits).mean()
            return loss, {_STATISTICS: others}

        judged, grads = gradient(judging, state.params["discriminator"], key, batch)
        others: Any = judged.pop(_STATISTICS)
        critic, critic_opt = descend(discriminators, {"discriminator": grads}, state.opt, state.params)

        def translating(params: PyTree, key: Key, batch: Batch) -> tuple[Array, dict[str, Any]]:
            fake, statistics = translate(params, old["generator"], key, batch)
            real_logits, fake_logits, _ = judge(critic["discriminator"], others, batch, fake)
            adversarial = game.generator(real_logits, fake_logits).mean()
            l1 = mean_absolute_error(fake, batch["image"]).mean()
            metrics = {"adversarial": adversarial, "l1": l1, _STATISTICS: statistics}
            return adversarial + l1_weight * l1, metrics

        made, grads = gradient(translating, state.params["generator"], key, batch)
        statistics: Any = made.pop(_STATISTICS)
        maker, maker_opt = descend(generators, {"generator": grads}, state.opt, state.params)
        number = state.step + 1
        variables = averaged({"params": maker["generator"], **statistics})
        new = dataclasses.replace(
            state,
            step=number,
            params={**critic, **maker},
            opt={**critic_opt, **maker_opt},
            ema=average.update(state.ema, variables, number),
            mutable={"generator": statistics, "discriminator": others},
        )
        norm = jnp.hypot(made["grad_norm"], judged["grad_norm"])
        return new, {**made, "discriminator": judged["loss"], "grad_norm": norm}

    def make(state: TrainState, keys: Key, source: Array) -> Array:
        variables = {**state.mutable["generator"], **averages.averaged(state)}
        images: Any = generator.apply(variables, source, train=False, **_noise(keys))
        return images

    def evaluate(key: Key, state: TrainState, batch: Batch) -> dict[str, Array]:
        fake = make(state, example_keys(key, batch["_index"]), batch["source"])
        variables = {"params": state.params["discriminator"], **state.mutable["discriminator"]}
        logits = [
            discriminator.apply(variables, _pair(batch["source"], image), train=False)[0]
            for image in (batch["image"], fake)
        ]
        adversarial, l1 = game.generator(*logits), mean_absolute_error(fake, batch["image"])
        return {"loss": adversarial + l1_weight * l1, "l1": l1, "adversarial": adversarial}

    def sample(keys: Key, state: TrainState, condition: Mapping[str, Array]) -> Array:
        return make(state, keys, asked_source(condition, "source", source_shape))

    return Method(init, step, evaluate, sample)


def _pair(source: Array, image: Array) -> Array:
    return jnp.concatenate([source, image], axis=-1)


def _noise(keys: Key) -> dict[str, Any]:
    """The options of a network that make its dropout a function of each example's own key."""
    return {
        "dropout_index": jax.vmap(lambda key: jax.random.bits(key, (), jnp.uint32))(keys),
        "rngs": {"dropout": jax.random.key(0)},
    }


@dataclasses.dataclass(frozen=True)
class Pix2PixConfig:
    """The training method: translation learned from pairs (genjax.methods.gan.pix2pix).

    Attributes:
        l1_weight: Weight of the mean absolute difference between translated and true images. The game has weight 1.
        game: Loss of the generator and the discriminator.
        discriminator_layers: Number of strided convolutions of the patch discriminator. With 3 it judges patches of 70
            pixels.
        discriminator_channels: Width of the first of these convolutions.
        discriminator_rate: Learning rate of the discriminator, as a multiple of the generator's learning rate.
        ema_decay: Decay of the moving average of the generator's parameters. Images are made with this average.
    """

    class_conditional: ClassVar[bool] = False
    l1_weight: NonNegative = 100.0
    game: GameName = "non_saturating"
    discriminator_layers: Count = 3
    discriminator_channels: Count = 64
    discriminator_rate: Positive = 1.0
    ema_decay: Share = 0.999


def _build(context: Context) -> Method:
    options = context.config.method
    return pix2pix(
        context.network("translator", out_channels=context.image_shape[-1]),
        PatchDiscriminator(options.discriminator_layers, options.discriminator_channels),
        context.optimizer(),
        context.optimizer(rate=options.discriminator_rate),
        image_shape=context.image_shape,
        source_shape=source_shape_of(context),
        l1_weight=options.l1_weight,
        game=GAMES[options.game](),
        average=context.average,
        gradient=context.gradient,
    )


def _contradictions(config: Any) -> list[tuple[bool, str]]:
    pairing = config.data.pairing
    return [(pairing != "paired", f"data.pairing={pairing!r}: pix2pix needs 'paired' images")]


METHOD = MethodKind(
    Pix2PixConfig,
    "translator",
    _build,
    lambda context: context.network("translator", out_channels=context.image_shape[-1]),
    contradictions=_contradictions,
    translates=("source",),
    small={"discriminator_layers": 1, "discriminator_channels": 4},
)
