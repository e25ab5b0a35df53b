"""Guidance by conditions: closed forms on simple denoisers, and the formulas of the papers, transcribed."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from genjax.conditions import mask_name, without
from genjax.diffusion import PREDICTIONS, denoiser, guidance, prediction, schedules
from genjax.diffusion.samplers import ddim
from genjax.typing import UserError

X = jnp.asarray(np.random.default_rng(0).normal(size=(3, 2, 2, 1)), jnp.float32)
T = jnp.float32(0.5)
WEIGHTS = jnp.asarray(np.random.default_rng(1).normal(size=(4, 4)), jnp.float32)


def conditional(x, t):
    return 0.3 * x + 0.7


def unconditional(x, t):
    return 0.1 * x - 0.2


def curved(x, t):
    return jnp.tanh(x + 0.5)


def labelled(x, t, condition):
    """A network with a condition of two arrays."""
    shift = condition["label"] + condition["embedding"].sum(1) + t
    return jnp.tanh((x.reshape(x.shape[0], -1) + shift[:, None]) @ WEIGHTS).reshape(x.shape)


CONDITION = {"label": jnp.array([1.0, 2.0, 3.0]), "embedding": jnp.arange(6.0).reshape(3, 2) / 6}
NULL = {"label": 0.0, "embedding": jnp.array([0.5, -1.0])}
NULLS = {"label": jnp.zeros(3), "embedding": jnp.tile(NULL["embedding"], (3, 1))}


def test_classifier_free_is_linear_in_scale():
    for scale in (0.0, 0.5, 1.0, 4.0):
        actual = guidance.classifier_free(conditional, unconditional, scale)(X, T)
        expected = unconditional(X, T) + scale * (conditional(X, T) - unconditional(X, T))
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("rule", [guidance.classifier_free, guidance.autoguidance, guidance.projected])
def test_scale_one_is_the_conditional_denoiser_bit_for_bit(rule):
    np.testing.assert_array_equal(rule(curved, unconditional, 1.0)(X, T), curved(X, T))
    np.testing.assert_array_equal(rule(curved, unconditional, lambda t: 1.0)(X, T), curved(X, T))


def test_scale_may_differ_by_example():
    scales = jnp.array([0.0, 1.0, 3.0])
    together = guidance.classifier_free(conditional, unconditional, scales)(X, T)
    for i, scale in enumerate(scales):
        alone = guidance.classifier_free(conditional, unconditional, scale)(X, T)
        np.testing.assert_allclose(together[i], alone[i], rtol=1e-6)


@pytest.mark.parametrize("name", PREDICTIONS)
def test_guiding_the_estimate_is_guiding_the_output_of_the_network(name):
    """Ho and Salimans guide the noise; x0_hat is affine in it, and in v."""
    schedule, prediction, scale = schedules.linear(), PREDICTIONS[name], 3.0

    def network(shift):
        return lambda x, c_noise: jnp.tanh(x + shift)

    def guided(x, c_noise):
        return network(0.0)(x, c_noise) + scale * (network(0.5)(x, c_noise) - network(0.0)(x, c_noise))

    denoisers = [denoiser(network(shift), schedule, prediction) for shift in (0.5, 0.0)]
    np.testing.assert_allclose(
        guidance.classifier_free(*denoisers, scale)(X, T),
        denoiser(guided, schedule, prediction)(X, T),
        atol=2e-5,
    )


def test_autoguidance_moves_away_from_the_worse_network():
    actual = guidance.autoguidance(conditional, curved, 2.5)(X, T)
    np.testing.assert_allclose(actual, 2.5 * conditional(X, T) - 1.5 * curved(X, T), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("t", [T, jnp.array([0.2, 0.5, 0.9])], ids=["scalar", "by example"])
@pytest.mark.parametrize("scale", [3.0, lambda t: jnp.where(t > 0.3, 3.0, 1.0)], ids=["constant", "function"])
def test_one_call_of_a_doubled_batch_is_two_calls(t, scale):
    sizes = []

    def counted(x, t, condition):
        sizes.append(x.shape[0])
        return labelled(x, t, condition)

    actual = guidance.classifier_free_batched(counted, CONDITION, NULL, scale)(X, t)
    assert sizes == [6, 3] if callable(scale) else sizes == [6]  # 3: where the scale is 1
    both = [functools.partial(labelled, condition=condition) for condition in (CONDITION, NULLS)]
    np.testing.assert_allclose(actual, guidance.classifier_free(*both, scale)(X, t), rtol=0, atol=1e-6)


def test_compiled_the_two_denoisers_of_a_batch_are_one_call():
    def multiplications(pair):
        compiled = (
            jax.jit(lambda x: guidance.zero_star(*pair, 2.0, schedules.flow())(x, T)).lower(X).compile()
        )
        return compiled.as_text().count(" dot(")

    both = [functools.partial(labelled, condition=condition) for condition in (CONDITION, NULLS)]
    batched = guidance.batched(labelled, CONDITION, NULL)
    assert (multiplications(both), multiplications(batched)) == (2, 1)
    for actual, expected in zip(batched, both, strict=True):
        np.testing.assert_allclose(actual(X, T), expected(X, T), rtol=0, atol=1e-6)


def test_a_doubled_batch_stays_on_its_devices():
    sharding = NamedSharding(Mesh(np.array(jax.devices()), ("data",)), PartitionSpec("data"))

    @jax.jit
    def guided(x, label):
        condition = {"label": label, "embedding": jnp.ones((16, 2))}
        return guidance.classifier_free_batched(labelled, condition, NULL, 2.0)(x, T)

    arguments = jnp.tile(X[:1], (16, 1, 1, 1)), jnp.arange(16.0)
    spread = [jax.device_put(argument, sharding) for argument in arguments]
    program = guided.lower(*spread).compile().as_text()
    assert not any(
        word in program for word in ("all-gather", "all-to-all", "collective-permute", "all-reduce")
    )
    assert len(guided(*spread).sharding.device_set) == 8
    np.testing.assert_allclose(guided(*spread), guided(*arguments), atol=1e-6)


def test_conditions_that_do_not_fit_are_refused():
    def guided(condition, null):
        return guidance.classifier_free_batched(labelled, condition, null, 1.0)

    with pytest.raises(UserError, match="null_condition has the tree"):
        guided(CONDITION, NULL | {"text": jnp.zeros(2)})
    with pytest.raises(UserError, match="null_condition has the tree"):
        guided((CONDITION["label"],), ())
    with pytest.raises(UserError, match=r"null_condition of shape \[2\] does not broadcast"):
        guided({"label": CONDITION["label"]}, {"label": jnp.zeros(2)})
    with pytest.raises(UserError, match="without an axis of examples"):
        guided({"label": 1.0}, {"label": 0.0})
    with pytest.raises(UserError, match="condition has 3 examples, and x_t 2"):
        guided(CONDITION, NULL)(X[:2], T)


# A network with two conditions, which may be missing, and what each adds to its estimate.
TOLD = {"label": jnp.array([1.0, 2.0, 3.0]), "text": jnp.array([0.1, 0.2, 0.3])}
FACTOR = {"label": 1.0, "text": 10.0}
SUBSETS = [(), ("label",), ("text",), ("label", "text")]


def additive(x, t, condition):
    """0.5 x, and for each condition that an example has, its factor times its value."""
    estimate = 0.5 * x
    for name, factor in FACTOR.items():
        if name in condition:
            has = condition.get(mask_name(name), jnp.ones(x.shape[0], bool))
            estimate += jnp.where(has, factor * condition[name], 0)[:, None, None, None]
    return estimate


def parts(has):
    """What the conditions add to the examples that have them."""
    return sum(FACTOR[name] * np.asarray(TOLD[name]) * has[name] for name in FACTOR)


@pytest.mark.parametrize("lacking", SUBSETS)
def test_the_second_evaluation_lacks_the_keys_that_it_is_not_told(lacking):
    """And no others; with masks of the examples that lack one in both evaluations, too."""
    has_text = np.array([True, False, True])
    for told in (TOLD, TOLD | {mask_name("text"): jnp.asarray(has_text)}):
        has = {"label": np.ones(3), "text": has_text if mask_name("text") in told else np.ones(3)}
        null = without(told, lacking)
        given, left = parts(has), parts({name: has[name] * (name not in lacking) for name in has})
        estimates = [np.asarray(f(X, T)) - 0.5 * X for f in guidance.batched(additive, told, null)]
        np.testing.assert_allclose(estimates[0][:, 0, 0, 0], given, rtol=1e-5)
        np.testing.assert_allclose(estimates[1][:, 0, 0, 0], left, rtol=1e-5)
        guided = guidance.classifier_free_batched(additive, told, null, 3.0)(X, T) - 0.5 * X
        np.testing.assert_allclose(guided[:, 1, 0, 0], left + 3 * (given - left), rtol=1e-5)


@pytest.mark.parametrize("lacking", SUBSETS)
def test_a_doubled_batch_with_lacking_keys_is_two_calls_bit_for_bit(lacking):
    pair = guidance.batched(additive, TOLD, without(TOLD, lacking))
    np.testing.assert_array_equal(pair[0](X, T), additive(X, T, TOLD))
    np.testing.assert_array_equal(pair[1](X, T), additive(X, T, without(TOLD, lacking)))


def test_conditions_are_told_twice_and_masked_once():
    """The arrays that the network sees, side by side; a mask where one of the two conditions has one."""
    seen = []

    def recorded(x, t, condition):
        seen.append({name: np.asarray(array) for name, array in condition.items()})
        return x

    guidance.batched(recorded, TOLD, {"text": 0.7})[0](X, T)
    (told,) = seen
    assert sorted(told) == sorted([*TOLD, mask_name("label")])
    np.testing.assert_array_equal(told["label"], [1, 1, 2, 2, 3, 3])
    np.testing.assert_array_equal(told[mask_name("label")], [True, False] * 3)
    np.testing.assert_array_equal(told["text"], np.float32([0.1, 0.7, 0.2, 0.7, 0.3, 0.7]))

    seen.clear()
    masked = {mask_name("text"): jnp.array([True, False, True])}
    for condition, null in itertools.permutations([TOLD, TOLD | masked]):
        guidance.batched(recorded, condition, null)[0](X, T)
    first, second = (told[mask_name("text")].reshape(3, 2).T for told in seen)
    np.testing.assert_array_equal(first, [[True] * 3, [True, False, True]])
    np.testing.assert_array_equal(second, first[::-1])


def test_interval_is_half_open_in_the_noise_level():
    """Flow: sigma / alpha = t / (1 - t), infinite at t = 1 and 0 at t = 0."""
    schedule, times = schedules.flow(), jnp.array([0.0, 0.2, 0.5, 0.75, 0.8, 1.0])
    np.testing.assert_array_equal(guidance.interval(schedule, 4.0, 0.3, 3.1)(times), [1, 1, 4, 4, 1, 1])
    np.testing.assert_array_equal(guidance.interval(schedule, 4.0, outside=0.0)(times), [0, 4, 4, 4, 4, 4])
    for low, high, expected in [(1.0, 2.0, [1, 1]), (0.5, 1.0, [5, 6])]:  # the level at t = 0.5 is exactly 1
        by_example = guidance.interval(schedule, jnp.array([5.0, 6.0]), low, high)
        np.testing.assert_array_equal(by_example(T), expected)


def test_outside_of_the_interval_the_network_runs_once():
    calls = []

    def counted(x, t):
        jax.debug.callback(lambda: calls.append(1))
        return unconditional(x, t)

    scale = guidance.interval(schedules.flow(), 4.0, 0.3, 3.1)
    guided = jax.jit(guidance.classifier_free(conditional, counted, scale))
    for t, evaluated in [(0.2, 0), (0.5, 1), (0.9, 0)]:
        calls.clear()
        actual = guided(X, jnp.float32(t))
        jax.effects_barrier()
        assert len(calls) == evaluated
        expected = guidance.classifier_free(conditional, unconditional, 4.0 if evaluated else 1.0)(X, T)
        np.testing.assert_allclose(actual, expected, rtol=1e-6)


@pytest.mark.parametrize("name", ["eps", "v", "x0"])
def test_rescale_is_the_formula_of_the_paper(name):
    """Lin et al. (2023), equations 14 to 16, on the output of a network that predicts this."""
    schedule, phi, scale = schedules.linear(), 0.7, 7.5
    coefficients = PREDICTIONS[name](schedule, T)

    def output_of(estimate):
        return (np.asarray(estimate) - coefficients.c_skip * np.asarray(X)) / coefficients.c_out

    def std(x):
        return x.std(axis=(1, 2, 3), keepdims=True)

    positive, negative = output_of(curved(X, T)), output_of(unconditional(X, T))
    guided = negative + scale * (positive - negative)
    rescaled = guided * (std(positive) / std(guided))
    expected = phi * rescaled + (1 - phi) * guided
    free = guidance.classifier_free(curved, unconditional, scale)
    actual = guidance.rescale(free, curved, schedule, phi, PREDICTIONS[name])(X, T)
    np.testing.assert_allclose(output_of(actual), expected, rtol=2e-4, atol=2e-5)
    np.testing.assert_array_equal(guidance.rescale(free, curved, schedule, 0.0)(X, T), free(X, T))


def test_zero_star_is_the_formula_of_the_paper():
    """Fan et al. (2025) on the velocity noise - x_0 of a flow."""
    schedule, scale, t = schedules.flow(), 4.0, 0.6
    with_condition, without = ((np.asarray(X - f(X, t)) / t).reshape(3, 4) for f in (curved, unconditional))
    s = np.sum(with_condition * without, 1, keepdims=True) / np.sum(without**2, 1, keepdims=True)
    velocity = ((1 - scale) * s * without + scale * with_condition).reshape(X.shape)
    actual = guidance.zero_star(curved, unconditional, scale, schedule)(X, jnp.float32(t))
    np.testing.assert_allclose((X - actual) / t, velocity, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(
        guidance.zero_star(curved, unconditional, 1.0, schedule)(X, jnp.float32(t)), curved(X, t)
    )


def test_zero_star_leaves_the_state_as_it_is_at_first():
    schedule = schedules.flow()
    denoise = guidance.zero_star(curved, unconditional, 4.0, schedule, zero_above=jnp.float32(0.9))
    guided = guidance.zero_star(curved, unconditional, 4.0, schedule)
    step = functools.partial(ddim().step, jax.random.split(jax.random.key(0), 3), ())
    for t, s, moves in [(1.0, 0.9, False), (0.9, 0.8, True)]:
        t, s = jnp.float32(t), jnp.float32(s)
        expected = step(X, t, s, guided, schedule)[1] if moves else X
        np.testing.assert_allclose(step(X, t, s, denoise, schedule)[1], expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(("parallel", "radius"), [(1.0, np.inf), (0.0, np.inf), (0.25, 1.6)])
def test_projected_is_the_formula_of_the_paper(parallel, radius):
    """Sadat et al. (2024): the difference shortened to the radius, its part along the estimate damped."""
    scale = 5.0
    estimate, other = (np.asarray(f(X, T), np.float64).reshape(3, 4) for f in (curved, unconditional))
    difference = estimate - other
    length = np.linalg.norm(difference, axis=1, keepdims=True)
    assert radius == np.inf or ((length > radius).any() and ((length < radius) & (length**2 > radius)).any())
    difference *= np.minimum(1, radius / length)
    direction = estimate / np.linalg.norm(estimate, axis=1, keepdims=True)
    along = np.sum(difference * direction, 1, keepdims=True) * direction
    expected = estimate + (scale - 1) * (difference - along + parallel * along)
    actual = guidance.projected(curved, unconditional, scale, parallel, radius)(X, T)
    np.testing.assert_allclose(actual.reshape(3, 4), expected, rtol=1e-5, atol=1e-5)
    if parallel == 1:
        free = guidance.classifier_free(curved, unconditional, scale)(X, T)
        np.testing.assert_allclose(actual, free, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "schedule", [schedules.cosine(), schedules.flow(), schedules.ve()], ids=["vp", "flow", "ve"]
)
def test_an_exact_classifier_gives_the_exact_posterior(schedule):
    """x_0 ~ N(mean, std^2) and y = x_0 + noise: p(y | x_t) is normal, and so is p(x_0 | x_t, y)."""
    mean, std, noise_std, y = 0.4, 0.6, 0.5, 1.3

    def given_x_t(x, t):
        alpha, sigma = schedule.alpha(t), schedule.sigma(t)
        gain = std**2 * alpha / (alpha**2 * std**2 + sigma**2)
        return mean + gain * (x - alpha * mean), std**2 * (1 - gain * alpha)

    def log_probability(x, t):
        estimate, variance = given_x_t(x, t)
        return -jnp.sum((y - estimate) ** 2, (1, 2, 3)) / (2 * (variance + noise_std**2))

    for t in (0.05, 0.5, 0.9):
        t = jnp.float32(t)
        x = schedule.alpha(t) * 0.5 + schedule.sigma(t) * X
        denoise = guidance.classifier(lambda x, t: given_x_t(x, t)[0], log_probability, schedule)
        estimate, variance = given_x_t(x, t)
        expected = estimate + variance / (variance + noise_std**2) * (y - estimate)
        np.testing.assert_allclose(denoise(x, t), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(
        guidance.classifier(curved, log_probability, schedules.flow(), 2.0)(X, jnp.float32(1)), curved(X, T)
    )


def test_one_condition_composes_to_classifier_free_bit_for_bit():
    for scale in (0.0, 1.0, 3.3, -2.0, lambda t: 5 * t):
        actual = guidance.compose([curved], unconditional, [scale])(X, T)
        np.testing.assert_array_equal(actual, guidance.classifier_free(curved, unconditional, scale)(X, T))


def test_composed_gaussian_experts_are_the_product():
    """p(x) prod_i (p_i(x) / p(x))^w_i of normal experts of the same covariance, or of different pixels."""
    schedule, t = schedules.cosine(), jnp.float32(0.6)
    alpha, sigma = schedule.alpha(t), schedule.sigma(t)

    def expert(mean, variance):
        mean, variance = jnp.asarray(mean)[None], jnp.asarray(variance)[None]
        return lambda x, t: mean + variance * alpha / (alpha**2 * variance + sigma**2) * (x - alpha * mean)

    x = X.reshape(3, 4)
    prior, means, weights = [0.1] * 4, np.array([[1.0, 0.5, 0.2, 0], [-1, 0.3, 0, 2]]), np.array([1.5, -0.7])
    product = prior + weights @ (means - np.array(prior))
    actual = guidance.compose([expert(m, [0.3] * 4) for m in means], expert(prior, [0.3] * 4), weights)(x, t)
    np.testing.assert_allclose(
        actual, expert(product.astype(np.float32), [0.3] * 4)(x, t), rtol=1e-4, atol=1e-5
    )

    first = expert([1.0, 0.5, 0.1, 0.1], [0.04, 0.02, 0.3, 0.3])
    second = expert([0.1, 0.1, -1.0, 0.1], [0.3, 0.3, 0.01, 0.3])
    both = expert([1.0, 0.5, -1.0, 0.1], [0.04, 0.02, 0.01, 0.3])
    actual = guidance.compose([first, second], expert(prior, [0.3] * 4), [1.0, 1.0])(x, t)
    np.testing.assert_allclose(actual, both(x, t), rtol=1e-5, atol=1e-6)


def test_compose_refuses_scales_that_do_not_fit():
    with pytest.raises(UserError, match="scales has length 1, it must be that of conditionals, 2"):
        guidance.compose([conditional, curved], unconditional, [1.0])
    with pytest.raises(UserError, match="conditionals is empty"):
        guidance.compose([], unconditional, [])


def test_clip_bounds_the_estimate_and_composes():
    clipped = guidance.clip(lambda x, t: jnp.array([[-3.0, -1.0, 0.25, 7.0]]))(jnp.zeros((1, 4)), T)
    np.testing.assert_array_equal(clipped, [[-1, -1, 0.25, 1]])
    both = guidance.clip(guidance.classifier_free(conditional, unconditional, 20.0), 0.0, 0.5)(10 * X, T)
    assert both.min() == 0 and both.max() == 0.5


@pytest.mark.parametrize("maximum", [np.inf, 2.0, 1.0])
@pytest.mark.parametrize("quantile", [0.5, 0.9, 0.995, 1.0])
def test_dynamic_threshold_is_the_formula_of_the_paper(quantile, maximum):
    """Imagen's, with the largest value of diffusers' `_threshold_sample`."""
    estimate = np.random.default_rng(2).normal(size=(4, 5, 5, 3)) * np.array([0.1, 1, 3, 9]).reshape(
        4, 1, 1, 1
    )
    flat = estimate.reshape(4, -1)
    s = np.clip(np.quantile(np.abs(flat), quantile, axis=1), 1, maximum)[:, None]
    expected = (np.clip(flat, -s, s) / s).reshape(estimate.shape)
    actual = guidance.dynamic_threshold(lambda x, t: x, quantile, maximum)(
        jnp.asarray(estimate, jnp.float32), T
    )
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)
    assert np.abs(actual).max() <= 1


def test_dynamic_threshold_refuses_what_is_out_of_range():
    with pytest.raises(UserError, match=r"quantile = 99.5 must be in \[0, 1\]"):
        guidance.dynamic_threshold(conditional, 99.5)
    with pytest.raises(UserError, match=r"maximum = 0.5 must be at least 1"):
        guidance.dynamic_threshold(conditional, maximum=0.5)


def test_the_package_names_what_it_exports():
    assert all(hasattr(guidance, name) for name in guidance.__all__)
    assert callable(guidance.classifier_free) and callable(guidance.interval)  # the functions, not the files
    assert prediction.denoiser is denoiser
