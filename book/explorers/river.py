"""The river of chapter 1 on the first page: its paths, its still picture and its explorer.

Source: chapter 1, *A river with bends*.
"""

from functools import cache
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

import igrlib as ig
from explorers.page import Explorer

__all__ = ["River", "loss", "river", "river_explorer", "river_picture"]

START = (1.5, -2.5)
LEARNING_RATE = 0.5
WIDTH, HEIGHT = 1400, 340
MIDDLE, LOW, HIGH = 1.1, -2.8, 1.3
"""What is seen of the plane: this x in the middle, and y between these two."""

NAMED = -0.75
"""The x at which the bed has its name."""

BANKS = (0.1, 0.3, 0.6, 1.0, 1.5, 2.1, 2.8)


class River(NamedTuple):
    """Three ways down the river from one start: arrays of points, of shape (number, 2)."""

    descent: np.ndarray
    flow: np.ndarray
    modified: np.ndarray


def loss(theta: Float[Array, "2"]) -> Float[Array, ""]:
    """The loss E(x, y) = (y − sin x)²/2, whose minima are a whole curve.

    Source: chapter 1, *A river with bends*.
    """
    return 0.5 * (theta[1] - jnp.sin(theta[0])) ** 2


@cache
def river(learning_rate: float = LEARNING_RATE, num_steps: int = 20) -> River:
    """Gradient descent of `loss`, and the flows of E and Ẽ for as long as its steps take.

    `learning_rate` is positive and below 1, `num_steps` at least 1.

    Source: chapter 1, *A river with bends*.
    """
    start = jnp.array(START)
    times = jnp.linspace(0.0, learning_rate * num_steps, 8 * num_steps + 1)
    flows = [
        ig.flow(ig.gradient_field(ig.modified_loss(loss, rate)), start, times)
        for rate in (0.0, learning_rate)
    ]
    descent = ig.gradient_descent(loss, start, learning_rate, num_steps).params
    return River(*map(np.asarray, (descent, *flows)))


def river_picture() -> str:
    """The explorer as it stands when nothing moves, as SVG for a page without scripts.

    Source: chapter 1, *A river with bends*.
    """
    paths, scale = river(), HEIGHT / (HIGH - LOW)
    left = MIDDLE - WIDTH / scale / 2

    def place(points: np.ndarray) -> str:
        return "L".join(f"{(x - left) * scale:.1f} {(HIGH - y) * scale:.1f}" for x, y in points)

    def line(kind: str, points: np.ndarray) -> str:
        return f'<path class="igr-line igr-{kind}" d="M{place(points)}"/>'

    def dot(kind: str, point: np.ndarray, r: int) -> str:
        x, y = place(point[None]).split()
        return f'<circle class="igr-dot igr-{kind}" cx="{x}" cy="{y}" r="{r}"/>'

    def note(kind: str, point: np.ndarray, across: int, down: int, text: str) -> str:
        x, y = (float(v) for v in place(point[None]).split())
        anchor = "end" if across < 0 else "start"
        return (
            f'<text class="igr-note igr-{kind}" x="{x + across:.1f}" y="{y + down:.1f}"'
            f' text-anchor="{anchor}">{text}</text>'
        )

    x = np.linspace(left, left + WIDTH / scale, 121)

    def bank(c: float) -> np.ndarray:
        return np.stack([x, np.sin(x) + c], axis=1)

    water = [
        f'<path class="igr-area" d="M{place(np.concatenate([bank(c), bank(-c)[::-1]]))}Z"/>'
        for c in BANKS
    ]
    ends = {name: path[-1] for name, path in paths._asdict().items()}
    drawn = [
        *water,
        line("bed", bank(0.0)),
        line("flow", paths.flow),
        line("modified", paths.modified),
        *(dot("descent", point, 4) for point in paths.descent),
        note("bed", np.array([NAMED, np.sin(NAMED)]), 12, 18, "minima of E"),
        dot("start", paths.descent[0], 7),
        dot("flow", ends["flow"], 6),
        note("flow", ends["flow"], -12, 4, "gradient flow of E"),
        note("descent", ends["descent"], 14, -8, "steps of gradient descent"),
        note("modified", ends["descent"], 14, 12, "flow of E + (h/4)‖∇E‖²"),
    ]
    label = (
        "A winding river seen from above. From one start below a bend three paths lead to its bed:"
        " gradient flow ends at the left, where the river is narrow; the steps of gradient descent"
        " end further right, where it is wider, and the flow of the modified loss ends beside them."
    )
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="xMidYMid slice" role="img"'
        f' aria-label="{label}">{"".join(drawn)}</svg>'
    )


def river_explorer() -> Explorer:
    """Steps that hop and flows that run down the river of chapter 1, for an h that is moved.

    Source: chapter 1, *A river with bends*.
    """
    title = "Three ways down a river: drag the start, change the step size"
    return Explorer("river", title, "", still=river_picture())
