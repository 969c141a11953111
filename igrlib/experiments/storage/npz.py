"""Named arrays and JSON metadata in one `.npz` that knows the hash of its own contents."""

import hashlib
import io
import json
import math
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, TypeAlias

import numpy as np

from igrlib.experiments.storage.files import atomic_write

__all__ = [
    "Arrays",
    "RecordError",
    "checked_arrays",
    "checked_json",
    "difference",
    "digest",
    "encode",
    "load",
    "save",
]

Arrays: TypeAlias = Mapping[str, np.ndarray]

UNPACKED = 100
"""A file may be this many times as long unpacked as its limit."""

_FORMAT = "igrlib record 1"
_META = "__meta__"
_MEND = "Delete it and run again what wrote it, or copy it anew from where it is whole."


class RecordError(ValueError):
    """A file of a record is missing, cut short, altered, foreign or at odds with another.

    Its one line names the file, what is wrong and how to mend it.
    """


def save(path: str | os.PathLike[str], arrays: Arrays, meta: Mapping[str, Any]) -> None:
    """Write named arrays and metadata to one `.npz`, whole or not at all.

    `arrays` are numeric, bool or of fixed-width text, of any shape; `meta` is a JSON object
    without NaN or infinity (tuples become lists). Nothing is pickled.

    Raises `TypeError` or `ValueError` naming an array or an entry of `meta` that is something
    else, `OSError` naming `path` where the disk is full or the folder read-only; what was at
    `path` before is then untouched.
    """
    arrays, meta = checked_arrays(arrays), checked_json("meta", meta)
    atomic_write(Path(path), lambda file: _write(file, arrays, meta, zipfile.ZIP_STORED))


def load(
    path: str | os.PathLike[str], *, limit: int | float = math.inf
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays and metadata that `save` wrote, checked against the hash stored with them.

    Files of more than `limit` bytes are refused, and those that unpack to over 100 times as many.

    Raises `RecordError` for a file that is missing, cut short, altered, too large or not from
    `save`; nothing in it is ever unpickled.
    """
    try:
        arrays: dict[str, np.ndarray] = {}
        with zipfile.ZipFile(path) as archive:
            packed = os.path.getsize(path)
            unpacked = sum(member.file_size for member in archive.infolist())
            if packed > limit or unpacked > UNPACKED * limit:
                raise RecordError(
                    f"{path} has {packed} bytes, and {unpacked} unpacked; at most {limit} and "
                    f"{UNPACKED * limit} are read. {_MEND}"
                )
            if f"{_META}.npy" not in archive.namelist():
                raise RecordError(f"{path} was not written by igrlib: it has no {_META}. {_MEND}")
            for name in archive.namelist():
                with archive.open(name) as file:
                    array = np.lib.format.read_array(file, allow_pickle=False)
                    if file.read(1):
                        raise ValueError(f"{name} is longer than its header says")
                arrays[name.removesuffix(".npy")] = array
        head = json.loads(arrays.pop(_META).tobytes())
        form, stored, meta = head["format"], head["sha256"], head["meta"]
        found = digest(arrays, meta)
    except RecordError:
        raise
    except MemoryError as error:
        text = "does not fit into memory, or claims more numbers than it has"
        raise RecordError(f"{path} {text}: {error}.") from error
    except FileNotFoundError:
        raise RecordError(f"{path} does not exist. Run what writes it, or copy it here.") from None
    except OSError as error:
        raise RecordError(f"{path} cannot be read: {error.strerror or error}.") from error
    except Exception as error:
        # Altered bytes make zipfile, zlib, NumPy and json raise a dozen kinds of errors.
        raise RecordError(
            f"{path} is cut short, altered or no .npz file ({type(error).__name__}: {error})."
            f" {_MEND}"
        ) from error
    if form != _FORMAT:
        raise RecordError(f"{path} has the format {form!r}, wanted is {_FORMAT!r}. {_MEND}")
    if stored != found:
        raise RecordError(
            f"{path} has been altered: it was saved with sha256 {stored}, its contents have"
            f" {found}. {_MEND}"
        )
    return arrays, meta


def encode(arrays: Arrays, meta: Mapping[str, Any]) -> bytes:
    """The bytes of a compressed `.npz` of checked arrays and metadata."""
    _write(file := io.BytesIO(), arrays, meta, zipfile.ZIP_DEFLATED)
    return file.getvalue()


def digest(arrays: Arrays, meta: Mapping[str, Any]) -> str:
    """The sha256 of names, dtypes, shapes and numbers of all arrays, and of the metadata."""
    state = hashlib.sha256(_canonical(meta))
    for name in sorted(arrays):
        array = arrays[name]
        state.update(_canonical([name, array.dtype.str, array.shape]))
        state.update(np.asarray(array, order="C").reshape(-1).view(np.uint8).data)
    return state.hexdigest()


def checked_arrays(arrays: Arrays) -> dict[str, np.ndarray]:
    """The arrays, if names are plain and values numbers, text or bools; refuses others by name."""
    for name, array in arrays.items():
        if not isinstance(name, str):
            raise TypeError(f"the names of arrays must be str, got {name!r}")
        if not name.isprintable() or name in ("", _META) or "\\" in name:
            raise ValueError(f"arrays: {name!r} cannot be the name of an array, take another")
        if not isinstance(array, np.ndarray) or isinstance(array, np.ma.MaskedArray):
            raise TypeError(f"arrays[{name!r}] must be a NumPy array, got {type(array).__name__}")
        if array.dtype.kind not in "biufcU" or array.dtype.itemsize == 0:
            raise TypeError(f"arrays[{name!r}] must be numeric, bool or str, got {array.dtype}")
    return dict(arrays)


def checked_json(where: str, value: Any) -> Any:
    """`value` as it comes back from JSON; refuses what would come back as something else."""
    if isinstance(value, Mapping):
        if bad := [key for key in value if not isinstance(key, str)]:
            raise TypeError(f"the keys of {where} must be str, got {bad[0]!r}")
        return {key: checked_json(f"{where}[{key!r}]", item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [checked_json(f"{where}[{i}]", item) for i, item in enumerate(value)]
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{where} must be finite, got {value}; JSON has no such number")
    # float() and str() undress NumPy's subclasses of them.
    for kind in (float, str):
        if isinstance(value, kind):
            return kind(value)
    if value is None or isinstance(value, (bool, int)):
        return value
    raise TypeError(f"{where} must be JSON (an int, float, str, list...), got {type(value)}")


def difference(where: str, one: Any, other: Any) -> tuple[str, Any, Any]:
    """The first entry in which two JSON values differ: where it stands, and both of its values."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted({*one, *other}):
            if (here := one.get(key, "nothing")) != (there := other.get(key, "nothing")):
                return difference(f"{where}[{key!r}]", here, there)
    return where, one, other


def _write(
    file: IO[bytes] | io.BytesIO, arrays: Arrays, meta: Mapping[str, Any], compression: int
) -> None:
    head = {"format": _FORMAT, "sha256": digest(arrays, meta), "meta": meta}
    members = {_META: np.frombuffer(_canonical(head), np.uint8), **arrays}
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name in sorted(members):
            # A ZipInfo made here has a fixed date: equal contents give equal bytes.
            info = zipfile.ZipInfo(f"{name}.npy")
            info.compress_type = compression
            with archive.open(info, "w", force_zip64=True) as member:
                np.lib.format.write_array(member, members[name], allow_pickle=False)


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, allow_nan=False, separators=(",", ":")).encode()
