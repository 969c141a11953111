"""R_IG and test accuracy against learning rate, network size and batch size: Figure A.6.

Source: Appendix A.5, Figure A.6; chapter 7, *MNIST*.
"""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, NullLocator

from igrlib.experiments.blocks import Blocks, arms
from igrlib.experiments.records import Record
from igrlib.plots._marks import MANY, legend_above, legend_handles, models, rate_axis, seed_lines
from igrlib.plots._tables import Palette, chosen, palette, plain, unit_configs
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
    of other batch sizes. Lines against h join the models of a seed, those against m the medians of
    8 or more seeds.

    Raises `ValueError` for an arm or selection that was not recorded.

    Source: Figure A.6; chapter 7, *MNIST*.
    """
    table, colors = plain(record, arm), palette(record)
    m = np.broadcast_to(table.num_params[:, None], table.finished.shape)
    h = np.broadcast_to(table.learning_rate, table.finished.shape)
    regularizer = chosen(table, "train_squared_gradient", selection) / m
    accuracy = 100 * chosen(table, "test_accuracy", selection)
    figure, grid = plt.subplots(3, 2, figsize=(7.2, 9.4), layout="constrained")
    for column, values in enumerate((regularizer, accuracy)):
        by_rate, by_size = grid[0, column], grid[1, column]
        for width in np.unique(table.width):
            rows = values[table.width == width]
            seed_lines(by_rate, table.learning_rate, rows, color=colors.widths[int(width)])
        models(by_rate, h, values, table, colors, by="width", selection=selection)
        rate_axis(by_rate, table.learning_rate)
        _medians_by_size(by_size, m[:, 0], values, table, colors)
        models(by_size, m, values, table, colors, by="rate", selection=selection)
        _size_axis(by_size, m[:, 0])
    _by_batch_size(grid[2, 0], record, table, batch_arms, selection, colors)
    models(grid[2, 1], regularizer, accuracy, table, colors, by="rate", selection=selection)
    grid[2, 1].set(xscale="log", xlabel="$R_{IG}$")
    for left, right in grid:
        left.set(yscale="log", ylabel="$R_{IG}$")
        right.set_ylabel("test accuracy (%)")
    handles = legend_handles(
        table, colors, rates=True, widths="color", selection=selection, lines=True
    )
    legend_above(figure, handles)
    return figure


def _size_axis(ax: Axes, size: np.ndarray) -> None:
    ax.set(
        xscale="log", xlabel="number of parameters $m$", xlim=(size.min() / 1.5, size.max() * 1.5)
    )
    ax.set_xticks(np.unique(size))
    ax.xaxis.set_major_formatter(EngFormatter(places=0, sep=""))
    ax.xaxis.set_minor_locator(NullLocator())


def _medians_by_size(
    ax: Axes, size: np.ndarray, values: np.ndarray, table: Blocks, colors: Palette
) -> None:
    sizes = np.unique(size)
    for j, rate in enumerate(table.learning_rate):
        cells = [values[(size == m) & np.isfinite(values[:, j]), j] for m in sizes]
        medians = [np.median(cell) if len(cell) >= MANY else np.nan for cell in cells]
        ax.plot(sizes, medians, color=colors.rates[float(rate)], lw=1.4)


def _by_batch_size(
    ax: Axes,
    record: Record,
    table: Blocks,
    batch_arms: Sequence[str] | None,
    selection: str,
    colors: Palette,
) -> None:
    """R_IG against h, a colour for each batch size and a marker for each width."""
    if batch_arms is None:
        others = [name for name in arms(record) if name != table.arm]
        tables = [plain(record, name) for name in others]
        tables = [t for t in tables if not np.isin(t.batch_size, table.batch_size).any()]
    else:
        tables = [plain(record, name) for name in batch_arms]
    widths = np.unique(np.concatenate([t.width for t in tables] or [table.width]))
    groups = {}
    for t in (table, *tables):
        regularizer = chosen(t, "train_squared_gradient", selection)
        regularizer = regularizer / t.num_params[:, None]
        whole = {config["num_train"] for config in unit_configs(record, t.arm)}
        for width, size in sorted({*zip(t.width.tolist(), t.batch_size.tolist(), strict=True)}):
            if width in widths:
                rows = (t.width == width) & (t.batch_size == size)
                groups[size, width] = (t.learning_rate, regularizer[rows], size in whole)
    sizes = sorted({size for size, _ in groups})
    shades = dict(zip(sizes, [*COLORS.values()] * len(sizes), strict=False))
    for (size, width), (rates, rows, full) in sorted(groups.items()):
        marker = colors.markers[width]
        seed_lines(ax, rates, rows, color=shades[size], marker=marker, ms=3.5)
        label = f"{'all ' if full else ''}{size:,}, width {width}"
        ax.plot([], [], color=shades[size], marker=marker, label=label)
    rate_axis(ax, np.unique(np.concatenate([rates for rates, *_ in groups.values()])))
    below = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.2), "ncols": 2}
    ax.legend(title="batch size", fontsize="small", title_fontsize="small", **below)
