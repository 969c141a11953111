"""The central flow: closed forms, gradient descent at the edge, and what it refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import lambertw

import igrlib as ig
from igrlib.edge import central_flow
from igrlib.edge._complementarity import solve_complementarity
from igrlib.edge._eigenvectors import top_eigenvectors

H = 0.5
EDGE = 2 / H


def close(found, expected, **tolerances):
    np.testing.assert_allclose(found, expected, **tolerances)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("k", "dtype"),
    [(1, np.float64), (2, np.float32), (5, np.float64), (8, np.float32), (8, np.float64)],
)
def test_the_complementarity_problem(k, dtype):
    """Its conditions, looked at with NumPy; the solution is the only one."""
    rng = np.random.default_rng(k)
    count = k * (k + 1) // 2
    problems = []
    for _ in range(20):
        a, maps = rng.normal(size=(k, k)), rng.normal(size=(count + 3, k, k))
        maps = maps + maps.transpose(0, 2, 1)
        problems.append((a + a.T, np.einsum("nij,nkl->ijkl", maps, maps)))
    a, gram = (np.array(part, dtype) for part in zip(*problems, strict=True))
    found = jax.jit(jax.vmap(solve_complementarity))(a, gram)
    assert found.converged.all()
    x = np.asarray(found.x, float)
    s = a + np.einsum("nijkl,nkl->nij", gram, x)
    small = 2e4 * np.finfo(dtype).eps
    assert np.linalg.eigvalsh(x).min() > -small * np.abs(x).max()
    assert np.linalg.eigvalsh(s).min() > -small * np.abs(a).max()
    assert np.abs(x @ s).max() < small * np.abs(a).max() * np.abs(x).max()
    assert (np.linalg.eigvalsh(x).max(axis=1) > 0.01).any()


@pytest.mark.slow
def test_a_complementarity_problem_without_a_solution():
    a = jnp.diag(jnp.array([1.0, -1.0]))
    first = jnp.diag(jnp.array([1.0, 0.0]))
    assert not solve_complementarity(a, jnp.einsum("ij,kl->ijkl", first, first)).converged


@pytest.mark.slow
@pytest.mark.parametrize("m", [3, 60])
def test_the_top_eigenvectors(m):
    rng = np.random.default_rng(m)
    matrix = rng.normal(size=(m, m))
    matrix = matrix + matrix.T - 10 * np.eye(m)  # Those of m = 3 are negative.
    k = min(m, 4)
    found = top_eigenvectors(
        lambda v: jnp.asarray(matrix) @ v,
        jnp.asarray(np.linalg.qr(rng.normal(size=(m, k)))[0]),
        lambda values, residuals: residuals > 1e-9,
        200,
    )
    close(found.values, np.linalg.eigvalsh(matrix)[::-1][:k], rtol=1e-10)
    vectors = np.asarray(found.vectors)
    close(matrix @ vectors, vectors * np.asarray(found.values), atol=1e-8)
    close(vectors.T @ vectors, np.eye(k), atol=1e-12)


ALONG = np.array([0.0, 1.0, 3.0, 6.0])


def curved(theta, drift):
    """λ = y + w²/2 of x at x = 0, where the loss is −drift·y."""
    x, y, w = theta
    return (y + w**2 / 2) * x**2 / 2 - drift * y


@pytest.mark.slow
def test_along_a_curved_edge_with_the_order_of_the_substeps():
    """The flow is −∇V projected to y + w²/2 = 2/h: w′ = −r·w/(1 + w²), w²·exp(w²) = c·exp(−2rt)."""
    drift = 0.3
    expected = np.sqrt(lambertw(np.exp(1 - 2 * drift * ALONG)).real)
    substeps, errors = np.array([2, 4, 8]), []
    for count in substeps:
        path = central_flow(
            curved, np.array([0.0, EDGE - 0.5, 1.0]), H, ALONG, drift, num_directions=1,
            substeps=int(count),
        )  # fmt: skip
        errors.append(np.abs(path.params[:, 2] - expected).max())
        close(path.eigenvalues[:, 0], EDGE, rtol=1e-4)
    assert ig.convergence_order(1 / substeps, np.array(errors)) == pytest.approx(2, abs=0.1)
    # λ′ = r − ½σ·(1 + w²) − r·0 = 0 along the edge.
    sigma = 2 * drift / (1 + expected**2)
    close(path.variances[:, 0], sigma, rtol=1e-2)
    close(path.params[:, 0], 0, atol=1e-12)
    close(path.loss, -drift * path.params[:, 1], rtol=1e-12)
    close(path.predicted_loss, path.loss + sigma / H, rtol=1e-2)
    close(path.predicted_squared_gradient, drift**2 + EDGE**2 * sigma, rtol=1e-2)


@pytest.mark.slow
def test_into_the_edge_and_out_of_it():
    """For V = −y(1 − w) − s·w: at y = 2/h w′ = s − 2/h, σ = 2(1 − w), until w = 1; then away."""
    speed, times = 1.0, np.array([0.0, 1.0, 1.6])

    def loss(theta, s):
        x, y, w = theta
        return y * x**2 / 2 - y * (1 - w) - s * w

    path = central_flow(
        loss, np.array([0.0, EDGE, 0.0]), H, times, EDGE + speed, num_directions=1, substeps=8
    )
    close(path.params[:2, 1], EDGE, rtol=1e-6)
    close(path.params[1, 2], 1, rtol=2e-3)
    close(path.variances[0, 0], 2, rtol=5e-2)
    # y″ = −w′ = y − s, from y = 2/h, y′ = 0.
    late = times[2] - 1
    close(path.params[2, 1], EDGE + speed - speed * np.cosh(late), atol=2e-3)
    close(path.params[2, 2], 1 + speed * np.sinh(late), atol=2e-3)
    assert path.variances[2, 0] < 1e-20
    close(path.predicted_loss[2], path.loss[2], rtol=1e-12)


PULL = np.array([0.3, 0.2, 0.05])
TIMES = np.array([0.0, 0.5, 9.0, 10.0])


def two(params, pull):
    """The Hessian of x is Y = ((y_0, y_2), (y_2, y_1)), the loss at x = 0 is −pull·y."""
    x, y = params["x"], params["y"]
    hessian = jnp.stack([jnp.stack([y[0], y[2]]), jnp.stack([y[2], y[1]])])
    return x @ hessian @ x / 2 - pull @ y


@pytest.mark.slow
def test_two_directions_at_the_edge():
    """At Y = (2/h)·1 it is Y′ = 0: Σ = ((2r_0, r_2), (r_2, 2r_1))."""
    start = {"x": np.zeros(2), "y": np.array([3.0, 3.5, 0.1])}
    path = central_flow(two, start, H, TIMES, PULL, num_directions=2, save_directions=True)
    close(path.params["y"][1], start["y"] + 0.5 * PULL, rtol=1e-10)  # Below the edge.
    close(path.params["y"][2:], np.tile([EDGE, EDGE, 0.0], (2, 1)), atol=1e-6)
    directions, variances = path.directions["x"][-1], path.variances[-1]
    sigma = np.einsum("ki,k,kj->ij", directions, variances, directions)
    close(sigma, [[2 * PULL[0], PULL[2]], [PULL[2], 2 * PULL[1]]], rtol=1e-4)
    close(path.directions["y"][-1], 0, atol=1e-8)
    assert np.diff(variances)[0] < 0
    assert (path.variances[:2] == 0).all()


def test_where_the_covariance_would_not_be_positive_one_direction_leaves():
    """r_2² > 4·r_0·r_1: Σ of rank one, and the other eigenvalue falls."""
    pull = np.array([0.3, 0.2, 0.8])
    start = {"x": np.zeros(2), "y": np.array([EDGE, EDGE, 0.0])}
    path = central_flow(two, start, H, TIMES, pull, num_directions=2, save_directions=True)
    assert (path.variances[1:, 1] < 1e-8).all()
    assert (path.variances[:, 0] > 0.1).all()
    close(path.eigenvalues[:, 0], EDGE, rtol=1e-3)
    assert path.eigenvalues[1, 1] < EDGE - 0.1


@pytest.mark.slow
def test_far_from_the_edge_it_is_gradient_flow():
    def loss(theta, drift):
        x, y, w = theta
        return curved(theta, drift) + (w - x) ** 2 / 2 + 0.1 * jnp.cos(y + x)

    start, times = np.array([0.3, 0.5, 0.2]), np.array([0.0, 1.0, 2.0])
    expected = ig.flow(ig.gradient_field(loss), start, times, 0.3)
    substeps, errors = np.array([4, 8, 16]), []
    for count in substeps:
        path = central_flow(loss, start, H, times, 0.3, num_directions=2, substeps=int(count))
        errors.append(np.abs(path.params - expected).max())
    assert errors[-1] < 1e-4
    assert ig.convergence_order(1 / substeps, np.array(errors)) == pytest.approx(2, abs=0.2)


def test_gradient_descent_at_the_edge_averaged_over_windows():
    """λ = y rises to 2/h; there the steps oscillate about it, in cycles of about 300 steps."""
    drift, steps = 2e-3, 6000
    start = np.array([0.02, EDGE, 0.3])
    x, y, w = start
    seen = []
    for _ in range(steps):
        lam = y + w**2 / 2
        gradient = np.array([lam * x, x**2 / 2 - drift, w * x**2 / 2])
        seen.append([x, y, w, lam * x**2 / 2 - drift * y, gradient @ gradient])
        x, y, w = np.array([x, y, w]) - H * gradient
    seen = np.array(seen)
    start[1] = EDGE - 0.3**2 / 2
    # Of the second half; what the flow says there hardly moves.
    mean = seen[steps // 2 :].mean(axis=0)
    times = steps * H * np.array([0, 0.5, 0.75, 1])
    path = central_flow(curved, np.array([0.0, *start[1:]]), H, times, drift, num_directions=1)
    close(mean[2], path.params[2, 2], atol=5e-3)
    close((seen[steps // 2 :, 0] ** 2).mean(), path.variances[2, 0], rtol=0.1)
    close(mean[4], path.predicted_squared_gradient[2], rtol=0.1)
    apart = np.abs(mean[3] - np.array([path.predicted_loss[2], path.loss[2]]))
    assert apart[0] < 0.05 * apart[1]


@pytest.mark.slow
def test_a_network_in_float32():
    rng = np.random.default_rng(0)
    inputs = jnp.asarray(rng.normal(size=(40, 8)), jnp.float32)
    labels = jnp.asarray(rng.integers(0, 2, 40) * 2 - 1, jnp.float32)
    params = {
        "in": jnp.asarray(rng.normal(size=(8, 30)) / 3, jnp.float32),
        "out": jnp.asarray(rng.normal(size=30) / 5, jnp.float32),
    }

    def loss(p, inputs, labels):
        return jnp.mean((jnp.tanh(inputs @ p["in"]) @ p["out"] - labels) ** 2)

    h = 0.2
    path = central_flow(loss, params, h, jnp.arange(0, 25.0, 5), inputs, labels, num_directions=3)
    assert path.params["in"].shape == (5, 8, 30)
    assert path.params["out"].dtype == path.eigenvalues.dtype == jnp.float32
    assert path.directions is None
    assert float(path.eigenvalues.max()) < 2 / h * 1.002
    assert float(path.variances[-1, 0]) > 0
    last = jax.tree.map(lambda leaf: leaf[-1], path.params)
    expected = ig.curvature.hessian_eigenvalues(loss, 3)(last, inputs, labels).value
    close(path.eigenvalues[-1], expected, rtol=1e-3)


def polynomial(x, square, fourth):
    return square * x**2 / 2 + fourth * x**4 / 12


def of_polynomial(*factors):
    """With more directions than parameters."""
    return central_flow(polynomial, 1.0, H, np.array([0.0, 5.0]), *factors, num_directions=2)


@pytest.mark.slow
def test_more_directions_than_parameters():
    path = of_polynomial(0.0, 1.0)
    close(path.eigenvalues[:, 0], path.params**2, rtol=1e-12)
    assert np.isnan(path.eigenvalues[:, 1]).all()
    assert (path.variances == 0).all()


FAILURES = {
    "one more direction": (
        lambda: central_flow(
            two,
            {"x": np.zeros(2), "y": np.array([3.9, 3.95, 0.0])},
            H,
            np.array([0.0, 3.0]),
            PULL,
            num_directions=1,
        ),
        ValueError,
        r"num_directions=1 are too few.*take more.*\(at time ",
    ),
    "a start beyond the edge": (
        lambda: central_flow(
            curved, np.array([0.0, EDGE + 1, 0.0]), H, ALONG, 0.3, num_directions=1
        ),
        ValueError,
        "params must not lie beyond the edge.*smaller learning_rate",
    ),
    "a blow-up": (
        lambda: of_polynomial(0.0, -12.0),
        RuntimeError,
        "left the finite numbers.*take more substeps than 2",
    ),
    "no third derivatives": (
        lambda: of_polynomial(1.001 * EDGE, 0.0),
        RuntimeError,
        "no Σ that keeps the eigenvalues below 2/h",
    ),
    "no eigenvectors": (
        lambda: central_flow(
            lambda x: x @ (jnp.linspace(0, 1, 50) * x),
            np.ones(50),
            0.1,
            np.array([0.0, 5.0]),
            num_directions=2,
            tolerance=1e-12,
            max_iterations=1,
        ),
        RuntimeError,
        "no eigenvectors in max_iterations=1; raise it, or tolerance",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", FAILURES)
def test_what_it_says_when_it_fails(name):
    call, kind, message = FAILURES[name]
    with pytest.raises(kind, match=message):
        call()
