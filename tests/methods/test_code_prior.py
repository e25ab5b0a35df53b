"""The prior over codes: a normalised distribution that is learned to its entropy, and sampled from as it says."""

import functools
import itertools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from genjax.conditions import label_or_null, mask_name
from genjax.methods.averages import exponential, several
from genjax.methods.codes.code_model import CodeModel
from genjax.methods.codes.code_prior import code_prior
from genjax.methods.gradients import mean_gradient
from genjax.models.codes.code_transformer import CodeTransformer
from genjax.models.codes.pixel_cnn import PixelCNN
from genjax.nn import Dropout
from genjax.train import sharding
from genjax.typing import TrainState, UserError

CLASSES = 2


def as_image(codes, num_codes):
    """int32[B,h,w] -> float32[B,h,w] in [-1, 1]."""
    return (2.0 * codes + 1.0) / num_codes - 1.0


def as_codes(image, num_codes):
    return jnp.floor((image + 1.0) / 2.0 * num_codes).astype(jnp.int32)


ONE_LEVEL = CodeModel(
    encode=lambda state, image: (as_codes(image[..., 0], 3),),
    decode=lambda state, codes: as_image(codes[0], 3)[..., None],
    shapes=((2, 2),),
    num_codes=(3,),
)
"""Images 2x2x1 that are their codes."""

TWO_LEVELS = CodeModel(
    encode=lambda state, image: (as_codes(image[:, :1, :1, 1], 2), as_codes(image[..., 0], 3)),
    decode=lambda state, codes: jnp.stack(
        [as_image(codes[1], 3), jnp.broadcast_to(as_image(codes[0], 2), codes[1].shape)], axis=-1
    ),
    shapes=((1, 1), (2, 2)),
    num_codes=(2, 3),
)
"""Images 2x2x2: one coarse code in the second channel, all over, and four fine ones in the first."""


class Table(nn.Module):
    """A logit for each class, place, code before and code, and for the first coarser code: quickly compiled."""

    num_codes: int
    num_classes: int
    coarser_codes: int | None = None
    dropout: float = 0.0

    @nn.compact
    def __call__(self, codes, condition=None, coarser=None, *, dropout_index=None):
        flat, normal = codes.reshape(len(codes), -1), nn.initializers.normal(0.3)
        before = jnp.concatenate([jnp.zeros_like(flat[:, :1]), 1 + flat[:, :-1]], axis=1)
        label = label_or_null(condition, "label", self.num_classes, len(codes))
        sizes = (self.num_classes + 1, flat.shape[1], self.num_codes + 1, self.num_codes)
        y = 5.0 * self.param("table", normal, sizes)[label[:, None], jnp.arange(flat.shape[1])[None], before]
        if coarser is not None:
            table = self.param("coarser", normal, (self.coarser_codes, self.num_codes))
            y = y + table[coarser.reshape(len(codes), -1)[:, :1]]
        return Dropout(self.dropout)(y, dropout_index).reshape(*codes.shape, self.num_codes)


NETWORKS = {
    "pixel_cnn": functools.partial(PixelCNN, channels=16, depth=1, kernel_size=3),
    "transformer": functools.partial(CodeTransformer, width=16, depth=1, heads=2),
    "table": Table,
}


def method(name, first, **options):
    coarser = (None, *first.num_codes)
    networks = [
        NETWORKS[name](k, num_classes=CLASSES, coarser_codes=above)
        for k, above in zip(first.num_codes, coarser, strict=False)
    ]
    options = {"first_state": no_state, "conditions": ("label",), "optimizer": optax.adam(0.01)} | options
    return code_prior(networks, first=first, **options)


def no_state(key, batch):
    return TrainState(step=jnp.zeros((), jnp.int32), params={}, opt=())


def every_image(first):
    """All that codes can be, decoded: float32[K^(hw),H,W,C]."""
    sizes = [math.prod(shape) for shape in first.shapes]
    ranges = [range(k) for k, size in zip(first.num_codes, sizes, strict=True) for _ in range(size)]
    rows = jnp.array(list(itertools.product(*ranges)), jnp.int32)
    parts = jnp.split(rows, np.cumsum(sizes)[:-1], axis=1)
    return first.decode(None, tuple(p.reshape(-1, *s) for p, s in zip(parts, first.shapes, strict=True)))


def number(first, image):
    """int[B]: which of `every_image` they are."""
    codes = [np.asarray(x).reshape(len(image), -1) for x in first.encode(None, image)]
    digits = [(x, k) for level, k in zip(codes, first.num_codes, strict=True) for x in level.T]
    return functools.reduce(lambda total, digit: total * digit[1] + digit[0], digits, 0)


def as_batch(image, label):
    return {"image": image, "label": jnp.broadcast_to(label, len(image)), "_index": jnp.arange(len(image))}


def drawn_state(method, batch):
    """As `init` makes it, but with another average of the parameters, which themselves are 0; drawn by numpy to compile
    less."""
    random = np.random.default_rng(0)

    def draw(x):
        scale = 0.5 if len(x.shape) == 1 else 1.5 * math.prod(x.shape[:-1]) ** -0.5
        return jnp.asarray(scale * random.standard_normal(x.shape), x.dtype)

    state = jax.eval_shape(method.init, jax.random.key(0), batch)
    average = jax.tree.map(draw, state.ema)
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), (state.step, state.params, state.opt))
    return TrainState(*zeros, average, frozen=state.frozen)


class Subject:
    """A prior with some parameters, all images, and how probable it says they are, with each label and the null."""

    def __init__(self, name, first):
        self.method, self.first, self.images = method(name, first), first, every_image(first)
        self.state = drawn_state(self.method, as_batch(self.images[:1], 0))
        evaluate = jax.jit(self.method.evaluate)
        self.values = [
            evaluate(jax.random.key(0), self.state, as_batch(self.images, i)) for i in range(CLASSES + 1)
        ]
        self.log_p = -np.stack([v["loss"] for v in self.values]).astype(np.float64)
        self.sample = jax.jit(self.method.sample)

    def frequencies(self, n, **condition):
        """How often each of the images is among n samples."""
        condition = {k: jnp.full(n, x) for k, x in condition.items()}
        drawn = self.sample(jax.random.split(jax.random.key(3), n), self.state, condition)
        return np.bincount(number(self.first, drawn), minlength=len(self.images)) / n


SUBJECT = functools.cache(Subject)


@pytest.fixture(params=NETWORKS)
def subject(request):
    return SUBJECT(request.param, TWO_LEVELS)


def distance(p, q):
    """Total variation."""
    return 0.5 * np.abs(p - q).sum()


def expected_distance(p, n):
    """Of the frequencies of n draws from p: half the mean absolute deviations, nearly normal."""
    return 0.5 * np.sqrt(2 / math.pi * p * (1 - p) / n).sum()


def test_probabilities_of_all_codes_sum_to_one(subject):
    np.testing.assert_allclose(np.exp(subject.log_p).sum(1), 1.0, rtol=1e-5)
    assert np.ptp(subject.log_p, axis=1).min() > 1.0  # and they are not all alike
    assert distance(*np.exp(subject.log_p[:2])) > 0.1


def test_bits_per_code_are_those_of_the_levels():
    s = SUBJECT("table", TWO_LEVELS)
    values = s.values[0]
    bits = values["bits_per_code_0"] + 4 * values["bits_per_code_1"]
    np.testing.assert_allclose(bits * math.log(2), values["loss"], rtol=1e-5)
    np.testing.assert_allclose(bits / 5, values["bits_per_code"], rtol=1e-5)
    _, metrics = jax.eval_shape(s.method.step, jax.random.key(0), s.state, as_batch(s.images, 0))
    assert set(metrics) == {*values, "grad_norm"}
    s = SUBJECT("table", ONE_LEVEL)
    assert set(s.values[0]) == {"loss", "bits_per_code"}


def test_samples_follow_the_joint_distribution(subject):
    """That of the label; without one that of the null label."""
    n = 4096
    for label in (1, None):
        p = np.exp(subject.log_p[CLASSES if label is None else label])
        actual = subject.frequencies(n, **({} if label is None else {"label": label}))
        assert distance(actual, p) < 1.25 * expected_distance(p, n)
    assert distance(actual, np.exp(subject.log_p[0])) > 2 * expected_distance(p, n)


def test_temperature_and_guidance():
    """Of the first code, the two are exact powers of its distribution; at temperature 0 the mode of each is taken."""
    s, n = SUBJECT("table", TWO_LEVELS), 4096
    first_code = np.asarray(s.first.encode(None, s.images)[0]).ravel()

    def of_first(p):
        return np.bincount(first_code, weights=p)

    label, null = of_first(np.exp(s.log_p[0])), of_first(np.exp(s.log_p[CLASSES]))
    for options, p in (
        ({"temperature": 2.0}, label**0.5),
        ({"guidance": 3.0}, null * (label / null) ** 3),
        ({"guidance": 0.0}, null),
    ):
        actual = of_first(s.frequencies(n, label=0, **options))
        np.testing.assert_allclose(actual, p / p.sum(), atol=4 * (0.25 / n) ** 0.5, err_msg=str(options))
    coldest = s.frequencies(16, label=0, temperature=0.0)
    assert coldest.max() == 1.0
    assert first_code[coldest.argmax()] == label.argmax()


def test_an_image_belongs_to_its_key_and_condition():
    s, n = SUBJECT("table", TWO_LEVELS), 16
    keys, label = jax.random.split(jax.random.key(5), n), jnp.arange(n) % CLASSES
    images = s.sample(keys, s.state, {"label": label})
    assert len({x.tobytes() for x in np.asarray(images)}) > n / 4
    order = jnp.arange(n)[::-1]
    np.testing.assert_array_equal(
        s.sample(keys[order], s.state, {"label": label[order]}), images[order], strict=True
    )
    np.testing.assert_array_equal(s.sample(keys[3:4], s.state, {"label": label[3:4]}), images[3:4])


def toy_codes():
    """int32[18,2,2] and labels, whose average entropy is known: with label 0 the second row is the first backwards
    (9 cases), with label 1 all codes are equal (3 cases, three times each)."""
    mirrored = [(*c, *c[::-1]) for c in itertools.product(range(3), repeat=2)]
    equal = [(c,) * 4 for c in range(3)] * 3
    return jnp.array(mirrored + equal, jnp.int32).reshape(-1, 2, 2), jnp.repeat(jnp.arange(2), 9)


@pytest.mark.parametrize("name", ["pixel_cnn", "transformer"])
def test_learns_a_distribution_to_its_entropy(name):
    rate = optax.cosine_decay_schedule(0.01, 300)
    m = method(name, ONE_LEVEL, condition_dropout=0.0, average=exponential(0.9), optimizer=optax.adam(rate))
    codes, label = toy_codes()
    b = as_batch(ONE_LEVEL.decode(None, (codes,)), label)
    state = m.init(jax.random.key(0), b)

    @functools.partial(jax.jit, donate_argnums=0)
    def step(state, i):
        return m.step(jax.random.key(i), state, b)

    for i in range(300):
        state, metrics = step(state, i)
    entropy = (math.log(9) + math.log(3)) / 2
    assert entropy - 1e-4 < float(metrics["loss"]) < entropy + 0.01
    value = jax.jit(m.evaluate)(jax.random.key(0), state, b)["loss"]
    np.testing.assert_allclose(value[:9], math.log(9), atol=0.1)
    np.testing.assert_allclose(value[9:], math.log(3), atol=0.1)

    n = 512
    images = jax.jit(m.sample)(jax.random.split(jax.random.key(1), n), state, {"label": jnp.arange(n) % 2})
    (drawn,) = ONE_LEVEL.encode(None, images)
    drawn = np.asarray(drawn.reshape(n, 4))
    mirrored, equal = drawn[::2], drawn[1::2]
    assert (mirrored[:, 2:] == mirrored[:, 1::-1]).all(1).mean() > 0.97
    assert (equal == equal[:, :1]).all(1).mean() > 0.97
    for row, p in ((mirrored[:, :2] @ [3, 1], np.full(9, 1 / 9)), (equal[:, 0], np.full(3, 1 / 3))):
        actual = np.bincount(row, minlength=p.size) / len(row)
        assert distance(actual, p) < 2 * expected_distance(p, len(row))


def test_a_label_that_is_masked_is_one_that_is_missing():
    """In the loss and in images, bit for bit."""
    s, n = SUBJECT("table", TWO_LEVELS), 8
    keys, label = jax.random.split(jax.random.key(5), n), jnp.arange(n) % CLASSES
    hidden = {"label": label, mask_name("label"): jnp.arange(n) >= 4}
    some, none, all_of_them = (s.sample(keys, s.state, c) for c in (hidden, {}, {"label": label}))
    np.testing.assert_array_equal(some, jnp.concatenate([none[:4], all_of_them[4:]]))
    assert (none[4:] != all_of_them[4:]).any()
    b = {**as_batch(s.images, 0), mask_name("label"): jnp.zeros(len(s.images), bool)}
    loss = jax.jit(s.method.evaluate)(jax.random.key(0), s.state, b)["loss"]
    np.testing.assert_array_equal(loss, s.values[CLASSES]["loss"])


def test_images_are_made_with_the_first_of_several_averages():
    s, n = SUBJECT("table", ONE_LEVEL), 16
    m = method("table", ONE_LEVEL, average=several(exponential(), slow=exponential(0.99)))
    state = m.init(jax.random.key(0), as_batch(s.images, 0))
    state = state.replace(ema=state.ema.replace(first=s.state.ema))
    keys = jax.random.split(jax.random.key(5), n)
    np.testing.assert_array_equal(jax.jit(m.sample)(keys, state, {}), s.sample(keys, s.state, {}))


def test_labels_are_hidden_at_the_configured_rate():
    """Of the tables of the classes only that of the null label gets a gradient, or all but that."""
    images = every_image(ONE_LEVEL)
    for rate, hidden in ((1.0, True), (0.0, False)):
        m = method("table", ONE_LEVEL, condition_dropout=rate, optimizer=optax.sgd(0.1))
        state = m.init(jax.random.key(0), as_batch(images, 0))
        after, _ = jax.jit(m.step)(jax.random.key(1), state, as_batch(images, 1))
        table, old = (s.params["level_0"]["table"] for s in (after, state))
        np.testing.assert_array_equal((table != old).any((1, 2, 3)), [False, not hidden, hidden])


def test_state_has_the_first_stage_which_encodes_decodes_and_stays():
    """A first stage with a parameter: by how much codes are shifted."""
    shifted = ONE_LEVEL._replace(
        encode=lambda state, image: ((as_codes(image[..., 0], 3) + state.params) % 3,),
        decode=lambda state, codes: as_image((codes[0] - state.params) % 3, 3)[..., None],
    )
    first_state = TrainState(step=jnp.asarray(7), params=jnp.asarray(1), opt=())
    m, plain = (
        method("table", shifted, first_state=lambda *_: first_state),
        SUBJECT("table", ONE_LEVEL),
    )
    b = as_batch(plain.images, 0)
    state = m.init(jax.random.key(0), b)
    assert state.frozen is first_state
    after, _ = jax.jit(m.step)(jax.random.key(0), state, b)
    jax.tree.map(np.testing.assert_array_equal, after.frozen, first_state)

    state = plain.state.replace(frozen=first_state)
    moved = as_image((ONE_LEVEL.encode(None, plain.images)[0] + 1) % 3, 3)[..., None]
    expected = plain.values[0]["loss"][number(ONE_LEVEL, moved)]
    np.testing.assert_allclose(jax.jit(m.evaluate)(jax.random.key(0), state, b)["loss"], expected, rtol=1e-5)
    keys = jax.random.split(jax.random.key(0), 8)
    unmoved = as_codes(plain.sample(keys, plain.state, {}), 3)
    np.testing.assert_array_equal(as_codes(jax.jit(m.sample)(keys, state, {}), 3), (unmoved - 1) % 3)


def test_one_and_eight_devices_and_micro_batches_agree():
    images, label = every_image(ONE_LEVEL)[:80], jnp.arange(80) % CLASSES
    network = Table(3, CLASSES, dropout=0.3)
    results, b = [], as_batch(images, label)
    for spread, accumulate in ((False, 1), (True, 1), (False, 2)):
        options = {"conditions": ("label",), "condition_dropout": 0.5, "gradient": mean_gradient(accumulate)}
        m = code_prior([network], optax.sgd(0.1), ONE_LEVEL, first_state=no_state, **options)
        state, batch = m.init(jax.random.key(0), b), b
        if spread:
            mesh = sharding.make_mesh()
            state = sharding.place(state, jax.tree.map(lambda _: sharding.replicated(mesh), state))
            batch = sharding.place_batch({k: np.asarray(x) for k, x in b.items()}, mesh)
        results.append(jax.jit(m.step)(jax.random.key(1), state, batch))
    (state, metrics), *others = results
    for other, values in others:
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
            (state.params, metrics),
            (other.params, values),
        )


def test_errors():
    with pytest.raises(UserError, match="1 networks: the first stage has 2 levels of codes"):
        code_prior([PixelCNN(3)], optax.sgd(0.1), TWO_LEVELS, first_state=no_state)
    with pytest.raises(UserError, match=r"condition_dropout=1.5: valid are \[0, 1\]"):
        method("pixel_cnn", ONE_LEVEL, condition_dropout=1.5)
    s = SUBJECT("table", ONE_LEVEL)
    b = as_batch(s.images, 0)
    del b["label"]
    for f in (s.method.step, s.method.evaluate):
        with pytest.raises(UserError, match="label is missing: the model needs the conditions label"):
            f(jax.random.key(0), s.state, b)
