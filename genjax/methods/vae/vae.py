"""The variational autoencoder as a method: shallow or deep, conditional or not, with any likelihood and any rate."""

from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from genjax.losses.likelihood import LEVELS, Likelihood
from genjax.methods import update
from genjax.methods.vae import regularizers as rates
from genjax.nn import initialize
from genjax.nn.latent import LatentGroup
from genjax.random import example_keys, fold_in
from genjax.typing import Array, Batch, Key, Method, PyTree, TrainState, UserError

_ELBO = rates.kl()


def vae(
    network: nn.Module,
    optimizer: optax.GradientTransformation,
    likelihood: Likelihood,
    *,
    image_shape: tuple[int, int, int],
    num_classes: int | None = None,
    rate: rates.Rate = _ELBO,
    draw_pixels: bool = False,
    ema_decay: float = 0.999,
    importance_samples: int = 0,
    accumulate: int = 1,
) -> Method:
    """A variational autoencoder as a method.

    The loss is ``-log p(x|z) + rate`` in nats, averaged over the batch; with the default rate, minus the evidence lower
    bound (Kingma & Welling 2014, equation 3). beta-VAE, beta-TCVAE, capacity annealing and free bits are rates; a
    conditional VAE is a network with classes; the depth of the hierarchy is the network's affair.

    Args:
        network: has the methods ``infer(keys[B], x, label) -> (outputs, groups)`` and
            ``generate(keys[N], label, temperature) -> outputs``, as `genjax.models.VAE` and `genjax.models.DeepVAE`.
        optimizer: of the network's parameters.
        likelihood: what the outputs mean, see `genjax.losses.likelihood`.
        image_shape: H, W, C of the images.
        num_classes: number of classes, None for an unconditional model.
        rate: the price of the latent variables, see `genjax.methods.vae.regularizers`.
        draw_pixels: `sample` draws from the likelihood, instead of taking its mean.
        ema_decay: of the moving average of the parameters, with which images are made and bounds evaluated.
        importance_samples: k; `evaluate` adds the importance-weighted bound with k draws an image ("nll"; Burda et al.
            2016, equation 8), which falls towards the negative log-likelihood as k grows. 0: without.
        accumulate: number of micro-batches a step is computed in.

    Returns:
        The method. `evaluate` gives "loss" (the negative evidence lower bound, whatever the rate), "distortion" and
        "rate" (the two parts), "kl_0", ... of each group where there are several, "nll", and "bits_per_dim" (of "nll",
        else of "loss") where the likelihood is one of the 256 levels of a pixel. `sample` takes
        ``condition = {"label": int32[N], "temperature": float32[N]}``: the label is required with `num_classes`; the
        temperature is a factor of the standard deviations of the prior, 1 without.

    Raises:
        UserError: `importance_samples` below 0; from `sample`, a label that is missing.
    """
    if importance_samples < 0:
        raise UserError(f"importance_samples={importance_samples}: valid are 0 and more")

    def init(key: Key, batch: Batch) -> TrainState:
        image = jnp.zeros((1, *batch["image"].shape[1:]))
        label = None if num_classes is None else jnp.zeros((1,), jnp.int32)
        params = initialize(network, key, jax.random.split(key, 1), image, label)["params"]
        return update.start(params, optimizer)

    def infer(params: PyTree, keys: Key, batch: Batch) -> tuple[Array, Sequence[LatentGroup]]:
        """Logarithm of p(x|z), float[B], and the groups."""
        x = batch["image"]
        label = None if num_classes is None else batch["label"]
        outputs, groups = _apply(network, params, keys, x, label, method="infer")
        return likelihood.log_prob(outputs, x), groups

    def step(key: Key, state: TrainState, batch: Batch) -> tuple[TrainState, dict[str, Array]]:
        def mean_loss(params: PyTree, key: Key, batch: Batch) -> tuple[Array, dict[str, Array]]:
            log_prob, groups = infer(params, example_keys(key, batch["_index"]), batch)
            loss = (rate(state.step, groups) - log_prob).mean()
            return loss, {"distortion": -log_prob.mean(), "rate": rates.divergence(groups).mean()}

        metrics, grads = update.gradients(mean_loss, state.params, key, batch, accumulate=accumulate)
        return update.advance(state, optimizer, grads, ema_decay), metrics

    def evaluate(key: Key, state: TrainState, batch: Batch) -> dict[str, Array]:
        keys = example_keys(key, batch["_index"])
        log_prob, groups = infer(state.ema, keys, batch)
        total = rates.divergence(groups)
        values = {"loss": total - log_prob, "distortion": -log_prob, "rate": total}
        if len(groups) > 1:
            values |= {f"kl_{i}": group.kl for i, group in enumerate(groups)}
        nats = values["loss"]
        if importance_samples:
            nats = values["nll"] = -_importance_weighted(
                lambda keys: _log_weight(*infer(state.ema, keys, batch)), keys, importance_samples
            )
        if likelihood.levels == LEVELS:
            values["bits_per_dim"] = nats / (jnp.log(2.0) * batch["image"][0].size)
        return values

    def sample(keys: Key, state: TrainState, condition: Mapping[str, Array]) -> Array:
        label = update.asked_label(condition, num_classes)
        temperature = condition.get("temperature", jnp.ones(keys.shape[0]))
        outputs = _apply(network, state.ema, fold_in(keys, 0), label, temperature, method="generate")
        return likelihood.sample(fold_in(keys, 1), outputs) if draw_pixels else likelihood.mean(outputs)

    return Method(init, step, evaluate, sample)


def _apply(network: nn.Module, params: PyTree, *args: Any, method: str) -> Any:
    return network.apply({"params": params}, *args, method=method)


def _log_weight(log_prob: Array, groups: Sequence[LatentGroup]) -> Array:
    """log p(x, z) / q(z|x), float[B]."""
    return log_prob + sum(group.log_p - group.log_q for group in groups)


def _importance_weighted(log_weight: Any, keys: Key, k: int) -> Array:
    """float[B]: ``log mean(exp(log_weight))`` over k draws, one draw after another.

    The running sum is kept relative to the largest weight so far.
    """

    def add(carry: tuple[Array, Array], i: Array) -> tuple[tuple[Array, Array], None]:
        largest, total = carry
        value = log_weight(fold_in(keys, i))
        new = jnp.maximum(largest, value)
        return (new, total * jnp.exp(largest - new) + jnp.exp(value - new)), None

    start = jnp.full(keys.shape, -jnp.inf), jnp.zeros(keys.shape)
    (largest, total), _ = jax.lax.scan(add, start, jnp.arange(k))
    return largest + jnp.log(total) - jnp.log(k)
