"""What a manifest says of the shards beside it, and what those must share."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from igrlib.experiments.storage.npz import RecordError, difference

__all__ = ["check_alike", "projection"]

_COMMON = ("experiment", "profile")
_OF_ARM = ("dataset", "config")
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
    # What all units have in common is told once; what arms differ in, with each unit.
    shared = [f for f in _OF_ARM if all(meta[f] == first[f] for meta in units.values())]
    own = (*_OWN, *(field for field in _OF_ARM if field not in shared))
    origins: dict[str, dict[str, Any]] = {}
    for name in sorted(units):
        origin = units[name]["provenance"]
        told = origins.setdefault(json.dumps(origin, sort_keys=True), {**origin, "units": []})
        told["units"].append(name)
    return {
        **{field: first[field] for field in (*_COMMON, *shared)},
        "units": {
            name: {field: meta[field] for field in own} | {"sha256": hashes[name]}
            for name, meta in units.items()
        },
        "seeds": sorted({seed for meta in units.values() for seed in meta["seeds"]}),
        "seconds": math.fsum(meta["seconds"] for meta in units.values()),
        "provenance": [origins[key] for key in sorted(origins)],
        "expected": None if expected is None else list(expected),
        "missing": None if expected is None else [name for name in expected if name not in units],
    }


def check_alike(metas: Mapping[Path, Mapping[str, Any]]) -> None:
    """All shards of a record share experiment and profile; those of an arm data set and config.

    An arm is what the configurations of units call their `name`. Data sets of one name are one.
    """
    seen: dict[Any, tuple[Path, Mapping[str, Any]]] = {}
    for path, meta in metas.items():
        alike: list[tuple[Any, tuple[str, ...]]] = [
            ("all", _COMMON),
            (("arm", meta["unit_config"].get("name")), _OF_ARM),
            (("dataset", meta["dataset"]["name"]), ("dataset",)),
        ]
        for key, fields in alike:
            first, wanted = seen.setdefault(key, (path, meta))
            for field in fields:
                if meta[field] != wanted[field]:
                    where, one, other = difference(field, wanted[field], meta[field])
                    raise RecordError(
                        f"{first} and {path} differ in {where} ({one!r} and {other!r})"
                        ". One record holds one run: put one of them into another folder."
                    )
