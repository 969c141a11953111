"""How models are drawn: every seed, what was censored, what fitted, what diverged."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator, NullLocator

from igrlib.experiments._xarray import xr
from igrlib.experiments.records import Record
from igrlib.plots._tables import Palette

__all__ = [
    "FEW",
    "MANY",
    "TRAINING",
    "decade_axis",
    "learning_rate_axis",
    "legend_above",
    "legend_handles",
    "models",
    "say_record",
    "seed_lines",
]

FEW = 3
"""From so many seeds on a figure shows their median and a band; fewer are shown one by one."""

MANY = 8
"""From so many seeds on the band has their middle half, else all of them."""

TRAINING = r"training loss $E$  (training $\rightarrow$)"
"""The label of an axis of losses on which training goes to the right."""


def seed_lines(
    ax: Axes,
    x: np.ndarray,
    rows: np.ndarray,
    *,
    median_from: int = FEW,
    band: bool = True,
    **style: Any,
) -> None:
    """The median of `median_from` or more seeds and a band; a thin line for each of fewer.

    `x`: (k,); `rows`: (seeds, k), NaN where nothing was measured, which breaks a line. The median
    is over the seeds that have all values, if these are at least half; else over those with any,
    where all of these have one. The band has the middle half of `MANY` or more, all of fewer.
    """
    rows = rows[np.isfinite(rows).any(axis=1)]
    if len(rows) < median_from:
        for row in rows:
            ax.plot(x, row, lw=1.0, alpha=0.9, **style)
        return
    whole = rows[np.isfinite(rows).all(axis=1)]
    shown = whole if 2 * len(whole) >= len(rows) else rows
    if band:
        ends = (25, 75) if len(rows) >= MANY else (0, 100)
        low, high = np.percentile(shown, ends, axis=0)
        ax.fill_between(x, low, high, color=style["color"], alpha=0.18, lw=0)
    ax.plot(x, np.median(shown, axis=0), lw=2.0, **style)


def models(
    ax: Axes,
    x: xr.DataArray,
    y: xr.DataArray,
    table: xr.Dataset,
    colors: Palette,
    *,
    by: str,
    selection: str | None,
    rings: bool = True,
) -> None:
    """A point for each model of `table` at `(x, y)`: colour `by` "learning rate" or "width".

    Open: its best accuracy lies in the last tenth of the run; ringed, unless without `rings`: it
    fitted all training examples; a cross at the upper edge: it diverged. Without `selection`
    nothing is censored.
    """
    late = table.get(f"censored_{selection}", xr.zeros_like(table["finished"]))
    at = xr.Dataset({"x": x, "y": y, "late": late, **table[["finished", "diverged", "fitted"]]})
    model = at.stack(model=("block", "treatment"), create_index=False)
    known, gone = model["x"].notnull(), model["diverged"]
    shown = known & model["y"].notnull() & model["finished"] & ~gone

    def dots(cells: xr.DataArray, marker: str, **style: Any) -> None:
        one = model.isel(model=cells.values)
        if one.sizes["model"]:
            ax.plot(one["x"], one["y"], marker, ls="none", **style)

    keys = {
        *zip(model["width"].values.tolist(), model["learning_rate"].values.tolist(), strict=True)
    }
    for width, h in sorted(keys):
        here = (model["width"] == width) & (model["learning_rate"] == h)
        color = colors.learning_rates[h] if by == "learning rate" else colors.widths[width]
        dots(here & shown & ~model["late"], colors.markers[width], color=color, ms=5)
        dots(here & shown & model["late"], colors.markers[width], color=color, mfc="none", ms=5)
        out = model["x"].isel(model=(here & known & gone).values)
        if out.size:
            at_the_edge = {"transform": ax.get_xaxis_transform(), "clip_on": False}
            ax.plot(out, np.ones(out.size), "x", ms=6, color=color, ls="none", **at_the_edge)
    if rings:
        dots(shown & model["fitted"], "o", ms=9.5, mfc="none", mec="black", mew=0.7)


def learning_rate_axis(ax: Axes, learning_rates: np.ndarray) -> None:
    """Learning rates on a logarithmic axis, each with its tick, and its number if there is room."""
    ax.set(xscale="log", xlabel="learning rate $h$")
    numbers, last = [], 0.0
    first, largest = learning_rates[0], learning_rates[-1]
    for h in learning_rates:
        room = np.log(h / last) > 0.15 * np.log(largest / first) if last else True
        numbers.append(f"{h:g}" if room else "")
        last = h if room else last
    ax.set_xticks(learning_rates, numbers)
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xlim(0.8 * first, 1.25 * largest)


def decade_axis(ax: Axes, which: Literal["x", "y"]) -> None:
    """A logarithmic axis; over less than two decades its ticks are few numbers, each in full.

    Matplotlib labels all nine parts of a decade as powers of ten there, one over the other. To be
    called when everything is drawn.
    """
    ax.set(**{f"{which}scale": "log"})
    axis = ax.xaxis if which == "x" else ax.yaxis
    low, high = axis.get_view_interval()
    if high < 100 * low:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high > 5 * low else range(1, 10)))
        axis.set_major_formatter(lambda x, _: _number(x))
        axis.set_minor_locator(NullLocator())


def _number(x: float) -> str:
    """A tick: as a plain number where that is short."""
    if 1e-3 <= x < 1e5:
        return f"{x:g}"
    exponent = int(np.floor(np.log10(x) + 1e-9))
    return rf"${x / 10.0**exponent:g}\cdot10^{{{exponent}}}$"


def legend_above(figure: Figure, handles: Sequence[Artist]) -> None:
    """The legend of a whole figure."""
    figure.legend(handles=handles, loc="outside upper center", ncols=4, fontsize="small")


def say_record(figure: Figure, *records: Record) -> None:
    """Under a whole figure, the records that it is drawn from."""
    names = dict.fromkeys(f"{one.experiment}, profile {one.profile}" for one in records)
    told = "; ".join(names)
    figure.supxlabel(told, x=0.99, ha="right", fontsize="small", color="#595959")


def legend_handles(
    table: xr.Dataset,
    colors: Palette,
    *,
    learning_rates: bool = False,
    widths: str | None = None,
    selection: str | None = None,
    lines: bool = False,
    points: bool = True,
    rings: bool = True,
    band: bool = True,
) -> list[Artist]:
    """What the figure's colours, markers and lines mean, of those that occur in `table`.

    `widths`: None, "marker" or "color"; `lines` and `band`: seeds are drawn by `seed_lines`;
    `points` and `rings`: models are drawn by `models`.
    """
    diverged = table["diverged"]
    found: list[Artist] = []
    if learning_rates:
        every, counts = table["learning_rate"].values.tolist(), diverged.sum("block").values
        for h, gone in zip(every, counts, strict=True):
            color = colors.learning_rates[h]
            label = f"$h = {h:g}$" + (f" ({gone} diverged)" if gone and not points else "")
            found.append(Line2D([], [], color=color, lw=3, label=label))
    each, counts = np.unique(table["width"], return_counts=True)
    for width in each if widths else ():
        color = colors.widths[int(width)] if widths == "color" else "0.4"
        marker, ls = colors.markers[int(width)], "-" if lines else "none"
        found.append(Line2D([], [], color=color, marker=marker, ls=ls, label=f"width {width}"))
    if lines:
        if min(counts) < FEW:
            found.append(_black(lw=0.8, label="each seed"))
        if max(counts) >= FEW:
            found.append(_black(lw=2.0, label="median of the seeds"))
        if band and max(counts) >= FEW:
            share = "the middle half" if max(counts) >= MANY else "all seeds"
            found.append(Patch(color="black", alpha=0.18, lw=0, label=f"band: {share}"))
    if table.get(f"censored_{selection}", xr.DataArray(False)).any():
        found.append(_black(marker="o", mfc="none", ls="none", label="open: best in last tenth"))
    if points and rings and table["fitted"].any():
        ring = {"marker": "o", "ms": 9.5, "mfc": "none", "mew": 0.7, "ls": "none"}
        found.append(_black(**ring, label="ringed: fitted all images"))
    if points and diverged.any():
        found.append(_black(marker="x", ls="none", label=f"diverged ({int(diverged.sum())})"))
    return found


def _black(**style: Any) -> Line2D:
    return Line2D([], [], color="black", **style)
