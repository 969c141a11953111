"""Figures: what igrlib.plots stores in a notebook, and what book/_ext/figures.py makes of it.

A path is read by fontTools, contrasts are computed anew, and the places of panels are those that
the axes say.
"""

import io
import re
import sys
from base64 import b64decode
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from fontTools.pens.recordingPen import RecordingPen
from fontTools.svgLib.path import parse_path
from helpers import contrast_on_white
from matplotlib.colors import to_hex, to_rgb
from PIL import Image

from igrlib import plots
from igrlib.plots import _display as display
from igrlib.plots._svg import shrink

sys.path.append(str(Path(__file__).resolve().parent.parent / "book" / "_ext"))
import figures

mpl.use("Agg")
SVG = "image/svg+xml"
X = np.linspace(0, 7, 300)


@pytest.fixture(autouse=True)
def style():
    with mpl.rc_context():
        mpl.rcdefaults()
        plots.use_style()
        yield
        plt.close("all")


def two_panels(width=6.9):
    figure, (left, right) = plt.subplots(1, 2, figsize=(width, 3.4))
    left.plot(X, np.sin(X), label=r"$\theta_1$")
    left.fill_between(X, -0.1, 0.1, color="black", alpha=0.2, lw=0)
    left.legend()
    right.plot(X[::10], X[::10] ** 2, "o")
    right.set(xlabel="time", ylabel="loss", title="A title")
    return figure


def boxes(drawing):
    return [[float(x) for x in box.split()] for box in attribute(drawing, "data-pieces").split(",")]


def attribute(drawing, name):
    return ElementTree.fromstring(drawing).get(name, "")


# What is stored.


def raw(figure):
    stream = io.StringIO()
    figure.savefig(stream, format="svg")
    return stream.getvalue()


def points(path):
    pen = RecordingPen()
    parse_path(path, pen)
    return np.array([point for _, pairs in pen.value for point in pairs])


def paths(drawing):
    found = [node for node in ElementTree.fromstring(drawing).iter() if node.tag.endswith("}path")]
    return [node.get("d") for node in found]


def test_an_outline_with_fewer_points_is_where_it_was():
    figure, ax = plt.subplots()
    ax.fill_between(X, np.tanh(X - 3), 2)
    ax.set_axis_off()
    before, after = raw(figure), shrink(raw(figure))
    long, short = (max((points(d) for d in paths(text)), key=len) for text in (before, after))
    assert len(short) < 0.3 * len(long)
    # Each point that is left out lies at an edge between two that are kept.
    start, edge = short[:-1], np.diff(short, axis=0)
    along = ((long[:, None] - start) * edge).sum(-1) / np.maximum((edge**2).sum(-1), 1e-9)
    nearest = start + np.clip(along, 0, 1)[..., None] * edge
    assert np.linalg.norm(long[:, None] - nearest, axis=-1).min(axis=1).max() < 0.07
    assert len(after) < 0.3 * len(before)


def test_curves_and_steps_from_point_to_point_keep_their_places():
    path = "M 10.123456 20.5 \nL 30.25 -4.75 \nQ 1 2 3.333333 4 \nC 1 1 2 2.123456 100 0.004 \nz \n"
    path += "M 0.5 0.5 \nL 7.005 8 \nL 7.005 8.5 \n"
    size = 'viewBox="0 0 9 9" width="9" height="9"'
    text = f'<svg xmlns="http://www.w3.org/2000/svg" {size}><path d="{path}"/></svg>'
    (short,) = paths(shrink(text))
    np.testing.assert_allclose(points(short), points(path), atol=0.011)
    assert len(short) < 0.8 * len(path)


@pytest.mark.parametrize(
    ("how", "width"),
    [
        ({"ms": 6, "marker": "o"}, 7),  # diameter and half of the edge at both sides
        ({"ms": 6, "marker": "o", "mec": "none"}, 6),
        ({"ms": 6, "marker": "."}, 4),  # which Matplotlib draws at half the size
    ],
)
def test_discs_in_a_row_are_the_round_ends_of_lines_without_length(how, width):
    figure, ax = plt.subplots()
    ax.plot(X[::20], np.sin(X[::20]), color="#123456", ls="none", **how)
    ax.set_axis_off()
    before, after = (ElementTree.fromstring(t) for t in (raw(figure), shrink(raw(figure))))
    uses = [node for node in before.iter() if node.tag.endswith("}use")]
    (dots,) = (node for node in after.iter() if node.get("stroke-linecap") == "round")
    places = np.array([[float(node.get(name)) for name in "xy"] for node in uses])
    lines = re.findall(r"[Mm]([^h]+)h0", dots.get("d"))
    pairs = [re.findall(r"-?\d*\.?\d+", line) for line in lines]
    np.testing.assert_allclose(np.cumsum(np.array(pairs, dtype=float), axis=0), places, atol=0.006)
    assert (dots.get("fill"), dots.get("stroke")) == ("none", "#123456")
    assert float(dots.get("stroke-width")) == width
    assert not [node for node in after.iter() if node.tag.endswith("}use")]


@pytest.mark.parametrize("how", [{"mfc": "none"}, {"alpha": 0.5}, {"mec": "red"}, {"marker": "s"}])
def test_rings_and_what_is_seen_through_stay_as_they_are(how):
    figure, ax = plt.subplots()
    ax.plot(X[::20], np.sin(X[::20]), ls="none", **({"marker": "o"} | how))
    ax.set_axis_off()
    kept = [n for n in ElementTree.fromstring(shrink(raw(figure))).iter() if n.tag.endswith("}use")]
    assert len(kept) == len(X[::20])


def test_a_picture_of_points_inside_of_a_drawing_stays_a_picture():
    figure, ax = plt.subplots()
    ax.imshow(np.eye(3))
    drawn = display.figure_data(figure)[SVG]
    (data,) = re.findall(r'<image [^>]*href="data:image/png;base64,([^"]*)"', drawn)
    with Image.open(io.BytesIO(b64decode(data))) as image:
        assert min(image.size) > 30


def test_a_drawing_reaches_nothing_outside_of_it_and_is_the_same_every_time():
    drawn = display.figure_data(two_panels())[SVG]
    root = ElementTree.fromstring(drawn)
    tags = {node.tag.rpartition("}")[2] for node in root.iter()}
    assert tags <= {"svg", "defs", "g", "path", "use", "clipPath", "rect"}
    ids = [node.get("id") for node in root.iter() if node.get("id")]
    used = re.findall(r'(?:href="|url\()#(\w+)', drawn)
    assert len(ids) == len(set(ids))
    assert set(used) == set(ids)
    assert not re.search(r"Date|<!--|\?xml", drawn)
    assert display.figure_data(two_panels())[SVG] == drawn


def test_the_same_letter_has_one_name_in_every_figure():
    def defined(text):
        figure, ax = plt.subplots()
        ax.set_axis_off()
        ax.set_title(text)
        root = ElementTree.fromstring(display.figure_data(figure)[SVG])
        return {node.get("id"): node.get("d") for node in root.iter() if node.get("id")}

    one, other = defined("abc"), defined("cbad")
    assert len(one) == 3
    assert one.items() <= other.items()


@pytest.mark.slow
def test_lines_are_drawings_and_clouds_are_pictures_of_twice_the_pixels():
    assert set(display.figure_data(two_panels())) == {SVG}
    figure, ax = plt.subplots(figsize=(5, 3))
    ax.plot(*np.random.default_rng(0).normal(size=(2, 15_000)), ".")
    (kind,) = data = display.figure_data(figure)
    assert kind == "image/png"
    with Image.open(io.BytesIO(b64decode(data[kind]))) as image:
        assert image.size == pytest.approx((5 * 192, 3 * 192), abs=40)


def test_a_drawing_comes_with_its_picture_when_asked_for(monkeypatch):
    monkeypatch.setenv(display.BOTH, "1")
    assert set(display.figure_data(two_panels())) == {SVG, "image/png"}


def test_no_figure_is_wider_than_the_column_and_no_text_smaller_than_is_read():
    figure = two_panels(9.6)
    figure.axes[0].set_title("small", fontsize=6)
    figure.axes[1].tick_params(labelsize=5)
    drawn = display.figure_data(figure)[SVG]
    assert float(attribute(drawn, "width").removesuffix("pt")) <= 6.9 * 72 + 5
    sizes = [100 * float(size) for size in re.findall(r"scale\((\.\d+) -", drawn)]
    assert min(sizes) >= 8.5 - 0.01
    assert float(attribute(drawn, "data-smallest")) == pytest.approx(min(sizes), abs=0.06)
    assert min(sizes) * 4 / 3 > 11


def test_the_text_of_a_panel_alone_is_read_at_three_quarters_of_its_size():
    figure, ax = plt.subplots(figsize=(4.7, 3))
    ax.plot(X, np.sin(X), label="sine")
    ax.legend(fontsize="small")
    for _ in range(2):  # once more, as it is shown again
        drawn = display.figure_data(figure)[SVG]
        sizes = {100 * float(size) for size in re.findall(r"scale\((\.\d+) -", drawn)}
        assert sizes == {11}
    (readable,) = re.findall(r"--igr-readable:(\d+)px", page(drawn))
    assert int(readable) < 390 - 2 * 16


def test_panels_side_by_side_are_pieces_that_hold_their_labels():
    figure = two_panels()
    drawn = display.figure_data(figure)[SVG]
    left, right = boxes(drawn)
    width, height = (float(x) for x in attribute(drawn, "viewBox").split()[2:])
    for (x, y, w, h), ax in zip((left, right), figure.axes, strict=True):
        place = ax.get_position()
        # The frame of the panel, within half a percent.
        assert x < (place.x0 + 0.005) * width
        assert x + w > (place.x1 - 0.005) * width
        assert h > 0.9 * (place.y1 - place.y0) * height
        assert y >= -3
    # The label of the second axis is the second piece's.
    assert left[0] + left[2] <= right[0] + 6
    assert right[0] < figure.axes[1].get_position().x0 * width - 25


def test_what_goes_over_all_panels_is_a_piece_of_its_own():
    figure = two_panels()
    names = ("one long name of a line", "another long name of a line", "and a third such name")
    lines = [mpl.lines.Line2D([], [], label=name) for name in names]
    figure.legend(handles=lines, loc="outside upper center", ncols=3)
    figure.supxlabel("below", x=0.99, ha="right")
    drawn = display.figure_data(figure)[SVG]
    found = boxes(drawn)
    *legend, left, right, below = found
    assert len(legend) == 3  # no two of its columns fit into the width of a panel
    wide = 0.75 * figure.legends[0].get_window_extent().width  # of pixels, in pt
    assert sum(w for _, _, w, _ in legend) > 0.8 * wide
    assert all(y + h < left[1] + 4 for _, y, _, h in legend)
    assert below[1] > left[1] + left[3] - 5
    assert max(w for _, _, w, _ in found) < 0.6 * 6.9 * 72
    assert right[0] > left[0]


def test_a_colour_bar_goes_with_its_panel_and_a_legend_beside_one_panel_apart():
    figure, axes = plt.subplots(1, 2)
    for ax in axes:
        shown = ax.imshow(np.eye(3))
    figure.colorbar(shown, ax=axes)
    assert len(boxes(display.figure_data(figure)[SVG])) == 2
    figure, ax = plt.subplots()
    ax.plot(X, X, label="beside")
    assert attribute(display.figure_data(figure)[SVG], "data-pieces") == ""
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    panel, legend = boxes(display.figure_data(figure)[SVG])
    assert panel[0] + panel[2] < legend[0] + 8
    assert legend[2] < panel[2]


@pytest.mark.parametrize("sharex", [False, True])
def test_panels_go_by_rows_unless_those_of_a_column_share_what_is_below(sharex):
    figure, axes = plt.subplots(2, 2, sharex=sharex, layout="constrained")
    for n, ax in enumerate(axes.flat):
        ax.plot(X, X)
        ax.set_title(f"panel {n}")
    found = boxes(display.figure_data(figure)[SVG])
    corners = [(round(x / 100), round(y / 100)) for x, y, _, _ in found]
    left, right, upper, lower = 0, max(corners)[0], 0, max(c[1] for c in corners)
    if sharex:
        assert corners == [(left, upper), (right, upper)]
    else:
        assert corners == [(left, upper), (right, upper), (left, lower), (right, lower)]
        assert lower > upper
    assert right > left


def test_a_piece_holds_all_that_its_panel_says():
    """What is drawn stands where it was when the pieces were found."""
    figure, axes = plt.subplots(1, 3, layout="constrained")
    for ax in axes:
        ax.plot([0, 1], [1, 2])
        ax.set_xticks([0, 1], ["$h_L$", "$h_L/64$"])
    data = display.figure_data(figure)[SVG]
    places = [float(x) for x in re.findall(r"translate\(([\d.]+) ", data)]
    start = 72 * figure.get_tightbbox().x0 - 72 * 0.03
    for ax, (x, _, width, _) in zip(axes, boxes(data), strict=True):
        label = ax.get_xticklabels()[1].get_window_extent()
        where = label.x0 * 72 / figure.dpi - start
        assert min(abs(where - place) for place in places) < 0.7
        assert x < where < label.x1 * 72 / figure.dpi - start < x + width


def test_panels_that_share_a_scale_show_it_each():
    """On a phone the second panel stands below the first, and far from its tick labels."""
    figure, axes = plt.subplots(1, 2, sharey=True, layout="constrained")
    axes[0].plot(X, 100 * X)
    assert axes[1].get_yticklabels() == []
    display.figure_data(figure)
    shown = [[label.get_text() for label in ax.get_yticklabels()] for ax in axes]
    assert shown[0] == shown[1] != []
    assert all(label.get_visible() for label in axes[1].get_yticklabels())


# What a page makes of it.

GROUND = "#121212"


def on_ground(color):
    return contrast_on_white(GROUND) / contrast_on_white(color)


def night(color):
    return "#" + figures.dark(to_hex(color)[1:])


@pytest.mark.parametrize("name", plots.COLORS)
def test_a_colour_with_a_meaning_is_seen_in_the_dark_and_has_its_hue(name):
    color = plots.COLORS[name]
    assert on_ground(night(color)) >= 3
    if name not in ("minima", "small step"):
        before, after = (mpl.colors.rgb_to_hsv(to_rgb(c))[0] for c in (color, night(color)))
        assert after == pytest.approx(before, abs=0.02)


def test_scales_keep_their_order_in_the_dark():
    rates = [0.001 * 2**k for k in range(8)]
    for colors in (plots.learning_rate_colors(rates), plots.truncation_colors(8)[2:]):
        found = [on_ground(night(color)) for color in colors]
        assert min(found) >= 3
        assert all(a > b + 0.05 for a, b in pairwise(found))


@pytest.mark.parametrize("grey", ["#cfcfcf", "#949494", "#6e6e6e", "#595959"])
def test_a_grey_is_as_far_from_the_ground_in_the_dark_as_in_the_light(grey):
    assert on_ground(night(grey)) == pytest.approx(contrast_on_white(grey), rel=0.05)


def test_black_is_light_and_white_is_the_ground():
    assert on_ground(night("black")) > 12
    assert on_ground(night("white")) == pytest.approx(1, abs=0.02)


def page(*drawings):
    body = "".join(figures.inside(d, f"d-{k}", f"it's <{k}>") for k, d in enumerate(drawings))
    context = {"body": body}
    figures.share(None, "", None, context, None)
    return context["body"]


def test_a_page_has_every_definition_once_and_every_colour_twice():
    drawn = display.figure_data(two_panels())[SVG]
    body = page(drawn, drawn)
    ids = re.findall(r'\bid="([^"]+)"', body)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'(?:href="|url\()#([\w-]+)', body)) <= set(ids)
    assert not re.search(r'(?:fill|stroke)="#', body)
    for colour in set(re.findall(r"var\(--c(\w+)\)", body)):
        assert f"--c{colour}:#{colour};" in body
        assert f"--c{colour}:{night('#' + colour)};" in body
    assert len(body) < 1.7 * len(page(drawn))
    assert 'aria-label="it&#x27;s &lt;0&gt;"' in body


def shown_by_pieces(drawing):
    """The names that each piece draws again, and those that the whole gives to its parts."""
    root = ElementTree.fromstring(figures.inside(drawing, "d", "said"))
    whole, *pieces = root.iter("svg")
    named = [part.get("id") for part in whole if part.get("id")]
    return [[use.get("href")[1:] for use in piece] for piece in pieces], named


def test_a_piece_draws_again_what_lies_in_it_alone():
    again, named = shown_by_pieces(display.figure_data(two_panels())[SVG])
    assert len(again) == 2
    assert sorted(name for names in again for name in names) == sorted(named)
    assert all(again)


def test_a_place_without_a_panel_has_no_piece():
    figure, panels = plt.subplots(2, 2, figsize=(6.9, 5))
    for ax in panels.flat[:3]:
        ax.plot(X, X)
    panels.flat[3].set_axis_off()
    drawing = display.figure_data(figure)[SVG]
    assert len(boxes(drawing)) == 4
    assert len(shown_by_pieces(drawing)[0]) == 3


def test_parts_reach_as_far_as_matplotlib_draws():
    """Text upright and turned, marks, a line, an area, and what is cut off at its axes."""
    figure = two_panels()
    left, right = figure.axes
    left.set(ylabel="turned by 90°", ylim=(-0.5, 0.8))
    drawing = display.figure_data(figure)[SVG]
    root = figures.tree(drawing)
    definitions = {node.get("id"): node for node in root.find("defs")}
    # In pt from the upper left corner of what is stored.
    stored = figure.get_tightbbox().padded(display._PAD)
    for ax, frame in zip((left, right), boxes(drawing), strict=True):
        x, y, width, height = frame
        frame = (x, y, x + width, y + height)
        reached = [figures.reach(part, definitions) for part in root if part.tag != "defs"]
        inside = [box for box in reached if box and figures.meet(box, frame)]
        low, high = np.min(inside, 0)[:2], np.max(inside, 0)[2:]
        expected = ax.get_tightbbox().get_points() / figure.dpi
        (x0, y0), (x1, y1) = 72 * (expected - [stored.x0, stored.y1]) * [1, -1]
        # Matplotlib counts the empty line above letters and below digits.
        np.testing.assert_allclose([*low, *high], [x0, y1, x1, y0], atol=3)


def test_a_page_without_drawings_is_left_alone():
    context = {"body": "<p>Text.</p>"}
    figures.share(None, "", None, context, None)
    assert context == {"body": "<p>Text.</p>"}


def test_a_thumbnail_has_the_marks_alone():
    """Without text, axes, ticks and legends; as wide as the axes, with bolder lines."""
    figure = two_panels()
    figure.axes[0].annotate("", (1, 0), (3, 0.5), arrowprops={"arrowstyle": "->", "color": "red"})
    drawn = display.figure_data(figure)[SVG]
    root = ElementTree.fromstring(figures.small(drawn))
    marks = [part for part in root if part.tag != "defs"]
    # The line, what is filled, the discs of the other panel, and the arrow.
    colours = [inner.get("stroke") for part in marks for inner in part.iter()]
    assert colours.count("var(--cd55e00)") == 2
    assert colours.count("var(--cff0000)") == 1
    assert len(marks) == 4
    width, height = map(float, root.get("viewBox").split()[2:])
    low, high = ([axes.get_window_extent().get_points()[k] for axes in figure.axes] for k in (0, 1))
    points = 72 / figure.dpi
    assert width == pytest.approx(points * (high[1][0] - low[0][0]) + 4 * figures.BOLDER, abs=1)
    assert height == pytest.approx(points * (high[0][1] - low[0][1]) + 4 * figures.BOLDER, abs=1)
    line = next(part for part in marks if part.get("fill") == "none")
    drawn_as = re.search(r'stroke="#d55e00" stroke-width="([\d.]+)"', drawn)
    assert float(line.get("stroke-width")) == pytest.approx(float(drawn_as[1]) * figures.BOLDER)


def test_a_thumbnail_has_no_text():
    drawn = display.figure_data(two_panels())[SVG]
    context = {"body": figures.small(drawn)}
    figures.share(None, "", None, context, None)
    body = context["body"]
    assert "scale(.0" not in body.partition("</defs>")[2]
    assert len(body) < 0.5 * len(drawn)
    ids = re.findall(r'\bid="([^"]+)"', body)
    assert set(re.findall(r'(?:href="|url\()#([\w-]+)', body)) == set(ids)
