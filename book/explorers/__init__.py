"""Figures to take hold of: steps, flows, a typed loss, the edge, an optimizer, a sweep, as scripts.

An `Explorer` shows itself in a notebook and in the built book. It needs no server, no network and
no library: its script and its data are in its own HTML. What a script computes is computed
in the tests once more, by `igrlib` or in closed form. `explorers.sweep` reads records, and
is imported by itself: the others need neither Flax nor data. Notebooks of `book/` find this
package beside them, since a kernel starts in the folder of its notebook.

Source: the first page and chapters 1, 2, 3, 4, 5, 7, 8, 10 and 11.
"""

from explorers.decay import decay_explorer
from explorers.ellipse import ellipse_explorer
from explorers.page import Explorer, script
from explorers.river import river_explorer
from explorers.shown import (
    catapult_explorer,
    dial_explorer,
    loss_explorer,
    optimizer_explorer,
    parabola_explorer,
    phase_explorer,
    rescale_explorer,
    step_explorer,
)

__all__ = [
    "Explorer",
    "catapult_explorer",
    "decay_explorer",
    "dial_explorer",
    "ellipse_explorer",
    "loss_explorer",
    "optimizer_explorer",
    "parabola_explorer",
    "phase_explorer",
    "rescale_explorer",
    "river_explorer",
    "script",
    "step_explorer",
]
