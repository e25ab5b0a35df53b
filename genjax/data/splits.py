"""Names that people give to splits: "train", "Training", "test_images", "val2017"."""

import re

SPLITS = {
    "train": ("train", "training", "trn"),
    "test": ("test", "testing", "tst"),
    "val": (
        *("val", "valid", "validation", "validate", "dev", "development", "eval", "evaluation"),
        *("holdout", "heldout"),
    ),
}
"""Split -> words that name it, in lower case."""

_WORDS = {word: split for split, words in SPLITS.items() for word in words}
_PARTS = "images?|imgs?|data|dataset|sets?|split|files|photos?|pictures?"
_NAME = re.compile(rf"(?:seg|{_PARTS})?({'|'.join(sorted(_WORDS, key=len, reverse=True))})(?:{_PARTS}|\d+)*")
_DOMAIN = re.compile(r"(.+)[AB]")


def split_of(name: str) -> str | None:
    """ "train", "test" or "val", if `name` is a usual name of this split, in any case; else None."""
    found = _NAME.fullmatch(re.sub(r"[^a-z0-9]", "", name.lower()))
    return _WORDS[found[1]] if found else None


def looks_like_split(name: str) -> bool:
    """Whether `name` names a split, or one domain of a split, as "trainA" and "testB" do."""
    domain = _DOMAIN.fullmatch(name)
    return split_of(name) is not None or (domain is not None and split_of(domain[1]) is not None)
