"""One style for every figure of the book.

Colours are Okabe and Ito's, told apart with any colour vision, two of them darker so that they are
seen on white; the same thing has the same colour in every chapter.
"""

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from cycler import cycler
from matplotlib.colors import to_hex

from igrlib.plots._display import WIDTH, show_figures

__all__ = [
    "COLORS",
    "OTHER_COLORS",
    "learning_rate_colors",
    "truncation_colors",
    "use_style",
]

COLORS = {
    "gradient descent": "#D55E00",
    "gradient flow": "#009E73",
    "modified flow": "#0072B2",
    "explicit": "#CC79A7",
    "large step": "#B88B00",
    "small step": "#595959",
    "second order": "#3393D3",
    "minima": "#000000",
}
# For quantities and runs that are none of these.
OTHER_COLORS = ("#8C510A", "#000000", "#7A7F00")


def use_style() -> None:
    """Set the book's matplotlib style for the rest of the session.

    In a notebook figures are shown as drawings, at most as wide as the book's column of text, or
    as pictures where a drawing would be too heavy.
    """
    mpl.rcParams.update(
        {
            "figure.figsize": (WIDTH, 4.0),
            "figure.dpi": 96,
            "figure.constrained_layout.use": True,
            # A drawing is transparent on its page. Boxes that hide lines below them are white.
            "axes.facecolor": "none",
            "legend.facecolor": "white",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlesize": "medium",
            "axes.prop_cycle": cycler(color=list(COLORS.values())),
            "font.size": 9.5,
            "legend.frameon": False,
            "lines.linewidth": 1.8,
            "lines.markersize": 4.5,
        }
    )
    show_figures()


def learning_rate_colors(learning_rates: Sequence[float]) -> list[tuple[float, ...]]:
    """One colour for each learning rate, from light (small) to dark (large) on one scale."""
    ranks = np.argsort(np.argsort(np.asarray(learning_rates)))
    scale = mpl.colormaps["viridis_r"]
    # Before 0.42 the scale has a contrast below 3 with white.
    return [scale(0.42 + 0.58 * rank / max(len(ranks) - 1, 1)) for rank in ranks]


def truncation_colors(count: int) -> list[str]:
    """Colours of the modified fields truncated after f_0, f_1, …, `count` of them.

    The first two are the fields of the gradient flow and of the modified flow, and have their
    colours; the others are violets, darker with each further term.
    """
    light, dark = np.array([0.60, 0.42, 0.78]), np.array([0.17, 0.04, 0.30])
    shares = np.linspace(0, 1, max(count - 2, 2))
    violets = [to_hex(light + share * (dark - light)) for share in shares]
    return [COLORS["gradient flow"], COLORS["modified flow"], *violets][:count]
