"""What of a data set was found and is not used: it is counted, so that nothing vanishes without a word."""

import dataclasses
from collections import Counter
from collections.abc import Mapping
from typing import Any

_SHOWN = 6
_READERS = {
    ".heic": "pip install -e '.[heic]' reads .heic",
    ".heif": "pip install -e '.[heic]' reads .heif",
    ".hif": "pip install -e '.[heic]' reads .hif",
    ".avif": "a Pillow that is built with AVIF reads .avif",
}


@dataclasses.dataclass(frozen=True)
class Ignored:
    """What a source left out, beside bad records (`Source.skipped`).

    Attributes:
        files: number of files that are not read, by their suffix ("no suffix" without one); "hidden" files and folders,
            "broken link" and "link to a folder above it" are kinds, too.
        folders: folders in the place of a class that have no image in them.
        arrays: names of arrays of a file that are not used.
        animated: number of files with several frames, of which the first is used.

    Example:
        >>> from genjax import data
        >>> str(data.Ignored({".txt": 2}) | data.Ignored({".txt": 1, ".md": 2}, folders=("empty",)))
        '5 files ignored (3 .txt, 2 .md); 1 folder without an image (empty)'
    """

    files: Mapping[str, int] = dataclasses.field(default_factory=dict)
    folders: tuple[str, ...] = ()
    arrays: tuple[str, ...] = ()
    animated: int = 0

    def __or__(self, other: "Ignored") -> "Ignored":
        """What two sources together left out."""
        return Ignored(
            Counter(self.files) + Counter(other.files),
            (*self.folders, *other.folders),
            (*self.arrays, *other.arrays),
            self.animated + other.animated,
        )

    def __str__(self) -> str:
        """In words, such as "5 files ignored (3 .heic, 2 .txt)"; "" if there is nothing."""
        kinds = sorted(self.files, key=lambda kind: (-self.files[kind], kind))
        hints = list(dict.fromkeys(_READERS[kind] for kind in kinds if kind in _READERS))
        parts = [
            _counted("file", sum(self.files.values()), "ignored", [f"{self.files[k]} {k}" for k in kinds]),
            *hints,
            _counted("folder", len(self.folders), "without an image", self.folders),
            _counted("array", len(self.arrays), "ignored", self.arrays),
            _counted("file", self.animated, "with several frames, of which the first is used", ()),
        ]
        return "; ".join(part for part in parts if part)


NOTHING = Ignored()
"""What most sources leave out."""


def ignored(source: Any) -> Ignored:
    """What a source left out; sources that leave nothing out need not say so.

    Example:
        >>> from genjax import data
        >>> data.ignored(data.digits("test"))  # nothing
        Ignored(files={}, folders=(), arrays=(), animated=0)
    """
    return getattr(source, "ignored", NOTHING)


def _counted(what: str, number: int, happened: str, names: Any) -> str:
    if not number:
        return ""
    shown = [*names[:_SHOWN], *["..."] * (len(names) > _SHOWN)]
    listed = f" ({', '.join(shown)})" if shown else ""
    return f"{number:,} {what}{'' if number == 1 else 's'} {happened}{listed}"
