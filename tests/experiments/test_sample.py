"""Images belong to their numbers, options do what they say, and mistakes are found before any image is made."""

import dataclasses

import jax
import numpy as np
import pytest
from etils import epath
from PIL import Image

from experiments import sample
from genjax.app import build, restore, scoring
from genjax.app.config import SamplingConfig, SamplingOverrides
from genjax.data.fields import label
from genjax.diffusion import SCHEDULES, sampling
from genjax.train import sharding
from genjax.train.generate import generator
from genjax.typing import UserError


@pytest.fixture(scope="module")
def restored(run):
    return restore.restore(epath.Path(run), SamplingOverrides())


def images_on(devices, restored, numbers, batch_size, **extra):
    """Images `numbers` of seed 0 as floats, of class number % 10, made on the first `devices` devices."""
    mesh = sharding.make_mesh(num_devices=devices)
    everywhere = sharding.replicated(mesh)
    state = sharding.place(jax.device_get(restored.state), jax.tree.map(lambda _: everywhere, restored.state))
    condition = {"label": np.asarray(numbers, np.int32) % 10}
    condition |= {name: np.full(len(numbers), value, np.float32) for name, value in extra.items()}
    generate = generator(restored.method, mesh, batch_size)
    return np.concatenate(list(generate(state, jax.random.key(0), condition, numbers)))


@pytest.fixture(scope="module")
def images(restored):
    """Images 0 to 63 in one batch on eight devices."""
    return images_on(8, restored, range(64), 64)


def test_an_image_is_the_same_alone_and_on_one_device(restored, images):
    assert np.std(images, axis=0).min() > 1e-3  # 64 different ones
    for i in (5, 63):
        alone = images_on(1, restored, range(i, i + 1), 1)
        np.testing.assert_allclose(alone[0], images[i], rtol=0, atol=1e-5)


def test_an_image_is_the_same_in_another_batch(restored, images):
    # Batches of 24, so that the last one is filled up.
    np.testing.assert_allclose(images_on(8, restored, range(64), 24), images, rtol=0, atol=1e-5)


def test_the_noise_of_an_image_is_the_same_bit_for_bit():
    schedule, key = SCHEDULES["cosine"](10), jax.random.key(0)

    def noise(numbers):
        keys = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, numbers)
        return sampling.initial_noise(keys, (8, 8, 1), schedule)

    spread = sharding.batch_sharding(sharding.make_mesh())
    whole = jax.jit(noise, out_shardings=spread)(jax.device_put(np.arange(64, dtype=np.int32), spread))
    assert len(whole.sharding.device_set) == 8
    for i in (0, 5, 63):
        np.testing.assert_array_equal(jax.jit(noise)(np.array([i], np.int32))[0], whole[i])


def test_guidance_of_one_is_no_guidance(restored, images):
    np.testing.assert_allclose(images_on(8, restored, range(64), 64, guidance=1.0), images, rtol=0, atol=1e-5)
    guided = images_on(8, restored, range(64), 64, guidance=50.0)
    assert np.abs(guided - images).max() > 1e-3
    # The command does not even ask for the second evaluation of the network.
    assert "guidance" not in build.condition(restored.config, np.zeros(2), 2)


def test_arrays_and_picture(run, tmp_path, verb):
    def make(out, *options):
        ended = verb("sample", "--workdir", run, "--out", tmp_path / out, *options)
        assert ended.code == 0, ended.err
        assert ended.out == f"{ended.out.split()[0]} images of step 6 written to {tmp_path / out}\n"
        return tmp_path / out

    with np.load(make("all.npz", "--num", "30")) as arrays:
        images, labels = arrays["images"], arrays["labels"]
    assert images.shape == (30, 8, 8, 1) and images.dtype == np.uint8
    assert labels.tolist() == [*range(10)] * 3
    with np.load(make("part.npz", "--num", "1", "--first", "13")) as arrays:
        assert arrays["labels"].tolist() == [3]
        # A value that lies between two levels may be rounded to either.
        assert np.abs(arrays["images"].astype(int) - images[13:14]).max() <= 1
    with Image.open(make("all.png", "--num", "30")) as picture:
        pixels = np.asarray(picture)
    scale = pixels.shape[0] // 91
    small = pixels[::scale, ::scale]
    assert small.shape == (91, 3 * 9 + 1)
    tile = small[3 * 9 + 1 : 4 * 9, 9 + 1 : 2 * 9]  # the second image of class 3
    assert np.abs(tile.astype(int) - images[13, ..., 0]).max() <= 1
    with np.load(make("chosen.npz", "--num", "4", "--labels", "7", "7", "2", "--seed", "1")) as arrays:
        assert arrays["labels"].tolist() == [7, 7, 2, 7]


def test_options_override_the_config_of_the_run(run, tmp_path, verb):
    def make(*options):
        ended = verb("sample", "--workdir", run, "--num", "8", "--out", tmp_path / "x.npz", *options)
        assert ended.code == 0, ended.err
        with np.load(tmp_path / "x.npz") as arrays:
            return arrays["images"]

    usual = make()
    np.testing.assert_array_equal(
        make("--sampler=ddim", "--num-steps=2", "--guidance=1", "--batch-size=8"), usual
    )
    assert (make("--sampler=ddpm") != usual).any()
    assert (make("--num-steps=3") != usual).any()
    assert (make("--seed=1") != usual).any()


def test_overrides():
    config = SamplingConfig(sampler="ddim", num_steps=50, eta=0.5, guidance=2.0)
    assert SamplingOverrides().apply(config) == config
    assert SamplingOverrides(num_steps=7).apply(config) == dataclasses.replace(config, num_steps=7)
    assert SamplingOverrides(guidance=0.0, eta=0.0).apply(config) == dataclasses.replace(
        config, guidance=0.0, eta=0.0
    )
    # The run's eta belongs to its own sampler.
    assert SamplingOverrides(sampler="ddpm").apply(config) == dataclasses.replace(
        config, sampler="ddpm", eta=None
    )


def test_labels_are_a_function_of_the_number():
    field = label(10, tuple("abcdefghij"))
    whole = sample.asked_labels(sample.Sample("x", num=50), field)
    part = sample.asked_labels(sample.Sample("x", num=7, first=23), field)
    np.testing.assert_array_equal(part, whole[23:30])
    assert sample.asked_labels(sample.Sample("x"), None) is None
    named = sample.asked_labels(sample.Sample("x", num=3, labels=("c", "7")), field)
    np.testing.assert_array_equal(named, [2, 7, 2])
    with pytest.raises(UserError, match=r"labels='k': there is no such class, valid are 0\.\.9, or a, b, c"):
        sample.asked_labels(sample.Sample("x", labels=("k",)), field)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--num=0", "num=0, first=0: images are numbered from 0"),
        ("--first=-1", "num=64, first=-1: images are numbered from 0"),
        ("--first=2147483640", "images are numbered from 0 to 2147483647"),
        ("--seed=-1", "seed=-1: valid are 0..4294967295"),
        ("--labels 3 10", "labels='10': there is no such class, valid are 0..9\n"),
        ("--num-steps=0", "sampling.num_steps=0: valid are [1, inf)"),
        ("--batch-size=0", "sampling.batch_size=0: valid are [1, inf)"),
        ("--eta=2", "sampling.eta=2.0: valid are [0, 1]"),
        ("--sampler=ddpm --eta=0.5", "sampling.eta=0.5 is for ddim, "),
        ("--guidance=nan", "sampling.guidance=nan: valid are [0, inf)"),
        ("--out=x.jpg", "out='x.jpg': the suffix must be .png or .npz"),
        ("--out=missing/x.png", "out='missing/x.png': there is no folder 'missing'"),
    ],
)
def test_bad_options_are_refused_before_the_work(run, tmp_path, monkeypatch, verb, options, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(scoring, "make", lambda *_, **__: pytest.fail("images are made"))
    ended = verb("sample", "--workdir", run, *options.split())
    assert ended.code == 2 and message in ended.err and "Traceback" not in ended.err
    assert not list(tmp_path.iterdir())


def test_folders_without_a_run(tmp_path, run, verb):
    out = "--out", tmp_path / "x.png"
    ended = verb("sample", "--workdir", tmp_path, *out)
    assert ended.code == 2 and f"workdir='{tmp_path}' holds no run: config.json is missing" in ended.err
    (tmp_path / "config.json").write_bytes((run / "config.json").read_bytes())
    ended = verb("sample", "--workdir", tmp_path, *out)
    assert ended.code == 2 and "holds no complete run: data.json is missing" in ended.err
    (tmp_path / "data.json").write_bytes((run / "data.json").read_bytes())
    ended = verb("sample", "--workdir", tmp_path, *out)
    assert ended.code == 2 and "holds no checkpoint yet: train it first" in ended.err
    assert {p.name for p in tmp_path.iterdir()} == {"config.json", "data.json"}
