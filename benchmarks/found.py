"""What the comparisons found, as JSON of the schema in `schema.json`, with where it was found."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from .workers import Turns

SCHEMA = Path(__file__).with_name("schema.json")


class Series(NamedTuple):
    """The values of one competitor in the order measured, one each round if it took turns.

    `others` is the share of the machine, 0 to 1, that other programs took meanwhile, None where
    the system does not tell; empty where nobody looked.
    """

    name: str
    unit: str
    values: Sequence[float]
    others: Sequence[float | None] = ()


class Comparison(NamedTuple):
    """All that was compared on one problem; `comparison` is what `--only` calls it."""

    comparison: str
    problem: str
    series: Sequence[Series]


def of_turns(
    comparison: str,
    problem: object,
    turns: Turns,
    unit: str,
    other_units: Mapping[str, str] | None = None,
) -> Comparison:
    """What `take_turns` returned, in `unit`, or for the names in `other_units` in theirs."""
    units = other_units or {}
    series = [
        Series(name, units.get(name, unit), values, turns.others[name])
        for name, values in turns.times.items()
    ]
    return Comparison(comparison, str(problem), series)


def as_json(environment: Mapping[str, Any], comparisons: Sequence[Comparison]) -> str:
    """The content of a file of `results/`."""
    told = [
        {**found._asdict(), "series": [series._asdict() for series in found.series]}
        for found in comparisons
    ]
    held = {"environment": dict(environment), "comparisons": told}
    return json.dumps(held, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
