"""Denoising diffusion, with any conditions and classifier-free guidance."""

import dataclasses
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from genjax.conditions import drop, select, without
from genjax.diffusion import (
    PREDICTIONS,
    guidance,
    learned_variance,
    prediction,
    sampling,
    weighting,
)
from genjax.diffusion import uncertainty as uncertainties
from genjax.diffusion.distance import Distance, squared
from genjax.diffusion.process import add_noise, expand
from genjax.diffusion.samplers import Sampler
from genjax.diffusion.schedules import Schedule
from genjax.diffusion.times import Adaptive, DrawTimes, fixed, strata, uniform
from genjax.diffusion.weighting import WEIGHTINGS
from genjax.methods import update
from genjax.methods.averages import Average, averaged, exponential
from genjax.methods.diffusion import choices
from genjax.methods.diffusion.choices import PredictionName, ScheduleName, TimesName, WeightingName
from genjax.methods.gradients import Gradient, mean_gradient
from genjax.methods.kind import Context, MethodKind
from genjax.nn import initialize
from genjax.ranges import Count, Probability, Range, Share
from genjax.typing import Array, Batch, Condition, Key, Method, PyTree, TrainState, UserError

_UNIFORM = uniform()
_AVERAGE, _GRADIENT = exponential(), mean_gradient()
_LOSSES = "_losses"


def diffusion(
    network: nn.Module,
    optimizer: optax.GradientTransformation,
    schedule: Schedule,
    sampler: Sampler | Callable[[Callable[[Array, Array], Array]], Sampler],
    times: Array,
    *,
    image_shape: tuple[int, int, int],
    conditions: Sequence[str] = (),
    predict: prediction.Prediction = prediction.eps,
    draw_times: DrawTimes | Adaptive = _UNIFORM,
    weight: weighting.Weighting = weighting.simple,
    distance: Distance = squared,
    uncertainty: uncertainties.Uncertainty | None = None,
    learn_variance: bool = False,
    variance_steps: int = 1000,
    average: Average = _AVERAGE,
    gradient: Gradient = _GRADIENT,
    condition_dropout: float = 0.1,
    drop_each: Mapping[str, float] = types.MappingProxyType({}),
    guidance_without: Sequence[str] | None = None,
    clip: bool = True,
) -> Method:
    """A diffusion model as a method.

    The loss is ``w(t) * distance(F(c_in x_t, c_noise), target)``, averaged over the batch: with the defaults
    equation 14 of DDPM.

    Args:
        network: called as ``network.apply(variables, x, c_noise, condition, dropout_index=...)``, and gives
            float32[B,H,W,C], as `genjax.models.UNet`.
        optimizer: optimizer of the network's parameters, clipping and learning-rate schedule included.
        schedule: alpha(t) and sigma(t).
        sampler: how `sample` steps. With `learn_variance`, a constructor that takes the learned variance
            (`genjax.diffusion.samplers.ddpm`); a sampler that is ready made does not use it.
        times: float32[K+1], where it steps: decreasing, from 1 to 0.
        image_shape: H, W, C of the images.
        conditions: names of the arrays of a batch that the network is told, see `genjax.conditions`; a batch need not
            have all of them.
        predict: what the network predicts.
        draw_times: the times to train at, see `genjax.diffusion.times`. The state of one that learns from the losses
            is ``TrainState.mutable``; evaluation uses its initial state.
        weight: weight of a time, see `genjax.diffusion.weighting`.
        distance: distance of the network's output from its target, see `genjax.diffusion.distance`.
        uncertainty: learns how large the weighted loss is at each noise level, and divides by it, see
            `genjax.diffusion.uncertainty`. The parameters are then ``{"network": ..., "uncertainty": ...}``.
        learn_variance: the network has twice the channels of the images, and learns the variance of the steps too; see
            `genjax.diffusion.learned_variance`. Guidance does not change it: the variance of the conditional network is
            used.
        variance_steps: T of the bound from which the variance is learned.
        average: moving average of the parameters, with which images are made and losses evaluated, see
            `genjax.methods.averages`.
        gradient: how gradients are computed, see `genjax.methods.gradients`.
        condition_dropout: probability of hiding all conditions of an example in training, in [0, 1].
        drop_each: by name, probability of hiding one condition of an example, whatever happens to the others.
        guidance_without: the conditions that the second evaluation of the network lacks; None: all.
        clip: clip each estimate of x_0 to [-1, 1] while sampling.

    Returns:
        The method. `sample` takes any of the `conditions`, and "guidance" float32[N]: without this scale (of
        `genjax.diffusion.guidance.classifier_free`) the network is evaluated once a step instead of twice.

    Raises:
        UserError: if `sampler` is a constructor without `learn_variance`, or `drop_each` or `guidance_without` name
            what is no condition; from the first step, if the network has another number of output channels.

    Example:
        >>> import jax, jax.numpy as jnp, optax
        >>> from genjax import methods, models
        >>> from genjax.diffusion import grids, samplers, schedules
        >>> method = methods.diffusion(
        ...     models.UNet(channels=8, multipliers=(1,), blocks=1), optax.adam(1e-3), schedules.cosine(),
        ...     samplers.ddim(), grids.linspace(10), image_shape=(8, 8, 1),
        ... )
        >>> batch = {"image": jnp.zeros((4, 8, 8, 1)), "_index": jnp.arange(4)}
        >>> state = jax.eval_shape(method.init, jax.random.key(0), batch)
        >>> jax.eval_shape(method.sample, jax.random.split(jax.random.key(0), 3), state, {}).shape
        (3, 8, 8, 1)

    References:
        Ho, Jain and Abbeel, "Denoising Diffusion Probabilistic Models" (2020), equation 14; Ho and Salimans,
        "Classifier-Free Diffusion Guidance" (2022), algorithms 1 and 2.
    """
    if callable(sampler) and not learn_variance:
        raise UserError(
            "sampler is a function, not a Sampler: only with learn_variance = True does it get a variance"
        )
    for argument, names in {"drop_each": drop_each, "guidance_without": guidance_without or ()}.items():
        unknown = sorted(set(names) - set(conditions))
        if unknown:
            raise UserError(f"{argument}={sorted(names)}: valid are {sorted(conditions)}")
    names = tuple(conditions)
    time_sampler = draw_times if isinstance(draw_times, Adaptive) else fixed(draw_times)
    learns_times = isinstance(draw_times, Adaptive)
    channels = image_shape[-1]

    def init(key: Key, batch: Batch) -> TrainState:
        image = jnp.zeros((1, *batch["image"].shape[1:]))
        blank = update.example_condition(batch, names)
        params = initialize(network, key, image, jnp.zeros((1,)), blank)["params"]
        if uncertainty is not None:
            params = {"network": params, "uncertainty": uncertainty.init(jax.random.fold_in(key, 1))}
        return update.start(params, optimizer, average, mutable=time_sampler.init())

    def of_network(params: PyTree) -> PyTree:
        return params if uncertainty is None else params["network"]

    def example_keys(key: Key, index: Array) -> Array:
        """One for each example's time, noise, and which of its conditions are hidden."""
        example_key = jax.random.split(key)[1]
        return jax.vmap(lambda i: jax.random.split(jax.random.fold_in(example_key, i), 3))(index)

    def drawn_times(state: PyTree, key: Key, index: Array, batch_size: int) -> tuple[Array, Array]:
        """float32[B] each: the times of examples, and their importance."""
        spread = strata(jax.random.fold_in(key, 2), index, batch_size)
        return time_sampler.draw(state, schedule, example_keys(key, index)[:, 0], spread)

    def halves(output: Array) -> tuple[Array, Array | None]:
        """What the network predicts, and the variance where it is learned."""
        if learn_variance:
            return learned_variance.split(output, channels)
        if output.shape[-1] != channels:
            raise UserError(f"the network has {output.shape[-1]} output channels, the images have {channels}")
        return output, None

    def losses(params: PyTree, key: Key, batch: Batch, t: Array, train: bool) -> Array:
        """float32[B]: the weighted loss of each example at its time."""
        x_0, index = batch["image"], batch["_index"]
        keys = example_keys(key, index)
        noise = jax.vmap(lambda k: jax.random.normal(k, x_0.shape[1:]))(keys[:, 1])

        condition = select(batch, names)
        if train:
            condition = drop(condition, keys[:, 2], condition_dropout, drop_each)

        coefficients = predict(schedule, t)
        x_t = add_noise(schedule, x_0, noise, t)
        output: Any = network.apply(
            {"params": of_network(params)},
            expand(coefficients.c_in, x_t) * x_t,
            coefficients.c_noise,
            condition,
            dropout_index=index if train else None,
            rngs={"dropout": jax.random.split(key)[0]} if train else None,
        )
        output, variance = halves(output)
        target = prediction.target(coefficients, schedule, x_0, noise, t)
        loss = weight(schedule, t, coefficients) * distance(output, target)
        if uncertainty is not None:
            u = uncertainty.apply(params["uncertainty"], coefficients.c_noise)
            loss = uncertainties.attenuate(loss, u)
        if variance is not None:
            estimate = expand(coefficients.c_skip, x_t) * x_t + expand(coefficients.c_out, x_t) * output
            bound = learned_variance.bound(schedule, x_0, estimate, t, variance, variance_steps)
            loss = loss + learned_variance.HYBRID_WEIGHT * bound
        return loss

    def step(key: Key, state: TrainState, batch: Batch) -> tuple[TrainState, dict[str, Array]]:
        batch_size = update.global_batch_size(batch)

        def mean_loss(params: PyTree, key: Key, batch: Batch) -> tuple[Array, dict[str, Array]]:
            t, importance = drawn_times(state.mutable, key, batch["_index"], batch_size)
            loss = losses(params, key, batch, t, train=True)
            metrics = {}
            if learns_times:
                # Each part of the batch fills in its own; the gradient takes the mean over the parts.
                own = jnp.zeros(batch_size).at[batch["_index"]].set(loss)
                metrics[_LOSSES] = own * (batch_size / loss.size)
            return (importance * loss).mean(), metrics

        metrics, grads = gradient(mean_loss, state.params, key, batch)
        mutable = state.mutable
        if learns_times:
            t, _ = drawn_times(mutable, key, jnp.arange(batch_size), batch_size)
            mutable = time_sampler.update(mutable, t, metrics.pop(_LOSSES))
        new = update.advance(state, optimizer, grads, average)
        return dataclasses.replace(new, mutable=mutable), metrics

    def evaluate(key: Key, state: TrainState, batch: Batch) -> dict[str, Array]:
        index = batch["_index"]
        t, importance = drawn_times(time_sampler.init(), key, index, index.size)
        return {"loss": importance * losses(averaged(state), key, batch, t, train=False)}

    def sample(keys: Key, state: TrainState, condition: Mapping[str, Array]) -> Array:
        given = select(condition, names)
        params = of_network(averaged(state))

        def output(x: Array, c_noise: Array, told: Condition) -> tuple[Array, Array | None]:
            result: Any = network.apply({"params": params}, x, c_noise, told)
            return halves(result)

        def denoise_given(told: Condition) -> prediction.Denoiser:
            return prediction.denoiser(lambda x, c_noise: output(x, c_noise, told)[0], schedule, predict)

        def variance(x: Array, t: Array) -> Any:
            coefficients = predict(schedule, jnp.broadcast_to(t, x.shape[:1]))
            return output(expand(coefficients.c_in, x) * x, coefficients.c_noise, given)[1]

        denoise = denoise_given(given)
        if "guidance" in condition:
            lacking = denoise_given(without(given, guidance_without))
            denoise = guidance.classifier_free(denoise, lacking, condition["guidance"])
        if clip:
            denoise = guidance.clip(denoise)
        stepper = sampler if isinstance(sampler, Sampler) else sampler(variance)
        x_T = sampling.initial_noise(keys, image_shape, schedule, times[0])
        return sampling.sample(keys, x_T, times, denoise, stepper, schedule)

    return Method(init, step, evaluate, sample)


@dataclasses.dataclass(frozen=True)
class DiffusionConfig:
    """The training method: denoising diffusion (genjax.methods.diffusion.diffusion).

    Attributes:
        schedule: Noise schedule.
        timesteps: Number of diffusion steps T, for schedules with discrete steps.
        prediction: What the network predicts.
        weighting: Weight of each time in the loss.
        times: How training times are drawn. Without it: "discrete" for schedules with discrete steps, "uniform" for the
            others.
        class_conditional: Condition on labels if the data set has them, and on every other condition that the network
            knows.
        condition_dropout: Probability that training hides all conditions of an example. Classifier-free guidance needs
            it above 0.
        drop_each: Name of a condition and probability that training hides this condition of an example, such
            as "label 0.05".
        ema_decay: Decay of the moving average of the parameters. Images are made with this average.
    """

    schedule: ScheduleName = "cosine"
    timesteps: Count = 1000
    prediction: PredictionName = "eps"
    weighting: WeightingName = "simple"
    times: TimesName | None = None
    class_conditional: bool = True
    condition_dropout: Probability = 0.1
    drop_each: Annotated[dict[str, float], Range("[0, 1]")] = dataclasses.field(default_factory=dict)
    ema_decay: Share = 0.999


def denoiser_of(context: Context) -> nn.Module:
    """The network of a context."""
    network: nn.Module = context.network(
        "denoiser", image_shape=context.image_shape, conditions=context.conditions
    )
    return network


def _build(context: Context) -> Method:
    config, options = context.config, context.config.method
    return diffusion(
        denoiser_of(context),
        context.optimizer(),
        choices.schedule(options),
        choices.sampler(config.sampling),
        choices.sampling_times(config),
        image_shape=context.image_shape,
        conditions=tuple(context.conditions),
        predict=PREDICTIONS[options.prediction],
        draw_times=choices.training_times(options),
        weight=WEIGHTINGS[options.weighting],
        average=context.average,
        gradient=context.gradient,
        condition_dropout=options.condition_dropout,
        drop_each=options.drop_each,
        guidance_without=config.sampling.guidance_without,
    )


METHOD = MethodKind(
    DiffusionConfig,
    "denoiser",
    _build,
    denoiser_of,
    contradictions=choices.contradictions,
    sampling=("sampler", "grid", "num_steps", "eta", "guidance", "guidance_without"),
    samplers="denoiser",
    small={"timesteps": 20},
)
