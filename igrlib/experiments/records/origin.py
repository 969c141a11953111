"""The versions, device and commit behind a run, without a trace of whose machine it was."""

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

    `versions` maps python, igrlib, jax, jaxlib, flax, optax and numpy to strings, or to None where
    a package is not installed. `device` holds `kind`, `platform` and `count` as JAX sees them.
    `cpus` is the number of cores that this process may use. `commit` holds `hash` and `dirty`
    (whether igrlib's own files differ from that commit). They come from the repository of igrlib,
    or else from the variable `IGR_COMMIT`; without both `commit` is None. `precision` is JAX's
    setting for matrix products ("default" where none is set). `xla_flags` lists the compiler's
    flags except those that hold a path. The object holds no host name, user name or path.

    Raises `ValueError` for an `IGR_COMMIT` that is not {"hash": …, "dirty": …}.
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
    """The number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def commit(package: Path) -> dict[str, Any] | None:
    """The commit of the repository that tracks the files in `package`, or None without one."""
    # An installed copy can lie inside another repository, which does not track it.
    if _git(package, "ls-files", "--error-unmatch", "__init__.py") is None:
        return None
    revision = _git(package, "rev-parse", "--verify", "HEAD")
    changes = _git(package, "status", "--porcelain", "--", ".")
    if revision is None or changes is None:
        return None
    return {"hash": revision, "dirty": changes != ""}


def _commit_of_variable() -> dict[str, Any] | None:
    """The commit in `IGR_COMMIT`, for a copy of igrlib without its repository."""
    text = os.environ.get("IGR_COMMIT")
    if not text:
        return None
    with suppress(ValueError):
        match json.loads(text):
            case {"hash": str(revision), "dirty": bool(dirty)} if _HASH.fullmatch(revision):
                return {"hash": revision, "dirty": dirty}
    raise ValueError(
        'IGR_COMMIT must be {"hash": "40 hexadecimal digits", "dirty": true or false}, '
        f"got {text!r}: write it so, or unset the variable"
    )


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git(directory: Path, *arguments: str) -> str | None:
    # Inside a git hook these variables point at another repository.
    elsewhere = {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"}
    environment = {key: value for key, value in os.environ.items() if key not in elsewhere}
    command = ["git", "--no-optional-locks", "-C", str(directory), *arguments]
    try:
        return subprocess.check_output(
            command, env=environment, stderr=subprocess.DEVNULL, text=True, timeout=30
        ).strip()
    except (OSError, subprocess.SubprocessError):
        return None
