"""What the verbs know of a family of models, and what its members share."""

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import optax

from genjax.data import DataInfo
from genjax.methods.latent_space import LatentSpace
from genjax.typing import Method

if TYPE_CHECKING:
    from genjax.app.config import Config, OptimizerConfig


class Family(NamedTuple):
    """How the configs of a method and of its networks become a method.

    Attributes:
        models: the networks that the method takes, by their config classes.
        method: ``(config, info, scoring) -> Method``. While scoring, `Method.evaluate` may take its time.
        ranges: valid values of the numbers in ``config.model`` and ``config.method``, by dotted name.
        contradictions: ``config -> [(wrong, message)]``, of fields that do not go together.
        check_images: ``(config, image_shape) -> None``; raises UserError where network and images do not.
        sampling: the fields of ``config.sampling``, beside the batch size, that mean something to it.
        condition: ``(config, num) -> {name: array[num]}``, what `Method.sample` is told beside the labels.
        translates: of models from images to images the arrays of a batch that `Method.sample` can be given.
        latent_space: ``(config, info) -> LatentSpace``, of models with an encoder; None for a family without.
    """

    models: tuple[type, ...]
    method: Callable[["Config", DataInfo, bool], Method]
    ranges: dict[str, str]
    contradictions: Callable[["Config"], list[tuple[bool, str]]]
    sampling: tuple[str, ...]
    check_images: Callable[["Config", tuple[int, int, int]], None] = lambda config, image_shape: None
    condition: Callable[["Config", int], dict[str, np.ndarray]] = lambda config, num: {}
    translates: tuple[str, ...] = ()
    latent_space: Callable[["Config", DataInfo], LatentSpace] | None = None


def num_classes(config: "Config", info: DataInfo) -> int | None:
    """Classes the model is conditioned on; None for an unconditional one."""
    return info.num_classes if config.method.class_conditional else None


def _rmsprop(config: "OptimizerConfig") -> optax.GradientTransformation:
    # Added under the root, as by default, epsilon would be as large as gradients of 1e-4 are, which GANs have.
    scale = optax.scale_by_rms(config.rms_decay, eps=1e-8, eps_in_sqrt=False)
    return optax.chain(scale, _momentum(config))


def _momentum(config: "OptimizerConfig") -> optax.GradientTransformation:
    return optax.trace(config.momentum) if config.momentum else optax.identity()


DIRECTIONS: dict[str, Callable[["OptimizerConfig"], optax.GradientTransformation]] = {
    "adam": lambda config: optax.scale_by_adam(config.b1, config.b2),
    "sgd": _momentum,
    "rmsprop": _rmsprop,
    # Squares are summed up from 0.1 on, as in Keras: from 0 on the first update would be the gradient's sign.
    "adagrad": lambda config: optax.scale_by_rss(initial_accumulator_value=0.1),
}
"""By name: what makes a direction of the gradients, against which the parameters go by the learning rate."""


def optimizer(config: "OptimizerConfig", steps: int) -> optax.GradientTransformation:
    """The configured optimizer with its learning-rate schedule, decay, clipping and skipping.

    Weight decay is added to the direction, and so is in no average of gradients or squares, whatever the optimizer.
    Momentum comes before the learning rate, as in torch: a change of the rate acts at once on all of the direction.
    An update that is left out leaves the optimizer's averages and the rate's schedule where they are.

    References:
        Kingma and Ba, "Adam" (2015), algorithm 1; Tieleman and Hinton, "Lecture 6.5 - RMSProp" (2012); Duchi et al.,
        "Adaptive Subgradient Methods" (2011), figure 1, diagonal; Loshchilov and Hutter, "Decoupled Weight Decay
        Regularization" (2019), algorithms 1 and 2.
    """
    half = (steps - config.warmup_steps) // 2
    warmup = optax.linear_schedule(0.0, config.learning_rate, config.warmup_steps)
    after = {
        "constant": optax.constant_schedule(config.learning_rate),
        "linear": optax.linear_schedule(
            config.learning_rate, 0.0, steps - config.warmup_steps - half, transition_begin=half
        ),
        "ramp": optax.linear_schedule(config.learning_rate, 0.0, steps - config.warmup_steps),
        "cosine": optax.cosine_decay_schedule(config.learning_rate, steps - config.warmup_steps),
    }[config.decay]
    rate = optax.join_schedules([warmup, after], [config.warmup_steps])
    clipping = [] if config.clip_norm is None else [optax.clip_by_global_norm(config.clip_norm)]
    descent = optax.chain(
        *clipping,
        # A chain of its own, as optax.adamw is: checkpoints have its state in this place.
        optax.chain(
            DIRECTIONS[config.name](config),
            optax.add_decayed_weights(config.weight_decay),
            optax.scale_by_learning_rate(rate),
        ),
    )
    if config.skip_norm is None:
        return descent
    large = functools.partial(optax.skip_large_updates, max_squared_norm=config.skip_norm**2)
    return optax.MultiSteps(descent, 1, should_skip_update_fn=large).gradient_transformation()
