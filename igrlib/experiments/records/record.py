"""Recorded runs: a shard for each finished unit, and one manifest of them all.

A record is a folder `<experiment>-<profile>/` with one `<unit>.npz` for each finished unit and a
`manifest.json`. The manifest only repeats what the shards say. To merge shards from another
machine, copy them into the folder and call `rebuild_manifest`.

Source: Section 6 and A.5; chapter 7, *MNIST*.
"""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from igrlib.experiments.records import metadata
from igrlib.experiments.storage import npz
from igrlib.experiments.storage.files import atomic_write, locked
from igrlib.experiments.storage.npz import RecordError

__all__ = [
    "SHARD_LIMIT",
    "Record",
    "Shard",
    "add_unit",
    "load_unit",
    "open_record",
    "open_records",
    "rebuild_manifest",
]

SHARD_LIMIT = 1_000_000  # Bytes. Records lie in the repository.

_MANIFEST = "manifest.json"


@dataclass(frozen=True, eq=False)
class Shard:
    """One finished unit: its name, named arrays and metadata, as `add_unit` received them."""

    name: str
    arrays: dict[str, np.ndarray]
    meta: dict[str, Any]


@dataclass(frozen=True, eq=False)
class Record:
    """A recorded run: its folder, experiment, profile, and finished units by name.

    expected: the names of all units of the profile, as the manifest lists them; None where the
    manifest does not list them.
    """

    directory: Path
    experiment: str
    profile: str
    units: dict[str, Shard]
    expected: tuple[str, ...] | None = ()


def add_unit(
    directory: str | os.PathLike[str],
    unit: str,
    arrays: Mapping[str, np.ndarray],
    meta: Mapping[str, Any],
    *,
    replace: bool = False,
) -> Path:
    """Write the shard of a finished unit into a record, rebuild the manifest, and return the path.

    `arrays` are as for `save`, NaN and infinity included. `meta` has exactly the keys experiment,
    profile, unit, dataset (name, fingerprint, sizes), config, unit_config, seeds (integers),
    seconds (≥ 0), provenance (from `provenance()`), diverged (a list of {member, step}) and marks.
    A missing folder is made.

    Raises `TypeError` or `ValueError` for other metadata, for an absolute path in them, and for a
    shard over `SHARD_LIMIT` bytes. Raises `RecordError` where a shard of the record has another
    experiment or profile, where a shard of the same arm (the `name` in its unit_config) has another
    data set, config or precision, and where the unit exists with other contents (unless `replace`).
    It raises `RecordError` too where another shard cannot be read; the new shard is written by
    then. Raises `OSError`, which names the file, where a file cannot be written. No error loses
    what the record held before.
    """
    folder = Path(directory)
    arrays, meta = npz.checked_arrays(arrays), metadata.checked_meta(unit, meta)
    texts = {name: a.ravel().tolist() for name, a in arrays.items() if a.dtype.kind == "U"}
    metadata.check_no_path("arrays", texts)
    content = npz.encode(arrays, meta)
    unpacked = sum(array.nbytes for array in arrays.values())
    for what, size, limit in (
        ("shard", len(content), SHARD_LIMIT),
        # Names and metadata need room too.
        ("arrays", unpacked, npz.UNPACKED * SHARD_LIMIT // 2),
    ):
        if size > limit:
            raise ValueError(
                f"the {what} of unit {unit!r} must be at most {limit} bytes, got {size}:"
                " record less often or split the unit"
            )
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{unit}.npz"
    with locked(folder):
        if path.exists() and not replace:
            if npz.digest(*npz.load(path, limit=SHARD_LIMIT)) != npz.digest(arrays, meta):
                raise RecordError(
                    f"{path} exists already, with other contents. Pass replace=True to overwrite"
                    " it, or delete it first."
                )
        else:
            metas: dict[Path, dict[str, Any]] = {}
            for other in _shards(folder):
                with suppress(RecordError):  # A broken shard must not lose a finished unit.
                    metas[other] = load_unit(other)[1]
            metadata.check_alike({**metas, path: meta})
            atomic_write(path, lambda file: file.write(content))
        _rebuild(folder)
    return path


def rebuild_manifest(
    directory: str | os.PathLike[str], *, expected_units: Sequence[str] | None = None
) -> dict[str, Any]:
    """Write `manifest.json` again from the shards beside it, and return its contents.

    `expected_units` names all units of the profile, so that the manifest lists the missing ones;
    None keeps the names in the old manifest. The same shards give the same bytes.

    Raises `RecordError` where the folder has no shard, where a shard cannot be read, where two
    shards differ in experiment or profile, and where two shards of an arm differ in data set,
    config or precision. The old manifest then stays.
    """
    folder = Path(directory)
    if expected_units is not None:
        expected_units = sorted({metadata.checked_unit(name) for name in expected_units})
    try:
        with locked(folder):
            return _rebuild(folder, expected_units)
    except OSError:
        # A read-only folder is no error if its manifest is right already.
        _, manifest = _project(folder, expected_units)
        if not _is_written(folder, manifest):
            raise
        return manifest


def open_record(directory: str | os.PathLike[str]) -> Record:
    """The record in a folder, each unit checked against its hash and the manifest.

    Raises `RecordError` where a shard or the manifest is missing, cut short or altered, and where
    the two disagree.
    """
    folder = Path(directory)
    mend = f"Call igrlib.experiments.records.rebuild_manifest({str(folder)!r})."
    try:
        manifest = json.loads((folder / _MANIFEST).read_bytes())
        listed, expected = manifest["units"], _names(manifest["expected"])
    except FileNotFoundError:
        if not any(folder.glob("*.npz")):
            stopped = " or go on with one that was stopped" if any(folder.glob("*/*")) else ""
            mend = f"No unit is finished here: run a unit first{stopped}, with `igr run`."
        raise RecordError(f"{folder} holds no {_MANIFEST}. {mend}") from None
    except OSError as error:
        raise RecordError(
            f"{folder / _MANIFEST} cannot be read: {error.strerror}. Mend that first."
        ) from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise RecordError(f"{folder / _MANIFEST} is cut short or altered. {mend}") from error
    units, current = _project(folder, expected)
    # Compare units first: a shard too many or too few changes other entries of the manifest too.
    for where, said, wanted in (("['units']", listed, current["units"]), ("", manifest, current)):
        if said != wanted:
            where, one, other = npz.difference(where, said, wanted)
            raise RecordError(
                f"{folder / _MANIFEST}{where} says {one!r:.80}, its shards say {other!r:.80}."
                f" {mend}"
            )
    return Record(folder, manifest["experiment"], manifest["profile"], units, expected)


def open_records(
    directory: str | os.PathLike[str], experiment: str, profiles: Iterable[str]
) -> dict[str, Record]:
    """The records of an experiment in a folder, by profile, in the order of `profiles`.

    A profile without a finished unit is left out. Raises `RecordError` as `open_record`.
    """
    folders = {profile: Path(directory) / f"{experiment}-{profile}" for profile in profiles}
    return {profile: open_record(folder) for profile, folder in folders.items() if _shards(folder)}


def _rebuild(folder: Path, expected: Sequence[str] | None = None) -> dict[str, Any]:
    while True:
        units, manifest = _project(folder, expected)
        if not _is_written(folder, manifest):
            atomic_write(folder / _MANIFEST, lambda file, of=manifest: file.write(_content(of)))
        # Where locks do nothing, another process can have added a unit meanwhile.
        if {path.stem for path in _shards(folder)} == units.keys():
            return manifest


def _is_written(folder: Path, manifest: dict[str, Any]) -> bool:
    path = folder / _MANIFEST
    return path.exists() and path.read_bytes() == _content(manifest)


def _content(manifest: dict[str, Any]) -> bytes:
    return (json.dumps(manifest, sort_keys=True, indent=1, allow_nan=False) + "\n").encode()


def _project(
    folder: Path, expected: Sequence[str] | None
) -> tuple[dict[str, Shard], dict[str, Any]]:
    """The units and the manifest of a record. None keeps the expected units of the old manifest."""
    expected = _expected(folder) if expected is None else expected
    loaded = {path: load_unit(path) for path in _shards(folder)}
    if not loaded:
        raise RecordError(f"{folder} holds no shard: run a unit, or copy shards there.")
    units = {path.stem: Shard(path.stem, *parts) for path, parts in loaded.items()}
    return units, metadata.projection(loaded, expected)


def _shards(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.npz") if not path.name.startswith("."))


def load_unit(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays and metadata of a shard, checked against its hash and its name.

    Raises `RecordError` for a file that is no shard of a unit, or too large for one.
    """
    arrays, meta = npz.load(path, limit=SHARD_LIMIT)
    try:
        return arrays, metadata.checked_meta(path.stem, meta)
    except (TypeError, ValueError, RecursionError) as error:
        raise RecordError(
            f"{path} is no shard of a unit: {error}. Move it away, or restore its name."
        ) from error


def _expected(folder: Path) -> tuple[str, ...] | None:
    """The expected units in the old manifest. No shard holds them."""
    try:
        return _names(json.loads((folder / _MANIFEST).read_bytes())["expected"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None  # A new manifest replaces a broken one.


def _names(expected: Any) -> tuple[str, ...] | None:
    return None if expected is None else tuple(metadata.checked_unit(name) for name in expected)
