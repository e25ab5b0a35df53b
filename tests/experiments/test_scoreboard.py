"""Scored runs side by side: what stands in a table, in which order, and what is kept apart."""

import json

import pytest

from experiments import scoreboard
from genjax.metrics.protocol import Protocol
from genjax.typing import UserError

MNIST = str(Protocol("fd", "digits@00", "not resized", 1000, "mnist/test[:1000]#aa"))
DIGITS = str(Protocol("fd", "digits@00", "not resized", 355, "digits/test[:355]#bb"))


@pytest.fixture
def scored(tmp_path):
    def write(name, **metrics):
        (tmp_path / name).mkdir()
        (tmp_path / name / "metrics.json").write_text(json.dumps({"step": 2000, **metrics}))
        return str(tmp_path / name)

    return write


def test_tables_are_split_by_protocol_and_sorted(scored, verb, tmp_path):
    paths = [
        scored("worse", protocol=MNIST, rho=9.0, fd_generated=60.0, label_agreement=0.974, kid=11680.4),
        scored("elsewhere", protocol=DIGITS, rho=1.5, fd_generated=10.0),
        scored("better", protocol=MNIST, rho=2.5, fd_generated=20.0, kid=0.01234),
    ]
    ended = verb("scoreboard", *paths, "--out", str(tmp_path / "board.md"))
    assert ended.code == 0, ended.err
    assert [[run["name"] for run in board["runs"]] for board in ended.json] == [
        ["better", "worse"],
        ["elsewhere"],
    ]
    assert (tmp_path / "board.md").read_text().splitlines() == [
        "1,000 images against mnist/test[:1000]#aa, not resized, digits@00:",
        "",
        "| run | steps | rho | Fréchet distance | KID | label agreement, % |",
        "|---|---|---|---|---|---|",
        "| better | 2,000 | 2.50 | 20.00 | 0.01234 |  |",
        "| worse | 2,000 | 9.00 | 60.00 | 11,680 | 97.4 |",
        "",
        "355 images against digits/test[:355]#bb, not resized, digits@00:",
        "",
        "| run | steps | rho | Fréchet distance |",
        "|---|---|---|---|",
        "| elsewhere | 2,000 | 1.50 | 10.00 |",
    ]


def test_runs_without_rho_are_sorted_by_distance(scored):
    runs = [
        scoreboard.read(scored(name, protocol=MNIST, fd_generated=d)) for name, d in (("b", 2.0), ("a", 1.0))
    ]
    (rows,) = scoreboard.group(runs).values()
    assert [row["name"] for row in rows] == ["a", "b"]


def test_every_score_stands_under_its_heading(scored):
    scores = {"rho": 1.0, "fd_generated": 2.0, "kid": -200.4, "precision": 0.5, "recall": 0.25}
    row = scoreboard.read(scored("all", protocol=MNIST, **scores, label_agreement=0.9, memorised=0.015))
    assert scoreboard.markdown(MNIST, [row]).splitlines()[2:] == [
        "| run | steps | rho | Fréchet distance | KID | precision | recall | label agreement, % | memorised, % |",
        "|---|---|---|---|---|---|---|---|---|",
        "| all | 2,000 | 1.00 | 2.00 | -200 | 0.500 | 0.250 | 90.0 | 1.5 |",
    ]


def test_mistakes(scored, tmp_path, verb):
    with pytest.raises(UserError, match="at least one run"):
        scoreboard.group([])
    with pytest.raises(UserError, match=r"no score of images"):
        scoreboard.read(scored("unscored"))
    ended = verb("scoreboard", str(tmp_path / "missing"))
    assert ended.code == 2 and "holds no scored run" in ended.err


def test_nothing_is_minus_nothing():
    assert (
        scoreboard.written("memorised", -0.0004) == "0.0"
        and scoreboard.written("memorised", -0.004) == "-0.4"
    )
    assert scoreboard.written("kid", 0.0) == "0" and scoreboard.written("rho", 10.0) == "10.00"
