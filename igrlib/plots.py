"""One style for every figure of the book, and the two kinds of plot its theory half draws.

Colours are Okabe and Ito's, told apart with any colour vision; the same thing has the same
colour in every chapter. Imported by the notebooks; `import igrlib` does not load matplotlib.
"""

from collections.abc import Callable, Mapping, Sequence

import jax
import matplotlib as mpl
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter
from numpy.typing import ArrayLike

from igrlib.backward_error import convergence_order

__all__ = ["COLORS", "learning_rate_colors", "order_plot", "phase_plane", "use_style"]

COLORS = {
    "gradient descent": "#D55E00",
    "gradient flow": "#009E73",
    "modified flow": "#0072B2",
    "explicit": "#CC79A7",
    "large step": "#E69F00",
    "second order": "#56B4E9",
    "minima": "#000000",
}


def use_style() -> None:
    """Set the book's matplotlib style for the rest of the session."""
    mpl.rcParams.update(
        {
            "figure.figsize": (6.4, 4.0),
            "figure.dpi": 110,
            "figure.constrained_layout.use": True,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlesize": "medium",
            "axes.prop_cycle": cycler(color=list(COLORS.values())),
            "font.size": 10.5,
            "legend.frameon": False,
            "lines.linewidth": 1.8,
            "lines.markersize": 4.5,
        }
    )


def learning_rate_colors(learning_rates: Sequence[float]) -> list[tuple[float, ...]]:
    """One colour for each learning rate, from light (small) to dark (large) on one scale."""
    ranks = np.argsort(np.argsort(np.asarray(learning_rates)))
    scale = mpl.colormaps["viridis_r"]
    return [scale(0.12 + 0.8 * rank / max(len(ranks) - 1, 1)) for rank in ranks]


def order_plot(
    ax: Axes, step_sizes: ArrayLike, errors: Mapping[str, ArrayLike]
) -> dict[str, float]:
    """Errors against step size on log-log axes, each with its fitted order in the legend.

    `errors` maps a label, preferably a key of `COLORS`, to one error for each step size.
    Returns the fitted orders by label.
    """
    h = np.asarray(step_sizes)
    orders = {}
    for label, values in errors.items():
        e = np.asarray(values)
        orders[label] = convergence_order(h, e)
        (points,) = ax.loglog(
            h, e, "o", color=COLORS.get(label), label=f"{label}: order {orders[label]:.2f}"
        )
        through = np.exp(np.mean(np.log(e)) - orders[label] * np.mean(np.log(h)))
        ax.loglog(h, through * h ** orders[label], "-", lw=1, color=points.get_color())
    ax.set_xlabel("step size $h$")
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.legend()
    return orders


def phase_plane(
    ax: Axes,
    loss: Callable[[tuple[jax.Array, jax.Array]], jax.Array],
    xlim: tuple[float, float],
    ylim: tuple[float, float],
    *,
    resolution: int = 121,
) -> None:
    """Level lines of a loss of two parameters, log-spaced, with the direction of −∇E.

    `loss` takes the pair (first, second) of scalars.
    """
    first, second = np.meshgrid(np.linspace(*xlim, resolution), np.linspace(*ylim, resolution))
    value_and_grad = jax.jit(jax.vmap(jax.value_and_grad(lambda a, b: loss((a, b)), (0, 1))))
    values, (down, across) = value_and_grad(first.ravel(), second.ravel())
    values = np.asarray(values).reshape(first.shape)
    levels = np.geomspace(max(values.min(), values.max() * 1e-5), values.max(), 13)
    ax.contour(first, second, values, levels=levels, colors="#cfcfcf", linewidths=0.7)
    every = (slice(None, None, max(resolution // 15, 1)),) * 2
    field = np.stack([-np.asarray(part).reshape(first.shape)[every] for part in (down, across)])
    directions = field / np.maximum(np.linalg.norm(field, axis=0), np.finfo(float).tiny)
    ax.quiver(first[every], second[every], *directions, color="#c4c4c4", width=0.0025, scale=32)
    ax.set(xlim=xlim, ylim=ylim)
