"""What training does along the way: Figures A.3, A.4 and A.5.

Each seed is a line that ends where its run does; the axis of time is linear from 0 to the power of
ten at or after the first measurement, logarithmic from there on. A diverged model is only counted.

Source: Appendix A.5, Figures A.3-A.5; chapter 7, *MNIST*.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from igrlib.experiments.blocks import Blocks
from igrlib.experiments.records import Record
from igrlib.plots._marks import legend_above, legend_handles, seed_lines
from igrlib.plots._tables import Palette, one_width, palette

__all__ = ["figure_a3", "figure_a4", "figure_a5"]

_RATIO, _WEIGHTED = "$R_{IG}\\,/\\,E$", "$\\lambda R_{IG}\\,/\\,E$"


def figure_a3(record: Record, arm: str = "sgd", *, width: int | None = None) -> Figure:
    """Training loss, R_IG, R_IG/E, λR_IG/E and the growth of ‖θ‖ against steps, by learning rate.

    The dashed lines are the growth that Proposition A.9 allows, the sum of h·slope over all steps,
    here from the recorded slopes of the whole training split, by trapezoids in t. That bounds
    full-batch descent; a batch has a steeper slope of its own. `width` may be left out where the
    arm has only one.

    Raises `ValueError` for an arm or width that was not recorded.

    Source: Figure A.3, Proposition A.9; chapter 7, *MNIST*.
    Differs from the paper: both R_IG/E of its text and λR_IG/E of its caption are drawn.
    """
    table, colors = one_width(record, arm, width), palette(record)
    step, h = table.shared["gradient_step"], table.learning_rate[None, :, None]
    growth = table.value("norm") - table.value("norm")[..., :1]
    slope = np.sqrt(table.value("train_squared_gradient"))
    pieces = h * (slope[..., 1:] + slope[..., :-1]) / 2 * np.diff(step)
    allowed = np.concatenate([0 * slope[..., :1], np.cumsum(pieces, axis=-1)], axis=-1)
    figure, grid = plt.subplots(3, 2, figsize=(7.2, 8.4), layout="constrained")
    times = np.broadcast_to(step, (len(table.learning_rate), len(step)))
    _losses(grid.ravel()[:4], times, _regularizers(table), table, colors)
    _curves(grid[2, 0], times, growth, table, colors)
    _curves(grid[2, 0], times, allowed, table, colors, ls="--")
    grid[2, 0].set(title="(d)", ylabel=r"$\Vert\theta_t\Vert - \Vert\theta_0\Vert$")
    grid[2, 0].set_yscale("symlog", linthresh=1.0)
    for ax in grid.flat[:5]:
        ax.set_xlabel("step $t$")
    grid[2, 1].set_axis_off()
    handles = legend_handles(table, colors, rates=True, lines=True, points=False)
    bound = r"(d) $\int h\,\Vert\nabla E\Vert\,dt$ by trapezoids"
    handles.append(Line2D([], [], color="black", lw=1, ls="--", label=bound))
    grid[2, 1].legend(handles=handles, loc="center")
    return figure


def figure_a4(record: Record, arm: str = "sgd", *, width: int | None = None) -> Figure:
    """Loss, R_IG, R_IG/E and accuracy on test data against steps, by learning rate.

    Of the accuracy the ten points below the best are shown, where the learning rates differ.
    `width` and the errors are as in `figure_a3`.

    Source: Figure A.4; chapter 7, *MNIST*.
    """
    table, colors = one_width(record, arm, width), palette(record)
    score, step = table.shared["score_step"], table.shared["gradient_step"]
    m = table.num_params[:, None, None]
    loss, accuracy = table.value("test_loss"), 100 * table.value("test_accuracy")
    regularizer = table.value("test_squared_gradient") / m
    ratio = regularizer / loss[..., np.searchsorted(score, step)]
    figure, grid = plt.subplots(2, 2, figsize=(7.2, 6.4), layout="constrained")
    for ax, title, label, at, values in (
        (grid[0, 0], "(a)", "test loss $E$", score, loss),
        (grid[0, 1], "(b)", "test $R_{IG}$", step, regularizer),
        (grid[1, 0], "(c)", f"test {_RATIO}", step, ratio),
        (grid[1, 1], "(d)", "test accuracy (%)", score, accuracy),
    ):
        times = np.broadcast_to(at, (len(table.learning_rate), len(at)))
        _curves(ax, times, values, table, colors)
        ax.set(title=title, xlabel="step $t$", ylabel=label)
        if ax is not grid[1, 1]:
            ax.set_yscale("log")
    best = np.nanmax(accuracy, initial=10.0)
    grid[1, 1].set_ylim(best - 10, best + 0.5)
    handles = legend_handles(table, colors, rates=True, lines=True, points=False)
    legend_above(figure, handles)
    return figure


def figure_a5(record: Record, arm: str = "sgd", *, width: int | None = None) -> Figure:
    """Training loss, R_IG, R_IG/E and λR_IG/E against physical time T = t·h, by learning rate.

    `width` and the errors are as in `figure_a3`.

    Source: Figure A.5; chapter 7, *MNIST*.
    """
    table, colors = one_width(record, arm, width), palette(record)
    times = table.learning_rate[:, None] * table.shared["gradient_step"][None, :]
    figure, grid = plt.subplots(2, 2, figsize=(7.2, 6.4), layout="constrained")
    _losses(grid.ravel(), times, _regularizers(table), table, colors)
    for ax in grid.flat:
        ax.set_xlabel("physical time $T = t\\,h$")
    handles = legend_handles(table, colors, rates=True, lines=True, points=False)
    legend_above(figure, handles)
    return figure


def _regularizers(table: Blocks) -> dict[str, np.ndarray]:
    """E, R_IG, R_IG/E and λR_IG/E on training data by axis label, each (B, R, G)."""
    m, h = table.num_params[:, None, None], table.learning_rate[None, :, None]
    loss = table.value("train_loss")
    regularizer = table.value("train_squared_gradient") / m
    ratio = regularizer / loss
    return {
        "training loss $E$": loss,
        "$R_{IG}$": regularizer,
        _RATIO: ratio,
        _WEIGHTED: h * m / 4 * ratio,
    }


def _losses(
    axes: np.ndarray,
    times: np.ndarray,
    panels: dict[str, np.ndarray],
    table: Blocks,
    colors: Palette,
) -> None:
    for ax, title, label in zip(axes, ("(a)", "(b)", "(c)", "(c′)"), panels, strict=True):
        _curves(ax, times, panels[label], table, colors)
        ax.set(title=title, ylabel=label, yscale="log")


def _curves(
    ax: Axes, times: np.ndarray, values: np.ndarray, table: Blocks, colors: Palette, ls: str = "-"
) -> None:
    """`values`, (B, R, T), against `times`, (R, T)."""
    for j, rate in enumerate(table.learning_rate):
        seed_lines(ax, times[j], values[:, j], color=colors.rates[float(rate)], ls=ls)
    first = 10.0 ** np.ceil(np.log10(times[times > 0].min()))
    ax.set_xscale("symlog", linthresh=float(first), linscale=0.5)
