"""One style for every figure of the book.

Colours are Okabe and Ito's, told apart with any colour vision; the same thing has the same
colour in every chapter.
"""

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from cycler import cycler

__all__ = ["COLORS", "learning_rate_colors", "use_style"]

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
