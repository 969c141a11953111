"""igrlib.flows against NumPy loops, closed forms, SciPy's integrators and fitted orders."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
from helpers import (
    ALL_DTYPES,
    HALF,
    Pair,
    counted_compilations,
    cubic_gradient_numpy,
    cubic_loss,
    cubic_loss_numpy,
    few_examples,
    flat,
    pytrees,
)
from hypothesis import given
from hypothesis import strategies as st

import igrlib as ig

START = np.array([0.5, -0.3, 0.2])
TREE = {"a": jnp.asarray(START[:2]), "b": jnp.asarray(START[2])}


def descend_numpy(theta, h, num_steps, target=0.0):
    iterates = [theta]
    for _ in range(num_steps):
        iterates.append(iterates[-1] - h * cubic_gradient_numpy(iterates[-1], target))
    return np.stack(iterates)


def as_rows(params):
    """Saved parameters as a matrix: one row for each saved step."""
    leaves = [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(params)]
    return np.concatenate([leaf.reshape(len(leaf), -1) for leaf in leaves], axis=1)


# Gradient descent.
@pytest.mark.parametrize(
    ("num_steps", "save_every", "steps"),
    [
        (6, 1, [0, 1, 2, 3, 4, 5, 6]),
        (6, 3, [0, 3, 6]),
        (7, 3, [0, 3, 6, 7]),
        (8, 3, [0, 3, 6, 8]),
        (2, 5, [0, 2]),
        (5, 5, [0, 5]),
        (1, 1, [0, 1]),
        (0, 1, [0]),
        (0, 4, [0]),
    ],
)
def test_gradient_descent_is_the_plain_loop(num_steps, save_every, steps):
    run = ig.gradient_descent(cubic_loss, TREE, 0.1, num_steps, save_every=save_every)
    expected = descend_numpy(START, 0.1, num_steps)[steps]
    assert isinstance(run, ig.Trajectory)
    assert run._fields == ("steps", "params", "losses")
    np.testing.assert_array_equal(run.steps, steps)
    assert jnp.issubdtype(run.steps.dtype, jnp.integer)
    assert jax.tree.structure(run.params) == jax.tree.structure(TREE)
    assert run.params["a"].shape == (len(steps), 2)
    assert run.params["b"].shape == (len(steps),)
    np.testing.assert_allclose(as_rows(run.params), expected, rtol=1e-13)
    np.testing.assert_allclose(run.losses, [cubic_loss_numpy(t) for t in expected], rtol=1e-12)


def test_the_first_step_saved_is_the_start():
    run = ig.gradient_descent(cubic_loss, TREE, 0.1, 2)
    np.testing.assert_array_equal(as_rows(run.params)[0], START)


@pytest.mark.slow
@few_examples
@given(pytrees(ALL_DTYPES), st.integers(0, 3))
def test_gradient_descent_keeps_structure_shapes_and_dtypes(params, num_steps):
    for learning_rate in (0.1, np.float64(0.1), jnp.float64(0.1)):
        run = jax.eval_shape(
            lambda p, h=learning_rate: ig.gradient_descent(cubic_loss, p, h, num_steps), params
        )
        assert run.losses.shape == (num_steps + 1,)
        wanted = jax.tree.map(
            lambda p: ((num_steps + 1, *jnp.shape(p)), jnp.result_type(p)), params
        )
        assert jax.tree.map(lambda p: (p.shape, p.dtype), run.params) == wanted


@pytest.mark.parametrize("dtype", [*HALF, jnp.float32])
def test_gradient_descent_in_low_precision(dtype):
    start = jnp.asarray(START, dtype)
    run = ig.gradient_descent(cubic_loss, start, 0.1, 5, save_every=2)
    assert run.params.dtype == dtype
    expected = descend_numpy(np.asarray(start, np.float64), 0.1, 5)[[0, 2, 4, 5]]
    np.testing.assert_allclose(
        np.asarray(run.params, np.float64), expected, atol=8 * float(jnp.finfo(dtype).eps)
    )


def test_divergence_is_no_error_and_holds_what_it_reached():
    """E = θ⁴: the steps overflow, and the trajectory says so in infinities, then NaN."""
    run = ig.gradient_descent(lambda p: p**4, 10.0, 1.0, 12)
    theta, expected = 10.0, [10.0]
    with np.errstate(over="ignore", invalid="ignore"):
        for _ in range(12):
            theta = np.float64(theta) - 4 * np.float64(theta) ** 3
            expected.append(theta)
    np.testing.assert_allclose(run.params, expected, rtol=1e-12)
    assert not np.isfinite(run.params[-1])
    assert np.isfinite(run.params[:4]).all()


def test_a_stable_and_an_unstable_quadratic():
    """E = λθ²/2 multiplies θ by 1 − hλ: hλ = 2 goes back and forth for ever."""
    for rate, factor in ((0.5, 0.0), (0.75, -0.5), (1.0, -1.0), (1.5, -2.0)):
        run = ig.gradient_descent(quadratic, 3.0, rate, 20)
        np.testing.assert_allclose(run.params, 3 * factor ** np.arange(21), rtol=1e-14)


def quadratic(theta):
    return theta**2


def test_learning_rates_share_one_program():
    def loss(theta):
        return ((theta - 1) ** 2).sum()

    start = jnp.zeros(2)
    ig.gradient_descent(loss, start, 0.1, 4)
    with counted_compilations() as compilations:
        runs = [ig.gradient_descent(loss, start, h, 4) for h in (0.2, 0.25, 0.3)]
    assert compilations == []
    for h, run in zip((0.2, 0.25, 0.3), runs, strict=True):
        np.testing.assert_allclose(run.params[-1], 1 - (1 - 2 * h) ** 4, rtol=1e-14)


def test_jit_vmap_and_grad_over_learning_rates():
    hs = jnp.array([0.05, 0.1, 0.2])

    def last(h):
        return ig.gradient_descent(cubic_loss, TREE, h, 6, save_every=4)

    runs = jax.jit(jax.vmap(last))(hs)
    assert runs.steps.shape == (3, 3)
    for k, h in enumerate(hs):
        expected = descend_numpy(START, float(h), 6)[[0, 4, 6]]
        one = jax.tree.map(lambda leaf, k=k: leaf[k], runs.params)
        np.testing.assert_allclose(as_rows(one), expected, rtol=1e-13)
    # On E = θ² the last loss is (θ(1 − 2h)ⁿ)².
    slope = jax.grad(lambda h: ig.gradient_descent(quadratic, 1.5, h, 3).losses[-1])(0.1)
    np.testing.assert_allclose(slope, 1.5**2 * 6 * 0.8**5 * -2, rtol=1e-13)
    starts = jnp.array([1.0, -2.0])
    ends = jax.vmap(lambda p: ig.gradient_descent(quadratic, p, 0.1, 3).params[-1])(starts)
    np.testing.assert_allclose(ends, starts * 0.8**3, rtol=1e-14)


class ScaledSquare(eqx.Module):
    """A loss that is a pytree itself, and so has no hash."""

    scale: jax.Array

    def __call__(self, theta):
        return self.scale * theta**2


def test_losses_that_are_modules_or_close_over_traced_values():
    for scale, factor in ((2.0, 0.6), (3.0, 0.4)):
        run = ig.gradient_descent(ScaledSquare(jnp.array(scale)), 1.0, 0.1, 2)
        np.testing.assert_allclose(run.params, [1, factor, factor**2], rtol=1e-14)

    def last(factor):
        return ig.gradient_descent(lambda p: factor * p**2, 1.0, 0.1, 2).params[-1]

    np.testing.assert_allclose(jax.vmap(last)(jnp.array([1.0, 2.0])), [0.64, 0.36], rtol=1e-14)


@few_examples
@given(pytrees(low=-1.0, high=1.0))
def test_gradient_field_is_minus_the_gradient(params):
    found = jax.jit(ig.gradient_field(cubic_loss))(params, 0.3)
    assert jax.tree.structure(found) == jax.tree.structure(params)
    np.testing.assert_allclose(
        flat(found), -cubic_gradient_numpy(flat(params), 0.3), rtol=1e-12, atol=1e-14
    )


def test_gradient_field_passes_aux_and_arguments():
    field = ig.gradient_field(lambda p, x, *, k: (k * x * p**2, {"x": x}), has_aux=True)
    found, aux = field(3.0, 2.0, k=0.5)
    assert float(found) == -6.0
    assert float(aux["x"]) == 2.0


# Flows. Every new field compiles for seconds, so one field holds many equations.
def many_equations(theta):
    logistic, (x, speed) = theta["nested"]
    return {
        "decay": -theta["decay"],
        "nested": Pair(logistic * (1 - logistic), jnp.stack([speed, 2 * (1 - x**2) * speed - x])),
    }


MANY_START = {
    "decay": jnp.array([[1.0], [-2.0], [0.0]]),
    "nested": Pair(jnp.array(0.1), jnp.array([1.0, 0.5])),
}


def many_solutions(t):
    """Closed forms, and van der Pol's equation by SciPy."""
    van_der_pol = scipy.integrate.solve_ivp(
        lambda t, y: [y[1], 2 * (1 - y[0] ** 2) * y[1] - y[0]],
        (0, t[-1]),
        [1.0, 0.5],
        method="DOP853",
        t_eval=t,
        rtol=1e-12,
        atol=1e-13,
    ).y.T
    return {
        "decay": np.exp(-t)[:, None, None] * np.array([[1.0], [-2.0], [0.0]]),
        "nested": Pair(1 / (1 + 9 * np.exp(-t)), van_der_pol),
    }


# No time is a step that the solver would choose by itself.
TIMES = np.array([-0.5, -0.31, 0.0, 0.777, 1.6, 1.61])


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "tolerance"), [(jnp.float64, 1e-9), (jnp.float32, 2e-5)])
def test_flow_against_closed_forms(dtype, tolerance):
    start = jax.tree.map(lambda leaf: leaf.astype(dtype), MANY_START)
    found = ig.flow(many_equations, start, TIMES)
    expected = many_solutions(TIMES - TIMES[0])
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    jax.tree.map(
        lambda f, e: np.testing.assert_allclose(f, e, rtol=tolerance, atol=tolerance),
        found,
        expected,
    )
    for leaf, first in zip(jax.tree.leaves(found), jax.tree.leaves(start), strict=True):
        assert leaf.dtype == dtype
        np.testing.assert_array_equal(leaf[0], first)


def decay(theta):
    return {"x": -theta["rate"] * theta["x"], "rate": jnp.zeros(())}


def decaying(rate):
    return {"x": jnp.array(1.0), "rate": jnp.asarray(rate)}


@pytest.mark.slow
def test_flow_under_jit_and_vmap():
    rates, times = jnp.array([0.5, 2.0, 3.0]), jnp.array([0.0, 0.4, 1.0])

    @jax.jit
    def all_rates(times):
        return jax.vmap(lambda rate: ig.flow(decay, decaying(rate), times)["x"])(rates)

    np.testing.assert_allclose(all_rates(times), np.exp(-np.outer(rates, times)), rtol=1e-9)
    np.testing.assert_allclose(all_rates(2 * times), np.exp(-2 * np.outer(rates, times)), rtol=1e-9)


def test_loose_tolerances_are_seen_to_be_loose():
    found = ig.flow(decay, decaying(2.0), np.array([0.0, 0.4, 1.0]), rtol=1e-2, atol=1e-2)
    assert 1e-8 < abs(float(found["x"][2]) - np.exp(-2)) < 1e-2


@pytest.mark.slow
def test_flow_has_a_gradient():
    """d/dθ_0 of θ_0/(1 − θ_0t) at t = 1 is 1/(1 − θ_0)²."""
    slope = jax.grad(lambda p: ig.flow(jnp.square, p, jnp.array([0.0, 1.0]))[-1])(0.5)
    np.testing.assert_allclose(slope, 4.0, rtol=1e-7)


@pytest.mark.slow
def test_new_starts_and_times_compile_nothing():
    def field(theta):
        return -theta

    starts, times = [jnp.array([1.0, k]) for k in range(3)], [np.array([0, k]) for k in (1.0, 2.0)]
    first = ig.flow(field, starts[0], times[0])
    ig.flow(field, starts[1], times[0])
    with counted_compilations() as compilations:
        other = ig.flow(field, starts[2], times[1])
    assert compilations == []
    assert float(first[1, 0]) == pytest.approx(np.exp(-1), rel=1e-9)
    np.testing.assert_allclose(other[1], np.array([1, 2]) * np.exp(-2), rtol=1e-9)


# Arguments of the field, as pytrees of arrays: E = Σ w(θ − x)²/2, with θ(t) in closed form.
def towards(theta, data, rate):
    return -rate * data["w"] * (theta - data["x"])


DATA = {"w": np.array([1.0, 2.0, 0.5]), "x": np.array([0.0, 1.0, -1.0])}


def approached(start, data, rate, t):
    return data["x"] + (start - data["x"]) * np.exp(-rate * data["w"] * t)


@pytest.mark.slow
def test_a_field_takes_arguments():
    found = ig.flow(towards, START, np.array([0.0, 0.7]), DATA, 2)
    np.testing.assert_allclose(found[1], approached(START, DATA, 2, 0.7), rtol=1e-9)


@pytest.mark.slow
def test_other_arguments_compile_nothing_and_trace_once():
    traces = []

    def field(theta, data, rate):
        traces.append(1)
        return towards(theta, data, rate)

    times = np.array([0.0, 0.7])
    ig.flow(field, START, times, DATA, 0.5)
    other = {"w": jnp.array([2.0, 3.0, 1.5]), "x": np.array([0.5, 0.1, 0.2])}
    traces.clear()
    with counted_compilations() as compilations:
        found = ig.flow(field, 2 * START, 2 * times, other, 1.5, rtol=1e-11, atol=1e-12)
    assert compilations == []
    assert len(traces) == 1
    np.testing.assert_allclose(found[1], approached(2 * START, other, 1.5, 1.4), rtol=1e-9)


@pytest.mark.slow
def test_other_shapes_of_arguments_are_other_programs():
    def field(theta, x):
        return -theta * x.sum()

    for x in (np.ones(2), np.ones(3)):
        found = ig.flow(field, 1.0, np.array([0.0, 0.5]), x)
        np.testing.assert_allclose(found[1], np.exp(-0.5 * len(x)), rtol=1e-9)


@pytest.mark.slow
def test_integers_and_keys_are_arguments_too():
    def field(theta, label, key):
        return -theta * label + 0 * jax.random.normal(key)

    found = ig.flow(field, 1.0, np.array([0.0, 0.5]), np.array(3), jax.random.key(0))
    np.testing.assert_allclose(found[1], np.exp(-1.5), rtol=1e-9)


@pytest.mark.slow
def test_arguments_under_jit_vmap_and_grad():
    """θ(t) = e^{−rt}, and dθ/dr = −t·e^{−rt}."""
    at = jax.jit(lambda rate: ig.flow(lambda p, r: -r * p, 1.0, jnp.array([0.0, 0.7]), rate)[1])
    rates = np.array([0.5, 2.0])
    np.testing.assert_allclose(jax.vmap(at)(rates), np.exp(-0.7 * rates), rtol=1e-9)
    np.testing.assert_allclose(jax.grad(at)(2.0), -0.7 * np.exp(-1.4), rtol=1e-7)


@pytest.mark.slow
def test_a_number_does_not_widen_the_parameters():
    found = ig.flow(lambda p, r: -r * p, np.ones(2, np.float32), np.array([0.0, 1.0]), 0.5)
    assert found.dtype == np.float32


SOLVERS = [
    diffrax.Tsit5(),
    diffrax.Kvaerno5(),
    diffrax.HalfSolver(diffrax.Euler()),
    diffrax.ReversibleHeun(),
]


@pytest.mark.slow
@pytest.mark.parametrize("solver", SOLVERS, ids=lambda solver: type(solver).__name__)
def test_other_solvers(solver):
    times = np.array([0.0, 0.4, 1.0])
    found = ig.flow(decay, decaying(2.0), times, solver=solver, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(found["x"], np.exp(-2 * times), rtol=2e-3)
    with counted_compilations() as compilations:
        ig.flow(decay, decaying(1.0), 2 * times, solver=solver, rtol=1e-7, atol=1e-9)
    assert compilations == []


@pytest.mark.slow
def test_an_implicit_solver_takes_few_steps_on_a_stiff_flow():
    def field(theta):
        return {"x": theta["rate"] * (1 - theta["x"]), "rate": jnp.zeros(())}

    times, start = np.array([0.0, 1.0]), {"x": 0.0, "rate": 1e4}
    implicit, explicit = (
        ig.flow(field, start, times, solver=solver, rtol=1e-6, atol=1e-8, stats=True)
        for solver in (diffrax.Kvaerno5(), diffrax.Dopri8())
    )
    assert float(implicit[0]["x"][1]) == pytest.approx(1, abs=1e-5)
    assert int(implicit[1].num_steps) < int(explicit[1].num_steps) / 5


# What a flow cost.
@pytest.mark.slow
def test_stats_are_those_of_the_solver():
    """Counted by hand: on x′ = 0 nothing is rejected, and every time takes a step."""
    times = np.array([0.0, 0.4, 1.0])
    still = ig.flow(jnp.zeros_like, jnp.ones(2), times, stats=True)
    assert isinstance(still[1], ig.FlowStats)
    np.testing.assert_array_equal(still[0], 1)
    assert int(still[1].num_rejected) == 0
    assert 2 <= int(still[1].num_steps) == int(still[1].num_accepted) < 20


@pytest.mark.slow
def test_stats_count_what_the_solver_evaluates():
    """A step of Dopri8 evaluates the field 13 times; beside them there are few evaluations."""
    calls = []

    def field(theta, rate):
        jax.debug.callback(lambda _: calls.append(1), theta)
        return -theta * (theta + 1) * jnp.cos(rate * theta)

    _, stats = ig.flow(field, 2.0, np.array([0.0, 0.3, 2.0]), 7.0, stats=True)
    jax.effects_barrier()
    steps, accepted, rejected = map(int, stats)
    assert steps == accepted + rejected
    assert rejected > 0
    assert 0 <= len(calls) - 13 * steps <= 3
    assert jnp.issubdtype(stats.num_steps.dtype, jnp.integer)


@pytest.mark.slow
def test_stats_under_vmap():
    at = jax.vmap(lambda r: ig.flow(decay, decaying(r), jnp.array([0.0, 1.0]), stats=True)[1])
    steps = at(jnp.array([0.1, 50.0])).num_accepted
    assert steps[0] < steps[1]


# A flow that does not arrive says so.
@pytest.mark.slow
def test_a_solution_that_blows_up():
    """θ′ = θ² from 1 is 1/(1 − t): finite before t = 1, and never NaN."""
    before = ig.flow(jnp.square, 1.0, np.array([0.0, 0.5, 0.9]))
    np.testing.assert_allclose(before, [1, 2, 10], rtol=1e-8)
    for times, index in (([0.0, 0.5, 1.5], 2), ([0.0, 1.5, 2.0], 1)):
        with pytest.raises(RuntimeError, match=rf"times\[{index}\] = .* not reached"):
            ig.flow(jnp.square, 1.0, np.array(times))


@pytest.mark.slow
def test_a_solution_that_blows_up_under_jit_and_vmap():
    times = jnp.array([0.0, 0.5, 1.5])

    @jax.jit
    def compiled(start):
        return ig.flow(jnp.square, start, times)

    np.testing.assert_allclose(compiled(0.5), [0.5, 1 / 1.5, 2], rtol=1e-8)
    # Which of the two an error inside a compiled program becomes is JAX's own choice.
    with pytest.raises((RuntimeError, ValueError), match="flow left the finite numbers"):
        jax.block_until_ready(compiled(1.0))
    with pytest.raises(RuntimeError, match="flow left the finite numbers"):
        jax.block_until_ready(
            jax.vmap(lambda p: ig.flow(jnp.square, p, times))(jnp.array([0.5, 1.0]))
        )


@pytest.mark.parametrize("start", [np.nan, np.inf, -np.inf])
def test_a_start_that_is_not_finite(start):
    with pytest.raises(RuntimeError, match=r"times\[0\]"):
        ig.flow(jnp.square, start, np.array([0.0, 0.5, 0.9]))


@pytest.mark.slow
def test_a_field_that_is_not_finite():
    with pytest.raises(RuntimeError, match="flow left the finite numbers"):
        ig.flow(lambda p: jnp.log(p), -1.0, np.array([0.0, 1.0]))


@pytest.mark.slow
def test_stiff_equations_arrive_or_say_that_they_did_not():
    def field(theta):
        return {"x": theta["rate"] * (1 - theta["x"]), "rate": jnp.zeros(())}

    times = np.array([0.0, 1.0])
    arrived = ig.flow(field, {"x": 0.0, "rate": 1e4}, times)
    assert float(arrived["x"][1]) == pytest.approx(1, rel=1e-8)
    with pytest.raises(RuntimeError, match="max_steps=100000"):
        ig.flow(field, {"x": 0.0, "rate": 1e8}, times)


@pytest.mark.slow
def test_max_steps_is_kept():
    times = np.array([0.0, 50.0])
    with pytest.raises(RuntimeError, match="max_steps=5 "):
        ig.flow(decay, decaying(1.0), times, max_steps=5)


@pytest.mark.slow
def test_flow_in_mixed_and_half_precision_is_like_its_parameters():
    """Also where the field computes in a wider dtype, as with float64 data."""

    def field(theta):
        return jax.tree.map(lambda leaf: -jnp.float64(1) * leaf, theta)

    start = {"d": jnp.ones(2), "s": jnp.ones(1, jnp.float32), "h": jnp.ones((), jnp.bfloat16)}
    found = ig.flow(field, start, np.array([0.0, 1.0]))
    for name, leaf in found.items():
        assert leaf.dtype == start[name].dtype
        eps = float(jnp.finfo(leaf.dtype).eps)
        np.testing.assert_allclose(np.asarray(leaf[1], np.float64), np.exp(-1), rtol=max(eps, 1e-9))


# Theorem 3.1 on a loss of two parameters that is no quadratic, in NumPy and SciPy throughout.
def theorem_loss(p):
    a, b = p
    return jnp.cos(a) * b + a**2 * b**2 / 2 + b**4 / 4


def theorem_gradient(p):
    a, b = p
    return np.array([-np.sin(a) * b + a * b**2, np.cos(a) + a**2 * b + b**3])


def theorem_modified_gradient(p, h):
    a, b = p
    mixed = -np.sin(a) + 2 * a * b
    hessian = np.array([[-np.cos(a) * b + b**2, mixed], [mixed, a**2 + 3 * b**2]])
    gradient = theorem_gradient(p)
    return gradient + h / 2 * hessian @ gradient


def follow(gradient, start, time):
    return scipy.integrate.solve_ivp(
        lambda t, p: -gradient(p), (0, time), start, method="DOP853", rtol=1e-13, atol=1e-15
    ).y[:, -1]


@pytest.mark.parametrize(("num_steps", "orders"), [("one step", (2, 3)), ("time one", (1, 2))])
def test_theorem_3_1_orders(num_steps, orders):
    start = np.array([0.8, -0.6])
    counts = np.array([16, 32, 64])
    hs, errors = 1 / counts, []
    for h, count in zip(hs, counts, strict=True):
        steps = 1 if num_steps == "one step" else int(count)
        run = ig.gradient_descent(theorem_loss, tuple(start), h, steps, save_every=steps)
        reached = as_rows(run.params)[-1]
        time = h * steps
        plain = follow(theorem_gradient, start, time)
        modified = follow(lambda p, h=h: theorem_modified_gradient(p, h), start, time)
        errors.append([np.linalg.norm(reached - end) for end in (plain, modified)])
    for k, order in enumerate(orders):
        assert ig.convergence_order(hs, np.array(errors)[:, k]) == pytest.approx(order, abs=0.1)


@pytest.mark.slow
def test_the_flow_of_the_modified_loss_is_what_gradient_descent_follows():
    """The same with `flow` and `modified_loss`: at one h, the modified flow is far closer."""
    start, h = (0.8, -0.6), 0.05
    run = ig.gradient_descent(theorem_loss, start, h, 20, save_every=20)
    field = ig.gradient_field(ig.modified_loss(theorem_loss, h))
    end = [leaf[-1] for leaf in ig.flow(field, start, np.array([0.0, 1.0]))]
    expected = follow(lambda p: theorem_modified_gradient(p, h), np.array(start), 1.0)
    np.testing.assert_allclose(end, expected, rtol=1e-9)
    plain = follow(theorem_gradient, np.array(start), 1.0)
    reached = as_rows(run.params)[-1]
    assert np.linalg.norm(reached - end) < np.linalg.norm(reached - plain) / 10
