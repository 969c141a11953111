"""The metadata that a finished unit must have, and the manifest of all units of a record."""

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
# An absolute path, at the start of a text or after a blank, a quote or a similar sign.
_PATH = re.compile(r"""(?:^|[\s'"`=<>(:,;\[])(?:/\w|~[/\\]|[A-Za-z]:[/\\](?!/)|\\\\\w|file:/)""")


def projection(
    shards: Mapping[Path, tuple[Arrays, Mapping[str, Any]]], expected: Sequence[str] | None
) -> dict[str, Any]:
    """The manifest of `shards`, which maps the path of each shard to its arrays and metadata.

    expected: the names of all units of the profile, or None. Raises `RecordError` as `check_alike`.
    """
    check_alike({path: meta for path, (_, meta) in shards.items()})
    units = {meta["unit"]: meta for _, meta in shards.values()}
    first = next(iter(units.values()))
    # A field that is the same in all units stands once. One that differs stands with each unit.
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
    """The precision of matrix products: "float32", or the setting and platform, "… on gpu".

    A CPU computes products in float32 whatever the setting is. None where an older shard from
    another device does not name its precision.

    Example:
        >>> from igrlib.experiments.records import precision_of
        >>> precision_of({"precision": "default", "device": {"platform": "gpu"}})
        'default on gpu'
    """
    asked, platform = provenance.get("precision"), provenance["device"].get("platform")
    if platform == "cpu" or asked in ("highest", "float32"):
        return "float32"
    return f"{asked} on {platform}" if asked and platform else None


def check_alike(metas: Mapping[Path, Mapping[str, Any]]) -> None:
    """Raise `RecordError` where two shards cannot belong to one record.

    All shards must have one experiment and one profile. All shards of an arm must have one data
    set, one config and, where it is known, one precision. The arm of a unit is the `name` in its
    configuration. Data sets of the same name must be the same.
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
                    ". One record holds one run: move one of the two into another folder."
                )


def checked_unit(name: Any) -> str:
    """The name of a unit, if it can name a file on every system.

    Raises `TypeError` or `ValueError` for another name.
    """
    _check_name("the name of a unit", name, signs="._=+-")
    return name


def checked_meta(unit: str, meta: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata of a unit as JSON returns them, if they match `_META`.

    Raises `TypeError` or `ValueError`, which name the entry, where they do not.
    """
    checked_unit(unit)
    checked = checked_json("meta", meta)
    _check("meta", checked, _META)
    if checked["unit"] != unit:
        raise ValueError(f"meta['unit'] must be the unit's name {unit!r}, got {checked['unit']!r}")
    check_no_path("meta", checked)
    return checked


def check_no_path(where: str, value: Any) -> None:
    """Raise `ValueError` where a text or key holds a path: records are published."""
    if isinstance(value, str) and _PATH.search(value):
        raise ValueError(f"{where} must hold no path of a machine, got {value!r}: leave it out")
    if isinstance(value, dict):
        for key, item in value.items():
            check_no_path(f"a key of {where}", key)
            check_no_path(f"{where}[{key!r}]", item)
    if isinstance(value, list):
        for i, item in enumerate(value):
            check_no_path(f"{where}[{i}]", item)


def _label(where: str, value: Any) -> None:
    # The name of a changed profile holds its changed fields and their values.
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


# A dict lists its keys. [x] stands for a list of x, {str: x} for any keys. Types and functions
# check a value.
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
    # Python takes True for an int; a record does not.
    if isinstance(value, bool) or not isinstance(value, kind):
        wanted = kind.__name__ if isinstance(kind, type) else str(kind).replace(" | ", " or ")
        raise TypeError(f"{where} must be {wanted}, got {value!r}")


def _check_name(where: str, name: Any, *, signs: str) -> None:
    """Refuse other signs than `signs`: pages show names as they are, so no markup may pass."""
    _check_kind(where, name, str)
    if not re.fullmatch(rf"[A-Za-z0-9][A-Za-z0-9{signs}]{{0,99}}", name):
        raise ValueError(
            f"{where} must be 1 to 100 letters, digits and {' '.join(signs)}, starting with a"
            f" letter or digit, got {name!r}"
        )
