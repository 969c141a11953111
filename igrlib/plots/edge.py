"""The figures of the edge of stability: the ladder, flatness and accuracy, and batches at the edge.

Source: not in the paper; chapter 10, *The edge of stability*.
"""

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from igrlib.experiments import table as tables
from igrlib.experiments.records import Record
from igrlib.experiments.thresholds import Thresholds
from igrlib.experiments.verdicts.edge import EDGE, edge_curves
from igrlib.experiments.verdicts.equal_loss import accuracy_at
from igrlib.experiments.verdicts.flatness import FLATNESS, association, groups_of
from igrlib.experiments.verdicts.ladder import Ladder, judge_ladder
from igrlib.experiments.verdicts.rules import recorded_thresholds
from igrlib.experiments.verdicts.trends import Trend
from igrlib.plots._marks import decade_axis, legend_above
from igrlib.plots.style import COLORS, learning_rate_colors

__all__ = ["PREDICTIONS", "edge_of_batches", "flatness_and_accuracy", "ladder_rungs"]

PREDICTIONS = {
    "regularizer": COLORS["modified flow"],
    "edge": COLORS["large step"],
}
"""The colours of the two hypotheses."""

_BOUND: dict[str, Any] = {"color": PREDICTIONS["edge"], "ls": ":", "lw": 1.4}
_NAMES = {
    "squared_gradient": r"$\Vert\nabla E\Vert^2$ relative to $h_L$",
    "lambda_max": r"$\lambda_{\max}$ relative to $h_L$",
    "accuracy": "test accuracy less\nthat of $h_L$ (points)",
}
_FLAT = {"lambda_max": r"\lambda_{\max}", "slope": r"\Vert\nabla E\Vert"}
_ROWS = {
    "scaled": r"$h\lambda_{\max}$",
    "batch_sharpness": r"$h\,\times$ batch sharpness",
    "beyond": "share of batches\nbeyond the edge",
}


def ladder_rungs(
    record: Record, arm: str = "ladder", *, thresholds: Thresholds | None = None
) -> Figure:
    """Small steps with the regularizer of h_L beside h_L at equal training loss, down the rungs.

    The large step is on the left.

    Lines, drawn before the points: what the regularizer predicts, and the edge, read off the plain
    models; of λ_max also its bound where the edge binds, dotted. Large points: means over blocks of
    models with the penalty, and small ones of plain models, with their intervals; faint: each
    block. `thresholds`: level and confidence, by default those of the record.

    Raises `ValueError` where the record has no such ladder.

    Source: chapter 10, *The edge of stability*.
    """
    ladders = judge_ladder(record, arm, thresholds=thresholds)
    if not all(one.rungs for one in ladders):
        kind, names = ladders[0].reasons[0]
        raise ValueError(f"record must have a ladder {arm!r}, got none: {kind} {' '.join(names)}")
    figure, axes = plt.subplots(1, 3, figsize=(7.2, 3.2), layout="constrained")
    for ax, one in zip(axes, ladders, strict=True):
        _rungs(ax, one)
    confidence = f"{100 * ladders[0].thresholds.confidence:g} % interval"
    handles = [
        Line2D([], [], color=PREDICTIONS["regularizer"], label="regularizer predicts"),
        Line2D([], [], color=PREDICTIONS["edge"], label="edge predicts"),
        Line2D([], [], **_BOUND, label="where the edge binds"),
        _points("explicit", "o", f"with $\\mu$, {confidence}"),
        _points("small step", "s", "without $\\mu$"),
    ]
    legend_above(figure, handles)
    return figure


def flatness_and_accuracy(
    record: Record,
    arm: str,
    *,
    measure: str = "lambda_max",
    thresholds: Thresholds | None = None,
) -> Figure:
    """Test accuracy against flatness at equal training loss, both less the mean of their group.

    The left panel has the plain models of a block, which differ in h. The right panel has the
    models of a block and h, which differ in μ. `measure`: "lambda_max" or "slope", in halvings. The
    line is the least-squares fit within groups, the band its interval. Each model has a point.

    Raises `ValueError` for another measure or an arm that was not recorded.

    Source: chapter 10, *The edge of stability*.
    """
    if measure not in FLATNESS:
        raise ValueError(f"measure must be {' or '.join(FLATNESS)}, got {measure!r}")
    table, limits = tables.table_of(record, arm), thresholds or recorded_thresholds(record, arm)
    flat, accuracy = FLATNESS[measure](table, limits.level), accuracy_at(table, limits.level)
    plain = (table["mu"] == 0).values
    figure, axes = plt.subplots(
        1, 2, figsize=(7.2, 3.4), sharex=True, sharey=True, layout="constrained"
    )
    sides = (
        ("over $h$, without $\\mu$", "gradient descent", plain, None),
        ("over $\\mu$, at each $h$", "explicit", np.ones_like(plain), "learning_rate"),
    )
    for ax, (title, color, kept, within) in zip(axes, sides, strict=True):
        one, other = flat.isel(treatment=kept), accuracy.isel(treatment=kept)
        groups = groups_of(one, other, within=within)
        found = association(one, other, within=within, judged=limits)
        _cloud(ax, groups, COLORS[color])
        if groups and np.isfinite(found.effect.value):
            ends = np.array(ax.get_xlim())
            ax.plot(ends, found.effect.value * ends, color="black", lw=1.6)
            if found.effect.interval is not None:
                across = np.linspace(ends[0], ends[1], 41)
                low, high = (slope * across for slope in found.effect.interval)
                ax.fill_between(
                    across,
                    np.minimum(low, high),
                    np.maximum(low, high),
                    color="black",
                    alpha=0.15,
                    lw=0,
                )
            ax.set_xlim(*ends)
        if not groups:
            ax.text(0.5, 0.5, "no models to compare", ha="center", transform=ax.transAxes)
        ax.set(title=title, xlabel=f"halvings of ${_FLAT[measure]}$ from the mean")
    axes[0].set_ylabel("test accuracy from the mean (points)")
    return figure


def edge_of_batches(
    record: Record, arm: str = "batches", *, batch_sizes: Sequence[int] | None = None
) -> Figure:
    """How near the edge models are along the steps: a column for each batch size.

    Rows: h·λ_max of the whole split, with 1 + 2μλ_max where there is μ; h times the batch
    sharpness; the share of batches that are beyond their own edge. Lines: medians over seeds and
    widths, bands: their range, colours: learning rates, dashed lines of models with μ. Dashed in
    black: 2, the edge on a quadratic. `batch_sizes`: those drawn, by default all.

    Raises `ValueError` for an arm or batch size that was not recorded, or without measurements at
    curvature steps.

    Source: chapter 10, *The edge of stability*.
    """
    table = tables.table_of(record, arm)
    there = sorted(set(table["batch_size"].values.tolist()))
    sizes = there if batch_sizes is None else list(batch_sizes)
    if not sizes or not set(sizes) <= set(there):
        raise ValueError(f"batch_sizes must be some of {there}, which are recorded, got {sizes}")
    rates = sorted(set(table["learning_rate"].values.tolist()))
    colors: dict[float, Any] = dict(zip(rates, learning_rate_colors(rates), strict=True))
    curves = {name: edge_curves(table, name) for name in _ROWS}
    shape = (len(_ROWS), len(sizes))
    width = max(4.2, min(7.2, 2.4 * len(sizes) + 0.6))
    figure, grid = plt.subplots(
        *shape, figsize=(width, 6.6), sharex=True, sharey="row", squeeze=False, layout="constrained"
    )
    drawn: set[float] = set()
    for row, name in zip(grid, _ROWS, strict=True):
        for ax, size in zip(row, sizes, strict=True):
            for curve in curves[name]:
                if curve.batch_size == size:
                    color, known = colors[curve.learning_rate], curve.count > 0
                    step = curve.step[known]
                    ls = "--" if curve.mu else "-"
                    ax.plot(step, curve.median[known], ls, color=color, marker=".", lw=1.6)
                    ends = curve.low[known], curve.high[known]
                    ax.fill_between(step, *ends, color=color, alpha=0.18, lw=0)
                    drawn.add(curve.learning_rate)
            ax.set_xscale("log")
            if name == "beyond":
                ax.set_ylim(-0.03, 1.03)
            else:
                ax.set_yscale("log")
                ax.axhline(EDGE, color="black", ls="--", lw=1.2)
        row[0].set_ylabel(_ROWS[name])
    whole = set(table["batch_size"].values[table["full_batch"].values].tolist())
    for ax, size in zip(grid[0], sizes, strict=True):
        ax.set_title("full batch" if size in whole else f"batches of {size}")
    for ax in grid[-1]:
        ax.set_xlabel("step")
    for ax in grid[:-1].flat:
        decade_axis(ax, "y")
    handles = [Line2D([], [], color=colors[h], lw=3, label=f"$h = {h:g}$") for h in sorted(drawn)]
    if (table["mu"] > 0).any():
        handles.append(Line2D([], [], color="0.3", ls="--", label="with $\\mu$"))
    legend_above(figure, handles)
    return figure


def _rungs(ax: Axes, one: Ladder) -> None:
    """One panel: predictions, then what was observed; a factor, or points."""

    def shown(values: Any) -> Any:
        return 1 + np.asarray(values) / 100 if one.relative else np.asarray(values)

    rungs = [rung for rung in one.rungs if rung.position.blocks]
    steps = np.array([rung.learning_rate for rung in rungs], float)
    whole = np.array([one.large, *steps])
    ax.axhline(1.0 if one.relative else 0.0, color=PREDICTIONS["regularizer"], zorder=1)
    edge = [rung.edge.difference.effect for rung in rungs]
    ax.plot(whole, shown([0.0, *edge]), color=PREDICTIONS["edge"], zorder=1)
    bounds = [rung.bound for rung in rungs if rung.bound is not None]
    if bounds:
        ax.plot(whole, shown([0.0, *bounds]), **_BOUND, zorder=1)
    for name, marker, size, color in (
        ("plain", "s", 4, COLORS["small step"]),
        ("kept", "o", 7, COLORS["explicit"]),
    ):
        for h, rung in zip(steps, rungs, strict=True):
            found: Trend = getattr(rung, name).difference
            ax.plot(
                np.full(found.blocks, h), shown(found.effects), ".", color=color, ms=3, alpha=0.35
            )
            ax.plot([h], shown([found.effect]), marker, color=color, ms=size, zorder=3)
            if found.interval is not None:
                ax.plot([h, h], shown(found.interval), color=color, lw=1.4, zorder=3)
    ax.set_xscale("log")
    parts = [one.large / h for h in whole]
    ax.set_xticks(whole, ["1" if k == 1 else f"1/{k:.3g}" for k in parts])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xlim(1.3 * whole[0], whole[-1] / 1.3)
    ax.set(xlabel=f"$h/h_L$, with $h_L = {one.large:g}$", ylabel=_NAMES[one.measure])
    if one.relative:
        ax.set_yscale("log", base=2)
        ax.yaxis.set_major_formatter("{x:g}")
        ax.yaxis.set_minor_locator(NullLocator())


def _cloud(ax: Axes, groups: list[tuple[int, np.ndarray, np.ndarray]], color: str) -> None:
    for _, halvings, points in groups:
        x, y = halvings - halvings.mean(), points - points.mean()
        ax.plot(x[np.argsort(x)], y[np.argsort(x)], "o-", color=color, ms=4, lw=0.6, alpha=0.6)


def _points(color: str, marker: str, label: str) -> Line2D:
    return Line2D([], [], color=COLORS[color], marker=marker, ls="none", label=label)
