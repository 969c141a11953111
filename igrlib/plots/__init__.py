"""One style for every figure of the book, and the kinds of plot and table that it has.

The theory half's plots stand here; the figures of the experiments are in `igrlib.plots.mnist`,
`igrlib.plots.resnet` and `igrlib.plots.explicit`, imported by themselves because they read records.
`import igrlib` does not load matplotlib.
"""

from igrlib.plots.numbers import number_table
from igrlib.plots.order import order_plot
from igrlib.plots.phase import phase_plane
from igrlib.plots.style import (
    COLORS,
    OTHER_COLORS,
    learning_rate_colors,
    truncation_colors,
    use_style,
)
from igrlib.plots.tangent import tangent_plane

__all__ = [
    "COLORS",
    "OTHER_COLORS",
    "learning_rate_colors",
    "number_table",
    "order_plot",
    "phase_plane",
    "tangent_plane",
    "truncation_colors",
    "use_style",
]
