"""Several arms of a record judged as one, with all of their blocks.

Source: chapter 10, *The edge of stability*.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from igrlib.experiments._xarray import xr
from igrlib.experiments.records import Record
from igrlib.experiments.table import arms, missing_units, table_of
from igrlib.experiments.thresholds import Thresholds
from igrlib.experiments.verdicts.judgement import not_whole_reason
from igrlib.experiments.verdicts.rules import Reason, recorded_thresholds

__all__ = ["judged_together", "together"]

V = TypeVar("V", bound=Any)


def judged_together(
    record: Record | None,
    arm: str | Sequence[str],
    thresholds: Thresholds | None,
    judge: Callable[[str, Sequence[xr.Dataset], Thresholds], Sequence[V]],
    unknown: Callable[[str, float, Reason], tuple[V, ...]],
) -> tuple[V, ...]:
    """The result of `judge(label, tables, thresholds)` for one arm or several.

    `thresholds` are by default those that the record was made with. Without a record, an arm or a
    table that can be judged the result is `unknown(label, level, reason)`. With units missing the
    word is "cannot tell", and there are no words at other levels.

    Source: chapter 10, *The edge of stability*.
    """
    names = (arm,) if isinstance(arm, str) else tuple(arm)
    label, level = " with ".join(names), (thresholds or Thresholds()).level
    if record is None:
        return unknown(label, level, Reason("no record"))
    for name in names:
        if name not in arms(record):
            return unknown(label, level, Reason("no arm", (name,)))
    try:
        judged = thresholds or _thresholds(record, names)
        level = judged.level
        found = judge(label, [table_of(record, name) for name in names], judged)
    except ValueError as error:
        return unknown(label, level, Reason("not usable", (str(error),)))
    lacking = tuple(reason for name in names if (reason := not_whole_reason(record, name)))
    if not lacking:
        return tuple(found)
    missing = tuple(unit for name in names for unit in missing_units(record, name))
    return tuple(
        replace(one, word="cannot tell", reasons=lacking, missing=missing, levels={})
        for one in found
    )


def _thresholds(record: Record, names: Sequence[str]) -> Thresholds:
    """The thresholds of several arms; `ValueError` where they differ.

    Source: chapter 10, *The edge of stability*.
    """
    found = {recorded_thresholds(record, name) for name in names}
    if len(found) != 1:
        raise ValueError(f"arm must be arms of the same thresholds, got {', '.join(names)}")
    return found.pop()


def together(
    tables: Sequence[xr.Dataset], of: Callable[[xr.Dataset], xr.DataArray]
) -> xr.DataArray:
    """A quantity of several tables of the same treatments, (block, treatment), with all blocks.

    Raises `ValueError` where the treatments differ, or two tables have a block in common.

    Source: chapter 10, *The edge of stability*.
    """
    first, names = tables[0], ("width", "batch_size", "seed")
    for name in ("learning_rate", "mu"):
        if any(not np.array_equal(first[name], one[name]) for one in tables):
            raise ValueError(f"arm must be arms of the same {name}, got others")
    keys = [
        key
        for one in tables
        for key in zip(*(one[name].values.tolist() for name in names), strict=True)
    ]
    if len(set(keys)) < len(keys):
        raise ValueError("arm must be arms without a block in common: width, batch size and seed")
    parts = [of(one).transpose("block", "treatment") for one in tables]
    return xr.concat(parts, "block", coords="minimal", compat="override")
