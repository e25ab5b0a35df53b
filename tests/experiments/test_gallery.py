"""The page about samplers: what is measured is known for DDIM, DDPM and Heun's method."""

import re

import numpy as np
import pytest

from experiments.gallery import __main__ as gallery
from experiments.gallery import measure, page
from genjax.diffusion import samplers, schedules
from genjax.typing import UserError

STEPS = (32, 48, 64)


def test_orders_are_those_of_the_theory():
    schedule = schedules.vp()
    np.testing.assert_allclose(measure.order(samplers.ddim(), schedule, STEPS), 1, atol=0.15)
    np.testing.assert_allclose(measure.order(samplers.heun(), schedule, STEPS), 2, atol=0.15)


def test_evaluations_are_counted():
    schedule = schedules.vp()
    assert measure.evaluations_per_step(samplers.ddim(), schedule, 4) == 1
    assert measure.evaluations_per_step(samplers.heun(), schedule, 4) == 7 / 4  # one in the last step


def test_samplers_that_use_their_keys_are_stochastic():
    assert measure.is_stochastic(samplers.ddpm(), schedules.vp())
    assert not measure.is_stochastic(samplers.ddim(), schedules.vp())


def test_the_mixture_has_unit_variance_and_is_what_is_drawn():
    rng = np.random.default_rng(0)
    draws = measure.draw(rng, 200_000)
    mean = measure.WEIGHTS @ measure.MEANS
    np.testing.assert_allclose(draws.mean(0), mean, atol=0.01)
    spread = (measure.WEIGHTS @ (measure.MEANS**2 + measure.STDS[:, None] ** 2)) - mean**2
    np.testing.assert_allclose(draws.var(0), spread, rtol=0.01)


@pytest.mark.filterwarnings("ignore")  # of matplotlib's own imports
def test_a_page_and_a_picture(tmp_path):
    pytest.importorskip("matplotlib")
    gallery.run(
        gallery.Options(str(tmp_path), ("ddim", "ddpm"), schedules=("vp",), budgets=(8, 32), num=512),
        steps=STEPS,
    )
    text = (tmp_path / "samplers.md").read_text()
    rows = {
        row[0].strip("` "): row[1:]
        for row in (line.strip("|").split("|") for line in text.splitlines())
        if len(row) == 6
    }
    assert rows["ddim"][0].strip() == "no" and rows["ddpm"][0].strip() == "yes"
    assert abs(float(rows["ddim"][2]) - 1) < 0.15 and rows["ddpm"][2].strip() == "-"
    coarse, fine = (float(x.strip(" *")) for x in rows["ddim"][3:])
    assert 2.5 < coarse / fine < 7  # order 1, four times the steps
    assert (tmp_path / "samplers.png").read_bytes().startswith(b"\x89PNG")


def test_what_parity_compares_is_listed_once():
    text = page.compared_table([("a()", "A"), ("a()", "A"), ("b()", "B(1 | 2)")])
    assert re.findall(r"`(\w+)", text) == ["a", "A", "b", "B"]
    assert r"`B(1 \| 2)`" in text  # a bar alone would end the cell


def test_unknown_samplers_are_named():
    with pytest.raises(UserError, match="samplers = 'ddmp' must be among ddim, "):
        gallery.run(gallery.Options(samplers=("ddmp",)))
