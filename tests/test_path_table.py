"""Runs and flows as they are read and drawn: made-up numbers, and where each comes to stand."""

from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from helpers.records import sweep
from matplotlib.colors import same_color

from igrlib.experiments.path_table import path_of, path_units
from igrlib.experiments.records import Record, Shard
from igrlib.plots import COLORS
from igrlib.plots.paths import path_figure

mpl.use("Agg")

FLOWS, SAVED, K, H = ("gradient", "central"), np.array([0, 4, 8, 12]), 2, 0.5
NAME = "path-n0003-h0.5-s00"


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def made(**arrays):
    rng = np.random.default_rng(0)
    shapes = {
        **dict.fromkeys(("loss", "squared_gradient"), (13,)),
        **dict.fromkeys(("moved", "central_loss", "central_squared_gradient"), (4,)),
        **dict.fromkeys(("eigenvalue", "residual", "central_variance"), (4, K)),
        **dict.fromkeys(
            ("distance", "mean_distance", "flow_loss", "flow_squared_gradient"), (2, 4)
        ),
        "flow_eigenvalue": (2, 4, K),
        "norm": (1, 4),
    }
    arrays = {
        "learning_rate": np.array([H]),
        "seed": np.array([7]),
        "saved_step": SAVED,
        "flow": np.array(FLOWS, "U16"),
        "diverged": np.array([-1]),
        "ended": np.array([-1, 4]),
        "why": np.array(["", "no Σ"]),
        **{name: rng.uniform(1, 2, shape).astype(np.float32) for name, shape in shapes.items()},
        **arrays,
    }
    for name in ("distance", "mean_distance", "flow_loss", "flow_eigenvalue"):
        arrays[name][1, 2:] = np.nan
    config = {"name": "path", "dataset": "digits", "smooth": True, "width": 3, "num_params": 9}
    meta = {"unit_config": config | {"window": 4}, "config": {"model": "MLP"}, "marks": {}}
    return Record(Path(), "edge-sweep", "digits", {NAME: Shard(NAME, arrays, meta)})


def test_every_number_stands_at_its_time_flow_and_direction():
    record = made()
    arrays, path = record.units[NAME].arrays, path_of(record, NAME)
    assert path_units(record) == path_units(record, "path") == [NAME]
    assert path_units(record, "another") == path_units(sweep()) == []
    np.testing.assert_array_equal(path["time"], [0, 2, 4, 6])
    np.testing.assert_array_equal(path["step_time"], np.arange(13) / 2)
    one = path.sel(flow="central", saved=4)
    assert float(one["distance"]) == arrays["distance"][1, 1]
    assert float(one["flow_eigenvalue"].isel(direction=1)) == arrays["flow_eigenvalue"][1, 1, 1]
    assert float(path["scaled_curvature"].sel(saved=8)[0]) == 0.5 * arrays["eigenvalue"][2, 0]
    assert float(path["loss"].sel(step=3)) == arrays["loss"][3]
    assert float(path["norm"].sel(saved=12)) == arrays["norm"][0, 3]
    assert np.isnan(path["ended"].sel(flow="gradient"))
    assert (float(one["ended"]), str(one["why"].item())) == (2.0, "no Σ")
    assert (path.attrs["seed"], path.attrs["learning_rate"], path.attrs["smooth"]) == (7, 0.5, True)


def test_means_are_over_whole_windows_and_free_of_what_alternates():
    trend = np.linspace(1, 2, 13)
    path = path_of(made(loss=trend + 5 * (-1.0) ** np.arange(13)), NAME)
    # Around steps 4 and 8 there are two steps on either side.
    np.testing.assert_allclose(path["mean_loss"], [np.nan, trend[4], trend[8], np.nan])
    three = np.ones(3)
    short = made(loss=three, squared_gradient=three, saved_step=np.array([0, 1, 2, 2]))
    short = path_of(short, NAME)
    assert np.isnan(short["mean_loss"]).all()


def test_what_is_no_path_is_refused():
    with pytest.raises(ValueError, match=rf"unit must be one of \['{NAME}'\]"):
        path_of(made(), "path")
    other = sweep()
    name = next(iter(other.units))
    with pytest.raises(ValueError, match="is not a run with its flows: it has no saved_step"):
        path_of(other, name)


@pytest.mark.parametrize("smooth", [False, True])
def test_the_figure_draws_the_run_the_edge_and_each_flow(smooth):
    record = made()
    arrays = record.units[NAME].arrays
    arrays["distance"][:, 0] = arrays["mean_distance"][:, 0] = 0  # There the flows set out.
    loss, curvature, distance = path_figure(record, NAME, smooth=smooth).axes
    run = COLORS["gradient descent"]
    np.testing.assert_allclose(line(loss, run), [np.arange(13) / 2, arrays["loss"]])
    scaled = 0.5 * arrays["eigenvalue"][:, 0]
    np.testing.assert_allclose(line(curvature, run), [[0, 2, 4, 6], scaled])
    assert 2.0 in [y for one in curvature.lines for y in one.get_ydata()]
    apart = arrays["mean_distance" if smooth else "distance"]
    green = COLORS["gradient flow"]
    np.testing.assert_allclose(line(distance, green)[1], [np.nan, *apart[0, 1:]])
    np.testing.assert_allclose(line(loss, green)[1], arrays["flow_loss"][0])
    np.testing.assert_allclose(line(curvature, green)[1], 0.5 * arrays["flow_eigenvalue"][0, :, 0])
    # The central flow ends at t = 2.
    for ax in (loss, curvature, distance):
        (cross,) = [one for one in ax.lines if one.get_marker() == "x"]
        assert cross.get_xdata().tolist() == [2.0]
        assert same_color(cross.get_color(), "#000000")
    assert distance.get_xlabel() == "physical time $t = nh$"


def line(ax, color):
    (found,) = [
        one for one in ax.lines if same_color(one.get_color(), color) and len(one.get_xdata()) > 1
    ]
    return [np.asarray(found.get_xdata()), np.asarray(found.get_ydata())]
