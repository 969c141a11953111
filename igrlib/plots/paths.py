"""One run at the edge of stability and the flows beside it, along one time axis.

Source: chapter 10, *The edge of stability*.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from igrlib.experiments._xarray import xr
from igrlib.experiments.path_table import path_of
from igrlib.experiments.records import Record
from igrlib.plots._marks import decade_axis, legend_above
from igrlib.plots.style import COLORS, OTHER_COLORS

__all__ = ["path_figure"]

_RUN = COLORS["gradient descent"]
_FLOWS = {
    "gradient": ("gradient flow", COLORS["gradient flow"], "-"),
    "modified": ("modified flow", COLORS["modified flow"], "-"),
    "principal": ("principal flow", COLORS["second order"], (0, (1, 1))),
    "central": ("central flow", OTHER_COLORS[1], "-"),
    "rod": ("rod flow", COLORS["explicit"], (0, (4, 1.5))),
}
"""Names, colours and lines of the flows."""


def path_figure(record: Record, unit: str, *, smooth: bool = False) -> Figure:
    """Loss, h·λ_max with the line 2, and the distances from the flows, along one time axis.

    Of the run the loss of every step and λ_max at the saved ones are drawn; of each flow its own
    loss and λ_max, and how far the steps are from it; with `smooth` how far the mean of
    consecutive steps is, in which what alternates from step to step is not. A cross ends a line
    whose flow went no further. A `unit` of the record is one of `path_units`.

    Raises `ValueError` as `igrlib.experiments.path_table.path_of` does.

    Source: chapter 10, *The edge of stability*.
    """
    path = path_of(record, unit)
    figure, axes = plt.subplots(3, 1, figsize=(7.2, 8.2), layout="constrained", sharex=True)
    loss, curvature, distance = axes
    time = path["time"].values
    loss.plot(path["step_time"], path["loss"], color=_RUN, lw=1.0)
    curvature.plot(time, path["scaled_curvature"].isel(direction=0), color=_RUN, lw=1.2)
    curvature.axhline(2, color="0.35", lw=1.0, ls=(0, (5, 3)))
    apart = path["mean_distance" if smooth else "distance"]
    h = path.attrs["learning_rate"]
    for flow in path["flow"].values.tolist():
        one = path.sel(flow=flow)
        _line(loss, one, one["flow_loss"])
        _line(curvature, one, h * one["flow_eigenvalue"].isel(direction=0))
        # It is 0 where the flow sets out.
        _line(distance, one, apart.sel(flow=flow).where(lambda d: d > 0))
    loss.set(ylabel="training loss $E$", title="loss")
    decade_axis(loss, "y")
    curvature.set(ylabel=r"$h\lambda_{\max}$", title="curvature; dashed: 2, the edge")
    of = "the mean of steps" if smooth else "the steps"
    distance.set(yscale="log", ylabel="distance", title=f"distance of {of} from each flow")
    distance.set_xlabel("physical time $t = nh$")
    known = [name for name in _FLOWS if name in path["flow"].values]
    handles = [Line2D([], [], color=_RUN, label="gradient descent")]
    for name in known:
        label, color, ls = _FLOWS[name]
        handles.append(Line2D([], [], color=color, ls=ls, label=label))
    if np.isfinite(path["ended"]).any():
        handles.append(Line2D([], [], color="0.35", marker="x", ls="none", label="goes no further"))
    legend_above(figure, handles)
    return figure


def _line(ax: Axes, one: xr.Dataset, values: xr.DataArray) -> None:
    """The values of a flow against time, and a cross where they end early."""
    _, color, ls = _FLOWS[one["flow"].item()]
    ax.plot(one["time"], values, color=color, ls=ls, lw=1.4)
    there = np.flatnonzero(np.isfinite(values))
    if np.isfinite(one["ended"]) and there.size:
        last = there[-1]
        ax.plot(one["time"][last], values[last], "x", color=color, ms=6, mew=1.6)
