"""GANs: whose gradient is whose, in which order, and whether every rule reaches the update. Linear networks."""

import functools
import itertools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from genjax.augmentation import Augmentation
from genjax.conditions import mask_name
from genjax.losses import adversarial, penalties
from genjax.methods.averages import averaged, exponential, several
from genjax.methods.gan import auxiliary, latent_prior
from genjax.methods.gan.gan import gan, recognise
from genjax.methods.gradients import mean_gradient
from genjax.methods.variables import after
from genjax.models.gan.conditioning import Join, Projection
from genjax.models.gan.heads import ClassHead, CodeHead
from genjax.models.gan.mlp import MLPDiscriminator, MLPGenerator
from genjax.nn import BatchNorm, SpectralNorm
from genjax.random import example_keys, fold_in
from genjax.typing import UserError

SHAPE, N, Z, CLASSES = (2, 2, 1), 8, 3, 3
SIZE, RATE = 4, 0.1
KEY = jax.random.key(3)


class Generator(nn.Module):
    """``x = W z``; with a norm its statistics, with labels a shift for each."""

    norm: bool = False
    conditional: bool = False

    @nn.compact
    def __call__(self, z, condition=None, *, train=False):
        x = nn.Dense(SIZE, use_bias=False, name="w")(z)
        if self.conditional:
            x = x + nn.Embed(CLASSES, SIZE, name="shift")(condition["label"])
        x = BatchNorm(name="norm")(x, train=train) if self.norm else x
        return x.reshape(-1, *SHAPE)


class Discriminator(nn.Module):
    """``logit = w x``."""

    norm: bool = False
    spectral: bool = False
    conditional: bool = False

    @nn.compact
    def __call__(self, images, condition=None, *, train=False):
        x = images.reshape(len(images), -1)
        if self.conditional:
            x = x + nn.Embed(CLASSES, SIZE, name="shift")(condition["label"])
        x = BatchNorm(affine=False, name="norm")(x, train=train) if self.norm else x
        layer = nn.Dense(1, use_bias=False, name="w")
        logits = SpectralNorm(layer)(x, train=train) if self.spectral else layer(x)
        return logits[:, 0], (x.reshape(-1, *SHAPE),)


def method(generator=None, discriminator=None, **options):
    options = {
        "image_shape": SHAPE,
        "latent": latent_prior.normal(Z),
        "game": adversarial.wasserstein(),
    } | options
    generator, discriminator = generator or Generator(), discriminator or Discriminator()
    return gan(generator, discriminator, optax.sgd(RATE), optax.sgd(RATE), **options)


def batch(seed=0):
    image = jax.random.uniform(jax.random.key(seed), (N, *SHAPE), minval=-1)
    return {"image": image, "label": jnp.arange(N) % CLASSES, "_index": jnp.arange(N)}


def run(method, steps=1):
    """The states and metrics of some steps, the first state being the initial one."""
    states, metrics = [method.init(jax.random.key(0), batch())], []
    step = jax.jit(method.step)
    for i in range(steps):
        state, values = step(jax.random.fold_in(KEY, i), states[-1], batch(i))
        states.append(state)
        metrics.append(values)
    assert step._cache_size() == 1
    return states, metrics


def weights(state):
    """w [4] of the discriminator, and W [3, 4] of the generator."""
    judge = state.params["discriminator"]["discriminator"]
    return (
        np.asarray(judge["w"]["kernel"])[:, 0],
        np.asarray(state.params["generator"]["w"]["kernel"]),
    )


def latents(i=0):
    keys = example_keys(jax.random.fold_in(KEY, i), jnp.arange(N))
    return np.asarray(latent_prior.draw(latent_prior.normal(Z), fold_in(keys, 0)))


def flat(i=0):
    return np.asarray(batch(i)["image"]).reshape(N, -1)


def test_the_generator_answers_the_discriminator_as_it_has_become():
    (before, after), (metrics,) = run(method())
    w, kernel = weights(before)
    z, x = latents(), flat()
    fake = z @ kernel
    stepped = w + RATE * (x.mean(0) - fake.mean(0))
    answered = kernel + RATE * np.outer(z.mean(0), stepped)
    np.testing.assert_allclose(weights(after)[0], stepped, rtol=1e-5)
    np.testing.assert_allclose(weights(after)[1], answered, rtol=1e-5)
    np.testing.assert_allclose(metrics["real_logit"], (x @ w).mean(), rtol=1e-5)
    np.testing.assert_allclose(metrics["fake_logit"], (fake @ w).mean(), rtol=1e-5)
    np.testing.assert_allclose(metrics["generator"], -(fake @ w).mean(), rtol=1e-5)
    np.testing.assert_allclose(metrics["loss"], (fake @ w).mean() - (x @ w).mean(), rtol=1e-4)
    np.testing.assert_allclose(metrics["grad_norm"], np.linalg.norm(x.mean(0) - fake.mean(0)), rtol=1e-5)
    np.testing.assert_allclose(
        metrics["generator_grad_norm"], np.linalg.norm(np.outer(z.mean(0), stepped)), rtol=1e-5
    )


def test_one_update_of_the_generator_for_three_of_the_discriminator():
    states, _ = run(method(discriminator_steps=3, average=exponential(0.5)), 6)
    moved = [(weights(a)[1] != weights(b)[1]).any() for a, b in itertools.pairwise(states)]
    judged = [(weights(a)[0] != weights(b)[0]).any() for a, b in itertools.pairwise(states)]
    assert moved == [False, False, True, False, False, True]
    assert all(judged)
    # The average counts the generator's updates, of which there have been two.
    first, second = weights(states[3])[1], weights(states[6])[1]
    rates = [1 - 2 / 11, 1 - 3 / 12]
    average = weights(states[0])[1]
    for rate, kernel in zip(rates, (first, second), strict=True):
        average = average + rate * (kernel - average)
    np.testing.assert_allclose(states[6].ema["params"]["w"]["kernel"], average, rtol=1e-5)


def test_images_are_made_with_the_average_of_parameters_and_statistics():
    m = method(Generator(norm=True))
    states, _ = run(m, 3)
    statistics = [s.mutable["generator"]["batch_stats"]["norm"]["mean"] for s in states]
    average = statistics[0]
    for number, now in enumerate(statistics[1:], 1):
        average = average + (1 - (1 + number) / (10 + number)) * (now - average)
    ema = states[-1].ema
    np.testing.assert_allclose(ema["batch_stats"]["norm"]["mean"], average, rtol=1e-5)
    keys = jax.random.split(jax.random.key(9), 5)
    z = latent_prior.draw(latent_prior.normal(Z), keys)
    expected = Generator(norm=True).apply(ema, z, None, train=False)
    np.testing.assert_allclose(m.sample(keys, states[-1], {}), expected, rtol=1e-6)


def test_running_statistics_are_those_of_real_images_and_then_of_fakes():
    (before, after), _ = run(method(discriminator=Discriminator(norm=True)))
    fake = latents() @ weights(before)[1]
    expected = 0.9 * (0.1 * flat().mean(0)) + 0.1 * fake.mean(0)
    statistics = after.mutable["discriminator"]["batch_stats"]["discriminator"]["norm"]
    np.testing.assert_allclose(statistics["mean"], expected, rtol=1e-5)


def test_the_power_iteration_goes_one_step_further_in_a_step():
    """Of a kernel with one column the first step finds the norm, so u is a sign; a kernel that is normalised has the
    slope one at real images and at fakes."""
    m = method(discriminator=Discriminator(spectral=True), penalty=penalties.gradient_penalty(1.0))
    (before, _), (metrics,) = run(m)
    w, kernel = weights_of_spectral(before), weights_of_generator(before)
    unit = w / np.linalg.norm(w)
    np.testing.assert_allclose(metrics["penalty"], 0.0, atol=1e-10)
    np.testing.assert_allclose(metrics["real_logit"], (flat() @ unit).mean(), rtol=1e-4)
    np.testing.assert_allclose(metrics["fake_logit"], (latents() @ kernel @ unit).mean(), rtol=1e-4)


def test_both_times_it_is_the_network_with_the_same_vectors():
    variables = {"params": 1, "batch_stats": 2, "spectral": 3}
    changed = {"batch_stats": 20, "spectral": 30}
    assert after(variables, changed) == {"params": 1, "batch_stats": 20, "spectral": 3}


def weights_of_spectral(state):
    (kernel,) = jax.tree.leaves(state.params["discriminator"])
    return np.asarray(kernel)[:, 0]


def weights_of_generator(state):
    return np.asarray(state.params["generator"]["w"]["kernel"])


def test_a_penalty_is_added_to_the_discriminators_loss_alone():
    (_, plain_after), _ = run(method())
    (before, after), (metrics,) = run(method(penalty=penalties.gradient_penalty(5.0)))
    w = weights(before)[0]
    norm = np.linalg.norm(w)
    np.testing.assert_allclose(metrics["penalty"], 5.0 * (norm - 1) ** 2, rtol=1e-5)
    pushed = weights(plain_after)[0] - RATE * 10.0 * (norm - 1) * w / norm
    np.testing.assert_allclose(weights(after)[0], pushed, rtol=1e-5)
    np.testing.assert_allclose(metrics["loss"], metrics["discriminator"] + metrics["penalty"], rtol=1e-5)


def test_states_of_penalties_go_on():
    states, metrics = run(method(penalty=penalties.lazy(penalties.lecam(0.3, 0.9), 2)), 4)
    assert [int(s.mutable["penalty"].step) for s in states] == [0, 1, 2, 3, 4]
    real = [m["real_logit"] for m in metrics]
    np.testing.assert_allclose(
        states[4].mutable["penalty"].inner.real, 0.9 * 0.1 * real[0] + 0.1 * real[2], rtol=1e-5
    )


DOUBLED = Augmentation(
    init=lambda: {"images": jnp.zeros((), jnp.int32), "sign": jnp.zeros(())},
    apply=lambda keys, images, state: 2 * images,
    update=lambda state, sign, images: {"images": state["images"] + images, "sign": sign},
)
"""It writes down what it is told."""


@pytest.mark.parametrize("accumulate", [1, 2])
def test_augmentation_is_on_all_that_the_discriminator_sees(accumulate):
    m = method(augmentation=DOUBLED, penalty=penalties.r1(3.0), gradient=mean_gradient(accumulate))
    (before, after), (metrics,) = run(m)
    w, kernel = weights(before)
    logits = 2 * flat() @ w
    np.testing.assert_allclose(metrics["real_logit"], logits.mean(), rtol=1e-5)
    np.testing.assert_allclose(metrics["fake_logit"], (2 * latents() @ kernel @ w).mean(), rtol=1e-5)
    np.testing.assert_allclose(metrics["penalty"], 0.5 * 3.0 * 4 * (w @ w), rtol=1e-5)  # behind it
    state = after.mutable["augmentation"]
    assert int(state["images"]) == N
    np.testing.assert_allclose(state["sign"], np.sign(logits).mean(), rtol=1e-6)
    answered = kernel + RATE * np.outer(latents().mean(0), 2 * weights(after)[0])
    np.testing.assert_allclose(weights(after)[1], answered, rtol=1e-4)


def test_real_images_are_attacked_and_fakes_are_not():
    def attack(objective, keys, images):
        return images + 0.1 * jnp.sign(jax.grad(lambda x: objective(x).sum())(images))

    (before, _), (metrics,) = run(method(attack=attack))
    w, kernel = weights(before)
    np.testing.assert_allclose(metrics["real_logit"], (flat() @ w).mean() - 0.1 * np.abs(w).sum(), rtol=1e-4)
    np.testing.assert_allclose(metrics["fake_logit"], (latents() @ kernel @ w).mean(), rtol=1e-4)


def test_constraints_follow_the_update_and_come_before_the_answer():
    constrain = functools.partial(penalties.clip_weights, bound=0.05)
    (before, after), _ = run(method(constrain=constrain))
    kernel = weights(before)[1]
    stepped = weights(before)[0] + RATE * (flat().mean(0) - (latents() @ kernel).mean(0))
    clipped = np.clip(stepped, -0.05, 0.05)
    np.testing.assert_allclose(weights(after)[0], clipped, rtol=1e-5)
    answered = kernel + RATE * np.outer(latents().mean(0), clipped)
    np.testing.assert_allclose(weights(after)[1], answered, rtol=1e-5)


@pytest.mark.parametrize("side", ["generator", "discriminator"])
def test_penalties_of_weights(side):
    def squares(params):
        return 0.5 * sum(jnp.square(x).sum() for x in jax.tree.leaves(params))

    (before, plain), _ = run(method())
    (_, after), _ = run(method(weight_penalties={side: squares}))
    which = {"discriminator": 0, "generator": 1}[side]
    expected = weights(plain)[which] - RATE * weights(before)[which]
    np.testing.assert_allclose(weights(after)[which], expected, rtol=1e-5)


def test_the_generator_learns_from_the_best_fakes():
    """The share is that of the step: all images in the first, a quarter in the second."""
    share = lambda step: jnp.where(step == 0, 1.0, 0.25)  # noqa: E731
    states, _ = run(method(top_k=share), 2)
    plain, _ = run(method(), 1)
    np.testing.assert_allclose(weights(states[1])[1], weights(plain[1])[1], rtol=1e-6)
    kernel, w = weights(states[1])[1], weights(states[2])[0]
    z = latents(1)
    best = np.argsort(-(z @ kernel @ w))[:2]
    expected = kernel + RATE * np.outer(z[best].mean(0), w)
    np.testing.assert_allclose(weights(states[2])[1], expected, rtol=1e-5)


def test_relativistic_generators_see_the_real_images():
    (before, after), _ = run(method(game=adversarial.relativistic()))
    (_, kernel), stepped = weights(before), weights(after)[0]
    z = latents()
    gap = flat() @ stepped - z @ kernel @ stepped
    gradient = (-(1 / (1 + np.exp(-gap)))[:, None, None] * z[:, :, None] * stepped).mean(0)
    np.testing.assert_allclose(weights(after)[1], kernel - RATE * gradient, rtol=1e-5)


def test_fakes_get_the_labels_beside_them():
    m = method(Generator(conditional=True), Discriminator(conditional=True), conditions=("label",))
    (before, _), (metrics,) = run(m)
    w, kernel = weights(before)
    label = np.arange(N) % CLASSES
    shift = np.asarray(before.params["generator"]["shift"]["embedding"])[label]
    judged = np.asarray(before.params["discriminator"]["discriminator"]["shift"]["embedding"])[label]
    np.testing.assert_allclose(metrics["real_logit"], ((flat() + judged) @ w).mean(), rtol=1e-4)
    fake = latents() @ kernel + shift
    np.testing.assert_allclose(metrics["fake_logit"], ((fake + judged) @ w).mean(), rtol=1e-4)
    keys = jax.random.split(KEY, 3)
    made = m.sample(keys, before, {"label": jnp.arange(3)}) - m.sample(
        keys, before, {"label": jnp.zeros(3, jnp.int32)}
    )
    table = np.asarray(before.ema["params"]["shift"]["embedding"])
    np.testing.assert_allclose(made.reshape(3, -1), table - table[:1], atol=1e-6)


def test_an_auxiliary_classifier_learns_from_both_and_teaches_the_generator():
    ask = auxiliary.auxiliary_classifier(ClassHead(CLASSES), 0.5)
    m = method(Generator(conditional=True), auxiliary=ask, conditions=("label",))
    states, (metrics,) = run(m)
    before, after = states
    head = before.params["discriminator"]["head"]["logits"]
    label = np.arange(N) % CLASSES
    fake = latents() @ weights(before)[1] + np.asarray(
        before.params["generator"]["shift"]["embedding"][label]
    )

    def entropy(x, head):
        logits = x @ head["kernel"] + head["bias"][None]
        return optax.softmax_cross_entropy_with_integer_labels(logits, label).mean()

    expected = 0.5 * (entropy(flat(), head) + entropy(fake, head))
    np.testing.assert_allclose(metrics["question"], expected, rtol=1e-5)
    taught, w = after.params["discriminator"]["head"]["logits"], weights(after)[0]

    def answered(kernel):
        x = latents() @ kernel + (fake - latents() @ weights(before)[1])
        return 0.5 * entropy(x, taught) - (x @ w).mean()

    kernel = weights(before)[1]
    np.testing.assert_allclose(
        weights(after)[1], kernel - RATE * np.asarray(jax.grad(answered)(kernel)), rtol=1e-4
    )
    logits = recognise(Discriminator(), ask, after, batch()["image"])
    np.testing.assert_allclose(logits, flat() @ taught["kernel"] + taught["bias"][None], rtol=1e-5)


def test_codes_are_recognised_in_fakes():
    prior = latent_prior.with_codes(latent_prior.normal(1), (2,), 1)
    ask = auxiliary.mutual_information(CodeHead((2,), 1, 4), prior, 0.7, 0.3)
    m = method(latent=prior, auxiliary=ask)
    (before, after), (metrics,) = run(m)
    keys = example_keys(jax.random.fold_in(KEY, 0), jnp.arange(N))
    z = latent_prior.draw(prior, fold_in(keys, 0))
    fake = Generator().apply({"params": before.params["generator"]}, z)
    answer = recognise(Discriminator(), ask, before, fake)
    log_q = jax.nn.log_softmax(answer.logits[0])
    categorical = -(log_q * z[:, 1:3]).sum(1)
    mean, log_variance = (np.asarray(x)[:, 0] for x in answer.continuous)
    error = np.asarray(z)[:, 3] - mean
    continuous = 0.5 * (np.log(2 * np.pi) + log_variance + error**2 / np.exp(log_variance))
    np.testing.assert_allclose(metrics["question"], (0.7 * categorical + 0.3 * continuous).mean(), rtol=1e-5)
    for side in ("generator", "discriminator"):
        pairs = jax.tree.map(lambda a, b: (a != b).any(), before.params[side], after.params[side])
        assert all(jax.tree.leaves(pairs))


def test_micro_batches_add_up():
    options = {"penalty": penalties.combine(penalties.lecam(), penalties.r1()), "average": exponential(0.5)}
    whole, _ = run(method(**options), 3)
    parts, _ = run(method(**options, gradient=mean_gradient(4)), 3)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4), parts[-1], whole[-1])


def test_evaluate_judges_with_running_statistics_and_the_average():
    m = method(Generator(), Discriminator(norm=True), game=adversarial.hinge())
    states, _ = run(m, 2)
    values = m.evaluate(KEY, states[-1], batch())
    fake = m.sample(example_keys(KEY, jnp.arange(N)), states[-1], {})
    statistics = states[-1].mutable["discriminator"]["batch_stats"]["discriminator"]["norm"]
    w = weights(states[-1])[0]

    def logits(x):
        return (x - statistics["mean"][None]) / np.sqrt(statistics["var"][None] + 1e-5) @ w

    real, made = logits(flat()), logits(np.asarray(fake).reshape(N, -1))
    np.testing.assert_allclose(values["real_logit"], real, rtol=1e-4)
    np.testing.assert_allclose(values["fake_logit"], made, rtol=1e-4)
    expected = np.maximum(0, 1 - real) + np.maximum(0, 1 + made)
    np.testing.assert_allclose(values["loss"], expected, rtol=1e-4)


def test_an_auxiliary_classifier_asks_nothing_of_examples_without_a_label():
    task = auxiliary.auxiliary_classifier(ClassHead(CLASSES), 2.0, name="kind")
    answer = jnp.asarray(np.random.default_rng(0).normal(size=(3, CLASSES)), jnp.float32)
    given = {"kind": jnp.array([0, 1, 2])}
    full = task.generator(answer, given, None)
    np.testing.assert_allclose(full, -2 * np.diag(jax.nn.log_softmax(answer)), rtol=1e-5)
    masked = {**given, mask_name("kind"): jnp.array([True, False, True])}
    np.testing.assert_array_equal(task.generator(answer, masked, None), full * np.array([1, 0, 1]))
    with pytest.raises(UserError, match="kind is missing"):
        task.generator(answer, {"label": given["kind"]}, None)


class Styled(nn.Module):
    """A generator with a latent space of its own: a mapping, and a linear synthesis with noise."""

    width: int = 5
    scale: float = 0.5

    def setup(self):
        self.hidden, self.style = nn.Dense(6), nn.Dense(self.width)
        self.shift = nn.Embed(CLASSES, self.width)
        self.image = nn.Dense(SIZE, use_bias=False)

    def mapping(self, z, condition, *, train):
        w = self.style(nn.tanh(self.hidden(z)))
        return {"style": w + self.shift(condition["label"]) if "label" in condition else w}

    def synthesis(self, w, keys, *, train):
        noise = jax.vmap(lambda key: jax.random.normal(key, (SIZE,)))(keys)
        return (self.image(w["style"]) + self.scale * noise).reshape(-1, *SHAPE)

    def __call__(self, z, condition, keys, *, train):
        return self.synthesis(self.mapping(z, condition, train=train), keys, train=train)


def test_a_generator_with_a_latent_space_of_its_own_is_trained():
    """Step by step as a plain one whose images are the synthesis of the mapping, with noise of the images' keys."""
    m = method(Styled(), conditions=("label",))
    (before, after), (metrics,) = run(m)
    assert jax.tree.structure(before) == jax.tree.structure(after)
    assert set(before.params["generator"]) == {"hidden", "style", "image"} | {"shift"}
    keys, z = example_keys(jax.random.fold_in(KEY, 0), jnp.arange(N)), latents()
    condition = {"label": batch()["label"]}

    def images(params):
        noise = fold_in(keys, 2**31 - 2)
        return Styled().apply({"params": params}, z, condition, noise, train=True).reshape(N, -1)

    w, fake = weights_of_judge(before), images(before.params["generator"])
    stepped = w + RATE * (flat().mean(0) - fake.mean(0))
    np.testing.assert_allclose(weights_of_judge(after), stepped, rtol=1e-5)
    np.testing.assert_allclose(metrics["fake_logit"], (fake @ w).mean(), rtol=1e-5)
    grads = jax.grad(lambda params: -(images(params) @ stepped).mean())(before.params["generator"])
    expected = jax.tree.map(lambda p, g: p - RATE * g, before.params["generator"], grads)
    close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6)
    jax.tree.map(close, after.params["generator"], expected)


def weights_of_judge(state):
    return np.asarray(state.params["discriminator"]["discriminator"]["w"]["kernel"])[:, 0]


def test_an_image_with_noise_is_the_same_alone_and_in_a_batch():
    m = method(Styled(), conditions=("label",))
    state = m.init(jax.random.key(0), batch())
    keys, condition = jax.random.split(jax.random.key(5), 6), {"label": jnp.arange(6) % CLASSES}
    together = m.sample(keys, state, condition)
    order = jnp.array([4, 1, 3])
    some = m.sample(keys[order], state, {"label": condition["label"][order]})
    np.testing.assert_allclose(some, together[order], atol=1e-6)
    # The noise is there, and says nothing of z: it is what is left without the scale.
    quiet = method(Styled(scale=0.0), conditions=("label",)).sample(keys, state, condition)
    noise = np.asarray(together - quiet).reshape(6, -1)
    drawn = jax.vmap(lambda key: jax.random.normal(key, (SIZE,)))(fold_in(keys, 2**31 - 2))
    np.testing.assert_allclose(noise, 0.5 * drawn, atol=1e-5)
    values = m.evaluate(KEY, state, {**batch(), "_index": jnp.arange(N) + 3})
    shifted = m.evaluate(KEY, state, jax.tree.map(lambda x: x[2:], {**batch(), "_index": jnp.arange(N) + 3}))
    np.testing.assert_allclose(values["fake_logit"][2:], shifted["fake_logit"], rtol=1e-5)


def test_path_lengths_are_measured_in_w():
    """Of a linear synthesis the derivative in w is its matrix, whatever the mapping."""
    m = method(Styled(), conditions=("label",), generator_penalty=penalties.path_length(2.0, 0.9))
    (before, after), _ = run(m)
    keys = example_keys(jax.random.fold_in(KEY, 0), jnp.arange(N))
    y = jax.vmap(lambda key: jax.random.normal(key, SHAPE))(fold_in(keys, 7)).reshape(N, -1)
    matrix = np.asarray(before.params["generator"]["image"]["kernel"])
    lengths = np.linalg.norm(y @ matrix.T, axis=1) / 2  # the root of 2x2 pixels
    np.testing.assert_allclose(after.mutable["generator_penalty"], 0.1 * lengths.mean(), rtol=1e-5)
    # The value is 2 lengths^2, whose gradient is of the matrix alone.
    (_, plain), _ = run(method(Styled(), conditions=("label",)))
    slope = jax.grad(lambda a: 2 * (jnp.square(y @ a.T).sum(1) / 4).mean())(matrix)
    moved = jax.tree.map(lambda a, b: a - b, plain.params["generator"], after.params["generator"])
    np.testing.assert_allclose(moved["image"]["kernel"], RATE * slope, rtol=1e-3, atol=1e-6)
    for name in ("hidden", "style", "shift"):
        jax.tree.map(lambda x: np.testing.assert_allclose(x, np.zeros_like(x), atol=1e-7), moved[name])


def test_gradients_are_computed_as_asked():
    """Both sides': here they are three times as large, and the metrics are a stranger's."""

    def threefold(loss, params, key, batch):
        metrics, grads = mean_gradient()(loss, params, key, batch)
        return {**metrics, "seen": jnp.ones(())}, jax.tree.map(lambda g: 3 * g, grads)

    (before, plain), _ = run(method(game=adversarial.wasserstein()))
    (_, after), (metrics,) = run(method(gradient=threefold))
    w = weights(before)[0]
    np.testing.assert_allclose(weights(after)[0] - w, 3 * (weights(plain)[0] - w), rtol=1e-4)
    answered = weights(before)[1] + 3 * RATE * np.outer(latents().mean(0), weights(after)[0])
    np.testing.assert_allclose(weights(after)[1], answered, rtol=1e-4)
    assert metrics["seen"] == 1


def test_several_averages():
    """The first makes images, the others stand beside it."""
    m = method(average=several(exponential(0.5), last=exponential(0.0)))
    states, _ = run(m, 3)
    alone, _ = run(method(average=exponential(0.5)), 3)
    jax.tree.map(np.testing.assert_array_equal, averaged(states[-1]), alone[-1].ema)
    last = states[-1].ema.others["last"]["params"]
    np.testing.assert_allclose(last["w"]["kernel"], weights(states[-1])[1], rtol=1e-6)
    keys = jax.random.split(KEY, 2)
    one, other = (method().sample(keys, state, {}) for state in (states[-1], alone[-1]))
    np.testing.assert_array_equal(one, other)


def test_temperature_is_of_the_noise_and_codes_can_be_asked_for():
    prior = latent_prior.with_codes(latent_prior.uniform(4), (3, 2), 1)
    keys = jax.random.split(KEY, 600)
    z = latent_prior.draw(prior, keys)
    assert z.shape == (600, prior.width) == (600, 10)
    cold = latent_prior.draw(prior, keys, jnp.full(600, 0.5), jnp.full(600, 2))
    np.testing.assert_allclose(cold[:, :4], 0.5 * z[:, :4])
    np.testing.assert_array_equal(cold[:, 4:7], np.tile([0.0, 0.0, 1.0], (600, 1)))
    np.testing.assert_array_equal(cold[:, 7:], z[:, 7:])
    (first, second), continuous = latent_prior.codes(prior, z)
    for code in (first, second):
        np.testing.assert_array_equal(code.sum(1), np.ones(600))
        np.testing.assert_allclose(code.mean(0), 1 / code.shape[1], atol=0.07)
    # Independent of each other, and evenly spread.
    np.testing.assert_allclose(first.T @ second / 600, np.full((3, 2), 1 / 6), atol=0.06)
    assert float(jnp.abs(continuous.mean())) < 0.1 and float(continuous.min()) < -0.9
    assert float(z[:, :4].min()) < -0.99 and float(z[:, :4].max()) > 0.99


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"discriminator_steps": 0}, "discriminator_steps=0: valid are whole numbers of 1 and more"),
        (
            {"weight_penalties": {"judge": lambda p: 0.0}},
            r"weight_penalties=\['judge'\]: valid are generator",
        ),
        (
            {"augmentation": DOUBLED._replace(apply=lambda k, x, s: jnp.round(x))},
            "derivative .* zero everywhere",
        ),
        ({"latent": None}, "width=0: valid are 1"),
        ({"image_shape": (4, 4, 1)}, r"image_shape=\(4, 4, 1\): the generator makes images of \(2, 2, 1\)"),
    ],
)
def test_refusals(options, message):
    with pytest.raises(UserError, match=message):
        if "latent" in options:
            latent_prior.normal(0)
        method(**options).init(KEY, batch())


def test_labels_must_be_there():
    m = method(Generator(conditional=True), Discriminator(conditional=True), conditions=("label",))
    unlabelled = {name: x for name, x in batch().items() if name != "label"}
    with pytest.raises(UserError, match="label is missing: the model needs the conditions label"):
        m.init(KEY, unlabelled)
    state = m.init(KEY, batch())
    with pytest.raises(UserError, match="label is missing: the model needs the conditions label"):
        m.sample(jax.random.split(KEY, 2), state, {})
    prior = latent_prior.normal(2)
    with pytest.raises(UserError, match="prior has no codes"):
        auxiliary.mutual_information(CodeHead(), prior)
    with pytest.raises(UserError, match="code is given"):
        latent_prior.draw(prior, jax.random.split(KEY, 2), code=jnp.zeros(2, jnp.int32))
    with pytest.raises(UserError, match="categorical=\\(1,\\), continuous=0"):
        latent_prior.with_codes(prior, (1,), 0)


GAMES = (
    adversarial.minimax,
    adversarial.non_saturating,
    functools.partial(adversarial.non_saturating, smoothing=0.1),
    adversarial.hinge,
    adversarial.least_squares,
    adversarial.wasserstein,
    adversarial.relativistic,
)


def chosen(which):
    """The game number `which`, an array: all of them in one program."""
    made = [make() for make in GAMES]

    def side(name):
        return lambda real, fake: jax.lax.switch(which, [getattr(g, name) for g in made], real, fake)

    return adversarial.AdversarialLoss(side("discriminator"), side("generator"))


def all_penalties(weight):
    """Those with weights above 0 count; all are in one program."""

    def augment(keys, images):
        return images + 0.1 * jax.vmap(lambda key: jax.random.normal(key, images.shape[1:]))(keys)

    return penalties.combine(
        penalties.gradient_penalty(weight[0]),
        penalties.dragan(weight[1]),
        penalties.r1(weight[2]),
        penalties.r2(weight[3]),
        penalties.lecam(weight[4]),
        penalties.balanced_consistency(augment, weight[5], weight[5]),
        penalties.lazy(penalties.r1(weight[6]), 4),
    )


@pytest.mark.quick_compilation
@pytest.mark.parametrize("conditioning", ["none", "concatenation", "projection", "auxiliary", "codes"])
def test_any_game_with_any_penalty_and_any_conditioning_stays_finite(conditioning):
    """Twenty steps of each combination; the program is compiled once for all games and penalties."""
    classes = None if conditioning in ("none", "codes") else CLASSES
    join = None if classes is None else Join(CLASSES)
    latent = latent_prior.normal(Z)
    ask = None
    if conditioning == "codes":
        latent = latent_prior.with_codes(latent, (3,), 1)
        ask = auxiliary.mutual_information(CodeHead((3,), 1, 4), latent)
    if conditioning == "auxiliary":
        ask = auxiliary.auxiliary_classifier(ClassHead(CLASSES))

    def build(which, weight):
        return gan(
            MLPGenerator(SHAPE, (8,), join),
            MLPDiscriminator(
                (8,),
                2,
                join if conditioning == "concatenation" else None,
                Projection(CLASSES) if conditioning == "projection" else None,
            ),
            optax.adam(1e-2, b1=0.5),
            optax.adam(1e-2, b1=0.5),
            image_shape=SHAPE,
            latent=latent,
            conditions=() if classes is None else ("label",),
            game=chosen(which),
            penalty=all_penalties(weight),
            auxiliary=ask,
        )

    @jax.jit
    def all_of_them(games, weights, state):
        def twenty(which_and_weight):
            def one(state, i):
                return build(*which_and_weight).step(jax.random.fold_in(KEY, i), state, batch())

            return jax.lax.scan(one, state, jnp.arange(20))

        return jax.lax.map(twenty, (games, weights))

    kinds = 7
    weights = np.concatenate([np.zeros((1, kinds)), np.eye(kinds)]).astype(np.float32) * 10.0
    initial = build(0, np.ones(kinds)).init(jax.random.key(0), batch())
    combinations = list(itertools.product(range(len(GAMES)), range(kinds + 1)))
    games, chosen_weights = (np.array(x) for x in zip(*combinations, strict=True))
    results = jax.device_get(all_of_them(games, weights[chosen_weights], initial))
    for path, leaf in jax.tree_util.tree_leaves_with_path(results):
        finite = np.isfinite(leaf).reshape(len(combinations), -1).all(1)
        wrong = [combination for combination, fine in zip(combinations, finite, strict=True) if not fine]
        assert not wrong, jax.tree_util.keystr(path)
    losses = results[1]["loss"][:, -1]
    # Each game and each penalty is another one: where they were not applied, losses would coincide.
    assert len(set(losses.tolist())) == len(combinations) == 56
