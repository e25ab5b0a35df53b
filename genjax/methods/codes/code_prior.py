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

from genjax.conditions import drop, select, without
from genjax.methods import update
from genjax.methods.averages import Average, averaged, exponential
from genjax.methods.codes.code_model import CodeModel
from genjax.methods.gradients import Gradient, mean_gradient
from genjax.nn import initialize
from genjax.random import example_keys, fold_in
from genjax.typing import Array, Batch, Condition, Key, Method, PyTree, TrainState, UserError

_AVERAGE, _GRADIENT = exponential(), mean_gradient()


def code_prior(
    networks: Sequence[nn.Module],
    optimizer: optax.GradientTransformation,
    first: CodeModel,
    *,
    first_state: Callable[[Key, Batch], TrainState],
    conditions: Sequence[str] = (),
    condition_dropout: float = 0.1,
    average: Average = _AVERAGE,
    gradient: Gradient = _GRADIENT,
) -> Method:
    """A prior over codes as a method.

    The loss is minus the log-likelihood of the codes of an image, in nats, averaged over the batch: log p(coarsest)
    plus, for each further level, log p(level | next coarser level).

    Args:
        networks: one a level, the coarsest first. Each is called as ``network.apply(variables, codes int32[B,h,w],
            condition, coarser int32[B,h',w'] | None, dropout_index=...)`` -> float32[B,h,w,K], the logits of each code
            given those before it in raster order, as the networks of `genjax.models.codes.autoregressive`.
        optimizer: optimizer of the parameters of all networks.
        first: the first stage as a model of codes.
        first_state: ``(key, batch) -> TrainState`` of the first stage, which becomes ``TrainState.frozen``: so a
            checkpoint has both stages. A stage inside `genjax.methods.codes.two_stages` gets the state from there.
        conditions: names of the arrays of a batch that the networks are told, see `genjax.conditions`; `step` and
            `evaluate` need all of them.
        condition_dropout: probability of hiding all conditions of an example in training, in [0, 1].
        average: moving average of the parameters, with which images are made and losses evaluated; see
            `genjax.methods.averages`.
        gradient: how gradients are computed, see `genjax.methods.gradients`.

    Returns:
        The method. `evaluate` gives "loss", in nats, and "bits_per_code", the same per code and in bits; with several
        levels also "bits_per_code_0" (the coarsest), ... of each. `sample` draws the codes one after the other, each
        with a call of its level's network on the whole grid, and decodes them. It takes any of the `conditions`,
        "temperature" float32[N] and "guidance" float32[N]: a temperature other than 1 divides the logits by it, 0 takes
        the most likely code; a guidance scale w draws from ``p(code) (p(code|condition) / p(code))^w``, normalised,
        with two calls a code.

    Raises:
        UserError: another number of networks than of levels, a `condition_dropout` outside of [0, 1]; from `init`,
            `step` and `evaluate`, a batch that lacks a condition.

    Example:
        >>> import jax, jax.numpy as jnp, optax
        >>> from genjax import methods
        >>> from genjax.methods.codes.code_model import CodeModel
        >>> from genjax.models.codes.pixel_cnn import PixelCNN
        >>> first = CodeModel(  # a first stage that has nothing to learn: a code is 1 where a pixel is light
        ...     encode=lambda state, image: ((image[..., 0] > 0).astype(jnp.int32),),
        ...     decode=lambda state, codes: 2.0 * codes[0][..., None] - 1.0, shapes=((8, 8),), num_codes=(2,),
        ... )
        >>> network = PixelCNN(num_codes=2, channels=4, depth=1)
        >>> method = methods.code_prior([network], optax.adam(1e-3), first, first_state=lambda key, batch: ())
        >>> batch = {"image": jnp.zeros((4, 8, 8, 1)), "_index": jnp.arange(4)}
        >>> state = jax.eval_shape(method.init, jax.random.key(0), batch)
        >>> sorted(jax.eval_shape(method.step, jax.random.key(0), state, batch)[1])
        ['bits_per_code', 'grad_norm', 'loss']
    """
    if len(networks) != len(first.shapes):
        raise UserError(f"{len(networks)} networks: the first stage has {len(first.shapes)} levels of codes")
    if not 0 <= condition_dropout <= 1:
        raise UserError(f"condition_dropout={condition_dropout}: valid are [0, 1]")
    levels, names = range(len(networks)), tuple(conditions)
    num_codes = sum(math.prod(shape) for shape in first.shapes)

    def init(key: Key, batch: Batch) -> TrainState:
        blank = update.example_condition(select(batch, names, required=True), names)
        codes = [jnp.zeros((1, *shape), jnp.int32) for shape in first.shapes]
        params = {
            _name(i): initialize(
                networks[i], jax.random.fold_in(key, i), codes[i], blank, _coarser(codes, i)
            )["params"]
            for i in levels
        }
        frozen = first_state(jax.random.fold_in(key, len(networks)), batch)
        return update.start(params, optimizer, average, frozen=frozen)

    def logits(
        params: PyTree, level: int, codes: Array, told: Condition, coarser: Array | None, **dropout: Any
    ) -> Array:
        values: Any = networks[level].apply({"params": params[_name(level)]}, codes, told, coarser, **dropout)
        return values

    def negative_log_likelihood(
        params: PyTree, codes: Sequence[Array], told: Condition, key: Key, dropout_index: Array | None
    ) -> dict[str, Array]:
        """float32[B] each."""
        nats, values = [], {}
        for i in levels:
            dropout = {"dropout_index": dropout_index, "rngs": {"dropout": jax.random.fold_in(key, i)}}
            outputs = logits(params, i, codes[i], told, _coarser(codes, i), **dropout)
            loss = optax.softmax_cross_entropy_with_integer_labels(outputs, codes[i])
            nats.append(loss.sum((1, 2)))
            if len(networks) > 1:
                values[f"bits_per_code_{i}"] = loss.mean((1, 2)) / math.log(2)
        total = sum(nats[1:], nats[0])
        return {"loss": total, "bits_per_code": total / (num_codes * math.log(2)), **values}

    def step(key: Key, state: TrainState, batch: Batch) -> tuple[TrainState, dict[str, Array]]:
        def mean_loss(params: PyTree, key: Key, batch: Batch) -> tuple[Array, dict[str, Array]]:
            dropout_key, example_key = jax.random.split(key)
            index = batch["_index"]
            told = select(batch, names, required=True)
            told = drop(told, example_keys(example_key, index), condition_dropout)
            codes = first.encode(state.frozen, batch["image"])
            values = negative_log_likelihood(params, codes, told, dropout_key, index)
            means = {name: value.mean() for name, value in values.items()}
            return means.pop("loss"), means

        metrics, grads = gradient(mean_loss, state.params, key, batch)
        return update.advance(state, optimizer, grads, average), metrics

    def evaluate(key: Key, state: TrainState, batch: Batch) -> dict[str, Array]:
        codes = first.encode(state.frozen, batch["image"])
        told = select(batch, names, required=True)
        return negative_log_likelihood(averaged(state), codes, told, key, None)

    def sample(keys: Key, state: TrainState, condition: Mapping[str, Array]) -> Array:
        told, params = select(condition, names), averaged(state)
        guidance, temperature = condition.get("guidance"), update.temperature(condition, len(keys))

        def outputs(level: int, codes: Array, coarser: Array | None) -> Array:
            """float32[N,h*w,K]."""
            values = logits(params, level, codes, told, coarser)
            if guidance is not None:
                null = logits(params, level, codes, without(told), coarser)
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
