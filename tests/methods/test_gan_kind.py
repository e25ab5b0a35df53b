"""Adversarial networks by name: every choice of a config is built and does what it says; wrong pairs are refused."""

import types
import typing

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax import ranges
from genjax.app.methods import METHODS
from genjax.app.networks import NETWORKS
from genjax.data.fields import labelled_images
from genjax.losses.adversarial import GAMES
from genjax.methods.gan import choices
from genjax.methods.gan.cycle_gan import CycleGANConfig
from genjax.methods.gan.gan_kind import METHOD, GANConfig, networks
from genjax.methods.gan.pix2pix import Pix2PixConfig
from genjax.methods.kind import Context
from genjax.methods.optimizers import OptimizerConfig
from genjax.models.gan.biggan import BigGANConfig
from genjax.models.gan.conditioning import CONDITIONINGS
from genjax.models.gan.dcgan import DCGANConfig
from genjax.models.gan.mlp import MLPGANConfig
from genjax.models.gan.r3gan import R3GANConfig
from genjax.models.gan.residual import ResidualGANConfig
from genjax.models.gan.residual_translator import ResidualTranslatorConfig
from genjax.models.gan.translation_unet import TranslationUNetConfig
from genjax.typing import UserError

SHAPE, CLASSES = (8, 8, 1), 3
INFO, UNLABELLED = (
    labelled_images("digits", "train", SHAPE, CLASSES),
    labelled_images("plain", "train", SHAPE),
)
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


def experiment(model, method, pairing="paired"):
    """As much of an experiment's config as methods read."""
    return types.SimpleNamespace(
        model=model,
        method=method,
        optimizer=OptimizerConfig(warmup_steps=1),
        fit=types.SimpleNamespace(steps=10, batch_size=4),
        sampling=types.SimpleNamespace(temperature=1.0),
        data=types.SimpleNamespace(pairing=pairing),
    )


def config(model=MODELS["mlp"], **method):
    return experiment(model, GANConfig(latent=4, **method))


def kind_of(table, config):
    return next(kind for kind in table.values() if kind.config is type(config))


def context(config, info=INFO):
    return Context(config, info, kind_of(NETWORKS, config.model))


def check(config):
    ranges.check(config.model, "model.")
    ranges.check(config.method, "method.")
    for wrong, message in kind_of(METHODS, config.method).contradictions(config):
        if wrong:
            raise UserError(message)


def batch():
    image = jnp.zeros((4, *SHAPE))
    return {"image": image, "source": image, "label": jnp.arange(4) % CLASSES, "_index": jnp.arange(4)}


def traced(config, info=INFO):
    """Shapes of the state after a step, and of its metrics; nothing is computed."""
    check(config)
    method = kind_of(METHODS, config.method).build(context(config, info))

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


def test_what_is_in_a_table_can_be_chosen():
    hints = typing.get_type_hints(GANConfig)
    for field, table in {
        "penalty": ("none", *choices.PENALTIES),
        "game": GAMES,
        "augmentation": choices.AUGMENTATIONS,
        "attack": choices.ATTACKS,
        "noise": choices.NOISES,
        "conditioning": CONDITIONINGS,
    }.items():
        assert typing.get_args(hints[field]) == tuple(table)


def test_networks_and_methods_have_their_names():
    """config.json has them, and so they stay."""
    names = {
        "mlp_gan": MLPGANConfig,
        "dcgan": DCGANConfig,
        "residual_gan": ResidualGANConfig,
        "biggan": BigGANConfig,
        "r3gan": R3GANConfig,
        "translation_unet": TranslationUNetConfig,
        "residual_translator": ResidualTranslatorConfig,
    }
    assert {name: NETWORKS[name].config for name in names} == names
    names = {"gan": GANConfig, "pix2pix": Pix2PixConfig, "cycle_gan": CycleGANConfig}
    assert {name: METHODS[name].config for name in names} == names
    assert METHODS["pix2pix"].translates == ("source",) and METHODS["cycle_gan"].translates == (
        "source",
        "image",
    )


@pytest.mark.parametrize("penalty", choices.PENALTIES)
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


def test_configs_reach_the_networks():
    generator, discriminator = networks(context(config(R3GANConfig((4, 6), 3, 4, 2))))
    for network, channels in ((generator, (4, 6)), (discriminator, (6, 4))):
        assert network.channels == channels
        assert (network.blocks, network.expansion, network.group_channels) == (3, 4, 2)
    translator = NETWORKS["translation_unet"].roles["translator"]
    made = translator(TranslationUNetConfig(4, 3, "instance", 0.25, 2), out_channels=2)
    assert (made.out_channels, made.channels, made.levels, made.dropout, made.dropout_levels) == (
        2,
        4,
        3,
        0.25,
        2,
    )
    assert made.norm.__name__ == "InstanceNorm"


@pytest.mark.parametrize("model", [TranslationUNetConfig(4, 1), ResidualTranslatorConfig(4, 1, 1)])
@pytest.mark.parametrize("method", [Pix2PixConfig, CycleGANConfig])
def test_translators_are_built_for_both_methods(model, method):
    """The other domain has the images' shape where the data set does not know of it."""
    state, _ = traced(experiment(model, method(discriminator_layers=1, discriminator_channels=4)))
    assert state.step.shape == ()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            (DCGANConfig(4), {"penalty": "r1"}),
            "penalty='r1' is of the slope .*'batch' mixes images; valid is 'none'",
        ),
        ((DCGANConfig(4), {"smoothing": 0.1, "game": "hinge"}), "smoothing=0.1: is for the games"),
        ((DCGANConfig(4), {"conditioning": "auxiliary", "categorical_codes": (3,)}), "both need the .* head"),
        ((BIGGAN, {"conditioning": "concatenation"}), "valid with biggan is 'projection'"),
        ((BIGGAN, {}), "conditioning='none': valid with biggan is 'projection'"),
        ((DCGANConfig(4), {"categorical_codes": (1,)}), r"categorical_codes=\(1,\): valid are \[2, inf\)"),
        ((DCGANConfig(4), {"discriminator_steps": 0}), r"discriminator_steps=0: valid are \[1, inf\)"),
        ((DCGANConfig(4), {"top_k": 0.0}), r"top_k=0.0: valid are \(0, 1\]"),
        ((DCGANConfig(4), {"smoothing": 0.5}), r"smoothing=0.5: valid are \[0, 0.5\)"),
        ((DCGANConfig(4, 0), {}), r"model.hidden=0: valid are \[1, inf\)"),
        ((MLPGANConfig(generator_slope=1.5), {}), r"generator_slope=1.5: valid are \[0, 1\]"),
        ((R3GANConfig((4, 0)), {}), r"channels=\(4, 0\): valid are \[1, inf\)"),
    ],
)
def test_contradictions(changed, message):
    model, method = changed
    with pytest.raises(UserError, match=message):
        check(config(model, **method))


def test_pix2pix_needs_pairs():
    method = Pix2PixConfig(discriminator_layers=1)
    unpaired = experiment(TranslationUNetConfig(4, 1), method, "unpaired")
    with pytest.raises(UserError, match=r"data\.pairing='unpaired': pix2pix needs 'paired' images"):
        check(unpaired)


def test_labels_must_be_there():
    with pytest.raises(
        UserError, match="conditioning='projection': data set 'plain' has no labels; valid is 'none'"
    ):
        traced(config(conditioning="projection"), UNLABELLED)


def test_images_of_an_infogan_have_its_codes_in_turn():
    made = config(categorical_codes=(3, 2))
    np.testing.assert_array_equal(METHOD.condition(made, 5)["code"], [0, 1, 2, 0, 1])
    assert "code" not in METHOD.condition(config(continuous_codes=1), 5)
