"""R_IG and test accuracy against learning rate, network size and batch size: Figure A.6.

Source: Appendix A.5, Figure A.6; chapter 7, *MNIST*.
"""

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, NullLocator

from igrlib.experiments._xarray import xr
from igrlib.experiments.records import Record
from igrlib.experiments.table import arms
from igrlib.plots._marks import (
    FEW,
    learning_rate_axis,
    legend_above,
    legend_handles,
    models,
    say_record,
    seed_lines,
)
from igrlib.plots._tables import Palette, chosen, palette, plain
from igrlib.plots.style import COLORS

__all__ = ["figure_a6"]


def figure_a6(
    record: Record,
    arm: str = "sgd",
    *,
    selection: str = "validation",
    batch_arms: Sequence[str] | None = None,
) -> Figure:
    """R_IG and test accuracy against h and against m, R_IG by batch size, accuracy against R_IG.

    At the chosen point of every model; `selection` as in `igrlib.plots.mnist.figure_2`.
    `batch_arms` are drawn by batch size beside `arm` at their widths; None takes all recorded arms
    of other batch sizes. Lines join the medians of three or more seeds, and otherwise the models
    of a seed.

    Raises `ValueError` for an arm or selection that was not recorded.

    Source: Figure A.6; chapter 7, *MNIST*.
    """
    table, colors = plain(record, arm), palette(record)
    regularizer = chosen(table, "train_squared_gradient", selection) / table["num_params"]
    accuracy = 100 * chosen(table, "test_accuracy", selection)
    m = regularizer["num_params"].broadcast_like(regularizer)
    h = regularizer["learning_rate"].broadcast_like(regularizer)
    every = table["learning_rate"].values
    # Nearly all of these models fitted all images: rings would be around nearly all.
    dots: dict[str, Any] = {"selection": selection, "rings": False}
    figure, grid = plt.subplots(3, 2, figsize=(7.2, 9.4), layout="constrained")
    for column, values in enumerate((regularizer, accuracy)):
        by_h, by_size = grid[0, column], grid[1, column]
        for width, rows in values.groupby("width"):
            seed_lines(by_h, every, rows.values, color=colors.widths[int(width)], band=False)
        models(by_h, h, values, table, colors, by="width", **dots)
        learning_rate_axis(by_h, every)
        _medians_by_size(by_size, values, colors)
        models(by_size, m, values, table, colors, by="learning rate", **dots)
        _size_axis(by_size, table["num_params"].values)
    _by_batch_size(grid[2, 0], record, table, batch_arms, selection, colors)
    models(grid[2, 1], regularizer, accuracy, table, colors, by="learning rate", **dots)
    grid[2, 1].set(xscale="log", xlabel="$R_{IG}$")
    for left, right in grid:
        left.set(yscale="log", ylabel="$R_{IG}$")
        right.set_ylabel("test accuracy (%)")
    handles = legend_handles(
        table, colors, learning_rates=True, widths="color", lines=True, band=False, **dots
    )
    legend_above(figure, handles)
    say_record(figure, record)
    return figure


def _size_axis(ax: Axes, size: np.ndarray) -> None:
    ax.set(
        xscale="log", xlabel="number of parameters $m$", xlim=(size.min() / 1.5, size.max() * 1.5)
    )
    ax.set_xticks(np.unique(size))
    ax.xaxis.set_major_formatter(EngFormatter(places=0, sep=""))
    ax.xaxis.set_minor_locator(NullLocator())


def _medians_by_size(ax: Axes, values: xr.DataArray, colors: Palette) -> None:
    by_size = values.groupby("num_params")
    medians = by_size.median().where(by_size.count() >= FEW)
    for h, row in zip(values["learning_rate"].values.tolist(), medians.T.values, strict=True):
        ax.plot(medians["num_params"], row, color=colors.learning_rates[h], lw=1.4)


def _by_batch_size(
    ax: Axes,
    record: Record,
    table: xr.Dataset,
    batch_arms: Sequence[str] | None,
    selection: str,
    colors: Palette,
) -> None:
    """R_IG against h, a colour for each batch size and a marker for each width."""
    if batch_arms is None:
        others = [plain(record, name) for name in arms(record) if name != table.attrs["arm"]]
        others = [t for t in others if not np.isin(t["batch_size"], table["batch_size"]).any()]
    else:
        others = [plain(record, name) for name in batch_arms]
    widths = np.unique(np.concatenate([t["width"] for t in others or [table]]))
    groups = {}
    for t in (table, *others):
        regularizer = chosen(t, "train_squared_gradient", selection) / t["num_params"]
        regularizer = regularizer.isel(block=np.isin(t["width"], widths))
        groups |= dict(regularizer.groupby(["batch_size", "width"]))
    shades = dict(zip(sorted({size for size, _ in groups}), [*COLORS.values()] * 9, strict=False))
    for (size, width), rows in sorted(groups.items()):
        style: dict[str, Any] = {"color": shades[size], "marker": colors.markers[width]}
        at = rows["learning_rate"].values
        ax.plot(at, rows.values.T, ls="none", ms=3, alpha=0.7, **style)
        seed_lines(ax, at, rows.values, ms=0, band=False, **style)
        whole = "all " if rows["full_batch"].all() else ""
        ax.plot([], [], label=f"{whole}{size:,}, width {width}", **style)
    learning_rate_axis(
        ax, np.unique(np.concatenate([rows["learning_rate"] for rows in groups.values()]))
    )
    below = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.2), "ncols": 2}
    ax.legend(title="batch size", fontsize="small", title_fontsize="small", **below)
