"""What the metadata of a finished unit must say."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from igrlib.experiments.storage.npz import checked_json

__all__ = ["check_no_path", "checked_meta", "checked_unit"]

_KINDS: dict[str, type | tuple[type, ...]] = {
    "experiment": str,
    "profile": str,
    "unit": str,
    "dataset": dict,
    "config": dict,
    "unit_config": dict,
    "seeds": list,
    "seconds": (int, float),
    "provenance": dict,
    "diverged": list,
    "marks": dict,
}
_DATASET = {"name": str, "fingerprint": str, "sizes": dict}
_DIVERGED = {"member": int, "step": int}
_PROVENANCE = {
    "versions": dict,
    "device": dict,
    "cpus": (int, type(None)),
    "commit": (dict, type(None)),
}
_SINCE = {"precision": str, "xla_flags": list}
"""Parts of the provenance that older shards do not have."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=+-]{0,99}")
# Those of profiles tell changed fields, and with them several values.
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=+,-]{0,99}")
_HASH = re.compile(r"[0-9a-f]{4,64}")
_MOST_SECONDS = 1e10  # Three centuries.
# An absolute path, at the start of a text or after a blank, a quote or the like.
_PATH = re.compile(r"""(?:^|[\s'"`=<>(:,;\[])(?:/\w|~[/\\]|[A-Za-z]:[/\\](?!/)|\\\\\w|file:/)""")


def checked_unit(name: Any) -> str:
    """The name of a unit, which names its file too, on every system."""
    if not isinstance(name, str):
        raise TypeError(f"the name of a unit must be str, got {name!r}")
    if not _NAME.fullmatch(name):
        raise ValueError(
            "the name of a unit must be at most 100 letters, digits and . _ = + -, starting with"
            f" a letter or digit, got {name!r}"
        )
    return name


def checked_meta(unit: str, meta: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata as JSON gives them back, if they are all there and of the right kind."""
    checked_unit(unit)
    checked = checked_json("meta", meta)
    _check_keys("meta", checked, _KINDS)
    if checked["unit"] != unit:
        raise ValueError(f"meta['unit'] must be the unit's name {unit!r}, got {checked['unit']!r}")
    for field in ("experiment", "profile"):
        if not checked[field]:
            raise ValueError(f"meta[{field!r}] must not be empty")
        _check_label(f"meta[{field!r}]", checked[field])
    _check_keys("meta['dataset']", checked["dataset"], _DATASET)
    _check_label("meta['dataset']['name']", checked["dataset"]["name"])
    for split, size in checked["dataset"]["sizes"].items():
        _check_count(f"meta['dataset']['sizes'][{split!r}]", size)
    for i, seed in enumerate(checked["seeds"]):
        _check_kind(f"meta['seeds'][{i}]", seed, int)
    if checked["seconds"] < 0:
        raise ValueError(f"meta['seconds'] must be at least 0, got {checked['seconds']}")
    if checked["seconds"] > _MOST_SECONDS:
        raise ValueError(f"meta['seconds'] must be at most {_MOST_SECONDS:g}")
    origin = checked["provenance"]
    newer = {key: kind for key, kind in _SINCE.items() if key in origin}
    _check_keys("meta['provenance']", origin, _PROVENANCE | newer)
    commit = (origin["commit"] or {}).get("hash", "0000")
    if not (isinstance(commit, str) and _HASH.fullmatch(commit)):
        raise ValueError(f"the hash of meta's commit must be hexadecimal digits, got {commit!r}")
    for i, entry in enumerate(checked["diverged"]):
        _check_keys(f"meta['diverged'][{i}]", entry, _DIVERGED)
        for key, count in entry.items():
            _check_count(f"meta['diverged'][{i}][{key!r}]", count)
    for where, text in _texts("meta", checked):
        check_no_path(where, text)
    return checked


def _check_label(where: str, text: str) -> None:
    """Pages show them as they are: no markup."""
    if not _LABEL.fullmatch(text):
        raise ValueError(
            f"{where} must be at most 100 letters, digits and . _ = + , -, starting with a letter"
            f" or digit, got {text!r}"
        )


def check_no_path(where: str, text: str) -> None:
    """Records are published: what they say must not tell whose machine made them."""
    if _PATH.search(text):
        raise ValueError(f"{where} must hold no path of a machine, got {text!r}")


def _check_keys(where: str, value: Any, kinds: Mapping[str, type | tuple[type, ...]]) -> None:
    _check_kind(where, value, dict)
    if missing := sorted(kinds.keys() - value.keys()):
        raise ValueError(f"{where} must have the key {missing[0]!r}, got {sorted(value)}")
    if unknown := sorted(value.keys() - kinds.keys()):
        raise ValueError(f"{where} must have the keys {sorted(kinds)}, got {unknown[0]!r} too")
    for key, kind in kinds.items():
        _check_kind(f"{where}[{key!r}]", value[key], kind)


def _check_kind(where: str, value: Any, kind: type | tuple[type, ...]) -> None:
    # True is an int for Python, never for a record.
    if isinstance(value, bool) or not isinstance(value, kind):
        kinds = kind if isinstance(kind, tuple) else (kind,)
        wanted = " or ".join("None" if k is type(None) else k.__name__ for k in kinds)
        raise TypeError(f"{where} must be {wanted}, got {value!r}")


def _check_count(where: str, value: Any) -> None:
    _check_kind(where, value, int)
    if value < 0:
        raise ValueError(f"{where} must be at least 0, got {value}")


def _texts(where: str, value: Any) -> Iterator[tuple[str, str]]:
    """Every text in a JSON value, keys included, and where it stands."""
    if isinstance(value, str):
        yield where, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield f"a key of {where}", key
            yield from _texts(f"{where}[{key!r}]", item)
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from _texts(f"{where}[{i}]", item)
