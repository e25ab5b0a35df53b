"""Generative adversarial networks: what can be configured, and how it is built."""

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import optax

from genjax.app.families.adversaries import GAMES, Game, discriminator_optimizer
from genjax.app.families.family import Family, num_classes, optimizer
from genjax.app.families.gan_networks import MODELS, RANGES, BigGANConfig, DCGANConfig, networks
from genjax.augmentation import Augmentation, adaptive, diff_augment, pipeline
from genjax.data import DataInfo
from genjax.losses import attacks, penalties
from genjax.losses.penalties import Penalty
from genjax.methods import gan
from genjax.methods.gan import latent_prior
from genjax.methods.gan.auxiliary import Question, auxiliary_classifier, mutual_information
from genjax.methods.gan.latent_prior import LatentPrior
from genjax.models.gan.heads import ClassHead, CodeHead
from genjax.typing import Array, Key, Method, PyTree, UserError

if TYPE_CHECKING:
    from genjax.app.config import Config

PenaltyName = Literal[
    "none",
    "gradient_penalty",
    "dragan",
    "r1",
    "r1_r2",
    "lecam",
    "consistency",
    "balanced_consistency",
]


@dataclasses.dataclass(frozen=True)
class GANConfig:
    """The training method: a generative adversarial network (genjax.methods.gan.gan).

    Attributes:
        game: What generator and discriminator play for.
        smoothing: The label of real images is one minus this, in the games minimax and non_saturating.
        penalty: What is added to the discriminator's loss.
        penalty_weight: Its weight; None: that of its paper.
        penalty_every: It is computed in one step of so many, and so many times as large there.
        clip_weights: The discriminator's weights are clipped to this range; None: not.
        orthogonal: Weight of the orthogonality of the generator's kernels; 0: none.
        path_length: Weight of the path length regularisation, in every 4th step; 0: none.
        augmentation: What happens to all images that the discriminator sees.
        augmentation_images: The adaptive probability needs so many images from 0 to 1.
        attack: Real images are changed to those that the discriminator errs most about.
        attack_epsilon: By so much at most, of images in [-1, 1].
        conditioning: How the label enters: joined to z and images, as the answer of an auxiliary classifier, or by a
            projection.
        auxiliary_weight: Of the auxiliary classifier's losses.
        categorical_codes: Numbers of values of categorical codes that the images are to tell (InfoGAN).
        continuous_codes: Number of continuous codes.
        information: Weight of the mutual information of images and categorical codes; of continuous ones a tenth of it.
        latent: Number of latent variables, codes not counted.
        noise: Distribution of the latent variables.
        discriminator_steps: Updates of the discriminator for one of the generator.
        discriminator_rate: Its learning rate, as a multiple of the generator's.
        top_k: The share of fakes that the generator learns from falls from 1 to this.
        ema_decay: Decay of the generator's moving average, with which images are made.
    """

    game: Game = "non_saturating"
    smoothing: float = 0.0
    penalty: PenaltyName = "none"
    penalty_weight: float | None = None
    penalty_every: int = 1
    clip_weights: float | None = None
    orthogonal: float = 0.0
    path_length: float = 0.0
    augmentation: Literal["none", "diff", "adaptive"] = "none"
    augmentation_images: int = 500_000
    attack: Literal["none", "fgsm", "pgd"] = "none"
    attack_epsilon: float = 0.02
    conditioning: Literal["none", "concatenation", "auxiliary", "projection"] = "none"
    auxiliary_weight: float = 1.0
    categorical_codes: tuple[int, ...] = ()
    continuous_codes: int = 0
    information: float = 1.0
    latent: int = 64
    noise: Literal["normal", "uniform"] = "normal"
    discriminator_steps: int = 1
    discriminator_rate: float = 1.0
    top_k: float = 1.0
    ema_decay: float = 0.999

    @property
    def class_conditional(self) -> bool:
        """Whether images of a class can be asked for."""
        return self.conditioning != "none"

    @property
    def has_codes(self) -> bool:
        """Whether it is an InfoGAN."""
        return bool(self.categorical_codes or self.continuous_codes)


def _shifted(keys: Key, images: Array) -> Array:
    """The change that consistency is asked for under."""
    shift = diff_augment(("translation",))
    return shift.apply(keys, images, shift.init())


PENALTIES: dict[str, tuple[Callable[[float], Penalty], float]] = {
    "gradient_penalty": (penalties.gradient_penalty, 10.0),
    "dragan": (penalties.dragan, 10.0),
    "r1": (penalties.r1, 10.0),
    "r1_r2": (lambda weight: penalties.combine(penalties.r1(weight), penalties.r2(weight)), 10.0),
    "lecam": (penalties.lecam, 0.3),
    "consistency": (lambda weight: penalties.consistency(_shifted, weight), 10.0),
    "balanced_consistency": (lambda weight: penalties.balanced_consistency(_shifted, weight, weight), 10.0),
}
"""By name: from the weight to the penalty, and the weight of the paper."""

SLOPES = ("gradient_penalty", "dragan", "r1", "r1_r2")
"""Those for which the discriminator must judge each image alone."""

ATTACKS: dict[str, Callable[[float], Callable[..., Array] | None]] = {
    "none": lambda epsilon: None,
    "fgsm": attacks.fgsm,
    "pgd": lambda epsilon: attacks.pgd(epsilon, epsilon / 2, 3),
}

AUGMENTATIONS: dict[str, Callable[[GANConfig], Augmentation | None]] = {
    "none": lambda options: None,
    "diff": lambda options: diff_augment(),
    "adaptive": lambda options: adaptive(pipeline(), speed_images=options.augmentation_images),
}


def method(config: "Config", info: DataInfo, scoring: bool = False) -> Method:
    """The training method, with its networks and optimizers."""
    options, steps = config.method, config.fit.steps
    classes = num_classes(config, info)
    if options.class_conditional and classes is None:
        raise UserError(
            f"method.conditioning={options.conditioning!r}: data set {info.name!r} has no labels; valid is 'none'"
        )
    generator, discriminator = networks(config, info, classes)
    prior = latent(options)
    return gan(
        generator,
        discriminator,
        optimizer(config.optimizer, steps),
        discriminator_optimizer(config.optimizer, steps, options.discriminator_rate),
        image_shape=info.image_shape,
        latent=prior,
        num_classes=classes,
        game=_game(options),
        penalty=_penalty(options),
        generator_penalty=penalties.lazy(penalties.path_length(options.path_length), 4)
        if options.path_length
        else None,
        weight_penalties={"generator": _orthogonal(options.orthogonal)} if options.orthogonal else None,
        question=question(options, prior, classes),
        augmentation=AUGMENTATIONS[options.augmentation](options),
        attack=ATTACKS[options.attack](options.attack_epsilon),
        top_k=optax.linear_schedule(1.0, options.top_k, steps) if options.top_k < 1 else None,
        constrain=_clip(options.clip_weights),
        discriminator_steps=options.discriminator_steps,
        ema_decay=options.ema_decay,
        accumulate=config.optimizer.accumulate,
    )


def latent(options: GANConfig) -> LatentPrior:
    """What the generator starts from."""
    noise = {"normal": latent_prior.normal, "uniform": latent_prior.uniform}[options.noise](options.latent)
    if not options.has_codes:
        return noise
    return latent_prior.with_codes(noise, options.categorical_codes, options.continuous_codes)


def question(options: GANConfig, prior: LatentPrior, classes: int | None) -> Question | None:
    """What else the discriminator's features are asked."""
    if options.has_codes:
        head = CodeHead(options.categorical_codes, options.continuous_codes)
        return mutual_information(head, prior, options.information, 0.1 * options.information)
    if options.conditioning == "auxiliary":
        assert classes is not None
        return auxiliary_classifier(ClassHead(classes), options.auxiliary_weight)
    return None


def _game(options: GANConfig) -> Any:
    smoothed = {"smoothing": options.smoothing} if options.smoothing else {}
    return GAMES[options.game](**smoothed)


def _penalty(options: GANConfig) -> Penalty | None:
    if options.penalty == "none":
        return None
    make, weight = PENALTIES[options.penalty]
    penalty = make(weight if options.penalty_weight is None else options.penalty_weight)
    return penalty if options.penalty_every == 1 else penalties.lazy(penalty, options.penalty_every)


def _orthogonal(weight: float) -> Callable[[PyTree], Array]:
    return lambda params: weight * penalties.off_diagonal_orthogonal(params)


def _clip(bound: float | None) -> Callable[[PyTree], PyTree] | None:
    return None if bound is None else lambda params: penalties.clip_weights(params, bound)


def condition(config: "Config", num: int) -> dict[str, np.ndarray]:
    """Beside the labels; images of an InfoGAN have the values of its first categorical code in turn."""
    temperature, codes = config.sampling.temperature, config.method.categorical_codes
    given = {} if temperature == 1.0 else {"temperature": np.full(num, temperature, np.float32)}
    return given | ({"code": np.arange(num, dtype=np.int32) % codes[0]} if codes else {})


def contradictions(config: "Config") -> list[tuple[bool, str]]:
    """Fields that do not go together: whether they do not, and what to say then."""
    options, model = config.method, config.model
    by_batches = isinstance(model, DCGANConfig) and model.discriminator_norm == "batch"
    return [
        (
            options.penalty in SLOPES and by_batches,
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
            isinstance(model, BigGANConfig) and options.conditioning != "projection",
            f"method.conditioning={options.conditioning!r}: valid with BigGANConfig is 'projection'",
        ),
    ]


GAN = Family(
    models=MODELS,
    method=method,
    ranges=RANGES
    | {
        "method.smoothing": "[0, 0.5)",
        "method.penalty_weight": "[0, inf)",
        "method.penalty_every": "[1, inf)",
        "method.clip_weights": "(0, inf)",
        "method.orthogonal": "[0, inf)",
        "method.path_length": "[0, inf)",
        "method.augmentation_images": "[1, inf)",
        "method.attack_epsilon": "(0, 2]",
        "method.auxiliary_weight": "[0, inf)",
        "method.categorical_codes": "[2, inf)",
        "method.continuous_codes": "[0, inf)",
        "method.information": "[0, inf)",
        "method.latent": "[1, inf)",
        "method.discriminator_steps": "[1, inf)",
        "method.discriminator_rate": "(0, inf)",
        "method.top_k": "(0, 1]",
    },
    contradictions=contradictions,
    sampling=("temperature",),
    condition=condition,
)
