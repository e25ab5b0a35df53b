"""The report of a study: what stands in its tables, what is drawn, that names and logs stay text, equal bytes."""

import csv
import io
import json
import re
import sys
import xml.etree.ElementTree

import numpy as np
import pytest
import scipy.stats
from PIL import Image

from experiments import run_groups
from experiments.report import (
    boards,
    collect,
    curves,
    effects,
    figures,
    frames,
    page,
    plain_text,
    sampler_steps,
    statistics,
    svg,
    table,
)
from genjax.typing import UserError
from tests.experiments.fake_study import EVIL, PROTOCOL, write_json, write_run, write_study


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_study(tmp_path_factory.mktemp("report") / "study")


@pytest.fixture(scope="module")
def study(folder):
    return collect.read(str(folder))


@pytest.fixture(scope="module")
def html(study):
    return page.html(study)


def board_of(*values):
    """The board of groups whose runs have these values of rho."""
    runs = [
        [collect.Run(None, f"{i}", "", "", {}, {}, {}, [], {"rho": x}, {}, [], []) for x in group]
        for i, group in enumerate(values)
    ]
    return boards.boards([collect.Group(f"group {i}", PROTOCOL, members) for i, members in enumerate(runs)])[
        0
    ]


def test_groups_and_their_names(study):
    assert {group.name: [run.seed for run in group.runs] for group in study.groups} == {
        "seed-diffusion": [0, 1, 2],
        "seed-gan": [0, 1, 2],
        "seed-vae, name=adam": [0, 1, 2],
        "seed-vae, name=sgd": [0, 1, 2],
    }
    assert study.name == "Three families on digits"
    assert [failure.name for failure in study.failures] == ["seed-gan,seed=9"]
    assert study.missing == ["seed-gan,seed=10"]


def test_names_of_groups():
    some = {"fit.steps": 5, "step": 5, "a.name": "x", "b.name": 1, "c.rate": 2}
    other = {"fit.steps": 6, "step": 6, "a.name": "y", "b.name": 3, "c.rate": 4}
    assert run_groups.names([some, other], short=True)[1] == "a.name=y, b.name=3, rate=4, steps=6"
    assert run_groups.names([some, other])[0] == "a.name=x, b.name=1, c.rate=2, fit.steps=5"
    assert run_groups.names([some, some | {"step": 3}], short=True) == ["step=5", "step=3"]  # was stopped
    assert run_groups.names([some]) == ["all"]


def test_what_was_scored_with_another_sampler_is_another_group(tmp_path):
    for seed, steps in ((0, 50), (1, 10)):
        used = {"num_steps": steps, "seed": 7, "num": 355}
        write_run(tmp_path / str(seed), seed=seed, metrics={"sampling": used})
    names = [group.name for group in collect.read(str(tmp_path)).groups]
    assert names == ["seed-vae", "seed-vae, scored with num_steps=10"]
    write_run(tmp_path / "1", seed=1, rho=2.0, metrics={"sampling": used})
    read = collect.read(str(tmp_path))
    assert page.summary(read, boards.boards(read.groups)) == (
        "2 runs in 2 groups: seed-vae, scored with num_steps=10 has the lowest rho, 2.00, before seed-vae with 10.00."
    )


def test_ranked_by_rho_with_intervals_over_seeds(study):
    (board,) = boards.boards(study.groups)
    assert [group.name for group in board.groups] == [
        "seed-diffusion",
        "seed-gan",
        "seed-vae, name=adam",
        "seed-vae, name=sgd",
    ]
    rho = table.score_columns(board.groups)[0][0]
    values = board.groups[0].values("rho")
    assert values == pytest.approx([1.8, 2.0, 2.2])
    low, high = scipy.stats.t.interval(0.95, 2, 2.0, scipy.stats.sem(values))
    assert table.cell(rho, board.groups[0]) == (
        "2.00",
        f"[{low:.2f}, {high:.2f}]",
        repr(float(np.mean(values))),
    )


def test_verdicts_are_welch_tests_corrected_by_holm():
    values = [1.0, 1.1, 0.9], [1.05, 1.2, 1.15], [3.0, 3.3, 2.9], [1.4, 1.5, 1.6], [9.0]
    board = board_of(*values)
    order = [group.name for group in board.groups]
    assert order == ["group 0", "group 1", "group 3", "group 2", "group 4"]
    raw = [scipy.stats.ttest_ind(values[0], values[i], equal_var=False).pvalue for i in (1, 3, 2)]
    corrected = scipy.stats.false_discovery_control  # another correction: not the one that is wanted
    assert corrected(raw) != pytest.approx(board.p_values[1:4])
    # By hand: times 3, 2, 1 from the smallest, and never falling.
    small, middle, large = sorted(raw)
    expected = {small: 3 * small, middle: max(3 * small, 2 * middle)}
    expected[large] = max(expected[middle], large)
    assert board.p_values == [None, *(pytest.approx(expected[p]) for p in raw), None]
    assert [board.verdict(i).split(",")[0] for i in range(5)] == [
        "best",
        "not told apart",
        "worse",
        "worse",
        "not tested",
    ]


def test_holm_against_an_example():
    # Holm (1979), as worked through in many places: 0.01, 0.04, 0.03, 0.005.
    assert statistics.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert statistics.holm([0.9, 0.8]) == [1, 1]


def test_nothing_is_said_of_one_seed_or_of_nan():
    board = board_of([1.0], [2.0, 2.1])
    assert board.p_values == [None, None] and board.verdict(1) == ""
    board = board_of([float("nan"), 1.0], [2.0, 2.1])
    assert [group.name for group in board.groups] == ["group 1", "group 0"]
    assert table.cell(table.score_column("rho"), board.groups[1]) == ("NaN", "", "")
    assert statistics.welch([2.0, 2.0], [3.0, 3.0]) == 0 and statistics.welch([2.0, 2.0], [2.0, 2.0]) == 1


def test_protocols_are_kept_apart(tmp_path):
    write_run(tmp_path / "a", rho=3.0)
    write_run(tmp_path / "b", rho=1.0, seed=1, num=100)
    write_run(tmp_path / "c", "seed-gan", rho=None)
    read = collect.read(str(tmp_path))
    first, second, last = boards.boards(read.groups)
    assert [first.measured[:3], second.measured[:3], last.score] == ["100", "355", None]
    assert {group.name for group in read.groups} == {"seed-vae", "seed-vae (2)", "seed-gan"}
    text = page.html(read)
    assert "measured in 2 ways" in text and "in no order" in text and 'class="verdict' not in text


def test_markdown(study):
    lines = plain_text.markdown(study, boards.boards(study.groups)).splitlines()
    assert lines[0] == "# Three families on digits"
    assert lines[2] == "`python -m experiments.study three --seeds 3`"
    assert lines[4] == "Budget of every run: 3 epochs."
    assert lines[8].startswith("| runs | seeds | rho | Fréchet distance | precision | label agreement, % |")
    assert lines[10] == (
        "| seed-diffusion | 3 | 2.00 [1.50, 2.50] | 70.00 [52.61, 87.39] | 0.750 | 90.0 | 1.5 | best |"
    )
    swept = next(
        i for i, line in enumerate(lines) if line.startswith("rho by sampler steps: 355 images against")
    )
    assert (
        lines[swept + 2] == "| runs | seeds | 1 step | 2 steps | 5 steps | 10 steps | 20 steps | 50 steps |"
    )
    # Twice as good with infinitely many steps as with 5, from seeds at 1.8, 2.0 and 2.2.
    assert lines[swept + 4].startswith(
        "| seed-diffusion | 3 | 12.00 [9.02, 14.98] | 7.00 [5.26, 8.74] | 4.00 "
    )
    assert lines[swept + 5] == ""  # the others have no sampler with steps
    cost = lines[lines.index("Cost:") + 2 :]
    assert cost[0] == (
        "| runs | seeds | steps | training, s | compilation, s | first epoch, s | last epoch, s | training, FLOPs "
        "| samples/s | network evaluations an image |"
    )
    assert (
        cost[2] == "| seed-diffusion | 3 | 400 | 4.2 (4 to 4.4) | 3.5 | 0.5 | 0.25 | 1 T | 20 | 100 |"
    )  # of the sweep's 50
    assert cost[3].endswith("| 1 T |  |  |")
    assert lines[-3::2] == ["Failed: seed-gan,seed=9.", "Not finished: seed-gan,seed=10."]
    assert lines[-5].endswith("below 0.05.")


def test_csv_has_a_row_for_every_run(study):
    rows = list(csv.DictReader(io.StringIO(plain_text.spreadsheet(study))))
    assert len(rows) == 13 and rows[-1]["run"] == "seed-gan,seed=9" and rows[-1]["exit_code"] == "1"
    by_name = {row["run"]: row for row in rows}
    row = by_name["runs/seed-diffusion,seed=2"]
    assert (row["seed"], row["step"], row["group"], row["preset"]) == (
        "2",
        "400",
        "seed-diffusion",
        "seed-diffusion",
    )
    assert float(row["rho"]) == pytest.approx(2.2) and float(row["timing.train_seconds"]) == pytest.approx(
        4.4
    )
    assert float(row["training_flops"]) == 400 * 2.5e9 and row["protocol"] == PROTOCOL
    assert float(row["sweep.5.rho"]) == pytest.approx(4.4) and row["sweep.5.network_evaluations"] == "10"
    assert by_name["runs/seed-gan,seed=2"]["sweep.5.rho"] == ""


def test_seconds_of_a_part_of_the_training_are_not_shown(tmp_path):
    write_run(tmp_path / "a", timing={"steps": 100})
    (group,) = collect.read(str(tmp_path)).groups
    assert table.train_seconds(group.runs[0]) is None
    assert "training, s" not in [column.heading for column in table.cost_columns([group])]


@pytest.mark.parametrize(
    ("x", "written"), [(0.0, "0"), (999.0, "999"), (2.5e12, "2.5 T"), (1e30, "1,000,000,000,000 E")]
)
def test_large_numbers(x, written):
    assert table.magnitude(x) == written


def test_curves_join_scores_and_seconds(study):
    (panel,) = (found := curves.by_seconds(study.groups, "rho"))
    assert panel == "digits, 355 images" and len(found[panel]) == 12
    # Seed 1 takes 5 % longer: step 100 is reached after 1.05 s.
    curve = found[panel][1]
    assert curve.x == pytest.approx([1.05, 2.1, 3.15, 4.2])
    assert curve.y == pytest.approx([2.0 * 400 / step for step in (100, 200, 300, 400)])


def test_without_a_curve_the_final_score_is_a_point(tmp_path):
    write_run(tmp_path / "a", timing={"curve": []}, rho=7.0)
    (panel,) = curves.by_seconds(collect.read(str(tmp_path)).groups, "rho").values()
    assert panel[0].x == [4.0] and panel[0].y == [7.0]


def test_curves_over_seeds(study):
    groups = study.groups
    (diffusion, *_) = curves.logged(groups, "test/rho")
    assert diffusion.x == pytest.approx([100, 200, 300, 400])
    assert (diffusion.low[-1], diffusion.y[-1], diffusion.high[-1]) == pytest.approx((1.8, 2.0, 2.2))
    ((sweep,),) = curves.by_evaluations(groups, "rho").values()
    assert sweep.x == pytest.approx([2, 4, 10, 20, 40, 100]) and sweep.y[0] == pytest.approx(12)
    # A GAN makes an image in one.
    gan = groups[1]
    once = [run._replace(metrics=run.metrics | {"network_evaluations": 1}) for run in gan.runs]
    ((sweep, point),) = curves.by_evaluations([groups[0], gan._replace(runs=once)], "rho").values()
    assert len(sweep.x) == 6 and (point.group, point.x, point.y) == (1, [1], [pytest.approx(9)])
    assert (point.low[0], point.high[0]) == pytest.approx((8.1, 9.9))
    assert curves.by_evaluations([gan._replace(runs=once)], "rho") == {}
    assert curves.scalars(groups) == ["test/loss", "test/rho", "train/loss", "train/grad_norm"]


def test_long_curves_are_thinned(tmp_path):
    folder = write_run(tmp_path / "a")
    lines = [json.dumps({"step": i, "train/loss": float(i)}) for i in range(1, 5001)]
    (folder / "metrics.jsonl").write_text("\n".join(lines) + '\n{"step": 5001, "tr')  # killed while writing
    (curve,) = curves.logged(collect.read(str(tmp_path)).groups, "train/loss")
    assert len(curve.x) == curves.POINTS and (curve.x[0], curve.x[-1]) == (1, 5000)
    np.testing.assert_array_equal(curve.x, curve.y)


def test_figures_take_the_colours_of_the_page(study):
    found = figures.learning_curves(study.groups)
    ids = re.findall(r'\bid="([^"]+)"', "".join(figure.svg for figure in found))
    assert len(ids) == len(set(ids)) > 20
    for figure in found:
        root = xml.etree.ElementTree.fromstring(figure.svg.replace("xlink:", ""))
        assert root.get("role") == "img" and root.find("title").text == f"{figure.title} against steps"
        assert not re.search(r"#[0-9a-f]{6}\b|<style|<metadata|DejaVu", figure.svg)
        local = set(re.findall(r'(?:href="#|url\(#)([^")]+)', figure.svg))
        assert local <= set(ids)
        assert all(f'class="series series{i}"' in figure.svg for i in range(4))
        assert "var(--series-0)" in figure.svg and "var(--muted)" in figure.svg
    assert "<b>" not in svg.render(_figure(), "x", "a <b>")


def _figure():
    from matplotlib.figure import Figure

    return Figure()


def test_nothing_that_can_be_run_comes_from_names_and_logs(tmp_path):
    write_run(tmp_path / "runs" / EVIL.replace("/", "_"), fields={"data.dataset": EVIL})
    write_run(tmp_path / "runs" / "b", fields={"data.dataset": '"><img onerror=alert(1)>'})
    lines = tmp_path / "runs" / "b" / "metrics.jsonl"
    lines.write_text(lines.read_text().replace("train/grad_norm", EVIL.replace("'", "")))
    write_json(tmp_path / "failed" / "c.json", {"exit_code": 1, "tail": f"</pre>{EVIL}"})
    write_json(tmp_path / "study.json", {"name": f"</title>{EVIL}", "runs": []})
    write_json(tmp_path / "claims.json", [{"claim": EVIL, "status": EVIL, "measured": EVIL, "why": EVIL}])
    text = page.html(collect.read(str(tmp_path)))
    assert text.count("<script") == 1 and "<img onerror" not in text
    assert text.count("&lt;script&gt;") > 10
    assert "&lt;script>" in plain_text.markdown(collect.read(str(tmp_path)), [])


def test_page_is_whole(html):
    assert not re.search(r'(?:src|href)="(?!data:|#)', html) and "@import" not in html
    ids = re.findall(r'\sid="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"', html)) <= set(ids)
    assert (
        "12 runs in 4 groups, 1 failed: seed-diffusion has the lowest rho, 2.00 [1.50, 2.50], before seed-gan"
        in html
    )
    assert "error: NaN in step 3" in html and "<code>seed-gan,seed=10</code>" in html
    assert html.count("python -m experiments.train seed-vae --optimizer.name adam --seed 1 ") == 1
    assert html.count("<code>python -m experiments.study three --seeds 3</code>") == 1
    assert "rho by sampler steps: 355 images" in html and "7.00" in html
    assert '<th scope="row" data-value="optimizer.name">optimizer.name</th>' in html
    for claim in ("✗</span> does not hold", "✓</span> holds", "–</span> not tested", "[190, 240]"):
        assert claim in html


def test_where_runs_come_from(study):
    assert page.provenance(study) == [
        ("commit", "0123456789ab"),
        ("jax", "0.12.0"),
        ("devices", "cpu:cpu"),
        ("budget of a run", "3 epochs"),
    ]


def test_ensembles_stand_beside_runs(tmp_path):
    for preset in ("seed-vae", "seed-gan"):
        write_run(tmp_path / preset, preset, rho=5.0)
    metrics = {"step": 800, "rho": 4.0, "protocol": PROTOCOL, "weights": {"seed-vae": 0.25, "seed-gan": 0.75}}
    write_json(tmp_path / "both" / "metrics.json", metrics | {"members": [], "sampling": {"seed": 3}})
    write_json(tmp_path / "both" / "manifest.json", [{"command": "python -m experiments.ensemble a b"}])
    write_json(tmp_path / "other" / "metrics.json", {"step": 1})  # no run, and no ensemble
    study = collect.read(str(tmp_path))
    assert {group.name for group in study.groups} == {"ensemble both", "seed-gan", "seed-vae"}
    lines = plain_text.markdown(study, boards.boards(study.groups)).splitlines()
    assert any(line.startswith("| ensemble both | 1 | 4.00 |") for line in lines)
    content = page.html(study)
    assert "python -m experiments.ensemble a b" in content and "0.75" in content


def test_a_run_that_goes_on_is_said_to_be_unfinished(tmp_path):
    write_run(tmp_path / "runs" / "a", rho=None)
    write_json(tmp_path / "study.json", {"name": "s", "runs": [{"name": name} for name in ("a", "b")]})
    assert collect.read(str(tmp_path)).missing == ["a", "b"]


def test_pictures_lose_their_magnification(tmp_path):
    once = np.random.default_rng(0).integers(0, 256, (13, 7), np.uint8)
    Image.fromarray(once.repeat(6, 0).repeat(6, 1)).save(tmp_path / "a.png")
    with Image.open(io.BytesIO(frames.small(tmp_path / "a.png"))) as image:
        np.testing.assert_array_equal(np.asarray(image), once)
    colours = once[..., None] // 32 * np.array([1, 2, 3], np.uint8)  # 8 colours
    Image.fromarray(colours).save(tmp_path / "b.png")
    with Image.open(io.BytesIO(frames.small(tmp_path / "b.png"))) as image:
        np.testing.assert_array_equal(np.asarray(image.convert("RGB")), colours)


def test_pictures_are_thinned_to_a_limit(study):
    (whole, *_) = frames.training(study.groups)
    assert [frame.at for frame in whole.frames] == [100, 200, 300, 400] and whole.seed == 0
    assert (whole.frames[0].width, whole.frames[0].height) == (91, 55)
    strips = frames.training(study.groups, limit=1)
    assert [[frame.at for frame in strip.frames] for strip in strips] == [[400]] * 4
    assert strips[0].available == 4
    (sweep,) = frames.sweeps(study.groups)
    assert [frame.at for frame in sweep.frames] == [1, 2, 5, 10, 20, 50]


def test_pictures_side_by_side_are_of_one_seed(tmp_path):
    for preset, seeds in {"seed-vae": (0, 1), "seed-gan": (1,), "seed-diffusion": (1, 2)}.items():
        for seed in seeds:
            write_run(tmp_path / f"{preset}-{seed}", preset, seed, pictures=(100, 200))
    groups = collect.read(str(tmp_path)).groups
    assert [strip.seed for strip in frames.training(groups)] == [1, 1, 1]
    # More pictures of a group weigh more.
    write_run(tmp_path / "seed-vae-0", "seed-vae", 0, pictures=(100, 200, 300))
    found = frames.training(collect.read(str(tmp_path)).groups)
    assert {groups[strip.group].name: strip.seed for strip in found}["seed-vae"] == 0


def test_twelve_runs_in_colour_are_below_5_mb(tmp_path):
    write_study(tmp_path, images=(32, 32, 3))
    assert len(page.html(collect.read(str(tmp_path))).encode()) < 5e6


def test_only_what_can_be_tested_against_is_a_baseline(folder, verb, tmp_path):
    for name in ("seed-gan", "seed-gab"):
        ended = verb("report.__main__", folder, "--out", tmp_path / "page.html", "--against", name)
        assert ended.code == 2 and "here seed-diffusion; seed-vae, name=adam; seed-vae, name=sgd" in ended.err
    assert not (tmp_path / "page.html").exists()


def test_verb_writes_equal_bytes(folder, verb, tmp_path):
    for name in ("a", "b"):
        ended = verb("report.__main__", folder, "--out", tmp_path / name / "page.html")
        assert ended.code == 0, ended.err
    for suffix in ("html", "csv", "md"):
        first, second = ((tmp_path / name / f"page.{suffix}").read_bytes() for name in ("a", "b"))
        assert first == second


def test_a_single_workdir_is_a_report_too(tmp_path):
    write_run(tmp_path / "run")
    text = page.html(collect.read(str(tmp_path / "run")))
    assert "1 run in 1 group: seed-vae has rho, 10.00." in text


def test_bad_input(tmp_path, verb):
    (tmp_path / "empty").mkdir()
    write_run(tmp_path / "twice" / "a")
    write_run(tmp_path / "twice" / "b")
    (write_run(tmp_path / "broken" / "a") / "timing.json").write_text("{")
    write_json(tmp_path / "seedless" / "config.json", {"fit": {}})
    write_run(tmp_path / "fine" / "a")
    write_json(tmp_path / "fine" / "a" / "sweep.json", {})
    for arguments, message in [
        (["nowhere"], "folder='nowhere': there is no such folder"),
        ([tmp_path / "empty"], "holds no run: config.json is missing"),
        ([tmp_path / "twice"], "same seed=0"),
        ([tmp_path / "broken"], "timing.json cannot be read"),
        ([tmp_path / "seedless"], "seed is missing"),
        ([tmp_path / "fine"], "sweep.json cannot be read: it holds no JSON list"),
        ([tmp_path / "fine", "--out", "page.pdf"], "out='page.pdf': the name of the page must end in .html"),
        ([], ""),
    ]:
        ended = verb("report.__main__", *arguments)
        assert ended.code == 2 and message in ended.err, (arguments, ended)


def test_what_cannot_be_read_is_listed_and_the_rest_is_reported(tmp_path, verb):
    """One damaged file of each kind, each in a run of its own, beside a run that is fine."""
    damaged = {
        "timing.json": "[]",
        "manifest.json": "[1, 2]",
        "metrics.json": '{"step":',
        "sweep.json": '[{"rho": 1.0}]',
        "config.json": "\x00\x01",
        "metrics.jsonl": "no JSON\n",
        "samples.png": "no picture",
    }
    write_run(tmp_path / "runs" / "fine")
    for seed, (name, content) in enumerate(damaged.items(), 1):
        folder = write_run(tmp_path / "runs" / name.replace(".", "-"), seed=seed)
        (folder / name).write_text(content)
    ended = verb("report.__main__", tmp_path / "runs", "--out", tmp_path / "page.html")
    assert ended.code == 0, ended.err
    study = collect.read(str(tmp_path / "runs"))
    assert len(study.unreadable) == len(damaged)
    for name in damaged:
        assert any(name.replace(".", "-") in path for path in study.unreadable), name
    runs = [run.path.name for group in study.groups for run in group.runs]
    assert sorted(runs) == ["fine", "samples-png"]
    for suffix in ("html", "md"):
        text = (tmp_path / f"page.{suffix}").read_text()
        assert all(name.replace(".", "-") in text for name in damaged), suffix


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("metrics.json", '{"step": 4, "sampling": 3}', "sampling is '3', and an object is expected"),
        ("metrics.json", '{"step": 4, "rho": "x"}', "rho is 'x', and a number is expected"),
        ("metrics.json", '{"step": 4, "protocol": "fd"}', "and the text of a protocol is expected"),
        ("metrics.json", '{"step": 4, "intervals": {"rho": [1]}}', "and pairs of numbers is expected"),
        ("timing.json", '{"curve": [1, 2]}', "and a list of pairs is expected"),
        ("manifest.json", '[{"packages": []}]', "packages is '[]', and an object is expected"),
        ("metrics.jsonl", '{"step": 1, "train/loss": []}\n', "train/loss is '[]', and a number is expected"),
        ("data.json", '{"test_records": "many"}', "test_records is 'many', and a whole number is expected"),
    ],
)
def test_values_of_another_type_are_named(tmp_path, name, content, message):
    write_run(tmp_path / "fine")
    (write_run(tmp_path / "damaged", seed=1) / name).write_text(content)
    study = collect.read(str(tmp_path))
    assert [run.path.name for group in study.groups for run in group.runs] == ["fine"]
    assert f"{name} cannot be read: " in study.unreadable[str(tmp_path / "damaged")]
    assert message in study.unreadable[str(tmp_path / "damaged")]


def test_texts_are_no_formulas_and_no_markdown():
    assert plain_text._cell_of_text("=1+1") == "'=1+1" and plain_text._cell_of_text(" @x") == "' @x"
    assert plain_text._cell_of_text(-1.5) == -1.5 and plain_text._cell_of_text("a-b") == "a-b"
    assert plain_text._escaped("[a](http://b) *c* `d` <e> |") == r"\[a\](http://b) \*c\* \`d\` &lt;e> \|"
    assert plain_text._code("a `b`") == "`` a `b` ``"


@pytest.mark.parametrize("package", ["matplotlib", "jinja2"])
def test_missing_package_names_the_extra(package, study, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=r"pip install -e '\.\[report\]'"):
        page.html(study)


def test_sweeps_that_were_measured_in_several_ways_are_several_tables(tmp_path):
    write_run(tmp_path / "a", "seed-diffusion", rho=2.0, sweep=(5, 10))
    other = write_run(tmp_path / "b", "ddpm-digits", rho=2.0, sweep=(10, 20)) / "sweep.json"
    other.write_text(other.read_text().replace("355", "100"))
    write_run(tmp_path / "c", "seed-gan")
    first, second = sampler_steps.sweeps(collect.read(str(tmp_path)).groups)
    found = [
        (
            [group.name for group in sweep.groups],
            {column.heading: column.values(sweep.groups[0]) for column in sweep.columns},
        )
        for sweep in (first, second)
    ]
    assert found == [
        (["seed-diffusion"], {"5 steps": [4.0], "10 steps": [3.0]}),
        (["ddpm-digits"], {"10 steps": [3.0], "20 steps": [2.5]}),
    ]
    assert second.title.startswith("rho by sampler steps: 100 images")


def test_effects_of_fields_are_ratios_within_the_seed(tmp_path):
    """Scores are products of what each value does, and of noise of the seed, of which one factor is the value's own."""
    of_schedule, of_seed = {"linear": 1.0, "cosine": 0.5}, {0: 7.0, 1: 1.0, 2: 30.0}
    of_prediction, own = {"eps": 2.0, "v": 3.0}, {0: 0.9, 1: 1.0, 2: 1.2}
    for schedule, a in of_schedule.items():
        for prediction, b in of_prediction.items():
            for seed, c in of_seed.items():
                fields = {"method.schedule": schedule, "method.prediction": prediction}
                rho = a * b * c * (own[seed] if schedule == "cosine" else 1.0)
                write_run(tmp_path / f"{schedule},{prediction},{seed}", "ddpm", seed, rho, fields=fields)
    grid = {"method.schedule": ["linear", "cosine"], "method.prediction": ["eps", "v"]}
    write_json(tmp_path / "study.json", {"name": "s", "grid": grid | {"method.kind": ["ddpm", "other"]}})
    study = collect.read(str(tmp_path))
    (board,) = boards.boards(study.groups)
    schedule, prediction = effects.effects(study, board)
    logs = np.log([0.5 * x for x in own.values()])
    low, high = scipy.stats.t.interval(0.95, 2, logs.mean(), scipy.stats.sem(logs))
    assert schedule[:3] == ("method.schedule", "cosine", "linear") and schedule[4:] == (3, 2)
    assert schedule.ratio == pytest.approx(np.exp([logs.mean(), low, high]))
    assert prediction[:3] == ("method.prediction", "v", "eps") and prediction.ratio == pytest.approx(
        [1.5] * 3
    )
    # A setting that is not there from every seed would weigh the seeds differently.
    (tmp_path / "cosine,v,1" / "metrics.json").unlink()
    study = collect.read(str(tmp_path))
    schedule, _ = effects.effects(study, boards.boards(study.groups)[0])
    assert schedule.ratio.estimate == pytest.approx(np.exp(logs.mean())) and schedule[4:] == (3, 1)
    lines = plain_text.markdown(study, boards.boards(study.groups)).splitlines()
    assert "| method.schedule | cosine | linear | 0.513 [0.357, 0.736] | 3 | 1 |" in lines
    assert "What a value of a field does to rho" in page.html(study)


def test_a_figure_holds_only_what_was_measured_alike(study):
    gan = study.groups[1]
    plain, binary, other = (run._replace(timing=run.timing | {"curve": []}) for run in gan.runs)
    binary = binary._replace(config=binary.config | {"data.binarize": "static"})
    other = other._replace(metrics=other.metrics | {"protocol": PROTOCOL.replace("digits_cl", "another_cl")})
    found = curves.by_seconds([gan._replace(runs=[plain, binary, other])], "rho")
    assert {name: [curve.y[0] for curve in curves] for name, curves in found.items()} == {
        "digits, 355 images": [pytest.approx(8.1)],
        "digits, binarised, 355 images": [pytest.approx(9.0)],
        "digits, 355 images, another_classifier@00, not resized": [pytest.approx(9.9)],
    }


def test_the_best_that_can_be_tested_is_the_reference():
    """One seed cannot be told apart from anything; that must not silence what the others say of each other."""
    board = board_of([1.0], [5.0, 5.1, 5.2], [50.0, 51.0, 52.0], [60.0])
    assert board.reference == 1
    assert [board.verdict(i).partition(", p")[0] for i in range(4)] == [
        "not tested, one seed",
        "best of those tested",
        "worse",
        "not tested, one seed",
    ]
    assert board_of([1.0], [2.0]).verdict(0) == ""


def test_seeds_that_failed_are_told_of_and_keep_their_group_from_being_best(tmp_path):
    """Those that did not diverge are a selection."""
    for rate, rho in (("0.1", 2.0), ("0.01", 5.0), ("0.001", 9.0)):
        for seed in range(3):
            name = f"gan-digits,rate={rate},seed={seed}"
            run = write_run(
                tmp_path / "runs" / name, "gan-digits", seed, rho + 0.1 * seed, fields={"a.rate": rate}
            )
            if rate == "0.1" and seed == 2:
                (run / "metrics.json").unlink()
                write_json(tmp_path / "failed" / f"{name}.json", {"exit_code": 1, "tail": "NaN"})
    study = collect.read(str(tmp_path))
    (board,) = boards.boards(study.groups)
    assert [table.seeds(group) for group in board.groups] == ["2, 1 failed", "3", "3"]
    assert [board.verdict(i).partition(", p")[0] for i in range(3)] == [
        "not tested, seeds failed",
        "best of those tested",
        "worse",
    ]
    assert "| 2, 1 failed | 2.05 " in plain_text.markdown(study, [board])
    assert "2, 1 failed</td>" in page.html(study)


def test_the_first_sentence_says_what_is_in_doubt():
    board = board_of([1.0, 1.1, 0.9], [1.05, 1.2, 1.15], [3.0, 3.3, 2.9])
    study = collect.Study("s", board.groups, [], [], [])
    assert page.summary(study, [board]).startswith(
        "9 runs in 3 groups: group 0 has the lowest rho, 1.00 [0.75, 1.25], before group 1 with 1.13 [0.94, 1.32] "
        "(not told apart by these seeds) and group 2 with 3.07"
    )


def test_one_seed_has_the_interval_of_its_images(tmp_path):
    """Not several: there it would stand for less than the seeds say."""
    ends = {"intervals": {"fd_generated": [300.0, 410.5]}}
    write_run(tmp_path / "a", "seed-vae", metrics=ends)
    for seed in (0, 1):
        write_run(tmp_path / f"b{seed}", "seed-gan", seed, rho=10.0 + seed, metrics=ends)
    one, two = sorted(collect.read(str(tmp_path)).groups, key=lambda group: len(group.runs))
    distance, rho = table.score_column("fd_generated"), table.score_column("rho")
    assert table.cell(distance, one)[:2] == ("350.00", "[300.00, 410.50] images")
    assert table.cell(rho, one)[:2] == ("10.00", "")
    assert table.cell(distance, two).spread == "[145.14, 589.86]"


def test_a_baseline_is_what_the_others_are_tested_against(tmp_path, study):
    groups = board_of([1.0, 1.1, 0.9], [5.0, 5.1, 5.2], [5.1, 5.0, 5.25], [50.0, 51.0, 52.0]).groups
    (board,) = boards.boards(groups, "group 1")
    assert [board.verdict(i).partition(",")[0] for i in range(4)] == [
        "better",
        "baseline",
        "not told apart",
        "worse",
    ]
    raw = [
        scipy.stats.ttest_ind(groups[1].values("rho"), groups[i].values("rho"), equal_var=False)
        for i in (0, 2, 3)
    ]
    assert board.p_values[2] == pytest.approx(max(raw[1].pvalue, 3 * min(r.pvalue for r in raw)))
    chosen = study._replace(baseline="seed-vae, name=adam")
    assert "against the baseline" in page.html(chosen)
    lines = plain_text.markdown(chosen, boards.boards(chosen.groups, chosen.baseline)).splitlines()
    assert [lines[i].rpartition("| ")[2].partition(",")[0] for i in (10, 11)] == ["better", "not tested"]
    assert lines[12].endswith("| baseline |")


def test_effects_are_of_runs_that_are_alike_in_all_else(tmp_path):
    """Steps are a setting unless a budget decides on them; None is a value; what has no such field has no value."""
    of_clip = {None: 1.0, 1.0: 0.5}
    for clip, a in of_clip.items():
        for steps, b in {400: 8.0, 800: 1.0}.items():
            for seed in range(2):
                run = f"clip={clip},steps={steps},seed={seed}"
                write_run(
                    tmp_path / run, "gan", seed, a * b * (1 + seed), fields={"a.clip": clip}, steps=steps
                )
    metrics = {"step": 800, "rho": 4.0, "protocol": PROTOCOL, "members": [], "weights": {}}
    write_json(tmp_path / "both" / "metrics.json", metrics)  # an ensemble
    about = {"name": "s", "grid": {"a.clip": [None, 1.0], "fit.steps": [400, 800]}}
    write_json(tmp_path / "study.json", about)

    def found():
        study = collect.read(str(tmp_path))
        return effects.effects(study, boards.boards(study.groups)[0])

    clip, steps = found()
    assert clip.ratio == pytest.approx([0.5] * 3) and clip[4:] == (2, 2)
    assert steps.ratio == pytest.approx([0.125] * 3) and steps[4:] == (2, 2)
    # A group with failed seeds flatters its value.
    (tmp_path / "clip=1.0,steps=800,seed=1" / "metrics.json").unlink()
    write_json(tmp_path / "failed" / "clip=1.0,steps=800,seed=1.json", {"exit_code": 1, "tail": "NaN"})
    clip, steps = found()
    assert clip[4:] == (2, 1) and steps[4:] == (2, 1)


def test_a_seed_whose_score_failed_is_missing_in_its_group(tmp_path):
    """Training has scored it already, but in another way than the study asks for."""
    for seed in range(3):
        write_run(
            tmp_path / "runs" / f"gan,seed={seed}", "gan", seed, 3.0 + seed, num=100 if seed == 2 else 355
        )
    write_json(tmp_path / "failed" / "gan,seed=2.json", {"exit_code": 1, "tail": "images are not finite"})
    groups = collect.read(str(tmp_path)).groups
    assert {len(group.runs): group.failed for group in groups} == {2: 1, 1: 0}
