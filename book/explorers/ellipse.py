"""The errors and tangent features of Example 5.5: the still picture and the explorer.

Source: chapter 5, *The neural tangent kernel*.
"""

import numpy as np

from explorers.page import Explorer

__all__ = ["ellipse_explorer", "ellipse_picture"]

FEATURES = np.array([[1.0, 1.0], [2.0, 1.0]])
"""φ₁ and φ₂, as rows: the tangent features of a line at x = 1 and x = 2."""

ERRORS = np.array([[1.0, 1.0], [1.0, -1.0]])
WIDTH, HEIGHT, UNIT = 320, 210, 64


def ellipse_picture() -> str:
    """The contributions and their sum at both errors of Example 5.5, as SVG without scripts.

    Source: chapter 5, Example 5.5.
    """
    return "".join(_sum(errors) for errors in ERRORS)


def ellipse_explorer() -> Explorer:
    """The circle of equal loss, the ellipse εᵀKε = const, the tangent features and their sum.

    Source: Proposition A.11; chapter 5, *The neural tangent kernel*.
    """
    title = "What two errors cost: move the errors round the circle, and the tangent features"
    return Explorer("ellipse", title, "", still=ellipse_picture())


def _sum(errors: np.ndarray) -> str:
    parts = errors[:, None] * FEATURES
    origin, first, total = np.zeros(2), parts[0], parts.sum(0)

    def place(point: np.ndarray) -> str:
        x, y = 100 + UNIT * point[0], 175 - UNIT * point[1]
        return f"{x:.1f} {y:.1f}"

    def line(kind: str, start: np.ndarray, end: np.ndarray) -> str:
        return f'<path class="igr-line {kind}" d="M{place(start)}L{place(end)}"/>'

    def note(text: str, start: np.ndarray, end: np.ndarray) -> str:
        x, y = (float(v) for v in place((start + end) / 2).split())
        return f'<text class="igr-note" x="{x - 8:.1f}" y="{y:.1f}" text-anchor="end">{text}</text>'

    x, y = place(total).split()
    epsilon = ", ".join(f"{value:g}".replace("-", "−") for value in errors)
    told = f"ε = ({epsilon}): E = {errors @ errors:g}, εᵀKε = {total @ total:g}"
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{told}">'
        + line("igr-feature1", origin, first)
        + line("igr-feature2", first, total)
        + line("igr-modified igr-sum", origin, total)
        + note("ε₁φ₁" if errors[1] > 0 else "", origin, first)
        + note("ε₂φ₂", first, total)
        + f'<circle class="igr-dot igr-modified" cx="{x}" cy="{y}" r="5"/>'
        + f'<text class="igr-note" x="8" y="20">{told}</text></svg>'
    )
