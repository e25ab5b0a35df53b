"""Weights of networks that measure: read from a local file whose digest is known."""

import hashlib
import os
import pathlib
from collections.abc import Mapping

import numpy as np
import safetensors
import safetensors.numpy

from genjax.metrics import torch_file
from genjax.typing import UserError

_COUNTER = ".num_batches_tracked"


def read(
    path: str | os.PathLike[str], sha256: str | None, contents: str | None = None
) -> tuple[str, dict[str, np.ndarray]]:
    """Digest and arrays of a safetensors file, or of a PyTorch checkpoint (.pth, .pt), without PyTorch.

    Nothing in the file is run, see `genjax.metrics.torch_file`. Which it is, its first bytes say, and not its name: a
    download that failed is often a web page under the right name.

    Args:
        path: path of the file.
        sha256: hexadecimal digest the file must have; None accepts any (weights of your own).
        contents: `digest` of the arrays of that file. Another file with the same arrays, such as one that was
            converted to safetensors, is then as good, and has the digest `sha256`: its numbers are the same.

    Returns:
        The file's digest, and its arrays by name, with their shapes.

    Raises:
        UserError: if there is no such file, its digest is another one, it is of another format, or it is a checkpoint
            of something else than named tensors.
    """
    path = pathlib.Path(path).expanduser()
    if not path.is_file():
        raise UserError(f"path is {str(path)!r}: no such weights file")
    content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if sha256 in (None, found):
        return found, _arrays(path, content)
    if contents is not None and _is_known(content):
        arrays = _arrays(path, content)
        if digest(arrays) == contents:
            return sha256 or found, arrays
    raise UserError(
        f"path is {str(path)!r}, whose SHA-256 is {found} where {sha256} is expected: the file is "
        "damaged or holds other weights, and numbers computed with it could not be compared with any "
        "other. Restore the file, or pass sha256=None to use weights of your own"
    )


def digest(arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 of arrays by name, whatever file they lie in: of their names, types, shapes and values.

    Batch normalisation's counters of steps, ``num_batches_tracked``, are left out: nothing depends on them.
    """
    found = hashlib.sha256()
    for name in sorted(name for name in arrays if not name.endswith(_COUNTER)):
        array = np.asarray(arrays[name], order="C")
        array = array.astype(array.dtype.newbyteorder("<"), copy=False)
        found.update(f"{name} {array.dtype.str} {list(array.shape)}\n".encode())
        found.update(array.tobytes())
    return found.hexdigest()


def _is_known(content: bytes) -> bool:
    """Whether it may be a file of arrays: a safetensors file begins with the length of its header."""
    return content.startswith((torch_file.ZIP, torch_file.ROW)) or content[8:9] == b"{"


def _arrays(path: pathlib.Path, content: bytes) -> dict[str, np.ndarray]:
    try:
        if content.startswith((torch_file.ZIP, torch_file.ROW)):
            return torch_file.read(content)
        return safetensors.numpy.load(content)
    except torch_file.TorchFileError as error:
        raise UserError(
            f"path is {str(path)!r}: not a state dict of PyTorch: {error}. Of a model (TorchScript, or pickled with "
            "its code) only its weights are read: save model.state_dict()"
        ) from error
    except safetensors.SafetensorError as error:
        raise UserError(
            f"path is {str(path)!r}: not a safetensors file ({error}), nor a checkpoint of PyTorch; it begins with "
            f"{content[:16]!r}"
        ) from error


def check_arrays(
    path: str | os.PathLike[str],
    arrays: Mapping[str, np.ndarray],
    expected: Mapping[str, tuple[int, ...]],
    what: str,
) -> None:
    """Compares the arrays of a file with the arrays of a network.

    Batch normalisation's counters of steps, ``num_batches_tracked``, may be there or not: nothing depends on them.

    Args:
        path: path of the file.
        arrays: what is in it.
        expected: names and shapes.
        what: what the weights are of.

    Raises:
        UserError: if names or shapes differ, or an array is not of floating-point numbers; names the arrays.
    """
    found = {
        name: array.shape if array.dtype.kind == "f" else array.dtype
        for name, array in arrays.items()
        if not name.endswith(_COUNTER)
    }
    wrong = sorted(n for n in expected.keys() | found.keys() if expected.get(n) != found.get(n))
    if wrong:
        more = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        raise UserError(
            f"path is {str(path)!r}: not weights of {what}; these arrays differ: {', '.join(wrong[:5])}{more}"
        )
