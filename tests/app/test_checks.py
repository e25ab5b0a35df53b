"""All that can be wrong with a run is found before its workdir exists."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest

from experiments import train
from experiments.presets import PRESETS
from genjax.app import build, image_scores, kinds
from genjax.app.config import Launch
from genjax.typing import UserError

CONFIG = dataclasses.replace(
    PRESETS["vae-digits"][1],
    fit=dataclasses.replace(PRESETS["vae-digits"][1].fit, steps=200, batch_size=16),
    model=dataclasses.replace(PRESETS["vae-digits"][1].model, hidden=(16,), latent=4),
)


def broken(*_, **__):
    raise RuntimeError("planted")


def wrong_shape(function):
    return lambda *arguments: jax.tree.map(lambda x: x[:1], function(*arguments))


PLANTED = {
    "init": lambda method: method._replace(init=broken),
    "step": lambda method: method._replace(step=broken),
    "evaluate": lambda method: method._replace(evaluate=broken),
    "sample": lambda method: method._replace(sample=broken),
    "images of another shape": lambda method: method._replace(sample=wrong_shape(method.sample)),
    "values of another shape": lambda method: method._replace(evaluate=wrong_shape(method.evaluate)),
    "a state that grows": lambda method: method._replace(
        step=lambda key, state, batch: (
            dataclasses.replace(state, mutable={"new": jnp.ones(2)}),
            {"loss": 0.0},
        )
    ),
    "a metric that is no scalar": lambda method: method._replace(
        step=lambda key, state, batch: (state, {"loss": jnp.ones(2)})
    ),
}


def refused(directory, error=(RuntimeError, UserError), match="planted"):
    with pytest.raises(error, match=match) as caught:
        train.train(CONFIG, Launch(workdir=str(directory)))
    assert not directory.exists()
    return "\n".join(getattr(caught.value, "__notes__", []))


@pytest.mark.parametrize("mistake", PLANTED)
def test_a_mistake_in_the_method(mistake, tmp_path, monkeypatch):
    make = build.method
    monkeypatch.setattr(build, "method", lambda *a, **k: PLANTED[mistake](make(*a, **k)))
    match = (
        "planted"
        if mistake in ("init", "step", "evaluate", "sample")
        else "of the method breaks its contract"
    )
    notes = refused(tmp_path / "run", match=match)
    assert match != "planted" or f"This is {mistake!r} of the method, traced before" in notes


def test_a_mistake_while_scoring_only(tmp_path, monkeypatch):
    make = build.method

    def planted(*arguments, scoring=False, **options):
        method = make(*arguments, scoring=scoring, **options)
        return method._replace(evaluate=broken) if scoring else method

    monkeypatch.setattr(build, "method", planted)
    more = dataclasses.replace(CONFIG.evaluation, importance_samples=5)
    monkeypatch.setitem(globals(), "CONFIG", dataclasses.replace(CONFIG, evaluation=more))
    refused(tmp_path / "run")


@pytest.mark.parametrize("function", ["reconstruct", "encode", "decode", "posterior"])
def test_a_mistake_in_the_latent_space(function, tmp_path, monkeypatch):
    kind = kinds.method(CONFIG)

    def spoiled(context):
        return kind.latent_space(context)._replace(**{function: broken})

    monkeypatch.setitem(kinds.METHODS, "vae", kind._replace(latent_space=spoiled))
    refused(tmp_path / "run")


def test_a_mistake_in_preprocessing(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "augment", broken)
    assert "This is 'preprocessing'" in refused(tmp_path / "run")


@pytest.mark.parametrize("hook", ["test_loss", "sample_grid", "image_score"])
def test_a_mistake_in_a_hook(hook, tmp_path, monkeypatch):
    monkeypatch.setattr(train, hook, lambda *arguments: broken)
    evaluation = dataclasses.replace(CONFIG.evaluation, score_every=100)
    monkeypatch.setitem(globals(), "CONFIG", dataclasses.replace(CONFIG, evaluation=evaluation))
    assert "This is a hook, broken, tried on images of noise" in refused(tmp_path / "run")


@pytest.mark.parametrize("function", ["__init__", "score", "collapse"])
def test_a_mistake_in_the_scorer(function, tmp_path, monkeypatch):
    monkeypatch.setattr(image_scores.ImageScorer, function, broken)
    assert "This is the score of images tried on" in refused(tmp_path / "run")
