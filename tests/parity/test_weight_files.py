"""Reading PyTorch's checkpoints without it: what it writes, and what is refused without being run."""

import hashlib
import os
import zipfile

import numpy as np
import pytest

from genjax.metrics import weight_files
from genjax.typing import UserError


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


class Code:
    """Unpickled with code allowed, this makes a folder."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("new", [True, False])
def test_state_dicts(torch, tmp_path, new):
    layer = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3), torch.nn.Linear(3, 1).half())
    state = layer.state_dict() | {
        "coarse": torch.full((2,), -1.5, dtype=torch.bfloat16),
        "turned": torch.arange(12.0).reshape(3, 4).T,
        "some": torch.arange(10)[3:7:2],
        "none": torch.zeros(0, 3),
        "parameter": torch.nn.Parameter(torch.ones(3)),
    }
    path = tmp_path / "weights.bin"
    torch.save(state, path, _use_new_zipfile_serialization=new)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    for sha256 in (None, digest):
        found, arrays = weight_files.read(path, sha256)
        assert found == digest and arrays.keys() == state.keys()
        for name, array in arrays.items():
            np.testing.assert_array_equal(array, state[name].detach().to(torch.float64))
    assert arrays["0.weight"].dtype == arrays["coarse"].dtype == np.float32
    with pytest.raises(UserError, match="SHA-256"):
        weight_files.read(path, "0" * 64)


@pytest.mark.parametrize("new", [True, False])
def test_code_is_not_run(torch, tmp_path, new):
    path, mark = tmp_path / "weights.pth", tmp_path / "was_run"
    torch.save({"weight": torch.ones(1), "code": Code(mark)}, path, _use_new_zipfile_serialization=new)
    with pytest.raises(
        UserError, match=r"not a state dict of PyTorch: it names 'posix\.mkdir', .* nothing in it was run"
    ):
        weight_files.read(path, None)
    assert not mark.exists()
    torch.load(path, weights_only=False)
    assert mark.exists()


def test_other_files(torch, tmp_path):
    path = tmp_path / "weights.pth"

    def refused(match):
        with pytest.raises(UserError, match=match):
            weight_files.read(path, None)

    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "no weights")
    refused("not a state dict of PyTorch")
    torch.save({"a": torch.ones(1000)}, path)
    path.write_bytes(path.read_bytes()[:2000])
    refused("not a state dict of PyTorch: the file is damaged")
    torch.save({"step": 3, "state_dict": {"a": torch.ones(1)}}, path)
    refused("a tensor for every name; it has the keys step, state_dict")
    torch.save([torch.ones(1)], path)
    refused("it holds no state dict, which has a tensor for every name, but a list")
