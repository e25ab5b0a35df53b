"""Weights of networks that measure: read from a local file whose digest is known."""

import hashlib
import os
import pathlib

import numpy as np
import safetensors
import safetensors.numpy

from genjax.typing import UserError


def read(path: str | os.PathLike[str], sha256: str | None) -> tuple[str, dict[str, np.ndarray]]:
    """Digest and arrays of a safetensors file.

    Args:
        path: of the file.
        sha256: hexadecimal digest the file must have; None accepts any (weights of your own).

    Returns:
        The file's digest, and its arrays by name.

    Raises:
        UserError: if there is no such file, its digest is another one, or it is of another format.
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
    try:
        return digest, safetensors.numpy.load(content)
    except safetensors.SafetensorError as error:
        raise UserError(f"path is {str(path)!r}: not a safetensors file ({error})") from error
