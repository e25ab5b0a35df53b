"""`python -m experiments.bench metrics`: what it measures gives the numbers of the references."""

import dataclasses

import pytest

from experiments.bench import metrics, torch_fidelity
from genjax.typing import UserError

OPTIONS = metrics.Options(num=60, width=12, repeats=2)


def test_numbers_are_those_of_the_references():
    pytest.importorskip("torch")
    if not torch_fidelity.installed():
        pytest.skip("torch-fidelity is not installed")
    results = metrics.bench(OPTIONS)
    assert set(results) == {"frechet_distance", "kid", "precision_recall"}
    for name, result in results.items():
        assert result["seconds"]["median"] > 0
        others = {"torch-fidelity", "scipy"} if name == "frechet_distance" else {"torch-fidelity"}
        assert set(result["against"]) == others
        assert all(found["ratio"]["median"] > 0 for found in result["against"].values())


def test_other_numbers_are_an_error(monkeypatch):
    monkeypatch.setattr(metrics, "_by_matrix_root", lambda *_: 1.0)
    with pytest.raises(UserError, match=r"against='scipy': its frechet_distance is \[1.0\]"):
        metrics.bench(dataclasses.replace(OPTIONS, only=("frechet_distance",), against=("scipy",)))


def test_without_torch_fidelity_the_others_are_measured(monkeypatch):
    monkeypatch.setattr(torch_fidelity, "installed", lambda: False)
    results = metrics.bench(dataclasses.replace(OPTIONS, only=("frechet_distance", "kid")))
    for result in results.values():
        assert "not installed" in result["against"]["torch-fidelity"] and result["seconds"]["median"] > 0
    assert results["frechet_distance"]["against"]["scipy"]["ratio"]["median"] > 0


@pytest.mark.parametrize(
    "change, message",
    [
        ({"only": ("fid",)}, "only='fid': valid are frechet_distance, kid, precision_recall"),
        ({"against": ("torch",)}, "against='torch': valid are torch-fidelity, scipy"),
        ({"num": 3}, "num=3"),
        ({"repeats": 0}, "repeats=0"),
    ],
)
def test_bad_options(change, message):
    with pytest.raises(UserError, match=message):
        metrics.bench(dataclasses.replace(OPTIONS, **change))
