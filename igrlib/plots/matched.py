"""Models at matched training loss: the controlled form of Figure 2a, and its companions.

Source: Prediction 2.1; chapter 7, *MNIST*.
"""

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import NullLocator

from igrlib.experiments._xarray import xr
from igrlib.experiments.records import Record
from igrlib.experiments.thresholds import Thresholds
from igrlib.experiments.verdicts.equal_loss import (
    LevelCurve,
    accuracy_at,
    lambda_max_at,
    log_at,
    scaled_curvature_at,
    trend_over_levels,
)
from igrlib.plots._marks import (
    TRAINING,
    decade_axis,
    learning_rate_axis,
    legend_above,
    legend_handles,
    models,
    say_record,
    seed_lines,
)
from igrlib.plots._tables import palette, plain
from igrlib.plots.style import OTHER_COLORS

__all__ = ["curvature_by_batch", "matched_loss", "trend_over_loss"]

_BEYOND: dict[str, Any] = {"color": "black", "marker": "+", "ls": "none", "ms": 9, "mew": 1.1}

_INK = OTHER_COLORS[0]
_QUANTITIES = {
    "squared gradient": (
        lambda table, level: _squared_gradient(table, level),
        True,
        r"$\Vert\nabla E\Vert^2$ per doubling of $h$",
    ),
    "accuracy": (accuracy_at, False, "test accuracy per\ndoubling of $h$ (points)"),
}


def matched_loss(
    record: Record, arm: str = "sgd", *, levels: Sequence[float] | None = None
) -> Figure:
    """‖∇E‖² against h as training loss first falls below each level, a point for each model.

    The value at the level is interpolated between the two measurements around it, log ‖∇E‖² linear
    in log E, as `squared_gradient_at` does. The lines are the medians of each width with
    three or more seeds, and otherwise the seeds. `levels` are training losses > 0; None takes the
    recorded ones that a model reached. A plus marks hλ_max > 2 (λ_max is that of the first
    measurement below the level, an estimate from below); a panel's title counts the models that
    reached its level.

    Raises `ValueError` for an arm that was not recorded, or a level that is not positive.

    Source: Prediction 2.1; chapter 7, *MNIST*.
    """
    table, colors = plain(record, arm), palette(record)
    if levels is None:
        every = table["level"].values.tolist()
        levels = [e for e in every if _squared_gradient(table, e).notnull().any()]
    wanted = [float(e) for e in levels]
    if not wanted or not all(np.isfinite(wanted)) or min(wanted) <= 0:
        raise ValueError(f"levels must be positive training losses, got {wanted}")
    columns = min(len(wanted), 2)
    rows = -(-len(wanted) // columns)
    size = (7.2, 2.6 * rows + 0.6)
    figure, grid = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
    every = table["learning_rate"].values
    h = table["learning_rate"].broadcast_like(table["finished"])
    unstable = False
    for ax, level in zip(grid.flat, wanted, strict=False):
        values = xr.ufuncs.exp(_squared_gradient(table, level))
        for width, rows in values.groupby("width"):
            style = {"color": colors.widths[int(width)], "band": False}
            seed_lines(ax, every, rows.values, **style)
        models(ax, h, values, table, colors, by="width", selection=None, rings=False)
        beyond = (values.notnull() & (lambda_max_at(table, level) * h > 2)).values
        if beyond.any():
            ax.plot(h.values[beyond], values.values[beyond], **_BEYOND)
            unstable = True
        came, all_of_them = int(values.notnull().sum()), int(table["finished"].sum())
        ax.set_title(f"$E = {_power(level)}$ ({came} of {all_of_them} models)")
        learning_rate_axis(ax, every)
        ax.set_ylabel(r"$\Vert\nabla E\Vert^2$")
        decade_axis(ax, "y")
        if not came:
            ax.text(0.5, 0.5, "no model came so far", ha="center", transform=ax.transAxes)
            ax.yaxis.set_ticks([])
            ax.yaxis.set_minor_locator(NullLocator())
    for ax in grid.flat[len(wanted) :]:
        ax.set_axis_off()
    drawn: dict[str, Any] = {"lines": True, "rings": False, "band": False}
    handles = legend_handles(table, colors, widths="color", **drawn)
    if unstable:
        handles.append(Line2D([], [], **_BEYOND, label=r"$h\lambda_{\max} > 2$"))
    legend_above(figure, handles)
    say_record(figure, record)
    return figure


def trend_over_loss(
    record: Record,
    arms: Sequence[str],
    *,
    quantity: str = "squared gradient",
    levels: Sequence[float] | None = None,
    limits: Thresholds | None = None,
) -> Figure:
    """The change with each doubling of h at equal training loss, against the loss, a panel an arm.

    `quantity`: "squared gradient" for ‖∇E‖² on training data, whose factor is drawn, or "accuracy"
    for the test accuracy in points. Dark: the interval of `limits` where there are seeds for one,
    at each loss by itself; light: from the least to the greatest block. Dashed: fewer blocks are
    left than the arm has. `levels` are training losses; None takes 40 from 0.3 to 10⁻⁴.

    Raises `ValueError` for an arm that was not recorded, another quantity or a level that is not
    positive.

    Source: Predictions 2.1 and 2.3; chapter 7, *MNIST*.
    """
    if quantity not in _QUANTITIES:
        raise ValueError(f"quantity must be {' or '.join(_QUANTITIES)}, got {quantity!r}")
    of, relative, label = _QUANTITIES[quantity]
    wanted = np.geomspace(0.3, 1e-4, 40) if levels is None else np.asarray(levels, float)
    columns = min(len(arms), 2)
    rows = -(-(len(arms) + 1) // columns)
    size = (7.2, 2.5 * rows)
    figure, grid = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
    for ax, arm in zip(grid.flat, arms, strict=False):
        table = plain(record, arm)
        curve = trend_over_levels(table, of, wanted.tolist(), relative=relative, limits=limits)
        _effect(ax, curve, table.sizes["block"], relative)
        ax.set(title=f"{_batches(table)}: {arm} ({table.sizes['block']} blocks)", ylabel=label)
        ax.set(xscale="log", xlabel=TRAINING, xlim=(wanted.max(), wanted.min()))
    for ax in grid.flat[len(arms) :]:
        ax.set_axis_off()
    last = grid.flat[len(arms)]
    interval = f"{100 * (limits or Thresholds()).confidence:g} % interval"
    handles = [
        Line2D([], [], color=_INK, label="mean of all blocks of the arm"),
        Line2D([], [], color=_INK, ls="--", label="mean of those that came so far"),
        Patch(color=_INK, alpha=0.35, lw=0, label=interval),
        Patch(color=_INK, alpha=0.12, lw=0, label="least to greatest block"),
    ]
    last.legend(handles=handles, loc="center")
    say_record(figure, record)
    return figure


def curvature_by_batch(record: Record, arms: Sequence[str], *, level: float) -> Figure:
    """h·λ_max against h as training loss first falls below `level`: a thin line for each block.

    Thick: the median of an arm, named by its batch size. Dashed: 2, beyond which gradient descent
    of the full batch is unstable on a quadratic. λ_max is of the whole training split, an estimate
    from below at the first measurement below `level`, one of those recorded.

    Raises `ValueError` for an arm that was not recorded, or another level.

    Source: not in the paper; chapter 7, *MNIST*.
    """
    figure, ax = plt.subplots(figsize=(7.2, 4.6), layout="constrained")
    every: set[float] = set()
    for arm in arms:
        table = plain(record, arm)
        if not np.isclose(table["level"], level).any():
            known = ", ".join(f"{e:g}" for e in table["level"].values)
            raise ValueError(f"level must be one of {known}, got {level:g}")
        values, h = scaled_curvature_at(table, level), table["learning_rate"].values
        ax.plot(h, values.T, color="0.6", lw=0.7, alpha=0.7)
        middle = values.median("block").values
        ax.plot(h, middle, "o-", color=_INK, lw=2.2)
        ax.annotate(
            _batches(table), (h[-1], middle[-1]), (8, 0), textcoords="offset points", va="center"
        )
        every |= set(h.tolist())
    ax.axhline(2.0, color="black", ls="--", lw=1.2)
    learning_rate_axis(ax, np.array(sorted(every)))
    ax.set(yscale="log", ylabel=r"$h\,\lambda_{\max}$")
    ax.set_xlim(right=1.9 * max(every))
    ax.set_yticks([0.05, 0.1, 0.2, 0.5, 1, 2], ["0.05", "0.1", "0.2", "0.5", "1", "2"])
    ax.yaxis.set_minor_locator(NullLocator())
    say_record(figure, record)
    return figure


def _effect(ax: Axes, curve: LevelCurve, blocks: int, relative: bool) -> None:
    """One panel: factors on a logarithmic axis where `relative`, else points."""

    def shown(values: np.ndarray) -> np.ndarray:
        return 1 + values / 100 if relative else values

    some = curve.blocks > 0
    ends = np.full((len(some), 2), np.nan)
    for k in np.flatnonzero(some):
        effects = curve.trends[k].effects
        ends[k] = effects.min(), effects.max()
    ax.fill_between(curve.levels, *shown(ends).T, color=_INK, alpha=0.12, lw=0)
    band = shown(curve.band)
    if np.isfinite(band).any():
        ax.fill_between(curve.levels, *band.T, color=_INK, alpha=0.35, lw=0)
    effect, whole = shown(curve.effect), curve.blocks == blocks
    ax.plot(curve.levels, np.where(whole, effect, np.nan), color=_INK)
    # The dashed line begins where the other one ends.
    beside = ~whole | np.roll(~whole, -1) & (np.arange(len(whole)) < len(whole) - 1)
    ax.plot(curve.levels, np.where(beside, effect, np.nan), color=_INK, ls="--")
    ax.axhline(1.0 if relative else 0.0, color="0.5", lw=0.8)
    if relative:
        ax.set(yscale="log", ylim=(0.25, 4))
        ax.set_yticks([0.25, 0.5, 1, 2, 4], ["−75 %", "−50 %", "0", "+100 %", "+300 %"])
        ax.yaxis.set_minor_locator(NullLocator())


def _batches(table: xr.Dataset) -> str:
    size = int(table["batch_size"][0])
    return "full batch" if table["full_batch"].all() else f"batches of {size}"


def _squared_gradient(table: xr.Dataset, level: float) -> xr.DataArray:
    return log_at(table, "train_squared_gradient", level)


def _power(level: float) -> str:
    exponent = np.log10(level)
    return f"10^{{{exponent:.0f}}}" if np.isclose(exponent, round(exponent)) else f"{level:g}"
