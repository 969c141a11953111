"""A sweep on disk: everything it needs to go on to the same bits.

Source: not in the paper; the appendix *How to reproduce*.
"""

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np

from igrlib import records
from igrlib._typing import PyTree
from igrlib.storage.npz import difference

__all__ = ["restore", "save"]


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
    records.save(path, leaves | host, {"identity": identity, "progress": progress})


def restore(
    path: Path, like: PyTree, identity: dict[str, Any]
) -> tuple[PyTree, dict[str, np.ndarray], dict[str, Any]]:
    """What `save` was given, the pytree in the structure of `like`, its leaves on the host.

    Raises `RecordError` for a file that is damaged, or that was written for another `identity`.
    """
    arrays, meta = records.load(path)
    _check_identity(path, meta.get("identity"), identity)
    structure = jax.tree.structure(like)
    leaves = [arrays[f"device_{k}"] for k in range(structure.num_leaves)]
    host = {n.removeprefix("host_"): a for n, a in arrays.items() if n.startswith("host_")}
    return jax.tree.unflatten(structure, leaves), host, meta["progress"]


def _check_identity(path: Path, found: Any, wanted: dict[str, Any]) -> None:
    known, now = found or {}, json.loads(json.dumps(wanted))
    for name in sorted({*now, *known}):
        if known.get(name) != now.get(name):
            where, was, is_now = difference(name, known.get(name), now.get(name))
            raise records.RecordError(
                f"the checkpoint {path.name} was written with another {where}: {was!r}, now "
                f"{is_now!r}; go on where it was written, or move it away to start afresh"
            )
