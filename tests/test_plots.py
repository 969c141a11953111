"""igrlib.plots: what the figures show, looked up in the axes that they draw."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from helpers import contrast_on_white
from matplotlib.colors import to_rgb, to_rgba

from igrlib import plots

mpl.use("Agg")


@pytest.fixture
def ax():
    with mpl.rc_context():
        figure, axes = plt.subplots()
        yield axes
        plt.close(figure)


def luminance(color):
    return float(np.dot([0.2126, 0.7152, 0.0722], to_rgb(color)))


def test_colors_are_different_and_told_apart_without_hue():
    names = ["gradient descent", "gradient flow", "modified flow", "explicit", "large step"]
    assert set(names) <= set(plots.COLORS)
    rgb = np.array([to_rgb(color) for color in plots.COLORS.values()])
    distances = np.linalg.norm(rgb[:, None] - rgb[None], axis=-1)
    assert distances[~np.eye(len(rgb), dtype=bool)].min() > 0.2
    assert min(map(contrast_on_white, plots.COLORS.values())) >= 3


@pytest.mark.parametrize("count", range(1, 9))
def test_no_colour_of_a_scale_is_too_light_to_see(count):
    rates = [0.001 * 2**k for k in range(count)]
    assert min(map(contrast_on_white, plots.learning_rate_colors(rates))) >= 3
    assert min(map(contrast_on_white, plots.truncation_colors(count))) >= 3


def test_truncations_have_colours_of_their_own_meaning():
    """f_0 is the gradient flow's field, f_0 + h f_1 the modified flow's; the rest is neither."""
    colors = plots.truncation_colors(6)
    assert colors[:2] == [plots.COLORS["gradient flow"], plots.COLORS["modified flow"]]
    rest = np.array([to_rgb(color) for color in colors[2:]])
    taught = np.array([to_rgb(color) for color in plots.COLORS.values()])
    assert np.linalg.norm(rest[:, None] - taught[None], axis=-1).min() > 0.2
    assert (np.diff([luminance(color) for color in rest]) < -0.05).all()
    assert plots.truncation_colors(2) == colors[:2]


def test_other_colours_are_seen_on_white_and_are_none_of_those_with_a_meaning():
    assert min(map(contrast_on_white, plots.OTHER_COLORS)) >= 3
    curves = [c for name, c in plots.COLORS.items() if name != "minima"]  # these are no curve
    others, taught = (np.array([to_rgb(c) for c in cs]) for cs in (plots.OTHER_COLORS, curves))
    assert np.linalg.norm(others[:, None] - taught[None], axis=-1).min() > 0.2


def test_small_and_large_steps_are_told_apart_without_hue():
    small, large = (contrast_on_white(plots.COLORS[f"{size} step"]) for size in ("small", "large"))
    assert small > 2 * large


def test_use_style_draws_in_the_colors_of_the_book():
    with mpl.rc_context():
        mpl.rcdefaults()
        plots.use_style()
        cycle = mpl.rcParams["axes.prop_cycle"].by_key()["color"]
        assert cycle == list(plots.COLORS.values())
        assert mpl.rcParams["figure.constrained_layout.use"]
        assert not mpl.rcParams["axes.spines.top"]


def test_learning_rates_go_from_light_to_dark():
    rates = [0.1, 0.001, 0.5, 0.01]
    colors = plots.learning_rate_colors(rates)
    assert len(colors) == 4
    by_rate = [luminance(colors[k]) for k in np.argsort(rates)]
    assert np.all(np.diff(by_rate) < -0.05)
    # The same rate among the same rates has the same colour, wherever it stands.
    assert plots.learning_rate_colors(sorted(rates)) == [colors[k] for k in np.argsort(rates)]
    (single,) = plots.learning_rate_colors([0.3])
    assert to_rgba(single)[3] == 1


def test_order_plot_shows_points_lines_and_orders(ax):
    h = np.array([0.1, 0.05, 0.02, 0.01, 0.005])
    errors = {"gradient flow": 3 * h**2, "anything else": 0.5 * h**3}
    orders = plots.order_plot(ax, h, errors)
    assert orders == pytest.approx({"gradient flow": 2, "anything else": 3}, abs=1e-9)
    assert ax.get_xscale() == ax.get_yscale() == "log"
    assert "h" in ax.get_xlabel()
    legend = [text.get_text() for text in ax.get_legend().get_texts()]
    assert legend == ["gradient flow: order 2.00", "anything else: order 3.00"]
    points, line, other_points, other_line = ax.get_lines()
    assert to_rgb(points.get_color()) == to_rgb(plots.COLORS["gradient flow"])
    # Not by colour alone.
    assert points.get_marker() != other_points.get_marker()
    # An exact power law: the fitted line goes through every point.
    for drawn, fitted, values in ((points, line, 3 * h**2), (other_points, other_line, 0.5 * h**3)):
        assert drawn.get_linestyle() == "None"
        assert fitted.get_color() == drawn.get_color()
        np.testing.assert_allclose(drawn.get_xdata(), h)
        np.testing.assert_allclose(drawn.get_ydata(), values)
        np.testing.assert_allclose(fitted.get_ydata(), values, rtol=1e-9)


def test_order_plot_takes_colours_for_labels_that_are_no_names_of_the_book(ax):
    h = np.array([0.1, 0.05, 0.02])
    errors = {"up to $f_2$": h**3, "modified flow": h**2}
    plots.order_plot(ax, h, errors, colors={"up to $f_2$": "#123456"})
    drawn = [line.get_color() for line in ax.get_lines()]
    assert drawn == ["#123456"] * 2 + [plots.COLORS["modified flow"]] * 2


def test_order_plot_of_noisy_errors_fits_by_least_squares(ax):
    h = np.array([0.4, 0.2, 0.1, 0.05, 0.025])
    noisy = h**2 * np.array([1.2, 0.9, 1.0, 1.1, 0.8])
    orders = plots.order_plot(ax, h, {"modified flow": noisy})
    slope, intercept = np.polyfit(np.log(h), np.log(noisy), 1)
    assert orders["modified flow"] == pytest.approx(slope, abs=1e-9)
    _, line = ax.get_lines()
    np.testing.assert_allclose(line.get_ydata(), np.exp(intercept) * h**slope, rtol=1e-9)


def test_phase_plane_draws_level_lines_and_a_field_that_goes_down(ax):
    """E = (a − 1)² + 3(b + 0.5)², a bowl whose level lines are ellipses around (1, −1/2)."""

    def loss(p):
        a, b = p
        return (a - 1) ** 2 + 3 * (b + 0.5) ** 2

    plots.phase_plane(ax, loss, (-2.0, 3.0), (-2.0, 2.0), resolution=61)
    assert ax.get_xlim() == (-2, 3)
    assert ax.get_ylim() == (-2, 2)
    contours = next(c for c in ax.collections if isinstance(c, mpl.contour.ContourSet))
    levels = contours.levels
    assert len(levels) == 13
    np.testing.assert_allclose(np.diff(np.log(levels)), np.log(levels[1] / levels[0]), rtol=1e-9)
    for level, path in zip(levels, contours.get_paths(), strict=True):
        if level > 1 and len(path.vertices):
            a, b = path.vertices.T
            np.testing.assert_allclose((a - 1) ** 2 + 3 * (b + 0.5) ** 2, level, rtol=0.02)
    (arrows,) = (c for c in ax.collections if isinstance(c, mpl.quiver.Quiver))
    a, b = arrows.XY.T
    assert len(a) > 100
    gradient = np.array([2 * (a - 1), 6 * (b + 0.5)])
    np.testing.assert_allclose(
        np.array([arrows.U, arrows.V]), -gradient / np.linalg.norm(gradient, axis=0), atol=1e-12
    )


@pytest.mark.parametrize("shape", [(4.0, 4.0), (9.0, 3.0)])
def test_phase_plane_draws_arrows_along_the_field_in_data_coordinates(shape):
    """The arrows as they are drawn, on axes with unequal scales, taken back to the data."""
    with mpl.rc_context():
        figure, ax = plt.subplots(figsize=shape)
        plots.phase_plane(ax, lambda p: (p[1] - p[0] ** 2) ** 2, (0.0, 1.0), (-4.0, 4.0))
        figure.canvas.draw()
        (arrows,) = (c for c in ax.collections if isinstance(c, mpl.quiver.Quiver))
        # Vertex 3 of an arrow's outline is its tip, seen from its foot.
        tips = np.array([path.vertices[3] for path in arrows.get_paths()])
        tips = arrows.get_transform().transform(tips)
        foot = ax.transData.transform(arrows.get_offsets())
        drawn = ax.transData.inverted().transform(foot + tips) - arrows.get_offsets()
        plt.close(figure)
    a, b = arrows.XY.T
    down = np.array([4 * a * (b - a**2), -2 * (b - a**2)]).T
    cross = drawn[:, 0] * down[:, 1] - drawn[:, 1] * down[:, 0]
    lengths = np.linalg.norm(drawn, axis=1) * np.linalg.norm(down, axis=1)
    assert len(a) > 100
    np.testing.assert_allclose(cross / lengths, 0, atol=1e-3)
    assert ((drawn * down).sum(axis=1) > 0).all()
    long = np.linalg.norm(tips, axis=1)
    np.testing.assert_allclose(long, long.mean(), rtol=1e-6)


def test_phase_plane_of_a_loss_that_vanishes_on_the_grid(ax):
    plots.phase_plane(ax, lambda p: (p[0] * p[1]) ** 2, (-1.0, 1.0), (-1.0, 1.0), resolution=11)
    contours = next(c for c in ax.collections if isinstance(c, mpl.contour.ContourSet))
    assert (contours.levels > 0).all()


def test_tangent_plane_touches_the_surface_and_its_normal_is_unit_and_orthogonal():
    """E = a²/4 + ab + 3 at (1, 0), where its gradient (a/2 + b, a) is (1/2, 1)."""
    with mpl.rc_context():
        figure = plt.figure()
        space, cut = figure.add_subplot(121, projection="3d"), figure.add_subplot(122)
        plots.tangent_plane(space, cut, lambda p: p[0] ** 2 / 4 + p[0] * p[1] + 3, (1.0, 0.0))
        *_, plane, arrow, _ = space.collections
        corners = plane._faces[0]
        tip, foot = arrow._segments3d[0]
        (normal, _), line = cut.collections, cut.get_lines()[1]
        plt.close(figure)
    np.testing.assert_allclose(foot, [1, 0, 3.25], atol=1e-6)
    np.testing.assert_allclose(np.mean(corners, axis=0), foot, atol=1e-6)
    np.testing.assert_allclose((corners - foot) @ (tip - foot), 0, atol=1e-6)
    np.testing.assert_allclose(tip - foot, np.array([-0.5, -1, 1]) / 1.5, atol=1e-6)
    assert line.get_slope() == pytest.approx(-np.sqrt(1.25), rel=1e-6)
    across, upwards = float(normal.U[0]), float(normal.V[0])
    assert np.hypot(across, upwards) == pytest.approx(1, abs=1e-6)
    assert across + line.get_slope() * upwards == pytest.approx(0, abs=1e-6)
