"""The explorers: their scripts, run by Node, against igrlib and automatic differentiation."""

import json
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers.records import record, unit
from helpers.scripts import close, run
from scipy.stats import spearmanr

import explorers
import igrlib as ig
from explorers.sweep import MOST_POINTS, sweep_explorer
from igrlib import two_parameter as tp
from igrlib.experiments import records
from igrlib.experiments.table import plain, table_of

X, Y = tp.POINT_I.x, tp.POINT_I.y
DATA = jnp.array([[1.0, 2.0], [1.0, -1.0]])

# The losses of the explorer of chapter 2, as its menu states them.
LOSSES = {
    "bowl": lambda p: (p[0] ** 2 + 4 * p[1] ** 2) / 2,
    "valley": lambda p: two_parameters(p),
    "bent": lambda p: (1 - p[0]) ** 2 / 2 + 2 * (p[1] - p[0] ** 2) ** 2,
    "logistic": lambda p: -jax.nn.log_sigmoid(DATA @ p).sum(),
}


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


def test_the_settings_are_those_of_table_a1():
    data = explorers.phase_explorer("fig-x").data
    expected = {
        (tuple(map(float, setting.start)), h, setting.mu)
        for setting in (tp.POINT_I, tp.POINT_II)
        for h in (setting.h_small, setting.h_moderate, setting.h_large)
        if h is not None
    }
    assert {(tuple(p["start"]), p["h"], p["mu"]) for p in data["presets"]} == expected
    low, high, _ = data["mu"]
    assert all(low <= preset["mu"] <= high for preset in data["presets"])
    # Of Figure 1a and point I, first.
    first = data["presets"][0]
    assert (first["start"], first["h"]) == (list(map(float, tp.POINT_I.start)), 0.025)
    close(data["flattest"], tp.flattest_minimum(X, Y))


PRESETS = explorers.phase_explorer("fig-x").data["presets"]
COMPUTED = "(({ends, steps, outcome}) => ({ends, steps, outcome}))(IGR.phase.compute(state))"


@pytest.mark.parametrize("preset", PRESETS, ids=lambda p: f"{p['point']}-{p['size']}")
def test_the_phase_plane_of_every_setting_of_table_a1(preset):
    start, h, mu = preset["start"], preset["h"], preset["mu"]
    state = {"start": start, "h": h, "mu": mu, "x": X, "y": Y}
    found = run("phase", COMPUTED, state=state)
    # To the other minima from so far off, steps of a millionth take longer than anybody waits.
    stopped = (preset["point"], preset["size"]) == ("II", "small")
    assert found["outcome"] == ("stopped" if stopped else "arrived")
    time = h * found["steps"] if stopped else 30.0
    descent = ig.gradient_descent(
        two_parameters, jnp.array(start), h, found["steps"], save_every=found["steps"]
    ).params[-1]
    close(found["ends"]["descent"]["end"], descent)
    if not stopped:
        close(found["ends"]["flow"]["end"], tp.minimum_on_flow(tp.Params(*start), X, Y))
    for name, rate in (("flow", 0.0), ("modified", h / 2), ("explicit", mu)):
        regularized = ig.gradient_regularized_loss(two_parameters, rate, normalization="mean")
        end = flow_end(regularized, jnp.array(start), time)[-1]
        close(found["ends"][name]["end"], end)
        close(found["ends"][name]["ratio"], X**2 * (end**2).sum())
        close(found["ends"][name]["distance"], jnp.linalg.norm(end - descent))


VIEW = "IGR.phase.view(state, IGR.phase.compute(state))"


@pytest.mark.parametrize("start", [[2.8, 3.5], [75.0, 74.925], [-1.0, 3.0], [3.0, 3.0]])
def test_the_window_of_the_phase_plane_holds_what_leaps(start):
    """Whatever the slider says: steps that grow or change sides, the ends, and a start nearby."""
    high, _ = run("phase", "Object.values(IGR.phase.sizes(start, x))", start=start, x=X)
    for share in (0.02, 0.1, 0.3, 0.43, 0.6, 0.76, 0.79):
        state = {"start": start, "h": share * high, "mu": 0.5, "x": X, "y": Y}
        low, top = run("phase", VIEW, state=state)
        steps = ig.gradient_descent(two_parameters, jnp.array(start), share * high, 3000).params
        norms = np.linalg.norm(np.asarray(steps), axis=1)
        leaps = np.asarray(steps)[1:][
            (norms[1:] > norms[:-1]) | (np.asarray(steps)[1:] * np.array(start) < 0).any(axis=1)
        ]
        end = tp.minimum_on_flow(tp.Params(*start), X, Y)
        wanted = [*leaps, np.array(end)]
        if max(map(abs, start)) < 10:
            wanted.append(np.array(start))
        # A side that is left out holds nothing farther off than a hair.
        assert (np.array(wanted) >= low - 0.05).all(), share
        assert (np.array(wanted) <= top + 0.05).all(), share
        # And it is not larger than it must be by more than the next of its sizes; a start is
        # taken in up to three times as far off.
        size = np.abs(wanted).max()
        if max(map(abs, start)) <= 3 * max(4, size):
            size = max(size, *map(abs, start))
        assert max(-low, top) <= max(4, 1.6 * size), share


def test_the_window_of_figure_1a_and_of_the_runs_on_its_other_side():
    views = {}
    for h in (0.001, 0.025, 0.11, 0.18, 0.25):
        state = {"start": [2.8, 3.5], "h": h, "mu": 0.5, "x": X, "y": Y}
        views[h] = run("phase", VIEW, state=state)
    assert views[0.001] == views[0.025] == [0, 4]
    assert views[0.11] == views[0.18] == [-4, 4]
    # Two leaps of a run that diverges are seen.
    steps = ig.gradient_descent(two_parameters, jnp.array([2.8, 3.5]), 0.25, 2).params
    assert views[0.25][1] >= float(jnp.abs(steps).max())


@pytest.mark.parametrize("start", [[2.8, 3.5], [75.0, 74.925], [0.3, 2.9]])
def test_the_landmarks_and_the_limits_of_the_step_size(start):
    found = run("phase", "IGR.phase.landmarks(start, x, y)", start=start, x=X, y=Y)
    hessian = jax.hessian(two_parameters)(jnp.array(start))
    close(found["edge"], 2 / jnp.linalg.eigvalsh(hessian)[-1])
    # At the other the first step lands on a diagonal, which the flattest minima are on.
    a, b = ig.gradient_descent(two_parameters, jnp.array(start), found["leap"], 1).params[-1]
    close(abs(a), abs(b), 1e-8)
    high, step = run("phase", "Object.values(IGR.phase.sizes(start, x))", start=start, x=X)
    assert 0 < step < 0.02 * high
    last = lambda h: ig.gradient_descent(two_parameters, jnp.array(start), h, 40).params[-1]  # noqa: E731
    assert not (jnp.abs(last(high)) < 1e6).all(), "the slider goes to where it diverges"
    assert (jnp.abs(last(0.6 * high)) < 1e6).all()


def test_the_clock_of_the_phase_plane():
    """Where each path is at a time, of a step and between two."""
    state = {"start": [2.8, 3.5], "h": 0.025, "mu": 0.5, "x": X, "y": Y}
    program = (
        "(({paths, times}) => Object.fromEntries(Object.keys(paths).map((name) =>"
        " [name, [IGR.last(IGR.alive.until(paths[name], times[name], 0.1)), times[name].length,"
        " paths[name].length]])))(IGR.phase.compute(state))"
    )
    found = run("phase", program, state=state)
    assert all(times == points for _, times, points in found.values())
    start = jnp.array(state["start"])
    close(found["descent"][0], ig.gradient_descent(two_parameters, start, 0.025, 4).params[-1])
    for name, rate in (("flow", 0.0), ("modified", 0.0125), ("explicit", 0.5)):
        regularized = ig.gradient_regularized_loss(two_parameters, rate, normalization="mean")
        # Between two of its points a path is a straight piece.
        close(found[name][0], flow_end(regularized, start, 0.1)[-1], 2e-3)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("h=*0.5", {"h": 0.1}),
        ("h=0.11;start=2.8,-3.5", {"h": 0.11, "start": [2.8, -3.5]}),
        ("loss=bowl; h = 1e-3", {"loss": "bowl", "h": 1e-3}),
    ],
)
def test_what_a_link_of_the_text_sets(text, expected):
    assert run("step", "IGR.alive.parse(text, {h: 0.2})", text=text) == expected


def test_the_phase_plane_says_that_a_run_diverges():
    state = {"start": [2.8, 3.5], "h": 0.3, "mu": 0.5, "x": X, "y": Y}
    found = run("phase", "IGR.phase.compute(state)", state=state)
    size = np.abs(
        ig.gradient_descent(two_parameters, jnp.array([2.8, 3.5]), 0.3, found["steps"]).params
    )
    assert found["outcome"] == "diverged"
    assert found["ends"]["descent"]["ratio"] is None  # NaN, as JSON writes it
    assert {end["distance"] for end in found["ends"].values()} == {None}
    assert size[-1].sum() >= 1e6 > size[-2].sum()


SAID = {
    "nearer to the modified flow than to gradient flow": ([2.8, 3.5], 0.025),
    "where both flows end": ([2.0, 2.0], 0.1),
    "as flat as explicit": ([2.0, 2.0], 0.1),
    "leaps to the other branch": ([2.8, 3.5], 0.18),
    "diverges after": ([2.8, 3.5], 0.3),
    "has not arrived after 100000 steps, at the time 0.1": ([2.8, 3.5], 1e-6),
    "a saddle": ([0.0, 0.0], 0.1),
}


@pytest.mark.parametrize("words", SAID)
def test_the_phase_plane_says_what_there_is_to_see(words):
    start, h = SAID[words]
    state = {"start": start, "h": h, "mu": 0.5, "x": X, "y": Y}
    expression = "IGR.phase.sentence(state, IGR.phase.compute(state), IGR.stage.number)"
    said = run("phase", expression, state=state)
    assert words in said
    assert not re.search("NaN|undefined|Infinity|–", said)
    assert ("nearer" in said) == words.startswith("nearer")


def test_a_flow_from_far_off_ends_when_it_has_arrived():
    """Where it is stiff a method would go on in small steps for ever."""
    state = {"start": [100.0, 0.0], "h": 1e-6, "mu": 0.5, "x": X, "y": Y}
    found = run("phase", "IGR.phase.compute(state).paths", state=state)
    assert len(found["flow"]) < 2000
    close(found["flow"][-1], tp.minimum_on_flow(tp.Params(100.0, 0.0), X, Y))


# The optimizers of the explorer of chapter 11, as its menu states them, by the learning rate.
OPTIMIZERS = {
    "plain": lambda beta: optax.sgd,
    "heavy": lambda beta: lambda h: optax.sgd(h, beta),
    "nesterov": lambda beta: lambda h: optax.sgd(h, beta, nesterov=True),
    "adam": lambda beta: lambda h: optax.adam(h, beta, 0.9, eps=0.0, eps_root=0.1),
}


def hyperbola(p):
    return (p[0] * p[1] - 1) ** 2 / 2


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_the_corrections_and_the_displacement_of_an_optimizer(kind):
    p, beta = [2.1, 1.3], 0.8
    optimizer, at = OPTIMIZERS[kind](beta), jnp.array(p)
    found = run("optimizer", "IGR.optimizer.corrections(kind, beta, p)", kind=kind, beta=beta, p=p)
    f0, f1 = ig.optimizers.optimizer_corrections(optimizer, hyperbola)(at)
    close(found["F0"], f0)
    close(found["F1"], f1)
    close(found["delta"], ig.optimizers.start_displacement(optimizer, hyperbola)(at))
    close(run("optimizer", "IGR.optimizer.value(p)", p=p), hyperbola(at), 1e-13)


@pytest.mark.parametrize("displaced", [True, False])
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_the_steps_and_both_flows_of_an_optimizer(kind, displaced):
    beta, effective, start = 0.8, 0.004, jnp.array([2.2, 1.4])
    state = {
        "kind": kind,
        "beta": beta,
        "effective": effective,
        "until": 0.3,
        "start": start.tolist(),
    }
    found = run(
        "optimizer",
        "(({h, steps, ends}) => ({h, steps, ends}))(IGR.optimizer.compute(state))",
        state=state | {"displaced": displaced},
    )
    optimizer = OPTIMIZERS[kind](beta)
    h, count = effective * (1 - beta if kind in ("heavy", "nesterov") else 1), 75
    assert found["steps"] == count
    close(found["h"], h)
    transformation = optimizer(h)
    params, memory = start, transformation.init(start)
    update = jax.jit(transformation.update)
    for _ in range(count):
        updates, memory = update(jax.grad(hyperbola)(params), memory, params)
        params = optax.apply_updates(params, updates)
    close(found["ends"]["descent"]["end"], params)
    f0, f1 = (
        ig.optimizers.optimizer_field(optimizer, hyperbola, h, order=order) for order in (0, 1)
    )
    delta = ig.optimizers.start_displacement(optimizer, hyperbola)(start)
    begin = start + h * delta if displaced else start
    times = jnp.array([0.0, h * count])
    for name, field, origin in (("flow", f0, start), ("modified", f1, begin)):
        end = ig.flow(field, origin, times)[-1]
        close(found["ends"][name]["end"], end, 1e-8)
        close(found["ends"][name]["curvature"], (end**2).sum(), 1e-8)
        close(found["ends"][name]["distance"], jnp.linalg.norm(end - params), 1e-8)


OF_AN_OPTIMIZER = {
    "75 steps and ends nearer to the corrected flow from θ₀ + hδ (": {},
    "one step and ends nearer to the flow of F₀ (": {"effective": 0.3},
    "heavy ball with h/(1 − β) = 0.004 and β = 0.9": {},
    "Adam with h = 0.02 and b₁ = 0.5": {"kind": "adam", "beta": 0.5, "effective": 0.02},
    "the corrected flow from θ₀ (": {"displaced": False, "beta": 0.8},
    "does not move: the gradient is 0": {"start": [0.0, 0.0]},
    "diverges after": {"kind": "plain", "effective": 0.3, "until": 5.0, "start": [3.1, 3.1]},
}


@pytest.mark.parametrize("words", OF_AN_OPTIMIZER)
def test_the_explorer_of_optimizers_says_what_there_is_to_see(words):
    state = {"kind": "heavy", "beta": 0.9, "effective": 0.004, "until": 0.3}
    state |= {"start": [2.2, 1.4], "displaced": True} | OF_AN_OPTIMIZER[words]
    expression = "IGR.optimizer.sentence(state, IGR.optimizer.compute(state), IGR.stage.number)"
    said = run("optimizer", expression, state=state)
    assert words in said
    assert not re.search("NaN|undefined|Infinity|–", said)


@pytest.mark.parametrize(("h", "s"), [(0.3, 1.0), (0.1, 8.0), (0.5, 2.0), (0.5, 3.6), (0.8, 3.1)])
def test_a_step_on_a_parabola_and_both_flows(h, s):
    loss, start = lambda theta: s * theta**2 / 2, jnp.float64(1.0)
    found = run("parabola", "[IGR.parabola.factors(hλ), IGR.parabola.gaps(hλ)]", hλ=h * s)
    steps = ig.gradient_descent(loss, start, h, 6).params
    flow = flow_end(loss, start, h)[-1]
    modified = flow_end(ig.modified_loss(loss, h), start, h)[-1]
    for name, end in (("descent", steps[1]), ("flow", flow), ("modified", modified)):
        close(found[0][name], end)
    close([found[1]["flow"], found[1]["modified"]], [flow - steps[1], modified - steps[1]])
    close(run("parabola", "IGR.parabola.iterates(hλ, 6)", hλ=h * s), steps)


@pytest.mark.parametrize("hs", [0.3, 1.0, 1.7, 2.3])
def test_ten_steps_on_a_parabola_and_both_flows(hs):
    loss, start, h = lambda theta: 2 * theta**2, jnp.float64(1.0), hs / 4
    found = run("decay", "IGR.decay.compute(hs)", hs=hs)
    close(found["descent"], ig.gradient_descent(loss, start, h, 10).params)
    times = h * jnp.linspace(0, 10, 81)
    for name, e in (("flow", loss), ("modified", ig.modified_loss(loss, h))):
        path = ig.flow(ig.gradient_field(e), start, times, rtol=1e-12, atol=1e-14)
        close(found[name], path, 1e-8)


def test_the_regimes_of_ten_steps_are_those_of_the_text():
    """Same side, other side and nearer, farther: at the places that are named so."""
    regimes = run("decay", "IGR.decay.regimes")
    assert [list(pair) for pair in explorers.decay.REGIMES] == regimes
    for hs, name in regimes:
        factor = 1 - hs
        kind = "a flow can follow" if factor > 0 else "overshoots" if factor > -1 else "diverges"
        assert name == kind
        said = run("decay", "IGR.decay.sentence(hs, IGR.stage.number)", hs=hs)
        assert f"hs = {hs:g}" in said
        assert "λ" not in said


def test_the_still_picture_of_the_parabola_shows_the_three_factors():
    """Read off at hs = 2: −1, exp(−2) and exp(−4)."""
    picture = explorers.decay.decay_picture()
    at, levels = {}, {}
    for kind, path in re.findall(r'igr-line igr-(\w+)" d="M([^"]+)"', picture):
        points = np.array([list(map(float, p.split())) for p in path.split("L")])
        if kind == "guide" and points[0, 1] == points[1, 1]:
            levels[len(levels) - 1] = points[0, 1]
        elif kind != "guide":
            at[kind] = points[100, 1]  # of 126 places from 0 to 2.5
    unit = levels[0] - levels[1]
    for kind, factor in (("descent", -1), ("flow", np.exp(-2)), ("modified", np.exp(-4))):
        assert (levels[0] - at[kind]) / unit == pytest.approx(factor, abs=2e-3)


ON_A_PARABOLA = {
    "nothing moves": [0],
    "every step stays on its side": [0.01, 0.99],
    "lands on the minimum": [1],
    "lands on the other side and nearer": [1.01, 1.99],
    "to and fro for ever": [2],
    "1.01 times as far off: gradient descent diverges": [2.01],
    "1.5 times as far off: gradient descent diverges": [2.5],
}


@pytest.mark.parametrize("words", ON_A_PARABOLA)
def test_the_parabola_says_on_which_side_of_its_landmarks_hs_is(words):
    for hλ in ON_A_PARABOLA[words]:
        said = run("parabola", "IGR.parabola.sentence(hλ, IGR.stage.number)", hλ=hλ)
        assert words in said
        assert not re.search("NaN|undefined|Infinity|–", said)
        assert sum(other in said for other in ON_A_PARABOLA) == 1


RUNS = explorers.catapult_explorer("fig-x").data["presets"]


def sharpness(p):
    return tp.largest_hessian_eigenvalue(tp.Params(*jnp.asarray(p).T), X, Y)


@pytest.mark.parametrize("preset", RUNS, ids=lambda p: f"{p['start'][0]}-{p['h']}")
def test_the_runs_of_the_catapult(preset):
    start, h = jnp.array(preset["start"]), preset["h"]
    state = preset | {"x": X, "y": Y}
    found = run("catapult", "IGR.catapult.compute(state)", state=state)
    steps = ig.gradient_descent(two_parameters, start, h, found["steps"])
    # Where the steps jump about, a difference of one digit doubles with each.
    tolerance = 1e-6 if found["outcome"] == "diverged" or h > 0.3 else 1e-9
    close(found["points"], steps.params, tolerance)
    close(found["losses"], steps.losses, tolerance)
    eigenvalues = jax.vmap(lambda p: jnp.linalg.eigvalsh(jax.hessian(two_parameters)(p))[-1])
    sharp = h * eigenvalues(steps.params)
    close(found["sharp"], sharp, tolerance)
    assert found["peak"] == int(jnp.argmax(steps.losses))
    beyond = np.flatnonzero(sharp >= 2)
    assert found["settled"] == (beyond[-1] + 1 if len(beyond) else 0)
    # Beyond 4/K, K the squared length at the start, it diverges.
    diverged = h * X**2 * float(start @ start) > 4
    assert found["outcome"] == ("diverged" if diverged else "arrived")
    close(found["ends"]["flow"], sharpness(tp.minimum_on_flow(tp.Params(*start), X, Y)))
    modified = flow_end(ig.modified_loss(two_parameters, h), start, 30.0)[-1]
    close(found["ends"]["modified"], sharpness(modified))


@pytest.mark.parametrize(("h", "x", "y"), [(0.05, X, Y), (0.25, X, Y), (0.6, 1.3, -0.8)])
def test_the_edge_of_the_shaded_region(h, x, y):
    ring = np.array(run("catapult", "IGR.catapult.edge(h, x, y)", h=h, x=x, y=y))
    assert len(ring) == 240
    inside, on, outside = (
        h * tp.largest_hessian_eigenvalue(tp.Params(*(by * ring).T), x, y) for by in (0.99, 1, 1.01)
    )
    close(on, np.full(240, 2.0))
    assert (inside < 2).all()
    assert (outside > 2).all()
    # With 2/h below |xy| every point is beyond the edge.
    assert run("catapult", "IGR.catapult.edge(4, 1, 0.6)") == []


def test_the_landmarks_of_the_catapult_are_where_runs_change():
    """From close to a sharp minimum, on both sides of each landmark."""
    start = [0.2, 3.2]
    two, four = run("catapult", "IGR.catapult.landmarks(p, x, y)", p=start, x=X, y=Y)
    close([two, four], [2 / sharpness(start), 4 / (0.2**2 + 3.2**2)])
    for h, leaves, diverges in (
        (0.98 * two, False, False),
        (1.02 * two, True, False),
        (0.98 * four, True, False),
        (1.02 * four, True, True),
    ):
        losses = ig.gradient_descent(two_parameters, jnp.array(start), h, 400).losses
        assert bool(losses.max() > 10 * losses[0] or jnp.isnan(losses[-1])) == leaves
        assert (not losses[-1] < 1) == diverges


OF_THE_CATAPULT = {
    "within the edge at 2. The loss is never above its first value": ([0.2, 3.2], 0.19),
    "197 times what it was, at step 23. From step 25 on": ([0.2, 3.2], 0.21),
    "diverges: after 11 steps": ([0.2, 3.2], 0.4),
    "After 2000 steps gradient descent has not arrived": ([0.5, -0.5], 0.01),
    "a saddle": ([0.5, -0.5], 0.2),
    "nothing moves, but the smallest push would grow": ([0.3, 2.0], 0.55),
    "The gradient is 0 here, and nothing moves.": ([0.3, 2.0], 0.3),
}


@pytest.mark.parametrize("words", OF_THE_CATAPULT)
def test_the_catapult_says_what_there_is_to_see(words):
    start, h = OF_THE_CATAPULT[words]
    state = {"start": start, "h": h, "x": X, "y": Y}
    expression = "IGR.catapult.sentence(state, IGR.catapult.compute(state), IGR.stage.number)"
    said = run("catapult", expression, state=state)
    assert words in said
    assert not re.search("NaN|undefined|Infinity|–", said)


def of_the_river(theta):
    """As chapter 1 states it."""
    x, y = theta
    return 0.5 * (y - jnp.sin(x)) ** 2


@pytest.mark.parametrize(
    ("start", "h"), [([1.5, -2.5], 0.25), ([1.5, -2.5], 0.9), ([2.0, -2], 0.5)]
)
def test_three_ways_down_the_river(start, h):
    found = run("river", "IGR.river.compute(state)", state={"start": start, "h": h})
    at, times = jnp.array(start), jnp.array(run("river", "IGR.river.times"))
    assert times[-1] == 10
    steps = ig.gradient_descent(of_the_river, at, h, found["steps"]).params
    close(found["paths"]["descent"], steps)
    for name, e in (("flow", of_the_river), ("modified", ig.modified_loss(of_the_river, h))):
        path = ig.flow(ig.gradient_field(e), at, times, rtol=1e-12, atol=1e-14)
        close(found["paths"][name], path, 1e-7)
    for name, path in found["paths"].items():
        assert found["ends"][name] == path[-1]
        hessian = jax.hessian(of_the_river)(jnp.array([path[-1][0], jnp.sin(path[-1][0])]))
        close(found["curvatures"][name], jnp.linalg.eigvalsh(hessian)[-1])


def test_the_derivatives_of_the_river():
    p, v = [0.7, -1.4], [0.3, 1.1]
    found = run("river", "[IGR.river.gradient(p), IGR.river.product(p, v)]", p=p, v=v)
    at, slope = jnp.array(p), jax.grad(of_the_river)
    close(found[0], slope(at), 1e-13)
    close(found[1], jax.jvp(slope, (at,), (jnp.array(v),))[1], 1e-13)


def test_the_still_picture_of_the_river_shows_what_the_script_shows_first():
    first = run("river", "[IGR.river.start, IGR.river.first]")
    assert first == [list(explorers.river.START), explorers.river.LEARNING_RATE]
    found = run("river", "IGR.river.compute(s).ends", s={"start": first[0], "h": first[1]})
    for name, path in explorers.river.river()._asdict().items():
        close(found[name], path[-1], 1e-3)


OF_THE_RIVER = {
    "flatter than": ([1.5, -2.5], 0.5),
    "sharper than": ([1.0, -2.5], 0.5),
    "as flat as": ([0.3, 0.3], 0.05),
    "nothing moves": ([0.0, 0.0], 0.5),
}


@pytest.mark.parametrize("words", OF_THE_RIVER)
def test_the_river_says_what_there_is_to_see(words):
    start, h = OF_THE_RIVER[words]
    expression = "IGR.river.sentence(state, IGR.river.compute(state), IGR.stage.number)"
    said = run("river", expression, state={"start": start, "h": h})
    assert words in said
    assert not re.search("NaN|undefined|Infinity|–", said)


def test_a_step_from_where_the_gradient_is_zero():
    found = run("step", "IGR.step.step('valley', [0, 0], 0.1)")
    assert found["end"] == [0, 0]
    assert found["gap"] == [0, 0]


def test_numbers_are_short_and_true():
    values = {
        0: "0",
        1234.5: "1230",
        -0.025: "−0.025",
        5e-5: "5·10⁻⁵",
        1e-6: "10⁻⁶",
        2.5e12: "2.5·10¹²",
    }
    found = run("step", "values.map(IGR.stage.number)", values=list(values))
    assert found == list(values.values())
    ends = run("step", "[NaN, Infinity].map(IGR.stage.number)")
    assert ends == ["–", "∞"]


@pytest.mark.parametrize(
    ("low", "high", "log", "expected"),
    [
        (0, 4, False, [0, 1, 2, 3, 4]),
        (-0.3, 0.31, False, [-0.2, 0, 0.2]),
        (0.5, 2e3, True, [1, 10, 100, 1000]),
        (1e-9, 10, True, [1e-9, 1e-7, 1e-5, 1e-3, 0.1, 10]),
    ],
)
def test_ticks_are_round_and_few(low, high, log, expected):
    found = run("step", "IGR.stage.ticks(low, high, log)", low=low, high=high, log=log)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


def test_the_enlarged_view_holds_all_points():
    points = [[0.1, 0.2], [0.5, 0.3], [0.2, 0.25]]
    middle, half = run("step", "IGR.around(points)", points=points)
    close(middle, [0.3, 0.25])
    close(half, 0.6 * 0.4)


def test_two_explorers_on_a_page_share_no_names():
    script = explorers.script("step")
    found = run("phase", "(IGR.count = 7, eval(program), IGR.count)", program=script)
    assert found == 7


def test_regularized_gradient_of_the_phase_plane():
    found = run("phase", "IGR.model.regularized(rate, x, y)(p)", rate=0.37, x=1.3, y=-0.8, p=[2, 3])
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


def test_level_lines_end_where_the_loss_is_not_a_number():
    program = "IGR.contours(([a, b]) => a * a + Math.log(b), [-1, 1], [-1, 1], [0.1, -1], 40)"
    ends = np.array(run("step", program)).reshape(-1, 2)
    assert len(ends) > 20
    assert (ends[:, 1] > 0).all()
    # Linear between places 0.05 apart.
    loss = ends[:, 0] ** 2 + np.log(ends[:, 1])
    assert np.minimum(abs(loss - 0.1), abs(loss + 1)).max() < 0.02


@pytest.fixture(scope="module")
def sweep():
    """A recorded arm, as a table and as the data of its explorer."""
    record = records.open_record(Path(__file__).parent.parent / "book/results/mlp-sweep-digits")
    return plain(table_of(record, "gd")), sweep_explorer(record, "gd", "fig-x").data


@pytest.mark.parametrize("selection", ["validation", "test"])
def test_the_models_of_a_sweep(sweep, selection):
    table, data = sweep
    m = table["num_params"].values[:, None]
    squared = table["chosen_train_squared_gradient"].sel(point=selection).values
    expected = {
        "regularizer": squared / m,
        "squared": squared,
        "ratio": squared / m / table["chosen_train_loss"].sel(point=selection).values,
        "loss": table["chosen_train_loss"].sel(point=selection).values,
        "accuracy": 100 * table["chosen_test_accuracy"].sel(point=selection).values,
    }
    there = (table["finished"] & ~table["diverged"]).values
    rate = np.broadcast_to(table["learning_rate"].values * m / 4, there.shape)[there]
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
    i, j = np.argwhere((table["finished"] & ~table["diverged"]).values)[-1]
    assert (model["width"], model["seed"]) == (table["width"][i], table["seed"][i])
    for name, steps, values in (
        ("loss", "gradient_step", "train_loss"),
        ("squared_gradient", "gradient_step", "train_squared_gradient"),
        ("accuracy", "score_step", "test_accuracy"),
    ):
        found = run("sweep", "IGR.sweep.curve(data, m, name)", data=data, m=model, name=name)
        curve = np.array(found)
        there = np.isfinite(table[values].values[i, j])
        scale = 100 if name == "accuracy" else 1
        recorded = dict(
            zip(
                table[steps].values[there],
                scale * table[values].values[i, j][there],
                strict=True,
            )
        )
        assert 2 <= len(curve) <= MOST_POINTS
        # On a logarithmic axis step 0 stands at half of the first after it.
        assert curve[0, 0] == min(step for step in data["steps"][name] if step > 0) / 2
        np.testing.assert_allclose(curve[0, 1], recorded[0], rtol=6e-3)
        np.testing.assert_allclose(
            curve[1:, 1], [recorded[s] for s in curve[1:, 0]], rtol=6e-3, atol=1e-12
        )


def test_an_arm_without_a_validation_split_is_shown_as_it_is():
    """Of a record in the repository."""
    record = records.open_record(Path(__file__).parent.parent / "book/results/mlp-sweep-cpu")
    explorer = sweep_explorer(record, "all", "fig-x")
    assert "<section" in explorer._repr_html_()
    data, table = explorer.data, plain(table_of(record, "all"))
    none = dict.fromkeys(("step", "loss", "squared_gradient", "accuracy"), None)
    assert all(model["validation"] == none | {"censored": False} for model in data["models"])
    assert [name for name, _ in run("sweep", "IGR.sweep.selections(data)", data=data)] == ["test"]
    found = run("sweep", "IGR.sweep.points(data, 'loss', 'test')", data=data)
    np.testing.assert_allclose(
        np.array(found)[:, 1],
        table["chosen_train_loss"].sel(point="test").values.ravel(),
        rtol=2e-3,
    )
    found = run("sweep", "IGR.sweep.points(data, 'ratio', 'validation')", data=data)
    assert [value for _, value in found] == [None] * len(data["models"])  # NaN, in JSON


@pytest.mark.parametrize(
    "lost", ["chosen_train_loss", "train_loss", "test_accuracy", "score_step", "chosen_step"]
)
def test_one_number_that_was_not_measured_costs_no_other(lost):
    made = unit(50, (0, 1), points=("validation", "test"))
    members = len(made.arrays["seed"])
    made.arrays["chosen_train_loss"] = np.full((members, 3), 0.5)
    made.arrays["score_step"] = made.arrays["gradient_step"]
    made.arrays["test_accuracy"] = np.full(made.arrays["train_loss"].shape, 0.5)
    if lost in ("score_step", "chosen_step"):
        del made.arrays[lost]
        if lost == "score_step":
            del made.arrays["test_accuracy"]
    else:
        made.arrays[lost][3] = np.nan
    explorer = sweep_explorer(record(made), "sgd", "fig-x")
    assert "NaN" not in json.dumps(explorer.data, allow_nan=False)
    assert "<section" in explorer._repr_html_()
    assert len(explorer.data["models"]) == members
    pairs = run("sweep", "IGR.sweep.points(data, 'loss', 'test')", data=explorer.data)
    unknown = sum(value is None for _, value in pairs)
    assert unknown == (lost == "chosen_train_loss")


def test_what_is_not_measured_does_not_move_axes_or_correlations():
    program = "IGR.sweep.correlation([[1, 3], [2, NaN], [3, 5], [4, 4]])"
    close(run("sweep", program), spearmanr([1, 3, 4], [3, 5, 4]).statistic)
    whole = run("sweep", "IGR.sweep.around([2, 8, 4], true)")
    assert run("sweep", "IGR.sweep.around([NaN, 2, 8, 0, 4], true)") == whole
    assert run("sweep", "IGR.sweep.around([NaN], true)") == [1, 10]


def test_the_html_holds_everything_and_closes_nothing_early():
    explorer = explorers.Explorer("step", 'a "title"', "fig-x", {"text": "</script>"})
    page = explorer._repr_html_()
    assert page.count("<section") == page.count("</section>") == 1
    assert page.count("<script") == page.count("</script>") == 2
    assert "a &quot;title&quot;" in page
    assert 'href="#fig-x"' in page
    assert "http://" not in page.replace("http://www.w3.org/2000/svg", "")
    for name in (
        "step",
        "phase",
        "optimizer",
        "sweep",
        "parabola",
        "catapult",
        "loss",
        "river",
        "decay",
    ):
        most = 40_000 if name in ("loss", "phase") else 32_000  # A library for it would be 330,000.
        assert len(explorers.script(name).encode()) < most


def test_an_unknown_explorer_is_refused():
    names = "step, phase, optimizer, sweep, parabola, catapult, loss, river, decay"
    with pytest.raises(ValueError, match=f"name must be one of {names}, got 'stp'"):
        explorers.script("stp")
