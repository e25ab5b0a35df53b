"""A new method is one new file and one line: what a reader of CONTRIBUTING would do.

It takes over 20 seconds: a consistency model is trained, sampled, scored and resumed by the verbs, in a process of its
own, and held to the contracts.
"""

import json

from tests.contracts.adding import TINY, House

LINE = "from genjax.methods.diffusion.consistency_training import METHOD as consistency_training"


def test_one_file_and_one_line_are_enough(tmp_path):
    house = House(tmp_path / "house")
    place = "genjax/methods/diffusion/consistency_training.py"
    lines = house.add("consistency_training.py", place, LINE, "genjax/app/methods.py")
    assert lines[1] == 1

    tests = house.pytest("tests/contracts/test_methods.py", "-k", "consistency_training and not devices")
    assert "7 passed" in tests

    train = (
        f"train ddpm-digits --workdir runs/cm --method consistency_training {TINY}"
        " --model.channels 8 --model.multipliers 1 --model.blocks 1 --model.attention"
    )
    printed = house.verbs(
        "train ddpm-digits --method consistency_training --help",
        train,
        "sample --workdir runs/cm --num 4 --labels 3 --num-steps 1 --out cm.npz",
        "evaluate --workdir runs/cm --num 20 --sweep 1 2",
        "forget runs/cm/checkpoints/00000004",
        train,
    )
    assert "--method.levels" in printed and "trained to step 4" in printed
    assert "4 images of step 4" in printed
    assert printed.count("trained to step 4: 4 steps") == 2  # of which two are from before
    config = json.loads((house.folder / "runs/cm/config.json").read_text())
    assert config["method"]["kind"] == "consistency_training"
    assert config["sampling"]["sampler"] == "consistency"  # the preset's, ddpm, is for denoisers
    sweep = json.loads((house.folder / "runs/cm/sweep.json").read_text())
    assert [entry["num_steps"] for entry in sweep] == [1, 2]
