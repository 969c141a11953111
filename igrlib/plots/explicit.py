"""The figures of explicit gradient regularization: Figure 3c, and the regularizer alone.

Source: Section 4 and Figure 3c; chapter 9, *Explicit regularization*.
"""

from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from igrlib.experiments import table as tables
from igrlib.experiments._xarray import xr
from igrlib.experiments.records import Record
from igrlib.experiments.verdicts.equal_loss import lambda_max_at, log_at
from igrlib.plots._marks import (
    MANY,
    decade_axis,
    learning_rate_axis,
    legend_above,
    say_record,
    seed_lines,
)
from igrlib.plots._tables import chosen
from igrlib.plots.style import COLORS, learning_rate_colors

__all__ = ["figure_3c", "regularizer_alone"]

_EFFECTIVE = "effective rate $h + 4\\mu$"


def figure_3c(
    record: Record,
    arm: str = "resnet",
    *,
    plain: tuple[Record, str] | None = None,
    selection: str = "validation",
) -> Figure:
    """Test accuracy at the chosen point against μ, and against h + 4μ beside plain learning rates.

    The left panel has all learning rates h, the right panel the smallest. To first order h + 4μ is
    the step whose implicit regularizer is as strong as both together. `plain` is a record and arm
    with the plain models; None takes the same arm's. Eight or more seeds are drawn as the median
    and the band of their middle half, fewer as a line for each, so that its change is seen.
    The legends count the models that diverged.

    Raises `ValueError` for an arm or selection that was not recorded.

    Source: Figure 3c; chapter 9, *Explicit regularization*.
    """
    table = tables.table_of(record, arm)
    explicit = tables.explicit(table)
    others = tables.plain(tables.table_of(*(plain or (record, arm))))
    accuracy = 100 * chosen(explicit, "test_accuracy", selection)
    figure, (left, right) = plt.subplots(1, 2, figsize=(7.2, 3.6), layout="constrained")
    every = np.unique(table["learning_rate"]).tolist()
    for h, color in zip(every, learning_rate_colors(every), strict=True):
        one = tables.at_learning_rate(table, h)
        values = 100 * chosen(one, "test_accuracy", selection)
        seed_lines(left, one["mu"].values, values.values, median_from=MANY, color=color, marker=".")
        gone = int(one["diverged"].sum())
        label = f"$h = {h:g}$" + (f" ({gone} diverged)" if gone else "")
        left.plot([], [], color=color, marker=".", label=label)
    left.legend(fontsize="small")
    left.set(
        xlabel="explicit regularization rate $\\mu$",
        ylabel="test accuracy (%)",
        title=r"against $\mu$",
    )
    _both(right, 100 * chosen(others, "test_accuracy", selection), accuracy)
    right.set(title="as if of a larger step", ylabel="test accuracy (%)")
    legend_above(figure, _handles(others, explicit))
    say_record(figure, record, *([plain[0]] if plain else []))
    return figure


def regularizer_alone(record: Record, arm: str, *, level: float) -> Figure:
    """What learning rates do, and what the regularizer of these does without their steps.

    ‖∇E‖² and λ_max as training loss first falls below `level`; test accuracy and the area under
    accuracy against noise at the point chosen by validation: for plain models against h, and for
    models of the smallest learning rate against h + 4μ. Eight or more seeds are drawn as the median
    and the band of their middle half, fewer as a line for each, so that its change is seen.
    The figure names quantities that were not measured.

    Raises `ValueError` for an arm that was not recorded, or a level that is not positive.

    Source: Section 4; chapter 9, *Explicit regularization*.
    """
    if not (np.isfinite(level) and level > 0):
        raise ValueError(f"level must be a positive training loss, got {level}")
    table = tables.table_of(record, arm)
    plain, explicit = tables.plain(table), tables.explicit(table)
    figure, grid = plt.subplots(2, 2, figsize=(7.2, 6.2), layout="constrained")
    panels = (
        rf"$\Vert\nabla E\Vert^2$ at $E = {level:g}$",
        rf"$\lambda_{{\max}}$ at $E = {level:g}$",
        "test accuracy (%)",
        "area under accuracy against noise (%)",
    )
    pairs = zip(_quantities(plain, level), _quantities(explicit, level), strict=True)
    for ax, title, (one, other) in zip(grid.flat, panels, pairs, strict=True):
        _both(ax, one, other)
        ax.set_title(title)
        if title.endswith("$"):
            decade_axis(ax, "y")
        if one.isnull().all():
            ax.set_axis_off()
            ax.set_title(f"{title}: not measured")
    legend_above(figure, _handles(plain, explicit))
    say_record(figure, record)
    return figure


def _quantities(table: xr.Dataset, level: float) -> tuple[xr.DataArray, ...]:
    """What `regularizer_alone` draws, panel by panel."""
    return (
        xr.ufuncs.exp(log_at(table, "train_squared_gradient", level)),
        lambda_max_at(table, level),
        100 * table["chosen_test_accuracy"].sel(point="validation"),
        100 * tables.area_under_noise(table, "validation"),
    )


def _both(ax: Axes, plain: xr.DataArray, explicit: xr.DataArray) -> None:
    """Plain models and regularized ones on one axis of effective rates."""
    for values, color, marker in (
        (plain, COLORS["gradient descent"], "s"),
        (explicit, COLORS["explicit"], "o"),
    ):
        at = values["effective_rate"].values
        seed_lines(ax, at, values.values, median_from=MANY, color=color, marker=marker)
    effective = np.union1d(plain["effective_rate"], explicit["effective_rate"])
    learning_rate_axis(ax, effective)
    # Labels that would lie on one another are left out.
    kept = [h for before, h in pairwise([0.0, *effective]) if h > 1.15 * before]
    ax.set_xticks(kept, [f"{h:g}" for h in kept])
    ax.tick_params(axis="x", labelrotation=60)
    ax.set_xlabel(_EFFECTIVE)


def _handles(plain: xr.Dataset, explicit: xr.Dataset) -> list[Line2D]:
    small = float(explicit["learning_rate"].min())
    sides = {
        "plain, $\\mu = 0$": (plain, COLORS["gradient descent"], "s"),
        f"with $\\mu$, $h = {small:g}$": (explicit, COLORS["explicit"], "o"),
    }
    found: list[Line2D] = []
    for label, (table, color, marker) in sides.items():
        gone = int(table["diverged"].sum())
        label += f" ({gone} diverged)" if gone else ""
        found.append(Line2D([], [], color=color, marker=marker, label=label))
    return found
