"""The figures of the MNIST experiments, named after the paper's: a record in, a figure out.

Source: Section 6 and Appendix A.5; chapter 7, *MNIST*.
"""

from igrlib.plots.chosen import figure_2, figure_3
from igrlib.plots.curves import figure_a3, figure_a4, figure_a5
from igrlib.plots.factors import figure_a6
from igrlib.plots.matched import curvature_by_batch, matched_loss, trend_over_loss

__all__ = [
    "curvature_by_batch",
    "figure_2",
    "figure_3",
    "figure_a3",
    "figure_a4",
    "figure_a5",
    "figure_a6",
    "matched_loss",
    "trend_over_loss",
]
