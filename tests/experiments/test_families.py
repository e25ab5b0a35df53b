"""Families of models beyond diffusion, through the verbs: what is trained, scored and looked at, by name."""

import json
import shlex

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from PIL import Image

from experiments.presets import PRESETS
from genjax.app import build
from genjax.data import labelled_images
from genjax.methods.optimizers import OptimizerConfig, optimizer

IMAGES = {
    "folder:photos": (32, 32, 3),
    "digits": (8, 8, 1),
    "mnist": (28, 28, 1),
    "cifar10": (32, 32, 3),
    "shapes": (32, 32, 3),
}

OPTIONS = (
    "--batch-size 16 --steps 4 --log-every 2 --checkpoint-every 4 --evaluation.loss-every 4"
    " --optimizer.warmup-steps 1 --evaluation.num 20"
)
CODES = (
    "--model.num-codes 8 --model.code-width 4 --model.channels 8 --model.residual-blocks 1 --model.prior-channels 8"
    " --model.prior-depth 2 --method.first-steps 2"
)
RUNS = {
    "deep-vae-cifar10": (
        "--steps 10 --optimizer.warmup-steps 2 --model.groups 1 1 --model.widths 8 8 --model.encoder-blocks 1 1"
        " --model.decoder-blocks 0 0 --model.latent-channels 2 --method.mixtures 2 --method.warmup-steps 2"
        " --evaluation.importance-samples 5"
    ),
    "vaegan-digits": (
        "--model.latent 3 --model.channels 8 8 --model.dense 8 --method.discriminator-channels 4 8"
        " --method.discriminator-hidden 8"
    ),
    "vqgan-digits": f"{CODES} --log-every 1 --method.discriminator-channels 4 --method.game-start 1",
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory, verb):
    """Workdirs of finished runs, by preset; each is trained when it is first asked for."""
    made = {}

    def run(preset):
        if preset not in made:
            made[preset] = tmp_path_factory.mktemp("families") / preset
            options = shlex.split(f"{preset} {OPTIONS} {RUNS[preset]}")
            if preset == "deep-vae-cifar10":
                images = np.random.default_rng(0).integers(0, 256, (100, 8, 8, 3), np.uint8)
                np.savez(made[preset].parent / "colour.npz", images=images)
                options += ["--dataset", made[preset].parent / "colour.npz"]
            ended = verb("train", *options, "--workdir", made[preset])
            assert ended.code == 0, ended.err
        return made[preset]

    return run


def metrics(workdir):
    return json.loads((workdir / "metrics.json").read_text())


@pytest.mark.parametrize("name", PRESETS)
def test_preset_makes_a_method_of_its_images(name):
    """What it is trained on and what it makes have one shape; nothing is compiled."""
    config = PRESETS[name][1]
    shape = IMAGES[config.data.dataset]
    source = {} if config.data.source is None else {"source": jax.ShapeDtypeStruct((4, *shape), jnp.float32)}
    info = labelled_images(config.data.dataset, "train", shape, 10)
    info = info.with_field("source", info.fields["image"]) if source else info
    method = build.method(config, info)
    batch = {
        "image": jax.ShapeDtypeStruct((4, *shape), jnp.float32),
        "label": jax.ShapeDtypeStruct((4,), jnp.int32),
        "_index": jax.ShapeDtypeStruct((4,), jnp.int32),
        **source,
    }
    key = jax.eval_shape(lambda: jax.random.key(0))
    state = jax.eval_shape(method.init, key, batch)
    new, metrics = jax.eval_shape(method.step, key, state, batch)
    assert jax.tree.map(jnp.shape, new) == jax.tree.map(jnp.shape, state)
    assert {"loss", "grad_norm"} <= metrics.keys()
    keys = jax.eval_shape(lambda key: jax.random.split(key, 4), key)
    condition = {"label": batch["label"], **source}
    assert jax.eval_shape(method.sample, keys, state, condition).shape == (4, *shape)


def test_deep_vae_is_judged_by_its_likelihood(runs):
    found = metrics(runs("deep-vae-cifar10"))
    assert found["importance_samples"] == 5
    assert found["test_nll"] < found["test_loss"]  # the tighter bound
    np.testing.assert_allclose(found["test_rate"], found["test_kl_0"] + found["test_kl_1"], rtol=1e-5)
    np.testing.assert_allclose(found["test_loss"], found["test_rate"] + found["test_distortion"], rtol=1e-5)
    bits = found["test_nll"] / (8 * 8 * 3 * np.log(2))
    np.testing.assert_allclose(found["test_bits_per_dim"], bits, rtol=1e-5)
    assert 8 < bits < 12  # of noise it is 8 at best


def test_vae_gan(runs):
    found = metrics(runs("vaegan-digits"))
    parts = sum(found[name] for name in ("mutual_information", "total_correlation", "dimension_kl"))
    np.testing.assert_allclose(parts, found["test_rate"], rtol=0.05)  # one draw each, of other noise
    rows = [json.loads(line) for line in (runs("vaegan-digits") / "metrics.jsonl").read_text().splitlines()]
    row = next(row for row in rows if "train/feature" in row)
    terms = ("rate", "distortion", "feature", "adversarial")
    np.testing.assert_allclose(row["train/loss"], sum(row[f"train/{name}"] for name in terms), rtol=1e-5)


def test_vq_gan_with_a_prior(runs):
    """The game begins where it is to, and the prior after the first stage."""
    lines = (runs("vqgan-digits") / "metrics.jsonl").read_text().splitlines()
    trained = [row for row in map(json.loads, lines) if "train/loss" in row]
    weights = [row["train/first/adaptive_weight"] for row in trained[:2]]
    assert weights[0] == 0 < weights[1] <= 1  # the preset's largest
    for row in trained[:2]:
        assert row["train/first/perceptual"] > 0
        assert row["train/loss"] == row["train/first/loss"] and not any("second/" in name for name in row)
    for row in trained[2:]:
        assert row["train/loss"] == row["train/second/loss"] > 0 and not any("first/" in name for name in row)


@pytest.mark.parametrize("preset", RUNS)
def test_reconstructions(runs, verb, tmp_path, preset):
    out = tmp_path / "out.png"
    line = f"--show reconstructions --num 5 --columns 5 --out {out}"
    ended = verb("sample", "--workdir", runs(preset), *shlex.split(line))
    assert ended.code == 0, ended.err
    with Image.open(out) as picture:
        assert picture.width > picture.height > 0  # two rows of five


@pytest.mark.parametrize("show", ["traversals", "interpolations"])
def test_looking_at_codes(runs, verb, tmp_path, show):
    out = tmp_path / "out.png"
    line = shlex.split(f"--show {show} --num 3 --columns 4 --out {out}")
    ended = verb("sample", "--workdir", runs("vaegan-digits"), *line)
    assert ended.code == 0, ended.err
    assert out.exists()
    ended = verb("sample", "--workdir", runs("vqgan-digits"), *line)
    assert ended.code != 0 and "codes has no single code for an image" in ended.err


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "vaegan-digits --method.weight 0 --method.pixel 2",
            "method.pixel=2.0: with method.weight=0 valid is 1",
        ),
        ("vaegan-digits --method.gamma -1", "method.gamma=-1.0: valid are [0, inf)"),
        ("vqgan-digits --dataset shapes", "valid is 'none'"),
        ("vae-digits --method.beta -1", "method.beta=-1.0: valid are [0, inf)"),
        ("vae-digits --model.latent 65", "model.latent=65: images have 64 components, valid are 1..64"),
        ("vqvae-digits --model.num-codes 0", "model.num_codes=0: valid are [1, inf)"),
    ],
)
def test_what_does_not_go_together(verb, tmp_path, line, message):
    ended = verb("train", *shlex.split(line), "--workdir", tmp_path / "run")
    assert ended.code != 0 and message in " ".join(ended.err.split()), ended.err
    assert "Traceback" not in ended.err and not (tmp_path / "run").exists()


def test_a_conditional_model_needs_labels(verb, tmp_path):
    np.savez(tmp_path / "images.npz", images=np.zeros((40, 8, 8, 1), np.uint8))
    ended = verb("train", "cvae-digits", "--dataset", tmp_path / "images.npz", "--workdir", tmp_path / "run")
    assert ended.code != 0 and "has no labels; valid is False" in ended.err, ended.err


def test_large_and_broken_updates_are_skipped():
    """Parameters, Adam's moments and the rate's schedule stay where they are; the next good update is as if nothing had
    been."""
    config = OptimizerConfig(learning_rate=0.1, warmup_steps=2, skip_norm=5.0)
    skipping = optimizer(config, 10)
    plain = optimizer(OptimizerConfig(learning_rate=0.1, warmup_steps=2), 10)
    params = {"w": jnp.array([1.0, -2.0])}
    good = [{"w": jnp.array([3.0, 3.9])}, {"w": jnp.array([-1.0, 0.5])}, {"w": jnp.array([0.1, 0.2])}]
    bad = [{"w": jnp.array([3.0, 4.1])}, {"w": jnp.array([jnp.nan, 0.0])}, {"w": jnp.array([jnp.inf, 1.0])}]

    def follow(transformation, gradients):
        x, state = params, transformation.init(params)
        for gradient in gradients:
            changes, state = transformation.update(gradient, state, x)
            x = optax.apply_updates(x, changes)
        return x["w"]

    expected = follow(plain, good)
    mixed = follow(skipping, [good[0], bad[0], good[1], bad[1], bad[2], good[2]])
    np.testing.assert_array_equal(mixed, expected)
    np.testing.assert_array_equal(follow(skipping, bad), params["w"])
