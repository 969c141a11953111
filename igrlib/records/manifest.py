"""What a manifest says of the shards beside it, and what those must share."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from igrlib.storage.npz import RecordError, difference

__all__ = ["check_alike", "projection"]

_COMMON = ("experiment", "profile", "dataset", "config")
_OWN = ("unit_config", "seeds", "seconds", "diverged", "marks")


def projection(
    metas: Mapping[Path, Mapping[str, Any]],
    hashes: Mapping[str, str],
    expected: Sequence[str] | None,
) -> dict[str, Any]:
    """What the manifest says of shards with this metadata, and with these hashes by unit."""
    check_alike(metas)
    units = {meta["unit"]: meta for meta in metas.values()}
    first = next(iter(units.values()))
    origins: dict[str, dict[str, Any]] = {}
    for name in sorted(units):
        origin = units[name]["provenance"]
        told = origins.setdefault(json.dumps(origin, sort_keys=True), {**origin, "units": []})
        told["units"].append(name)
    return {
        **{field: first[field] for field in _COMMON},
        "units": {
            name: {field: meta[field] for field in _OWN} | {"sha256": hashes[name]}
            for name, meta in units.items()
        },
        "seeds": sorted({seed for meta in units.values() for seed in meta["seeds"]}),
        "seconds": math.fsum(meta["seconds"] for meta in units.values()),
        "provenance": [origins[key] for key in sorted(origins)],
        "expected": None if expected is None else list(expected),
        "missing": None if expected is None else [name for name in expected if name not in units],
    }


def check_alike(metas: Mapping[Path, Mapping[str, Any]]) -> None:
    """All shards of a record share experiment, profile, data set and config."""
    (first, wanted), *others = metas.items()
    for path, meta in others:
        for field in _COMMON:
            if meta[field] != wanted[field]:
                where, one, other = difference(field, wanted[field], meta[field])
                raise RecordError(
                    f"{first} and {path} differ in {where} ({one!r} and {other!r})"
                    ". One record holds one run: put one of them into another folder."
                )
