"""A new network is one new file and one line: what a reader of CONTRIBUTING would do.

It takes over 20 seconds: a diffusion transformer is trained, sampled, scored and resumed by the verbs, in a process of
its own, and held to the contracts.
"""

import json

from tests.contracts.adding import TINY, House

LINE = "from genjax.models.denoisers.dit import NETWORK as small_dit"


def test_one_file_and_one_line_are_enough(tmp_path):
    house = House(tmp_path / "house")
    lines = house.add("dit.py", "genjax/models/denoisers/dit.py", LINE, "genjax/app/networks.py")
    assert lines[1] == 1

    tests = "small_dit and (missing or meet or takes or noisy)"
    assert "4 passed" in house.pytest("tests/contracts/test_networks.py", "-k", tests)

    train = f"train ddpm-digits --workdir runs/dit --model small_dit {TINY} --model.width 16 --model.depth 1"
    printed = house.verbs(
        "train ddpm-digits --model small_dit --help",
        train,
        "sample --workdir runs/dit --num 4 --labels 3 --guidance 2 --out dit.npz",
        "evaluate --workdir runs/dit --num 20 --sweep 1 2",
        "forget runs/dit/checkpoints/00000004",
        train,
    )
    assert "--model.width" in printed and "Width of the tokens." in printed and "small_dit, unet" in printed
    assert "trained to step 4" in printed and "4 images of step 4" in printed
    assert printed.count("trained to step 4: 4 steps") == 2  # of which two are from before
    config = json.loads((house.folder / "runs/dit/config.json").read_text())
    assert config["model"] == {"kind": "small_dit", "width": 16, "depth": 1, "heads": 2, "patch": 2}
    sweep = json.loads((house.folder / "runs/dit/sweep.json").read_text())
    assert [entry["num_steps"] for entry in sweep] == [1, 2]
