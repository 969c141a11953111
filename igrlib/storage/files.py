"""Files that appear whole or not at all, and a lock that dies with the process that holds it."""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from typing import IO

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

__all__ = ["atomic_write", "locked", "open_locked", "sweep"]

_LOCK = ".manifest.lock"
# What a killed process leaves: a file half written, the lock on a folder, that on a unit.
_LEFT = re.compile(r"\..+\.\d+-[0-9a-f]{8}\.tmp|\.manifest\.lock|\..+-s\d+-\d+\.lock")


def atomic_write(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Put what `write` writes at `path` in one step: others see the old file or the new one.

    Raises `OSError` naming `path` where that fails; the old file is then as it was and no
    temporary file is left.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{token_hex(4)}.tmp")
    try:
        # The lock, kept until the file has its name, tells `sweep` that the writer lives.
        with open(open_locked(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL), "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
            if fcntl is None:  # Windows renames no open file.
                file.close()
            os.replace(temporary, path)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError):
            raise _told(error, path) from error
        raise
    _sync_folder(path.parent)


def sweep(directory: str | os.PathLike[str]) -> list[Path]:
    """Remove what killed processes left in a folder, half written or as locks, and say which files.

    Files that a process is still writing stay, whichever process and thread that is: the writer
    holds a lock on its temporary file, which the system takes back when the process ends. A file
    that may not be removed stays too. A folder that is not there gives an empty list.
    """
    swept: list[Path] = []
    for path in sorted(Path(directory).glob(".*")):
        if _LEFT.fullmatch(path.name):
            with suppress(OSError):
                _remove_unlocked(path)
                swept.append(path)
    return swept


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """One process and thread at a time in this folder; no lock where the platform has none."""
    if fcntl is None:
        yield
        return
    path = directory / _LOCK
    try:
        descriptor = open_locked(path, os.O_RDWR | os.O_CREAT)
    except OSError as error:
        raise _told(error, directory) from error
    try:
        yield
    finally:
        # Removed while still held: who waits for it sees that it is gone and makes a new one.
        with suppress(OSError):
            path.unlink()
        os.close(descriptor)


def open_locked(path: Path, flags: int, *, wait: bool = True) -> int:
    """A descriptor of the file that `path` names, locked where the file system can.

    Raises `BlockingIOError` where somebody else holds the lock and `wait` is false.
    """
    while True:
        descriptor = os.open(path, flags | getattr(os, "O_BINARY", 0), 0o666)
        if fcntl is None:
            return descriptor
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            os.close(descriptor)
            raise
        except OSError:  # Some network file systems have no locks.
            return descriptor
        except BaseException:  # Interrupted while waiting.
            os.close(descriptor)
            raise
        with suppress(FileNotFoundError):
            if os.path.samestat(os.stat(path), os.fstat(descriptor)):
                return descriptor
        os.close(descriptor)  # Its last holder has removed it in between.


def _remove_unlocked(path: Path) -> None:
    """Remove a file; `OSError` where somebody holds it or the file system cannot tell."""
    if fcntl is None:
        path.unlink()  # Windows refuses while it is open.
        return
    with open(path, "rb+") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()


def _sync_folder(directory: Path) -> None:
    """Make the new name last through a power cut, where a folder can be synced at all."""
    with suppress(OSError):
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _told(error: OSError, path: Path) -> OSError:
    """The same error, naming the file that was wanted and not the temporary one."""
    reason = error.strerror or str(error) or type(error).__name__
    return OSError(error.errno, f"could not write, nothing was changed: {reason}", str(path))
