"""What a run writes down of its data, and in what other data differ from it."""

from collections.abc import Mapping, Sequence
from typing import Any

from genjax.app.config import DataConfig
from genjax.data import Source, digest
from genjax.data.digest import differences as digest_differences

ROLES = ("train", "test")
"""What the splits of a run are for."""
_LONGEST = 60


def splits(config: DataConfig, roles: Sequence[str] = ROLES) -> dict[str, str]:
    """The names of the splits of a run, by what they are for."""
    return {role: getattr(config, f"{role}_split") for role in roles}


def of_split(role: str, source: Source) -> dict[str, Any]:
    """What is to be known of a split once it is gone: number of records, of bad ones, and the digest."""
    found = {f"{role}_records": len(source), f"{role}_skipped": len(source.skipped)}
    known = digest(source)
    return {**found, f"{role}_digest": dict(known)} if known else found


def has_digests(facts: Mapping[str, Any], roles: Sequence[str] = ROLES) -> bool:
    """Whether facts say what the data was; facts of older versions have numbers and shapes only."""
    return all(facts.get(f"{role}_digest") for role in roles)


def of_contents(before: Mapping[str, Any], now: Mapping[str, Any], splits: Mapping[str, str]) -> list[str]:
    """Lines: in what the digests differ, where both are known.

    Args:
        before: facts of the run.
        now: facts of what is read now.
        splits: the name of the split of each role that is compared.
    """
    lines = []
    for role, split in splits.items():
        old, new = (facts.get(f"{role}_digest", {}) for facts in (before, now))
        if found := digest_differences(old, new):
            lines.append(f"the data of split {split!r} differs in: {', '.join(found)}")
    return lines


def of_numbers(before: Mapping[str, Any], now: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    """Lines: which of the facts `names` differ, where both are known; "fields" are shapes and classes."""
    lines = [
        f"data.{name}: {before[name]!r} before, {now[name]!r} now"
        for name in names
        if name != "fields" and {name} <= before.keys() & now.keys() and before[name] != now[name]
    ]
    return [*lines, *(_of_fields(before["fields"], now["fields"]) if "fields" in names else ())]


def _of_fields(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    lines = []
    for field in sorted(before.keys() | now.keys()):
        old, new = before.get(field), now.get(field)
        if old is None or new is None:
            lines.append(f"data.fields: {field!r} is {'new' if old is None else 'missing'} now")
            continue
        lines += [
            f"data.fields.{field}.{name}: {_short(old[name])} before, {_short(new[name])} now"
            for name in old
            if old[name] != new[name]
        ]
    return lines


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
