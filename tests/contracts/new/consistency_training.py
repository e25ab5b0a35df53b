"""Consistency training, as somebody would add it: Song et al., "Consistency Models" (2023), algorithm 3, in short."""

import dataclasses

import jax
import jax.numpy as jnp

from genjax.conditions import select
from genjax.diffusion import add_noise, denoiser, guidance, initial_noise, prediction, sample
from genjax.methods import update
from genjax.methods.averages import averaged
from genjax.methods.diffusion import choices
from genjax.methods.diffusion.choices import ScheduleName
from genjax.methods.diffusion.diffusion import denoiser_of
from genjax.methods.kind import Context, MethodKind
from genjax.nn import initialize
from genjax.ranges import Count, Share
from genjax.typing import Method


def consistency_training(
    network, optimizer, schedule, sampler, times, *, image_shape, conditions, levels, average, gradient
) -> Method:
    """Estimates at neighbouring noise levels, of the same noise, are to agree."""
    names, predict = tuple(conditions), prediction.consistency_edm()

    def estimate(params, condition):
        return denoiser(
            lambda x, c_noise: network.apply({"params": params}, x, c_noise, condition), schedule, predict
        )

    def init(key, batch):
        blank = update.example_condition(batch, names)
        image = jnp.zeros((1, *image_shape))
        params = initialize(network, key, image, jnp.zeros(1), blank)["params"]
        return update.start(params, optimizer, average)

    def losses(params, target, key, batch):
        x_0, condition = batch["image"], select(batch, names)
        keys = jax.vmap(lambda i: jax.random.split(jax.random.fold_in(key, i)))(batch["_index"])
        noise = jax.vmap(lambda k: jax.random.normal(k, image_shape))(keys[:, 0])
        level = jax.vmap(lambda k: jax.random.randint(k, (), 1, levels))(keys[:, 1])
        later, earlier = (level + 1) / (levels + 1), level / (levels + 1)
        made = estimate(params, condition)(add_noise(schedule, x_0, noise, later), later)
        wanted = estimate(target, condition)(add_noise(schedule, x_0, noise, earlier), earlier)
        return jnp.square(made - jax.lax.stop_gradient(wanted)).mean((1, 2, 3))

    def step(key, state, batch):
        def loss(params, key, batch):
            return losses(params, params, key, batch).mean(), {}

        metrics, grads = gradient(loss, state.params, key, batch)
        return update.advance(state, optimizer, grads, average), metrics

    def evaluate(key, state, batch):
        params = averaged(state)
        return {"loss": losses(params, params, key, batch)}

    def make(keys, state, condition):
        denoise = guidance.clip(estimate(averaged(state), select(condition, names)))
        x_T = initial_noise(keys, image_shape, schedule, times[0])
        return sample(keys, x_T, times, denoise, sampler, schedule)

    return Method(init, step, evaluate, make)


@dataclasses.dataclass(frozen=True)
class ConsistencyTrainingConfig:
    """The training method: consistency training.

    Attributes:
        schedule: Noise schedule.
        timesteps: Number of diffusion steps, of a schedule that has steps.
        levels: Number of noise levels whose neighbours are to agree.
        class_conditional: Condition on labels where the data set has them.
        ema_decay: Decay of the moving average of the parameters, with which images are made.
    """

    schedule: ScheduleName = "cosine"
    timesteps: Count = 1000
    levels: Count = 32
    class_conditional: bool = True
    ema_decay: Share = 0.999


def _build(context: Context) -> Method:
    options = context.config.method
    return consistency_training(
        denoiser_of(context),
        context.optimizer(),
        choices.schedule(options),
        choices.sampler(context.config.sampling),
        choices.sampling_times(context.config),
        image_shape=context.image_shape,
        conditions=tuple(context.conditions),
        levels=options.levels,
        average=context.average,
        gradient=context.gradient,
    )


METHOD = MethodKind(
    ConsistencyTrainingConfig,
    "denoiser",
    _build,
    denoiser_of,
    sampling=("sampler", "grid", "num_steps"),
    samplers="consistency",
)
