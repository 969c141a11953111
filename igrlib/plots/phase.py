"""The plane of two parameters: level lines of a loss and the way down."""

from collections.abc import Callable

import jax
import numpy as np
from matplotlib.axes import Axes

__all__ = ["phase_plane"]


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
    # Angles in the data's own coordinates: where the axes differ in scale, so do the two.
    arrows = {"angles": "xy", "color": "#949494", "width": 0.0025, "scale": 32}
    ax.quiver(first[every], second[every], *directions, **arrows)
    ax.set(xlim=xlim, ylim=ylim)
