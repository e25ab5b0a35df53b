"""Mean and covariance of a reference set's features, kept in files: ours, and those that others publish.

A file of ours also holds the number of images, so that more can be merged, how the features were made, and a digest.
Files of others hold ``mu`` and ``sigma``, and say neither of how many images these are nor how those were prepared. Who
reads one may say so; what nobody says is "unknown", and is so in the protocol of every number measured with it, which
can be compared with no number whose protocol is known::

    flowers = Reference.of(moments(features), extractor="inception@6f3a", resize="none", images="flowers/test")
    save("flowers.npz", flowers)
    result = fd("run 1", moments(generated), load("flowers.npz"))
"""

import dataclasses
import hashlib
import json
import os
import pathlib
import pickle
import zipfile
from typing import Any

import numpy as np
from jaxtyping import Float64

from genjax.metrics.frechet import Moments, covariance, distance, frechet_distance
from genjax.metrics.protocol import Protocol, Result
from genjax.typing import UserError

UNKNOWN = "unknown"
_FORMAT = "genjax reference statistics 1"
_RECONSTRUCT = ("numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct")
"""Names under which numpy 1 and numpy 2 pickle the function that makes an empty array."""


@dataclasses.dataclass(frozen=True, eq=False)
class Reference:
    """Statistics of a reference set, and what is known of them.

    Attributes:
        mean: float64[D].
        covariance: float64[D,D], unbiased.
        count: number of images; None: unknown.
        extractor: as in `Protocol`: "name@sha256 of its weights".
        resize: as in `Protocol`.
        images: which they are: "mnist/test".
    """

    mean: Float64[np.ndarray, "D"]
    covariance: Float64[np.ndarray, "D D"]
    count: int | None = None
    extractor: str = UNKNOWN
    resize: str = UNKNOWN
    images: str = UNKNOWN

    @classmethod
    def of(cls, m: Moments, *, extractor: str, resize: str, images: str) -> "Reference":
        """The statistics of features with these moments.

        Raises:
            UserError: for fewer than two vectors.
        """
        return cls(m.mean, covariance(m), m.count, extractor, resize, images)

    @property
    def moments(self) -> Moments:
        """For `frechet.merge` with the statistics of more images.

        Raises:
            UserError: if the number of images is unknown.
        """
        if self.count is None:
            raise UserError("count is unknown: moments need the number of images")
        return Moments(self.count, self.mean, self.covariance * (self.count - 1))

    @property
    def sha256(self) -> str:
        """Hexadecimal digest of numbers and description, the same on every machine."""
        digest = hashlib.sha256(_description(self).encode())
        for array in (self.mean, self.covariance):
            digest.update(np.ascontiguousarray(array, "<f8").tobytes())
        return digest.hexdigest()

    def protocol(self, num_samples: int) -> Protocol:
        """The protocol of a Fréchet distance between this number of generated images and this reference."""
        number = UNKNOWN if self.count is None else self.count
        reference = f"{self.images}, number of images {number}#{self.sha256[:16]}"
        return Protocol("fd", self.extractor, self.resize, num_samples, reference)


def fd(name: str, generated: Moments, reference: Reference) -> Result:
    """Fréchet distance of generated images to a reference, with its protocol.

    Args:
        name: name of what is measured.
        generated: moments of the features, computed in the same way as the reference's moments.
        reference: what they are compared with.

    Raises:
        UserError: as `frechet.distance`.

    Example:
        >>> import numpy as np
        >>> from genjax.metrics import moments
        >>> from genjax.metrics.reference_statistics import Reference, fd
        >>> features = np.array([[0.0], [2.0]])
        >>> real = Reference.of(moments(features), extractor="mine@0", resize="none", images="two/test")
        >>> result = fd("run 1", moments(features + 3), real)
        >>> print(f"{result.value:.3f}", result.protocol.num_samples)
        9.000 2
    """
    if reference.count is None:
        value = frechet_distance(generated.mean, covariance(generated), reference.mean, reference.covariance)
    else:
        value = distance(generated, reference.moments)
    return Result(name, value, reference.protocol(generated.count))


def save(path: str | os.PathLike[str], reference: Reference) -> None:
    """Writes a file for `load`, as a whole or not at all.

    Raises:
        UserError: if the path does not end in .npz, or its folder is missing.

    Example:
        >>> import numpy as np
        >>> from genjax.metrics import moments
        >>> from genjax.metrics.reference_statistics import Reference, load, save
        >>> real = Reference.of(moments(np.eye(3)), extractor="mine@0", resize="none", images="three/test")
        >>> save("three.npz", real)
        >>> load("three.npz").sha256 == real.sha256
        True
    """
    path = _npz(path)
    if not path.parent.is_dir():
        raise UserError(f"path is {str(path)!r}: there is no folder {str(path.parent)!r}")
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial.npz")
    try:
        np.savez(
            partial,
            format=_FORMAT,
            mean=reference.mean,
            covariance=reference.covariance,
            description=_description(reference),
            sha256=reference.sha256,
        )
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def load(path: str | os.PathLike[str]) -> Reference:
    """Reads a file that `save` wrote.

    Raises:
        UserError: if there is no such file, it is of another format, or its content is not what was written.

    Example:
        >>> import numpy as np
        >>> from genjax.metrics import moments
        >>> from genjax.metrics.reference_statistics import Reference, load, save
        >>> m = moments(np.array([[0.0], [2.0]]))
        >>> save("two.npz", Reference.of(m, extractor="mine@0", resize="none", images="two/test"))
        >>> load("two.npz").covariance.tolist(), load("two.npz").count
        ([[2.0]], 2)
    """
    path = _npz(path)
    arrays = _arrays(path, ("format", "mean", "covariance", "description", "sha256"))
    if str(arrays["format"]) != _FORMAT:
        raise UserError(f"path is {str(path)!r}, of format {str(arrays['format'])!r}: {_FORMAT!r} is needed")
    try:
        description = json.loads(str(arrays["description"]))
        reference = Reference(*_checked(path, arrays["mean"], arrays["covariance"]), **description)
    except (TypeError, json.JSONDecodeError) as error:
        raise UserError(f"path is {str(path)!r}: its description cannot be read ({error})") from error
    if reference.sha256 != str(arrays["sha256"]):
        raise UserError(
            f"path is {str(path)!r}: its content is not what its SHA-256 says, the file is damaged"
        )
    return reference


def load_foreign(
    path: str | os.PathLike[str],
    *,
    count: int | None = None,
    extractor: str = UNKNOWN,
    resize: str = UNKNOWN,
    images: str = UNKNOWN,
    spatial: bool = False,
) -> Reference:
    """Reads ``mu`` and ``sigma`` from a file of another code base. Nothing in it is executed.

    Known formats are the .npz files of pytorch-fid, clean-fid, EDM and ADM (guided-diffusion), and the files of
    torch-fidelity's cache, ``*-stat-fid-*.pt`` (needs torch). Files of statistics that are pickled, as EDM2's, are not
    read.

    Args:
        path: path of the file.
        count: number of images they were computed from.
        extractor: as for `Protocol`. The same name for two implementations of Inception is a mistake: they differ.
        resize: as for `Protocol`. Code bases differ in it most.
        images: which.
        spatial: in ADM's files, ``mu_s`` and ``sigma_s``: statistics of sFID's features.

    Raises:
        UserError: if there is no such file, it is of another format, its arrays are no mean and covariance, or the
            count is below 2.

    Example:
        >>> import numpy as np
        >>> from genjax.metrics.reference_statistics import load_foreign
        >>> np.savez("fid_stats.npz", mu=np.zeros(2), sigma=np.eye(2))
        >>> real = load_foreign("fid_stats.npz", extractor="inception@6726825d")
        >>> real.covariance.tolist(), real.count, real.resize
        ([[1.0, 0.0], [0.0, 1.0]], None, 'unknown')
    """
    path = pathlib.Path(path).expanduser()
    if count is not None and count < 2:
        raise UserError(f"count={count}: a covariance has at least 2 images; None if it is unknown")
    names = ("mu_s", "sigma_s") if spatial else ("mu", "sigma")
    arrays = _torch_arrays(path, names) if path.suffix.lower() == ".pt" else _arrays(_npz(path), names)
    mean, cov = _checked(path, *(arrays[name] for name in names))
    return Reference(mean, cov, count, extractor, resize, images)


def _description(reference: Reference) -> str:
    names = ("count", "extractor", "resize", "images")
    return json.dumps({name: getattr(reference, name) for name in names}, sort_keys=True, ensure_ascii=False)


def _npz(path: str | os.PathLike[str]) -> pathlib.Path:
    path = pathlib.Path(path).expanduser()
    if path.suffix.lower() != ".npz":
        raise UserError(
            f"path is {str(path)!r}: valid are .npz files, and .pt files of torch-fidelity's cache"
        )
    return path


def _arrays(path: pathlib.Path, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    _check_exists(path)
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            # One by one: ADM's files hold images too, gigabytes of them.
            return _chosen(path, file, names)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, pickle.UnpicklingError) as error:
        raise UserError(f"path is {str(path)!r}: not a .npz file of plain arrays ({error})") from error


def _torch_arrays(path: pathlib.Path, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    _check_exists(path)
    try:
        import torch
    except ImportError as error:
        raise UserError(f"path is {str(path)!r}: reading it needs torch, pip install torch") from error
    # What numpy arrays are made of, and no other global.
    kinds: list[Any] = [np.ndarray, np.dtype, type(np.dtype(np.float64)), type(np.dtype(np.float32))]
    kinds += [(np.zeros(0).__reduce__()[0], name) for name in _RECONSTRUCT]
    try:
        with torch.serialization.safe_globals(kinds):
            found = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, ValueError, EOFError, RuntimeError, pickle.UnpicklingError) as error:
        raise UserError(f"path is {str(path)!r}: not a file of arrays ({str(error)[:200]})") from error
    if not isinstance(found, dict):
        raise UserError(f"path is {str(path)!r}: it holds a {type(found).__name__}, statistics are a dict")
    return _chosen(path, found, names)


def _chosen(path: pathlib.Path, found: Any, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    missing = [name for name in names if name not in found]
    if missing:
        raise UserError(
            f"path is {str(path)!r}, with {', '.join(found)}: {' and '.join(missing)} are missing"
        )
    return {name: np.asarray(found[name]) for name in names}


def _checked(path: pathlib.Path, mean: np.ndarray, cov: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if (
        mean.ndim != 1
        or cov.shape != (len(mean), len(mean))
        or mean.dtype.kind != "f"
        or cov.dtype.kind != "f"
    ):
        raise UserError(
            f"path is {str(path)!r}: mean and covariance are {mean.dtype}{list(mean.shape)} and "
            f"{cov.dtype}{list(cov.shape)}, valid are float[D] and float[D,D]"
        )
    if not (np.isfinite(mean).all() and np.isfinite(cov).all()):
        raise UserError(f"path is {str(path)!r}: mean or covariance has a value that is not finite")
    return mean.astype(np.float64), cov.astype(np.float64)


def _check_exists(path: pathlib.Path) -> None:
    if not path.is_file():
        raise UserError(f"path is {str(path)!r}: no such file")
