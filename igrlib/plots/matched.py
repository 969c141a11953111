"""‖∇E‖² against the learning rate at matched training loss: the controlled form of Figure 2a.

Source: Prediction 2.1; chapter 7, *MNIST*.
"""

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from igrlib.experiments.records import Record
from igrlib.plots._marks import legend_above, legend_handles, models, rate_axis, seed_lines
from igrlib.plots._tables import palette, plain

__all__ = ["matched_loss"]

_BEYOND: dict[str, Any] = {"color": "black", "marker": "+", "ls": "none", "ms": 9, "mew": 1.1}


def matched_loss(
    record: Record, arm: str = "sgd", *, levels: Sequence[float] | None = None
) -> Figure:
    """‖∇E‖² against h as training loss first falls below each level, a line for each seed.

    The value at the level is interpolated between the two measurements around it, log ‖∇E‖² linear
    in log E, as `squared_gradient_at` does. `levels` are training losses > 0; None
    takes those recorded. A plus marks hλ_max > 2 (λ_max is that of the first measurement below the
    level, an estimate from below); a panel's title counts the models that came to its level.

    Raises `ValueError` for an arm that was not recorded, or a level that is not positive.

    Source: Prediction 2.1; chapter 7, *MNIST*.
    """
    table, colors = plain(record, arm), palette(record)
    wanted = [float(e) for e in (table.shared["level"] if levels is None else levels)]
    if not wanted or not all(np.isfinite(wanted)) or min(wanted) <= 0:
        raise ValueError(f"levels must be positive training losses, got {wanted}")
    columns = min(len(wanted), 2)
    rows = -(-len(wanted) // columns)
    size = (7.2, 3.0 * rows + 0.6)
    figure, grid = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
    h = np.broadcast_to(table.learning_rate, table.finished.shape)
    unstable = 0
    for ax, level in zip(grid.flat, wanted, strict=False):
        values = np.exp(table.log_squared_gradient(level))
        for width in np.unique(table.width):
            style = {"color": colors.widths[int(width)]}
            seed_lines(ax, table.learning_rate, values[table.width == width], **style)
        models(ax, h, values, table, colors, by="width", selection=None)
        beyond = np.isfinite(values) & (h * table.lambda_max_at(level) > 2)
        if beyond.any():
            ax.plot(h[beyond], values[beyond], **_BEYOND)
            unstable += 1
        came, all_of_them = np.isfinite(values).sum(), table.finished.sum()
        ax.set_title(f"$E = {_power(level)}$ ({came} of {all_of_them} models)")
        rate_axis(ax, table.learning_rate)
        ax.set(yscale="log", ylabel=r"$\Vert\nabla E\Vert^2$")
        if not came:
            ax.yaxis.set_ticks([])
            ax.yaxis.set_minor_locator(NullLocator())
    for ax in grid.flat[len(wanted) :]:
        ax.set_axis_off()
    handles = legend_handles(table, colors, widths="color", lines=True)
    if unstable:
        handles.append(Line2D([], [], **_BEYOND, label=r"$h\lambda_{\max} > 2$"))
    legend_above(figure, handles)
    return figure


def _power(level: float) -> str:
    exponent = np.log10(level)
    return f"10^{{{exponent:.0f}}}" if np.isclose(exponent, round(exponent)) else f"{level:g}"
