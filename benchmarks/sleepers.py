"""Competitors whose pace is known, to try the turns with."""

import os
import time

from .workers import Job

FLAG = "IGR_BENCH_SLEEPER"


def sleeper(seconds: float, units: float) -> Job:
    """`units` of work that take so many seconds."""
    return Job(lambda: time.sleep(seconds), units)


def flagged(seconds: float, units: float) -> Job:
    """The same, but a second longer without its flag in the environment."""
    return sleeper(seconds + (os.environ.get(FLAG) != "on"), units)


def failing() -> Job:
    """One that cannot be set up."""
    raise ValueError("no such luck")
