"""The figures of the ResNet-18 experiments, named after the paper's: a record in, a figure out.

Source: Appendix A.5, Figures A.7 and A.8; chapter 8, *ResNet-18*.
"""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from igrlib.experiments._xarray import xr
from igrlib.experiments.records import Record
from igrlib.experiments.verdicts.equal_loss import log_at
from igrlib.plots._marks import (
    learning_rate_axis,
    legend_above,
    legend_handles,
    models,
    say_record,
    seed_lines,
)
from igrlib.plots._tables import chosen, one_width, palette
from igrlib.plots.curves import figure_a7

__all__ = ["figure_a7", "figure_a8", "three_gradients"]

_R_IG = "$R_{IG}$"


def figure_a8(record: Record, arm: str = "sgd", *, selection: str = "validation") -> Figure:
    """Test accuracy and R_IG against h, and against one another, at the chosen point of each model.

    `selection` is "validation" or "test", the accuracy whose maximum chooses, in the paper the
    latter, or "final".

    Raises `ValueError` for an arm or selection that was not recorded.

    Source: Figure A.8; chapter 8, *ResNet-18*.
    """
    table, colors = one_width(record, arm, None), palette(record)
    regularizer = chosen(table, "train_squared_gradient", selection) / table["num_params"]
    accuracy = 100 * chosen(table, "test_accuracy", selection)
    h = accuracy["learning_rate"].broadcast_like(accuracy)
    every = table["learning_rate"].values
    figure, grid = plt.subplots(2, 2, figsize=(7.2, 6.2), layout="constrained")
    for ax, title, x, y in (
        (grid[0, 0], "(a)", h, accuracy),
        (grid[0, 1], "(b)", h, regularizer),
        (grid[1, 0], "(c)", accuracy, regularizer),
    ):
        if x is h:
            seed_lines(ax, every, y.values, color="0.6", band=False)
            learning_rate_axis(ax, every)
        else:
            ax.set_xlabel("test accuracy (%)")
        models(ax, x, y, table, colors, by="learning rate", selection=selection)
        ax.set(title=title, ylabel="test accuracy (%)" if y is accuracy else _R_IG)
        if y is regularizer:
            ax.set_yscale("log")
    grid[1, 1].set_axis_off()
    handles = legend_handles(
        table, colors, learning_rates=True, selection=selection, lines=True, band=False
    )
    grid[1, 1].legend(handles=handles, loc="center")
    say_record(figure, record)
    return figure


def three_gradients(
    record: Record, arm: str = "sgd", *, levels: Sequence[float], width: int | None = None
) -> Figure:
    """Three gradients against h as training loss first falls below each of `levels`.

    ‖∇E‖² in training mode, which is descended on; in evaluation mode, of another function of the
    same parameters; and Σ_l ‖θ_l‖²‖∂E/∂θ_l‖², which the scale of normalized weights leaves alone.
    Relative to the value of the seed at the smallest learning rate; the darker, the lower the
    level. Three or more seeds are drawn as their median and a band, fewer as a line for each seed.
    The number of models that diverged is in the legend.

    Raises `ValueError` for an arm or width that was not recorded, or without levels.

    Source: not in the paper; chapter 8, *ResNet-18*.
    """
    if not levels or min(levels) <= 0:
        raise ValueError(f"levels must be positive training losses, got {list(levels)}")
    table = one_width(record, arm, width)
    every = table["learning_rate"].values
    panels = {
        "training mode": "train_squared_gradient",
        "evaluation mode": "evaluated_squared_gradient",
        "free of scale": "train_scale_free",
    }
    ranks = sorted(levels, reverse=True)
    # Lighter shades have a contrast below 3 with white.
    shades = plt.get_cmap("Purples")(np.linspace(0.56, 1, len(ranks)))
    size = (7.2, 3.4)
    figure, axes = plt.subplots(1, 3, figsize=size, sharey=True, layout="constrained")
    for ax, (title, name) in zip(axes, panels.items(), strict=True):
        for level, shade in zip(ranks, shades, strict=True):
            found = log_at(table, name, level)
            ratio = xr.ufuncs.exp(found - found.isel(treatment=0))
            seed_lines(ax, every, ratio.values, color=shade, marker=".")
        ax.axhline(1, color="0.5", lw=0.8, ls=":")
        learning_rate_axis(ax, every)
        ax.tick_params(axis="x", labelrotation=60)
        ax.set(title=title, yscale="log")
    axes[0].set_ylabel("times that at the smallest $h$")
    handles = [
        Line2D([], [], color=shade, label=f"$E = {level:g}$")
        for level, shade in zip(ranks, shades, strict=True)
    ]
    gone = int(table["diverged"].sum())
    if gone:
        handles.append(Line2D([], [], ls="none", label=f"{gone} diverged"))
    legend_above(figure, handles)
    say_record(figure, record)
    return figure
