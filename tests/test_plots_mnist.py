"""igrlib.plots.mnist: the drawn numbers against those of a record made up here, model by model."""

import itertools

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from helpers import contrast_on_white
from helpers.records import made, members, record
from matplotlib.colors import same_color, to_rgb, to_rgba

from igrlib import plots
from igrlib.experiments.table import table_of
from igrlib.plots import _tables, mnist
from igrlib.plots._marks import decade_axis, seed_lines

mpl.use("Agg")

STEPS = np.array([0, 10, 40, 100, 400, 1000])
SCORES = np.array([0, 10, 20, 40, 100, 300, 400, 1000])
LEVELS = np.array([1e-1, 1e-2, 1e-4])
NOISE = np.array([0.0, 0.5, 1.0])
SLOPES = np.array([0.0, 0.25])


def made_up(units, *, diverged=(), censored=(), fitted=(), stop=None, points=("validation",)):
    """Units `(arm, width, batch size, rates, seeds)` with random arrays; marks by (width, h, seed).

    A model of rate h in `stop` is measured up to that step and no further.
    """
    found = []
    for arm, width, batch, rates, seeds in units:
        rng = np.random.default_rng([width, batch, len(arm), seeds[0]])
        seed, h, mu = members(seeds, rates)
        keys = [(width, r, s) for r, s in zip(h.tolist(), seed.tolist(), strict=True)]
        m, g, s = len(h), len(STEPS), len(SCORES)

        def draw(*shape, low=0.1, high=1.0, rng=rng, m=m):
            return rng.uniform(low, high, (m, *shape))

        def falling(n, low, rng=rng, m=m):
            return np.exp(np.linspace(0.5, low, n) + rng.uniform(-0.1, 0.1, (m, n)))

        arrays = {
            "learning_rate": h,
            "seed": seed,
            "mu": mu,
            "stop": np.full(m, STEPS[-1]),
            "diverged": np.array([100 if key in diverged else -1 for key in keys]),
            "score_step": SCORES,
            "gradient_step": STEPS,
            "level": LEVELS,
            "noise_sigma": NOISE,
            "slope_sigma": SLOPES,
            "test_loss": draw(s),
            "test_accuracy": draw(s),
            "validation_loss": draw(s),
            "validation_accuracy": draw(s),
            "train_loss": falling(g, -7.0),
            "train_accuracy": draw(g),
            "train_squared_gradient": falling(g, -9.0),
            "test_squared_gradient": draw(g),
            "norm": draw(g, low=20.0, high=30.0),
            "crossing_step": np.full((m, 3), -1),
            "crossing_lambda_max": draw(3, low=1.0, high=100.0),
            "crossing_batch_squared_gradient": draw(3),
            "chosen_step": np.full((m, 3), 400),
        }
        for name in ("train_squared_gradient", "test_accuracy", "train_loss", "norm"):
            arrays[f"chosen_{name}"] = draw(3)
        deep = {"lambda_max": (3,), "noise_accuracy": (3, 3), "noise_accuracy_sd": (3, 3)}
        for name, shape in (deep | {"noise_slope": (3, 2), "noise_slope_sd": (3, 2)}).items():
            arrays[f"chosen_{name}"] = draw(*shape)
            unseen = [k for k, p in enumerate(("validation", "test", "final")) if p not in points]
            arrays[f"chosen_{name}"][:, unseen] = np.nan
        at_steps = [f"train_{n}" for n in ("loss", "accuracy", "squared_gradient")]
        at_steps += ["test_squared_gradient", "norm"]
        for rate, last in (stop or {}).items():
            for field in at_steps:
                arrays[field][np.ix_(h == rate, last < STEPS)] = np.nan
            for field in ("test_loss", "test_accuracy"):
                arrays[field][np.ix_(h == rate, last < SCORES)] = np.nan
        late = [k for k, key in enumerate(keys) if key in censored]
        marks = {"censored_validation": late, "censored_test": []}
        marks["fitted"] = [k for k, key in enumerate(keys) if key in fitted]
        config = {"batch_size": batch, "num_train": 1000, "points": list(points)}
        found.append(made(arm, width, seeds, arrays, marks, **config))
    return record(*found)


RATES = (0.1, 0.05, 0.01)
ARM = [
    ("sgd", 50, 32, RATES, (0, 1, 2, 3)),
    ("sgd", 50, 32, RATES, (4, 5, 6, 7)),
    ("sgd", 100, 32, RATES, (0, 1, 2)),
]
M = {50: 49960, 100: 119910}
"""The parameter counts that the paper prints."""

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture(autouse=True)
def style():
    with mpl.rc_context():
        plots.use_style()
        yield
        plt.close("all")


def member(record, width, h, seed, arm="sgd"):
    """The arrays of one model, looked up in the unit that holds it."""
    for unit in record.units.values():
        config, a = unit.meta["unit_config"], unit.arrays
        (found,) = np.nonzero((a["learning_rate"] == h) & (a["seed"] == seed))
        if (config["name"], config["width"]) == (arm, width) and len(found):
            return {
                name: array[found[0]] for name, array in a.items() if len(array) == len(a["mu"])
            }
    raise KeyError((width, h, seed))


def seeds_of(width):
    return range(8) if width == 50 else range(3)


def drawn(ax, marker):
    """The lines with this marker that are not lines, one after the other."""
    return [a for a in ax.get_lines() if a.get_marker() == marker and a.get_linestyle() == "None"]


def dots(ax, *markers, hollow=None):
    """All points with these markers as sorted rows (x, y); `hollow` picks open or filled ones."""
    found = [
        np.column_stack(a.get_data())
        for marker in markers
        for a in drawn(ax, marker)
        if a.get_markersize() < 9 and hollow in (None, a.get_markerfacecolor() == "none")
    ]
    return np.array(sorted(map(tuple, np.concatenate([np.zeros((0, 2)), *found])))).reshape(-1, 2)


def rows(pairs):
    return np.array(sorted(pairs)).reshape(-1, 2)


def curves(ax, **wanted):
    """The solid or dashed lines with these properties, as (x, y)."""
    lines = [a for a in ax.get_lines() if a.get_linestyle() in ("-", "--")]
    return [a for a in lines if all(getattr(a, f"get_{k}")() == v for k, v in wanted.items())]


def has_line(lines, x, y):
    """Whether just one of `lines` goes through these points, NaN where it is broken."""

    def same(line):
        there = line.get_xdata(), line.get_ydata()
        return all(
            np.shape(a) == np.shape(b) and np.allclose(a, b, rtol=1e-9, equal_nan=True)
            for a, b in zip(there, (x, y), strict=True)
        )

    return sum(map(same, lines)) == 1


def labels(legend):
    return [text.get_text() for text in legend.get_texts()]


def test_colours_belong_to_the_record_and_not_to_the_arm():
    record = made_up([*ARM, ("gd", 50, 1000, (0.2, 0.1), (0,))])
    colors = _tables.palette(record)
    assert sorted(colors.learning_rates) == [0.01, 0.05, 0.1, 0.2]
    brightness = [
        np.dot([0.2126, 0.7152, 0.0722], to_rgb(colors.learning_rates[h])) for h in (0.01, 0.2)
    ]
    # Readable on white, and dark for large steps.
    assert brightness[0] > brightness[1]
    for color in [*colors.learning_rates.values(), *_tables._WIDTH_COLORS]:
        assert contrast_on_white(color) >= 3
    figure = mnist.figure_a3(record, "gd")
    (line,) = [a for a in curves(figure.axes[0]) if a.get_ydata()[1] > 0][:1]
    assert to_rgba(line.get_color()) in {to_rgba(colors.learning_rates[h]) for h in (0.1, 0.2)}
    assert len(set(colors.markers.values())) == len(set(colors.widths.values())) == 2


@pytest.mark.parametrize(("selection", "column"), [("validation", 0), ("test", 1), ("final", 2)])
def test_figure_2_shows_every_model_once(selection, column):
    gone, late = (50, 0.1, 1), (100, 0.01, 2)
    record = made_up(ARM, diverged=[gone], censored=[late], fitted=[(100, 0.1, 0)])
    figure = mnist.figure_2(record, selection=selection)
    left, right = figure.axes
    for ax, name, scale in ((left, "train_squared_gradient", None), (right, "test_accuracy", 100)):
        for width in M:
            expected, openly = [], []
            for h in RATES:
                for seed in seeds_of(width):
                    value = member(record, width, h, seed)[f"chosen_{name}"][column]
                    point = (h * M[width] / 4, value * (scale or 1 / M[width]))
                    if (width, h, seed) == late and selection == "validation":
                        openly.append(point)
                    elif (width, h, seed) != gone:
                        expected.append(point)
            marker = {50: "o", 100: "^"}[width]
            np.testing.assert_allclose(dots(ax, marker, hollow=False), rows(expected))
            np.testing.assert_allclose(dots(ax, marker, hollow=True), rows(openly))
        (cross,) = drawn(ax, "x")
        np.testing.assert_allclose(cross.get_data(), [[0.1 * M[50] / 4], [1.0]])
        # At the upper edge of the axes, whatever they show.
        _, height = ax.transAxes.inverted().transform(cross.get_transform().transform([1, 1]))
        assert height == pytest.approx(1, abs=1e-9)
        (ring,) = [a for a in drawn(ax, "o") if a.get_markersize() > 9]
        np.testing.assert_allclose(ring.get_xdata(), 0.1 * M[100] / 4)
    text = labels(figure.legends[0])
    assert "diverged (1)" in text
    assert ("open: best in last tenth" in text) == (selection == "validation")
    assert "ringed: fitted all images" in text
    assert {f"$h = {h}$" for h in RATES} <= set(text)


@pytest.mark.parametrize("widths", [(50,), (50, 100)])
def test_the_numbers_below_figure_2_do_not_cover_each_other(widths):
    """With one width λ spans one decade, of which Matplotlib would label all nine parts."""
    units = [unit for unit in ARM if unit[1] in widths]
    figure = mnist.figure_2(made_up(units))
    figure.canvas.draw()
    for ax in figure.axes:
        low, high = ax.get_xlim()
        axis = ax.xaxis
        ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
        shown = [t.label1 for t in ticks if t.label1.get_text() and low <= t.get_loc() <= high]
        boxes = sorted(label.get_window_extent().extents[[0, 2]].tolist() for label in shown)
        assert len(boxes) >= 2
        assert all(left[1] < right[0] for left, right in itertools.pairwise(boxes))


def test_ticks_of_less_than_two_decades_are_few_and_told_in_full():
    for low, high, expected in (
        (0.02, 0.09, ["0.02", "0.03", "0.04", "0.05", "0.06", "0.07", "0.08", "0.09"]),
        (0.02, 0.9, ["0.02", "0.05", "0.1", "0.2", "0.5"]),
        (2e-6, 6e-5, [rf"${n}\cdot10^{{{p}}}$" for p in (-6, -5) for n in (1, 2, 5)][1:]),
    ):
        ax = plt.figure().add_subplot()
        ax.plot([0, 1], [low, high])
        ax.set_ylim(low * 0.999, high * 1.001)
        decade_axis(ax, "y")
        ax.figure.canvas.draw()
        seen = [t for t in ax.yaxis.get_major_ticks() if low * 0.99 <= t.get_loc() <= high * 1.01]
        assert [tick.label1.get_text() for tick in seen] == expected


def test_many_learning_rates_leave_room_for_their_numbers():
    many = (0.5, 0.1, 0.05, 0.025, 0.01, 0.005, 0.001, 0.0005)
    for rates in (many, (0.1, 0.05, 0.025, 0.01, 0.005)):
        figure = mnist.matched_loss(made_up([("sgd", 50, 32, rates, (0, 1))]))
        figure.canvas.draw()
        ax = figure.axes[0]
        assert len(ax.get_xticks()) == len(rates)
        shown = [label for label in ax.get_xticklabels() if label.get_text()]
        boxes = sorted(label.get_window_extent().extents[[0, 2]].tolist() for label in shown)
        assert all(left[1] < right[0] for left, right in itertools.pairwise(boxes))
        assert {"0.1"} < {label.get_text() for label in shown}
    assert len(shown) == 5


def test_figure_2_draws_pure_noise_beside_what_was_measured():
    gone = (50, 0.1, 1)
    record = made_up(ARM, diverged=[gone])
    table = table_of(record, "sgd")
    noise = np.random.default_rng(5).uniform(1, 2, table["finished"].shape)
    figure = mnist.figure_2(record, noise=noise)
    beside = figure.axes[1]
    cells = [
        (h * M[int(width)] / 4, noise[k, j])
        for k, (width, seed) in enumerate(
            zip(table["width"].values, table["seed"].values, strict=True)
        )
        for j, h in enumerate(table["learning_rate"].values)
        if (width, h, seed) != gone
    ]
    np.testing.assert_allclose(dots(beside, "o", "^"), rows(cells))
    assert "noise" in beside.get_title()
    with pytest.raises(ValueError, match=r"noise must have shape \(11, 3\), got \(2,\)"):
        mnist.figure_2(record, noise=[1.0, 2.0])


def test_figure_3_shows_slopes_and_noise():
    record = made_up(ARM, diverged=[(100, 0.05, 1)])
    for width, count in ((50, 8), (100, 3)):
        figure = mnist.figure_3(record, width=width)
        slope, noisy, accuracy, spread = figure.axes
        for ax, field, x, scale in (
            (noisy, "noise_slope", SLOPES, 1),
            (accuracy, "noise_accuracy", NOISE, 100),
            (spread, "noise_accuracy_sd", NOISE, 100),
        ):
            lines = curves(ax)
            for h in RATES:
                seeds = [s for s in range(count) if (width, h, s) != (100, 0.05, 1)]
                ys = [scale * member(record, width, h, s)[f"chosen_{field}"][0] for s in seeds]
                # Three seeds or more are told by their median, two one by one.
                for row in ys if len(ys) < 3 else [np.median(ys, axis=0)]:
                    assert has_line(lines, 100 * x, row)
            assert len(lines) == (3 if count == 8 else 4)
        squares = {
            (h, s): member(record, width, h, s)["chosen_train_squared_gradient"][0]
            for h in RATES
            for s in range(count)
            if (width, h, s) != (100, 0.05, 1)
        }
        points = [(h, q**0.5) for (h, _), q in squares.items()]
        np.testing.assert_allclose(dots(slope, "o" if width == 50 else "^"), rows(points))
        # The line is of those that have all three values.
        whole = range(8) if count == 8 else (0, 2)
        line = [np.median([squares[h, s] ** 0.5 for s in whole]) for h in sorted(RATES)]
        assert has_line(curves(slope), sorted(RATES), line)
        assert len(curves(slope)) == 1


def test_figure_a3_draws_losses_regularizers_and_the_bound_on_the_norm():
    record = made_up(ARM, stop={0.05: 100}, diverged=[(100, 0.1, 0)])
    figure = mnist.figure_a3(record, width=100)
    loss, regularizer, ratio, weighted, norm, _ = figure.axes
    for h in RATES:
        found = {name: [] for name in ("loss", "regularizer", "ratio", "weighted", "norm", "most")}
        for seed in range(3):
            if (h, seed) == (0.1, 0):
                continue
            a = member(record, 100, h, seed)
            square, lam = a["train_squared_gradient"], h * M[100] / 4
            r = square / M[100]
            found["loss"].append(a["train_loss"])
            found["regularizer"].append(r)
            found["ratio"].append(r / a["train_loss"])
            found["weighted"].append(lam * r / a["train_loss"])
            found["norm"].append(a["norm"] - a["norm"][0])
            most = [h * np.trapezoid(square[: k + 1] ** 0.5, STEPS[: k + 1]) for k in range(6)]
            found["most"].append(most)
            assert np.isnan(most[-1]) == (h == 0.05)
        for ax, style, rows_of in (
            (loss, "-", found["loss"]),
            (regularizer, "-", found["regularizer"]),
            (ratio, "-", found["ratio"]),
            (weighted, "-", found["weighted"]),
            (norm, "-", found["norm"]),
            (norm, "--", found["most"]),
        ):
            # Three seeds are told by their median, two one by one.
            expected = rows_of if h == 0.1 else [np.median(rows_of, axis=0)]
            for row in expected:
                assert has_line(curves(ax, linestyle=style), STEPS, row)
    assert [len(curves(ax)) for ax in (loss, ratio)] == [4, 4]
    assert [len(ax.collections) for ax in (loss, norm)] == [2, 2]
    assert "$h = 0.1$ (1 diverged)" in labels(figure.axes[-1].get_legend())
    # Time 0 stands on the axis.
    assert loss.get_xscale() == "symlog"
    assert loss.get_xlim()[0] < 0


def band_of(ax, color):
    """The lower and upper edge, at each x, of the band of this colour."""
    (band,) = [c for c in ax.collections if same_color(c.get_facecolor()[0][:3], color)]
    x, y = band.get_paths()[0].vertices.T
    return np.array([[y[x == at].min(), y[x == at].max()] for at in np.unique(x)])


def test_many_seeds_are_told_by_their_median_and_a_band():
    rows = np.random.default_rng(0).normal(size=(8, 3))
    ax = plt.figure().add_subplot()
    seed_lines(ax, np.arange(3.0), rows, color="red")
    (line,) = ax.lines
    np.testing.assert_allclose(line.get_ydata(), np.median(rows, axis=0))
    ranked = np.sort(rows, axis=0)  # of eight the quarters lie between two of them
    quarters = [ranked[k] + 0.75 * (ranked[k + 1] - ranked[k]) for k in (1,)]
    quarters += [ranked[5] + 0.25 * (ranked[6] - ranked[5])]
    np.testing.assert_allclose(band_of(ax, "red"), np.transpose(quarters))
    # Of few all are in it.
    few, apart = plt.figure().add_subplot(), plt.figure().add_subplot()
    seed_lines(few, np.arange(3.0), rows[:3], color="red")
    np.testing.assert_allclose(few.lines[0].get_ydata(), np.median(rows[:3], axis=0))
    ends = np.transpose([rows[:3].min(axis=0), rows[:3].max(axis=0)])
    np.testing.assert_allclose(band_of(few, "red"), ends)
    seed_lines(apart, np.arange(3.0), rows[:2], color="red")
    np.testing.assert_allclose([line.get_ydata() for line in apart.lines], rows[:2])
    assert not apart.collections


def test_a_seed_without_a_value_does_not_break_the_median():
    rows = np.random.default_rng(0).normal(size=(8, 3))
    rows[2, 1] = np.nan
    for missing, expected in (([2], np.median(np.delete(rows, 2, 0), 0)), (range(5), None)):
        ax = plt.figure().add_subplot()
        shown = rows.copy()
        shown[list(missing), 1] = np.nan
        seed_lines(ax, np.arange(3.0), shown, color="red")
        median = ax.lines[-1].get_ydata()
        if expected is None:  # of five in eight missing, a gap
            assert np.isnan(median).tolist() == [False, True, False]
        else:
            np.testing.assert_allclose(median, expected)


def median_of(record, h, of):
    """Of a quantity of the three seeds of width 100."""
    return np.median([of(member(record, 100, h, s)) for s in range(3)], axis=0)


def test_figure_a4_is_of_test_data():
    record = made_up(ARM, stop={0.05: 100})
    figure = mnist.figure_a4(record, width=100)
    loss, regularizer, ratio, accuracy = figure.axes
    then = np.searchsorted(SCORES, STEPS)
    for ax, x, of in (
        (loss, SCORES, lambda a: a["test_loss"]),
        (accuracy, SCORES, lambda a: 100 * a["test_accuracy"]),
        (regularizer, STEPS, lambda a: a["test_squared_gradient"] / M[100]),
        (ratio, STEPS, lambda a: a["test_squared_gradient"] / M[100] / a["test_loss"][then]),
    ):
        assert all(has_line(curves(ax), x, median_of(record, h, of)) for h in RATES)
    assert [ax.get_yscale() for ax in figure.axes] == ["log", "log", "log", "linear"]
    best = max(
        100 * np.nanmax(member(record, 100, h, s)["test_accuracy"]) for h in RATES for s in range(3)
    )
    np.testing.assert_allclose(accuracy.get_ylim(), (best - 10, best + 0.5))


def test_figure_a5_is_against_physical_time():
    record = made_up(ARM, stop={0.1: 100})
    figure = mnist.figure_a5(record, width=100)
    for h in RATES:

        def ratio(a, scale=1.0):
            return scale * a["train_squared_gradient"] / M[100] / a["train_loss"]

        panels = (
            lambda a: a["train_loss"],
            lambda a: a["train_squared_gradient"] / M[100],
            ratio,
            lambda a, h=h, ratio=ratio: ratio(a, h * M[100] / 4),
        )
        for ax, of in zip(figure.axes, panels, strict=True):
            assert has_line(curves(ax), h * STEPS, median_of(record, h, of))


BATCHES = [
    ("batch8", 100, 8, RATES, (0, 1)),
    ("gd", 50, 1000, (0.2, 0.1), (0, 1)),
    ("all", 100, 32, RATES, (0, 1)),
]


def test_figure_a6_has_all_six_panels():
    record = made_up([*ARM, *BATCHES], censored=[(50, 0.01, 0)])
    figure = mnist.figure_a6(record)
    by_rate, accuracy_by_rate, by_size, accuracy_by_size, by_batch, together = figure.axes
    cells = [(w, h, s) for w in M for h in RATES for s in seeds_of(w)]
    r = {c: member(record, *c)["chosen_train_squared_gradient"][0] / M[c[0]] for c in cells}
    accuracy = {c: 100 * member(record, *c)["chosen_test_accuracy"][0] for c in cells}
    for ax, x, y in (
        (by_rate, lambda c: c[1], r.get),
        (accuracy_by_rate, lambda c: c[1], accuracy.get),
        (by_size, lambda c: M[c[0]], r.get),
        (accuracy_by_size, lambda c: M[c[0]], accuracy.get),
        (together, r.get, accuracy.get),
    ):
        np.testing.assert_allclose(dots(ax, "o", "^"), rows([(x(c), y(c)) for c in cells]))
        assert len(dots(ax, "o", "^", hollow=True)) == 1
    rising = sorted(RATES)
    medians = {w: [np.median([r[w, h, s] for s in seeds_of(w)]) for h in rising] for w in M}
    assert all(has_line(curves(by_rate), rising, medians[w]) for w in M)
    assert has_line(curves(by_size), sorted(M.values()), [medians[w][0] for w in sorted(M)])

    def batch(arm, width, h, seed):
        return member(record, width, h, seed, arm)["chosen_train_squared_gradient"][0] / M[width]

    lines = curves(by_batch)
    assert has_line(lines, [0.1, 0.2], [batch("gd", 50, h, 1) for h in (0.1, 0.2)])
    assert has_line(lines, rising, [batch("batch8", 100, h, 1) for h in rising])
    # The arm itself at the widths of the others; an arm of its own batch size is none of them.
    assert has_line(lines, rising, medians[100])
    np.testing.assert_allclose(
        [len(dots(by_batch, marker)) for marker in "o^"], [2 * 2 + 8 * 3, 3 * 3 + 2 * 3]
    )
    assert not has_line(lines, rising, [batch("all", 100, h, 1) for h in rising])
    assert labels(by_batch.get_legend()) == [
        "8, width 100",
        "32, width 50",
        "32, width 100",
        "all 1,000, width 50",
    ]
    chosen = mnist.figure_a6(record, batch_arms=["batch8"]).axes[4]
    assert labels(chosen.get_legend()) == ["8, width 100", "32, width 100"]


@pytest.mark.slow
def test_a_figure_says_of_which_record_it_is():
    record = made_up(ARM)
    at_one_width = (mnist.figure_3, mnist.figure_a3, mnist.figure_a4, mnist.figure_a5)
    figures = [draw(record, width=100) for draw in at_one_width]
    figures += [draw(record) for draw in (mnist.figure_2, mnist.figure_a6, mnist.matched_loss)]
    figures += [mnist.trend_over_loss(record, ("sgd",))]
    figures += [mnist.curvature_by_batch(record, ("sgd",), level=1e-1)]
    assert {figure.get_supxlabel() for figure in figures} == {"mlp-sweep, profile cpu"}


def test_matched_loss_reads_a_power_law_at_the_level():
    """‖∇E‖² = c·E^1.5, c of each model, is c·level^1.5 at any level, wherever it is measured."""
    record = made_up(ARM, diverged=[(100, 0.1, 0)])
    for unit in record.units.values():
        unit.arrays["c"] = np.random.default_rng([*unit.name.encode()]).uniform(
            1, 2, len(unit.arrays["mu"])
        )
        power = unit.arrays["train_loss"] ** 1.5
        unit.arrays["train_squared_gradient"] = unit.arrays["c"][:, None] * power
        # One model that never comes to 10⁻².
        stuck = (unit.arrays["learning_rate"] == 0.05) & (unit.arrays["seed"] == 2)
        unit.arrays["train_loss"][np.ix_(stuck, STEPS >= 100)] = 0.05
    figure = mnist.matched_loss(record, levels=(1e-1, 1e-2))
    cells = [(w, h, s) for w in M for h in RATES for s in seeds_of(w)]
    for ax, k, level in zip(figure.axes, (0, 1), (1e-1, 1e-2), strict=True):
        there = [c for c in cells if c != (100, 0.1, 0) and (k == 0 or c[1:] != (0.05, 2))]
        y = {c: member(record, *c)["c"] * level**1.5 for c in there}
        np.testing.assert_allclose(dots(ax, "o", "^"), rows([(c[1], y[c]) for c in there]))
        assert ax.get_title() == f"$E = 10^{{-{k + 1}}}$ ({len(there)} of 33 models)"
        beyond = [c for c in there if c[1] * member(record, *c)["crossing_lambda_max"][k] > 2]
        (plus,) = drawn(ax, "+")
        np.testing.assert_allclose(
            rows(zip(*plus.get_data(), strict=True)), rows([(c[1], y[c]) for c in beyond])
        )
        assert 0 < len(beyond) < len(there)
        (cross,) = drawn(ax, "x")
        assert cross.get_xdata() == [0.1]
        assert not [a for a in drawn(ax, "o") if a.get_markersize() > 9]  # no rings
        if k == 0:  # Where all came; of width 100 one diverged, and two of three are enough.
            for width, seeds in ((50, range(8)), (100, (1, 2))):
                line = [np.median([y[width, h, s] for s in seeds]) for h in sorted(RATES)]
                assert has_line(curves(ax), sorted(RATES), line)
            assert len(curves(ax)) == 2
    assert r"$h\lambda_{\max} > 2$" in labels(figure.legends[0])


def test_matched_loss_where_no_model_came():
    record = made_up(ARM)
    figure = mnist.matched_loss(record)
    assert [ax.get_title() for ax in figure.axes] == [
        "$E = 10^{-1}$ (33 of 33 models)",
        "$E = 10^{-2}$ (33 of 33 models)",
    ]
    (ax,) = mnist.matched_loss(record, levels=(1e-4,)).axes
    assert ax.get_title() == "$E = 10^{-4}$ (0 of 33 models)"
    assert [text.get_text() for text in ax.texts] == ["no model came so far"]
    assert len(ax.get_yticks()) == 0
    for levels in ((), (0.1, 0.0), (-1.0,), (float("nan"),)):
        with pytest.raises(ValueError, match="levels must be positive training losses, got"):
            mnist.matched_loss(record, levels=levels)


def falls_by(record, percent):
    """Makes ‖∇E‖² = E²·h^p and test accuracy 0.9 + 0.001·log₂ h − 0.01·log E of every model."""
    power = np.log2(1 + percent / 100)
    at = np.searchsorted(SCORES, STEPS)
    for unit in record.units.values():
        arrays = unit.arrays
        h, E = arrays["learning_rate"][:, None], arrays["train_loss"]
        arrays["train_squared_gradient"] = E**2 * h**power
        arrays["test_accuracy"][:, at] = 0.9 + 0.001 * np.log2(h) - 0.01 * np.log(E)
    return record


def test_trend_over_loss_draws_the_effect_its_band_and_where_blocks_are_missing():
    record = falls_by(made_up([*ARM, ("gd", 50, 1000, RATES, (0, 1))]), -40)
    for unit in record.units.values():  # One block that stops at 0.05.
        stuck = (unit.arrays["seed"] == 7)[:, None] & (STEPS >= 100)
        unit.arrays["train_loss"][stuck] = 0.05
    levels = (0.3, 0.1, 0.03, 0.01)
    figure = mnist.trend_over_loss(record, ("sgd", "gd"), levels=levels)
    one, other = figure.axes[:2]
    assert [ax.get_title() for ax in (one, other)] == [
        "batches of 32: sgd (11 blocks)",
        "full batch: gd (2 blocks)",
    ]
    whole, fewer = curves(one, linestyle="-"), curves(one, linestyle="--")
    assert has_line(whole, levels, [0.6, 0.6, np.nan, np.nan])
    assert has_line(fewer, levels, [np.nan, 0.6, 0.6, 0.6])
    low, high = one.get_xlim()
    assert low > high  # Training goes to the right, and the axis says so.
    assert "training $\\rightarrow$" in one.get_xlabel()
    # A band needs eight seeds.
    assert len(one.collections) == 2
    assert len(other.collections) == 1
    points = mnist.trend_over_loss(record, ("sgd",), levels=levels, quantity="accuracy")
    assert has_line(curves(points.axes[0], linestyle="-"), levels, [0.1, 0.1, np.nan, np.nan])
    with pytest.raises(ValueError, match="quantity must be squared gradient or accuracy, got 'E'"):
        mnist.trend_over_loss(record, ("sgd",), quantity="E")


def test_curvature_by_batch_draws_medians_blocks_and_the_edge():
    record = made_up([*ARM, ("gd", 50, 1000, RATES, (0, 1, 2))])
    figure = mnist.curvature_by_batch(record, ("gd", "sgd"), level=1e-1)
    (ax,) = figure.axes
    for arm, cells, label in (
        ("sgd", [(w, s) for w in M for s in seeds_of(w)], "batches of 32"),
        ("gd", [(50, s) for s in range(3)], "full batch"),
    ):
        values = [
            [h * member(record, w, h, s, arm)["crossing_lambda_max"][0] for h in sorted(RATES)]
            for w, s in cells
        ]
        assert has_line(curves(ax), sorted(RATES), np.median(values, axis=0))
        assert all(has_line(curves(ax), sorted(RATES), row) for row in values)
        assert label in [text.get_text() for text in ax.texts]
    assert [line.get_ydata()[0] for line in curves(ax, linestyle="--")] == [2.0]
    with pytest.raises(ValueError, match=r"level must be one of 0\.1, 0.01, 0.0001, got 0.5"):
        mnist.curvature_by_batch(record, ("gd",), level=0.5)


def test_what_was_not_recorded_is_named():
    record = made_up(ARM)
    with pytest.raises(ValueError, match=r"arm must be one of \['sgd'\].*got 'gd'"):
        mnist.figure_2(record, "gd")
    for width in (None, 400):
        with pytest.raises(ValueError, match=rf"width must be one of \[50, 100\].*got {width}"):
            mnist.figure_a3(record, width=width)
    with pytest.raises(ValueError, match=r"selection must be one of .*got 'train'"):
        mnist.figure_2(record, selection="train")
    with pytest.raises(
        ValueError, match=r"selection must be one of \['validation'\].*noise_slope.*got 'final'"
    ):
        mnist.figure_3(record, width=50, selection="final")


def test_an_arm_without_validation_is_chosen_by_test():
    record = made_up([("all", 100, 32, RATES, (0, 1))], points=("test",))
    for unit in record.units.values():
        for name in [n for n in unit.arrays if n.startswith("chosen_")]:
            unit.arrays[name] = unit.arrays[name].astype(float)
            unit.arrays[name][:, 0] = np.nan
    with pytest.raises(ValueError, match=r"\['test', 'final'\].*got 'validation'"):
        mnist.figure_2(record, "all")
    slope, *_ = mnist.figure_3(record, "all", selection="test").axes
    squares = [
        member(record, 100, h, 1, "all")["chosen_train_squared_gradient"][1] for h in sorted(RATES)
    ]
    assert has_line(curves(slope), sorted(RATES), np.sqrt(squares))
