"""Generative adversarial networks by name: what can be configured, and how configs become a method."""

import dataclasses
from collections.abc import Callable
from typing import Annotated, Any

import flax.linen as nn
import numpy as np
import optax

from genjax.losses import penalties
from genjax.losses.adversarial import GAMES, AdversarialLoss, GameName
from genjax.losses.penalties import GeneratorPenalty, Penalty
from genjax.methods.gan import latent_prior
from genjax.methods.gan.auxiliary import AuxiliaryTask, auxiliary_classifier, mutual_information
from genjax.methods.gan.choices import (
    ATTACKS,
    AUGMENTATIONS,
    NOISES,
    PENALTIES,
    AttackName,
    AugmentationName,
    ConditioningName,
    NoiseName,
    PenaltyName,
)
from genjax.methods.gan.gan import gan
from genjax.methods.gan.latent_prior import LatentPrior
from genjax.methods.kind import Context, MethodKind
from genjax.models.gan.conditioning import CONDITIONINGS, Conditioning
from genjax.models.gan.heads import ClassHead, CodeHead
from genjax.models.kind import num_classes
from genjax.ranges import Count, CountOrZero, NonNegative, Positive, Range, Share
from genjax.typing import Array, Method, PyTree, UserError


@dataclasses.dataclass(frozen=True)
class GANConfig:
    """The training method: a generative adversarial network (genjax.methods.gan.gan).

    Attributes:
        game: Loss of the generator and the discriminator.
        smoothing: In the games minimax and non_saturating, the label of real images is 1 minus this number.
        penalty: Penalty that is added to the discriminator's loss.
        penalty_weight: Weight of the penalty. Without it: the weight in the penalty's paper.
        penalty_every: Compute the penalty only in every N-th step, N times as large ("lazy regularisation").
        clip_weights: Clip the discriminator's weights to [-c, c]. Without it, weights are not clipped.
        orthogonal: Weight of the penalty that keeps the generator's kernels orthogonal. 0 leaves it out.
        path_length: Weight of path length regularisation, which is computed in every 4th step. 0 leaves it out.
        augmentation: Augmentation of all images that the discriminator sees.
        augmentation_images: Number of images over which the adaptive probability can rise from 0 to 1.
        attack: Attack that changes real images so that the discriminator judges them wrongly.
        attack_epsilon: Largest change of a pixel by the attack. Images are in [-1, 1].
        conditioning: How the label enters: it is joined to z and to the images, or an auxiliary classifier has to
            predict it, or the discriminator's features are projected on it.
        auxiliary_weight: Weight of the auxiliary classifier's losses.
        categorical_codes: InfoGAN: number of values of each categorical code.
        continuous_codes: InfoGAN: number of continuous codes.
        information: InfoGAN: weight of the mutual information between images and categorical codes. Continuous codes
            have a tenth of this weight.
        latent: Number of latent variables, without the codes.
        noise: Distribution of the latent variables.
        discriminator_steps: Number of updates of the discriminator for each update of the generator.
        discriminator_rate: Learning rate of the discriminator, as a multiple of the generator's learning rate.
        top_k: The generator learns only from the fakes that the discriminator likes most. Their share falls from 1 to
            this number.
        ema_decay: Decay of the moving average of the generator's parameters. Images are made with this average.
    """

    game: GameName = "non_saturating"
    smoothing: Annotated[float, Range("[0, 0.5)")] = 0.0
    penalty: PenaltyName = "none"
    penalty_weight: NonNegative | None = None
    penalty_every: Count = 1
    clip_weights: Positive | None = None
    orthogonal: NonNegative = 0.0
    path_length: NonNegative = 0.0
    augmentation: AugmentationName = "none"
    augmentation_images: Count = 500_000
    attack: AttackName = "none"
    attack_epsilon: Annotated[float, Range("(0, 2]")] = 0.02
    conditioning: ConditioningName = "none"
    auxiliary_weight: NonNegative = 1.0
    categorical_codes: Annotated[tuple[int, ...], Range("[2, inf)")] = ()
    continuous_codes: CountOrZero = 0
    information: NonNegative = 1.0
    latent: Count = 64
    noise: NoiseName = "normal"
    discriminator_steps: Count = 1
    discriminator_rate: Positive = 1.0
    top_k: Annotated[float, Range("(0, 1]")] = 1.0
    ema_decay: Share = 0.999

    @property
    def class_conditional(self) -> bool:
        """Whether images of a class can be asked for."""
        return self.conditioning != "none"

    @property
    def has_codes(self) -> bool:
        """Whether it is an InfoGAN."""
        return bool(self.categorical_codes or self.continuous_codes)


def networks(context: Context) -> tuple[nn.Module, nn.Module]:
    """The generator and the discriminator of a config.

    Raises:
        UserError: labels are to enter, and the data set has none.
    """
    options, classes = context.config.method, num_classes(context.conditions)
    if options.class_conditional and classes is None:
        raise UserError(
            f"method.conditioning={options.conditioning!r}: data set {context.info.name!r} has no labels; valid is "
            "'none'"
        )
    conditioning = Conditioning(classes, *CONDITIONINGS[options.conditioning])
    pair: tuple[nn.Module, nn.Module] = context.network(
        "adversaries", image_shape=context.image_shape, conditioning=conditioning
    )
    return pair


def latent(options: GANConfig) -> LatentPrior:
    """Distribution of the generator's input z, with codes."""
    noise = NOISES[options.noise](options.latent)
    if not options.has_codes:
        return noise
    return latent_prior.with_codes(noise, options.categorical_codes, options.continuous_codes)


def auxiliary_task(context: Context) -> AuxiliaryTask | None:
    """What else is predicted from the discriminator's features: labels (ACGAN) or codes (InfoGAN)."""
    options = context.config.method
    if options.has_codes:
        head = CodeHead(options.categorical_codes, options.continuous_codes)
        return mutual_information(head, latent(options), options.information, 0.1 * options.information)
    if options.conditioning == "auxiliary":
        classes = num_classes(context.conditions)
        assert classes is not None, "`networks` has checked it"
        return auxiliary_classifier(ClassHead(classes), options.auxiliary_weight)
    return None


def _build(context: Context) -> Method:
    options, steps = context.config.method, context.config.fit.steps
    generator, discriminator = networks(context)
    return gan(
        generator,
        discriminator,
        context.optimizer(),
        context.optimizer(rate=options.discriminator_rate),
        image_shape=context.image_shape,
        latent=latent(options),
        conditions=tuple(context.conditions),
        game=_game(options),
        penalty=_penalty(options),
        generator_penalty=_path_length(options.path_length),
        weight_penalties={"generator": _orthogonal(options.orthogonal)} if options.orthogonal else None,
        auxiliary=auxiliary_task(context),
        augmentation=AUGMENTATIONS[options.augmentation](options),
        attack=ATTACKS[options.attack](options.attack_epsilon),
        top_k=optax.linear_schedule(1.0, options.top_k, steps) if options.top_k < 1 else None,
        constrain=_clip(options.clip_weights),
        discriminator_steps=options.discriminator_steps,
        average=context.average,
        gradient=context.gradient,
    )


def _game(options: GANConfig) -> AdversarialLoss:
    smoothed = {"smoothing": options.smoothing} if options.smoothing else {}
    return GAMES[options.game](**smoothed)


def _penalty(options: GANConfig) -> Penalty | None:
    if options.penalty == "none":
        return None
    make, weight, _ = PENALTIES[options.penalty]
    penalty = make(weight if options.penalty_weight is None else options.penalty_weight)
    return penalty if options.penalty_every == 1 else penalties.lazy(penalty, options.penalty_every)


def _path_length(weight: float) -> GeneratorPenalty | None:
    return penalties.lazy(penalties.path_length(weight), 4) if weight else None


def _orthogonal(weight: float) -> Callable[[PyTree], Array]:
    return lambda params: weight * penalties.off_diagonal_orthogonal(params)


def _clip(bound: float | None) -> Callable[[PyTree], PyTree] | None:
    return None if bound is None else lambda params: penalties.clip_weights(params, bound)


def _condition(config: Any, num: int) -> dict[str, np.ndarray]:
    """Conditions other than the labels: images of an InfoGAN get the values of its first categorical code in turn."""
    codes = config.method.categorical_codes
    return {"code": np.arange(num, dtype=np.int32) % codes[0]} if codes else {}


def _contradictions(config: Any) -> list[tuple[bool, str]]:
    options, model = config.method, config.model
    by_batches = getattr(model, "discriminator_norm", "none") == "batch"
    alone = options.penalty in PENALTIES and PENALTIES[options.penalty].alone
    # A network may know only some ways for a label to enter.
    valid = getattr(model, "conditionings", tuple(CONDITIONINGS))
    network = type(model).__name__.removesuffix("Config").lower()
    return [
        (
            alone and by_batches,
            f"method.penalty={options.penalty!r} is of the slope at each image alone, and "
            "model.discriminator_norm='batch' mixes images; valid is 'none'",
        ),
        (
            bool(options.smoothing) and options.game not in ("minimax", "non_saturating"),
            f"method.smoothing={options.smoothing}: is for the games 'minimax' and 'non_saturating', not "
            f"{options.game!r}",
        ),
        (
            options.has_codes and options.conditioning == "auxiliary",
            "method.conditioning='auxiliary' and codes both need the discriminator's head; valid with codes are "
            "'none', 'concatenation', 'projection'",
        ),
        (
            options.conditioning not in valid,
            f"method.conditioning={options.conditioning!r}: valid with {network} is "
            + ", ".join(map(repr, valid)),
        ),
    ]


METHOD = MethodKind(
    GANConfig,
    "adversaries",
    _build,
    networks,
    contradictions=_contradictions,
    sampling=("temperature",),
    condition=_condition,
    small={"latent": 4, "conditioning": "projection"},
)
