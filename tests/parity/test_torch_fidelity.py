"""Metrics of features against torch-fidelity's, and density and coverage against those of `prdc`.

| here | there |
| --- | --- |
| `frechet_distance` | `fid_statistics_to_metric` |
| `kid` | `kid_features_to_metric`: mean and standard deviation of the same 100 subsets |
| `inception_score` | `isc_features_to_metric` |
| `precision_recall` | `prc_features_to_metric`, whose first set is the generated one |
| `density_coverage` | `prdc.compute_prdc` |

Given float64, they agree to rounding. Given float32, as extractors give them, torch-fidelity adds up kernels in
float32, which changed a KID of 1.4e-4 by 1.5e-5 of itself (5,000 x 2048 features), and has distances in float32, which
would matter to an image on the boundary of a ball.
"""

import numpy as np
import pytest

from experiments.bench import torch_fidelity
from genjax.metrics.frechet import covariance, distance, frechet_distance, moments
from genjax.metrics.inception_score import inception_score
from genjax.metrics.kernel import kid
from genjax.metrics.manifold import density_coverage, precision_recall


@pytest.fixture(scope="module")
def theirs():
    pytest.importorskip("torch")
    if not torch_fidelity.installed():
        pytest.skip("torch-fidelity is not installed")
    return torch_fidelity.load()


def features(dtype):
    """Positive, of very different scales, as Inception's are; the sets differ a little."""
    rng = np.random.default_rng(0)
    scale = np.exp(-np.linspace(0, 5, 96))
    real, generated = (np.abs(rng.normal(size=(n, 96))) * scale for n in (1500, 1300))
    generated *= 1.05
    return real.astype(dtype), generated.astype(dtype)


@pytest.mark.parametrize("dtype, rtol", [(np.float64, 1e-10), (np.float32, 1e-3)])
def test_kid(theirs, dtype, rtol):
    real, generated = features(dtype)
    found = kid(real, generated)
    np.testing.assert_allclose(found[:2], theirs.kid(real, generated), rtol=rtol)
    np.testing.assert_allclose(
        kid(real, generated, subsets=30, subset_size=100)[:2],
        theirs.kid(real, generated, subsets=30, subset_size=100),
        rtol=rtol,
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_inception_score(theirs, dtype):
    logits = (3 * np.random.default_rng(0).normal(size=(1003, 50))).astype(dtype)
    np.testing.assert_allclose(inception_score(logits), theirs.inception_score(logits), rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_precision_and_recall(theirs, dtype):
    real, generated = features(dtype)
    found = precision_recall(real, generated)
    assert 0.1 < found.precision < 0.9 and 0.1 < found.recall < 0.9
    np.testing.assert_allclose(found, theirs.precision_recall(real, generated), rtol=1e-6)


@pytest.mark.parametrize("num", [1300, 60])
def test_frechet_distance(theirs, num):
    """60 vectors of 96 features too, for which theirs draws roots of rounding errors."""
    real, generated = (moments(x[:num]) for x in features(np.float64))
    statistics = real.mean, covariance(real), generated.mean, covariance(generated)
    tolerance = 1e-9 if num > 96 else 1e-5
    assert frechet_distance(*statistics) == pytest.approx(theirs.frechet_distance(*statistics), rel=tolerance)
    assert distance(real, generated) == frechet_distance(*statistics)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_density_and_coverage(dtype):
    prdc = pytest.importorskip("prdc")
    real, generated = features(dtype)
    expected = prdc.compute_prdc(real, generated, nearest_k=5)
    found = density_coverage(real, generated)
    np.testing.assert_allclose(found, (expected["density"], expected["coverage"]), rtol=1e-12)
    shares = precision_recall(real, generated, k=5)  # no two distances are the same
    np.testing.assert_allclose(shares, (expected["precision"], expected["recall"]), rtol=1e-12)
