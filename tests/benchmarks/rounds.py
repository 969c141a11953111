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
    """What tells against the machine, a line for each; empty where it was quiet.

    `times` are seconds; `others` the share of the machine, 0 to 1, that other programs took
    meanwhile, None where the system does not tell.
    """
    lines: list[str] = []
    for name, values in times.items():
        spread = max(values) / min(values)
        if spread > SPREAD:
            lines.append(f"{name}: the slowest round took {spread:.2f} times the fastest")
        shares = [share for share in others[name] if share is not None]
        if shares and statistics.median(shares) > OTHERS:
            share = statistics.median(shares)
            lines.append(f"{name}: other programs took {share:.0%} of the machine meanwhile")
    return lines


def _digits(value: float) -> str:
    """Three digits, without an exponent."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"
