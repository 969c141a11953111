"""Ten steps on a parabola, of chapter 1: the still picture and the explorer.

Source: chapter 1, *Primer: flows, orders, log-log slopes*.
"""

import numpy as np

from explorers.page import Explorer

__all__ = ["decay_explorer", "decay_picture"]

WIDTH, HEIGHT = 700, 320
MOST, HIGH = 2.5, 1.4
"""What is seen: hs from 0 to `MOST`, and factors between −`HIGH` and `HIGH`."""

REGIMES = ((0.5, "a flow can follow"), (1.5, "overshoots"), (2.25, "diverges"))


def decay_picture() -> str:
    """By what a step and both flows multiply θ, against hs, as SVG for a page without scripts.

    Source: chapter 1, *Primer: flows, orders, log-log slopes*.
    """
    left, right, top, bottom = 50.0, WIDTH - 10.0, 10.0, HEIGHT - 40.0

    def x(hs: float) -> float:
        return left + (right - left) * hs / MOST

    def y(factor: float) -> float:
        return (top + bottom) / 2 - (bottom - top) / 2 * factor / HIGH

    def line(kind: str, points: list[tuple[float, float]]) -> str:
        path = "L".join(f"{x(u):.1f} {y(v):.1f}" for u, v in points)
        return f'<path class="igr-line igr-{kind}" d="M{path}"/>'

    def note(at: float, height: float, text: str, anchor: str = "middle") -> str:
        place = f'x="{at:.1f}" y="{height:.1f}" text-anchor="{anchor}"'
        return f'<text class="igr-note" {place}>{text}</text>'

    hs = np.linspace(0, MOST, 126)
    factors = {
        "modified": np.exp(-hs - hs**2 / 2),
        "flow": np.exp(-hs),
        "descent": 1 - hs,
    }
    drawn = [
        f'<rect class="igr-area" x="{x(2.0)}" y="{top}" width="{right - x(2.0)}"'
        f' height="{bottom - top}"/>',
        *(line("guide", [(0.0, level), (MOST, level)]) for level in (-1.0, 0.0, 1.0)),
        *(line("guide", [(edge, -HIGH), (edge, HIGH)]) for edge in (1.0, 2.0)),
        *(
            line(name, list(zip(hs.tolist(), values.tolist(), strict=True)))
            for name, values in factors.items()
        ),
        *(note(x(middle), y(1.2), text) for middle, text in REGIMES),
        *(note(x(value), bottom + 16, f"{value:g}") for value in (0.0, 0.5, 1.0, 1.5, 2.0, 2.5)),
        *(
            note(left - 8, y(value) + 4, f"{value:g}".replace("-", "−"), "end")
            for value in (-1.0, 0.0, 1.0)
        ),
        note((left + right) / 2, bottom + 33, "hs"),
    ]
    label = (
        "By what a step and both flows multiply θ, against hs. The step's 1 − hs is a line that"
        " falls through 0 at hs = 1 and through −1 at hs = 2, beyond which it diverges; both flows"
        " stay positive and fall to 0."
    )
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">'
        f"{''.join(drawn)}</svg>"
    )


def decay_explorer() -> Explorer:
    """Ten steps and the flows of E and Ẽ on a parabola of curvature s, for hs from 0 to 2.5.

    Source: chapter 1, *Primer: flows, orders, log-log slopes*.
    """
    title = "Ten steps on a parabola: move hs, the step size times the curvature, from 0 to 2.5"
    return Explorer("decay", title, "", still=decay_picture())
