"""A claim on a unit: one process runs it, and the claim dies with that process.

Source: not in the paper; the appendix *How to reproduce*.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from igrlib.storage.files import open_locked

__all__ = ["Claimed", "claimed"]


class Claimed(RuntimeError):
    """Another process has the claim."""


@contextmanager
def claimed(path: Path, what: str) -> Iterator[None]:
    """Hold the claim on `what`, the lock on the file `path`, whose folder is made.

    Raises `Claimed` where another process holds it, `OSError` naming the file where that cannot be
    written. Without file locks (Windows, some network file systems) anybody gets the claim.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = open_locked(path, os.O_RDWR | os.O_CREAT, wait=False)
    except BlockingIOError:
        raise Claimed(f"{what} is being run by another process") from None
    try:
        yield
    finally:
        # Removed while still held, so that nobody else's file is removed.
        with suppress(OSError):
            path.unlink()
        os.close(descriptor)
