"""Weights of networks that measure: read from a local file whose digest is known."""

import hashlib
import io
import os
import pathlib
from collections.abc import Mapping

import numpy as np
import safetensors
import safetensors.numpy

from genjax.typing import UserError

# The zip archive of today, and the three pickles (the first of them a number) of before PyTorch 1.6. Told by their
# first bytes, not by the name: a download that failed is often a web page under the right name.
_PYTORCH = b"PK\x03\x04", b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."


def read(path: str | os.PathLike[str], sha256: str | None) -> tuple[str, dict[str, np.ndarray]]:
    """Digest and arrays of a safetensors file, or of a PyTorch checkpoint (.pth, .pt).

    A checkpoint is read by PyTorch, which has to be installed, in the way that builds tensors and runs no code of
    the file.

    Args:
        path: path of the file.
        sha256: hexadecimal digest the file must have; None accepts any (weights of your own).

    Returns:
        The file's digest, and its arrays by name.

    Raises:
        UserError: if there is no such file, its digest is another one, it is of another format, it is a checkpoint
            of something else than named tensors, or PyTorch is needed and missing.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise UserError(f"path is {str(path)!r}: no such weights file")
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if sha256 not in (None, digest):
        raise UserError(
            f"path is {str(path)!r}, whose SHA-256 is {digest} where {sha256} is expected: the file is "
            "damaged or holds other weights, and numbers computed with it could not be compared with any "
            "other. Restore the file, or pass sha256=None to use weights of your own"
        )
    if content.startswith(_PYTORCH):
        return digest, _pytorch(path, content)
    try:
        return digest, safetensors.numpy.load(content)
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
        if not name.endswith(".num_batches_tracked")
    }
    wrong = sorted(n for n in expected.keys() | found.keys() if expected.get(n) != found.get(n))
    if wrong:
        more = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        raise UserError(
            f"path is {str(path)!r}: not weights of {what}; these arrays differ: {', '.join(wrong[:5])}{more}"
        )


def _pytorch(path: pathlib.Path, content: bytes) -> dict[str, np.ndarray]:
    """The arrays of a state dict."""
    try:
        import torch
    except ImportError as error:
        raise UserError(
            f"path is {str(path)!r}: a checkpoint of PyTorch, which is needed to read it: pip install torch, or "
            "convert the file to safetensors (safetensors.torch.save_file) where PyTorch is installed"
        ) from error
    try:
        # weights_only: an unpickler that knows tensors and containers and refuses everything else.
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises whatever its parts raise
        # Not its message, which recommends to try again and run the code.
        raise UserError(
            f"path is {str(path)!r}: not a state dict of PyTorch. The file is damaged, or a model (TorchScript, or "
            "pickled with its code) and not only its weights; nothing in it was run"
        ) from error
    if not isinstance(state, Mapping) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        found = (
            f"the keys {', '.join(map(str, list(state)[:5]))}" if isinstance(state, Mapping) else type(state)
        )
        raise UserError(
            f"path is {str(path)!r}: a checkpoint of PyTorch, but not a state dict, which holds a tensor for every "
            f"name; it has {found}"
        )
    # numpy has no bfloat16.
    half = torch.bfloat16
    return {k: (v.float() if v.dtype == half else v).detach().numpy() for k, v in state.items()}
