"""The surface of a loss of two parameters, its tangent plane and its normal."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes

from igrlib.geometry import normal_vector

__all__ = ["tangent_plane"]


def tangent_plane(
    space: Any,
    cut: Axes,
    loss: Callable[[tuple[jax.Array, jax.Array]], jax.Array],
    theta: tuple[float, float],
    *,
    reach: float = 2.4,
) -> None:
    """The loss surface, its tangent plane and unit normal at a point, in space and in a cut.

    `loss` takes the pair (first, second) of scalars and has a gradient other than 0 at `theta`;
    `space`, three-dimensional axes, shows it over [−reach, reach]², `cut` along its steepest
    descent from `theta`.

    Source: Appendix A.2; chapter 4.
    """
    height = jax.jit(jnp.vectorize(lambda a, b: loss((a, b))))
    n = jax.jit(normal_vector(loss))((jnp.asarray(theta[0]), jnp.asarray(theta[1])))
    normal, up = np.array([*n.params, n.height], dtype=float), np.array([0.0, 0.0, 1.0])
    alpha = float(np.arctan2(np.hypot(*normal[:2]), normal[2]))
    foot, down = np.array([*theta, height(*theta)]), (normal - normal[2] * up) / np.sin(alpha)

    a, b = np.meshgrid(*2 * [np.linspace(-reach, reach, 61)])
    surface = np.asarray(height(a, b))
    space.plot_surface(a, b, 0 * a, color="#e6e6e6", zorder=1, shade=False, rcount=1, ccount=1)
    mesh = {"color": "#d8c48f", "edgecolor": "#9c8f6c", "lw": 0.4, "zorder": 3}
    space.plot_surface(a, b, surface, rstride=5, cstride=5, **mesh)
    fall, side = np.cos(alpha) * down - np.sin(alpha) * up, np.cross(up, down)
    s, t = np.meshgrid([-1.0, 1.0], [-1.0, 1.0])
    plane = foot[:, None, None] + s * fall[:, None, None] + t * side[:, None, None]
    blue = {"color": "#0072B2", "edgecolor": "#0072B2", "alpha": 0.45, "zorder": 4}
    space.plot_surface(*plane, shade=False, **blue)
    white = {"boxstyle": "round,pad=0.15", "fc": "white", "ec": "none", "alpha": 0.8}
    _label(space, foot + 0.55 * fall - 0.7 * side, r"$T_\theta S$", color="#002b45", bbox=white)
    _label(
        space, (-0.67 * reach, -0.63 * reach, 0.65 * float(surface.max())), "$S$", color="#7a6a3a"
    )
    _label(space, (-0.62 * reach, -reach, -0.22), "parameter plane", color="0.35", size=9.5)
    space.plot(*np.stack([foot, [*theta, 0]]).T, "ko:", ms=4, lw=1.2, zorder=8)
    _label(space, (theta[0] + 0.22, theta[1] - 0.1, -0.1), r"$\theta$")
    _normal(space, foot, down, up, alpha, lw=2.2, arrow_length_ratio=0.14)
    top = 1.2 * surface.max()
    frame: dict[str, Any] = {"zoom": 1.38}  # annotated as an int there
    space.set(xlim=(-reach, reach), ylim=(-reach, reach), zlim=(0, top))
    space.set_box_aspect((2 * reach, 2 * reach, top), **frame)
    space.view_init(elev=17, azim=-85)
    space.set_axis_off()
    x = np.linspace(-1.3 * reach, 0.8 * reach, 200)  # with room for the words at the left
    cut.plot(x, height(*(np.asarray(theta)[:, None] + x * down[:2, None])), color="#9a8a5a")
    _cut(cut, foot[2], alpha)
    cut.set(xlim=(x[0], x[-1]), ylim=(foot[2] - 1.3, foot[2] + 1.6), aspect="equal")


def _label(ax: Any, where: Any, text: str, **style: Any) -> None:
    centred = {"size": 13, "ha": "center", "va": "center", "zorder": 9}
    ax.text(*np.asarray(where), text, **(centred | style))


def _normal(
    ax: Any, at: np.ndarray, across: np.ndarray, up: np.ndarray, alpha: float, **arrow: Any
) -> None:
    """N and ẑ, of length 1, and the angle between them in the plane of `across` and `up`."""
    turn = np.linspace(0, alpha, 31)[:, None]
    arc = np.sin(turn) * across + np.cos(turn) * up
    ax.plot(*(at + 0.6 * arc).T, "k", lw=1.3, zorder=7)
    _label(ax, at + 0.77 * arc[15], r"$\alpha$")
    for v, text, color in ((arc[-1], "$N$", "#D55E00"), (up, r"$\hat z$", "black")):
        ax.quiver(*at, *v, color=color, zorder=6, **arrow)
        _label(ax, at + 1.18 * v, text, color=color)


def _cut(ax: Axes, y: float, alpha: float) -> None:
    """The tangent at (0, y), falling at the angle `alpha`, its triangle of run 1, the normal."""
    turn, rise, middle = np.linspace(0, alpha, 30), np.tan(alpha), alpha / 2
    ax.axline((0, y), slope=-rise, color="#0072B2")
    ax.plot([0, -1, -1], [y, y, y + rise], "k--", lw=1)
    ax.plot(-0.45 * np.cos(turn), y + 0.45 * np.sin(turn), "k", lw=1.3)
    _label(ax, (-0.55, y - 0.14), "1")
    _label(ax, (-0.62 * np.cos(middle), y + 0.62 * np.sin(middle)), r"$\alpha$")
    ground = {"facecolor": "white", "edgecolor": "none", "alpha": 0.9, "pad": 1}
    told: dict[str, Any] = {"ha": "right", "size": 11, "bbox": ground}
    _label(ax, (-1.07, y + rise / 2), r"$\tan\,\alpha = \Vert\nabla E\Vert$", **told)
    arrow = {"angles": "xy", "scale_units": "xy", "scale": 1, "width": 0.007}
    _normal(ax, np.array([0.0, y]), np.array([1.0, 0.0]), np.array([0.0, 1.0]), alpha, **arrow)
    ax.set(xlabel=r"distance from $\theta$ down the gradient", ylabel="height $E$")
