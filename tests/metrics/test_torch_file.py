"""Reading PyTorch's state dicts without it; tests/parity/test_weight_files.py compares with PyTorch's own reading."""

import io
import os
import pickle
import struct
import zipfile

import numpy as np
import pytest

from genjax.metrics import torch_file, weight_files
from genjax.metrics.torch_file import TorchFileError
from genjax.typing import UserError

VALUES = np.arange(12, dtype=np.float32)


class Global(str):
    """A name in a pickle, "module.name"."""


def pickled(value):
    """A pickle as PyTorch writes it, of texts, numbers, tuples, dicts, names, calls and storages."""
    return b"\x80\x02" + _opcodes(value) + b"."


def _opcodes(value):
    match value:
        case Global():
            module, _, name = value.rpartition(".")
            return f"c{module}\n{name}\n".encode()
        case bool():
            return b"\x88" if value else b"\x89"
        case int():
            return b"\x8a\x08" + struct.pack("<q", value)
        case str():
            return b"X" + struct.pack("<i", len(value)) + value.encode()
        case ("call", function, arguments):
            return _opcodes(function) + _opcodes(arguments) + b"R"
        case ("persistent", entry):
            return _opcodes(entry) + b"Q"
        case tuple():
            return b"(" + b"".join(map(_opcodes, value)) + b"t"
        case list():
            return b"](" + b"".join(map(_opcodes, value)) + b"e"
        case dict():
            return b"}(" + b"".join(_opcodes(one) for item in value.items() for one in item) + b"u"
    raise TypeError(value)


def storage(kind="FloatStorage", key="0", count=12, *rest):
    return ("persistent", ("storage", Global(f"torch.{kind}"), key, "cpu", count, *rest))


def tensor(stored, offset=0, shape=(3, 4), strides=(4, 1)):
    hooks = ("call", Global("collections.OrderedDict"), ())
    return ("call", Global("torch._utils._rebuild_tensor_v2"), (stored, offset, shape, strides, False, hooks))


def archive(state, storages=None, packed=False, **others):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED) as file:
        file.writestr("weights/data.pkl", pickled(state))
        for key, data in ({"0": VALUES.tobytes()} if storages is None else storages).items():
            file.writestr(f"weights/data/{key}", data)
        for name, data in others.items():
            file.writestr(f"weights/{name}", data)
    return content.getvalue()


def row(state, storages=None):
    """The format of before PyTorch 1.6."""
    storages = {"0": VALUES.tobytes()} if storages is None else storages
    parts = [pickled(1001), pickled({"little_endian": True}), pickled(state), pickled(list(storages))]
    return (
        torch_file.ROW
        + b"".join(parts)
        + b"".join(struct.pack("<q", len(data) // 4) + data for data in storages.values())
    )


def test_both_formats_and_views():
    wanted = {"whole": VALUES.reshape(3, 4), "turned": VALUES.reshape(3, 4).T, "some": VALUES[5:11:2]}
    parts = [((3, 4), (4, 1), 0), ((4, 3), (1, 4), 0), ((3,), (2,), 5)]
    views = zip(wanted, parts, strict=True)
    state = {name: tensor(storage(), offset, shape, strides) for name, (shape, strides, offset) in views}
    for write in (archive, row):
        found = torch_file.read(write(state))
        assert list(found) == list(wanted)
        for name, array in wanted.items():
            np.testing.assert_array_equal(found[name], array)
            assert found[name].dtype == np.float32 and found[name].flags.c_contiguous


def test_types_of_numbers():
    brain = (np.array([1.5, -2.0], np.float32).view(np.uint32) >> 16).astype(np.uint16)
    for kind, array, expected in [
        ("LongStorage", np.array([3, -4], np.int64), [3, -4]),
        ("HalfStorage", np.array([0.5, 2.0], np.float16), [0.5, 2.0]),
        ("BoolStorage", np.array([True, False]), [True, False]),
        ("BFloat16Storage", brain, [1.5, -2.0]),
    ]:
        state = {
            "x": tensor(storage(kind, count=2), 0, (2,), (1,)),
            "scalar": tensor(storage(kind, count=2), 1, (), ()),
        }
        found = torch_file.read(archive(state, {"0": array.tobytes()}))
        np.testing.assert_array_equal(found["x"], expected)
        assert found["scalar"].shape == () and found["scalar"] == expected[1]
    big = torch_file.read(
        archive({"x": tensor(storage())}, {"0": VALUES.astype(">f4").tobytes()}, byteorder=b"big")
    )
    np.testing.assert_array_equal(big["x"], VALUES.reshape(3, 4))
    assert big["x"].dtype.isnative


@pytest.mark.parametrize("write", [archive, row])
@pytest.mark.parametrize(
    "name",
    [
        *("posix.mkdir", "builtins.eval", "builtins.getattr", "os.path.join"),
        *("torch.load", "torch._utils._rebuild_qtensor", "numpy.core.multiarray._reconstruct"),
    ],
)
def test_names_are_looked_up_in_a_table(write, name, tmp_path):
    mark = tmp_path / "was_run"
    for state in [
        {"x": tensor(storage()), "code": ("call", Global(name), (str(mark),))},
        ("call", Global(name), (str(mark),)),
        {"x": ("persistent", ("storage", Global(name), "0", "cpu", 12))},
    ]:
        with pytest.raises(TorchFileError, match=f"it names '{name}', .* nothing in it was run"):
            torch_file.read(write(state))
    assert not mark.exists()


def test_a_pickle_of_any_protocol_runs_nothing(tmp_path):
    class Code:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "was_run"),)

    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as file:
            file.writestr("x/data.pkl", pickle.dumps({"x": Code()}, protocol))
        with pytest.raises(TorchFileError, match=r"names '\w+\.mkdir'"):
            torch_file.read(content.getvalue())
        with pytest.raises(TorchFileError, match=r"names '\w+\.mkdir'"):
            torch_file.read(torch_file.ROW + pickle.dumps(Code(), protocol))
    assert not (tmp_path / "was_run").exists()


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"x": tensor(storage(), 0, (4, 4), (4, 1))}, "does not lie in its storage of 12"),
        ({"x": tensor(storage(), 1, (3, 4), (4, 1))}, "does not lie in its storage"),
        ({"x": tensor(storage(), 0, (3,), (-1,))}, "no storage, or no shape"),
        ({"x": tensor(storage(), -1, (3,), (1,))}, "no storage, or no shape"),
        ({"x": tensor(storage(), 0, (10**12,), (0,))}, "does not lie in its storage"),
        ({"x": tensor("here", 0, (3,), (1,))}, "no storage, or no shape"),
        ({"x": tensor(storage(count=13), 0, (3,), (1,))}, "has 48 bytes where 52 are expected"),
        (
            {"x": tensor(storage(key="../../secret"), 0, (3,), (1,))},
            r"the archive has no data/\.\./\.\./secret",
        ),
        ({"x": ("persistent", ("module", "a", "b", "c", 1))}, "no storage of a known type"),
        ({"x": tensor(storage(), 0, (3,), (1,)), "step": 3}, "it has the keys x, step"),
        ([tensor(storage())], "but a list"),
        (tensor(storage()), "but a tensor"),
    ],
)
def test_what_is_no_state_dict(state, message):
    with pytest.raises(TorchFileError, match=message):
        torch_file.read(archive(state))


def test_damaged_files(tmp_path):
    whole, old = archive({"x": tensor(storage())}), row({"x": tensor(storage())})
    for content in (whole[:-30], old[: len(old) // 2], old[:-4], torch_file.ZIP, torch_file.ROW):
        with pytest.raises(TorchFileError):
            torch_file.read(content)
    with pytest.raises(TorchFileError, match="is packed"):
        torch_file.read(archive({"x": tensor(storage())}, packed=True))
    path = tmp_path / "weights.pth"
    path.write_bytes(archive({"epoch": 3}))
    with pytest.raises(UserError, match=r"weights\.pth': not a state dict of PyTorch: .* the keys epoch"):
        weight_files.read(path, None)


def test_the_same_arrays_in_another_file_are_as_good(tmp_path):
    import safetensors.numpy

    state = {
        "b": tensor(storage()),
        "a": tensor(storage(), 0, (2,), (1,)),
        "n.num_batches_tracked": tensor(storage(), 0, (), ()),
    }
    for name, content in (("new.pth", archive(state)), ("old.pth", row(state))):
        (tmp_path / name).write_bytes(content)
    sha256, arrays = weight_files.read(tmp_path / "new.pth", None)
    contents = weight_files.digest(arrays)
    safetensors.numpy.save_file({"a": arrays["a"], "b": arrays["b"]}, tmp_path / "x.safetensors")
    for name in ("new.pth", "old.pth", "x.safetensors"):
        found, same = weight_files.read(tmp_path / name, sha256, contents)
        assert found == sha256 and weight_files.digest(same) == contents
    arrays["a"] = arrays["a"] + 1
    assert weight_files.digest(arrays) != contents
    safetensors.numpy.save_file(arrays, tmp_path / "x.safetensors")
    for known in (contents, None):
        with pytest.raises(UserError, match="damaged or holds other weights"):
            weight_files.read(tmp_path / "x.safetensors", sha256, known)
