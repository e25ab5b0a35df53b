"""Optimizers by name, with learning-rate schedules, decay and clipping."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Literal

import optax

from genjax.ranges import Count, FirstStepsOrNone, NonNegative, Positive, Share


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """The optimizer.

    Attributes:
        name: The optimizer. Each one needs its own learning rate.
        learning_rate: Peak learning rate.
        b1: For Adam: decay of the average of gradients.
        b2: For Adam: decay of the average of squared gradients.
        momentum: For sgd and rmsprop: share of the last direction that is added to the next one.
        rms_decay: For rmsprop: decay of the average of squared gradients. The original lecture and Keras use 0.9.
        warmup_steps: Number of updates over which the learning rate grows linearly from 0.
        decay: The learning rate after the warm-up. "constant": the peak rate. "cosine": a cosine from the peak rate
            to 0 at the last step. "linear": the peak rate for half of the steps, then a straight line to 0. "ramp": a
            straight line to 0 over all steps.
        weight_decay: Decoupled weight decay, as in AdamW: it does not enter the averages of the gradients.
        clip_norm: Gradients with a larger global norm are scaled down to this norm. "None" turns clipping off.
        skip_norm: Updates whose gradient has a larger global norm are skipped. "None" skips no update.
        accumulate: Number of micro-batches per update. The result equals one update with the whole batch and needs less
            memory.
    """

    name: Literal["adam", "sgd", "rmsprop", "adagrad"] = "adam"
    learning_rate: Positive = 1e-3
    b1: Share = 0.9
    b2: Share = 0.999
    momentum: Share = 0.0
    rms_decay: Share = 0.9
    warmup_steps: FirstStepsOrNone = 100
    decay: Literal["constant", "cosine", "linear", "ramp"] = "cosine"
    weight_decay: NonNegative = 0.0
    clip_norm: Positive | None = 1.0
    skip_norm: Positive | None = None
    accumulate: Count = 1


def _rmsprop(config: OptimizerConfig) -> optax.GradientTransformation:
    # Added under the root, as by default, epsilon would be as large as gradients of 1e-4 are, which GANs have.
    scale = optax.scale_by_rms(config.rms_decay, eps=1e-8, eps_in_sqrt=False)
    return optax.chain(scale, _momentum(config))


def _momentum(config: OptimizerConfig) -> optax.GradientTransformation:
    return optax.trace(config.momentum) if config.momentum else optax.identity()


DIRECTIONS: dict[str, Callable[[OptimizerConfig], optax.GradientTransformation]] = {
    "adam": lambda config: optax.scale_by_adam(config.b1, config.b2),
    "sgd": _momentum,
    "rmsprop": _rmsprop,
    # Squares are summed up from 0.1 on, as in Keras: from 0 on the first update would be the gradient's sign.
    "adagrad": lambda config: optax.scale_by_rss(initial_accumulator_value=0.1),
}
"""By name: what makes a direction of the gradients, against which the parameters go by the learning rate."""


def optimizer(config: OptimizerConfig, steps: int) -> optax.GradientTransformation:
    """The configured optimizer with its learning-rate schedule, decay, clipping and skipping.

    Weight decay is added to the direction, and so is in no average of gradients or squares, whatever the optimizer.
    Momentum comes before the learning rate, as in torch: a change of the rate acts at once on all of the direction.
    An update that is left out leaves the optimizer's averages and the rate's schedule where they are.

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax.methods.optimizers import OptimizerConfig, optimizer
        >>> descent = optimizer(OptimizerConfig("sgd", learning_rate=0.1, warmup_steps=0, clip_norm=1.0), steps=100)
        >>> change, state = descent.update(jnp.array(50.0), descent.init(jnp.array(0.0)), jnp.array(0.0))
        >>> print(f"{change:.3f}")  # a gradient of 50 is clipped to 1
        -0.100

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
