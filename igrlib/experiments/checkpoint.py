"""The checkpoint of a sweep: all that the sweep needs to go on to the same bits.

Source: not in the paper; the appendix *How to reproduce*.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np

from igrlib._typing import PyTree
from igrlib.experiments import records
from igrlib.experiments.storage.npz import difference

__all__ = ["code_of", "restore", "save", "step_of"]

READERS = (
    "experiments/cli/",
    "experiments/path_table.py",
    "experiments/table.py",
    "experiments/verdicts/",
    "plots/",
)
"""Where the modules stand that do not change what a sweep computes."""


def code_of(package: Path) -> str:
    """A hash of the modules of igrlib that train and measure, in hexadecimal digits.

    A commit would miss uncommitted changes, and would differ where only a text has changed.
    """
    state = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        where = path.relative_to(package).as_posix()
        if not where.startswith(READERS):
            content = path.read_bytes()
            state.update(f"{where} {len(content)} ".encode() + content)
    return state.hexdigest()[:12]


# Of the code that this process runs: the files may change meanwhile.
_CODE = code_of(Path(__file__).parents[1])


def save(
    path: Path,
    held: PyTree,
    arrays: dict[str, np.ndarray],
    progress: dict[str, Any],
    identity: dict[str, Any],
) -> None:
    """Write a checkpoint: a pytree held on devices, recorded arrays, and how far the sweep is."""
    leaves = {f"device_{k}": np.asarray(a) for k, a in enumerate(jax.tree.leaves(held))}
    host = {f"host_{name}": a for name, a in arrays.items()}
    identity = {**identity, "code of igrlib": _CODE}
    records.save(path, leaves | host, {"identity": identity, "progress": progress})


def restore(
    path: Path, like: PyTree, arrays: dict[str, np.ndarray], identity: dict[str, Any]
) -> tuple[PyTree, dict[str, np.ndarray], dict[str, Any]]:
    """What `save` was given, the pytree in the structure of `like`, its leaves on the host.

    Raises `RecordError` for a file that is damaged, was written for another `identity` or by other
    code, or does not hold what `like` and `arrays` do.
    """
    found, meta = records.load(path)
    recorded, progress = (
        meta.get(name) if isinstance(meta, dict) else None for name in ("identity", "progress")
    )
    _check_identity(path, recorded, {**identity, "code of igrlib": _CODE})
    wanted = {f"device_{k}": leaf for k, leaf in enumerate(jax.tree.leaves(like))}
    wanted |= {f"host_{name}": array for name, array in arrays.items()}
    for name in sorted({*wanted, *found}):
        one, other = (_kind(these.get(name)) for these in (wanted, found))
        if one != other:
            raise _foreign(path, f"{name} is {other}, wanted is {one}")
    if not isinstance(progress, dict):
        raise _foreign(path, "it does not say how far the sweep was")
    leaves = [found[f"device_{k}"] for k in range(jax.tree.structure(like).num_leaves)]
    host = {name: found[f"host_{name}"] for name in arrays}
    return jax.tree.unflatten(jax.tree.structure(like), leaves), host, progress


def step_of(path: Path) -> int | None:
    """The step from which a checkpoint goes on; None where there is none that can be read."""
    try:
        return records.load(path)[1]["progress"]["step"]
    except (records.RecordError, KeyError, TypeError):
        return None


def _kind(array: Any) -> str:
    return "missing" if array is None else f"{array.dtype} of shape {array.shape}"


def _foreign(path: Path, why: str) -> records.RecordError:
    return records.RecordError(
        f"the checkpoint {path.name} is not of this sweep: {why}; move it away to start afresh"
    )


def _check_identity(path: Path, found: Any, wanted: dict[str, Any]) -> None:
    known, now = found if isinstance(found, dict) else {}, json.loads(json.dumps(wanted))
    for name in sorted({*now, *known}):
        if known.get(name) != now.get(name):
            where, was, is_now = difference(name, known.get(name), now.get(name))
            raise records.RecordError(
                f"the checkpoint {path.name} was written with another {where}: {was!r}, now "
                f"{is_now!r}; go on where and as it was written, or move it away to start afresh"
            )
