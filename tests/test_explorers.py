"""The explorers: their scripts, run by Node, against igrlib and automatic differentiation."""

import functools
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
from matplotlib.colors import to_hex
from scipy.stats import spearmanr

import explorers
import igrlib as ig
from explorers._night import dark
from explorers.sweep import sweep_explorer
from igrlib import plots
from igrlib import two_parameter as tp
from igrlib.experiments import records
from igrlib.experiments.table import plain, table_of
from igrlib.experiments.verdicts import chance, equal_loss

X, Y = tp.POINT_I.x, tp.POINT_I.y
DATA = jnp.array([[1.0, 2.0], [1.0, -1.0]])

# The losses of the explorer of chapter 2, as its menu states them.
LOSSES = {
    "bowl": lambda p: (p[0] ** 2 + 4 * p[1] ** 2) / 2,
    "valley": lambda p: two_parameters(p),
    "bent": lambda p: (1 - p[0]) ** 2 / 2 + 2 * (p[1] - p[0] ** 2) ** 2,
    "logistic": lambda p: -jax.nn.log_sigmoid(DATA @ p).sum(),
}


SAY = "sentence(state, compute(state), say)"


def told(explorer, state, program=SAY):
    """What an explorer says of a state: words and numbers, and nothing that is none."""
    expression = (
        f"(({{sentence, compute, step}}, say) => {program})(IGR.{explorer}, IGR.stage.number)"
    )
    said = run(explorer, expression, state=state)
    assert not re.search("NaN|undefined|Infinity|–", said)
    return said


def two_parameters(p):
    return tp.loss(tp.Params(*p), X, Y)


def modified(loss):
    """Ẽ as a function of θ and h: E for h = 0. With h an argument, one program serves all."""
    return lambda p, h, *args: ig.modified_loss(loss, h)(p, *args)


def penalized(p, mu):
    return ig.gradient_regularized_loss(two_parameters, mu, normalization="mean")(p)


def flow_end(loss, start, time, *args):
    field = ig.gradient_field(loss)
    return ig.flow(field, start, jnp.array([0.0, time]), *args, rtol=1e-13, atol=1e-15)[-1]


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
    flow, other = (flow_end(modified(loss), start, h, rate) for rate in (0.0, h))
    close(found["end"], end)
    close(found["flow"][-1], flow)
    close(found["modified"][-1], other)
    close(found["gap"], [jnp.linalg.norm(flow - end), jnp.linalg.norm(other - end)])


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


@pytest.mark.parametrize("name", LOSSES)
def test_the_slider_of_the_step_size_goes_beyond_the_edge(name):
    start = run("step", "IGR.step.losses[name].start", name=name)
    hessian = jax.jit(jax.hessian(LOSSES[name]))
    for p in (start, [0.2, -0.3]):
        found = run("step", "[IGR.step.sharpness(name, p), IGR.step.most(name, p)]", name=name, p=p)
        sharpest = float(np.linalg.eigvalsh(hessian(jnp.array(p)))[-1])
        close(found[0], sharpest, 1e-10)
        assert sharpest > 0
        if 2.5 / sharpest < (10 if name == "logistic" else 1):
            assert 2.4 < found[1] * sharpest < 2.75


def test_where_the_edge_is_far_off_the_slider_has_its_end():
    """Of the two parameters: at the origin λ is 0.6, and 2/λ beyond what matters."""
    found = run("step", "[[0, 0], [0.3, 2], [0, 0.01]].map((p) => IGR.step.most('valley', p))")
    assert found == [1.0, pytest.approx(2.5 * 1.0499 / (0.3**2 + 2**2), abs=0.01), 1.0]


OF_A_STEP = {
    "nothing moves: the gradient is 0": ("bowl", [0, 0], 0.1),
    "ends where both flows do, up to rounding": ("bowl", [1e-13, 0], 0.1),
    "ends 0.0748 from the flow of E and 0.0424 from the flow of Ẽ": ("bent", [-0.6, 0.9], 0.1),
    "the first gap is 3.57 times smaller": ("bent", [-0.6, 0.9], 0.1),
    "near 4 for small h).": ("bowl", [1e-4, 0], 1e-3),
}


@pytest.mark.parametrize("words", OF_A_STEP)
def test_a_step_says_what_there_is_to_see(words):
    loss, start, h = OF_A_STEP[words]
    state = {"loss": loss, "start": start, "h": h}
    program = "sentence(state, step(state.loss, state.start, state.h), say)"
    assert words in told("step", state, program)


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
        end = flow_end(penalized, jnp.array(start), time, rate)
        close(found["ends"][name]["end"], end)
        close(found["ends"][name]["ratio"], X**2 * (end**2).sum())
        close(found["ends"][name]["distance"], jnp.linalg.norm(end - descent))


VIEW = "IGR.phase.view(state, IGR.phase.compute(state))"


@pytest.mark.parametrize("start", [[2.8, 3.5], [75.0, 74.925], [-1.0, 3.0], [3.0, 3.0]])
def test_the_window_of_the_phase_plane_holds_what_leaps(start):
    """Whatever the slider says: steps that grow or change sides, the ends, and a start nearby."""
    high, _ = run("phase", "Object.values(IGR.phase.sizes(start, x))", start=start, x=X)
    shares = np.array([0.02, 0.1, 0.3, 0.43, 0.6, 0.76, 0.79])
    runs = jax.vmap(
        lambda h: ig.gradient_descent(two_parameters, jnp.array(start), h, 3000).params
    )(jnp.array(shares * high))
    for share, steps in zip(shares.tolist(), np.asarray(runs), strict=True):
        state = {"start": start, "h": share * high, "mu": 0.5, "x": X, "y": Y}
        low, top = run("phase", VIEW, state=state)
        if not np.isfinite(steps).all():  # no window holds a run that diverges
            continue
        norms = np.linalg.norm(steps, axis=1)
        leaps = steps[1:][(norms[1:] > norms[:-1]) | (steps[1:] * np.array(start) < 0).any(axis=1)]
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
        # Between two of its points a path is a straight piece.
        close(found[name][0], flow_end(penalized, start, 0.1, rate), 2e-3)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("h=*0.5", {"h": 0.1}),
        ("h=0.11;start=2.8,-3.5", {"h": 0.11, "start": [2.8, -3.5]}),
        ("loss=bowl; h = 1e-3", {"loss": "bowl", "h": 1e-3}),
    ],
)
def test_what_a_link_of_the_text_sets(text, expected):
    assert run("step", "IGR.address.parse(text, {h: 0.2})", text=text) == expected


STATE = {"loss": "bent", "start": [0.5, -1.25], "h": 0.1}
MAY = {"loss": ["bent", "a b;c"], "start": [-4, 4], "h": [1e-4, 10]}
READ = "IGR.address.read('step', hash, state, may)"


@pytest.mark.parametrize(
    "change", [{}, {"h": 1e-4}, {"start": [-4, 4]}, {"start": [1e-7, -2.5e-12]}, {"loss": "a b;c"}]
)
def test_an_address_says_what_is_shown(change):
    state = STATE | change
    program = "IGR.address.write('step', state, may)"
    written = run("step", program, state=state, may=MAY)
    assert re.fullmatch(r"#step:loss=[\w%]+;start=[\d.e,-]+;h=[\d.e-]+", written)
    assert run("step", READ, hash=written, state=STATE, may=MAY) == state


def test_an_address_may_say_a_part():
    found = run("step", READ, hash="#step:h=0.3;start=1,2", state=STATE, may=MAY)
    assert found == {"h": 0.3, "start": [1, 2]}


@pytest.mark.parametrize(
    "parts",
    [
        "h=x",
        "h=0",
        "h=11",
        "h=",
        "h",
        "h=1,2",
        "h=0.1=2",
        "start=1",
        "start=1,2,3",
        "start=1,",
        "start=1,5",
        "loss=steep",
        "loss=%E0%A4%A",
        "toString=1",
        "__proto__=1",
        "h=0.3;x=1",
        "h=0.3;",
        "h=NaN",
        "h=-Infinity",
    ],
)
def test_a_wrong_address_is_none(parts):
    assert run("step", READ, hash=f"#step:{parts}", state=STATE, may=MAY) is None


@pytest.mark.parametrize("hash", ["", "#", "#step", "#step:", "#theorem-2-1", "#phase:h=0.1"])
def test_the_address_of_something_else_is_none(hash):
    assert run("step", READ, hash=hash, state=STATE, may=MAY) is None


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
    said = told("phase", state)
    assert words in said
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


@functools.cache
def run_and_flows(kind, beta, h, count, start):
    """Where the steps of an optimizer end, and its flow from a point at a rate: F_0 at 0."""
    optimizer, start = OPTIMIZERS[kind](beta), jnp.array(start)
    transformation = optimizer(h)

    @jax.jit
    def step(params, memory):
        updates, memory = transformation.update(jax.grad(hyperbola)(params), memory, params)
        return optax.apply_updates(params, updates), memory

    params, memory = start, transformation.init(start)
    for _ in range(count):
        params, memory = step(params, memory)

    def field(p, rate):
        return ig.optimizers.optimizer_field(optimizer, hyperbola, rate)(p)

    delta = ig.optimizers.start_displacement(optimizer, hyperbola)(start)
    times = jnp.array([0.0, h * count])
    return params, {
        (name, displaced): ig.flow(field, start + displaced * h * delta, times, rate)[-1]
        for name, rate, displaced in (
            ("flow", 0.0, False),
            ("modified", h, False),
            ("modified", h, True),
        )
    }


@pytest.mark.parametrize("displaced", [True, False])
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_the_steps_and_both_flows_of_an_optimizer(kind, displaced):
    beta, effective, start = 0.8, 0.004, [2.2, 1.4]
    state = {
        "kind": kind,
        "beta": beta,
        "effective": effective,
        "until": 0.3,
        "start": start,
    }
    found = run(
        "optimizer",
        "(({h, steps, ends}) => ({h, steps, ends}))(IGR.optimizer.compute(state))",
        state=state | {"displaced": displaced},
    )
    h, count = effective * (1 - beta if kind in ("heavy", "nesterov") else 1), 75
    assert found["steps"] == count
    close(found["h"], h)
    params, flows = run_and_flows(kind, beta, h, count, tuple(start))
    close(found["ends"]["descent"]["end"], params)
    for name, end in (("flow", flows["flow", False]), ("modified", flows["modified", displaced])):
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
    assert words in told("optimizer", state)


def parabola(theta, s):
    return s * theta**2 / 2


@pytest.mark.parametrize(("h", "s"), [(0.3, 1.0), (0.1, 8.0), (0.5, 2.0), (0.5, 3.6), (0.8, 3.1)])
def test_a_step_on_a_parabola_and_both_flows(h, s):
    start, curvature = jnp.float64(1.0), jnp.array(s)
    found = run("parabola", "[IGR.parabola.factors(hs), IGR.parabola.gaps(hs)]", hs=h * s)
    steps = ig.gradient_descent(lambda p: parabola(p, curvature), start, h, 6).params
    flow, other = (flow_end(modified(parabola), start, h, rate, s) for rate in (0.0, h))
    for name, end in (("descent", steps[1]), ("flow", flow), ("modified", other)):
        close(found[0][name], end)
    close([found[1]["flow"], found[1]["modified"]], [flow - steps[1], other - steps[1]])
    close(run("parabola", "IGR.parabola.iterates(hs, 6)", hs=h * s), steps)


@pytest.mark.parametrize("hs", [0.3, 1.0, 1.7, 2.3])
def test_ten_steps_on_a_parabola_and_both_flows(hs):
    loss, start, h = lambda theta: 2 * theta**2, jnp.float64(1.0), hs / 4
    found = run("decay", "IGR.decay.compute(hs)", hs=hs)
    close(found["descent"], ig.gradient_descent(loss, start, h, 10).params)
    times = h * jnp.linspace(0, 10, 81)
    field = ig.gradient_field(modified(loss))
    for name, rate in (("flow", 0.0), ("modified", h)):
        close(found[name], ig.flow(field, start, times, rate, rtol=1e-12, atol=1e-14), 1e-8)


def test_the_regimes_of_ten_steps_are_those_of_the_text():
    """Same side, other side and nearer, farther: at the places that are named so."""
    regimes = run("decay", "IGR.decay.regimes")
    assert [list(pair) for pair in explorers.decay.REGIMES] == regimes
    for hs, name in regimes:
        factor = 1 - hs
        kind = "a flow can follow" if factor > 0 else "overshoots" if factor > -1 else "diverges"
        assert name == kind


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
    for hs in ON_A_PARABOLA[words]:
        said = told("parabola", hs, "sentence(state, say)")
        assert words in said
        assert f"hs = {hs:g}" in said
        assert "λ" not in said  # of one parameter the curvature is s
        assert sum(other in said for other in ON_A_PARABOLA) == 1


RUNS = explorers.catapult_explorer("fig-x").data["presets"]


def sharpness(p):
    return tp.largest_hessian_eigenvalue(tp.Params(*jnp.asarray(p).T), X, Y)


hessian_of_two = jax.jit(jax.hessian(two_parameters))


@pytest.mark.parametrize("preset", RUNS, ids=lambda p: f"{p['start'][0]}-{p['h']}")
def test_the_runs_of_the_catapult(preset):
    start, h = jnp.array(preset["start"]), preset["h"]
    state = preset | {"x": X, "y": Y}
    found = run("catapult", "IGR.catapult.compute(state)", state=state)
    # One program for all runs: it goes on after the explorer has stopped.
    _, params, losses = ig.gradient_descent(two_parameters, start, h, 2000)
    params, losses = params[: found["steps"] + 1], losses[: found["steps"] + 1]
    # Where the steps jump about, a difference of one digit doubles with each.
    tolerance = 1e-6 if found["outcome"] == "diverged" or h > 0.3 else 1e-9
    close(found["points"], params, tolerance)
    close(found["losses"], losses, tolerance)
    sharp = h * np.linalg.eigvalsh([hessian_of_two(p) for p in params])[:, -1]
    close(found["sharp"], sharp, tolerance)
    assert found["peak"] == int(jnp.argmax(losses))
    beyond = np.flatnonzero(sharp >= 2)
    assert found["settled"] == (beyond[-1] + 1 if len(beyond) else 0)
    # Beyond 4/K, K the squared length at the start, it diverges.
    diverged = h * X**2 * float(start @ start) > 4
    assert found["outcome"] == ("diverged" if diverged else "arrived")
    close(found["ends"]["flow"], sharpness(tp.minimum_on_flow(tp.Params(*start), X, Y)))
    end = flow_end(modified(two_parameters), start, 30.0, h)
    close(found["ends"]["modified"], sharpness(end))


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
    assert words in told("catapult", {"start": start, "h": h, "x": X, "y": Y})


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
    field = ig.gradient_field(modified(of_the_river))
    for name, rate in (("flow", 0.0), ("modified", h)):
        path = ig.flow(field, at, times, rate, rtol=1e-12, atol=1e-14)
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
    first = run("river", "[IGR.river.start, IGR.river.first, IGR.river.named]")
    of_river = explorers.river
    assert first == [list(of_river.START), of_river.LEARNING_RATE, of_river.NAMED]
    assert of_river.river_picture().count(">minima of E</text>") == 1
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
    assert words in told("river", {"start": start, "h": h})


def of_the_dial(w):
    """As Example 8.3 states it: 1 − cos φ, with φ the angle to (1, 0)."""
    return 1 - w[0] / jnp.linalg.norm(w)


slopes_of_the_dial = jax.jit(jax.vmap(jax.grad(of_the_dial)))

OF_DIALS = [([-0.6, 0.8], 0.9), ([0.0, 1.0], 0.5), ([-1.5, -1.1], 0.33), ([0.2, 0.5], 0.9)]


@pytest.mark.parametrize(("start", "h"), OF_DIALS)
def test_the_runs_of_the_dial(start, h):
    found = run("dial", "IGR.dial.compute(state)", state={"start": start, "h": h})
    level = float(of_the_dial(jnp.array(start))) / 2
    close(found["level"], level)
    assert len(found["runs"]) == 3
    for each, part in zip(found["runs"], (9, 3, 1), strict=True):
        close(each["h"], h / part)
        points = np.array(each["points"])
        # One program for all runs: it goes on after the explorer has stopped.
        _, params, losses = ig.gradient_descent(of_the_dial, jnp.array(start), h / part, 2000)
        squares = (np.asarray(slopes_of_the_dial(params)) ** 2).sum(1)[: len(points)]
        params, losses = params[: len(points)], losses[: len(points)]
        close(points, params, 1e-8)
        lengths = np.linalg.norm(params, axis=1)
        close(each["length"], lengths[-1], 1e-8)
        close(each["seen"], np.stack([losses, squares, lengths**2 * squares], 1), 1e-7)
        # All hands come to the same hour, and on the way |w| grows by Proposition 8.1.
        assert abs(np.degrees(np.arctan2(*points[-1][::-1]))) < 0.3
        close(np.diff(lengths**2), (h / part) ** 2 * squares[:-1], 1e-7)
        # Where it passes the level, it is on the line of the step that does.
        n = int((np.asarray(losses) < level).argmax())
        line, at = points[n] - points[n - 1], np.array(each["at"])
        along = (at - points[n - 1]) @ line / (line @ line)
        assert 0 <= along <= 1
        close(points[n - 1] + along * line, at, 1e-8)
        close(of_the_dial(at), level)
        close(each["squared"], (np.asarray(jax.grad(of_the_dial)(jnp.array(at))) ** 2).sum())
        close(each["free"], 1 - (1 - level) ** 2)
    small, middle, large = (each["squared"] for each in found["runs"])
    assert small > middle >= large * (1 - 1e-12)
    assert found["runs"][0]["length"] < found["runs"][1]["length"] < found["runs"][2]["length"]


def test_the_dial_shows_example_8_3():
    """63.4 degrees and |w|² = 5/4 after one step of 1/2; 63.1 and 1.118 after two of 1/4."""
    for h, n, angle, squared in ((0.5, 1, 63.4, 1.25), (0.25, 2, 63.1, 1.118)):
        w = np.array(run("dial", "IGR.dial.descend(h, [0, 1])", h=h)[n])
        np.testing.assert_allclose(
            [np.degrees(np.arctan2(w[1], w[0])), w @ w], [angle, squared], rtol=1e-3
        )


def test_the_start_of_the_dial_keeps_away_from_where_nothing_moves():
    for given, angle, length in (
        ([3.0, 3.0], 45, 2),
        ([0.0, -0.1], -90, 0.5),
        ([-1.0, 0.0], 175, 1),
        ([1.2, -1e-3], -5, 1.2),
    ):
        w = np.array(run("dial", "IGR.dial.allowed(w)", w=given))
        close(np.degrees(np.arctan2(w[1], w[0])), angle)
        close(np.linalg.norm(w), length, 1e-6)


def test_between_two_steps_the_hand_is_on_the_tangent():
    points = [[0.0, 1.0], [0.5, 1.0], [0.7, 0.8]]
    for t, expected in ((0, [0, 1]), (0.3, [0.3, 1]), (0.75, [0.6, 0.9]), (9, [0.7, 0.8])):
        close(run("dial", "IGR.dial.place(p, 0.5, t)", p=points, t=t), expected)


OF_THE_DIAL = {
    "From |w| = 1, steps of h = 0.1, 0.3 and 0.9 turn every hand": ([-0.6, 0.8], 0.9),
    "smallest for the largest step, and |w|²‖∇E‖² is 0.96 for all": ([-0.6, 0.8], 0.9),
    "the same where the first step passes it": ([0.3, 0.4], 0.9),
}


@pytest.mark.parametrize("words", OF_THE_DIAL)
def test_the_dial_says_what_there_is_to_see(words):
    start, h = OF_THE_DIAL[words]
    assert words in told("dial", {"start": start, "h": h})


IN_OTHER_DIRECTIONS = [[0.3, -1.2], [2.0, 0.5]]


@pytest.mark.parametrize("features", [[[1.0, 1.0], [2.0, 1.0]], IN_OTHER_DIRECTIONS])
@pytest.mark.parametrize("angle", [45, -45, 100])
def test_what_two_errors_cost(features, angle):
    """The kernel is that of a model whose gradients the features are."""
    found = run("ellipse", "IGR.ellipse.compute(s)", s={"angle": angle, "features": features})
    model = lambda params, inputs: inputs @ params  # noqa: E731
    inputs, params = jnp.array(features), jnp.zeros(2)
    kernel, e = np.asarray(ig.ntk.ntk(model, params, inputs)), np.array(found["errors"], float)
    close(e @ e, 2)
    close(np.degrees(np.arctan2(e[1], e[0])), angle)
    close(found["kernel"], kernel)
    form = ig.ntk.ntk_quadratic_form(model, params, inputs, jnp.array(e))
    close(found["form"], form)
    close(np.sum(found["terms"]), form)
    close(found["sum"], jax.grad(lambda p: jnp.sum(model(p, inputs) * e))(params))
    values, vectors = np.linalg.eigh(kernel)
    close(found["eigen"]["values"], values[::-1])
    axis = np.radians(found["eigen"]["angle"])
    close(abs(vectors[:, 1] @ [np.cos(axis), np.sin(axis)]), 1)
    ring = np.array(run("ellipse", "IGR.ellipse.ellipse(found)", found=found))
    close(np.einsum("ni,ij,nj->n", ring, kernel, ring), np.full(len(ring), form))
    # It passes through the errors.
    assert np.abs(ring - e).sum(1).min() < 0.05


def test_the_errors_of_example_5_5_cost_13_and_1():
    state = "{angle: IGR.ellipse.first * sign, features: IGR.ellipse.features}"
    for sign, errors, terms, form in ((1, [1, 1], [2, 6, 5], 13), (-1, [1, -1], [2, -6, 5], 1)):
        found = run("ellipse", f"IGR.ellipse.compute({state})", sign=sign)
        close(found["errors"], errors)
        close(found["terms"], terms)
        close(found["form"], form)
        picture = explorers.ellipse.ellipse_picture()
        assert f"εᵀKε = {form}" in picture
    close(run("ellipse", "IGR.ellipse.features"), explorers.ellipse.FEATURES)


def test_an_ellipse_without_a_width_stays_finite():
    """Where both features are on one line, and where both are 0."""
    for features in ([[1.0, 1.0], [-1.0, -1.0]], [[0.0, 0.0], [0.0, 0.0]]):
        state = {"angle": 20, "features": features}
        found = run("ellipse", "IGR.ellipse.ellipse(IGR.ellipse.compute(s))", s=state)
        assert np.isfinite(np.array(found, dtype=float)).all()


OF_THE_ELLIPSE = {
    "contributions add up: ε₁φ₁ + ε₂φ₂ = (3, 2), and": (45, [[1, 1], [2, 1]]),
    "εᵀKε = 2 + 6 + 5 = 13. For errors of this loss it can be from 0.292 to 13.7": (
        45,
        [[1, 1], [2, 1]],
    ),
    "cancel in part: ε₁φ₁ + ε₂φ₂ = (−1, 0), and": (-45, [[1, 1], [2, 1]]),
    "εᵀKε = 2 − 6 + 5 = 1.": (-45, [[1, 1], [2, 1]]),
    "are nearly at right angles": (45, [[1, 1], [-1, 1]]),
    "from 0 to 0; K₁₂ = 0": (45, [[0, 0], [0, 0]]),
}


@pytest.mark.parametrize("words", OF_THE_ELLIPSE)
def test_the_ellipse_says_what_there_is_to_see(words):
    angle, features = OF_THE_ELLIPSE[words]
    state = {"angle": angle, "features": features}
    assert words in told("ellipse", state, "sentence(compute(state), say)")


@pytest.fixture(scope="module")
def rescaled():
    """A small ReLU network at three factors c, by automatic differentiation."""
    rng = np.random.default_rng(5)
    network = {name: rng.normal(size=4) for name in ("in", "bias", "out")}
    x = jnp.linspace(-1.0, 1.0, 7)
    y = jnp.sin(3 * x)

    def outputs(p):
        return jax.nn.relu(jnp.outer(x, p["in"]) + p["bias"][None]) @ p["out"]

    def loss(p):
        return jnp.mean((outputs(p) - y) ** 2) / 2

    scales, found = [0.1, 1.0, 10.0], []
    for c in scales:
        p = {name: v * c if name == "out" else v / c for name, v in network.items()}
        vector, back = jax.flatten_util.ravel_pytree(p)
        sharp = jnp.linalg.eigvalsh(jax.hessian(lambda v, back=back: loss(back(v)))(vector))[-1]
        found.append((loss(p), ig.geometry.slope(loss)(p), sharp))
    kinds = dict(zip(("losses", "slopes", "sharpness"), np.array(found).T, strict=True))
    points = {"inputs": x, "targets": y}
    data = explorers.rescale_explorer("fig-x", points, network, {"scales": scales} | kinds).data
    return data, np.asarray(outputs(network)), np.array(found)


def test_a_rescaled_network_does_not_stir_and_its_measures_do(rescaled):
    data, outputs, found = rescaled
    assert run("rescale", "IGR.rescale.middle(data)", data=data) == 1
    for place, c in enumerate(data["scales"]):
        program = "data.inputs.map(IGR.rescale.network(data, c))"
        # The data are rounded to five digits.
        close(run("rescale", program, data=data, c=c), outputs, 2e-4)
        got = run("rescale", "IGR.rescale.compute(data, place)", data=data, place=place)
        assert got["c"] == c
        np.testing.assert_allclose(got["values"], found[place], rtol=1e-4)
        np.testing.assert_allclose(got["factors"], found[place] / found[1], rtol=2e-4)
        assert got["factors"][0] == pytest.approx(1, abs=1e-6)
        assert place == 1 or min(got["factors"][1:]) > 3


def test_the_rescaling_plays_to_both_ends_and_back(rescaled):
    data = {"scales": [1.0] * 41}
    times = [0, 0.25, 0.5, 0.75, 1]
    program = "times.map((s) => IGR.rescale.sweep(data, s))"
    assert run("rescale", program, data=data, times=times) == [20, 40, 20, 0, 20]


def test_the_rescaling_says_what_there_is_to_see(rescaled):
    data, _, found = rescaled
    said = [
        run(
            "rescale",
            "IGR.rescale.sentence(IGR.rescale.compute(data, k), IGR.stage.number)",
            data=data,
            k=k,
        )
        for k in (0, 1, 2)
    ]
    assert "divided by 0.1, those out of it multiplied" in said[0]
    assert "as it was trained" in said[1]
    assert "times" not in said[1]
    by = f"{found[2, 1] / found[1, 1]:.3g} times as large as at c = 1"
    assert by in said[2]
    assert "the function does not stir" in said[2].lower()
    assert not re.search("NaN|undefined|Infinity|–", "".join(said))


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
    return plain(table_of(record, "sgd")), sweep_explorer(record, "sgd", "fig-x").data


def models_of(table):
    """Which cells of a table are models of the explorer."""
    return (table["finished"] & ~table["diverged"]).values


def placed(data, at, value=None):
    """Where the models stand, as a column for each number."""
    rows = run("sweep", "IGR.sweep.places(data, at, value)", data=data, at=at, value=value)
    return {
        name: np.array([row[name] for row in rows], float)
        for name in ("step", "loss", "squared_gradient", "accuracy")
    }


@pytest.mark.parametrize("at", ["validation", "test", "end"])
def test_the_models_of_a_sweep(sweep, at):
    table, data = sweep
    m = table["num_params"].values[:, None]
    chosen = table.sel(point="final" if at == "end" else at)
    squared = chosen["chosen_train_squared_gradient"].values
    expected = {
        "regularizer": squared / m,
        "squared": squared,
        "ratio": squared / m / chosen["chosen_train_loss"].values,
        "loss": chosen["chosen_train_loss"].values,
        "accuracy": 100 * chosen["chosen_test_accuracy"].values,
    }
    there = models_of(table)
    rate = np.broadcast_to(table["learning_rate"].values * m / 4, there.shape)[there]
    for quantity, values in expected.items():
        program = "IGR.sweep.points(data, q, IGR.sweep.places(data, at))"
        found = run("sweep", program, data=data, q=quantity, at=at)
        close(np.array(found)[:, 0], rate)
        # Data are rounded to five digits.
        np.testing.assert_allclose(np.array(found)[:, 1], values[there], rtol=1e-4)
        correlation = run("sweep", "IGR.sweep.correlation(pairs)", pairs=found)
        close(correlation, spearmanr(*np.array(found).T).statistic)
        assert abs(correlation) < 1


@pytest.mark.parametrize("level", [1.0, 0.3, 0.05, 0.01, 0.003])
def test_models_at_equal_loss(sweep, level):
    table, data = sweep
    there = models_of(table)
    found = placed(data, "loss", level)
    squared = np.exp(equal_loss.log_at(table, "train_squared_gradient", level).values[there])
    assert np.isfinite(squared).any()
    np.testing.assert_allclose(found["squared_gradient"], squared, rtol=5e-3)
    np.testing.assert_allclose(found["loss"], np.where(np.isfinite(squared), level, np.nan))
    time = (equal_loss.time_at(table, level) / table["learning_rate"]).values[there]
    np.testing.assert_allclose(found["step"], time, rtol=2e-3)
    accuracy = equal_loss.accuracy_at(table, level).values[there]
    np.testing.assert_allclose(100 * found["accuracy"], accuracy, atol=0.02)


def test_a_loss_below_which_a_model_began_is_nowhere_crossed():
    model = {"rate": 0, "curves": {"loss": [9, 0.5, None, 0.7, 0.2], "accuracy": [0] * 5}}
    model["curves"]["squared_gradient"] = [1, 3, None, 6, 24]
    data = {"rates": [0.1], "steps": [0, 1, 2, 4, 16], "models": [model]}
    assert np.isnan(placed(data, "loss", 0.6)["step"])
    assert np.isnan(placed(data, "loss", 0.1)["step"])
    # Half of the way from 0.7 to 0.2 in log E: at the geometric means.
    at = placed(data, "loss", (0.7 * 0.2) ** 0.5)
    close(at["step"], 8)
    close(at["squared_gradient"], 12)


@pytest.mark.parametrize("share", [1.0, 0.5, 0.02])
@pytest.mark.parametrize("at", ["steps", "time"])
def test_models_after_equal_steps_and_time(sweep, at, share):
    """Against NumPy: linear in the logarithms, between the measurements after step 0."""
    table, data = sweep
    there = models_of(table)
    low, high, begin = run("sweep", "IGR.sweep.limits(data, at)", data=data, at=at)
    h = np.broadcast_to(table["learning_rate"].values, there.shape)
    ran = table["stop"].values * (h if at == "time" else 1)
    close([high, begin], np.nanmin(ran))
    value = max(low, share * high)
    found = placed(data, at, value)
    steps = (value / h if at == "time" else np.full(h.shape, value))[there]
    np.testing.assert_allclose(found["step"], steps, rtol=1e-6)
    for name, of in (("loss", "train_loss"), ("squared_gradient", "train_squared_gradient")):
        for k, (i, j) in enumerate(np.argwhere(there)):
            row = table[of].values[i, j]
            known = np.isfinite(row) & (table["gradient_step"].values > 0)
            x, y = np.log(table["gradient_step"].values[known]), np.log(row[known])
            expected = np.exp(np.interp(np.log(steps[k]), x, y))
            np.testing.assert_allclose(found[name][k], expected, rtol=1e-4)


def test_the_loss_can_be_set_to_what_half_of_the_models_came_to(sweep):
    table, data = sweep
    low, high, begin = run("sweep", "IGR.sweep.limits(data, 'loss')", data=data)
    there = models_of(table)
    least = table["train_loss"].min("gradient_step").values[there]
    assert 0.4 < (least <= low * 1.001).mean() < 0.6
    assert np.isfinite(placed(data, "loss", high)["step"]).all()
    assert begin == min(high, max(low, 0.01))


@pytest.mark.parametrize("quantity", ["squared", "accuracy"])
def test_the_trend_of_a_sweep_is_that_of_the_verdicts(sweep, quantity):
    table, data = sweep
    program = (
        "IGR.sweep.trend(data, q, IGR.sweep.points(data, q, IGR.sweep.places(data, 'loss', 0.03)))"
    )
    found = run("sweep", program, data=data, q=quantity)
    if quantity == "squared":
        values = equal_loss.log_at(table, "train_squared_gradient", 0.03)
    else:
        values = equal_loss.accuracy_at(table, 0.03)
    expected = equal_loss.trend_of(values, relative=quantity == "squared").effect
    np.testing.assert_allclose(found, expected, rtol=5e-3)


def test_the_line_through_the_means_of_a_width(sweep):
    table, data = sweep
    program = "IGR.sweep.middle(data, n, 'squared', IGR.sweep.points(data, 'squared', "
    program += "IGR.sweep.places(data, 'test')))"
    width = int(table["width"].values[0])
    found = np.array(run("sweep", program, data=data, n=width))
    of_width = table.isel(block=table["width"].values == width).sel(point="test")
    values = np.log(of_width["chosen_train_squared_gradient"])
    np.testing.assert_allclose(found[:, 1], np.exp(values.mean("block")), rtol=1e-4)


DEAL = "IGR.sweep.deal(data, q, IGR.sweep.places(data, 'test'), over, seed)"


@pytest.mark.parametrize(("quantity", "name"), [("ratio", "squared_gradient"), ("loss", "loss")])
@pytest.mark.parametrize("over", ["all", "block"])
def test_a_deal_keeps_what_was_measured_and_who_holds_the_rest(sweep, over, quantity, name):
    _, data = sweep
    given = {"data": data, "q": quantity, "over": over}
    before = placed(data, "test")
    one, again, other = (run("sweep", DEAL, **given, seed=seed) for seed in (1, 1, 2))
    assert one == again != other
    dealt = np.array([row[name] for row in one])
    assert (dealt != before[name]).mean() > 0.5
    for rest in {"loss", "squared_gradient", "accuracy", "step"} - {name}:
        np.testing.assert_array_equal([row[rest] for row in one], before[rest])
    hands = [(m["width"], m["seed"]) if over == "block" else 0 for m in data["models"]]
    for hand in set(hands):
        mine = np.array([h == hand for h in hands])
        np.testing.assert_array_equal(np.sort(dealt[mine]), np.sort(before[name][mine]))


def test_deals_give_the_correlations_that_chance_gives():
    """Of a record with four widths, so that m alone makes λ and R_IG go together."""
    record = records.open_record(Path(__file__).parent.parent / "book/results/mlp-sweep-cpu")
    table, data = plain(table_of(record, "sgd")), sweep_explorer(record, "sgd", "fig-x").data
    for model in data["models"]:  # too long for a command line
        del model["curves"]
    program = (
        "IGR.range(2000, (k) => IGR.sweep.correlation(IGR.sweep.points(data, 'regularizer', "
        "IGR.sweep.deal(data, 'regularizer', IGR.sweep.places(data, 'test'), over, k + 1))))"
    )
    expected = chance.rate_with_regularizer(table, draws=2000)
    found = np.array(run("sweep", program, data=data, over="all"))
    error = expected.chance.std() / 1000**0.5
    assert expected.chance.mean() < -0.1
    assert abs(found.mean() - expected.chance.mean()) < 5 * error
    quantiles = [0.025, 0.25, 0.75, 0.975]
    close(np.quantile(found, quantiles), np.quantile(expected.chance, quantiles), 0.05)

    # Within blocks: against NumPy's own permutations.
    at = placed(data, "test")["squared_gradient"]
    m = np.array([model["m"] for model in data["models"]])
    h = np.array([data["rates"][model["rate"]] for model in data["models"]])
    block = np.unique(
        [(k["width"], k["seed"]) for k in data["models"]], axis=0, return_inverse=True
    )
    rng, own = np.random.default_rng(1), []
    for _ in range(2000):
        dealt = at.copy()
        for one in range(block[1].max() + 1):
            dealt[block[1] == one] = rng.permutation(at[block[1] == one])
        own.append(spearmanr(h * m, dealt / m).statistic)
    found = np.array(run("sweep", program, data=data, over="block"))
    assert abs(found.mean() - np.mean(own)) < 5 * np.std(own) / 1000**0.5
    close(np.quantile(found, quantiles), np.quantile(own, quantiles), 0.05)


def test_an_axis_stays_while_it_shows_all_points_large_enough():
    program = "IGR.sweep.window(values, true, old)"
    old = [1e-4, 1]
    assert run("sweep", program, values=[1e-3, 0.5], old=old) == old
    for values in ([1e-3, 2.0], [0.1, 0.5]):
        fresh = run("sweep", "IGR.sweep.around(values, true)", values=values)
        assert run("sweep", program, values=values, old=old) == fresh


def test_the_curves_of_a_sweep(sweep):
    table, data = sweep
    model = data["models"][-1]
    i, j = np.argwhere(models_of(table))[-1]
    assert (model["width"], model["seed"]) == (table["width"][i], table["seed"][i])
    scores = table["test_accuracy"].rename(score_step="gradient_step")
    for name, values in (
        ("loss", table["train_loss"]),
        ("squared_gradient", table["train_squared_gradient"]),
        ("accuracy", 100 * scores.sel(gradient_step=table["gradient_step"])),
    ):
        found = run("sweep", "IGR.sweep.curve(data, m, name)", data=data, m=model, name=name)
        curve, row = np.array(found), values.values[i, j]
        there = np.isfinite(row)
        steps = table["gradient_step"].values[there]
        # On a logarithmic axis step 0 stands at half of the first after it.
        np.testing.assert_array_equal(curve[:, 0], [steps[1] / 2, *steps[1:]])
        np.testing.assert_allclose(curve[:, 1], row[there], rtol=1e-4)


def test_an_arm_without_a_validation_split_is_shown_as_it_is():
    """Of a record in the repository."""
    record = records.open_record(Path(__file__).parent.parent / "book/results/mlp-sweep-cpu")
    explorer = sweep_explorer(record, "all", "fig-x")
    assert "<section" in explorer._repr_html_()
    data, table = explorer.data, plain(table_of(record, "all"))
    none = dict.fromkeys(("step", "loss", "squared_gradient", "accuracy"), None)
    assert all(model["validation"] == none | {"censored": False} for model in data["models"])
    for model in data["models"]:  # too long for a command line
        del model["curves"]
    names = [name for name, _ in run("sweep", "IGR.sweep.choices(data)", data=data)]
    assert names == ["test", "end", "steps", "time", "loss"]
    program = "IGR.sweep.points(data, q, IGR.sweep.places(data, at))"
    found = run("sweep", program, data=data, q="loss", at="test")
    np.testing.assert_allclose(
        np.array(found)[:, 1],
        table["chosen_train_loss"].sel(point="test").values.ravel(),
        rtol=2e-3,
    )
    found = run("sweep", program, data=data, q="ratio", at="validation")
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
    program = "IGR.sweep.points(data, 'loss', IGR.sweep.places(data, 'test'))"
    pairs = run("sweep", program, data=explorer.data)
    unknown = sum(value is None for _, value in pairs)
    assert unknown == (lost == "chosen_train_loss")


def test_what_is_not_measured_does_not_move_axes_or_correlations():
    program = "IGR.sweep.correlation([[1, 3], [2, NaN], [3, 5], [4, 4]])"
    close(run("sweep", program), spearmanr([1, 3, 4], [3, 5, 4]).statistic)
    whole = run("sweep", "IGR.sweep.around([2, 8, 4], true)")
    assert run("sweep", "IGR.sweep.around([NaN, 2, 8, 0, 4], true)") == whole
    assert run("sweep", "IGR.sweep.around([NaN], true)") == [1, 10]


NAMES = (
    "step, phase, optimizer, sweep, parabola, catapult, loss, river, dial, ellipse, rescale, decay"
)


# Colours mean the same in explorers and figures, on light pages and on dark ones.

SCRIPTS = Path(explorers.__file__).with_name("scripts")
ON_DARK = r'html\[data-theme="dark"\][^{]*\{([^}]*)\}'


def colours(text):
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]+)", text))


def at_night(colour):
    return "#" + dark(to_hex(colour)[1:])


def test_the_colours_of_paths_are_those_of_the_figures():
    style = (SCRIPTS / "style.css").read_text("utf-8")
    light = colours(style.partition("}")[0])
    night = light | colours(" ".join(re.findall(ON_DARK, style)))
    names = {
        "descent": "gradient descent",
        "flow": "gradient flow",
        "modified": "modified flow",
        "explicit": "explicit",
    }
    for name, meaning in names.items():
        assert to_hex(light[name]) == to_hex(plots.COLORS[meaning]), name
        assert night[name] == at_night(plots.COLORS[meaning]), name


def test_the_bars_of_the_rescaling_have_the_colours_of_the_lines_in_its_figure():
    style = (SCRIPTS / "rescale.css").read_text("utf-8")
    # In the figure: sharpness, slope, loss. The bars stand the other way round.
    meant = list(plots.OTHER_COLORS)[::-1]
    light = colours(re.search(r"\n\[data-igr-explorer[^{]*\{([^}]*)\}", style)[1])
    night = colours(re.search(ON_DARK, style)[1])
    assert [to_hex(light[f"bar{k}"]) for k in range(3)] == [to_hex(c) for c in meant]
    assert [night[f"bar{k}"] for k in range(3)] == [at_night(c) for c in meant]


def test_learning_rates_have_the_colours_of_the_figures(sweep):
    _, data = sweep
    for light, night in [
        *explorers.dial_explorer("fig-x").data["colors"],
        *zip(data["colors"], data["dark"], strict=True),
    ]:
        assert night == at_night(light)
    steps = [to_hex(color) for color in plots.learning_rate_colors([1.0, 2.0, 3.0])]
    assert [light for light, _ in explorers.dial_explorer("fig-x").data["colors"]] == steps


def test_the_html_holds_everything_and_closes_nothing_early():
    explorer = explorers.Explorer("step", 'a "title"', "fig-x", {"text": "</script>"})
    page = explorer._repr_html_()
    assert page.count("<section") == page.count("</section>") == 1
    assert page.count("<script") == page.count("</script>") == 2
    assert "a &quot;title&quot;" in page
    assert 'href="#fig-x"' in page
    assert "http://" not in page.replace("http://www.w3.org/2000/svg", "")
    for name in NAMES.split(", "):
        # A library for it would be 330,000.
        most = 48_000 if name in ("loss", "sweep") else 40_000
        assert len(explorers.script(name).encode()) < most


def test_an_unknown_explorer_is_refused():
    with pytest.raises(ValueError, match=f"name must be one of {NAMES}, got 'stp'"):
        explorers.script("stp")
