"""What the metadata of a finished unit must say, and what a manifest says of all its units."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Any

from igrlib.experiments.storage.npz import Arrays, RecordError, checked_json, difference, digest

__all__ = [
    "check_alike",
    "check_no_path",
    "checked_meta",
    "checked_unit",
    "precision_of",
    "projection",
]

_COMMON = ("experiment", "profile")
_OF_ARM = ("dataset", "config")
_OWN = ("unit_config", "seeds", "seconds", "diverged", "marks")
# An absolute path, at the start of a text or after a blank, a quote or the like.
_PATH = re.compile(r"""(?:^|[\s'"`=<>(:,;\[])(?:/\w|~[/\\]|[A-Za-z]:[/\\](?!/)|\\\\\w|file:/)""")


def projection(
    shards: Mapping[Path, tuple[Arrays, Mapping[str, Any]]], expected: Sequence[str] | None
) -> dict[str, Any]:
    """The manifest of shards, with the arrays and metadata of each by path."""
    check_alike({path: meta for path, (_, meta) in shards.items()})
    units = {meta["unit"]: meta for _, meta in shards.values()}
    first = next(iter(units.values()))
    # What all units have in common stands once; what differs between arms, with each unit.
    shared = [f for f in _OF_ARM if all(meta[f] == first[f] for meta in units.values())]
    own = (*_OWN, *(field for field in _OF_ARM if field not in shared))
    origins: dict[str, dict[str, Any]] = {}
    for name in sorted(units):
        origin = units[name]["provenance"]
        key = json.dumps(origin, sort_keys=True)
        origins.setdefault(key, {**origin, "units": []})["units"].append(name)
    return {
        **{field: first[field] for field in (*_COMMON, *shared)},
        "units": {
            meta["unit"]: {field: meta[field] for field in own} | {"sha256": digest(arrays, meta)}
            for arrays, meta in shards.values()
        },
        "seeds": sorted({seed for meta in units.values() for seed in meta["seeds"]}),
        "seconds": math.fsum(meta["seconds"] for meta in units.values()),
        "provenance": [origins[key] for key in sorted(origins)],
        "expected": None if expected is None else list(expected),
        "missing": None if expected is None else [name for name in expected if name not in units],
    }


def precision_of(provenance: Mapping[str, Any]) -> str | None:
    """In what products of matrices were computed: "float32", or what was asked of which platform.

    A CPU computes them in float32, whatever it is asked for. None where an older shard of another
    device does not say.
    """
    asked, platform = provenance.get("precision"), provenance["device"].get("platform")
    if platform == "cpu" or asked in ("highest", "float32"):
        return "float32"
    return f"{asked} on {platform}" if asked and platform else None


def check_alike(metas: Mapping[Path, Mapping[str, Any]]) -> None:
    """All shards of a record share experiment and profile; those of an arm what makes it one.

    That is data set, config and, where it is known, precision. The arm of a unit is the `name` in
    its configuration. Data sets of one name are one.
    """
    seen: dict[tuple[str, ...], tuple[Path, Any]] = {}
    for path, meta in metas.items():
        arm, dataset = meta["unit_config"].get("name"), meta["dataset"]
        facts = {
            ("experiment",): meta["experiment"],
            ("profile",): meta["profile"],
            ("dataset", "of arm", arm): dataset,
            ("config", "of arm", arm): meta["config"],
            ("dataset", "of name", dataset["name"]): dataset,
        }
        if precision := precision_of(meta["provenance"]):
            facts["precision", "of arm", arm] = precision
        for fact, value in facts.items():
            first, wanted = seen.setdefault(fact, (path, value))
            if value != wanted:
                where, one, other = difference(fact[0], wanted, value)
                raise RecordError(
                    f"{first} and {path} differ in {where} ({one!r} and {other!r})"
                    ". One record holds one run: put one of them into another folder."
                )


def checked_unit(name: Any) -> str:
    """The name of a unit, which names its file too, on every system."""
    _check_name("the name of a unit", name, signs="._=+-")
    return name


def checked_meta(unit: str, meta: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata of a unit as they come back from JSON, if they are what `_META` describes."""
    checked_unit(unit)
    checked = checked_json("meta", meta)
    _check("meta", checked, _META)
    if checked["unit"] != unit:
        raise ValueError(f"meta['unit'] must be the unit's name {unit!r}, got {checked['unit']!r}")
    check_no_path("meta", checked)
    return checked


def check_no_path(where: str, value: Any) -> None:
    """Records are published: no text or key in them may tell whose machine made them."""
    if isinstance(value, str) and _PATH.search(value):
        raise ValueError(f"{where} must hold no path of a machine, got {value!r}")
    if isinstance(value, dict):
        for key, item in value.items():
            check_no_path(f"a key of {where}", key)
            check_no_path(f"{where}[{key!r}]", item)
    if isinstance(value, list):
        for i, item in enumerate(value):
            check_no_path(f"{where}[{i}]", item)


def _label(where: str, value: Any) -> None:
    # A profile with changed fields names them, and several values of a field.
    _check_name(where, value, signs="._=+,-")


def _count(where: str, value: Any) -> None:
    _check_kind(where, value, int)
    if value < 0:
        raise ValueError(f"{where} must be at least 0, got {value}")


def _seconds(where: str, value: Any) -> None:
    _check_kind(where, value, int | float)
    if not 0 <= value <= 1e10:  # Three centuries.
        raise ValueError(f"{where} must be between 0 and 1e10, got {value!r:.20}")


def _commit(where: str, value: Any) -> None:
    _check_kind(where, value, dict | None)
    revision = (value or {}).get("hash", "0000")
    if not (isinstance(revision, str) and re.fullmatch("[0-9a-f]{4,64}", revision)):
        raise ValueError(f"{where}['hash'] must be 4 to 64 hexadecimal digits, got {revision!r}")


# A dict lists its keys, [x] is a list of x, {str: x} has any keys; a type or a function checks.
_META = {
    "experiment": _label,
    "profile": _label,
    "unit": str,
    "dataset": {"name": _label, "fingerprint": str, "sizes": {str: _count}},
    "config": dict,
    "unit_config": dict,
    "seeds": [int],
    "seconds": _seconds,
    "provenance": {
        "versions": dict,
        "device": dict,
        "cpus": int | None,
        "commit": _commit,
        "precision": str,
        "xla_flags": list,
    },
    "diverged": [{"member": _count, "step": _count}],
    "marks": dict,
}
_SINCE = {"precision", "xla_flags"}  # Older shards do not have these keys.


def _check(where: str, value: Any, wanted: Any) -> None:
    if isinstance(wanted, dict):
        _check_kind(where, value, dict)
        if str in wanted:
            wanted = dict.fromkeys(value, wanted[str])
        if missing := sorted(wanted.keys() - value.keys() - _SINCE):
            raise ValueError(f"{where} must have the key {missing[0]!r}, got {sorted(value)}")
        if unknown := sorted(value.keys() - wanted.keys()):
            raise ValueError(f"{where} must have the keys {sorted(wanted)}, got {unknown[0]!r} too")
        for key, item in value.items():
            _check(f"{where}[{key!r}]", item, wanted[key])
    elif isinstance(wanted, list):
        _check_kind(where, value, list)
        for i, item in enumerate(value):
            _check(f"{where}[{i}]", item, wanted[0])
    elif isinstance(wanted, (type, UnionType)):
        _check_kind(where, value, wanted)
    else:
        wanted(where, value)


def _check_kind(where: str, value: Any, kind: type | UnionType) -> None:
    # True is an int for Python, never for a record.
    if isinstance(value, bool) or not isinstance(value, kind):
        wanted = kind.__name__ if isinstance(kind, type) else str(kind).replace(" | ", " or ")
        raise TypeError(f"{where} must be {wanted}, got {value!r}")


def _check_name(where: str, name: Any, *, signs: str) -> None:
    """Pages show names as they are: no markup."""
    _check_kind(where, name, str)
    if not re.fullmatch(rf"[A-Za-z0-9][A-Za-z0-9{signs}]{{0,99}}", name):
        raise ValueError(
            f"{where} must be 1 to 100 letters, digits and {' '.join(signs)}, starting with a"
            f" letter or digit, got {name!r}"
        )
