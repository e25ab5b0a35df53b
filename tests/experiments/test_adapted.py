"""What a preset becomes for another number of steps, another data set, a trial; and how spellings are answered."""

import dataclasses
import shlex

import pytest

from experiments import train_command
from experiments.presets import PRESETS
from experiments.presets.photos import PHOTOS
from experiments.study import fields
from genjax.app import build, checks, config_files, kinds, workdir
from genjax.app.config import differences, flatten, replace
from genjax.methods.vae.vae import VAEConfig
from genjax.typing import UserError


def changed(words):
    """What a command line changes about a preset, beside what it says by name."""
    preset, *rest = shlex.split(words)
    found = differences(PRESETS[preset][1], train_command.parse([preset, *rest]).config)
    return {name: new for name, (_, new) in found.items() if name not in ("fit.steps", "data.dataset")}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        # Where warm-ups fit, the preset's stay: commands of before train what they trained.
        ("ddpm-mnist --steps 300", {}),
        ("vqvae-digits --steps 2000", {}),
        # 100 of 1,500 steps; and 1,500 and 100 of 4,000.
        ("ddpm-digits --steps 90", {"optimizer.warmup_steps": 6}),
        ("vqvae-digits --steps=400", {"method.first_steps": 150, "optimizer.warmup_steps": 10}),
        # Too few for the second stage alone: 1,500 of 1,550 steps leave it 50, less than its warm-up.
        ("vqvae-digits --steps 1550", {"method.first_steps": 581, "optimizer.warmup_steps": 39}),
        ("vqvae-digits --steps 2", {"method.first_steps": 1, "optimizer.warmup_steps": 1}),
        # Presets for photographs: always in proportion.
        ("ddpm-photos --steps 40000", {"optimizer.warmup_steps": 2000}),
        ("vqvae-photos --steps 2000", {"method.first_steps": 800, "optimizer.warmup_steps": 50}),
        # What is given by name stays.
        ("ddpm-digits --steps 90 --optimizer.warmup_steps 80", {"optimizer.warmup_steps": 80}),
    ],
)
def test_warm_ups_keep_their_share(words, expected):
    assert changed(words) == expected


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("ddpm-digits --dataset folder:x", {}),
        ("cvae-mnist --dataset folder:x", {"method.likelihood": "logistic_mixture"}),
        ("cvae-mnist --dataset fashion_mnist:3.*.*", {}),
        (
            "vae-mnist --dataset folder:x",
            {
                "data.binarize": "no",
                "method.likelihood": "logistic_mixture",
                "method.draw_pixels": False,
            },
        ),
        ("vae-mnist --dataset digits", {"data.binarize": "no", "method.draw_pixels": False}),
        (
            "vae-mnist --dataset digits --data.binarize static --method.draw-pixels",
            {},
        ),
        (
            "tcvae-shapes --dataset x.npz",
            {"method.dataset_size": None, "method.likelihood": "logistic_mixture"},
        ),
        ("pix2pix-mnist --dataset digits", {"data.source": "edges:digits"}),
        ("vae-mnist --dataset mnist", {}),
    ],
)
def test_settings_of_one_data_set_do_not_survive_another(words, expected):
    assert changed(words) == expected


@pytest.mark.parametrize(
    "values",
    [
        {"data.dataset": "folder:x", "method.beta": 2.0},
        {"fit.steps": 50, "evaluation.num": 20},
        {"fit.steps": 50, "data.dataset": "digits", "optimizer.warmup_steps": 3},
    ],
)
@pytest.mark.parametrize("preset", ["vae-mnist", "vae-photos"])
def test_studies_adapt_as_the_command_line_does(preset, values):
    words = [preset, *fields.options(values)]
    assert fields.configured(preset, values) == train_command.parse(words).config


@pytest.mark.parametrize("name", PRESETS)
def test_a_trial_of_each_preset(name):
    command = train_command.parse([name, "--trial"])
    config, preset = command.config, PRESETS[name][1]
    checks.check(config)
    assert command.launch.workdir == f"runs/{name}-trial"
    assert config.fit.steps == 20 and config.data.limit == 128 and config.evaluation.num <= 32
    assert config.model == preset.model
    assert checks_of(config) >= 2
    assert train_command.parse([name, "--trial", "--steps", "44"]).config.fit.steps == 44


def checks_of(config):
    """How often a run draws pictures, saves and measures, at least."""
    every = config.fit.checkpoint_every, config.evaluation.loss_every, config.evaluation.sample_every
    return min(config.fit.steps // one for one in every)


@pytest.mark.parametrize("name", PHOTOS)
@pytest.mark.parametrize("size", [32, 64])
def test_presets_for_photographs_fit_both_sizes(name, size):
    config = PRESETS[name][1]
    assert config.data.channels == 3 and config.data.flip and config.evaluation.extractor is None
    data = dataclasses.replace(config.data, image_size=size)
    config = dataclasses.replace(config, data=data)
    kinds.network(config).check(config.model, (size, size, 3))
    kinds.method(config).check(config, (size, size, 3))


def test_what_is_adapted_is_said():
    _, said = train_command.read(["vae-mnist", "--dataset", "folder:x", "--steps", "50"])
    assert said == [
        "data.binarize: no, where the preset has static",
        "method.likelihood: logistic_mixture, where the preset has bernoulli",
        "method.draw_pixels: False, where the preset has True",
        "optimizer.warmup_steps: 1, where the preset has 100",
    ]
    assert train_command.read(["vae-mnist", "--data.binarize", "no", "--steps", "5000"])[1] == []


def test_a_run_goes_on_for_longer_with_its_own_warm_up(tmp_path):
    start = train_command.parse(["vqvae-digits", "--steps", "400"]).config
    workdir.write_json(tmp_path / workdir.CONFIG, config_files.to_json(start))
    (tmp_path / "checkpoints" / "400").mkdir(parents=True)
    words = ["vqvae-digits", "--workdir", str(tmp_path), "--steps"]
    longer, said = train_command.read([*words, "2000"])
    assert longer.config == replace(start, {"fit.steps": 2000})
    assert said[-1] == "goes on to step 2000; the run was started with 400 steps"
    assert workdir._differences(tmp_path, longer.config, {}) == ([], [])
    shorter = train_command.read([*words, "200"])[0].config
    assert train_command.parse([*words, "2000"]).config.method.first_steps != start.method.first_steps
    assert "fit.steps: 400 before, 200 now" in workdir._differences(tmp_path, shorter, {})[0]


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("--lr", "--optimizer.learning-rate"),
        ("--img_size=32", "--data.image-size"),
        ("--resume", "the command that started a run also goes on with it"),
    ],
)
def test_spellings_of_other_programs_are_answered(wrong, right):
    with pytest.raises(UserError, match=f"^{wrong.partition('=')[0]} is not an option here; write .*{right}"):
        train_command.parse(["ddpm-digits", wrong, "1"])


def test_spellings_name_options_that_exist():
    names = [*flatten(PRESETS["ddpm-digits"][1]), "dataset", "workdir"]
    names = [name.removeprefix("fit.").removeprefix("initial.") for name in names]
    options = {f"--{name}".replace("_", "-") for name in names}
    for right in train_command.SPELLINGS.values():
        option = right.split(" ")[0].rstrip(",")
        assert option == "nothing:" or option in options, right
    assert not options & train_command.SPELLINGS.keys()


def test_the_number_of_training_images_comes_from_the_data():
    config = dataclasses.replace(PRESETS["vae-digits"][1], method=VAEConfig(rate="tc"))
    assert build.counted(config, 1437).method.dataset_size == 1437
    named = dataclasses.replace(config, method=VAEConfig(rate="tc", dataset_size=5))
    assert build.counted(named, 1437) == named
    plain = PRESETS["vae-digits"][1]
    assert build.counted(plain, 1437) == plain
    stored = config_files.to_json(plain)
    stored["method"]["dataset_size"] = 60_000  # as older versions wrote it
    assert config_files.from_json(stored) == plain
