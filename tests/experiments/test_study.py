"""What a study plans: its runs, their names, values and commands, and what is refused before anything runs."""

import dataclasses
import json
import os
import shlex
import subprocess

import pytest
import tyro

from experiments import evaluate, train_command
from experiments.presets import PRESETS
from experiments.study import budget, command, exports, plan, store
from experiments.study.spec import Budget, Study
from experiments.study.studies import STUDIES
from genjax.app.config import flatten
from genjax.typing import UserError

TWO = Study(
    presets=("vae-digits", "gan-digits"),
    base={"steps": 40, "optimizer.warmup_steps": 5},
    per_preset={"gan-digits": {"model.hidden": (16, 16)}},
    grid={"optimizer.learning_rate": ("1e-3", 1e-4)},
    seeds=(0, 7),
)


def asked(*arguments, spec="vae-digits,gan-digits"):
    """The study of a command line."""
    return command.study(tyro.cli(command.Options, args=[spec, "--workdir", "w", *arguments]))


def refusal(call):
    with pytest.raises(UserError) as error:
        call()
    return str(error.value)


def test_every_combination_from_every_seed():
    runs = plan.runs(TWO)
    assert [run.name for run in runs] == [
        f"{preset},learning_rate={rate},seed={seed}"
        for seed in (0, 7)
        for preset in ("vae-digits", "gan-digits")
        for rate in ("0.001", "0.0001")
    ]
    fixed = {"fit.steps": 40, "optimizer.warmup_steps": 5}
    assert runs[5].overrides == {**fixed, "optimizer.learning_rate": 1e-4} and runs[5].seed == 7
    assert runs[2].overrides == {**fixed, "model.hidden": (16, 16), "optimizer.learning_rate": 1e-3}
    # And nothing else differs from the preset.
    old, new = flatten(PRESETS["gan-digits"][1]), flatten(runs[6].config)
    assert {name: new[name] for name in new if new[name] != old[name]} == {
        **runs[2].overrides,
        "fit.seed": 7,
    }


def test_fields_that_change_together():
    rates = {"adam": 1e-3, "sgd": "1e-1"}
    pairs = tuple({"optimizer.name": name, "optimizer.learning_rate": rate} for name, rate in rates.items())
    study = Study(("vae-digits", "gan-digits"), variants={"vae-digits": pairs}, grid={"steps": (300, 400)})
    assert [run.cell for run in plan.runs(study)] == [
        "vae-digits,name=adam,learning_rate=0.001,steps=300",
        "vae-digits,name=adam,learning_rate=0.001,steps=400",
        "vae-digits,name=sgd,learning_rate=0.1,steps=300",
        "vae-digits,name=sgd,learning_rate=0.1,steps=400",
        "gan-digits,steps=300",
        "gan-digits,steps=400",
    ]
    assert plan.runs(study)[2].config.optimizer.learning_rate == 0.1
    clash = dataclasses.replace(study, grid={"optimizer.name": ("adam",)})
    assert refusal(lambda: plan.runs(clash)).startswith("optimizer.name is in the grid, and in variants")
    alien = dataclasses.replace(study, presets=("gan-digits",))
    assert "'vae-digits' has fields or seeds of its own" in refusal(lambda: plan.runs(alien))


def test_long_names_are_names_of_files():
    name = plan._short("vae-digits," + ",".join(f"optimizer.learning_rate=0.{i:03d}" for i in range(20)))
    other = plan._short("vae-digits," + ",".join(f"optimizer.learning_rate=0.{i:03d}" for i in range(1, 21)))
    assert name != other and len(f"{name},seed=4294967295.json".encode()) <= 255
    assert plan._short("vae-digits,beta=1") == "vae-digits,beta=1"


def test_names_tell_fields_apart_and_can_be_folders():
    (run,) = plan.runs(Study(("vae-digits",)))
    assert run.name == "vae-digits,seed=0"
    grid = {"model.latent": (4,), "model.hidden": ("32 16",), "data.dataset": ("folder:/a/b",)}
    (run,) = plan.runs(Study(("vae-digits",), grid=grid))
    assert run.name == "vae-digits,latent=4,hidden=32-16,dataset=folder--a-b,seed=0"
    assert run.config.model.hidden == (32, 16) and run.config.data.dataset == "folder:/a/b"
    # Both end in the same word.
    grid = {"fit.batch_size": (8,), "sampling.batch_size": (9,)}
    (run,) = plan.runs(Study(("vae-digits",), grid=grid))
    assert run.name == "vae-digits,fit.batch_size=8,sampling.batch_size=9,seed=0"


@pytest.mark.parametrize(
    "preset, values",
    [
        ("vae-digits", {"steps": 7, "optimizer.warmup_steps": 0, "optimizer.clip_norm": None}),
        ("ddpm-digits", {"data.flip": True, "model.attention": (), "method.schedule": "cosine"}),
        ("ddpm-digits", {"data.flip": "False", "model.multipliers": "1 2 4", "data_dir": "my data"}),
        ("gan-digits", {"fit.batch_size": 8, "optimizer.learning_rate": 1e-05, "method.ema_decay": 0.0}),
    ],
)
def test_the_command_of_a_run_is_its_config(preset, values):
    """Typed by training's parser, and back: what stands in the plan can be copied."""
    (run,) = plan.runs(Study((preset,), values, seeds=(3,), grid={"log_every": (20,)}))
    described = run.described("folder of mine")
    words = shlex.split(described["command"])
    assert words[:4] == ["python", "-m", "experiments.train", preset]
    parsed = train_command.parse(words[3:])
    assert parsed.config == run.config and parsed.launch.workdir == "folder of mine"
    assert parsed.config.fit.seed == 3
    json.dumps(described)


def test_the_command_line_changes_a_study():
    found = asked(
        *("--set", "steps=30", "gan-digits:steps=50", "evaluation.num=20", "--seeds", "2"),
        *(
            "--grid",
            "optimizer.learning_rate=1e-3,1e-4",
            "--budget",
            "epochs=2",
            "--sweep",
            "2",
            "5",
            "--cost",
        ),
    )
    assert found == Study(
        presets=("vae-digits", "gan-digits"),
        base={"steps": "30", "evaluation.num": "20"},
        per_preset={"gan-digits": {"steps": "50"}},
        grid={"optimizer.learning_rate": ("1e-3", "1e-4")},
        seeds=(0, 1),
        budget=Budget("epochs", 2.0),
        sweep=(2, 5),
        cost=True,
    )
    # What a named study says of one preset gives way as well, by whichever of its names it is given.
    quick = STUDIES["quick"][1]
    assert "steps" in quick.per_preset["ddpm-digits"]
    changed = plan.runs(asked("--set", "fit.steps=210", "--seeds", "1", spec="quick"))
    assert [run.config.fit.steps for run in changed] == [210] * 3
    assert [run.sweep for run in changed] == [(), (), quick.sweep]
    # A sweep that has the run's own number of steps tells what its images cost.
    assert [run.cost for run in changed] == [True, True, False]
    (run,) = plan.runs(Study(("ddpm-digits",), {"sampling.num_steps": 4}, sweep=(2,), cost=True))
    assert run.cost
    # So do its steps to a budget, and what it sets to a grid.
    assert "optimizer.learning_rate" in quick.per_preset["dcgan-digits"]
    other = asked("--budget", "epochs=9", "--grid", "optimizer.learning_rate=1e-3,1e-4", spec="quick")
    found = plan.runs(other)
    assert len(found) == 3 * 2 * 3 and all("fit.steps" not in run.overrides for run in found)
    assert {run.overrides["optimizer.learning_rate"] for run in found} == {1e-3, 1e-4}
    assert {run.overrides["evaluation.num"] for run in found} == {500}


def test_runs_are_scored_as_the_study_says(tmp_path):
    """By one more evaluation, whose options its score has beside it; a sweep is measured alike."""
    options = ("--extractor", "efficientnet-lite0", "--metrics", "fd,kid", "--resamples", "200", "--cost")
    study = asked(*options, "--sweep", "2", spec="ddpm-digits")
    assert study.scoring == {"extractor": "efficientnet-lite0", "metrics": "fd,kid", "resamples": 200}
    (run,) = plan.runs(dataclasses.replace(study, base={"sampling.num_steps": 5}))
    score, cost, sweep = (evaluate.parse(words[3:]) for words in run.evaluations("w").values())
    assert (score.num, cost.num, cost.cost, sweep.sweep) == (1000, 0, True, (2,))
    assert evaluate.scored_with(score) == evaluate.scored_with(sweep) == run.scored_with == study.scoring
    folder = store.Folder(str(tmp_path))
    there = folder.workdir(run)
    there.mkdir(parents=True)
    trained = {"step": run.config.fit.steps}
    for found, missing in [
        (trained, ["score", "cost", "sweep"]),
        (trained | {"scored_with": study.scoring}, ["cost", "sweep"]),
        # Scored by hand in another way since: the score anew, and what was added to it.
        (trained | {"samples_per_second": 3.0, "scored_with": {"metrics": "fd"}}, ["score", "cost", "sweep"]),
        (trained | {"samples_per_second": 3.0, "scored_with": study.scoring}, ["sweep"]),
    ]:
        (there / "metrics.json").write_text(json.dumps(found))
        assert folder.missing(run) == [run.evaluations(str(there))[name] for name in missing]
    folder.write("s", study, [run], {})
    store.check_same(folder.read(), study, [run], tmp_path)
    (other,) = plan.runs(dataclasses.replace(study, base={"sampling.num_steps": 5}, scoring={}))
    assert not other.scored_with and list(other.evaluations("w")) == ["cost", "sweep"]
    assert "scoring: {" in refusal(lambda: store.check_same(folder.read(), study, [other], tmp_path))


def test_mistakes_in_how_runs_are_scored():
    for options, message in [
        (("--metrics", "fd,kidd"), "metrics has 'kidd'; valid are fd,"),
        (("--metrics", "kid"), "metrics='kid': fd must be among them"),
        (("--extractor", "inception"), "extractor='inception' needs weights=FILE"),
        (("--weights", "w.pt"), "weights is of an extractor, and none is named"),
        (("--resamples", "1"), "resamples=1: valid are 0, no intervals, and numbers from 2"),
        (
            ("--set", "dataset=cifar10", "--sweep", "2"),
            "classifier does not know dataset='cifar10'; give an ext",
        ),
    ]:
        assert message in refusal(lambda options=options: plan.runs(asked(*options, spec="ddpm-digits")))
    assert "scoring has 'extractr'; valid are metrics, " in refusal(
        lambda: plan.runs(Study(("vae-digits",), scoring={"extractr": "inception"}))
    )
    inception = ("--extractor", "inception", "--weights", "here/w.pt")
    sees = asked("--set", "dataset=cifar10", "--sweep", "2", *inception, spec="ddpm-digits")
    assert all(run.is_scored for run in plan.runs(sees))
    # Where the weights lie may change.
    elsewhere = dataclasses.replace(sees, scoring={"extractor": "inception", "weights": "there/w.pt"})
    assert plan.runs(elsewhere)[0].scored_with == plan.runs(sees)[0].scored_with == {"extractor": "inception"}


def test_what_was_scored_by_hand_in_another_way_is_scored_again(tmp_path):
    (run,) = plan.runs(Study(("ddpm-digits",), {"sampling.num_steps": 5}, cost=True))
    folder = store.Folder(str(tmp_path))
    there = folder.workdir(run)
    there.mkdir(parents=True)
    scored = {"step": run.config.fit.steps, "samples_per_second": 3.0}
    for steps, missing in [(5, []), (7, [run.score(str(there)), run.evaluations(str(there))["cost"]])]:
        used = {"num_steps": steps, "sampler": "ddpm", "seed": 3, "num": 20}
        (there / "metrics.json").write_text(json.dumps(scored | {"sampling": used}))
        assert folder.missing(run) == missing


def test_slow_presets_get_fewer_seeds():
    found = plan.runs(asked("--seeds", "3", "--seeds-of", "gan-digits=2"))
    assert [(run.preset, run.seed) for run in found] == [
        *(("vae-digits", 0), ("gan-digits", 0), ("vae-digits", 1), ("gan-digits", 1), ("vae-digits", 2))
    ]
    # Of what a study says, no more than there are.
    fewer = asked("--seeds", "1", spec="mnist-table")
    assert {run.seed for run in plan.runs(fewer)} == {0}


def test_a_study_in_python(tmp_path):
    (tmp_path / "rates.py").write_text("RATES = (0.1, 0.2)\n")
    (tmp_path / "my_study.py").write_text(
        "from rates import RATES\nfrom experiments.study.spec import Study\n"
        "MINE = Study(('vae-digits',), grid={'optimizer.learning_rate': RATES})\n"
    )
    found = asked(spec=f"{tmp_path}/my_study.py:MINE")
    assert found == Study(("vae-digits",), grid={"optimizer.learning_rate": (0.1, 0.2)})
    assert "'THEIRS' is no Study; those in" in refusal(lambda: asked(spec=f"{tmp_path}/my_study.py:THEIRS"))
    assert "No module named 'nowhere'" in refusal(lambda: asked(spec="nowhere:STUDY"))
    assert "no.py" in refusal(lambda: asked(spec=f"{tmp_path}/no.py:STUDY"))


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--set", "steps"], "set='steps': FIELD=VALUE is needed"),
        (
            ["--set", "dcgan-digits:steps=3"],
            "no preset 'dcgan-digits' in this study, valid are vae-digits, gan",
        ),
        (
            ["--grid", "method.schedule=linear,cosine"],
            "method.schedule: preset 'vae-digits' has no such field",
        ),
        (["--grid", "optimizer.learning_rat=1"], "perhaps you meant optimizer.learning_rate"),
        (["--grid", "optimizer.b1=0", "optimizer.b1=0.5"], "grid='optimizer.b1=0.5': optimizer.b1 is ('0',)"),
        (["--set", "steps=30", "steps=40"], "set='steps=40': steps is '30' before it, give it once"),
        (["--grid", "optimizer.b1="], "grid has no values of optimizer.b1"),
        (["--grid", "optimizer.b1=0.5,2"], "vae-digits,b1=2.0: optimizer.b1=2.0: valid are [0, 1)"),
        (["--grid", "optimizer.b1=0.5,0.50"], "vae-digits,b1=0.5,seed=0 occurs twice"),
        (
            ["--set", "optimizer.b1=0.5", "--grid", "optimizer.b1=0.1"],
            "is in the grid, and set to 0.5 beside it",
        ),
        (["--set", "seed=3"], "seed: seeds decides on it"),
        (["--set", "steps=30", "--budget", "epochs=1"], "steps: the budget decides on it"),
        (["--set", "evaluation.num=0"], "evaluation.num=0: a study compares scores"),
        (["--grid", "evaluation.num=20,30"], "evaluation.num is in the grid, and changes nothing of what"),
        (["--seeds", "0"], "seeds=0: valid are [1, inf)"),
        (["--seeds-of", "gan-digits"], "seeds_of='gan-digits': PRESET=NUMBER is needed"),
        (["--seeds-of", "gan-digits=2"], "seeds_of=gan-digits=2: valid are [1, 1]"),
        (["--seeds-of", "gan-digits=0"], "seeds_of=gan-digits=0: valid are [1, 1]"),
        (["--seeds-of", "ddpm-digits=1"], "'ddpm-digits' has fields or seeds of its own"),
        (["--sweep", "5"], "sweep=(5,): none of vae-digits, gan-digits has a sampler with steps"),
        (["--budget", "hours=1"], "budget='hours': valid are steps, epochs, seconds, evaluations, flops"),
        (["--budget", "epochs=many"], "budget='epochs=many': valid are"),
        (["--budget", "epochs=-1"], "budget=epochs=-1.0: valid are (0, inf)"),
    ],
)
def test_mistakes_are_found_before_anything_runs(arguments, message):
    assert message in refusal(lambda: plan.runs(asked(*arguments)))


def test_values_given_twice_are_refused_and_not_lost():
    once = ["quick", "--grid", "optimizer.b1=0.5,0.6", "optimizer.b2=0.9,0.99", "--set", "steps=30"]
    command.check_given_once(once)
    message = refusal(lambda: command.check_given_once([*once, "--grid", "steps=3,4"]))
    assert message == "--grid is given twice: give all of its values after one"
    for twice in (["--seeds-of", "a=1", "--seeds_of", "b=1"], ["--seeds-of=a=1", "--seeds-of=b=1"]):
        message = refusal(lambda twice=twice: command.check_given_once(twice))
        assert message.startswith("--seeds-of is given twice")


def test_a_wrong_value_is_refused_by_the_parser_of_training(capsys):
    with pytest.raises(SystemExit) as end:
        plan.runs(asked("--grid", "optimizer.decay=cosine,cubic"))
    said = capsys.readouterr().err
    assert end.value.code == 2 and "cubic" in said and "experiments.train vae-digits" in said


def test_no_such_study():
    message = refusal(lambda: asked(spec="vae-digit"))
    assert "perhaps you meant 'vae-digits'" in message and "Studies: quick, " in message


@pytest.mark.parametrize("name", STUDIES)
def test_named_studies_make_sense(name):
    about, study = STUDIES[name]
    if missing := set(study.presets) - set(PRESETS):
        pytest.skip(f"no preset {sorted(missing)}")
    assert plan.runs(study) and about.endswith(".")


def test_epochs_are_steps():
    """1,442 digits are trained on."""
    config = PRESETS["vae-digits"][1]
    assert budget.epoch(config) == {"epochs_per_step": 64 / 1442}
    assert budget.steps(Budget("epochs", 2), budget.epoch(config)) == round(2 * 1442 / 64) == 45
    nothing_is_run = budget.measurements("steps", lambda config, what: {})
    assert budget.steps(budget.parse("steps=300"), nothing_is_run(config)) == 300


@pytest.mark.parametrize("kind", ["seconds", "evaluations", "flops"])
def test_twice_the_budget_is_twice_the_steps(kind):
    measured = {"seconds_per_step": 0.25, "network_evaluations_per_step": 384, "flops_per_step": 1.5e9}
    each = measured[budget.UNITS[kind]]
    assert [budget.steps(Budget(kind, n * each), measured) for n in (0.1, 10, 20)] == [1, 10, 20]
    # Half of it for each step: twice the steps.
    cheaper = {name: value / 2 for name, value in measured.items()}
    assert budget.steps(Budget(kind, 10 * each), cheaper) == 20


def test_a_budget_in_what_is_not_known():
    unknown = {"flops_per_step": None, "network_evaluations_per_step": 3}
    assert "flops_per_step is not known here" in refusal(lambda: budget.steps(Budget("flops", 1.0), unknown))


def test_steps_of_a_budget_go_with_the_rest():
    (run,) = plan.runs(Study(("vae-digits",), budget=Budget("epochs", 1)))
    assert run.with_steps(500).config.fit.steps == 500
    assert "--steps 500" in run.with_steps(500).described("w")["command"]
    short = run.with_steps(22)
    assert short.config.optimizer.warmup_steps == 1  # 100 of 3,000
    assert train_command.parse(shlex.split(short.described("w")["command"])[3:]).config == short.config
    (asked,) = plan.runs(Study(("vae-digits",), {"optimizer.warmup_steps": 100}, budget=Budget("epochs", 1)))
    assert "vae-digits: optimizer.warmup_steps=100 must be less than steps=22" in refusal(
        lambda: asked.with_steps(22)
    )


def test_the_plan_in_the_folder(tmp_path):
    folder, runs = store.Folder(str(tmp_path / "w")), plan.runs(TWO)
    folder.write("two", TWO, runs, {})
    found = folder.read()
    assert {name: found[name] for name in ("name", "presets", "grid", "seeds", "budget", "sweep")} == {
        "name": "two",
        "presets": ["vae-digits", "gan-digits"],
        "grid": {"optimizer.learning_rate": [0.001, 0.0001]},
        "seeds": [0, 7],
        "budget": None,
        "sweep": [],
    }
    first = found["runs"][0]
    assert {name: first[name] for name in ("name", "preset", "overrides", "seed", "steps", "sweep")} == {
        "name": "vae-digits,learning_rate=0.001,seed=0",
        "preset": "vae-digits",
        "overrides": {"fit.steps": 40, "optimizer.warmup_steps": 5, "optimizer.learning_rate": 0.001},
        "seed": 0,
        "steps": 40,
        "sweep": False,
    }
    assert first["command"].endswith(f"--workdir {tmp_path}/w/runs/vae-digits,learning_rate=0.001,seed=0")


@pytest.mark.parametrize(
    "change, message",
    [
        ({"seeds": (0, 7, 1)}, None),
        ({"grid": {"optimizer.learning_rate": (1.0, 1e-4, 1e-3)}}, None),
        ({"seeds": (0,)}, "seeds: [0, 7] before, [0] now"),
        ({"grid": {"optimizer.learning_rate": (1e-4,)}}, "grid: "),
        ({"grid": {**TWO.grid, "optimizer.b1": (0.5,)}}, "grid: "),
        ({"presets": ("gan-digits",)}, "presets: ['vae-digits', 'gan-digits'] before, ['gan-digits'] now"),
        ({"sweep": (5,), "presets": (*TWO.presets, "ddpm-digits")}, "sweep: [] before, [5] now"),
        (
            {"base": {"steps": 50, "optimizer.warmup_steps": 5}},
            "fit.steps of vae-digits,learning_rate=0.001,seed=0: 40 before, 50 now",
        ),
        (
            {"per_preset": {}},
            "model.hidden of gan-digits,learning_rate=0.001,seed=0: [16, 16] before, None now",
        ),
    ],
)
def test_a_study_grows_by_seeds_and_values_only(tmp_path, change, message):
    folder = store.Folder(str(tmp_path))
    before = plan.runs(TWO)
    folder.write("two", TWO, before, {})
    changed = dataclasses.replace(TWO, **change)
    after = plan.runs(changed)

    def check():
        store.check_same(folder.read(), changed, after, tmp_path)

    if message is None:
        check()
        assert {run.name for run in before} < {run.name for run in after}
    else:
        said = refusal(check)
        assert message in said and "holds another study" in said


def test_exported_commands_are_those_of_the_plan(tmp_path):
    study = Study(("vae-digits", "ddpm-digits"), {"steps": 200}, seeds=(0, 1), sweep=(2, 5))
    folder, runs = store.Folder(str(tmp_path / "my studies")), plan.runs(study)
    folder.write("s", study, runs, {})
    trainings = [run["command"] for run in folder.read()["runs"]]
    sweeps = [
        shlex.join(["python", "-m", "experiments.evaluate", "--workdir", str(folder.workdir(run))])
        + " --num 1000 --sweep 2 5"
        for run in runs
        if run.preset == "ddpm-digits"
    ]
    lines = exports.commands(folder, runs).read_text().splitlines()
    # A line a run: whatever runs the lines, in whatever order, nothing is scored before it is trained.
    vae, diffusion = trainings[::2], trainings[1::2]
    known = [f"[ -e '{folder.workdir(run)}/metrics.json' ]" for run in runs if run.preset == "ddpm-digits"]
    both = [" && ".join(parts) for parts in zip(diffusion, known, sweeps, strict=True)]
    assert lines == [vae[0], both[0], vae[1], both[1]]
    for line, run in zip(lines, runs, strict=True):
        assert train_command.parse(shlex.split(line.partition(" && ")[0])[3:]).config == run.config


def test_each_task_of_the_job_array_is_a_run(tmp_path):
    """The script runs as it is, with srun and python replaced by something that prints its arguments."""
    study = Study(("vae-digits", "ddpm-digits"), {"steps": 200}, sweep=(2,))
    folder, runs = store.Folder(str(tmp_path / "my studies")), plan.runs(study)
    folder.write("s", study, runs, {})
    script, tools = exports.slurm(folder, runs), tmp_path / ".venv" / "bin"
    tools.mkdir(parents=True)
    (tools / "srun").write_text('#!/bin/bash\nprintf "%q " "$@"\necho\n')
    (tools / "srun").chmod(0o755)
    directives = [
        shlex.split(line[8:]) for line in script.read_text().splitlines() if line.startswith("#SBATCH ")
    ]
    assert ["--array=0-1"] in directives and ["--ntasks=1"] in directives
    assert [f"--output={folder.path}/runs/%a.log"] in directives  # one word, for all its space
    for i, run in enumerate(folder.read()["runs"]):
        env = {**os.environ, "SLURM_SUBMIT_DIR": str(tmp_path), "SLURM_ARRAY_TASK_ID": str(i)}
        for scored in (False, True):  # training that was asked to leave has no score
            if scored:
                folder.workdir(runs[i]).mkdir(parents=True)
                (folder.workdir(runs[i]) / "metrics.json").touch()
            done = subprocess.run(["bash", str(script)], env=env, capture_output=True, text=True, check=True)
            lines = [shlex.split(line) for line in done.stdout.splitlines()]
            assert lines[0] == shlex.split(run["command"]) and len(lines) == 1 + (i and scored)


def test_a_job_array_needs_a_shared_folder():
    (run,) = plan.runs(Study(("vae-digits",)))
    assert "SLURM needs a folder that all hosts share" in refusal(
        lambda: exports.slurm(store.Folder("gs://bucket/study"), [run])
    )
