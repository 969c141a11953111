"""Which versions, device and commit a run was made with, and nothing about whose machine it was."""

import importlib.metadata
import json
import os
import platform
import re
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

__all__ = ["commit", "cores", "provenance"]

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy")
_HASH = re.compile("[0-9a-f]{40}")


def provenance() -> dict[str, Any]:
    """Versions, device, number of CPU cores and commit behind a run, as a JSON object.

    `versions` maps python, igrlib, jax, jaxlib, flax, optax and numpy to strings, None for one
    that is not installed; `device` holds `kind`, `platform` and `count` as JAX sees them; `cpus`
    is the number of cores this process may use; `commit` holds `hash` and `dirty` (whether
    igrlib's own files differ from that commit): those of the repository of igrlib, else those of
    the variable `IGR_COMMIT`, else it is None. `precision` is JAX's for matrix products
    ("default" where none is set), `xla_flags` lists the flags of the compiler without those that
    hold a path. No host name, user name or path is in the object. Raises `ValueError` for an
    `IGR_COMMIT` that is not {"hash": …, "dirty": …}.
    """
    import jax

    import igrlib

    devices = jax.devices()
    versions = {"python": platform.python_version(), "igrlib": igrlib.__version__}
    return {
        "versions": versions | {name: _version(name) for name in _PACKAGES},
        "device": {
            "kind": devices[0].device_kind,
            "platform": devices[0].platform,
            "count": len(devices),
        },
        "cpus": cores(),
        "commit": commit(Path(__file__).parents[2]) or _commit_of_variable(),
        "precision": jax.config.jax_default_matmul_precision  # pyright: ignore[reportAttributeAccessIssue]
        or "default",
        "xla_flags": [f for f in sorted(os.environ.get("XLA_FLAGS", "").split()) if "/" not in f],
    }


def cores() -> int:
    """How many processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def commit(package: Path) -> dict[str, Any] | None:
    """The commit of the repository that tracks this package's files; None where none does."""
    # An installed copy may lie inside somebody else's repository, which does not track it.
    if _git(package, "ls-files", "--error-unmatch", "__init__.py") is None:
        return None
    revision = _git(package, "rev-parse", "--verify", "HEAD")
    changes = _git(package, "status", "--porcelain", "--", ".")
    if revision is None or changes is None:
        return None
    return {"hash": revision, "dirty": changes != ""}


def _commit_of_variable() -> dict[str, Any] | None:
    """For a copy of igrlib without its repository."""
    text = os.environ.get("IGR_COMMIT")
    if not text:
        return None
    with suppress(ValueError):
        match json.loads(text):
            case {"hash": str(revision), "dirty": bool(dirty)} if _HASH.fullmatch(revision):
                return {"hash": revision, "dirty": dirty}
    raise ValueError(
        'IGR_COMMIT must be {"hash": "40 hexadecimal digits", "dirty": true or false}, '
        f"got {text!r}"
    )


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git(directory: Path, *arguments: str) -> str | None:
    # Inside a git hook these would point at another repository.
    elsewhere = {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"}
    environment = {key: value for key, value in os.environ.items() if key not in elsewhere}
    command = ["git", "--no-optional-locks", "-C", str(directory), *arguments]
    try:
        return subprocess.check_output(
            command, env=environment, stderr=subprocess.DEVNULL, text=True, timeout=30
        ).strip()
    except (OSError, subprocess.SubprocessError):
        return None
