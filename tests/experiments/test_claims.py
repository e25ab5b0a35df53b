"""Claims: when a measurement bears one out, and that each is measured as it says, on numbers known beforehand."""

import dataclasses
import importlib
import json
import math
import pkgutil
import shlex

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from etils import epath

from experiments import claims, train_command
from experiments.bench import timing, workloads
from experiments.claims import (
    autoencoders,
    blur,
    claim,
    edits,
    epochs,
    latent_compute,
    mode_collapse,
    registry,
    runs,
    sampling_speed,
)
from experiments.claims.claim import Allowed, Claim, Measured, Place
from genjax import data
from genjax.app import build, workdir
from genjax.data.shapes import FACTOR_NAMES
from genjax.models import UNet
from genjax.models.codes.vq_vae import Decoder
from genjax.nn import Conv


@pytest.mark.parametrize(
    "allowed, value, interval, status",
    [
        (Allowed(low=30), 40, (31, 49), "holds"),
        (Allowed(low=30), 40, (30, 50), "holds"),
        (Allowed(low=30), 40, (29, 51), "undecided"),
        (Allowed(low=30), 20, (10, 29), "does not hold"),
        (Allowed(high=0.65), 0.6, None, "holds"),
        (Allowed(high=0.65), 0.66, None, "does not hold"),
        (Allowed(1, 3), 2, (1.5, 2.5), "holds"),
        (Allowed(1, 3), 2, (0.5, 3.5), "undecided"),
        (Allowed(1, 3), 4, (3.5, 4.5), "does not hold"),
        (Allowed(1, 3), 0, (-math.inf, 0.5), "does not hold"),
    ],
)
def test_an_interval_against_a_claim(allowed, value, interval, status):
    assert claim.judge(allowed, value, interval) == status


@pytest.mark.parametrize("value, interval", [(math.nan, None), (1.0, (math.nan, 2.0)), (3.0, (1.0, 2.0))])
def test_what_is_no_measurement(value, interval):
    with pytest.raises(ValueError, match="inside"):
        claim.judge(Allowed(low=0), value, interval)


def about(measure, name="x"):
    return Claim(name, "Said", "a survey", "above 2", Allowed(low=2), "dB", measure)


def fails(place):
    raise ZeroDivisionError("by | 0\nof them")


def test_findings():
    place = Place(epath.Path("my runs"), "d")
    found = claim.audit(about(lambda place: Measured(1234.4, (3, 9999), "seen")), place)
    assert found == (
        claim.Finding(
            "Said",
            "a survey",
            "holds",
            "above 2",
            "1,234 dB",
            (3, 9999),
            "python -m experiments.claims --only x --runs 'my runs' --data-dir d",
            "seen",
        ),
        False,
    )
    undecided, _ = claim.audit(about(lambda place: Measured(2.5, (1, 4), "seen", "python")), place)
    assert (undecided.status, undecided.measured) == ("undecided", "2.5 dB")
    assert undecided.command == "python"
    none, failed = claim.audit(about(lambda place: Measured(None, None, "no run", "train")), place)
    assert (none.status, none.measured, none.why, failed) == ("not tested", None, "no run", False)
    never, failed = claim.audit(about("needs people"), place)
    assert (never.status, never.why, never.command, failed) == ("not tested", "needs people", "", False)
    broken, failed = claim.audit(about(fails), place)
    assert broken.status == "not tested" and broken.why.startswith("error: ZeroDivisionError: by") and failed


def test_every_claim_is_in_the_registry():
    modules = [
        importlib.import_module(f"experiments.claims.{m.name}") for m in pkgutil.iter_modules(claims.__path__)
    ]
    # Elsewhere the name is the registry itself.
    written = [c for m in modules if isinstance(getattr(m, "CLAIMS", None), list) for c in m.CLAIMS]
    assert sorted(c.name for c in written) == sorted(registry.CLAIMS) and len(written) > 15
    for c in registry.CLAIMS.values():
        assert all((c.statement, c.survey, c.claimed, c.measure)) and c.allowed.low <= c.allowed.high
        tested = not isinstance(c.measure, str)
        assert tested == (c.allowed != Allowed()), c.name


def test_flops_of_a_convolution():
    # Of 3 taps along an axis of n pixels 3 n - 2 are inside of it. One addition an output is the bias.
    for side, taps in ((1, 16 * 16), (3, 46 * 46)):
        found = latent_compute.flops(Conv(8, (side, side)), (1, 16, 16, 4))
        assert found == 2 * taps * 4 * 8 + 16 * 16 * 8
    assert latent_compute.flops(Conv(8, (1, 1)), (3, 16, 16, 4)) == 3 * latent_compute.flops(
        Conv(8, (1, 1)), (1, 16, 16, 4)
    )


def test_latent_compute(monkeypatch):
    assert latent_compute.saving(pixels=100, latent=25, decoder=50, steps=10) == pytest.approx(70)

    def latent_saving_in(steps):
        monkeypatch.setattr(latent_compute, "STEPS", steps)
        return latent_compute.latent_saving(Place(epath.Path(".")), downsampling=4)

    monkeypatch.setattr(latent_compute, "IMAGE", 16)
    monkeypatch.setattr(latent_compute, "WIDTH", 8)
    many, one = latent_saving_in(50), latent_saving_in(1)
    assert many == latent_saving_in(50) and many.interval is None and 90 < many.value < 100
    # The saving is 100 (1 - latent / pixels - decoder / (steps pixels)).
    decoder = latent_compute.flops(Decoder(3, 8, 2, 2, 8), (1, 4, 4, 3))
    pixels = latent_compute.flops(UNet(8, (1, 2, 2), 2), (1, 16, 16, 3), (1,))
    assert many.value - one.value == pytest.approx(100 * decoder / pixels * (1 - 1 / 50))


def test_blurred_images_are_found_to_be():
    image = data.to_float(jnp.asarray(data.to_memory(data.load("digits", "test"))["image"]))
    same = blur.fidelity(image, image)
    assert same.ssim == pytest.approx(1, abs=1e-6) and same.blur == same.original_blur
    padded = jnp.pad(image, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    mean = sum(padded[:, i : i + 8, j : j + 8] for i in range(3) for j in range(3)) / 9
    worse = blur.fidelity(mean, image)
    assert worse.ssim < 0.9 and worse.blur > same.blur + 0.05 and worse.original_blur == same.blur


def write(folder, preset, *options, scores, finished=True):
    """A workdir as a finished run leaves it, without its networks."""
    config = train_command.parse([preset, *options]).config
    folder.mkdir(parents=True)
    workdir.write_json(epath.Path(folder) / workdir.CONFIG, dataclasses.asdict(config))
    workdir.write_json(epath.Path(folder) / workdir.METRICS, scores)
    (folder / "checkpoints" / f"{config.fit.steps - (not finished):08d}").mkdir(parents=True)
    return folder


def collapsed(folder, seed, share, *options, **kwargs):
    scores = {
        "step": 2000,
        "num_modes": 1000,
        "mode_samples": 15_500,
        "collapse": share,
        "modes": 900,
        "kl": 1.0,
    }
    options = ("--dataset", "stacked:digits", "--steps", "2000", "--seed", str(seed), *options)
    return write(folder, "dcgan-digits", *options, scores=scores, **kwargs)


def test_collapse_is_read_from_plain_runs(tmp_path):
    place = Place(epath.Path(tmp_path))
    measure = registry.CLAIMS["collapse-digits"].measure
    missing = measure(place)
    assert missing.value is None and str(tmp_path) in missing.why
    _, _, _, *arguments = shlex.split(missing.command.replace("SEED", "7"))
    wanted = train_command.parse(arguments).config
    assert (wanted.data.dataset, wanted.fit.steps, wanted.fit.seed) == ("stacked:digits", 2000, 7)

    shares = [0.2, 0.3, 0.4]
    for seed, share in enumerate(shares):
        collapsed(tmp_path / f"plain{seed}", seed, share)
    collapsed(tmp_path / "penalised", 3, 0.9, "--method.penalty", "r1", "--model.discriminator-norm", "none")
    collapsed(tmp_path / "stopped", 4, 0.9, finished=False)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / workdir.CONFIG).write_text("{")
    found = measure(place)
    low, high = scipy.stats.t.interval(0.95, 2, 30, scipy.stats.sem(np.multiply(shares, 100)))
    assert (found.value, *found.interval) == pytest.approx((30, low, high))
    assert "seeds [0, 1, 2]" in found.why and "67 % of the runs" in found.why
    assert claim.audit(registry.CLAIMS["collapse-digits"], place).finding.status == "undecided"
    assert mode_collapse.collapse(place, preset="dcgan-mnist", dataset="stacked:mnist").value is None


def test_edits_are_read_from_the_longest_runs(tmp_path):
    def scores(step, success):
        return {"step": step, "edit_success": success} | {f"edit_success_{n}": success for n in FACTOR_NAMES}

    place = Place(epath.Path(tmp_path))
    assert edits.edit_success(place).value is None
    write(tmp_path / "short", edits.PRESET, "--steps", "500", scores=scores(500, 0.9))
    write(tmp_path / "long", edits.PRESET, "--steps", "4000", scores=scores(4000, 0.5))
    write(tmp_path / "other", edits.PRESET, "--steps", "9000", "--method.beta", "1", scores=scores(9000, 0.9))
    one = edits.edit_success(place)
    assert (one.value, one.interval) == (50, None) and "no interval" in one.why
    write(tmp_path / "more", edits.PRESET, "--steps", "4000", "--seed", "1", scores=scores(4000, 0.6))
    two = edits.edit_success(place)
    assert (two.value, *two.interval) == pytest.approx((55, *scipy.stats.t.interval(0.95, 1, 55, 5)))


def test_runs_are_found_by_their_config(tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr(runs, "run_training", started.append)
    place = Place(epath.Path(tmp_path))
    there = write(tmp_path / "any name", "vae-digits", "--seed", "3", "--evaluation.num", "7", scores={})
    assert runs.trained(place, "vae-digits", {}, 3) == epath.Path(there) and not started
    made = runs.trained(place, "vae-digits", {"method.beta": 2}, 3)
    assert made.name == "vae-digits,beta=2,seed=3"
    config = train_command.parse(started[0]).config
    assert (config.method.beta, config.fit.seed, config.evaluation.num) == (2, 3, 0)


def test_a_training_that_fails_says_why():
    with pytest.raises(RuntimeError, match=r"training vae-digits --steps 0 failed: .*steps=0"):
        runs.run_training(["vae-digits", "--steps", "0"])


def test_without_a_quantiser_nothing_is_lost():
    x = jax.random.normal(jax.random.key(0), (2, 3, 3, 5))
    quantised = autoencoders.Unquantised(5).apply({}, x)
    np.testing.assert_array_equal(quantised.z, x)
    assert not quantised.commitment.any() and not quantised.codes.any()
    gradient = jax.grad(lambda x: autoencoders.Unquantised(5).apply({}, x).z.sum())(x)
    np.testing.assert_array_equal(gradient, np.ones(x.shape))


def test_autoencoders_are_trained_once(tmp_path, digest):
    place = Place(epath.Path(tmp_path))
    single = autoencoders.trained(place, 1, 0, steps=120)
    free = autoencoders.trained(place, None, 0, steps=120)
    # One code makes the same image of everything; the mean image has the best PSNR among those.
    image = data.to_float(jnp.asarray(data.to_memory(data.load("digits", "test"))["image"]))
    best = float((10 * jnp.log10(4 / jnp.square(image - image.mean(0)[None]).mean((1, 2, 3)))).mean())
    assert single.perplexity == free.perplexity == 1
    assert single.psnr < best + 0.1 and free.psnr > single.psnr + 1
    before = digest(tmp_path)
    assert autoencoders.trained(place, None, 0, steps=120) == free
    assert {k: v for k, v in digest(tmp_path).items() if "checkpoints" in k} == {
        k: v for k, v in before.items() if "checkpoints" in k
    }


def test_seconds_of_epochs():
    seconds = np.full(epochs.EPOCHS, 2.0)
    seconds[0] = 5
    found = epochs.measured(seconds, 7.0)
    assert (found.value, *found.interval) == pytest.approx((1, 1, 1))
    assert "12 s with compilation, 6 times" in found.why and "5 s without, 2.5 times" in found.why
    # As claimed, but for one that was disturbed.
    seconds = np.geomspace(14.01, 4.15, epochs.EPOCHS)
    seconds[7] = 60
    found = epochs.measured(seconds, 7.0)
    assert (found.value, *found.interval) == pytest.approx([14.01 / 4.15] * 3)
    assert registry.CLAIMS["epochs"].allowed.low == pytest.approx(14.01 / 4.15)


def test_sampling_ratio(monkeypatch):
    configs = []
    rates = iter([100.0, 1.0, 300.0, 2.0, 100.0, 0.5])

    def subject(config):
        configs.append(config)
        return workloads.Workload(None, 4, None)

    monkeypatch.setattr(workloads, "sample", subject)
    monkeypatch.setattr(timing, "timed", lambda run, images, seconds: lambda: {timing.RATE: next(rates)})
    found = sampling_speed.sampling_ratio(Place(epath.Path(".")), steps=50)
    assert (found.value, found.interval) == (150, (100, 200))
    gan, ddpm = configs
    assert ddpm.sampling.num_steps == 50 and gan.sampling.batch_size == ddpm.sampling.batch_size
    assert {build.data_info(config).image_shape for config in configs} == {(28, 28, 3)}


def test_command_line(tmp_path, verb, monkeypatch):
    some = {
        "good": about(lambda place: Measured(3.0, (2.5, 3.5), "seen"), "good"),
        "bad": about(fails, "bad"),
        "never": about("needs people", "never"),
    }
    main = importlib.import_module("experiments.claims.__main__")
    monkeypatch.setattr(main, "CLAIMS", some)
    out = tmp_path / "new" / "claims.json"
    ended = verb("claims.__main__", "--out", out, "--runs", tmp_path / "runs")
    assert ended.code == 1 and "because of errors: bad" in ended.err
    assert [f["status"] for f in ended.json] == ["holds", "not tested", "not tested"]
    assert json.loads(out.read_text()) == ended.json and set(ended.json[0]) == set(claim.Finding._fields)
    assert "| Said | above 2 | 3 dB [2.5, 3.5] | holds | seen |" in ended.out
    assert "| error: ZeroDivisionError: by / 0 of them |" in ended.out
    fine = verb("claims.__main__", "--only", "never", "--only", "good")
    assert fine.code == 0 and [f["status"] for f in fine.json] == ["not tested", "holds"]
    unknown = verb("claims.__main__", "--only", "goood")
    assert unknown.code == 2 and "only='goood': valid are good, bad, never" in unknown.err
    (tmp_path / "file").touch()
    assert "is a file" in verb("claims.__main__", "--runs", tmp_path / "file").err
