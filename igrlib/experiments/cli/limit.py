"""The time limit of a run."""

import time

__all__ = ["Limit"]


class Limit:
    """A time limit: some work is done in any case, and no unit begins that could not stop in time.

    A unit can stop after each piece of its work. Before the first piece it loads data and compiles
    programs; how long that takes is known only afterwards. `longest_start` is the longest such
    start in this run, in seconds. With a limit of 0 nothing is done.
    """

    longest_start: float

    def __init__(self, seconds: float) -> None:
        self._seconds, self._began = seconds, time.monotonic()
        self._worked, self._unit_began = False, None
        self.longest_start = 0.0

    def begins(self) -> bool:
        """Whether the next unit may begin: the first may, and later ones while time is left.

        The unit counts as begun now.
        """
        now = time.monotonic()
        self._unit_began = now
        if not self._worked:
            return self._seconds > 0
        return now + self.longest_start < self._began + self._seconds

    def piece(self) -> None:
        """A piece of the unit's work is done."""
        self._worked = True
        if self._unit_began is not None:
            took, self._unit_began = time.monotonic() - self._unit_began, None
            self.longest_start = max(self.longest_start, took)

    @property
    def passed(self) -> bool:
        """Whether the run must stop; never before something is done, unless the limit is 0."""
        late = time.monotonic() >= self._began + self._seconds
        return late and (self._worked or self._seconds == 0)

    @property
    def too_short(self) -> str:
        """What to add where the start of a unit alone took longer, else nothing."""
        if not 0 < self._seconds < self.longest_start:
            return ""
        took = f"{self.longest_start:.0f} s"
        return f"; give a longer --time-limit: a unit took {took} to load data and compile"
