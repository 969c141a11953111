"""What the figures of a sweep read from its record, and the colours and markers it gets there."""

from dataclasses import dataclass
from typing import Any

from igrlib.experiments import table as tables
from igrlib.experiments._xarray import xr
from igrlib.experiments.records import Record
from igrlib.experiments.schema import POINTS
from igrlib.plots.style import learning_rate_colors

__all__ = ["Palette", "chosen", "one_width", "palette", "plain"]

_MARKERS = "o^sDvP*X"
# Light to dark like the learning rates, from orange by red to black, so that the two are not taken
# for each other; the lightest has a contrast of 3 with white.
_WIDTH_COLORS = ("#ea632a", "#c63d4d", "#972766", "#67166e", "#340a5f", "#000004")


@dataclass(frozen=True)
class Palette:
    """Colours by learning rate and width, markers by width: the same in all figures of a record."""

    learning_rates: dict[float, Any]
    widths: dict[int, str]
    markers: dict[int, str]


def palette(record: Record) -> Palette:
    """Colours and markers for all learning rates and widths of a record, in every arm."""
    units = record.units.values()
    learning_rates = sorted({float(h) for unit in units for h in unit.arrays["learning_rate"]})
    widths = sorted({int(unit.meta["unit_config"]["width"]) for unit in units})
    shades = [_WIDTH_COLORS[k % len(_WIDTH_COLORS)] for k in range(len(widths))]
    marks = [_MARKERS[k % len(_MARKERS)] for k in range(len(widths))]
    return Palette(
        dict(zip(learning_rates, learning_rate_colors(learning_rates), strict=True)),
        dict(zip(widths, shades, strict=True)),
        dict(zip(widths, marks, strict=True)),
    )


def plain(record: Record, arm: str) -> xr.Dataset:
    """The models of an arm without explicit regularization."""
    return tables.plain(tables.table_of(record, arm))


def one_width(record: Record, arm: str, width: int | None) -> xr.Dataset:
    """The blocks of one width of an arm; None where it has only one.

    Raises `ValueError` for another width, naming those recorded.
    """
    table = plain(record, arm)
    there = sorted(set(table["width"].values.tolist()))
    if width is None and len(there) == 1:
        width = there[0]
    if width is None or width not in there:
        raise ValueError(f"width must be one of {there}, recorded for arm {arm!r}, got {width}")
    return tables.of_width(table, width)


def chosen(table: xr.Dataset, name: str, selection: str) -> xr.DataArray:
    """(block, treatment, …) of a measure at the point that `selection` names.

    Raises `ValueError` where the arm was not measured there, naming where it was.
    """
    if selection not in POINTS:
        raise ValueError(f"selection must be one of {POINTS}, got {selection!r}")
    values = table[f"chosen_{name}"]
    there = [point for point in POINTS if values.sel(point=point).notnull().any()]
    if selection not in there:
        raise ValueError(
            f"selection must be one of {there}, where {name} of arm {table.attrs['arm']!r} was "
            f"measured, got {selection!r}"
        )
    return values.sel(point=selection)
