"""Errors against step size, and the order that they fall with."""

from collections.abc import Mapping
from itertools import cycle

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter
from numpy.typing import ArrayLike

from igrlib.backward_error import convergence_order
from igrlib.plots.style import COLORS

__all__ = ["order_plot"]


def order_plot(
    ax: Axes,
    step_sizes: ArrayLike,
    errors: Mapping[str, ArrayLike],
    *,
    colors: Mapping[str, str] = COLORS,
) -> dict[str, float]:
    """Errors against step size on log-log axes, each with its fitted order in the legend.

    `errors` maps a label to one error for each step size, `colors` a label to its colour, before
    `COLORS` does; a label that neither knows has the next colour of the style.
    Returns the fitted orders by label.
    """
    h = np.asarray(step_sizes)
    orders = {}
    # Marks differ too: not everybody tells the colours apart.
    for (label, values), marker in zip(errors.items(), cycle("os^Dv"), strict=False):
        e = np.asarray(values)
        orders[label] = convergence_order(h, e)
        color = {**COLORS, **colors}.get(label)
        legend = f"{label}: order {orders[label]:.2f}"
        (points,) = ax.loglog(h, e, marker, color=color, label=legend)
        through = np.exp(np.mean(np.log(e)) - orders[label] * np.mean(np.log(h)))
        ax.loglog(h, through * h ** orders[label], "-", lw=1, color=points.get_color())
    ax.set_xlabel("step size $h$")
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.legend()
    return orders
