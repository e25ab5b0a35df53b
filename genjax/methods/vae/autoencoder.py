"""Autoencoders: plain, sparse and denoising."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from genjax.devices import mean_over_devices
from genjax.losses import sparsity as penalties
from genjax.losses.likelihood import Likelihood
from genjax.methods import update
from genjax.nn import initialize
from genjax.random import example_keys, fold_in
from genjax.typing import Array, Batch, Key, Method, PyTree, TrainState, UserError

Penalty: TypeAlias = Callable[[Array], Array]
"""``code float[B,D] -> scalar``."""

Corruption: TypeAlias = Callable[[Key, Array], Array]
"""``(keys[B], x float[B,H,W,C]) -> float[B,H,W,C]``, random, each example with its own key."""

_DECAY = 0.99


def l1(weight: float) -> Penalty:
    """Sum of the absolute values of a code, times `weight`."""
    _check_weight(weight)
    return lambda code: weight * penalties.l1(code)


def kl(weight: float, target: float = 0.05) -> Penalty:
    """Divergence of the components' mean activations from `target`, times `weight`; for codes in (0, 1).

    The mean is over the examples of the global batch (of a micro-batch with accumulated gradients).

    Raises:
        UserError: a negative weight, or a target outside (0, 1).
    """
    _check_weight(weight)
    if not 0 < target < 1:
        raise UserError(f"target={target}: valid are (0, 1)")
    return lambda code: weight * penalties.kl(mean_over_devices(code.mean(0)), target)


def gaussian_noise(std: float) -> Corruption:
    """Adds noise of this standard deviation."""

    def corrupt(keys: Key, x: Array) -> Array:
        return x + std * jax.vmap(lambda key: jax.random.normal(key, x.shape[1:], x.dtype))(keys)

    return corrupt


def masking(probability: float) -> Corruption:
    """Makes pixels black (-1), each with this probability (Vincent et al. 2008, section 2.2).

    Raises:
        UserError: a probability outside [0, 1].
    """
    if not 0 <= probability <= 1:
        raise UserError(f"probability={probability}: valid are [0, 1]")

    def corrupt(keys: Key, x: Array) -> Array:
        hidden = jax.vmap(lambda key: jax.random.bernoulli(key, probability, (*x.shape[1:3], 1)))(keys)
        return jnp.where(hidden, -1.0, x)

    return corrupt


def autoencoder(
    network: nn.Module,
    optimizer: optax.GradientTransformation,
    likelihood: Likelihood,
    *,
    image_shape: tuple[int, int, int],
    num_classes: int | None = None,
    penalty: Penalty | None = None,
    corrupt: Corruption | None = None,
    walkback: int = 1,
    chain: int = 50,
    ema_decay: float = 0.999,
    accumulate: int = 1,
) -> Method:
    """An autoencoder as a method.

    The loss is ``-log p(x | code of x) + penalty``, averaged over the batch. A denoising autoencoder gets a corrupted
    image and is to give back the clean one (Vincent et al. 2008); with `walkback` above 1 also what it is led to by
    its own reconstructions, corrupted again (Bengio et al. 2013, algorithm 1, with a fixed number of steps).

    How images are made: a denoising autoencoder defines a Markov chain, ``x <- draw from p(x | corrupted x)``, whose
    stationary distribution estimates that of the data; `sample` takes `chain` steps of it from noise and gives the last
    mean. The others have no distribution over codes: a normal one with the mean and covariance of the codes seen in
    training, kept in ``TrainState.mutable``, stands in for it (Ghosh et al. 2020, section 4).

    Args:
        network: ``network.apply(variables, x, label) -> (outputs, code)`` with methods ``encode`` and ``decode``, as
            `genjax.models.Autoencoder`.
        optimizer: of the network's parameters.
        likelihood: what the outputs mean, see `genjax.losses.likelihood`.
        image_shape: H, W, C of the images.
        num_classes: number of classes, None for an unconditional model.
        penalty: on the code.
        corrupt: what a denoising autoencoder repairs.
        walkback: corruptions of each example in training.
        chain: steps of the Markov chain.
        ema_decay: of the moving average of the parameters.
        accumulate: number of micro-batches a step is computed in.

    Raises:
        UserError: `walkback` or `chain` below 1, or `walkback` above 1 without a corruption.
    """
    if walkback < 1 or chain < 1:
        raise UserError(f"walkback={walkback}, chain={chain}: valid are 1 and more")
    if walkback > 1 and corrupt is None:
        raise UserError(f"walkback={walkback}: without a corruption, valid is 1")

    def init(key: Key, batch: Batch) -> TrainState:
        image = jnp.zeros((1, *batch["image"].shape[1:]))
        label = None if num_classes is None else jnp.zeros((1,), jnp.int32)
        params = initialize(network, key, image, label)["params"]
        code = jax.eval_shape(lambda p: _apply(network, p, image, label)[1], params)
        width = code.shape[-1]
        return update.start(params, optimizer, mutable={"mean": jnp.zeros(width), "second": jnp.eye(width)})

    def label_of(batch: Batch) -> Array | None:
        return None if num_classes is None else batch["label"]

    def step(key: Key, state: TrainState, batch: Batch) -> tuple[TrainState, dict[str, Array]]:
        def mean_loss(params: PyTree, key: Key, batch: Batch) -> tuple[Array, dict[str, Array]]:
            x, keys = batch["image"], example_keys(key, batch["_index"])
            outputs, code = _apply(network, params, _corrupted(keys, x, 0), label_of(batch))
            distortion = -likelihood.log_prob(outputs, x).mean()
            for i in range(1, walkback):
                drawn = likelihood.sample(fold_in(keys, 2 * i), jax.lax.stop_gradient(outputs))
                outputs, _ = _apply(network, params, _corrupted(keys, drawn, 2 * i + 1), label_of(batch))
                distortion += -likelihood.log_prob(outputs, x).mean()
            price = jnp.zeros(()) if penalty is None else penalty(code)
            moments = {"_mean": code.mean(0), "_second": code.T @ code / len(code)}
            return distortion + price, {"distortion": distortion, "penalty": price, **moments}

        metrics, grads = update.gradients(mean_loss, state.params, key, batch, accumulate=accumulate)
        seen = {"mean": metrics.pop("_mean"), "second": metrics.pop("_second")}
        new = update.advance(state, optimizer, grads, ema_decay)
        return dataclasses.replace(new, mutable=update.ema(state.mutable, seen, new.step, _DECAY)), metrics

    def _corrupted(keys: Key, x: Array, number: int | Array) -> Array:
        return x if corrupt is None else corrupt(fold_in(keys, number), x)

    def evaluate(key: Key, state: TrainState, batch: Batch) -> dict[str, Array]:
        keys = example_keys(key, batch["_index"])
        x = _corrupted(keys, batch["image"], 0)
        outputs, _ = _apply(network, state.ema, x, label_of(batch))
        return {"loss": -likelihood.log_prob(outputs, batch["image"])}

    def sample(keys: Key, state: TrainState, condition: Mapping[str, Array]) -> Array:
        label = update.asked_label(condition, num_classes)
        if corrupt is not None:
            return _markov_chain(keys, state, label)
        mean, second = state.mutable["mean"], state.mutable["second"]
        covariance = second - jnp.outer(mean, mean) + 1e-6 * jnp.eye(len(mean))
        noise = jax.vmap(lambda key: jax.random.normal(key, mean.shape))(keys)
        # By eigenvalues and not by Cholesky: a component that is always off leaves no positive definite matrix.
        values, vectors = jnp.linalg.eigh(covariance)
        # Multiplied and summed, not a matrix product: an image must not depend on how many are made with it.
        factor = vectors * jnp.sqrt(jnp.maximum(values, 0.0))[None, :]
        code = mean[None] + (factor[None] * noise[:, None, :]).sum(-1)
        return likelihood.mean(_apply(network, state.ema, code, label, method="decode"))

    def _markov_chain(keys: Key, state: TrainState, label: Array | None) -> Array:
        def outputs_of(x: Array, i: int | Array) -> Array:
            return _apply(network, state.ema, _corrupted(keys, x, 2 * i), label)[0]

        def advance(i: Array, x: Array) -> Array:
            return likelihood.sample(fold_in(keys, 2 * i + 1), outputs_of(x, i))

        shape = image_shape
        noise = jax.vmap(lambda key: jax.random.uniform(key, shape, minval=-1.0))(fold_in(keys, 2 * chain))
        x = jax.lax.fori_loop(0, chain - 1, advance, noise)
        return likelihood.mean(outputs_of(x, chain - 1))

    return Method(init, step, evaluate, sample)


def _apply(network: nn.Module, params: PyTree, *args: Any, method: str = "__call__") -> Any:
    return network.apply({"params": params}, *args, method=method)


def _check_weight(weight: float) -> None:
    if not weight >= 0:
        raise UserError(f"weight={weight}: valid are 0 and more")
