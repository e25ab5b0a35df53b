"""Models from images to images, through the verbs: on pairs, without pairs, on folders; and what they refuse."""

import json
import shlex

import numpy as np
import pytest
from PIL import Image

from experiments.presets import PRESETS
from genjax import data
from genjax.app import build, translation
from genjax.typing import UserError

OPTIONS = (
    "--batch-size 16 --steps 4 --log-every 2 --checkpoint-every 4 --evaluation.loss-every 4 --evaluation.num 20"
    " --evaluation.grid-columns 3 --model.channels 4 --method.discriminator-channels 4"
)
RUNS = {"pix2pix-digits": "", "cyclegan-digits": "--model.blocks 1 --method.pool 20"}


@pytest.fixture(scope="module")
def runs(tmp_path_factory, verb):
    """Workdirs of finished runs, by preset; each is trained when it is first asked for."""
    made = {}

    def run(preset):
        if preset not in made:
            made[preset] = tmp_path_factory.mktemp("translation") / preset
            options = shlex.split(f"{preset} {OPTIONS} {RUNS[preset]}")
            ended = verb("train", *options, "--workdir", made[preset])
            assert ended.code == 0, ended.err
        return made[preset]

    return run


@pytest.mark.parametrize(
    ("preset", "names", "rows"),
    [
        ("pix2pix-digits", {"test_l1", "test_adversarial"}, 4 * 3),
        ("cyclegan-digits", {"test_cycle_l1", "test_cycle_psnr"}, 4 * 2 * 2),
    ],
)
def test_training_writes_scores_and_pictures(runs, preset, names, rows):
    found = json.loads((runs(preset) / "metrics.json").read_text())
    assert names | {"test_loss", "rho"} <= found.keys()
    assert found["num_samples"] == 20
    with Image.open(runs(preset) / "samples.png") as picture:
        # Rows of three images of 8 pixels, and lines between them.
        np.testing.assert_allclose(picture.height / picture.width, rows * 9 / (3 * 9), rtol=0.06)


@pytest.mark.parametrize(
    ("preset", "domain"),
    [("pix2pix-digits", "source"), ("cyclegan-digits", "source"), ("cyclegan-digits", "image")],
)
def test_samples_are_translations_of_test_images(runs, verb, tmp_path, preset, domain):
    def sample(out, *options):
        ended = verb("sample", "--workdir", runs(preset), "--domain", domain, "--out", out, *options)
        assert ended.code == 0, ended.err
        return out

    several = np.load(sample(tmp_path / "a.npz", "--num", 6))
    assert several["images"].shape == several["given"].shape == (6, 8, 8, 1)
    one = np.load(sample(tmp_path / "b.npz", "--num", 1, "--first", 4))
    np.testing.assert_array_equal(one["given"], several["given"][4:5])
    assert np.abs(one["images"].astype(int) - several["images"][4:5]).max() <= 1
    test = data.to_memory(build.source(PRESETS[preset][1].data, "test"))[domain]
    assert {x.tobytes() for x in several["given"]} <= {x.tobytes() for x in test}
    with Image.open(sample(tmp_path / "c.png", "--num", 5, "--columns", 5)) as picture:
        rows = 3 if preset == "pix2pix-digits" else 2
        scale = picture.width // (5 * 9 + 1)
        assert picture.height == scale * (rows * 9 + 1)
        levels = np.asarray(picture)[::scale, ::scale]
    np.testing.assert_array_equal(levels[1:9, 1:9], several["given"][0, :, :, 0])
    made = several["images"][0, :, :, 0].astype(int)
    assert np.abs(levels[10:18, 1:9] - made).max() <= 1


def test_a_run_that_is_evaluated_again_gives_the_same(runs, verb):
    first = json.loads((runs("pix2pix-digits") / "metrics.json").read_text())
    again = verb("evaluate", "--workdir", runs("pix2pix-digits"), "--num", 20).json
    for results in (first, again):
        del results["sampling_seconds"]
    assert again == first


def test_folders_are_a_data_set(verb, tmp_path, write_images, noise_images):
    images = noise_images(30)
    write_images(tmp_path / "photos", images)
    write_images(tmp_path / "maps", 255 - images)
    line = f"pix2pix-digits {OPTIONS} --steps 2 --log-every 1 --checkpoint-every 2 --evaluation.num 0"
    folders = ["--dataset", f"folder:{tmp_path / 'photos'}", "--data.source", f"folder:{tmp_path / 'maps'}"]
    ended = verb("train", *shlex.split(line), *folders, "--workdir", tmp_path / "run")
    assert ended.code == 0, ended.err
    (tmp_path / "maps" / "007.png").unlink()
    ended = verb("train", *shlex.split(line), *folders, "--workdir", tmp_path / "other")
    assert ended.code == 2 and not (tmp_path / "other").exists()
    assert "'007' is in 'folder:" in ended.err and "maps' (split 'train')" in " ".join(ended.err.split())


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "pix2pix-digits --data.pairing unpaired",
            "data.pairing='unpaired': pix2pix needs 'paired' images",
        ),
        ("vae-digits --data.source edges:digits", "vae translates no images, valid is None"),
        ("pix2pix-digits --data.source None", "the name of a data set to translate from is needed"),
        ("pix2pix-digits --data.source shapes", "'digits' has 1442 images in split 'train' and 'shapes' has"),
        (
            "cyclegan-digits --data.source shapes",
            "valid is (8, 8, 1); images of both domains must have one size",
        ),
        ("pix2pix-digits --model.levels 4", "levels has 4 halvings"),
        ("cyclegan-digits --method.pool -1", "method.pool=-1: valid are [0, inf)"),
        ("cyclegan-digits --method.cycle -1", "method.cycle=-1.0: valid are [0, inf)"),
    ],
)
def test_what_does_not_go_together(verb, tmp_path, line, message):
    ended = verb("train", *shlex.split(line), "--workdir", tmp_path / "run")
    assert ended.code != 0 and message in " ".join(ended.err.split()), ended.err
    assert "Traceback" not in ended.err and not (tmp_path / "run").exists()


def test_only_a_model_with_a_way_back_translates_back(runs, verb, tmp_path):
    out = tmp_path / "out.png"
    ended = verb("sample", "--workdir", runs("pix2pix-digits"), "--domain", "image", "--out", out)
    assert ended.code == 2 and not out.exists()
    assert "domain='image': pix2pix translates images of 'source'" in " ".join(ended.err.split())
    test = data.load("digits", "test")
    with pytest.raises(UserError, match=r"domain='image': diffusion translates no images"):
        translation.given(PRESETS["ddpm-digits"][1], test, range(1), "image")
    assert translation.given(PRESETS["ddpm-digits"][1], test, range(1)) == {}
