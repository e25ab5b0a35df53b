"""Reading weights files; tests/metrics/test_torch_file.py reads PyTorch's."""

import hashlib

import numpy as np
import pytest
import safetensors.numpy

from genjax.metrics import weight_files
from genjax.typing import UserError


def test_safetensors(tmp_path):
    # A name of no or another format says nothing.
    path = tmp_path / "weights.pth"
    arrays = {"b": np.arange(6, dtype=np.float32).reshape(2, 3), "a": np.ones(1)}
    safetensors.numpy.save_file(arrays, path)
    digest, found = weight_files.read(path, None)
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert found.keys() == arrays.keys()
    np.testing.assert_array_equal(found["b"], arrays["b"])
    assert weight_files.read(path, digest)[0] == digest
    with pytest.raises(UserError, match=f"SHA-256 is {digest} where {'0' * 64} is expected"):
        weight_files.read(path, "0" * 64)


@pytest.mark.parametrize("content", [b"<!DOCTYPE html><html>", b"", b"\x80\x04\x95\x10\x00", b"PK"])
def test_other_formats_are_refused(tmp_path, content):
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    with pytest.raises(
        UserError, match=r"not a safetensors file .*, nor a checkpoint of PyTorch; it begins with"
    ) as e:
        weight_files.read(path, None)
    assert repr(content[:16]) in str(e.value)


@pytest.mark.parametrize("magic", [b"PK\x03\x04", b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."])
def test_a_damaged_checkpoint(tmp_path, magic):
    path = tmp_path / "weights"
    path.write_bytes(magic + b"...")
    with pytest.raises(UserError, match="weights': not a state dict of PyTorch: the file is damaged"):
        weight_files.read(path, None)
