"""What training does along the way: Figures A.3, A.4, A.5 and A.7.

A line is the median of the seeds, and ends where the first of their runs does; the band has all of
them, or from eight on their middle half. With two seeds each is a line. A diverged model is only
counted.

Source: Appendix A.5; chapters 7, *MNIST*, and 8, *ResNet-18*.
"""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator

from igrlib.experiments._xarray import xr
from igrlib.experiments.records import Record
from igrlib.plots._marks import legend_above, legend_handles, say_record, seed_lines
from igrlib.plots._tables import Palette, one_width, palette

__all__ = ["figure_a3", "figure_a4", "figure_a5", "figure_a7"]

_R_IG, _RATIO, _WEIGHTED = "$R_{IG}$", "$R_{IG}\\,/\\,E$", "$\\lambda R_{IG}\\,/\\,E$"


class _Panel(NamedTuple):
    """A quantity along the way, (block, treatment, steps), and the dashed lines with it."""

    title: str
    label: str
    values: xr.DataArray
    scale: Literal["log", "linear", "symlog"] = "log"
    dashed: xr.DataArray | None = None


def figure_a3(record: Record, arm: str = "sgd", *, width: int | None = None) -> Figure:
    """Training loss, R_IG, R_IG/E, λR_IG/E and the growth of ‖θ‖ against steps, by learning rate.

    The axis of steps is linear from 0 to the power of ten at or after the first measurement,
    logarithmic from there on. The dashed lines are the growth that Proposition A.9 allows, the sum
    of h·slope over all steps, here from the recorded slopes of the whole training split, by
    trapezoids in t. That bounds full-batch descent; a batch has a steeper slope of its own. `width`
    may be left out where the arm has only one.

    Raises `ValueError` for an arm or width that was not recorded.

    Source: Figure A.3, Proposition A.9; chapter 7, *MNIST*.
    Differs from the paper: both R_IG/E of its text and λR_IG/E of its caption are drawn.
    """

    def panels(table: xr.Dataset) -> list[_Panel]:
        norm, slope = table["norm"], table["train_squared_gradient"] ** 0.5
        growth = norm - norm.isel(gradient_step=0)
        allowed = slope.cumulative_integrate("gradient_step") * table["learning_rate"]
        allowed = allowed.where(slope.notnull())  # also the 0 at the start of a diverged model
        label = r"$\Vert\theta_t\Vert - \Vert\theta_0\Vert$"
        return [*_training(table), _Panel("(d)", label, growth, "symlog", allowed)]

    bound = r"(d) $\int h\,\Vert\nabla E\Vert\,dt$ by trapezoids"
    return _figure(record, arm, width, panels, dashed=bound)


def figure_a4(record: Record, arm: str = "sgd", *, width: int | None = None) -> Figure:
    """Loss, R_IG, R_IG/E and accuracy on test data against steps, by learning rate.

    Of the accuracy the ten points below the best are shown, where the learning rates differ. The
    axis of steps, `width` and the errors are as in `figure_a3`.

    Source: Figure A.4; chapter 7, *MNIST*.
    """

    def panels(table: xr.Dataset) -> list[_Panel]:
        loss, accuracy = table["test_loss"], 100 * table["test_accuracy"]
        regularizer = table["test_squared_gradient"] / table["num_params"]
        then = loss.rename(score_step="gradient_step").sel(gradient_step=table["gradient_step"])
        return [
            _Panel("(a)", "test loss $E$", loss),
            _Panel("(b)", f"test {_R_IG}", regularizer),
            _Panel("(c)", f"test {_RATIO}", regularizer / then),
            _Panel("(d)", "test accuracy (%)", accuracy, "linear"),
        ]

    figure = _figure(record, arm, width, panels)
    best = max(10.0, figure.axes[3].dataLim.y1)
    figure.axes[3].set_ylim(best - 10, best + 0.5)
    say_record(figure, record)
    return figure


def figure_a5(record: Record, arm: str = "sgd", *, width: int | None = None) -> Figure:
    """Training loss, R_IG, R_IG/E and λR_IG/E against physical time T = t·h, by learning rate.

    The axis of time, `width` and the errors are as in `figure_a3`.

    Source: Figure A.5; chapter 7, *MNIST*.
    """
    return _figure(record, arm, width, _training, physical=True)


def figure_a7(record: Record, arm: str = "sgd", *, width: int | None = None) -> Figure:
    """Accuracies, R_IG, slope, ‖θ‖ and training loss against steps, by learning rate.

    Everything of the training split in training mode, test accuracy in evaluation mode. `width` may
    be left out where the arm has only one.

    Raises `ValueError` for an arm or width that was not recorded.

    Source: Figure A.7; chapter 8, *ResNet-18*.
    """

    def panels(table: xr.Dataset) -> list[_Panel]:
        squared = table["train_squared_gradient"]
        return [
            _Panel("(a)", "test accuracy (%)", 100 * table["test_accuracy"], "linear"),
            _Panel("(b)", _R_IG, squared / table["num_params"]),
            _Panel("(c)", r"slope $\Vert\nabla E\Vert$", squared**0.5),
            _Panel("(d)", r"$\Vert\theta\Vert$", table["norm"], "linear"),
            _Panel("(e)", "training accuracy (%)", 100 * table["train_accuracy"], "linear"),
            _Panel("(f)", "training loss $E$", table["train_loss"]),
        ]

    return _figure(record, arm, width, panels, logarithmic=False)


def _training(table: xr.Dataset) -> list[_Panel]:
    """E, R_IG, R_IG/E and λR_IG/E on training data."""
    m, loss = table["num_params"], table["train_loss"]
    regularizer = table["train_squared_gradient"] / m
    ratio = regularizer / loss
    return [
        _Panel("(a)", "training loss $E$", loss),
        _Panel("(b)", _R_IG, regularizer),
        _Panel("(c)", _RATIO, ratio),
        _Panel("(c′)", _WEIGHTED, ratio * m * table["learning_rate"] / 4),
    ]


def _figure(
    record: Record,
    arm: str,
    width: int | None,
    panels: Callable[[xr.Dataset], Sequence[_Panel]],
    *,
    physical: bool = False,
    logarithmic: bool = True,
    dashed: str | None = None,
) -> Figure:
    """Two panels a row, against steps or `physical` time; `dashed` says what dashed lines are."""
    table, colors = one_width(record, arm, width), palette(record)
    drawn = panels(table)
    rows = -(-len(drawn) // 2)
    figure, grid = plt.subplots(rows, 2, figsize=(7.2, 2.4 * rows + 0.4), layout="constrained")
    for ax, panel in zip(grid.flat, drawn, strict=False):
        _curves(ax, panel.values, colors, physical, logarithmic)
        if panel.dashed is not None:
            _curves(ax, panel.dashed, colors, physical, logarithmic, ls="--")
        ax.set(title=panel.title, ylabel=panel.label)
        ax.set_xlabel("physical time $T = t\\,h$" if physical else "step $t$")
        ax.set_yscale(panel.scale, **({"linthresh": 1.0} if panel.scale == "symlog" else {}))
    handles = legend_handles(table, colors, learning_rates=True, lines=True, points=False)
    if dashed is not None:
        handles.append(Line2D([], [], color="black", lw=1, ls="--", label=dashed))
    if len(drawn) < grid.size:
        grid.flat[-1].set_axis_off()
        grid.flat[-1].legend(handles=handles, loc="center")
    else:
        legend_above(figure, handles)
    say_record(figure, record)
    return figure


def _curves(
    ax: Axes,
    values: xr.DataArray,
    colors: Palette,
    physical: bool,
    logarithmic: bool,
    ls: str = "-",
) -> None:
    values = values.transpose("block", "treatment", ...)
    steps = values[str(values.dims[-1])].values
    h = values["learning_rate"].values
    times = np.outer(h if physical else np.ones(len(h)), steps)
    for j, one in enumerate(h.tolist()):
        style = {"color": colors.learning_rates[one], "ls": ls, "band": ls == "-"}
        seed_lines(ax, times[j], values.values[:, j], **style)
    if logarithmic:
        low, high = np.log10([times[times > 0].min(), times.max()])
        decades = np.arange(np.ceil(low), np.floor(high) + 1)
        ax.set_xscale("symlog", linthresh=float(10 ** decades[0]), linscale=0.5)
        # With seven decades, every other one: half a page has no room for all of them and the 0.
        shown = decades if len(decades) < 7 else decades[1::2]
        ax.xaxis.set_major_locator(FixedLocator([0.0, *10**shown]))
