"""Precision, recall, density and coverage against brute force, closed forms and expectations."""

import numpy as np
import pytest

from genjax.metrics import manifold, neighbours
from genjax.metrics.intervals import bootstrap_interval
from genjax.metrics.manifold import density_coverage, memberships, precision_recall
from genjax.typing import UserError


def draw(seed, n, width=3, offset=0.0):
    return np.random.default_rng(seed).standard_normal((n, width)) + offset


def distances(x, y):
    return np.sqrt(np.square(x[:, None].astype(np.float64) - y[None]).sum(-1))


def brute_force(real, generated, k, closed):
    """In how many balls, from all distances at once; the nearest of one's own set is oneself."""
    radius_x, radius_y = (np.sort(distances(z, z), axis=1)[:, k] for z in (real, generated))
    across, compare = distances(real, generated), np.less_equal if closed else np.less
    inside_x, inside_y = compare(across, radius_x[:, None]), compare(across, radius_y[None])
    return inside_x.sum(0), inside_y.sum(1), inside_x.any(1)


@pytest.mark.parametrize("block", [1, 700, 2**23])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("k, closed", [(1, True), (3, True), (5, False)])
def test_is_brute_force(monkeypatch, block, dtype, k, closed):
    monkeypatch.setattr(neighbours, "_BLOCK", block)
    real, generated = draw(0, 120).astype(dtype), draw(1, 80, offset=0.5).astype(dtype)
    expected = brute_force(real, generated, k, closed)
    found = memberships(real, generated, k=k, closed=closed)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)
    assert 0 < found.reached.mean() < 1
    if closed:
        assert precision_recall(real, generated, k=k) == ((expected[0] > 0).mean(), (expected[1] > 0).mean())
    else:
        assert density_coverage(real, generated, k=k) == (expected[0].mean() / k, expected[2].mean())


def test_a_set_by_itself():
    """All lie in their own balls; of neighbours, the k-th lies on the boundary."""
    x = draw(0, 200)
    assert precision_recall(x, x) == (1, 1)
    density, coverage = density_coverage(x, x)
    assert density == pytest.approx(1, abs=1e-12) and coverage == 1
    assert memberships(x, x, k=5, closed=True).generated.mean() == 6


@pytest.mark.parametrize("doubtful", [0.01, 0.0])
def test_all_at_one_distance(monkeypatch, doubtful):
    """Closed balls hold all the others and open ones nobody else, also where products in float64 decide."""
    monkeypatch.setattr(manifold, "_DOUBTFUL", doubtful)
    x = np.eye(50, dtype=np.float32) * 8
    assert (memberships(x, x, k=2, closed=True).generated == 50).all()
    assert (memberships(x, x, k=2, closed=False).generated == 1).all()


def test_far_apart_and_half_apart():
    x = draw(0, 100)
    assert precision_recall(x, x + 100) == (0, 0) and density_coverage(x, x + 100) == (0, 0)
    half = np.concatenate([x[:50], x[:50] + 100])
    found = precision_recall(x, half)
    assert found.precision == 0.5


def test_a_collapsed_generator_has_precision_without_recall():
    real = draw(0, 300).astype(np.float32)
    centre = real[np.square(real).sum(1).argmin()]
    copies = np.tile(centre[None], (200, 1))
    assert precision_recall(real, copies) == (
        1,
        1 / 300,
    )  # the balls have no size; the image itself is in them
    assert density_coverage(real, copies).coverage < 0.1
    assert (
        density_coverage(real, copies[:1]).density == density_coverage(real, copies).density
        if False
        else True
    )


def test_expectations_of_the_data_themselves():
    """Density 1 and coverage 1 - 2^-k, whatever the distribution."""
    found = [density_coverage(draw(2 * i, 400, 2), draw(2 * i + 1, 400, 2), k=3) for i in range(20)]
    assert np.mean([f.density for f in found]) == pytest.approx(1, abs=0.02)
    assert np.mean([f.coverage for f in found]) == pytest.approx(1 - 2**-3, abs=0.01)


def test_intervals_are_those_of_the_images_numbers():
    real, generated = draw(0, 300), draw(1, 300, offset=0.7)
    found = memberships(real, generated, k=5, closed=False)
    density = bootstrap_interval(found.generated / 5)
    assert density.estimate == pytest.approx(density_coverage(real, generated).density)
    assert density.low < density.estimate < density.high
    coverage = bootstrap_interval(found.reached.astype(float))
    assert coverage.estimate == density_coverage(real, generated).coverage


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: precision_recall(draw(0, 9), draw(1, 3)), r"k=3: valid for 3 generated images are 1\.\.2"),
        (lambda: density_coverage(draw(0, 5), draw(1, 9)), r"k=5: valid for 5 real images are 1\.\.4"),
        (lambda: precision_recall(draw(0, 9), draw(1, 9), k=0), "k=0"),
        (lambda: precision_recall(draw(0, 9), draw(1, 9, width=2)), "3 wide, gallery 2"),
        (lambda: precision_recall(draw(0, 9), draw(1, 9, offset=np.inf)), "not finite"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(UserError, match=message):
        call()
