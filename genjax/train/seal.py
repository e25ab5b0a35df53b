"""The seal of a folder: the digests of its files, written last. Without it the folder was not finished."""

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from etils import epath

from genjax.train import files
from genjax.typing import UserError

SEAL = "SHA256SUMS"
_CHUNK_BYTES = 1 << 22


def seal(directory: epath.Path) -> None:
    """Seals a folder, from whose files nothing is missing."""
    text = "".join(f"{digest}  {name}\n" for name, digest in _digests(directory).items())
    files.write_bytes(directory / SEAL, text.encode())


def defect(directory: epath.Path) -> str | None:
    """Why a folder cannot be used, or None."""
    seal = directory / SEAL
    if not seal.exists():
        return f"it was not finished: {SEAL} is missing"
    try:
        lines = files.read_bytes(seal).decode("utf-8", errors="replace").splitlines()
        found = _digests(directory)
    except (OSError, UserError) as error:
        return str(error)
    expected = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    expected = {name: d for name, d in expected.items() if not any(map(files.is_litter, name.split("/")))}
    missing, unknown = sorted(expected.keys() - found.keys()), sorted(found.keys() - expected.keys())
    changed = [name for name in sorted(expected.keys() & found.keys()) if expected[name] != found[name]]
    defects = {"missing": missing, "not listed in " + SEAL: unknown, "truncated or corrupt": changed}
    reasons = [f"{', '.join(names)} {defect}" for defect, names in defects.items() if names]
    return "; ".join(reasons) or (None if found else "it is empty")


def digest(directory: epath.Path) -> str:
    """SHA-256 of a folder's seal, in hexadecimal digits: other content has another one."""
    return hashlib.sha256((directory / SEAL).read_bytes()).hexdigest()


def _digests(directory: epath.Path) -> dict[str, str]:
    """sha256 of every file under `directory` but the seal itself, by relative path."""
    names = sorted(name for name in _files(directory) if not name.startswith(SEAL))
    with ThreadPoolExecutor(max_workers=8) as pool:
        return dict(zip(names, pool.map(lambda name: _sha256(directory / name), names), strict=True))


def _files(directory: epath.Path, prefix: str = "") -> Iterator[str]:
    for path in directory.iterdir():
        if files.is_litter(path.name):
            continue
        if path.is_dir():
            yield from _files(path, f"{prefix}{path.name}/")
        else:
            yield prefix + path.name


def _sha256(path: epath.Path) -> str:
    digest = hashlib.sha256()
    files.check_is_file(path)
    with files.naming(path), path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
