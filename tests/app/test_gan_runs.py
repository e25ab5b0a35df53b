"""What a trained run of a GAN needs: scores of its codes, and presets whose methods can be built.

How configs become networks and methods is tested in tests/methods/test_gan_kind.py.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.presets import PRESETS
from genjax import data
from genjax.app import build, checks
from genjax.app.code_scores import code_scores
from genjax.app.config import Config, DataConfig
from genjax.app.restore import Run
from genjax.data.fields import labelled_images
from genjax.methods.gan.gan_kind import GANConfig
from genjax.methods.optimizers import OptimizerConfig
from genjax.models.gan.mlp import MLPGANConfig
from genjax.train.options import FitOptions
from genjax.train.sharding import make_mesh

SHAPE, CLASSES = (8, 8, 1), 3
INFO = labelled_images("digits", "train", SHAPE, CLASSES)


PERCEPTRONS = MLPGANConfig((8,), (4,), 2)


def config(model=PERCEPTRONS, **method):
    return Config(
        fit=FitOptions(steps=10, batch_size=4),
        data=DataConfig(dataset="digits"),
        model=model,
        method=GANConfig(latent=4, **method),
        optimizer=OptimizerConfig(warmup_steps=1),
    )


def batch():
    return {"image": jnp.zeros((4, *SHAPE)), "label": jnp.arange(4) % CLASSES, "_index": jnp.arange(4)}


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

    run = Run(made, INFO, method, state, 0, make_mesh())
    assert code_scores(run, source) == {"code_purity": pytest.approx(5 / 6)}
    assert code_scores(run._replace(config=config()), source) == {}


@pytest.mark.parametrize("name", [n for n, (_, c) in PRESETS.items() if isinstance(c.method, GANConfig)])
def test_presets_are_consistent(name):
    _, preset = PRESETS[name]
    checks.check(preset)
    shape = (8, 8, 1) if preset.data.dataset == "digits" else (28, 28, 1)
    shape = (28, 28, 3) if preset.data.dataset.startswith("stacked") else shape
    method = build.method(preset, labelled_images("", "", shape, 10))
    one = {"image": jnp.zeros((2, *shape)), "label": jnp.zeros(2, jnp.int32), "_index": jnp.arange(2)}
    state = jax.eval_shape(lambda key: method.init(key, one), jax.random.key(0))
    new, _ = jax.eval_shape(method.step, jax.random.key(0), state, one)
    assert jax.tree.map(lambda x: x.shape, new) == jax.tree.map(lambda x: x.shape, state)
