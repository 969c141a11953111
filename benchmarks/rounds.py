"""The arithmetic of a comparison: medians and ranges, ratios round by round, and noise.

The things compared take turns, A B C A B C …, so that whatever slows the machine for a while slows
them all; a ratio is taken within a round and its median and range over the rounds.
"""

import statistics
from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

SPREAD = 1.25
"""A thing whose slowest round took this many times its fastest makes the machine too noisy."""

OTHERS = 0.1
"""So does the work of other programs beyond this share of the machine in the middle round."""


say = partial(print, flush=True)


class Summary(NamedTuple):
    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{_digits(self.median)} ({_digits(self.low)} to {_digits(self.high)})"


def summary(values: Sequence[float]) -> Summary:
    return Summary(statistics.median(values), min(values), max(values))


def ratios(slow: Sequence[float], fast: Sequence[float]) -> Summary:
    """How many times longer `slow` took than `fast`, each round against the same round."""
    return summary([s / f for s, f in zip(slow, fast, strict=True)])


def complaints(
    times: Mapping[str, Sequence[float]], others: Mapping[str, Sequence[float | None]]
) -> list[str]:
    """What tells against the machine, the worst of each kind; empty where it was quiet.

    `times` are seconds; `others` the share of the machine, 0 to 1, that other programs took
    meanwhile, None where the system does not tell.
    """
    lines: list[str] = []
    spread, name = max((max(values) / min(values), name) for name, values in times.items())
    if spread > SPREAD:
        lines.append(f"the slowest round took up to {spread:.2f} times the fastest ({name})")
    told = {name: [s for s in shares if s is not None] for name, shares in others.items()}
    middle = [(statistics.median(shares), name) for name, shares in told.items() if shares]
    share, name = max(middle, default=(0.0, ""))
    if share > OTHERS:
        lines.append(f"other programs took up to {share:.0%} of the machine ({name})")
    return lines


def _digits(value: float) -> str:
    """Three digits, without an exponent."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"
