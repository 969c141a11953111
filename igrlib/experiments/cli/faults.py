"""The errors of a run, each in a line that says what is kept and what to do."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jax.errors import JaxRuntimeError

from igrlib.experiments import checkpoint, devices, records
from igrlib.experiments.cli.console import one_line

__all__ = ["DeviceLost", "Mistake", "UnitFailed", "check_device", "mistakes", "run_errors"]


class Mistake(Exception):
    """An error that the user can mend."""


class UnitFailed(Mistake):
    """An error of one unit: others may run."""


class DeviceLost(Mistake):
    """The device does not work any more: this process can run nothing.

    `got_on`: whether the unit has written a checkpoint before, in this process.
    """

    got_on: bool

    def __init__(self, text: str, *, got_on: bool) -> None:
        super().__init__(text)
        self.got_on = got_on


@contextmanager
def mistakes() -> Iterator[None]:
    """Make a `Mistake` of a ValueError or TypeError: an error of the user is no bug."""
    try:
        yield
    except (ValueError, TypeError) as error:
        raise Mistake(str(error)) from error


def check_device() -> None:
    """Raise a `Mistake` where JAX has nothing to run on, as on a node without its GPU."""
    try:
        devices.touch()
    except (RuntimeError, AssertionError) as error:  # Some of JAX's assertions have no text.
        raise Mistake(
            f"JAX finds no device with JAX_PLATFORMS={os.environ.get('JAX_PLATFORMS', '')}: ask for"
            " a machine that has one, install JAX for it, or set JAX_PLATFORMS=cpu"
            f" ({one_line(error)})"
        ) from error


@contextmanager
def run_errors(folder: Any, unit: Any) -> Iterator[None]:
    """Make a `Mistake` of an error with files, memory or devices; any other in a run is a bug."""
    path = folder.checkpoint(unit)
    before = _stamp(path)
    try:
        yield
    except records.RecordError as error:
        raise UnitFailed(str(error)) from error
    except OSError as error:
        raise Mistake(
            f"{one_line(error)}; what was saved before is kept: make room, or mend the"
            " permissions, and run again to go on, or name another folder with --out"
        ) from error
    except (JaxRuntimeError, MemoryError) as error:
        why, kept = _first_line(error), _kept(path)
        if devices.is_out_of_memory(error):
            from igrlib.experiments.layouts import least_free
            from igrlib.experiments.runner import less

            free = least_free()
            told = "" if free is None else f", {free / 2**20:,.1f} MiB are free"
            what = f"unit {unit.name} ran out of memory{told}: {less(unit)}"
            raise UnitFailed(f"{what}; {kept} ({why})") from error
        if devices.is_lost(error):
            raise DeviceLost(
                f"the device was lost in unit {unit.name} ({why}); {kept}",
                got_on=_stamp(path) != before,
            ) from error
        raise


def _stamp(path: Path) -> tuple[int, int] | None:
    """A pair that changes with each checkpoint."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def _kept(path: Path) -> str:
    step = checkpoint.step_of(path)
    return "it has no checkpoint" if step is None else f"its checkpoint of step {step} is kept"


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
