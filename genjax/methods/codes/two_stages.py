"""Two stages of training in one run: the second goes on from where the first has got to."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from genjax.typing import PRESENT, Array, Batch, Key, Method, TrainState, UserError

_PARTS = ("params", "opt", "ema", "mutable")


def two_stages(first: Method, second: Method, switch: int) -> Method:
    """Trains `first` for `switch` steps, then `second` on top of it.

    Each stage ends bit for bit where it would end alone: it sees its own number of steps, its own parameters and
    optimizer, and the key and batch of the step. One state holds both, so that a run of both stages has one command,
    one compiled step, and can be stopped and resumed anywhere.

    Args:
        first: the first stage.
        second: a method whose ``TrainState.frozen`` is a TrainState of `first` (a prior over its codes, diffusion in
            its latent space): here it is that which `first` has reached. What its `init` puts there is not used,
            and what its `step` puts there is lost.
        switch: number of steps of the first stage, at least 1.

    Returns:
        The method. In its state, ``params``, ``opt``, ``ema`` and ``mutable`` are ``{"first": ..., "second": ...}``,
        and ``frozen`` is the first stage's; `stages` takes them apart. Metrics of both stages are returned, prefixed
        "first/" and "second/", and "loss" and "grad_norm" of the one that is running. The other one has no values: what
        stands in their place is not logged (`genjax.typing.PRESENT`).
        `evaluate` gives the values of both stages, with the same prefixes. `sample` is the second stage's.

    Raises:
        UserError: `switch` below 1.

    Example:
        >>> import jax, jax.numpy as jnp, optax
        >>> from genjax import methods
        >>> from genjax.losses import likelihood
        >>> from genjax.models.vae.autoencoder import Autoencoder
        >>> from genjax.models.vae.mlp import MLPDecoder, MLPEncoder
        >>> network = Autoencoder(MLPEncoder((4,)), MLPDecoder((8, 8, 1), (4,)), latent=2)
        >>> stage = methods.autoencoder(network, optax.adam(1e-3), likelihood.gaussian(), image_shape=(8, 8, 1))
        >>> method = methods.two_stages(stage, stage, switch=100)  # the second would be a prior over codes
        >>> batch = {"image": jnp.zeros((4, 8, 8, 1)), "_index": jnp.arange(4)}
        >>> state = jax.eval_shape(method.init, jax.random.key(0), batch)
        >>> sorted(state.params), sorted(jax.eval_shape(method.evaluate, jax.random.key(0), state, batch))
        (['first', 'second'], ['first/loss', 'second/loss'])
    """
    if switch < 1:
        raise UserError(f"switch={switch}: valid are 1 and more steps of the first stage")
    # Each is traced once for the names of its metrics and for the step itself.
    first_step, second_step = jax.jit(first.step, inline=True), jax.jit(second.step, inline=True)

    def init(key: Key, batch: Batch) -> TrainState:
        one, two = jax.random.split(key)
        return _join(jnp.zeros((), jnp.int32), first.init(one, batch), second.init(two, batch))

    def step(key: Key, state: TrainState, batch: Batch) -> tuple[TrainState, dict[str, Array]]:
        one, two = stages(state, switch)
        shapes = {
            "first": jax.eval_shape(first_step, key, one, batch)[1],
            "second": jax.eval_shape(second_step, key, two, batch)[1],
        }

        def metrics_of(name: str, values: Mapping[str, Array]) -> dict[str, Array]:
            every = {f"{stage}/{k}": jnp.zeros(()) for stage, metrics in shapes.items() for k in metrics}
            every |= {PRESENT + stage: jnp.asarray(stage == name) for stage in shapes}
            own = {f"{name}/{k}": x for k, x in values.items()}
            own |= {k: values[k] for k in ("loss", "grad_norm")}
            return {k: jnp.asarray(x, jnp.float32) for k, x in (every | own).items()}

        def run_first() -> tuple[TrainState, dict[str, Array]]:
            new, metrics = first_step(key, one, batch)
            return _join(state.step + 1, new, two), metrics_of("first", metrics)

        def run_second() -> tuple[TrainState, dict[str, Array]]:
            new, metrics = second_step(key, two, batch)
            return _join(state.step + 1, one, new), metrics_of("second", metrics)

        return jax.lax.cond(state.step < switch, run_first, run_second)

    def evaluate(key: Key, state: TrainState, batch: Batch) -> dict[str, Array]:
        one, two = stages(state, switch)
        values = {f"first/{k}": x for k, x in first.evaluate(key, one, batch).items()}
        return values | {f"second/{k}": x for k, x in second.evaluate(key, two, batch).items()}

    def sample(keys: Key, state: TrainState, condition: Mapping[str, Array]) -> Array:
        return second.sample(keys, stages(state, switch)[1], condition)

    return Method(init, step, evaluate, sample)


def stages(state: TrainState, switch: int) -> tuple[TrainState, TrainState]:
    """The state of each stage, as if it were trained alone, from the state of a `two_stages` with this `switch`."""

    def part(name: str, step: Array, frozen: object) -> TrainState:
        return TrainState(step=step, frozen=frozen, **{k: getattr(state, k)[name] for k in _PARTS})

    one = part("first", jnp.minimum(state.step, switch), state.frozen)
    return one, part("second", jnp.maximum(state.step - switch, 0), one)


def _join(step: Array, one: TrainState, two: TrainState) -> TrainState:
    parts = {k: {"first": getattr(one, k), "second": getattr(two, k)} for k in _PARTS}
    return TrainState(step=step, frozen=one.frozen, **parts)
