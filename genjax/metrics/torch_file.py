"""State dicts of PyTorch (.pth, .pt), read without PyTorch and without running anything that is in the file.

A checkpoint is a pickle, which is a small program: it names functions, and calls them. Here every name is looked up
in a table of what a state dict is made of, ordered dicts and tensors over storages of numbers, and any other name
ends the reading. The functions in the table are ours and check what they are given. Both formats are read: the zip
archive, and the row of pickles of before PyTorch 1.6.
"""

import collections
import io
import math
import pickle
import struct
import zipfile
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np

ZIP = b"PK\x03\x04"
ROW = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
"""How files of the two formats begin; the second is the pickle of a number that PyTorch chose."""

Order: TypeAlias = Literal["<", ">"]
_ORDERS: dict[bytes, Order] = {b"little": "<", b"big": ">"}
_VERSION = 1001
_TYPES = {
    "DoubleStorage": "f8",
    "FloatStorage": "f4",
    "HalfStorage": "f2",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "i8",
    "IntStorage": "i4",
    "ShortStorage": "i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}


class TorchFileError(ValueError):
    """The file is damaged, holds something else than named tensors, or names something that is not read."""


class _Type(NamedTuple):
    """A type of storage, as PyTorch calls it."""

    name: str

    def dtype(self, order: Order) -> np.dtype:
        kind = _TYPES[self.name]
        return np.dtype("u2" if kind == "bfloat16" else kind).newbyteorder(order)


class _Storage(NamedTuple):
    """A row of numbers somewhere in the file, of which tensors are views."""

    type: _Type
    key: str
    numbers: int


class _Tensor(NamedTuple):
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read(content: bytes) -> dict[str, np.ndarray]:
    """The arrays of a state dict by name, with their shapes; bfloat16, which numpy has not, as float32.

    Args:
        content: the whole file.

    Raises:
        TorchFileError: see there. Nothing in the file was run.
    """
    try:
        return _read_zip(content) if content.startswith(ZIP) else _read_row(content)
    except TorchFileError:
        raise
    except Exception as error:  # of a pickle machine or a zip reader on bytes that are none of theirs: any
        raise TorchFileError(f"the file is damaged ({type(error).__name__}: {error})") from error


def _read_zip(content: bytes) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        entries = {name: info for info in file.infolist() for name in [info.filename.partition("/")[2]]}
        if "data.pkl" not in entries:
            raise TorchFileError("the archive has no data.pkl")

        def member(name: str, size: int | None = None) -> bytes:
            info = entries.get(name)
            if info is None:
                raise TorchFileError(f"the archive has no {name}")
            if info.compress_type != zipfile.ZIP_STORED or size not in (None, info.file_size):
                raise TorchFileError(
                    f"{name} has {info.file_size} bytes where {size} are expected, or is packed"
                )
            return file.read(info)

        order: Order = "<"
        if "byteorder" in entries:
            order = _ORDERS[member("byteorder")]
        tensors = _tensors(_unpickle(io.BytesIO(member("data.pkl"))))

        def load(storage: _Storage) -> np.ndarray:
            dtype = storage.type.dtype(order)
            return np.frombuffer(member(f"data/{storage.key}", storage.numbers * dtype.itemsize), dtype)

        return _arrays(tensors, load)


def _read_row(content: bytes) -> dict[str, np.ndarray]:
    stream = io.BytesIO(content)
    stream.seek(len(ROW))
    if _unpickle(stream) != _VERSION:
        raise TorchFileError(f"the version of the format is not {_VERSION}")
    order: Order = "<" if _unpickle(stream).get("little_endian", True) else ">"
    tensors = _tensors(_unpickle(stream))
    types = {tensor.storage.key: tensor.storage for tensor in tensors.values()}
    if any(types[tensor.storage.key] != tensor.storage for tensor in tensors.values()):
        raise TorchFileError("two tensors take one storage for two")
    places = {}
    for key in _unpickle(stream):
        (count,) = struct.unpack(f"{order}q", stream.read(8))
        storage = types.get(key)
        if storage is None or storage.numbers != count:
            raise TorchFileError(f"storage {key!r} has {count} numbers, and no tensor says so")
        places[key] = stream.tell()
        stream.seek(count * storage.type.dtype(order).itemsize, io.SEEK_CUR)

    def load(storage: _Storage) -> np.ndarray:
        return np.frombuffer(content, storage.type.dtype(order), storage.numbers, places[storage.key])

    return _arrays(tensors, load)


def _arrays(tensors: Mapping[str, _Tensor], load: Callable[[_Storage], np.ndarray]) -> dict[str, np.ndarray]:
    loaded: dict[_Storage, np.ndarray] = {}
    found = {}
    for name, tensor in tensors.items():
        storage = tensor.storage
        if storage not in loaded:
            loaded[storage] = load(storage)
        flat = loaded[storage][tensor.offset :]
        steps = tuple(stride * flat.itemsize for stride in tensor.strides)
        view = np.lib.stride_tricks.as_strided(flat, tensor.shape, steps, writeable=False)
        if _TYPES[storage.type.name] == "bfloat16":  # the upper half of a float32
            found[name] = (view.astype(np.uint32) << np.uint32(16)).view(np.float32)
        else:
            found[name] = np.array(view, view.dtype.newbyteorder("="), order="C")
    return found


def _tensors(value: Any) -> dict[str, _Tensor]:
    """What was unpickled, if it is a tensor for every name."""
    if not isinstance(value, dict):
        raise TorchFileError(f"it holds no state dict, which has a tensor for every name, but {_kind(value)}")
    if not all(isinstance(name, str) and isinstance(one, _Tensor) for name, one in value.items()):
        raise TorchFileError(
            "it holds no state dict, which has a tensor for every name; it has the keys "
            + ", ".join(map(str, list(value)[:5]))
        )
    return dict(value)


def _kind(value: Any) -> str:
    return "a tensor" if isinstance(value, _Tensor) else f"a {type(value).__name__}"


def _unpickle(stream: io.BytesIO) -> Any:
    """The next pickle of a stream."""
    return _Unpickler(stream).load()


class _Unpickler(pickle.Unpickler):
    """Knows what state dicts are made of, and finds nothing else."""

    def __init__(self, stream: io.BytesIO):
        super().__init__(stream, encoding="utf-8")

        # Anew for each file: a pickle may set attributes of what it is given.
        def rebuild_tensor(*args: Any) -> _Tensor:
            return _rebuilt(*args[:4])

        def rebuild_parameter(data: Any, *_: Any) -> Any:
            return data

        self._known = {
            ("collections", "OrderedDict"): collections.OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): rebuild_tensor,
            ("torch._utils", "_rebuild_parameter"): rebuild_parameter,
        }

    def find_class(self, module: str, name: str) -> Any:
        """What a name stands for; the pickle machine asks here for every name, and has no other way to one."""
        if module == "torch" and name in _TYPES:
            return _Type(name)
        if (module, name) not in self._known:
            raise TorchFileError(
                f"it names {f'{module}.{name}'!r}, which is no part of a state dict; nothing in it was run"
            )
        return self._known[module, name]

    def persistent_load(self, pid: Any) -> _Storage:
        """The storage that an entry stands for."""
        match pid:
            case ("storage", _Type() as kind, str(key), _, int(count), *rest) if count >= 0 and rest in (
                [],
                [None],
            ):
                return _Storage(kind, key, count)
        raise TorchFileError("an entry of it is no storage of a known type of numbers")


def _rebuilt(storage: Any, offset: Any, shape: Any, strides: Any) -> _Tensor:
    """A view of a storage, if it lies in it."""
    numbers = (offset, *shape, *strides)
    fine = isinstance(storage, _Storage) and len(shape) == len(strides)
    if not fine or not all(type(number) is int and number >= 0 for number in numbers):
        raise TorchFileError("a tensor of it has no storage, or no shape")
    size = math.prod(shape)
    last = offset + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))
    if size and (last >= storage.numbers or size > storage.numbers):
        raise TorchFileError(
            f"a tensor of shape {list(shape)} does not lie in its storage of {storage.numbers} numbers"
        )
    return _Tensor(storage, offset if size else 0, tuple(shape), tuple(strides))
