"""Which times a model is trained at.

A training-time sampler is a function ``(schedule, keys [B], strata [B]) -> t [B]``. It is given two sources of
randomness and uses one: ``keys``, one for each example, and ``strata``, numbers in [0, 1) that are uniform for each
example and evenly spread over the global batch (see `strata`). Both are functions of the key of the step and of the
position of the example, so an example's time does not depend on how the batch is split. Times are in (0, 1]: at 0
there is nothing to predict.

One that learns from the losses, `loss_aware`, has a state: it is an `Adaptive`.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jax.scipy.special import ndtri
from jax.typing import ArrayLike
from jaxtyping import Float, Int, Key

from genjax.diffusion.schedules import Schedule
from genjax.typing import Array, PyTree, UserError

DrawTimes: TypeAlias = Callable[[Schedule, Array, Array], Array]
"""``(schedule, keys [B], strata [B]) -> t [B]`` in (0, 1]."""

_TINY = 2.0**-24
"""The spacing of float32 below 1: a uniform number is kept so far from 0 and 1, a time so far from 0."""


class Adaptive(NamedTuple):
    """A training-time sampler that learns from the losses.

    Attributes:
        init: ``() -> state``; `()` for one that does not learn.
        draw: ``(state, schedule, keys [B], strata [B]) -> (t [B], importance [B])``; losses at t, times their
            importance, have the mean that they have at uniform times.
        update: ``(state, t [B], losses [B]) -> state``, with all losses of a global batch, before importance.
    """

    init: Callable[[], PyTree]
    draw: Callable[[PyTree, Schedule, Array, Array], tuple[Array, Array]]
    update: Callable[[PyTree, Array, Array], PyTree]


def strata(key: Key[Array, ""], index: Int[Array, "B"], batch_size: int) -> Float[Array, "B"]:
    """(u + index / batch_size) mod 1 with one u for all: in a batch, one number in each interval of 1 / batch_size.

    Args:
        key: the same for all examples of a step.
        index: positions of the examples in the global batch.
        batch_size: size of the global batch.

    Example:
        >>> import jax
        >>> from genjax.diffusion import times
        >>> numbers = times.strata(jax.random.key(0), jax.numpy.arange(4), batch_size=4)
        >>> sorted(int(4 * number) for number in numbers)  # one in each quarter
        [0, 1, 2, 3]

    References:
        Kingma et al., "Variational Diffusion Models" (2021), appendix I.1.
    """
    return jnp.mod(jax.random.uniform(key) + index % batch_size / batch_size, 1.0)


def discrete(num_steps: int = 1000, stratified: bool = False) -> DrawTimes:
    """Uniform on {1/T, 2/T, ..., 1}, T = `num_steps`: the times of a discrete schedule.

    Args:
        num_steps: T, the number of steps.
        stratified: whether times come from the strata, not from the keys.

    Returns:
        ``(schedule, Key[B], strata float[B]) -> t float[B]``.

    Raises:
        UserError: if `num_steps` is less than 1.

    Example:
        >>> import jax
        >>> from genjax.diffusion import schedules, times
        >>> keys, strata = jax.random.split(jax.random.key(0), 3), jax.numpy.array([0.1, 0.5, 0.9])
        >>> times.discrete(10, stratified=True)(schedules.linear(10), keys, strata)
        Array([0.2, 0.6, 1. ], dtype=float32)

    References:
        Ho et al., "Denoising Diffusion Probabilistic Models" (2020), algorithm 1.
    """
    _check_steps(num_steps)

    def draw(schedule: Schedule, keys: Key[Array, "B"], strata: Float[Array, "B"]) -> Float[Array, "B"]:
        del schedule
        if stratified:
            return jnp.minimum(jnp.floor(strata * num_steps) + 1, num_steps) / num_steps
        steps = jax.vmap(lambda key: jax.random.randint(key, (), 1, num_steps + 1))(keys)
        return steps / num_steps

    return draw


def uniform(stratified: bool = False) -> DrawTimes:
    """Uniform on (0, 1].

    Args:
        stratified: as in `discrete`.

    Returns:
        ``(schedule, Key[B], strata float[B]) -> t float[B]``.

    Example:
        >>> import jax
        >>> from genjax.diffusion import schedules, times
        >>> keys, strata = jax.random.split(jax.random.key(0), 3), jax.numpy.array([0.1, 0.5, 0.9])
        >>> print(*(f"{t:.2f}" for t in times.uniform(stratified=True)(schedules.cosine(), keys, strata)))
        0.90 0.50 0.10

    References:
        Kingma et al., "Variational Diffusion Models" (2021), equation 17; appendix I.1 for the stratified ones.
    """
    return _by_quantile(lambda schedule, u: 1 - u, stratified)


def logit_normal(mean: ArrayLike = 0.0, std: ArrayLike = 1.0, stratified: bool = False) -> DrawTimes:
    """log(t / (1 - t)) is normal: more of the times in the middle.

    Made for the schedule `flow`, where t is the share of noise.

    Args:
        mean: of log(t / (1 - t)); scalar.
        std: its deviation; scalar.
        stratified: as in `discrete`.

    Returns:
        ``(schedule, Key[B], strata float[B]) -> t float[B]``.

    Example:
        >>> import jax
        >>> from genjax.diffusion import schedules, times
        >>> keys, strata = jax.random.split(jax.random.key(0), 3), jax.numpy.array([0.1, 0.5, 0.9])
        >>> print(*(f"{t:.3f}" for t in times.logit_normal(stratified=True)(schedules.flow(), keys, strata)))
        0.217 0.500 0.783

    References:
        Esser et al., "Scaling Rectified Flow Transformers for High-Resolution Image Synthesis" (2024), equation 19.
    """
    return _by_quantile(lambda schedule, u: jax.nn.sigmoid(mean + std * _standard_normal(u)), stratified)


def log_normal(mean: ArrayLike = -1.2, std: ArrayLike = 1.2, stratified: bool = False) -> DrawTimes:
    """log(sigma / alpha) is normal, whatever the schedule, within the noise levels that it has.

    Args:
        mean: of log(sigma / alpha); scalar.
        std: its deviation; scalar.
        stratified: as in `discrete`.

    Returns:
        ``(schedule, Key[B], strata float[B]) -> t float[B]``.

    Example:
        >>> import jax
        >>> from genjax.diffusion import schedules, times
        >>> keys, strata = jax.random.split(jax.random.key(0), 3), jax.numpy.array([0.1, 0.5, 0.9])
        >>> schedule = schedules.edm()
        >>> t = times.log_normal(mean=-1.2, std=1.2, stratified=True)(schedule, keys, strata)
        >>> print(*(f"{sigma:.3f}" for sigma in schedule.sigma(t)))  # the median is exp(-1.2)
        0.065 0.301 1.402

    References:
        Karras et al., "Elucidating the Design Space of Diffusion-Based Generative Models" (2022), table 1.
    """
    return _by_quantile(
        lambda schedule, u: schedule.time(-2 * (mean + std * _standard_normal(u))), stratified
    )


def loss_aware(num_steps: int = 1000, history: int = 10, uniform_share: float = 0.001) -> Adaptive:
    """Times i/T, drawn with probability proportional to sqrt(E[loss^2]): less variance for the same mean loss.

    The expectation is over the latest losses of each time; until all times have enough of them, draws are uniform.
    The state takes T times `history` numbers.

    Args:
        num_steps: T, the number of steps.
        history: number of losses of each time that are remembered.
        uniform_share: share of the draws that stay uniform, in [0, 1].

    Raises:
        UserError: if an argument is out of range.

    Example:
        >>> import jax
        >>> from genjax.diffusion import schedules, times
        >>> learner = times.loss_aware(num_steps=2, history=1, uniform_share=0.0)
        >>> state = {"losses": jax.numpy.array([[3.0], [1.0]]), "count": jax.numpy.array([1, 1])}
        >>> keys, strata = jax.random.split(jax.random.key(0), 8), jax.numpy.zeros(8)
        >>> t, importance = jax.jit(learner.draw)(state, schedules.flow(), keys, strata)  # 0.5 comes more often
        >>> sorted({(float(t), round(float(w), 3)) for t, w in zip(t, importance)})
        [(0.5, 0.667), (1.0, 2.0)]

    References:
        Nichol and Dhariwal, "Improved Denoising Diffusion Probabilistic Models" (2021), equation 18; the share of
        uniform draws from their reference code.
    """
    _check_steps(num_steps)
    if history < 1 or not 0 <= uniform_share <= 1:
        raise UserError(
            f"history = {history} must be at least 1 and uniform_share = {uniform_share} in [0, 1]"
        )

    def init() -> PyTree:
        return {
            "losses": jnp.zeros((num_steps, history)),
            "count": jnp.zeros((num_steps,), jnp.int32),  # of losses ever seen
        }

    def draw(
        state: Any, schedule: Schedule, keys: Key[Array, "B"], strata: Float[Array, "B"]
    ) -> tuple[Float[Array, "B"], Float[Array, "B"]]:
        del schedule, strata
        p = probabilities(state, uniform_share)
        cumulative = jnp.cumsum(p)
        u = jax.vmap(jax.random.uniform)(keys) * cumulative[-1]  # which rounding leaves near 1
        step = jnp.minimum(jnp.searchsorted(cumulative, u, side="right"), num_steps - 1)
        return (step + 1) / num_steps, 1 / (num_steps * p[step])

    def update(state: Any, t: Float[Array, "B"], losses: Float[Array, "B"]) -> PyTree:
        step = jnp.round(t * num_steps).astype(jnp.int32) - 1
        order = jnp.argsort(step)  # stable: equal times stay in the order of the batch
        step, losses = step[order], losses[order]
        place = jnp.arange(step.size)
        earlier = place - jnp.searchsorted(
            step, step
        )  # losses of the same time that come before in the batch
        later = jnp.searchsorted(step, step, side="right") - 1 - place
        slot = (state["count"][step] + earlier) % history
        # Of more than `history` losses of one time the last are kept; out of range is where the others are dropped.
        row = jnp.where(later < history, step, num_steps)
        return {
            "losses": state["losses"].at[row, slot].set(losses, mode="drop"),
            "count": state["count"].at[step].add(1),
        }

    return Adaptive(init, draw, update)


def probabilities(state: Any, uniform_share: float = 0.001) -> Float[Array, "T"]:
    """With which probability `loss_aware` draws each time; see there.

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax.diffusion import times
        >>> learner = times.loss_aware(num_steps=2, history=1)
        >>> state = learner.update(learner.init(), jnp.array([0.5, 1.0]), jnp.array([3.0, 1.0]))
        >>> print(*(f"{p:.2f}" for p in times.probabilities(state, uniform_share=0.2)))  # 0.8 of 3/4, 1/4
        0.70 0.30
    """
    losses, count = state["losses"], state["count"]
    num_steps, history = losses.shape
    root = jnp.sqrt(jnp.mean(jnp.square(losses), 1))
    total = jnp.sum(root)
    ready = jnp.all(count >= history) & (total > 0)
    share = jnp.where(ready, root / jnp.where(ready, total, 1), 1 / num_steps)
    return (1 - uniform_share) * share + uniform_share / num_steps


def fixed(draw: DrawTimes) -> Adaptive:
    """The `Adaptive` that learns nothing and has no state.

    Args:
        draw: ``(schedule, Key[B], strata float[B]) -> t float[B]``.

    Example:
        >>> import jax
        >>> from genjax.diffusion import schedules, times
        >>> learner, keys = times.fixed(times.discrete(1)), jax.random.split(jax.random.key(0), 2)
        >>> learner.draw(learner.init(), schedules.linear(), keys, jax.numpy.zeros(2))  # times, importance
        (Array([1., 1.], dtype=float32), Array([1., 1.], dtype=float32))
    """
    return Adaptive(
        lambda: (),
        lambda state, schedule, keys, strata: (draw(schedule, keys, strata), jnp.ones(keys.shape)),
        lambda state, t, losses: state,
    )


TIMES: dict[str, Callable[..., DrawTimes | Adaptive]] = {
    "discrete": discrete,
    "uniform": uniform,
    "stratified": functools.partial(uniform, stratified=True),
    "logit_normal": logit_normal,
    "log_normal": log_normal,
    "loss_aware": loss_aware,
}
"""Constructors of the training-time samplers, by name; each can be called without arguments."""


def _by_quantile(quantile: Callable[[Schedule, Array], Array], stratified: bool) -> DrawTimes:
    """The sampler that puts uniform numbers into a function ``(schedule, u [B] in [0, 1)) -> t [B]``."""

    def draw(schedule: Schedule, keys: Key[Array, "B"], strata: Float[Array, "B"]) -> Float[Array, "B"]:
        u = strata if stratified else jax.vmap(jax.random.uniform)(keys)
        return jnp.maximum(quantile(schedule, u), _TINY)

    return draw


def _standard_normal(u: Array) -> Array:
    return ndtri(jnp.clip(u, _TINY, 1 - _TINY))


def _check_steps(num_steps: int) -> None:
    if num_steps < 1:
        raise UserError(f"num_steps = {num_steps} must be at least 1")
