"""How a notebook shows a figure: as lines that stay sharp, or as a picture where these are many.

A figure is at most as wide as the column of text, and no text in it is too small to be read there.
A drawing says where its panels lie, so that a phone can show them one below the other.
"""

import io
import os
import sys
from base64 import b64encode
from collections.abc import Iterable
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from igrlib.plots._svg import shrink

__all__ = [
    "ALONE",
    "BOTH",
    "HEAVIEST",
    "LOWEST",
    "SMALLEST",
    "WIDTH",
    "WIDTH_ALONE",
    "figure_data",
    "show_figures",
]

WIDTH = 6.9
"""Width of the column of text, in inches of 96 pixels: no figure is wider."""
SMALLEST, ALONE = 8.5, 11.0
"""Size of the smallest text, in pt: 11 pixels and a little; larger where panels are in one column.

A phone shows columns one below the other, and has a single one in three quarters of its size.
"""
WIDTH_ALONE, LOWEST = 4.9, 3.2
"""Width of a single panel, in inches, that a phone can show with its text; its least height."""
HEAVIEST = 150_000
"""Bytes up to which a figure is a drawing."""
BOTH = "IGR_BOTH_FIGURES"
"""Where the environment has this variable, a drawing comes with its picture."""
_PAD, _DPI = 0.03, 192
# A column of panels narrower than this, in inches, such as a colour bar, joins the one before.
_NARROW = 1.1


def show_figures() -> None:
    """In a notebook, show every figure of the session by `figure_data`; elsewhere do nothing."""
    if "IPython" not in sys.modules:
        return
    from IPython.core.getipython import get_ipython

    shell: Any = get_ipython()
    if getattr(shell, "kernel", None) is None:
        return
    from matplotlib_inline.config import InlineBackend

    InlineBackend.instance(parent=shell).figure_formats = set()  # these would be made besides
    shell.display_formatter.mimebundle_formatter.for_type(Figure, figure_data)


def figure_data(figure: Figure, include: Any = None, exclude: Any = None) -> dict[str, str]:
    """A figure as `image/svg+xml`, or as `image/png` of twice the pixels if that is too heavy.

    Sets the figure's width to `WIDTH` if it is wider, and texts to `SMALLEST` if they are smaller.
    """
    fit(figure)
    drawn = drawing(figure)
    light = len(drawn.encode()) <= HEAVIEST
    data = {"image/svg+xml": drawn} if light else {}
    if not light or os.environ.get(BOTH):
        data["image/png"] = b64encode(picture(figure)).decode()
    return data


def fit(figure: Figure) -> None:
    """Bring a figure to the width of the column, and its text to a size that is read there.

    Panels that share their y axis all get tick labels.
    """
    width, height = figure.get_size_inches()
    if width > WIDTH:
        figure.set_size_inches(WIDTH, height)
    figure.draw_without_rendering()
    several = len(_columns(_panels(figure))) > 1
    smallest = SMALLEST if several else ALONE
    for ax in _panels(figure) if several else ():
        if len(ax.get_shared_y_axes().get_siblings(ax)) > 1:  # a phone parts it from its scale
            ax.yaxis.set_tick_params(which="both", labelleft=True)
    for ax in figure.axes:
        for axis in (ax.xaxis, ax.yaxis):
            sizes = [float(label.get_fontsize()) for label in axis.get_ticklabels(which="both")]
            if min(sizes, default=smallest) < smallest:
                axis.set_tick_params(which="both", labelsize=smallest)
    for text in _texts(figure):
        text.set_fontsize(max(float(text.get_fontsize()), smallest))
    figure.draw_without_rendering()
    (*others, widest) = sorted(box.width for box in _columns(_panels(figure))) or [0.0]
    drawn = max((ax.get_window_extent().width / figure.dpi for ax in figure.axes), default=0.0)
    # Where names beside the panel take most of its width, it would have none left.
    if not others and widest > WIDTH_ALONE and drawn > widest / 2:
        shape = figure.get_size_inches() * WIDTH_ALONE / widest
        figure.set_size_inches(shape[0], max(shape[1], min(height, LOWEST)))
        figure.draw_without_rendering()


def picture(figure: Figure) -> bytes:
    """A PNG of twice the pixels that are shown, on white."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=_DPI, bbox_inches="tight", pad_inches=_PAD)
    return stream.getvalue()


def drawing(figure: Figure) -> str:
    """An SVG without a ground; `data-pieces` are boxes of it that can stand below each other.

    `data-smallest` is the size of its smallest text, in its own units.
    """
    box = figure.get_tightbbox().padded(_PAD)
    found = pieces(figure, box)  # before it is drawn at another resolution, which moves legends
    stream = io.StringIO()
    without: dict[str, Any] = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    if engine := figure.get_layout_engine():
        # Laid out again, at another resolution, panels would leave their pieces.
        figure.set_layout_engine("none")
    with mpl.rc_context(
        {"svg.fonttype": "path", "svg.hashsalt": "igrlib", "path.simplify_threshold": 0.2}
    ):
        figure.savefig(stream, format="svg", bbox_inches=box, facecolor="none", metadata=without)
    if engine:
        figure.set_layout_engine(engine)
    sizes = [float(text.get_fontsize()) for text in _texts(figure)]
    about = {"data-smallest": f"{min(sizes, default=SMALLEST):.3g}"}
    if len(found) > 1:
        about["data-pieces"] = ",".join(" ".join(f"{x:.1f}" for x in one) for one in found)
    # On a dark page of a notebook; the book takes it away.
    return shrink(stream.getvalue(), **about, style="background:#fff")


def pieces(figure: Figure, box: Bbox) -> list[tuple[float, float, float, float]]:
    """Boxes (x, y, width, height) in pt from the upper left corner of `box`, in reading order.

    First the things above all panels, then the panels row by row, then the things beside or below
    them. Panels go column by column where those of a column share what is written below it. Empty
    if something lies across the panels, so that no cut parts them.
    """
    panels = _panels(figure)
    columns = _rows(panels) or _columns(panels)
    top = max((c.y1 for c in columns), default=0.0)
    beside: list[Bbox] = []
    for one in [*figure.legends, *_outside(panels)]:
        beside += _parted(one, max((c.width for c in _columns(panels)), default=WIDTH))
    beside += [_extent(text) for text in figure.texts if text.get_text() and text.get_visible()]
    beside = list({one.bounds: one for one in beside if one.width > 0}.values())
    beside.sort(key=lambda one: (round(-one.y1, 1), one.x0))
    above = [one for one in beside if one.y0 > top - 0.05]
    under = [one for one in beside if one.y0 <= top - 0.05]
    found = [*above, *columns, *under]
    if any(_across(a, b) for a in columns for b in found if a is not b):
        return []
    if len(columns) < 2 and not beside:
        return []
    found = [one.padded(_PAD) for one in found]
    return [
        (72 * (one.x0 - box.x0), 72 * (box.y1 - one.y1), 72 * one.width, 72 * one.height)
        for one in found
    ]


def _panels(figure: Figure) -> list[Axes]:
    return [ax for ax in figure.axes if ax.get_visible()]


def _texts(figure: Figure) -> Iterable[Text]:
    for text in figure.findobj(Text):
        if isinstance(text, Text) and text.get_visible() and text.get_text().strip():
            yield text


def _inches(box: Bbox, figure: Figure) -> Bbox:
    return Bbox(box.get_points() / figure.dpi)


def _extent(artist: Any) -> Bbox:
    figure = artist.get_figure(root=True)
    return _inches(artist.get_window_extent(), figure)


def _outside(panels: list[Axes]) -> list[Legend]:
    """The legends that stand beside their panels."""
    legends = [(ax, ax.get_legend()) for ax in panels]
    return [
        one
        for ax, one in legends
        if one is not None and not one.get_window_extent().overlaps(ax.get_window_extent())
    ]


def _box(ax: Axes) -> Bbox:
    """All that a panel shows, but for a legend beside it."""
    outside, figure = _outside([ax]), ax.get_figure(root=True)
    for one in outside:
        one.set_in_layout(False)
    box = ax.get_tightbbox()
    for one in outside:
        one.set_in_layout(True)
    if figure is None or box is None:
        return Bbox.null()
    return _inches(Bbox(box.get_points()), figure)


def _columns(panels: list[Axes]) -> list[Bbox]:
    """The boxes of the columns of panels, from left to right."""
    found: list[list[Axes]] = []
    for ax in sorted(panels, key=lambda ax: ax.get_position().x0):
        middle = sum(ax.get_position().intervalx) / 2
        if found and middle < max(one.get_position().x1 for one in found[-1]):
            found[-1].append(ax)
        else:
            found.append([ax])
    boxes = [Bbox.union([_box(ax) for ax in column]) for column in found]
    joined: list[Bbox] = []
    for one in boxes:
        if joined and one.width < _NARROW:
            joined[-1] = Bbox.union([joined[-1], one])
        else:
            joined.append(one)
    return joined


def _rows(panels: list[Axes]) -> list[Bbox]:
    """The boxes of panels row by row; none if a panel needs another to be read."""
    boxes = [_box(ax) for ax in panels]
    shared = not all(ax.xaxis.get_tick_params()["labelbottom"] for ax in panels)
    across = any(_across(a, b) for a in boxes for b in boxes if a is not b)
    if shared or across or any(box.width < _NARROW for box in boxes):
        return []
    found: list[list[Bbox]] = []
    for box in sorted(boxes, key=lambda box: -box.y1):
        if found and box.y1 > max(one.y0 for one in found[-1]):
            found[-1].append(box)
        else:
            found.append([box])
    return [box for row in found for box in sorted(row, key=lambda box: box.x0)]


def _parted(legend: Legend, width: float) -> list[Bbox]:
    """The box of a legend; of a wide one, the boxes of its columns, as many as fit into `width`."""
    figure = legend.get_figure(root=True)
    whole = _extent(legend)
    if figure is None or whole.width <= width:
        return [whole]
    columns: list[Bbox] = []
    entries = [*legend.get_texts(), *legend.get_lines(), *legend.get_patches()]
    for one in sorted((_extent(entry) for entry in entries), key=lambda one: one.x0):
        if columns and one.x0 < columns[-1].x1 + 0.15:
            columns[-1] = Bbox.union([columns[-1], one])
        else:
            columns.append(one)
    rows: list[Bbox] = []
    for one in columns:
        if rows and one.x1 - rows[-1].x0 <= width:
            rows[-1] = Bbox.union([rows[-1], one])
        else:
            rows.append(one)
    return [Bbox.from_extents(one.x0 - 0.05, whole.y0, one.x1 + 0.05, whole.y1) for one in rows]


def _across(a: Bbox, b: Bbox) -> bool:
    """Whether two boxes overlap by more than the space between letters."""
    wide = min(a.x1, b.x1) - max(a.x0, b.x0)
    high = min(a.y1, b.y1) - max(a.y0, b.y0)
    return bool(wide > 0.02 and high > 0.02)
