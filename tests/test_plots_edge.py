"""igrlib.plots.edge: the drawn numbers against those that the records were made up with."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from helpers.records import made, record
from matplotlib.collections import PolyCollection
from matplotlib.colors import same_color
from test_edge_curves import STEPS, table
from test_flatness import LEVEL, swept
from test_ladder import LARGE, like_edge
from test_ladder import LEVEL as AT
from test_ladder import ladder as made_up

from igrlib.plots import edge as figures
from igrlib.plots.style import COLORS, learning_rate_colors

mpl.use("Agg")
PARTS = (64, 16, 4, 1)


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def lines(ax, color, style="-"):
    found = [one for one in ax.lines if same_color(one.get_color(), color)]
    found = [one for one in found if one.get_ls() == style]
    return [np.array(one.get_data()) for one in found]


def test_the_ladder_draws_predictions_before_what_was_observed():
    figure = figures.ladder_rungs(made_up(way=0.25), "ladder", thresholds=AT)
    parts = PARTS[::-1]  # the large step first
    h = np.array([LARGE / k for k in parts])
    x = np.log2([like_edge(one, (LARGE - one) / 4) / LARGE for one in h])
    for ax, slope in zip(figure.axes, (-0.5, -0.6, 0.3), strict=True):
        relative = slope < 0

        def shown(values, relative=relative):
            return np.exp(values) if relative else values

        (regularizer,) = lines(ax, figures.PREDICTIONS["regularizer"])
        assert set(regularizer[1]) == {1.0 if relative else 0.0}
        (edge,) = lines(ax, figures.PREDICTIONS["edge"])
        np.testing.assert_allclose(edge, [h, shown(slope * x)], rtol=1e-6)
        kept = [one for one in ax.lines if one.get_marker() == "o"]
        np.testing.assert_allclose([one.get_xdata()[0] for one in kept], h[1:])
        values = [one.get_ydata()[0] for one in kept]
        np.testing.assert_allclose(values, shown(0.75 * slope * x[1:]), rtol=1e-6)
        plain = [one.get_ydata()[0] for one in ax.lines if one.get_marker() == "s"]
        np.testing.assert_allclose(plain, shown(-slope * np.log2(parts[1:])), rtol=1e-6)
        order = [one.get_zorder() for one in ax.lines]
        assert max(order[:2]) < min(one.get_zorder() for one in kept)
        labels = [tick.get_text() for tick in ax.get_xticklabels()]
        assert labels == ["1", "1/4", "1/16", "1/64"]
        assert ax.get_xlim()[0] > h[0] > h[-1] > ax.get_xlim()[1]
        bound = lines(ax, figures.PREDICTIONS["edge"], ":")
        assert len(bound) == (slope == -0.6)
        for one in bound:
            np.testing.assert_allclose(one[1], 2.0**-x)


def test_the_ladder_draws_every_block_and_its_interval():
    figure = figures.ladder_rungs(made_up(way=1.0, spread=0.1), "ladder", thresholds=AT)
    ax = figure.axes[0]
    blocks = [one for one in ax.lines if one.get_marker() == "."]
    assert [len(one.get_xdata()) for one in blocks] == 6 * [8]
    kept = [one for one in blocks if same_color(one.get_color(), COLORS["explicit"])]
    ends = [one for one in lines(ax, COLORS["explicit"]) if len(one[0]) == 2]
    for points, (at, (low, high)) in zip(kept, ends, strict=True):
        logs = np.log(points.get_ydata())
        reach = 2.997952 * logs.std(ddof=1) / np.sqrt(8)
        expected = np.exp(logs.mean() + np.array([-reach, reach]))
        np.testing.assert_allclose([low, high], expected, rtol=1e-5)
        assert set(at) == set(points.get_xdata())


def test_a_record_without_a_ladder_is_refused():
    with pytest.raises(ValueError, match=r"record must have a ladder 'sgd', got none: .*h_L"):
        figures.ladder_rungs(swept(mus=(0.0,)), "sgd", thresholds=AT)
    with pytest.raises(ValueError, match="record must have a ladder 'steps', got none: no arm"):
        figures.ladder_rungs(made_up(), "steps")


@pytest.mark.parametrize(("measure", "times"), [("lambda_max", 1), ("slope", 2)])
def test_flatness_is_drawn_from_the_mean_of_each_group(measure, times):
    how = {"by_flatness": 0.3, "by_h": 0.2}
    figure = figures.flatness_and_accuracy(swept(**how), "sgd", measure=measure, thresholds=LEVEL)
    left, right = figure.axes
    drawn = lines(left, COLORS["gradient descent"])
    assert len(drawn) == 16
    for x, y in drawn:
        np.testing.assert_allclose(x, np.array([-1, 0, 1]) / times, atol=1e-9)
        np.testing.assert_allclose(y, 0.5 * np.array([-1, 0, 1]), atol=1e-9)
    drawn = lines(right, COLORS["explicit"])
    assert len(drawn) == 48
    for x, y in drawn:
        np.testing.assert_allclose(x, (np.array([0, 0.5, 1.5]) - 2 / 3) / times, atol=1e-9)
        np.testing.assert_allclose(y, 0.3 * (np.array([0, 0.5, 1.5]) - 2 / 3), atol=1e-9)
    for ax, slope in ((left, 0.5), (right, 0.3)):
        ((x, y),) = lines(ax, "black")
        np.testing.assert_allclose(y, slope * times * x)
        assert sum(isinstance(one, PolyCollection) for one in ax.collections) == 1


def test_where_nothing_was_varied_the_panel_says_so():
    figure = figures.flatness_and_accuracy(swept(mus=(0.0,)), "sgd", thresholds=LEVEL)
    left, right = ([text.get_text() for text in ax.texts] for ax in figure.axes)
    assert (left, right) == ([], ["no models to compare"])
    with pytest.raises(ValueError, match="measure must be lambda_max or slope, got 'norm'"):
        figures.flatness_and_accuracy(swept(), "sgd", measure="norm", thresholds=LEVEL)


def batches():
    """The models of `test_edge_curves.table` as units of a record, a batch size each."""
    one = table().assign(lambda_max_residual=table()["lambda_max_residual"] + 0.1)
    units = []
    for size in (8, 32):
        part = one.isel(block=(one["batch_size"] == size).values)
        models = part.stack(model=("block", "treatment"), create_index=False)
        arrays = {name: models[name].transpose("model", ...).values for name in one.data_vars}
        arrays |= {name: models[name].values for name in ("seed", "learning_rate", "mu")}
        arrays |= {"curvature_step": STEPS, "batch": np.arange(4), "diverged": np.full(6, -1)}
        units.append(made("batches", 50, (0, 1, 2), arrays, {}, batch_size=size, num_train=32))
    return record(*units)


def of_table(monkeypatch):
    """Tables of records have these measurements only where the schema does."""
    monkeypatch.setattr(
        figures.tables,
        "table_of",
        lambda *_: table().assign_coords(full_batch=("block", table()["batch_size"].values == 32)),
    )


def test_batches_at_the_edge(monkeypatch):
    of_table(monkeypatch)
    figure = figures.edge_of_batches(batches())
    grid = np.array(figure.axes).reshape(3, 2)
    (color,) = learning_rate_colors([0.1])
    assert [ax.get_title() for ax in grid[0]] == ["batches of 8", "full batch"]
    for column, factor in zip(grid.T, (1, 2), strict=True):
        middle = (np.array([10.0, 21.0, 40.0]) + 1) / factor
        for ax, expected in zip(column, (middle / 10, middle / 5, np.full(3, 1 / 3)), strict=True):
            ((x, y),) = lines(ax, color)
            assert ax.get_xscale() == "log"
            np.testing.assert_array_equal(x, STEPS)
            np.testing.assert_allclose(y, expected)
            assert len(lines(ax, color, "--")) == 1
            assert len(ax.collections) == 2
        for ax in column[:2]:
            ((_, y),) = lines(ax, "black", "--")
            assert set(y) == {2}
    whole = lines(grid[0, 0], color, "--")[0]
    middle = np.array([11.0, 22.0, 41.0])
    np.testing.assert_allclose(whole[1], 0.1 * middle * (1 + 0.02 * middle))


def test_batch_sizes_that_were_not_recorded(monkeypatch):
    of_table(monkeypatch)
    assert len(figures.edge_of_batches(batches(), batch_sizes=[32]).axes) == 3
    for wrong in ([], [64], [8, 64]):
        with pytest.raises(ValueError, match=r"batch_sizes must be some of \[8, 32\]"):
            figures.edge_of_batches(batches(), batch_sizes=wrong)
