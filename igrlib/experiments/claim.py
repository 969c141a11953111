"""A claim on a unit: one process runs it, and the claim dies with that process.

Source: not in the paper; the appendix *How to reproduce*.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from igrlib.experiments.storage.files import held

__all__ = ["Claimed", "claimed"]


class Claimed(RuntimeError):
    """Another process has the claim."""


@contextmanager
def claimed(path: Path, what: str) -> Iterator[None]:
    """Hold the claim on `what`, the lock on the file `path`, whose folder is made.

    Raises `Claimed` where another process holds it, `OSError` naming the file where that cannot be
    written. Without file locks (some network file systems) anybody gets the claim.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        try:
            stack.enter_context(held(path, wait=False))
        except TimeoutError:
            raise Claimed(f"{what} is being run by another process") from None
        yield
