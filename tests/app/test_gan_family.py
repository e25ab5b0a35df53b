"""GANs by name: every choice of the config is built, does what it says, and what does not go together is refused."""

import dataclasses
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.presets import PRESETS
from genjax import data
from genjax.app import build, checks
from genjax.app.code_scores import code_scores
from genjax.app.config import (
    BigGANConfig,
    Config,
    DataConfig,
    DCGANConfig,
    GANConfig,
    MLPGANConfig,
    OptimizerConfig,
    R3GANConfig,
    ResidualGANConfig,
)
from genjax.app.families import gan as family
from genjax.app.families import gan_networks
from genjax.data import DataInfo
from genjax.train.options import FitOptions
from genjax.typing import UserError

SHAPE, CLASSES = (8, 8, 1), 3
INFO, UNLABELLED = DataInfo("digits", "train", SHAPE, CLASSES), DataInfo("plain", "train", SHAPE)
MODELS = {
    "mlp": MLPGANConfig((8,), (4,), 2),
    "dcgan": DCGANConfig(4, 6, "none"),
    "dcgan, batch": DCGANConfig(4),
    "dcgan, spectral": DCGANConfig(4, 6, "none", "spectral"),
    "residual": ResidualGANConfig((4,), (4, 4), 1),
    "residual, operator": ResidualGANConfig((4,), (4, 4), 1, "mean", "spectral_operator"),
    "r3gan": R3GANConfig((4, 4), group_channels=4),
}
BIGGAN = BigGANConfig((4,), (4, 4), 1, 2, attention=None)


def config(model=MODELS["mlp"], **method):
    return Config(
        fit=FitOptions(steps=10, batch_size=4),
        data=DataConfig(dataset="digits"),
        model=model,
        method=GANConfig(latent=4, **method),
        optimizer=OptimizerConfig(warmup_steps=1),
    )


def batch():
    return {"image": jnp.zeros((4, *SHAPE)), "label": jnp.arange(4) % CLASSES, "_index": jnp.arange(4)}


def traced(config, info=INFO):
    """Shapes of the state after a step; nothing is computed."""
    checks.check(config)
    method = build.method(config, info)

    def run(key):
        state = method.init(key, batch())
        return method.step(key, state, batch())

    return jax.eval_shape(run, jax.random.key(0))


@pytest.mark.parametrize("conditioning", ["none", "concatenation", "auxiliary", "projection"])
@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_networks_take_labels_where_they_should(model, conditioning):
    """By the parameters that are there: a joined label widens a layer, a projection has an embedding."""
    plain, _ = traced(config(model))
    state, metrics = traced(config(model, conditioning=conditioning))

    def size(state, side):
        return sum(x.size for x in jax.tree.leaves(state.params[side]))

    def names(side):
        return [jax.tree_util.keystr(p) for p, _ in jax.tree_util.tree_leaves_with_path(state.params[side])]

    generator_grew = size(state, "generator") - size(plain, "generator")
    assert (generator_grew > 0) == (conditioning != "none")
    judge_grew = size(state, "discriminator") - size(plain, "discriminator")
    assert (judge_grew > 0) == (conditioning != "none")
    assert any("projection" in name.lower() for name in names("discriminator")) == (
        conditioning == "projection"
    )
    assert any("['head']" in name for name in names("discriminator")) == (conditioning == "auxiliary")
    assert ("question" in metrics) == (conditioning == "auxiliary")


def test_every_penalty_game_and_augmentation_is_known():
    fields = {f.name: f.type for f in dataclasses.fields(GANConfig)}
    assert set(fields["penalty"].__args__) == {"none", *family.PENALTIES}
    assert set(fields["game"].__args__) == set(family.GAMES)
    assert set(fields["augmentation"].__args__) == set(family.AUGMENTATIONS)
    assert set(fields["attack"].__args__) == set(family.ATTACKS)
    assert set(fields["conditioning"].__args__) == set(gan_networks.CONDITIONINGS)


@pytest.mark.parametrize("penalty", family.PENALTIES)
def test_penalties(penalty):
    state, _ = traced(config(penalty=penalty, penalty_every=4))
    assert hasattr(state.mutable["penalty"], "step")  # lazy


@pytest.mark.parametrize(
    "options",
    [
        {"augmentation": "diff"},
        {"augmentation": "adaptive", "augmentation_images": 1000},
        {"attack": "fgsm"},
        {"attack": "pgd"},
        {"clip_weights": 0.01, "game": "wasserstein", "discriminator_steps": 5},
        {"orthogonal": 1e-4, "top_k": 0.5},
        {"path_length": 2.0},
        {"smoothing": 0.1, "noise": "uniform"},
        {"categorical_codes": (3,), "continuous_codes": 1},
    ],
    ids=str,
)
def test_options(options):
    traced(config(MODELS["dcgan"], **options))


def test_spectral_norm_has_its_vectors():
    state, _ = traced(config(MODELS["dcgan, spectral"]))
    assert "spectral" in state.mutable["discriminator"] and "spectral" not in state.mutable["generator"]
    reshaped, _ = traced(config(ResidualGANConfig((4,), (4, 4), 1)))
    operator, _ = traced(config(MODELS["residual, operator"]))
    sizes = [
        sum(x.size for x in jax.tree.leaves(s.mutable["discriminator"]["spectral"]))
        for s in (reshaped, operator)
    ]
    assert sizes[0] < sizes[1]  # vectors of channels, and images


def test_biggan():
    state, _ = traced(config(BIGGAN, conditioning="projection"))
    assert "spectral" in state.mutable["generator"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            (DCGANConfig(4), {"penalty": "r1"}),
            "penalty='r1' is of the slope .*'batch' mixes images; valid is 'none'",
        ),
        ((DCGANConfig(4), {"smoothing": 0.1, "game": "hinge"}), "smoothing=0.1: is for the games"),
        ((DCGANConfig(4), {"conditioning": "auxiliary", "categorical_codes": (3,)}), "both need the .* head"),
        ((BIGGAN, {"conditioning": "concatenation"}), "valid with BigGANConfig is 'projection'"),
        ((DCGANConfig(4), {"categorical_codes": (1,)}), r"categorical_codes=\(1,\): valid are \[2, inf\)"),
        ((DCGANConfig(4), {"discriminator_steps": 0}), r"discriminator_steps=0: valid are \[1, inf\)"),
        ((DCGANConfig(4), {"top_k": 0.0}), r"top_k=0.0: valid are \(0, 1\]"),
    ],
)
def test_contradictions(changed, message):
    model, method = changed
    with pytest.raises(UserError, match=message):
        checks.check(config(model, **method))


def test_labels_must_be_there():
    with pytest.raises(
        UserError, match="conditioning='projection': data set 'plain' has no labels; valid is 'none'"
    ):
        traced(config(conditioning="projection"), UNLABELLED)


def test_images_of_an_infogan_have_its_codes_in_turn():
    made = config(categorical_codes=(3, 2))
    np.testing.assert_array_equal(family.condition(made, 5)["code"], [0, 1, 2, 0, 1])
    assert "code" not in family.condition(config(continuous_codes=1), 5)


def test_purity_is_that_of_the_heads_answers():
    """The head is set so that it tells dark images from bright ones."""
    made = config(MLPGANConfig((8,), (1,), 1), categorical_codes=(2,))
    method = build.method(made, INFO)
    state = method.init(jax.random.key(0), batch())
    params = jax.tree.map(jnp.zeros_like, state.params["discriminator"])
    params["discriminator"]["hidden_0"]["kernel"] += 1.0
    params["head"]["hidden"]["kernel"] += 1.0
    params["head"]["categorical_0"]["kernel"] = params["head"]["categorical_0"]["kernel"].at[:, 0].set(1.0)
    state = dataclasses.replace(state, params={**state.params, "discriminator": params})
    images = np.full((6, *SHAPE), 255, np.uint8)
    images[3:] = 0
    labels = np.array([0, 0, 1, 1, 1, 1])
    source = data.ArraySource(images, labels)

    run = types.SimpleNamespace(config=made, info=INFO, state=state)
    assert code_scores(run, source) == {"code_purity": pytest.approx(5 / 6)}
    run.config = config()
    assert code_scores(run, source) == {}


@pytest.mark.parametrize("name", [n for n, (_, c) in PRESETS.items() if isinstance(c.method, GANConfig)])
def test_presets_are_consistent(name):
    _, preset = PRESETS[name]
    checks.check(preset)
    shape = (8, 8, 1) if preset.data.dataset == "digits" else (28, 28, 1)
    shape = (28, 28, 3) if preset.data.dataset.startswith("stacked") else shape
    method = build.method(preset, DataInfo("", "", shape, 10))
    one = {"image": jnp.zeros((2, *shape)), "label": jnp.zeros(2, jnp.int32), "_index": jnp.arange(2)}
    state = jax.eval_shape(lambda key: method.init(key, one), jax.random.key(0))
    new, _ = jax.eval_shape(method.step, jax.random.key(0), state, one)
    assert jax.tree.map(lambda x: x.shape, new) == jax.tree.map(lambda x: x.shape, state)
