"""Likelihood of diffusion models from the command line: of Gaussian data by closed form, of a run, and where there is
none."""

import importlib.util
import json
import shutil

import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath

from genjax import data
from genjax.app import likelihood_scores, restore
from genjax.app.config import SamplingOverrides
from genjax.app.methods import METHODS
from genjax.methods.diffusion import choices

STD = 0.3


class Exact:
    """A network that predicts the noise exactly for pixels from N(0, STD^2)."""

    def __init__(self, schedule):
        self.schedule = schedule

    def apply(self, variables, x, c_noise, label):
        t = c_noise[:, None, None, None]  # that of "eps" is the time
        alpha, sigma = self.schedule.alpha(t), self.schedule.sigma(t)
        return sigma / (alpha**2 * STD**2 + sigma**2) * x


@pytest.fixture(scope="module")
def restored(run):
    return restore.restore(epath.Path(run), SamplingOverrides(num_steps=100))


def exact_network(monkeypatch):
    """Likelihoods are of the exact network; what trains and samples is another one."""
    kind = METHODS["diffusion"]
    exact = kind._replace(network=lambda context: Exact(choices.schedule(context.config.method)))
    monkeypatch.setitem(METHODS, "diffusion", exact)


def gaussian_images(n):
    """Images of which the levels are those of N(0, STD^2), and the entropy of a pixel in bits."""
    values = STD * np.random.default_rng(0).normal(size=(n, 4, 4, 1))
    images = np.asarray(data.to_uint8(jnp.asarray(values)))
    entropy = 0.5 * np.log2(2 * np.pi * np.e * STD**2) - np.log2(2 / 255)
    return data.ArraySource(
        images, np.zeros(n, np.int64), name="noise", split="test", num_classes=10
    ), entropy


def test_gaussian_data_have_their_entropy(restored, monkeypatch):
    """By the flow, to what 1,024 pixels tell; the bound, whose steps are of the posterior's variance, is above it."""
    exact_network(monkeypatch)
    source, entropy = gaussian_images(64)
    found = likelihood_scores.likelihood_scores(restored, source, 64)
    # 1,024 pixels, each with a deviation of 0.5 / ln 2 * sqrt(2) bits.
    assert found["test_flow_bits"] == pytest.approx(entropy, abs=4 * 1.02 / 32)
    low, high = found["intervals"]["test_flow_bits"]
    assert low < entropy < high and high - low == pytest.approx(2 * 2.0 * 1.02 / 32, rel=0.4)
    assert found["test_flow_bits"] < found["test_bound_bits"] < found["test_flow_bits"] + 1.5
    terms = [found[f"test_bound_{name}_bits"] for name in ("prior", "step", "decoder")]
    assert found["test_bound_bits"] == pytest.approx(sum(terms), rel=1e-6) and min(terms) >= 0
    assert found["likelihood_images"] == 64 and found["likelihood_steps"] == 100


def test_an_image_has_its_bits_whatever_the_batch(restored, monkeypatch):
    exact_network(monkeypatch)
    source, _ = gaussian_images(7)
    whole = likelihood_scores.likelihood_scores(restored, source, 7)
    monkeypatch.setattr(likelihood_scores, "_BATCH", 3)  # the last has one image
    parts = likelihood_scores.likelihood_scores(restored, source, 100)
    assert parts["likelihood_images"] == 7
    for name in ("test_bound_bits", "test_flow_bits"):
        assert parts[name] == pytest.approx(whole[name], abs=1e-3)
        assert parts["intervals"][name] == pytest.approx(whole["intervals"][name], abs=5e-3)


def test_a_run_from_the_command_line(run, tmp_path, verb, monkeypatch):
    """With the flow of an exact network: that of one which is hardly trained is stiff."""
    exact_network(monkeypatch)
    workdir = shutil.copytree(run, tmp_path / "run")
    ended = verb("evaluate", "--workdir", workdir, "--num", "20", "--likelihood", "4", "--resamples", "5")
    assert ended.code == 0, ended.err
    found = ended.json
    assert found == json.loads((workdir / "metrics.json").read_text())
    assert np.isfinite([found["test_bound_bits"], found["test_flow_bits"]]).all()
    assert found["likelihood_images"] == 4 and found["likelihood_steps"] == 2
    assert set(found["intervals"]) == {"fd_generated", "test_bound_bits", "test_flow_bits"}
    for name in ("test_bound_bits", "test_flow_bits"):
        assert found["intervals"][name][0] < found[name] < found["intervals"][name][1]


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({}, ("--likelihood", "1"), "likelihood=1: valid are 0, none, and numbers from 2"),
        ({}, ("--likelihood", "-3"), "likelihood=-3: valid are 0"),
        ({"data": {"binarize": "static"}}, ("--likelihood", "5"), "data.binarize='static' have two levels"),
    ],
)
def test_where_there_is_none(run, tmp_path, verb, digest, change, options, message):
    workdir = shutil.copytree(run, tmp_path / "run")
    config = json.loads((workdir / "config.json").read_text())
    for part, fields in change.items():
        config[part] |= fields
    (workdir / "config.json").write_text(json.dumps(config))
    before = digest(workdir)
    ended = verb("evaluate", "--workdir", workdir, *options)
    assert ended.code == 2 and message in ended.err
    assert digest(workdir) == before


def test_other_models_and_a_missing_package_are_named(restored, monkeypatch):
    from experiments.presets import PRESETS
    from genjax.typing import UserError

    with pytest.raises(UserError, match="for diffusion models, and the run's method is vae; a VAE's is"):
        likelihood_scores.check(PRESETS["vae-digits"][1], 5)
    likelihood_scores.check(PRESETS["vae-digits"][1], 0)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"likelihood=5 needs diffrax: pip install -e '\.\[ode\]'"):
        likelihood_scores.check(restored.config, 5)


def test_images_of_a_folder_have_none(tmp_path, verb, write_images, noise_images):
    folder = write_images(tmp_path / "images", noise_images(4))
    ended = verb("evaluate", "--images", folder, "--reference", folder, "--likelihood", "5")
    assert ended.code == 2 and "likelihood=5 is that of a run" in ended.err
