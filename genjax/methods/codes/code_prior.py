"""An autoregressive prior over the codes of a first stage as a method: the second stage of VQ-VAE and VQGAN.

van den Oord, Vinyals and Kavukcuoglu, "Neural Discrete Representation Learning" (2017), section 3.3; with levels,
Razavi et al., "Generating Diverse High-Fidelity Images with VQ-VAE-2" (2019), section 3.2.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from genjax.methods import update
from genjax.methods.codes.code_model import CodeModel
from genjax.nn import initialize
from genjax.random import example_keys, fold_in
from genjax.typing import Array, Batch, Key, Method, PyTree, TrainState, UserError


def code_prior(
    networks: Sequence[nn.Module],
    optimizer: optax.GradientTransformation,
    first: CodeModel,
    *,
    first_state: Callable[[Key, Batch], TrainState],
    num_classes: int | None = None,
    condition_dropout: float = 0.1,
    ema_decay: float = 0.999,
    accumulate: int = 1,
) -> Method:
    """A prior over codes as a method.

    The loss is minus the log-likelihood of the codes of an image, in nats, averaged over the batch: log p(coarsest)
    plus, for each further level, log p(level | next coarser level).

    Args:
        networks: one a level, the coarsest first. Each is called as ``network.apply(variables, codes int32[B,h,w],
            label, coarser int32[B,h',w'] | None, dropout_index=...)`` -> float32[B,h,w,K], the logits of each code
            given those before it in raster order, as `genjax.models.PixelCNN` and `genjax.models.CodeTransformer`.
        optimizer: of the parameters of all networks.
        first: the first stage as a model of codes.
        first_state: ``(key, batch) -> TrainState`` of the first stage, which becomes ``TrainState.frozen``: so a
            checkpoint has both stages. A stage inside `genjax.methods.codes.two_stages` gets the state from there.
        num_classes: number of classes, None for an unconditional model; label `num_classes` is the null label.
        condition_dropout: probability of replacing a label by the null label in training, in [0, 1].
        ema_decay: of the moving average of the parameters, with which images are made and losses evaluated.
        accumulate: number of micro-batches a step is computed in.

    Returns:
        The method. `evaluate` gives "loss", in nats, and "bits_per_code", which is that per code in bits; with several
        levels also "bits_per_code_0" (the coarsest), ... of each. `sample` draws the codes one after the other, each
        with a call of its level's network on the whole grid, and decodes them. It takes ``condition = {"label":
        int32[N], "temperature": float32[N], "guidance": float32[N]}``, all optional: without a label the null label
        is used; a temperature other than 1 divides the logits by it, 0 takes the most likely code; a guidance scale
        w draws from ``p(code|null) (p(code|label) / p(code|null))^w``, normalised, with two calls a code.

    Raises:
        UserError: another number of networks than of levels, a `condition_dropout` outside of [0, 1]; from `step` and
            `evaluate`, a batch without labels for a conditional model.
    """
    if len(networks) != len(first.shapes):
        raise UserError(f"{len(networks)} networks: the first stage has {len(first.shapes)} levels of codes")
    if not 0 <= condition_dropout <= 1:
        raise UserError(f"condition_dropout={condition_dropout}: valid are [0, 1]")
    levels = range(len(networks))
    num_codes = sum(math.prod(shape) for shape in first.shapes)

    def init(key: Key, batch: Batch) -> TrainState:
        label = None if num_classes is None else jnp.zeros((1,), jnp.int32)
        codes = [jnp.zeros((1, *shape), jnp.int32) for shape in first.shapes]
        params = {
            _name(i): initialize(
                networks[i], jax.random.fold_in(key, i), codes[i], label, _coarser(codes, i)
            )["params"]
            for i in levels
        }
        frozen = first_state(jax.random.fold_in(key, len(networks)), batch)
        return update.start(params, optimizer, frozen=frozen)

    def logits(
        params: PyTree, level: int, codes: Array, label: Array | None, coarser: Array | None, **dropout: Any
    ) -> Array:
        values: Any = networks[level].apply(
            {"params": params[_name(level)]}, codes, label, coarser, **dropout
        )
        return values

    def negative_log_likelihood(
        params: PyTree, codes: Sequence[Array], label: Array | None, key: Key, dropout_index: Array | None
    ) -> dict[str, Array]:
        """float32[B] each."""
        nats, values = [], {}
        for i in levels:
            dropout = {"dropout_index": dropout_index, "rngs": {"dropout": jax.random.fold_in(key, i)}}
            outputs = logits(params, i, codes[i], label, _coarser(codes, i), **dropout)
            loss = optax.softmax_cross_entropy_with_integer_labels(outputs, codes[i])
            nats.append(loss.sum((1, 2)))
            if len(networks) > 1:
                values[f"bits_per_code_{i}"] = loss.mean((1, 2)) / math.log(2)
        total = sum(nats[1:], nats[0])
        return {"loss": total, "bits_per_code": total / (num_codes * math.log(2)), **values}

    def label_of(batch: Batch) -> Array | None:
        if num_classes is None:
            return None
        if "label" not in batch:
            raise UserError(f"the batch has no labels: num_classes={num_classes} needs them, None does not")
        return batch["label"]

    def hide(label: Array | None, keys: Key) -> Array | None:
        """Some of the labels become the null label."""
        if label is None or num_classes is None:
            return None
        hidden = jax.vmap(lambda key: jax.random.bernoulli(key, condition_dropout))(keys)
        return jnp.where(hidden, num_classes, label)

    def step(key: Key, state: TrainState, batch: Batch) -> tuple[TrainState, dict[str, Array]]:
        def mean_loss(params: PyTree, key: Key, batch: Batch) -> tuple[Array, dict[str, Array]]:
            dropout_key, example_key = jax.random.split(key)
            index = batch["_index"]
            label = hide(label_of(batch), example_keys(example_key, index))
            codes = first.encode(state.frozen, batch["image"])
            values = negative_log_likelihood(params, codes, label, dropout_key, index)
            means = {name: value.mean() for name, value in values.items()}
            return means.pop("loss"), means

        metrics, grads = update.gradients(mean_loss, state.params, key, batch, accumulate=accumulate)
        return update.advance(state, optimizer, grads, ema_decay), metrics

    def evaluate(key: Key, state: TrainState, batch: Batch) -> dict[str, Array]:
        codes = first.encode(state.frozen, batch["image"])
        return negative_log_likelihood(state.ema, codes, label_of(batch), key, None)

    def sample(keys: Key, state: TrainState, condition: Mapping[str, Array]) -> Array:
        label, guidance = condition.get("label"), condition.get("guidance")
        temperature = condition.get("temperature", jnp.ones(len(keys)))

        def outputs(level: int, codes: Array, coarser: Array | None) -> Array:
            """float32[N,h*w,K]."""
            values = logits(state.ema, level, codes, label, coarser)
            if guidance is not None:
                null = logits(state.ema, level, codes, None, coarser)
                values = null + guidance[:, None, None, None] * (values - null)
            return values.reshape(len(keys), -1, values.shape[-1])

        def draw(level: int, coarser: Array | None) -> Array:
            """int32[N,h,w]."""
            level_keys = fold_in(keys, level)
            shape = (len(keys), *first.shapes[level])

            def one(position: Array, codes: Array) -> Array:
                values = outputs(level, codes.reshape(shape), coarser)
                values = jax.lax.dynamic_index_in_dim(values, position, axis=1, keepdims=False)
                code = _categorical(level_keys, position, values, temperature)
                return codes.at[:, position].set(code)

            codes = jnp.zeros((len(keys), math.prod(first.shapes[level])), jnp.int32)
            return jax.lax.fori_loop(0, codes.shape[1], one, codes).reshape(shape)

        drawn: list[Array] = []
        for i in levels:
            drawn.append(draw(i, drawn[-1] if drawn else None))
        return first.decode(state.frozen, tuple(drawn))

    return Method(init, step, evaluate, sample)


def _name(level: int) -> str:
    return f"level_{level}"


def _coarser(codes: Sequence[Array], level: int) -> Array | None:
    return codes[level - 1] if level else None


def _categorical(keys: Key, position: Array, logits: Array, temperature: Array) -> Array:
    """int32[N] from float[N,K]: the largest of the logits with Gumbel noise, which is a draw from the softmax of
    ``logits / temperature``, and at temperature 0 the most likely."""

    def gumbel(key: Key) -> Array:
        return jax.random.gumbel(jax.random.fold_in(key, position), logits.shape[1:])

    return jnp.argmax(logits + temperature[:, None] * jax.vmap(gumbel)(keys), axis=-1).astype(jnp.int32)
