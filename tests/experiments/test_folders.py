"""Images of any model, in a folder, against real ones in another: what is measured, and what is refused."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from genjax import data
from genjax.metrics import load_digits_classifier, moments
from genjax.metrics.frechet import distance
from genjax.metrics.reference_statistics import Reference, save
from genjax.metrics.score import score

METRICS = ("--metrics", "fd", "--extractor", "digits")


def write(folder, images):
    folder.mkdir(parents=True)
    for i, image in enumerate(images):
        Image.fromarray(image[..., 0]).save(folder / f"{i:04}.png")
    return folder


@pytest.fixture(scope="module")
def digits():
    return data.to_memory(data.load("digits", "train"))["image"][:120]


@pytest.fixture(scope="module")
def folders(tmp_path_factory, digits):
    root = tmp_path_factory.mktemp("folders")
    return write(root / "made", digits[:50]), write(root / "real", digits[50:])


@pytest.fixture(scope="module")
def scored(folders, verb, tmp_path_factory):
    out = tmp_path_factory.mktemp("scores") / "scores.json"
    made, real = folders
    ended = verb("evaluate", "--images", made, "--reference", real, *METRICS, "--out", out)
    assert ended.code == 0, ended.err
    return out, ended


def test_two_folders(scored, digits, folders):
    out, ended = scored
    assert json.loads(out.read_text()) == ended.json
    expected = score(
        digits[:50], digits[50:], extractor=load_digits_classifier(), equal=False, reference=folders[1].name
    )
    assert ended.json["fd_generated"] == pytest.approx(expected["fd_generated"], rel=1e-4)
    assert ended.json["num_samples"] == 50
    # The same images, whether from files or from memory, batch by batch or at once.
    assert ended.json["protocols"] == expected["protocols"]
    assert "[:70]#" in ended.json["protocols"]["fd"]


def test_train_images_give_the_scale(folders, verb, digits, tmp_path):
    made, real = folders
    train = write(tmp_path / "train", digits[:60])
    ended = verb("evaluate", "--images", made, "--reference", real, "--train", train, *METRICS)
    assert ended.code == 0, ended.err
    assert ended.json["rho"] == ended.json["fd_generated"] / ended.json["fd_train"]
    expected = score(digits[:60], digits[50:], extractor=load_digits_classifier(), equal=False)
    assert ended.json["fd_train"] == pytest.approx(expected["fd_generated"], rel=1e-4)


def test_against_earlier_scores(folders, verb, scored, tmp_path, digits):
    out, before = scored
    made, real = folders
    same = verb("evaluate", "--images", made, "--reference", real, *METRICS, "--against", out)
    assert same.code == 0 and f"fd_generated less that of {out}  0\n" in same.out
    other = write(tmp_path / "other", digits[51:])
    refused = verb("evaluate", "--images", made, "--reference", other, *METRICS, "--against", out)
    assert refused.code == 2
    assert "cannot be compared: they differ in reference" in refused.err
    # The numbers themselves are worth something: they are printed before the refusal.
    assert "fd_generated" in refused.out and before.json["num_samples"] == 50


def test_a_corrupt_file_is_named_or_skipped(folders, verb, tmp_path, scored, caplog):
    made, real = folders
    damaged = shutil.copytree(made, tmp_path / "damaged")
    (damaged / "0007a.png").write_bytes((made / "0007.png").read_bytes()[:60])
    ended = verb("evaluate", "--images", damaged, "--reference", real, *METRICS)
    assert ended.code == 2 and "0007a.png" in ended.err and "Traceback" not in ended.err
    ended = verb("evaluate", "--images", damaged, "--reference", real, *METRICS, "--on-bad-record", "skip")
    assert ended.code == 0 and "skipped 1 of 51" in caplog.text
    assert ended.json["fd_generated"] == scored[1].json["fd_generated"]


def test_mixed_sizes_need_an_extractor_that_scales(folders, verb, tmp_path):
    made, real = folders
    mixed = shutil.copytree(made, tmp_path / "mixed")
    Image.fromarray(np.zeros((20, 30), np.uint8)).save(mixed / "0050.png")
    ended = verb("evaluate", "--images", mixed, "--reference", real, *METRICS)
    assert ended.code == 2 and "several sizes, (8, 8) and (20, 30)" in ended.err


@pytest.mark.parametrize(
    ("count", "message"),
    [(0, "no image in it"), (1, "generated has 1, test has 70 images: at least 2 of each")],
)
def test_too_few_images(folders, verb, tmp_path, digits, count, message):
    few = write(tmp_path / "few", digits[:count])
    ended = verb("evaluate", "--images", few, "--reference", folders[1], *METRICS)
    assert ended.code == 2 and message in ended.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "give either workdir=DIR"),
        (("--images", "a"), "images needs reference=DIR"),
        (("--workdir", "a", "--train", "b"), "train='b' goes with images"),
        (("--images", "a", "--reference", "b", "--metrics", "psnr"), "metrics has 'psnr'; valid are fd"),
        (("--images", "a", "--reference", "b", "--metrics", ","), "metrics=',': valid are fd"),
        (("--images", "a", "--reference", "b"), "needs weights=FILE"),
        (("--images", "a", "--reference", "b", "--out", "."), "out='.' is a folder"),
        (("--images", "a", "--reference", "b", "--extractor", "digits"), "folder 'a': no such folder"),
    ],
)
def test_mistakes(verb, options, message):
    ended = verb("evaluate", *options)
    assert ended.code == 2 and message in ended.err, ended.err


def test_statistics_in_a_file(folders, verb, scored, tmp_path):
    made, real = folders
    file = tmp_path / "real.npz"
    ended = verb("reference", "--images", real, "--extractor", "digits", "--out", file)
    assert ended.code == 0, ended.err
    assert ended.json["count"] == 70 and ended.json["images"].startswith("real[:70]#")
    assert ended.json["images"] == json.loads(scored[1].json["protocol"])["reference"]  # the digest too
    ended = verb("evaluate", "--images", made, "--reference", file, *METRICS)
    assert ended.code == 0, ended.err
    assert ended.json["fd_generated"] == pytest.approx(scored[1].json["fd_generated"], rel=1e-6)
    ended = verb(
        "evaluate", "--images", made, "--reference", file, "--metrics", "kid", "--extractor", "digits"
    )
    assert ended.code == 2 and "needs the reference's images" in ended.err


def test_paths_may_begin_at_home(folders, verb, tmp_path, monkeypatch):
    """No shell replaces the ~ of ``--out=~/real.npz``; suffixes may be written in capitals."""
    monkeypatch.setenv("HOME", str(tmp_path))
    made, real = folders
    ended = verb("reference", f"--images={real}", "--extractor", "digits", "--out=~/real.npz")
    assert ended.code == 0 and (tmp_path / "real.npz").exists(), ended.err
    (tmp_path / "REAL.NPZ").write_bytes((tmp_path / "real.npz").read_bytes())
    scores = [
        verb("evaluate", f"--images={made}", f"--reference={name}", *METRICS, "--out=~/scores.json").json
        for name in ("~/real.npz", "~/REAL.NPZ", real)
    ]
    assert scores[0]["fd_generated"] == scores[1]["fd_generated"]
    assert scores[0]["fd_generated"] == pytest.approx(scores[2]["fd_generated"], rel=1e-6)
    weights = verb("evaluate", "--images", made, "--reference", real, *METRICS, "--weights=~/real.npz")
    assert weights.code == 2 and f"path is '{tmp_path}/real.npz', whose SHA-256 is" in weights.err


def test_statistics_of_another_extractor_are_refused(folders, verb, tmp_path):
    made, _ = folders
    file = tmp_path / "real.npz"
    values = np.random.default_rng(0).normal(size=(200, 64))
    save(file, Reference.of(moments(values), extractor="another@00", resize="none", images="real"))
    ended = verb("evaluate", "--images", made, "--reference", file, *METRICS)
    assert ended.code == 2 and "was made with extractor 'another@00'" in ended.err


def test_statistics_from_elsewhere_have_an_unknown_protocol(folders, verb, scored, tmp_path):
    made, _ = folders
    values = np.random.default_rng(0).normal(size=(200, 64))
    np.savez(tmp_path / "foreign.npz", mu=values.mean(0), sigma=np.cov(values.T))
    ended = verb("evaluate", "--images", made, "--reference", tmp_path / "foreign.npz", *METRICS)
    assert ended.code == 0, ended.err
    assert json.loads(ended.json["protocol"])["extractor"] == "unknown"
    refused = verb(
        "evaluate",
        "--images",
        made,
        "--reference",
        tmp_path / "foreign.npz",
        *METRICS,
        "--against",
        scored[0],
    )
    assert refused.code == 2 and "cannot be compared" in refused.err


def test_statistics_of_a_data_set(verb, tmp_path):
    ended = verb(
        *("reference", "--dataset", "digits", "--split", "test", "--extractor", "digits"),
        *("--out", tmp_path / "digits.npz"),
    )
    assert ended.code == 0, ended.err
    assert ended.json["count"] == 355 and ended.json["images"].startswith("digits/test[:355]#")
    for options, message in [
        (("--out", tmp_path / "a.npz"), "give either images=DIR or dataset=NAME"),
        (("--dataset", "digits", "--out", tmp_path / "a.txt"), "valid are names that end in .npz"),
        (("--dataset", "digits", "--out", tmp_path / "no" / "a.npz"), "there is no folder"),
    ]:
        ended = verb("reference", *options)
        assert ended.code == 2 and message in ended.err


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros((1, 5)), r"float64[1, 5]: features are float[N,D] with N >= 2"),
        (np.zeros(5), "float64[5]: features"),
        (np.zeros((4, 5), int), "int64[4, 5]: features"),
        (np.full((4, 5), np.nan), "has a value that is not finite"),
        (np.array([{}]), "is not a .npy file of plain numbers"),
    ],
)
def test_what_is_no_features(verb, tmp_path, values, message):
    path = tmp_path / "a.npy"
    np.save(path, values)
    ended = verb("evaluate", "--images", path, "--reference", path, "--metrics", "fd", "--features", "clip")
    assert ended.code == 2 and message in ended.err, ended.err


def test_features_computed_elsewhere(verb, tmp_path):
    random = np.random.default_rng(0)
    made, real, train = (tmp_path / f"{name}.npy" for name in ("made", "real", "train"))
    arrays = random.normal(size=(60, 5)), random.normal(size=(50, 5)) + 1, random.normal(size=(70, 5)) + 3
    for path, values in zip((made, real, train), arrays, strict=True):
        np.save(path, values)
    options = ("--images", made, "--reference", real, "--metrics", "fd,cmmd,prdc")
    ended = verb("evaluate", *options, "--features", "clip-vit-l14-336", "--resamples", "20")
    assert ended.code == 0, ended.err
    assert ended.json["fd_generated"] == pytest.approx(5, rel=0.6)
    assert json.loads(ended.json["protocol"])["extractor"] == "clip-vit-l14-336"
    low, high = ended.json["intervals"]["fd_generated"]
    assert low < ended.json["fd_generated"] < high + 1
    assert ended.json["num_samples"] == 60 and "real.npy[:50]#" in ended.json["protocol"]
    found = verb("evaluate", *options[:4], "--train", train, "--metrics", "fd", "--features", "clip").json
    far = distance(*(moments(values.astype(np.float32)) for values in arrays[:0:-1]))
    assert found["fd_train"] == pytest.approx(far, rel=1e-5)
    assert found["rho"] == found["fd_generated"] / found["fd_train"]
    for wrong, message in [
        (options, "features=NAME is missing"),
        ((*options[:3], tmp_path, *options[4:], "--features", "clip"), "give features of all, or of none"),
        (
            (*options[:4], "--metrics", "cmmd", "--features", "dinov2"),
            "of the features of clip, and not of dinov2",
        ),
    ]:
        ended = verb("evaluate", *wrong)
        assert ended.code == 2 and message in ended.err, ended.err
