"""igrlib.comparison against closed forms on quadratics, dense Hessians, and reports by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import counted_compilations, cubic_gradient_numpy, cubic_hessian_numpy, cubic_loss

import igrlib as ig

LAMBDAS = np.array([3.0, 1.0, 0.5])
START = np.array([1.0, -2.0, 0.5])
TREE = {"a": jnp.asarray(START[:2]), "b": [jnp.asarray(START[2])]}


def quadratic(params, lambdas=LAMBDAS):
    """E = Σ λθ²/2 over a pytree."""
    theta = jnp.concatenate([jnp.ravel(leaf) for leaf in jax.tree.leaves(params)])
    return jnp.sum(lambdas * theta**2) / 2


def closed_forms(h, steps, lambdas=LAMBDAS):
    """The steps, the flow of E and that of E + (h/4)‖∇E‖² at times nh."""
    n = np.asarray(steps)[:, None]
    return (
        START * (1 - h * lambdas) ** n,
        START * np.exp(-lambdas * h * n),
        START * np.exp(-lambdas * (1 + h * lambdas / 2) * h * n),
    )


# Runs on the quadratic save 11 steps where they can: the programs of their flows are the same.
@pytest.mark.slow
@pytest.mark.parametrize(("h", "num_steps", "save_every"), [(0.1, 10, 1), (0.2, 39, 4)])
def test_a_quadratic_is_its_closed_forms(h, num_steps, save_every):
    found = ig.compare(quadratic, TREE, h, num_steps, save_every=save_every)
    assert isinstance(found, ig.Comparison)
    n = np.append(np.arange(0, num_steps, save_every), num_steps)
    steps, flow, modified = closed_forms(h, n)
    np.testing.assert_array_equal(found.steps, n)
    np.testing.assert_allclose(found.times, h * n)
    np.testing.assert_allclose(found.losses, (LAMBDAS * steps**2).sum(1) / 2, rtol=1e-12)
    gradient_norms = np.linalg.norm(LAMBDAS * steps, axis=1)
    np.testing.assert_allclose(found.gradient_norms, gradient_norms, rtol=1e-12)
    np.testing.assert_allclose(found.scaled_curvature, 3 * h, rtol=1e-10)
    np.testing.assert_allclose(found.moved, np.linalg.norm(steps - START, axis=1), rtol=1e-12)
    for distance, path in ((found.from_gradient_flow, flow), (found.from_modified_flow, modified)):
        expected = np.linalg.norm(steps - path, axis=1)
        np.testing.assert_allclose(distance, expected, rtol=1e-6, atol=1e-10)
    assert found.outside_from is None
    far, near = (np.linalg.norm(steps[-1] - path[-1]) for path in (flow, modified))
    assert f"{far / near:.3g} times nearer to the modified flow" in words(found)


@pytest.mark.slow
def test_about_twenty_steps_are_saved():
    for num_steps, saved in ((1, 2), (20, 21), (21, 12), (1000, 21)):
        found = jax.eval_shape(lambda n=num_steps: ig.compare(quadratic, TREE, 0.1, n))
        assert found.steps.shape == (saved,)


@pytest.mark.slow
def test_the_curvature_is_that_of_the_dense_hessian():
    """On a loss that is no quadratic, at every saved step."""
    h, theta, expected = 0.05, np.array([0.5, -0.3, 0.2]), []
    start = jnp.asarray(theta)
    for _ in range(7):
        expected.append(h * np.linalg.eigvalsh(cubic_hessian_numpy(theta))[-1])
        theta = theta - h * cubic_gradient_numpy(theta)
    found = ig.compare(cubic_loss, start, h, 6)
    np.testing.assert_allclose(found.scaled_curvature, expected, rtol=1e-8)


@pytest.mark.slow
def test_the_distances_have_the_orders_of_the_theorem():
    """At a fixed time: 1 from gradient flow and 2 from the modified flow."""
    counts, start = np.array([16, 32, 64]), jnp.array([0.5, 0.3, 0.2])
    runs = [ig.compare(cubic_loss, start, 0.8 / n, int(n), save_every=int(n)) for n in counts]
    ends = [[run.from_gradient_flow[-1], run.from_modified_flow[-1]] for run in runs]
    for k, order in enumerate((1, 2)):
        fitted = ig.convergence_order(0.8 / counts, np.array(ends)[:, k])
        assert fitted == pytest.approx(order, abs=0.1)


def words(found):
    """The summary in one line."""
    return " ".join(found.summary.split())


def test_a_quadratic_beyond_one_is_outside_the_theory():
    found = ig.compare(quadratic, TREE, 0.4, 10)
    assert found.outside_from == 0
    assert "1 or more at 11 of 11 saved steps" in words(found)
    assert "outside the theory from step 0 on" in words(found)
    assert "above 2" not in words(found)


def test_a_run_that_diverges_says_so():
    """Factors 1 − 2.4: the steps overflow, and both flows go to 0."""
    found = ig.compare(quadratic, TREE, 0.8, 3000, save_every=300)
    with np.errstate(over="ignore"):
        steps, *_ = closed_forms(0.8, found.steps)
        lost = ~np.isfinite(np.sum(steps**2, axis=1))
    assert lost.any()
    np.testing.assert_array_equal(np.isnan(found.from_gradient_flow), lost)
    np.testing.assert_array_equal(np.isnan(found.from_modified_flow), lost)
    np.testing.assert_allclose(
        found.from_gradient_flow[~lost][1:], np.linalg.norm(steps[~lost][1:], axis=1), rtol=1e-9
    )
    report = words(found)
    assert "above 2, where descent on a quadratic is unstable" in report
    assert f"left the finite numbers by step {found.steps[np.argmax(lost)]}" in report
    assert "not solved" not in report


@pytest.mark.slow
def test_a_flow_that_blows_up_leaves_the_steps():
    """θ′ = θ² from 1 is 1/(1 − t), and the steps go past t = 1."""
    found = ig.compare(lambda p: -(p**3) / 3, 1.0, 0.25, 6)
    theta = [1.0]
    for _ in range(6):
        theta.append(theta[-1] + 0.25 * theta[-1] ** 2)
    theta = np.array(theta)
    np.testing.assert_allclose(found.losses, -(theta**3) / 3, rtol=1e-12)
    t = np.arange(4) * 0.25
    expected = np.abs(theta[:4] - 1 / (1 - t))
    np.testing.assert_allclose(found.from_gradient_flow[:4], expected, rtol=1e-7, atol=1e-10)
    assert np.isnan(found.from_gradient_flow[5:]).all()
    assert "Gradient flow was not solved to t = 1.25 (step 5)" in words(found)


@pytest.mark.slow
def test_a_flow_that_needs_too_many_steps_leaves_the_steps():
    found = ig.compare(quadratic, TREE, 0.1, 10, max_steps=5)
    steps, *_ = closed_forms(0.1, found.steps)
    np.testing.assert_allclose(found.losses, (LAMBDAS * steps**2).sum(1) / 2, rtol=1e-12)
    assert np.isnan(found.from_modified_flow[-1])
    assert "The modified flow was not solved to t" in words(found)
    assert "more than max_steps steps" in words(found)


@pytest.mark.slow
def test_a_relu_network_is_compared():
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(16, 3)), rng.normal(size=16)
    params = {
        name: jnp.asarray(rng.normal(size=shape) / 2, jnp.float32)
        for name, shape in {"w": (3, 8), "v": (8,)}.items()
    }

    def loss(p, x, y):
        return jnp.mean((jax.nn.relu(x @ p["w"]) @ p["v"] - y) ** 2) / 2

    found = ig.compare(loss, params, 0.05, 40, x, y)
    assert found.losses[-1] < found.losses[0]
    assert np.isfinite(found.scaled_curvature).all()
    assert "nearer to" in words(found)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_lower_precision_is_within_its_tolerance(dtype):
    tree = jax.tree.map(lambda leaf: leaf.astype(dtype), TREE)
    found = ig.compare(lambda p: quadratic(p, LAMBDAS.astype(np.float32)), tree, 0.1, 8)
    steps, flow, _ = closed_forms(0.1, found.steps)
    expected = np.linalg.norm(steps - flow, axis=1)
    eps = float(jnp.finfo(dtype).eps)
    np.testing.assert_allclose(found.from_gradient_flow, expected, atol=10 * max(eps, 1e-5))
    np.testing.assert_allclose(found.tolerance[0], max(eps, 1e-5) * np.linalg.norm(START), rtol=0.1)


@pytest.mark.slow
def test_arguments_and_aux():
    batch = {"lambdas": 2 * LAMBDAS}

    def loss(params, batch, scale):
        value = scale * quadratic(params, batch["lambdas"])
        return value, {"seen": value}

    found = ig.compare(loss, TREE, 0.05, 10, batch, 0.5, has_aux=True)
    plain = ig.compare(quadratic, TREE, 0.05, 10)
    for one, other in zip(found, plain, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12)


@pytest.mark.slow
def test_other_values_compile_nothing():
    def loss(params, lambdas):
        return quadratic(params, lambdas)

    ig.compare(loss, TREE, 0.1, 6, LAMBDAS)
    other = jax.tree.map(lambda leaf: 2 * leaf, TREE)
    with counted_compilations() as compilations:
        found = ig.compare(loss, other, 0.05, 6, 2 * LAMBDAS, rtol=1e-11)
    assert compilations == []
    steps, flow, _ = closed_forms(0.05, found.steps, 2 * LAMBDAS)
    expected = 2 * np.linalg.norm(steps - flow, axis=1)
    np.testing.assert_allclose(found.from_gradient_flow, expected, rtol=1e-6, atol=1e-10)


@pytest.mark.slow
def test_under_jit_and_vmap():
    """And a report of what is still traced, or of several runs, is no error."""
    reports = []

    @jax.jit
    def ends(h):
        found = ig.compare(quadratic, TREE, h, 5)
        reports.append(str(found))
        return found

    found = ends(0.1)
    steps, _, modified = closed_forms(0.1, found.steps)
    expected = np.linalg.norm(steps - modified, axis=1)
    np.testing.assert_allclose(found.from_modified_flow, expected, rtol=1e-6, atol=1e-10)
    assert reports[0].startswith("Comparison(")
    both = jax.vmap(ends)(jnp.array([0.1, 0.05]))
    np.testing.assert_allclose(both.from_modified_flow[0], expected, rtol=1e-6, atol=1e-10)
    assert str(both).startswith("Comparison(")


# Reports, by hand.
def by_hand(**changes):
    columns = {
        "steps": np.array([0, 10, 20, 30]),
        "times": np.array([0.0, 1.0, 2.0, 3.0]),
        "losses": np.array([4.0, 3.0, 2.0, 1.0]),
        "gradient_norms": np.ones(4),
        "scaled_curvature": np.array([0.2, 0.4, 0.6, 0.8]),
        "moved": np.array([0.0, 1.0, 2.0, 3.0]),
        "from_gradient_flow": np.array([0.0, 0.1, 0.2, 0.3]),
        "from_modified_flow": np.array([0.0, 0.01, 0.02, 0.05]),
        "tolerance": np.full(4, 1e-6),
    }
    return ig.Comparison(**{name: jnp.asarray(v) for name, v in (columns | changes).items()})


NAN = np.nan
REPORTS = {
    "inside": (
        {},
        None,
        "h·λ_max is between 0.2 and 0.8: below 1, as the theory asks, at all saved steps. "
        "At step 30: 0.3 from gradient flow and 0.05 from the modified flow, after 3 moved: "
        "6 times nearer to the modified flow.",
    ),
    "outside at the end": (
        {"scaled_curvature": [0.5, 0.5, 1.0, 2.5]},
        20,
        "h·λ_max is between 0.5 and 2.5: its size is 1 or more at 2 of 4 saved steps. The run is "
        "outside the theory from step 20 on. "
        "h·λ_max is above 2, where descent on a quadratic is unstable, at 1 of 4 saved steps, "
        "first at step 30. "
        "At step 10: 0.1 from gradient flow and 0.01 from the modified flow, after 1 moved: "
        "10 times nearer to the modified flow. "
        "At step 30, outside the theory: 0.3 from gradient flow and 0.05 from the modified flow, "
        "after 3 moved: 6 times nearer to the modified flow.",
    ),
    "negative": (
        {"scaled_curvature": [-0.5, -0.5, -0.5, -1.5]},
        30,
        "h·λ_max is between -1.5 and -0.5: its size is 1 or more at 1 of 4 saved steps.",
    ),
    "nearer to gradient flow": (
        {"from_modified_flow": [0.0, 0.1, 0.2, 0.6]},
        None,
        "0.6 from the modified flow, after 3 moved: 2 times nearer to the gradient flow.",
    ),
    "equally near": ({"from_modified_flow": [0, 0, 0, 0.3001]}, None, "moved: equally near."),
    "one within the tolerance": (
        {"tolerance": np.full(4, 0.1)},
        None,
        "nearer to the modified flow, which is within the tolerance 0.1.",
    ),
    "both within the tolerance": (
        {"tolerance": np.full(4, 0.4)},
        None,
        "both within the tolerance 0.4.",
    ),
    "modified flow lost": (
        {"from_modified_flow": [0.0, 0.01, NAN, NAN]},
        None,
        "At step 10: 0.1 from gradient flow and 0.01 from the modified flow, after 1 moved: "
        "10 times nearer to the modified flow. "
        "The modified flow was not solved to t = 2 (step 20): it left the finite numbers or needed "
        "more than max_steps steps. Distances from it are NaN from there on.",
    ),
    "steps lost": (
        {
            "moved": [0.0, NAN, NAN, NAN],
            "from_gradient_flow": [0.0, NAN, NAN, NAN],
            "from_modified_flow": [0.0, NAN, NAN, NAN],
            "scaled_curvature": [0.5, NAN, NAN, NAN],
        },
        None,
        "h·λ_max is 0.5: below 1, as the theory asks, at all that are finite. "
        "No step can be compared with both flows. "
        "The steps, or their squares, left the finite numbers by step 10: distances are NaN from "
        "there on.",
    ),
    "no curvature": (
        {"scaled_curvature": np.full(4, NAN)},
        None,
        "h·λ_max is finite at no saved step: nothing says whether the theory holds.",
    ),
    "some curvature": (
        {"scaled_curvature": [0.5, NAN, 0.5, NAN]},
        None,
        "λ_max is not finite at 2 of 4 saved steps, first at step 10.",
    ),
}


@pytest.mark.parametrize("name", REPORTS)
def test_a_report_says_what_was_seen(name):
    changes, outside_from, said = REPORTS[name]
    found = by_hand(**changes)
    assert found.outside_from == outside_from
    assert said in words(found)
    if name in ("inside", "outside at the end", "modified flow lost", "steps lost"):
        start = 0 if "h·λ_max" in said else words(found).index(said)
        assert words(found)[start:] == said


def test_a_report_is_a_table_and_the_summary():
    lines = str(by_hand()).splitlines()
    assert lines[0].split()[:3] == ["step", "t", "loss"]
    assert lines[2].split() == ["10", "1", "3", "1", "0.4", "1", "0.1", "0.01"]
    assert "\n".join(lines[5:]) == by_hand().summary
    assert all(len(line) <= 88 for line in lines)


@pytest.mark.slow
def test_a_table_is_short_and_has_both_ends():
    report = str(ig.compare(quadratic, TREE, 0.01, 100, save_every=1))
    rows = [line.split()[0] for line in report.splitlines()[1:] if line.strip()[0].isdigit()]
    assert rows == [str(n) for n in range(0, 101, 10)]
