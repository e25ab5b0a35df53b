"""CycleGAN: images of two domains are translated into each other, without pairs; there and back they are the same.

Zhu, Park, Isola and Efros, "Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks" (2017).
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
from genjax.methods import averages, update
from genjax.methods.averages import Average, exponential
from genjax.methods.gan.adversary import descend, initialize_all
from genjax.methods.gan.image_pool import empty, exchange
from genjax.methods.gan.translation import asked_source, check_translation, source_shape_of
from genjax.methods.gradients import Gradient, mean_gradient
from genjax.methods.kind import Context, MethodKind
from genjax.methods.variables import after, averaged, run
from genjax.metrics.reconstruction import mean_absolute_error
from genjax.models.gan.discriminator import PatchDiscriminator
from genjax.ranges import Count, CountOrZero, NonNegative, Positive, Share
from genjax.typing import Array, Batch, Key, Method, PyTree, TrainState, UserError

_GAME = games.least_squares()
_AVERAGE, _GRADIENT = exponential(), mean_gradient()
_STATISTICS = "_statistics"
_OTHER = {"image": "source", "source": "image"}


def cycle_gan(
    to_image: nn.Module,
    to_source: nn.Module,
    discriminator: nn.Module,
    optimizer: optax.GradientTransformation,
    discriminator_optimizer: optax.GradientTransformation,
    *,
    image_shape: tuple[int, int, int],
    source_shape: tuple[int, int, int],
    cycle: float = 10.0,
    identity: float = 0.5,
    adversarial_weight: float = 2.0,
    game: AdversarialLoss = _GAME,
    pool: int = 50,
    average: Average = _AVERAGE,
    gradient: Gradient = _GRADIENT,
) -> Method:
    """Translation between two domains, learned from images of each, as a method.

    A batch has "image" and "source", images of the two domains that have nothing to do with each other. With
    G = `to_image`, F = `to_source`, and for each domain a discriminator of its own, a step updates::

        generators      adversarial_weight * (their losses in the two games)
                        + cycle * (mean |G(F(image)) - image| + mean |F(G(source)) - source|)
                        + cycle * identity * (mean |G(image) - image| + mean |F(source) - source|)
        discriminators  their losses in the two games, against translations from a pool of earlier ones

    Discriminators judge the translations of the generators as they were before the step, and the generators meet the
    discriminators as they were: the order of the two updates does not matter.

    Args:
        to_image: ``network.apply(variables, images, train=...)``, from the domain "source" to the domain "image", as
            `genjax.models.gan.residual_translator.ResidualTranslator`.
        to_source: the way back.
        discriminator: ``network.apply(variables, images, train=...) -> (logits, features)``, of which there are two.
        optimizer: optimizer of both generators' parameters.
        discriminator_optimizer: optimizer of both discriminators' parameters.
        image_shape: H, W, C of the domain "image".
        source_shape: H, W, C of the domain "source".
        cycle: weight of the way there and back, 0 or more.
        identity: weight of the change that a generator makes to an image of its own output domain, as a multiple of
            `cycle`, 0 or more. Above 0, both domains must have the same shape.
        adversarial_weight: 0 or more. `least_squares` halves both sides of the game, the paper the discriminators'
            only, which is a weight of 2.
        game: see `genjax.losses.adversarial`.
        pool: number of translations of each domain that are kept, see `genjax.methods.gan.image_pool`; 0 keeps none.
        average: moving average of the generators' parameters and statistics, with which images are made, see
            `genjax.methods.averages`.
        gradient: how gradients are computed, see `genjax.methods.gradients`. Batch normalisation takes the moments of
            each micro-batch.

    Returns:
        The method. ``TrainState.params`` is ``{"generators": {"to_image": ..., "to_source": ...}, "discriminators":
        {"image": ..., "source": ...}}``, ``opt`` has the two optimizers' states, ``mutable`` beside such dictionaries
        of other variables "pools", and ``ema`` is the generators' variables. Metrics of a step are "loss" (the
        generators'), "cycle_l1" and "identity", means over the two directions, "adversarial" and
        "discriminator", sums over the two games. `evaluate` gives "loss", "cycle_l1", "cycle_psnr" in dB and, where it
        has a weight, "identity". `sample` translates ``condition["source"]``, or back ``condition["image"]``,
        float[N,H,W,C] in [-1, 1]; it takes nothing from its keys.

    Raises:
        UserError: a number that is not valid; from `init`, images of other shapes, no sources, or another number of
            output channels than a domain has; from `sample`, a condition that is missing or has another shape.

    Example:
        >>> import jax, jax.numpy as jnp, optax
        >>> from genjax import methods
        >>> from genjax.models.gan.discriminator import PatchDiscriminator
        >>> from genjax.models.gan.residual_translator import ResidualTranslator
        >>> translator = ResidualTranslator(channels=4, blocks=1, halvings=1)
        >>> method = methods.cycle_gan(
        ...     translator, translator, PatchDiscriminator(layers=1, channels=4), optax.adam(2e-4), optax.adam(2e-4),
        ...     image_shape=(8, 8, 1), source_shape=(8, 8, 1),
        ... )
        >>> batch = {"image": jnp.zeros((2, 8, 8, 1)), "source": jnp.zeros((2, 8, 8, 1)), "_index": jnp.arange(2)}
        >>> state = jax.eval_shape(method.init, jax.random.key(0), batch)
        >>> {name: sorted(networks) for name, networks in state.params.items()}
        {'discriminators': ['image', 'source'], 'generators': ['to_image', 'to_source']}
    """
    weights = {"cycle": cycle, "identity": identity, "adversarial_weight": adversarial_weight, "pool": pool}
    for name, value in weights.items():
        if not value >= 0:
            raise UserError(f"{name}={value}: valid are 0 and more")
    if identity and image_shape != source_shape:
        raise UserError(
            f"identity={identity}: the domains have shapes {image_shape} and {source_shape}, where valid is 0"
        )
    shapes = {"image": image_shape, "source": source_shape}
    networks = {"to_image": to_image, "to_source": to_source}
    optimizers = {"generators": optimizer, "discriminators": discriminator_optimizer}

    def init(key: Key, batch: Batch) -> TrainState:
        for name, shape in shapes.items():
            asked_source(batch, name, shape)
        made = initialize_all(
            {f"to_{name}": (networks[f"to_{name}"], shapes[_OTHER[name]]) for name in shapes}, key
        )
        judged = initialize_all(
            {name: (discriminator, shape) for name, shape in shapes.items()}, jax.random.fold_in(key, 2)
        )
        params = {"generators": made[0], "discriminators": judged[0]}
        mutable = {"generators": made[1], "discriminators": judged[1]}
        variables = {name: {"params": made[0][name], **made[1][name]} for name in networks}
        for name, shape in shapes.items():
            there = f"to_{name}"
            check_translation(there, networks[there], variables[there], shapes[_OTHER[name]], shape)
        return TrainState(
            step=jnp.zeros((), jnp.int32),
            params=params,
            opt={name: o.init(params[name]) for name, o in optimizers.items()},
            ema=average.init({name: averaged(variables[name]) for name in networks}),
            mutable={**mutable, "pools": {name: empty(pool, shape) for name, shape in shapes.items()}},
        )

    def translate(params: PyTree, others: PyTree, batch: Batch) -> tuple[dict[str, dict[str, Array]], PyTree]:
        """Translations by their domains: of the other domain, back again, and of their own; new other variables.

        Of their own only where it counts.
        """
        variables = {name: {"params": params[name], **others[name]} for name in networks}
        changed: dict[str, PyTree] = {}

        def apply(name: str, images: Array) -> Array:
            now = after(variables[name], changed.get(name, {}))
            made, changed[name] = run(networks[name], now, images)
            return made

        fake = {name: apply(f"to_{name}", batch[_OTHER[name]]) for name in shapes}
        back = {name: apply(f"to_{name}", fake[_OTHER[name]]) for name in shapes}
        same = {name: apply(f"to_{name}", batch[name]) for name in shapes} if identity else {}
        return {"fake": fake, "back": back, "same": same}, changed

    def judge(params: PyTree, others: PyTree, real: Array, fake: Array) -> tuple[Array, Array, PyTree]:
        variables = {"params": params, **others}
        (real_logits, _), changed = run(discriminator, variables, real)
        (fake_logits, _), changed = run(discriminator, after(variables, changed), fake)
        return real_logits, fake_logits, changed

    def total(adversarial: Array, back: Array, same: Array) -> Array:
        """Of distances that are means over the two directions."""
        return adversarial_weight * adversarial + 2 * cycle * (back + identity * same)

    def step(key: Key, state: TrainState, batch: Batch) -> tuple[TrainState, dict[str, Array]]:
        old, critics = state.mutable, state.params["discriminators"]

        def translating(params: PyTree, key: Key, batch: Batch) -> tuple[Array, dict[str, Any]]:
            made, others = translate(params, old["generators"], batch)
            adversarial = jnp.zeros(())
            for name in shapes:
                real_logits, fake_logits, _ = judge(
                    critics[name], old["discriminators"][name], batch[name], made["fake"][name]
                )
                adversarial += game.generator(real_logits, fake_logits).mean()
            back, same = (_distance(made[kind], batch).mean() for kind in ("back", "same"))
            metrics = {"adversarial": adversarial, "cycle_l1": back, "identity": same, _STATISTICS: others}
            return total(adversarial, back, same), metrics

        made, maker_grads = gradient(translating, state.params["generators"], key, batch)
        statistics: Any = made.pop(_STATISTICS)

        # Computed again, of the whole batch; without accumulation XLA merges it with what the generators' loss has.
        fakes, pools = {}, {}
        for i, name in enumerate(shapes):
            there = f"to_{name}"
            variables = {"params": state.params["generators"][there], **old["generators"][there]}
            fake, _ = run(networks[there], variables, batch[_OTHER[name]])
            fakes[name], pools[name] = exchange(
                jax.random.fold_in(key, i), old["pools"][name], fake, batch["_index"]
            )

        def judging(params: PyTree, key: Key, batch: Batch) -> tuple[Array, dict[str, Any]]:
            loss, others = jnp.zeros(()), {}
            for name in shapes:
                real_logits, fake_logits, others[name] = judge(
                    params[name], old["discriminators"][name], batch[name], batch[f"fake_{name}"]
                )
                loss += game.discriminator(real_logits, fake_logits).mean()
            return loss, {_STATISTICS: others}

        seen = {**batch, **{f"fake_{name}": fake for name, fake in fakes.items()}}
        judged, critic_grads = gradient(judging, critics, key, seen)
        others: Any = judged.pop(_STATISTICS)
        grads = {"generators": maker_grads, "discriminators": critic_grads}
        params, opt = descend(optimizers, grads, state.opt, state.params)
        number = state.step + 1
        variables = {
            name: averaged({"params": params["generators"][name], **statistics[name]}) for name in networks
        }
        new = dataclasses.replace(
            state,
            step=number,
            params=params,
            opt=opt,
            ema=average.update(state.ema, variables, number),
            mutable={"generators": statistics, "discriminators": others, "pools": pools},
        )
        norm = jnp.hypot(made["grad_norm"], judged["grad_norm"])
        return new, {**made, "discriminator": judged["loss"], "grad_norm": norm}

    def apply(state: TrainState, name: str, images: Array) -> Array:
        variables = {**state.mutable["generators"][name], **averages.averaged(state)[name]}
        made: Any = networks[name].apply(variables, images, train=False)
        return made

    def evaluate(key: Key, state: TrainState, batch: Batch) -> dict[str, Array]:
        fake = {name: apply(state, f"to_{name}", batch[_OTHER[name]]) for name in shapes}
        back = {name: apply(state, f"to_{name}", fake[_OTHER[name]]) for name in shapes}
        same = {name: apply(state, f"to_{name}", batch[name]) for name in shapes} if identity else {}
        adversarial = jnp.zeros(len(batch["image"]))
        for name in shapes:
            variables = {
                "params": state.params["discriminators"][name],
                **state.mutable["discriminators"][name],
            }
            logits = [discriminator.apply(variables, x, train=False)[0] for x in (batch[name], fake[name])]
            adversarial += game.generator(*logits)
        there_and_back, unchanged = _distance(back, batch), _distance(same, batch)
        psnr = 0.5 * (_psnr(back["image"], batch["image"]) + _psnr(back["source"], batch["source"]))
        values = {
            "loss": total(adversarial, there_and_back, unchanged),
            "cycle_l1": there_and_back,
            "cycle_psnr": psnr,
        }
        return {**values, "identity": unchanged} if identity else values

    def sample(keys: Key, state: TrainState, condition: Mapping[str, Array]) -> Array:
        given = "image" if "image" in condition and "source" not in condition else "source"
        return apply(state, f"to_{_OTHER[given]}", asked_source(condition, given, shapes[given]))

    return Method(init, step, evaluate, sample)


def _distance(made: Mapping[str, Array], batch: Batch) -> Array:
    """float[B]: the mean absolute difference, averaged over the two domains; 0 where there are none."""
    zero = jnp.zeros(len(batch["image"]))
    return sum((mean_absolute_error(images, batch[name]) for name, images in made.items()), start=zero) / 2


def _psnr(images: Array, target: Array) -> Array:
    """float[B] in dB."""
    return update.psnr(jnp.square(images - target).reshape(len(images), -1).mean(1))


@dataclasses.dataclass(frozen=True)
class CycleGANConfig:
    """The training method: translation between two domains, learned without pairs (genjax.methods.gan.cycle_gan).

    Attributes:
        cycle: Weight of the mean absolute difference between an image and its translation there and back.
        identity: Weight of the change that a generator makes to images of its own output domain, as a multiple
            of `cycle`.
        adversarial_weight: Weight of the game. The paper's weight is 2, with "least_squares".
        game: Loss of the generators and the discriminators.
        pool: Number of earlier translations of each domain that are kept for the discriminators.
        discriminator_layers: Number of strided convolutions of the patch discriminators. With 3 they judge patches
            of 70 pixels.
        discriminator_channels: Width of the first of these convolutions.
        discriminator_rate: Learning rate of the discriminators, as a multiple of the generators' learning rate.
        ema_decay: Decay of the moving averages of the generators' parameters. Images are made with these averages.
    """

    class_conditional: ClassVar[bool] = False
    cycle: NonNegative = 10.0
    identity: NonNegative = 0.5
    adversarial_weight: NonNegative = 2.0
    game: GameName = "least_squares"
    pool: CountOrZero = 50
    discriminator_layers: Count = 3
    discriminator_channels: Count = 64
    discriminator_rate: Positive = 1.0
    ema_decay: Share = 0.999


def _networks(context: Context) -> tuple[nn.Module, nn.Module]:
    """From sources to images, and back."""
    channels = context.image_shape[-1], source_shape_of(context)[-1]
    forth, back = (context.network("translator", out_channels=count) for count in channels)
    return forth, back


def _build(context: Context) -> Method:
    options, source_shape = context.config.method, source_shape_of(context)
    return cycle_gan(
        *_networks(context),
        PatchDiscriminator(options.discriminator_layers, options.discriminator_channels),
        context.optimizer(),
        context.optimizer(rate=options.discriminator_rate),
        image_shape=context.image_shape,
        source_shape=source_shape,
        cycle=options.cycle,
        identity=options.identity,
        adversarial_weight=options.adversarial_weight,
        game=GAMES[options.game](),
        pool=options.pool,
        average=context.average,
        gradient=context.gradient,
    )


METHOD = MethodKind(
    CycleGANConfig,
    "translator",
    _build,
    _networks,
    translates=("source", "image"),
    small={"discriminator_layers": 1, "discriminator_channels": 4, "pool": 4, "identity": 0.0},
)
