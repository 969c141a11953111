"""Files that appear whole or not at all, and locks that die with the process that holds them."""

import errno
import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from typing import IO

from igrlib.experiments._extras import needed

__all__ = ["atomic_write", "held", "locked", "sweep"]

# What a killed process leaves: a file half written with its lock, the lock of a folder or a unit.
_LEFT = re.compile(r"\..+\.\d+-[0-9a-f]{8}\.(tmp|lock)|\.manifest\.lock|\..+-s\d+-\d+\.lock")
# The answers of file systems without locks, as some on a network.
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP)


def atomic_write(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Put what `write` writes at `path` in one step: others see the old file or the new one.

    The new one lasts through a power cut. `write` may be called twice. Raises `OSError` naming
    `path` where that fails; the old file is then as it was and no temporary file is left.
    """
    with _naming(path):
        try:
            _write(path, write)
        except FileNotFoundError:
            # A machine that does not see the locks of this one has swept the temporary file.
            _write(path, write)
    with suppress(OSError):  # Not every system can sync a folder.
        descriptor = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _write(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{token_hex(4)}.tmp")
    # The lock tells `sweep` that the writer lives.
    with held(temporary.with_suffix(".lock")):
        try:
            with open(temporary, "xb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            with suppress(OSError):
                temporary.unlink()


def sweep(directory: str | os.PathLike[str]) -> list[Path]:
    """Remove what killed processes left in a folder, half written or as locks, and say which files.

    Files that any process or thread is still writing stay: the writer holds a lock beside its
    temporary file, which the system takes back when the process ends. A file that may not be
    removed stays too. A missing folder gives an empty list.
    """
    swept: list[Path] = []
    for path in sorted(Path(directory).glob(".*")):
        if _LEFT.fullmatch(path.name):
            with suppress(OSError), held(path.with_suffix(".lock"), wait=False) as alone:
                if alone:
                    if path.suffix == ".tmp":
                        path.unlink()
                    swept.append(path)
    return swept


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """One process and thread at a time in this folder."""
    with ExitStack() as stack:
        with _naming(directory):
            stack.enter_context(held(directory / ".manifest.lock"))
        yield


@contextmanager
def held(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """Hold the lock file `path`, alone of all processes; it is made here and removed in the end.

    Gives false where the file system has no locks: then anybody gets it. Raises `TimeoutError`
    where another process or thread holds it and `wait` is false, `OSError` where the file cannot
    be made.
    """
    # A soft lock would outlive a process that is killed on another machine.
    lock = needed("filelock").FileLock(path, fallback_to_soft=False, poll_interval=0.01)
    try:
        lock.acquire(timeout=-1 if wait else 0)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    try:
        yield lock.is_locked
    finally:
        # Removed while still held: a waiting process sees that it is gone and makes a new one.
        with suppress(OSError):
            path.unlink()
        lock.release()


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Errors name the file that was to be written, in place of a temporary one or a lock."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error) or type(error).__name__
        text = f"could not write, nothing was changed: {reason}"
        raise OSError(error.errno, text, str(path)) from error
