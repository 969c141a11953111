"""Models at the point chosen by accuracy: Figures 2 and 3.

Source: Section 6, Figures 2 and 3; chapter 7, *MNIST*.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from igrlib.experiments.records import Record
from igrlib.plots._marks import (
    decade_axis,
    learning_rate_axis,
    legend_above,
    legend_handles,
    models,
    say_record,
    seed_lines,
)
from igrlib.plots._tables import chosen, one_width, palette, plain

__all__ = ["figure_2", "figure_3"]


def figure_2(
    record: Record,
    arm: str = "sgd",
    *,
    selection: str = "validation",
    noise: ArrayLike | None = None,
) -> Figure:
    """R_IG and test accuracy against λ = hm/4, at the chosen point of every model.

    `selection` is "validation" or "test", the accuracy whose maximum chooses, or "final"; `noise`,
    of shape (B, R) as the table of an arm, is drawn beside R_IG: what the
    same plot shows where ‖∇E‖² depends on nothing.

    Raises `ValueError` for an arm or selection that was not recorded, or `noise` of another shape.

    Source: Figure 2; chapter 7, *MNIST*.
    """
    table, colors = plain(record, arm), palette(record)
    m = table["num_params"]
    regularizer = chosen(table, "train_squared_gradient", selection) / m
    regularization_rate = m * table["learning_rate"] / 4
    accuracy = 100 * chosen(table, "test_accuracy", selection)
    handles = legend_handles(
        table, colors, learning_rates=True, widths="marker", selection=selection
    )
    rows = 1 if noise is None else 2
    figure = plt.figure(figsize=(7.2, 3.2 * rows), layout="constrained")
    grid = figure.subplots(rows, 2, squeeze=False)
    panels = [(grid[0, 0], "(a)", regularizer), (grid[-1, -rows], "(b)", accuracy)]
    if noise is None:
        legend_above(figure, handles)
    else:
        values = np.asarray(noise, float)
        if values.shape != regularization_rate.shape:
            raise ValueError(
                f"noise must have shape {regularization_rate.shape}, got {values.shape}"
            )
        title = r"what pure noise in $\Vert\nabla E\Vert^2$ gives"
        panels.append((grid[0, 1], title, regularizer.copy(data=values)))
        grid[1, 1].set_axis_off()
        grid[1, 1].legend(handles=handles, loc="center")
    for ax, title, y in panels:
        models(ax, regularization_rate, y, table, colors, by="learning rate", selection=selection)
        ax.set(xlabel=r"$\lambda = hm/4$")
        ax.set_title(title, pad=12)  # clear of the crosses at the upper edge
        decade_axis(ax, "x")
        label = "test accuracy (%)" if y is accuracy else "$R_{IG}$"
        ax.set(ylabel=label, yscale="linear" if y is accuracy else "log")
    say_record(figure, record)
    return figure


def figure_3(
    record: Record,
    arm: str = "sgd",
    *,
    width: int | None = None,
    selection: str = "validation",
) -> Figure:
    """Slope against h; slope and test accuracy after noise θ(1 + η), η ~ N(0, σ²), against σ.

    Of models of one width, which may be left out where the arm has only one, at the chosen point;
    the last panel shows the standard deviation of the accuracy over the draws of noise.

    Raises `ValueError` for an arm, width or selection that was not recorded.

    Source: Figure 3; chapter 7, *MNIST*.
    Differs from the paper: its σ may be a variance; here it is a standard deviation, in per cent.
    """
    table, colors = one_width(record, arm, width), palette(record)
    slope = chosen(table, "train_squared_gradient", selection) ** 0.5
    noisy = {
        name: chosen(table, f"noise_{name}", selection)
        for name in ("slope", "accuracy", "accuracy_sd")
    }
    figure, grid = plt.subplots(2, 2, figsize=(7.2, 6.4), layout="constrained")
    every = table["learning_rate"].values
    h = slope["learning_rate"].broadcast_like(slope)
    seed_lines(grid[0, 0], every, slope.values, color="0.5", band=False)
    models(grid[0, 0], h, slope, table, colors, by="learning rate", selection=selection)
    for j, one in enumerate(every.tolist()):
        color = colors.learning_rates[one]
        for ax, name, sigma, scale in (
            (grid[0, 1], "slope", "slope_sigma", 1),
            (grid[1, 0], "accuracy", "noise_sigma", 100),
            (grid[1, 1], "accuracy_sd", "noise_sigma", 100),
        ):
            rows = scale * noisy[name].isel(treatment=j)
            seed_lines(ax, 100 * table[sigma].values, rows.values, color=color, marker=".")
    slope_label = r"slope $\Vert\nabla E\Vert$"
    grid[0, 0].set(title="(a) at the chosen point", yscale="log", ylabel=slope_label)
    learning_rate_axis(grid[0, 0], every)
    grid[0, 1].set(title="(a) after noise", yscale="log", ylabel=slope_label)
    grid[1, 0].set(title="(b) accuracy after noise", ylabel="test accuracy (%)")
    grid[1, 1].set(title="(b) its spread", ylabel="standard deviation (points)")
    for ax in grid.flat[1:]:
        ax.set_xlabel(r"noise $\sigma$ (% of each parameter)")
    handles = legend_handles(table, colors, learning_rates=True, selection=selection, lines=True)
    legend_above(figure, handles)
    say_record(figure, record)
    return figure
