"""Denoising diffusion (Ho et al. 2020), class-conditional with classifier-free guidance (Ho & Salimans 2022)."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from genjax.diffusion import guidance, learned_variance, prediction, sampling, weighting
from genjax.diffusion import uncertainty as uncertainties
from genjax.diffusion.distance import Distance, squared
from genjax.diffusion.process import add_noise, expand
from genjax.diffusion.samplers import Sampler
from genjax.diffusion.schedules import Schedule
from genjax.diffusion.times import Adaptive, DrawTimes, fixed, strata, uniform
from genjax.methods import update
from genjax.nn import initialize
from genjax.typing import Array, Batch, Key, Method, PyTree, TrainState, UserError

_UNIFORM = uniform()
_LOSSES = "_losses"


def diffusion(
    network: nn.Module,
    optimizer: optax.GradientTransformation,
    schedule: Schedule,
    sampler: Sampler | Callable[[Callable[[Array, Array], Array]], Sampler],
    times: Array,
    *,
    image_shape: tuple[int, int, int],
    num_classes: int | None = None,
    predict: prediction.Prediction = prediction.eps,
    draw_times: DrawTimes | Adaptive = _UNIFORM,
    weight: weighting.Weighting = weighting.simple,
    distance: Distance = squared,
    uncertainty: uncertainties.Uncertainty | None = None,
    learn_variance: bool = False,
    variance_steps: int = 1000,
    ema_decay: float = 0.999,
    condition_dropout: float = 0.1,
    clip: bool = True,
    accumulate: int = 1,
) -> Method:
    """A diffusion model as a method.

    The loss is ``w(t) * distance(F(c_in x_t, c_noise), target)``, averaged over the batch (DDPM equation 14 with the
    defaults).

    Args:
        network: called as ``network.apply(variables, x, c_noise, label, dropout_index=...)`` -> float32[B,H,W,C], as
            `genjax.models.UNet`.
        optimizer: of the network's parameters, clipping and learning-rate schedule included.
        schedule: alpha(t) and sigma(t).
        sampler: how `sample` steps. With `learn_variance`, a constructor that takes the learned variance
            (`genjax.diffusion.samplers.ddpm`); a sampler that is ready made does not use it.
        times: float32[K+1], where it steps: decreasing, from 1 to 0.
        image_shape: H, W, C of the images.
        num_classes: number of classes, None for an unconditional model; label `num_classes` is the null label.
        predict: what the network predicts.
        draw_times: the times to train at, see `genjax.diffusion.times`. The state of one that learns from the losses
            is ``TrainState.mutable``; evaluation uses its initial state.
        weight: of a time, see `genjax.diffusion.weighting`.
        distance: of the network's output from its target, see `genjax.diffusion.distance`.
        uncertainty: learns how large the weighted loss is at each noise level, and divides by it, see
            `genjax.diffusion.uncertainty`. The parameters are then ``{"network": ..., "uncertainty": ...}``.
        learn_variance: the network has twice the channels of the images, and learns the variance of the steps too; see
            `genjax.diffusion.learned_variance`. Guidance leaves it that of the conditional network.
        variance_steps: T of the bound from which the variance is learned.
        ema_decay: of the moving average of the parameters, with which images are made and losses evaluated.
        condition_dropout: probability of replacing a label by the null label in training, in [0, 1].
        clip: clip each estimate of x_0 to [-1, 1] while sampling.
        accumulate: number of micro-batches a step is computed in.

    Returns:
        The method. `sample` takes ``condition = {"label": int32[N], "guidance": float32[N]}``, both optional: without
        a label the null label is used, and without a guidance scale (the `scale` of
        `genjax.diffusion.guidance.classifier_free`) the network is evaluated once a step instead of twice.

    Raises:
        UserError: if `sampler` is a constructor without `learn_variance`; from the first step, if the network has
            another number of output channels.
    """
    if callable(sampler) and not learn_variance:
        raise UserError(
            "sampler is a function, not a Sampler: only with learn_variance = True does it get a variance"
        )
    time_sampler = draw_times if isinstance(draw_times, Adaptive) else fixed(draw_times)
    learns_times = isinstance(draw_times, Adaptive)
    channels = image_shape[-1]

    def init(key: Key, batch: Batch) -> TrainState:
        image = jnp.zeros((1, *batch["image"].shape[1:]))
        label = None if num_classes is None else jnp.zeros((1,), jnp.int32)
        params = initialize(network, key, image, jnp.zeros((1,)), label)["params"]
        if uncertainty is not None:
            params = {"network": params, "uncertainty": uncertainty.init(jax.random.fold_in(key, 1))}
        return update.start(params, optimizer, mutable=time_sampler.init())

    def of_network(params: PyTree) -> PyTree:
        return params if uncertainty is None else params["network"]

    def example_keys(key: Key, index: Array) -> Array:
        """One for each example's time, noise, and whether its label is hidden."""
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

        label = None
        if num_classes is not None:
            label = batch["label"]
            if train:
                dropped = jax.vmap(lambda k: jax.random.bernoulli(k, condition_dropout))(keys[:, 2])
                label = jnp.where(dropped, num_classes, label)

        coefficients = predict(schedule, t)
        x_t = add_noise(schedule, x_0, noise, t)
        output: Any = network.apply(
            {"params": of_network(params)},
            expand(coefficients.c_in, x_t) * x_t,
            coefficients.c_noise,
            label,
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
                # Each part of the batch fills in its own; `gradients` takes the mean over the parts.
                own = jnp.zeros(batch_size).at[batch["_index"]].set(loss)
                metrics[_LOSSES] = own * (batch_size / loss.size)
            return (importance * loss).mean(), metrics

        metrics, grads = update.gradients(mean_loss, state.params, key, batch, accumulate=accumulate)
        mutable = state.mutable
        if learns_times:
            t, _ = drawn_times(mutable, key, jnp.arange(batch_size), batch_size)
            mutable = time_sampler.update(mutable, t, metrics.pop(_LOSSES))
        new = update.advance(state, optimizer, grads, ema_decay)
        return dataclasses.replace(new, mutable=mutable), metrics

    def evaluate(key: Key, state: TrainState, batch: Batch) -> dict[str, Array]:
        index = batch["_index"]
        t, importance = drawn_times(time_sampler.init(), key, index, index.size)
        return {"loss": importance * losses(state.ema, key, batch, t, train=False)}

    def sample(keys: Key, state: TrainState, condition: Mapping[str, Array]) -> Array:
        def output(x: Array, c_noise: Array, label: Array | None) -> tuple[Array, Array | None]:
            result: Any = network.apply({"params": of_network(state.ema)}, x, c_noise, label)
            return halves(result)

        def denoise_given(label: Array | None) -> prediction.Denoiser:
            return prediction.denoiser(lambda x, c_noise: output(x, c_noise, label)[0], schedule, predict)

        def variance(x: Array, t: Array) -> Any:
            coefficients = predict(schedule, jnp.broadcast_to(t, x.shape[:1]))
            label = condition.get("label")
            return output(expand(coefficients.c_in, x) * x, coefficients.c_noise, label)[1]

        denoise = denoise_given(condition.get("label"))
        if "guidance" in condition:
            denoise = guidance.classifier_free(denoise, denoise_given(None), condition["guidance"])
        if clip:
            denoise = guidance.clip(denoise)
        stepper = sampler if isinstance(sampler, Sampler) else sampler(variance)
        x_T = sampling.initial_noise(keys, image_shape, schedule, times[0])
        return sampling.sample(keys, x_T, times, denoise, stepper, schedule)

    return Method(init, step, evaluate, sample)
