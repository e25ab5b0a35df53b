"""`python -m experiments.bench samplers`: what it measures makes the same images as diffusers."""

import dataclasses

import numpy as np
import pytest

from experiments.bench import libraries, samplers, specs
from genjax.diffusion.samplers import ddim, dpm_solver_pp_2m
from genjax.typing import UserError

TINY = {"tiny": specs.UNet((8, 8, 1), channels=8, multipliers=(1,), blocks=1), "vae": specs.VAE()}
CASES = {
    "ddim-4": samplers.Case(ddim(), 4, "DDIMScheduler", {"clip_sample": False}),
    "2m-4": samplers.Case(dpm_solver_pp_2m(), 4, "DPMSolverMultistepScheduler", {"solver_order": 2}),
}
OPTIONS = samplers.Options(network="tiny", batch_size=2, repeats=2, seconds=0.01)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CASES)
def test_images_are_those_of_diffusers(name):
    pytest.importorskip("diffusers")
    pytest.importorskip("torch")
    results = samplers.bench(OPTIONS, TINY, {name: CASES[name]})[name]
    assert results["images_per_second"]["median"] > 0 and results["compile_seconds"] > 0
    assert results["against"]["torch"]["ratio"]["median"] > 0


@pytest.mark.filterwarnings("ignore")
def test_other_images_are_an_error():
    pytest.importorskip("diffusers")
    pytest.importorskip("torch")
    wrong = CASES["ddim-4"]._replace(sampler=ddim(0.3))
    with pytest.raises(UserError, match=r"its images differ by .*, more than 0\.001"):
        samplers.bench(OPTIONS, TINY, {"ddim-4": wrong})


def test_without_torch_only_genjax_is_measured(monkeypatch):
    monkeypatch.setattr(libraries, "torch_installed", lambda: False)
    monkeypatch.setattr(samplers.importlib.util, "find_spec", lambda name: object())
    results = samplers.bench(OPTIONS, TINY, {"ddim-4": CASES["ddim-4"]})["ddim-4"]
    assert "not installed" in results["against"]["torch"]
    assert np.isfinite(results["images_per_second"]["median"])


def test_only_unconditional_unets_can_be_measured():
    with pytest.raises(UserError, match="network='vae': valid are tiny"):
        samplers.bench(dataclasses.replace(OPTIONS, network="vae"), TINY, CASES)
