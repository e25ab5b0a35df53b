"""Reference statistics survive their files to the bit; those of others are read, and nothing they say is made up."""

import dataclasses
import pickle

import numpy as np
import pytest

from genjax.metrics import reference_statistics
from genjax.metrics.frechet import covariance, distance, merge, moments
from genjax.metrics.protocol import Protocol, ProtocolError, compare
from genjax.metrics.reference_statistics import Reference, fd, load, load_foreign, save
from genjax.typing import UserError


def draw(seed, n=50, width=4):
    return np.random.default_rng(seed).normal(size=(n, width))


@pytest.fixture
def reference():
    return Reference.of(moments(draw(0)), extractor="net@ab", resize="none, größer", images="flowers/test")


def test_a_file_gives_back_every_bit(tmp_path, reference):
    save(tmp_path / "a.npz", reference)
    found = load(tmp_path / "a.npz")
    for field in dataclasses.fields(Reference):
        np.testing.assert_array_equal(getattr(found, field.name), getattr(reference, field.name))
    assert found.sha256 == reference.sha256
    assert [p.name for p in tmp_path.iterdir()] == ["a.npz"]


def test_more_images_can_be_merged(reference):
    more = merge(reference.moments, moments(draw(1, 30)))
    whole = moments(np.concatenate([draw(0), draw(1, 30)]))
    assert more.count == 80
    np.testing.assert_allclose(more.m2, whole.m2, rtol=1e-12)


@pytest.mark.parametrize(
    "change",
    [{"count": 51}, {"extractor": "net@ac"}, {"resize": "none"}, {"images": "x"}, {"mean": np.zeros(4)}],
)
def test_the_digest_covers_everything(reference, change):
    assert dataclasses.replace(reference, **change).sha256 != reference.sha256


def test_damage_is_noticed(tmp_path, reference):
    path = tmp_path / "a.npz"
    save(path, reference)
    arrays = dict(np.load(path))
    arrays["covariance"][0, 0] += 1e-9
    np.savez(path, **arrays)
    with pytest.raises(UserError, match="not what its SHA-256 says"):
        load(path)
    np.savez(path, **{**arrays, "description": "{]"})
    with pytest.raises(UserError, match="description cannot be read"):
        load(path)
    np.savez(path, **{**arrays, "format": "2"})
    with pytest.raises(UserError, match="of format '2'"):
        load(path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match=r"not a \.npz file"):
        load(path)


def test_numbers_carry_their_protocol(reference):
    m = moments(draw(2, 40))
    found = fd("run", m, reference)
    assert found.value == pytest.approx(distance(m, moments(draw(0))), rel=1e-12)
    assert found.protocol.num_samples == 40 and found.protocol.extractor == "net@ab"
    assert found.protocol.reference == f"flowers/test, number of images 50#{reference.sha256[:16]}"
    assert Protocol.parse(str(found.protocol)) == found.protocol
    assert compare(found, fd("again", m, reference)) == 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_mu_and_sigma_of_others(tmp_path, reference, dtype):
    m = moments(draw(0))
    other = {"mu": m.mean.astype(dtype), "sigma": covariance(m).astype(dtype)}
    np.savez(tmp_path / "edm.npz", **other, mu_s=np.zeros(2), sigma_s=np.eye(2), arr_0=np.zeros((9, 2, 2, 3)))
    found = load_foreign(tmp_path / "edm.npz")
    assert found.mean.dtype == found.covariance.dtype == np.float64
    np.testing.assert_allclose(found.covariance, covariance(m), rtol=1e-6, atol=1e-7)
    assert (found.count, found.extractor, found.resize, found.images) == (None, *3 * ["unknown"])
    with pytest.raises(UserError, match="count is unknown"):
        found.moments  # noqa: B018  # it is a property
    spatial = load_foreign(tmp_path / "edm.npz", spatial=True, count=5)
    assert spatial.mean.shape == (2,) and spatial.moments.count == 5


def test_what_is_unknown_is_not_compared_with_what_is_known(tmp_path, reference):
    np.savez(tmp_path / "a.npz", mu=reference.mean, sigma=reference.covariance)
    unknown, m = load_foreign(tmp_path / "a.npz"), moments(draw(1))
    ours, theirs = fd("ours", m, reference), fd("theirs", m, unknown)
    assert ours.value == pytest.approx(theirs.value, rel=1e-12)
    with pytest.raises(ProtocolError, match=r"extractor \('net@ab' and 'unknown'\), resize .* reference"):
        compare(ours, theirs)
    said = load_foreign(
        tmp_path / "a.npz", count=50, extractor="net@ab", resize="none, größer", images="flowers/test"
    )
    assert compare(ours, fd("same", m, said)) == 0


def test_torch_fidelitys_cache(tmp_path):
    torch = pytest.importorskip("torch")
    m = moments(draw(0))
    torch.save({"mu": m.mean.astype(np.float32), "sigma": covariance(m)}, tmp_path / "x-stat-fid-2048.pt")
    found = load_foreign(tmp_path / "x-stat-fid-2048.pt", count=50)
    np.testing.assert_array_equal(found.covariance, covariance(m))
    torch.save([1], tmp_path / "list.pt")
    with pytest.raises(UserError, match="it holds a list"):
        load_foreign(tmp_path / "list.pt")
    torch.save({"mu": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(UserError, match="not a file of arrays"):
        load_foreign(tmp_path / "evil.pt")
    assert not Evil.executed


class Evil:
    """Unpickling it would execute something."""

    executed = False

    def __reduce__(self):
        return _execute, ()


def _execute():
    Evil.executed = True


def test_pickles_are_not_executed(tmp_path):
    np.savez(tmp_path / "evil.npz", mu=np.array([Evil()], object), sigma=np.eye(1))
    with pytest.raises(UserError, match=r"not a \.npz file of plain arrays"):
        load_foreign(tmp_path / "evil.npz")
    (tmp_path / "edm2.npz").write_bytes(pickle.dumps({"fid": 1}))
    with pytest.raises(UserError, match=r"not a \.npz file of plain arrays"):
        load_foreign(tmp_path / "edm2.npz")
    assert not Evil.executed


@pytest.mark.parametrize(
    "arrays, message",
    [
        ({"mu": np.zeros(3)}, "with mu: sigma are missing"),
        ({"mu": np.zeros(3), "sigma": np.eye(2)}, r"float64\[3\] and float64\[2, 2\], valid are"),
        ({"mu": np.zeros(2, int), "sigma": np.eye(2)}, r"int64\[2\]"),
        ({"mu": np.zeros(2), "sigma": np.full((2, 2), np.nan)}, "not finite"),
    ],
)
def test_other_content_is_refused(tmp_path, arrays, message):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(UserError, match=message):
        load_foreign(tmp_path / "a.npz")


def test_other_paths_are_refused(tmp_path, reference):
    for path in ("a.pkl", "a"):
        with pytest.raises(UserError, match=r"valid are \.npz files"):
            load_foreign(tmp_path / path)
        with pytest.raises(UserError, match=r"valid are \.npz files"):
            save(tmp_path / path, reference)
    for path in ("a.npz", "a.pt"):
        with pytest.raises(UserError, match="no such file"):
            load_foreign(tmp_path / path)
    with pytest.raises(UserError, match="count=1"):
        load_foreign(tmp_path / "a.npz", count=1)


def test_nothing_is_left_of_a_file_that_was_not_finished(tmp_path, reference, monkeypatch):
    def fail(path, **arrays):
        path.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(reference_statistics.np, "savez", fail)
    with pytest.raises(OSError, match="disk full"):
        save(tmp_path / "a.npz", reference)
    assert not list(tmp_path.iterdir())
