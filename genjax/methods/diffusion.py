"""Denoising diffusion (Ho et al. 2020), class-conditional with classifier-free guidance (Ho & Salimans 2022)."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from genjax.diffusion import guidance, prediction, sampling, weighting
from genjax.diffusion.process import add_noise, expand
from genjax.diffusion.samplers import Sampler
from genjax.diffusion.schedules import Schedule
from genjax.methods import update
from genjax.nn import initialize
from genjax.typing import Array, Batch, Key, Method, PyTree, TrainState


def diffusion(
    network: nn.Module,
    optimizer: optax.GradientTransformation,
    schedule: Schedule,
    sampler: Sampler,
    times: Array,
    *,
    image_shape: tuple[int, int, int],
    num_classes: int | None = None,
    predict: prediction.Prediction = prediction.eps,
    draw_times: Callable[[Key], Array] = weighting.continuous_times,
    weight: weighting.Weighting = weighting.simple,
    ema_decay: float = 0.999,
    condition_dropout: float = 0.1,
    clip: bool = True,
    accumulate: int = 1,
) -> Method:
    """A diffusion model as a method.

    The loss is ``w(t) * mean((F(c_in x_t, c_noise) - target)^2)``, averaged over the batch (DDPM equation 14 with the
    defaults).

    Args:
        network: called as ``network.apply(variables, x, c_noise, label, dropout_index=...)`` -> float32[B,H,W,C], as
            `genjax.models.UNet`.
        optimizer: of the network's parameters, clipping and learning-rate schedule included.
        schedule: alpha(t) and sigma(t).
        sampler: how `sample` steps.
        times: float32[K+1], where it steps: decreasing, from 1 to 0.
        image_shape: H, W, C of the images.
        num_classes: number of classes, None for an unconditional model; label `num_classes` is the null label.
        predict: what the network predicts.
        draw_times: ``keys[B] -> t: float32[B]``, the times to train at.
        weight: ``(schedule, t[B]) -> w[B]``.
        ema_decay: of the moving average of the parameters, with which images are made and losses evaluated.
        condition_dropout: probability of replacing a label by the null label in training, in [0, 1].
        clip: clip each estimate of x_0 to [-1, 1] while sampling.
        accumulate: number of micro-batches a step is computed in.

    Returns:
        The method. `sample` takes ``condition = {"label": int32[N], "guidance": float32[N]}``, both optional: without
        a label the null label is used, and without a guidance scale (the `scale` of
        `genjax.diffusion.guidance.classifier_free`) the network is evaluated once a step instead of twice.
    """

    def init(key: Key, batch: Batch) -> TrainState:
        image = jnp.zeros((1, *batch["image"].shape[1:]))
        label = None if num_classes is None else jnp.zeros((1,), jnp.int32)
        params = initialize(network, key, image, jnp.zeros((1,)), label)["params"]
        return TrainState(
            step=jnp.zeros((), jnp.int32),
            params=params,
            opt=optimizer.init(params),
            ema=jax.tree.map(jnp.copy, params),
        )

    def losses(params: PyTree, key: Key, batch: Batch, train: bool) -> Array:
        """float32[B]: the weighted loss of each example."""
        x_0, index = batch["image"], batch["_index"]
        dropout_key, example_key = jax.random.split(key)
        keys = jax.vmap(lambda i: jax.random.split(jax.random.fold_in(example_key, i), 3))(index)
        t = draw_times(keys[:, 0])
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
            {"params": params},
            expand(coefficients.c_in, x_t) * x_t,
            coefficients.c_noise,
            label,
            dropout_index=index if train else None,
            rngs={"dropout": dropout_key} if train else None,
        )
        target = prediction.target(coefficients, schedule, x_0, noise, t)
        return weight(schedule, t) * jnp.mean(jnp.square(output - target), (1, 2, 3))

    def step(key: Key, state: TrainState, batch: Batch) -> tuple[TrainState, dict[str, Array]]:
        metrics, grads = update.gradients(
            lambda params, key, batch: (losses(params, key, batch, train=True).mean(), {}),
            state.params,
            key,
            batch,
            accumulate=accumulate,
        )
        changes, opt = optimizer.update(grads, state.opt, state.params)
        params = optax.apply_updates(state.params, changes)
        number = state.step + 1
        average = update.ema(state.ema, params, number, ema_decay)
        return dataclasses.replace(state, step=number, params=params, opt=opt, ema=average), metrics

    def evaluate(key: Key, state: TrainState, batch: Batch) -> dict[str, Array]:
        return {"loss": losses(state.ema, key, batch, train=False)}

    def sample(keys: Key, state: TrainState, condition: Mapping[str, Array]) -> Array:
        def denoise_given(label: Array | None) -> prediction.Denoiser:
            def output(x: Array, c_noise: Array) -> Any:
                return network.apply({"params": state.ema}, x, c_noise, label)

            return prediction.denoiser(output, schedule, predict)

        denoise = denoise_given(condition.get("label"))
        if "guidance" in condition:
            denoise = guidance.classifier_free(denoise, denoise_given(None), condition["guidance"])
        if clip:
            denoise = guidance.clip(denoise)
        x_T = sampling.initial_noise(keys, image_shape, schedule, times[0])
        return sampling.sample(keys, x_T, times, denoise, sampler, schedule)

    return Method(init, step, evaluate, sample)
