"""Work that can be stopped after any of its pieces, and goes on from a checkpoint to the same bits.

Source: not in the paper; the appendix *How to reproduce*.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["Job", "Stopped"]


class Stopped(Exception):
    """The work was asked to stop; its checkpoint is written."""


class Job(ABC):
    """What makes the arrays of a unit, piece by piece; `seconds` is how long it has worked."""

    seconds: float = 0.0

    def run(
        self,
        *,
        checkpoint: Path | None = None,
        identity: dict[str, Any] | None = None,
        every: float = 300.0,
        asked_to_stop: Callable[[], bool] = lambda: False,
        progress: Callable[[int, str], None] = lambda done, what: None,
    ) -> dict[str, np.ndarray]:
        """The arrays of the finished unit.

        Goes on from `checkpoint` where that exists, and writes it every `every` seconds. When
        `asked_to_stop`, writes it and raises `Stopped`. `progress(done, what)` takes the steps of
        single models that are done. Raises `RecordError` for a checkpoint that is damaged or was
        written for another `identity`.
        """
        if checkpoint is not None and checkpoint.exists():
            self._restore(checkpoint, identity or {})
        written = began = time.monotonic()
        before = self.seconds
        for done, what in self._pieces():
            progress(done, what)
            self.seconds = before + time.monotonic() - began
            stop = asked_to_stop()
            if checkpoint is not None and (stop or time.monotonic() - written > every):
                self._save(checkpoint, identity or {})
                written = time.monotonic()
            if stop:
                raise Stopped
        return self._finished()

    @abstractmethod
    def _pieces(self) -> Iterator[tuple[int, str]]:
        """Do the work piece by piece; between two pieces `self` holds everything."""

    @abstractmethod
    def _finished(self) -> dict[str, np.ndarray]:
        """The arrays, when all is done."""

    @abstractmethod
    def _save(self, path: Path, identity: dict[str, Any]) -> None:
        """Write the checkpoint."""

    @abstractmethod
    def _restore(self, path: Path, identity: dict[str, Any]) -> None:
        """Go back to the checkpoint, or raise `RecordError`."""
