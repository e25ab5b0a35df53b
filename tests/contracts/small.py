"""Configs of every network and method of the tables, as small as they say they can be."""

import dataclasses

from genjax.app import checks
from genjax.app.config import Config, DataConfig
from genjax.app.kinds import TABLES
from genjax.app.methods import METHODS
from genjax.data import labelled_images
from genjax.data.fields import image
from genjax.methods.optimizers import OptimizerConfig
from genjax.train.options import FitOptions
from tests.contracts.method_contract import CLASSES, SHAPE, SOURCE


def small(network, method):
    """A config of a network and a method, with `small` of both kinds; the rest is as by default."""
    parts = {"model": network, "method": method}
    chosen = {part: TABLES[part][name].config(**TABLES[part][name].small) for part, name in parts.items()}
    pairs = {"source": "edges:digits", "pairing": "paired"} if METHODS[method].translates else {}
    config = Config(
        fit=FitOptions(steps=8, batch_size=8),
        data=DataConfig(**pairs),
        optimizer=OptimizerConfig(warmup_steps=0, learning_rate=1e-3),
        **chosen,
    )
    return dataclasses.replace(config, sampling=checks.default_sampling(config))


def data_info(config):
    """Of labelled images and, for methods that translate, of what they translate."""
    info = labelled_images("digits", "train", SHAPE, CLASSES, ("a", "b", "c"))
    return info.with_field("source", image(SOURCE)) if config.data.source else info
