"""Every finding of the book's errata, derived again and checked by a way of its own.

Each test holds one section of book/errata.md, which names it. What is checked is the paper's
statement, through igrlib where igrlib implements it; what it is held against is SymPy, NumPy in
float64 or SciPy's integrators. Three tolerances recur: 1e-12 for identities, 5e-4 for numbers
quoted to three decimals, and 0.15 for a fitted order.
"""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy as sp
from helpers.paper_recursion import READINGS, paper_corrections
from scipy.integrate import solve_ivp
from scipy.stats import rankdata

import igrlib as ig
from igrlib import geometry, ntk, two_parameter

A, B, H = sp.symbols("a b h", real=True)
PLANE = sp.Matrix([A, B])
TWO_PARAMETER = (sp.Rational(3, 5) - A * B) ** 2 / 2
START_I, START_II = np.array([2.8, 3.5]), np.array([75.0, 74.925])
WIDTHS = (50, 100, 200, 400, 800, 1600)
PRINTED_COUNTS = (49960, 119910, 319810, 959610, 3199210, 11518410)
RATES = (0.5, 0.1, 0.05, 0.01, 0.005, 0.001, 0.0005)


def two_parameter_loss(theta):
    return (0.6 - theta[0] * theta[1]) ** 2 / 2


def pair_loss(params):
    return two_parameter.loss(params, 1.0, 0.6)


def np_loss(theta):
    return (0.6 - theta[0] * theta[1]) ** 2 / 2


def np_gradient(theta, rate=0.0):
    """∇(E + rate·(a² + b²)·E) for x = 1, y = 0.6, by hand."""
    a, b = theta
    residual, length = 0.6 - a * b, a * a + b * b
    stretch = -residual * (1 + rate * length)
    return np.array([stretch * b + rate * a * residual**2, stretch * a + rate * b * residual**2])


def np_curvature(theta, rate=0.0):
    """The largest eigenvalue of the Hessian of that loss, by central differences."""
    step = 1e-6 * np.abs(theta).max()
    columns = [
        (np_gradient(theta + step * e, rate) - np_gradient(theta - step * e, rate)) / (2 * step)
        for e in np.eye(2)
    ]
    return np.linalg.eigvalsh(np.column_stack(columns))[-1]


def integrate(field, start, time, method="DOP853", rtol=3e-14):
    solution = solve_ivp(
        lambda t, theta: np.asarray(field(theta)),
        (0, time),
        np.asarray(start),
        method=method,
        rtol=rtol,
        atol=1e-16 if method == "DOP853" else 1e-12,
    )
    assert solution.success
    return solution.y


def path_of_flow(start, rate=0.0):
    """The flow of E + rate·R_IG from `start` to its rest, for the paper's model: points (2, n)."""
    return _path_of_flow(tuple(start), rate)


@functools.cache
def _path_of_flow(start, rate):
    path = integrate(lambda t: -np_gradient(t, rate), start, 60, "Radau", 1e-10)
    assert abs(path[:, -1].prod() - 0.6) < 1e-9
    return path


def end_of_flow(start, rate=0.0):
    return path_of_flow(start, rate)[:, -1]


def end_of_descent(start, h, num_steps=20_000):
    """Where gradient descent with step h from `start` comes to rest, for the paper's model."""
    run = ig.gradient_descent(pair_loss, two_parameter.Params(*start), h, num_steps, save_every=10)
    end = np.array([run.params.a[-1], run.params.b[-1]])
    assert abs(end.prod() - 0.6) < 1e-9
    return end


def one_step_orders(field, truncations, start, steps):
    """Fitted one-step errors of truncated fields θ, h ↦ f̃ against θ + h·field(θ)."""
    orders = []
    for truncated in truncations:
        errors = [
            np.linalg.norm(
                integrate(lambda t, f=truncated, h=h: f(t, h), start, h)[:, -1]
                - (start + h * np.asarray(field(start)))
            )
            for h in steps
        ]
        orders.append(ig.convergence_order(steps, errors))
    return orders


def sp_gradient(function):
    return sp.Matrix([sp.diff(function, v) for v in PLANE])


def sp_field(loss):
    return -sp_gradient(loss)


@functools.cache
def hairer_lubich_wanner(loss, order):
    """f_0 … f_order from f_l = −Σ_{n≥2} (1/n!) Σ_{k₁+…+k_n=l+1−n} D_{k₁}…D_{k_{n−1}} f_{k_n}."""
    fields = [sp.ImmutableMatrix(sp_field(loss))]

    def nested(n, total):
        """Σ over k₁ + … + k_n = total of D_{k₁}…D_{k_{n−1}} f_{k_n}."""
        if n == 1:
            return fields[total]
        return sum(
            (nested(n - 1, total - k).jacobian(PLANE) * fields[k] for k in range(total + 1)),
            sp.zeros(2, 1),
        )

    for level in range(1, order + 1):
        terms = [nested(n, level + 1 - n) / math.factorial(n) for n in range(2, level + 2)]
        fields.append(sp.ImmutableMatrix((-sum(terms, sp.zeros(2, 1))).applyfunc(sp.expand)))
    return tuple(fields)


def test_parameter_count_cancels():
    rng = np.random.default_rng(0)
    used, h = rng.standard_normal(5), 0.3

    def loss(params):
        return jnp.sum(jnp.sin(params["used"]) * jnp.arange(1.0, 6.0))

    expected = h / 4 * np.sum((np.cos(used) * np.arange(1.0, 6.0)) ** 2)
    regularizers = []
    for idle in (0, 5, 45):
        params = {"used": jnp.asarray(used), "idle": jnp.ones(idle)}
        rate = ig.regularization_rate(h, ig.num_params(params))
        regularizers.append(float(ig.implicit_gradient_regularizer(loss)(params)))
        assert rate * regularizers[-1] == pytest.approx(expected, rel=1e-12)
        assert ig.modified_loss(loss, h)(params) - loss(params) == pytest.approx(expected)
    # The parameters that do nothing made R_IG 2 and 10 times smaller.
    assert regularizers[0] / np.array(regularizers) == pytest.approx([1, 2, 10], rel=1e-12)


def rank_correlation(first, second):
    first, second = rankdata(first), rankdata(second, axis=-1)
    first, second = first - first.mean(), second - second.mean(axis=-1, keepdims=True)
    return second @ first / np.linalg.norm(first) / np.linalg.norm(second, axis=-1)


@pytest.mark.parametrize(
    ("decades", "expected"), [(0.0, -0.61), (0.5, -0.53), (1.0, -0.39), (1.5, -0.29)]
)
def test_noise_alone_correlates_with_the_rate(decades, expected):
    counts = np.repeat(PRINTED_COUNTS, len(RATES))
    rates = np.array([ig.regularization_rate(h, m) for m in PRINTED_COUNTS for h in RATES])
    squared_norms = 10 ** (decades * np.random.default_rng(1).standard_normal((4000, 42)))
    correlation = rank_correlation(rates, squared_norms / counts)
    assert correlation.mean() == pytest.approx(expected, abs=0.01)
    if decades:
        # Of the squared gradient norm itself λ knows nothing.
        assert rank_correlation(rates, squared_norms).mean() == pytest.approx(0, abs=0.01)


def test_smoothness_is_an_assumption():
    # One ReLU unit max(w, 0), target −1. The flow ẇ = −Ẽ′, taken on either side of the kink, comes
    # to rest there, since E and Ẽ are constant below; Ẽ itself jumps. A step jumps past the kink.
    def loss(w):
        return (1 + jax.nn.relu(w)) ** 2 / 2

    steps = np.geomspace(1e-3, 1e-1, 6)
    errors = []
    for h in steps:
        slope = jax.grad(ig.modified_loss(loss, h))
        assert slope(jnp.array(1e-9)) > 1
        assert slope(jnp.array(-1e-9)) == 0
        modified = ig.modified_loss(loss, h)
        jump = modified(jnp.array(1e-12)) - modified(jnp.array(-1e-12))
        assert jump == pytest.approx(h / 4, rel=1e-6)
        # Ẽ = (1 + h/2)·E above the kink: the flow from h/2 reaches it at this time.
        assert math.log(1 + h / 2) / (1 + h / 2) < h
        end = ig.gradient_descent(loss, jnp.array(h / 2), h, 1).params[-1]
        errors.append(abs(float(end) - 0.0))
    assert ig.convergence_order(steps, errors) == pytest.approx(1, abs=0.05)
    assert errors == pytest.approx(steps / 2 + steps**2 / 2)


def test_first_order_is_never_the_optimal_truncation_of_a_quadratic():
    # E = θ²/2: f̃ = −Σ_k h^k/(k+1)·θ, so a step of size z = hλ maps 1 to
    # exp(−Σ_{k≤N} z^{k+1}/(k+1)), where the step itself maps it to 1 − z.
    corrections = ig.euler_corrections(jnp.negative, 5)(jnp.array(1.0))
    assert np.array(corrections) == pytest.approx([-1 / (k + 1) for k in range(6)], rel=1e-12)
    for z in np.linspace(0.1, 2.0, 20):
        exponent = np.cumsum([z ** (k + 1) * float(f) for k, f in enumerate(corrections)])
        errors = np.abs(np.exp(exponent) - (1 - z))
        assert (np.diff(errors) < 0).all()


def test_basins_of_attraction_move():
    # Minima at (−1, −1) and (1, 1); start and step from a scan of the ridge between them.
    start, h = np.array([-0.675, 1.0]), 0.2
    loss = (A**2 - 1) ** 2 / 4 + (B - A) ** 2 / 2
    slope = sp_gradient(loss)
    field = sp.lambdify((A, B), list(sp_field(loss)))
    modified = sp.lambdify((A, B), list(sp_field(loss + sp.Rational(1, 20) * slope.dot(slope))))
    hessian = sp.lambdify((A, B), slope.jacobian(PLANE))

    def end(f):
        return integrate(lambda t: f(*t), start, 60, "Radau", 1e-9)[:, -1]

    assert end(field) == pytest.approx([-1, -1], abs=1e-6)
    assert end(modified) == pytest.approx([1, 1], abs=1e-6)
    run = ig.gradient_descent(
        lambda t: (t[0] ** 2 - 1) ** 2 / 4 + (t[1] - t[0]) ** 2 / 2, jnp.asarray(start), h, 500
    )
    iterates = np.asarray(run.params)
    assert iterates[-1] == pytest.approx([1, 1], abs=1e-6)
    # All of it inside the radius of convergence of the corrections at every point passed.
    assert max(np.abs(np.linalg.eigvalsh(hessian(*t))).max() for t in iterates) * h < 0.7


def test_truncation_error_is_one_order_better():
    field = jax.jit(jax.grad(lambda t: -two_parameter_loss(t)))
    corrections = jax.jit(ig.euler_corrections(field, 5))

    def truncated(n):
        return lambda theta, h: np.tensordot(
            h ** np.arange(n + 1), np.stack(corrections(theta))[: n + 1], 1
        )

    start, steps = np.array([0.9, 0.5]), np.geomspace(0.03, 0.08, 5)
    orders = one_step_orders(field, [truncated(n) for n in range(6)], start, steps)
    # Keeping hⁿ·f_n: n + 2, where the paper's bound says n + 1 at least.
    assert orders == pytest.approx([2, 3, 4, 5, 6, 7], abs=0.15)


def two_parameter_field(theta):
    return (0.6 - theta[0] * theta[1]) * jnp.stack([theta[1], theta[0]])


@functools.cache
def reading(along, product):
    """The paper's f_1, f_2 and f_3 for the two-parameter model, compiled."""
    fields = paper_corrections(two_parameter_field, 3, along=along, product=product)
    return tuple(jax.jit(f) for f in fields)


@functools.cache
def exact(level):
    """f_level of the two-parameter model as a NumPy function."""
    fields = hairer_lubich_wanner(TWO_PARAMETER, 3)
    function = sp.lambdify((A, B), list(fields[level]))
    return lambda theta: np.array(function(*np.asarray(theta)))


POINTS = (np.array([1.4, 0.9]), np.array([-0.7, 1.2]), np.array([0.3, 1.1]))


def test_corrections_solve_their_definition():
    # exp(h·D)θ with D = Σ h^k·f_k·∇ is θ + h·f up to h⁴: the formula of Hairer, Lubich & Wanner
    # that the readings are held against needs no trust.
    fields = hairer_lubich_wanner(TWO_PARAMETER, 3)
    terms, total = {0: PLANE}, {}
    for j in range(5):
        for power, term in terms.items():
            total[power] = total.get(power, sp.zeros(2, 1)) + term / math.factorial(j)
        following = {}
        for power, term in terms.items():
            for k in range(4 - power):
                new = term.jacobian(PLANE) * fields[k]
                following[power + k + 1] = following.get(power + k + 1, sp.zeros(2, 1)) + new
        terms = following
    for power, expected in enumerate([PLANE, fields[0], 0 * PLANE, 0 * PLANE, 0 * PLANE]):
        assert (total[power] - expected).applyfunc(sp.expand) == sp.zeros(2, 1)


@pytest.mark.parametrize(("along", "product"), READINGS)
def test_first_two_corrections_are_right_in_every_reading(along, product):
    for point in POINTS:
        for level in (1, 2):
            value = reading(along, product)[level](point)
            assert value == pytest.approx(exact(level)(point), rel=1e-12, abs=1e-12)


def sp_second(field, u, v):
    """f″(u, v)."""
    return sp.Matrix([(u.T * sp.hessian(component, PLANE) * v)[0] for component in field])


@pytest.mark.parametrize(("along", "product"), READINGS)
def test_third_correction_is_right_in_one_reading(along, product):
    # What each reading adds to f_3, in closed form: ∂_t along f_0 alone misses the derivative of
    # f′f along f_1, and the gradient form transposes f_2′.
    f = hairer_lubich_wanner(TWO_PARAMETER, 3)[0]
    jacobian = f.jacobian(PLANE)
    slope = jacobian * f
    missing_derivative = -(sp_second(f, slope, f) + jacobian * jacobian * slope) / 12
    transposed = (jacobian * sp_second(f, f, f) - sp_second(f, f, slope)) / 12
    excess = sp.zeros(2, 1)
    excess += missing_derivative if along == "f_0" else sp.zeros(2, 1)
    excess += transposed if product == "gradient" else sp.zeros(2, 1)
    excess_at = sp.lambdify((A, B), list(excess))
    for point in POINTS:
        error = np.asarray(reading(along, product)[3](point)) - exact(3)(point)
        assert error == pytest.approx(np.array(excess_at(*point)), rel=1e-10, abs=1e-10)
        right = (along, product) == ("modified flow", "jacobian")
        assert (np.abs(error).max() < 1e-10) == right
    assert np.asarray(ig.euler_corrections(two_parameter_field, 3)(POINTS[0])[3]) == (
        pytest.approx(exact(3)(POINTS[0]), rel=1e-12)
    )


def test_wrong_third_correction_costs_an_order():
    start, steps = np.array([1.0, 0.25]), np.geomspace(0.01, 0.05, 6)

    def truncated(third):
        return lambda t, h: (
            exact(0)(t) + h * (exact(1)(t) + h * (exact(2)(t) + h * np.asarray(third(t))))
        )

    orders = one_step_orders(
        exact(0), [truncated(reading(*names)[3]) for names in READINGS], start, steps
    )
    assert dict(zip(READINGS, orders, strict=True)) == {
        ("f_0", "gradient"): pytest.approx(4, abs=0.15),
        ("f_0", "jacobian"): pytest.approx(4, abs=0.15),
        ("modified flow", "gradient"): pytest.approx(4, abs=0.15),
        ("modified flow", "jacobian"): pytest.approx(5, abs=0.15),
    }


def test_time_derivative_alone_spoils_a_quadratic():
    # f = −λθ: the Jacobians are symmetric, f̃ = log(1 − hλ)/h·θ and f_3 = −λ⁴/4·θ.
    rate, theta = 0.7, jnp.array([1.3])
    for along, product in READINGS:
        fields = paper_corrections(lambda t: -rate * t, 3, along=along, product=product)
        third = jax.jit(fields[3])(theta)
        expected = -1 / 4 if along == "modified flow" else -1 / 3
        assert float(third[0] / theta[0]) == pytest.approx(expected * rate**4, rel=1e-12)


def asymmetry(loss):
    """f_2′ − f_2′ᵀ, its entry above the diagonal."""
    jacobian = hairer_lubich_wanner(loss, 2)[2].jacobian(PLANE)
    return sp.expand((jacobian - jacobian.T)[0, 1])


def test_second_correction_is_no_gradient():
    f = hairer_lubich_wanner(TWO_PARAMETER, 2)[0]
    jacobian = f.jacobian(PLANE)
    f_2 = jacobian * jacobian * f / 3 + sp_second(f, f, f) / 12
    assert (hairer_lubich_wanner(TWO_PARAMETER, 2)[2] - f_2).applyfunc(sp.expand) == 0 * f
    # The asymmetry is a sixth of the commutator of f′ with its derivative along f.
    along = sp.Matrix(
        2, 2, lambda i, j: jacobian[i, j].diff(A) * f[0] + jacobian[i, j].diff(B) * f[1]
    )
    commutator = (jacobian * along - along * jacobian) / 6
    assert sp.expand(asymmetry(TWO_PARAMETER) - commutator[0, 1]) == 0
    expected = (A**2 - B**2) * (A**2 + B**2) * (5 * A * B - 3) / 15
    assert sp.expand(asymmetry(TWO_PARAMETER) - expected) == 0
    # Where it vanishes: one dimension, quadratics, separable losses.
    for loss in (A**4 / 4 - A**3, 3 * A**2 + A * B + 2 * B**2 - A, A**4 + A + B**3 + B**6):
        assert asymmetry(loss) == 0


@pytest.mark.parametrize("loss", [TWO_PARAMETER, A**4 * B + A * B**3 - A**2, A**5 - A * B**4 + B])
def test_corrections_are_gradients_of_the_loss_in_another_metric(loss):
    """f_k = −S_k ∇E with symmetric matrices, k = 1, 2, 3, exactly, against the recursion."""
    gradient, hessian = sp_gradient(loss), sp.hessian(loss, PLANE)
    turning = hessian.diff(A) * gradient[0] + hessian.diff(B) * gradient[1]
    matrices = [
        hessian / 2,
        hessian**2 / 3 + turning / 12,
        hessian**3 / 4 + (hessian * turning + turning * hessian) / 12,
    ]
    for field, matrix in zip(hairer_lubich_wanner(loss, 3)[1:], matrices, strict=True):
        assert (matrix - matrix.T).applyfunc(sp.expand) == sp.zeros(2, 2)
        assert (field + matrix * gradient).applyfunc(sp.expand) == sp.zeros(2, 1)


def test_euler_method_as_printed_is_implicit():
    slope, hessian = sp_gradient(TWO_PARAMETER), sp.hessian(TWO_PARAMETER, PLANE)
    gradient = sp.lambdify((A, B), list(slope))
    curvature = sp.lambdify((A, B), hessian)

    def implicit_step(theta, h):
        new = theta
        for _ in range(20):
            residual = new - theta + h * np.array(gradient(*new))
            new = new - np.linalg.solve(np.eye(2) + h * curvature(*new), residual)
        assert np.abs(new - theta + h * np.array(gradient(*new))).max() < 1e-15
        return new

    start, steps = np.array([0.9, 0.5]), np.geomspace(0.01, 0.1, 6)
    orders = []
    for sign in (1, -1):
        # −∇E + sign·(h/2)·f′f: with +1 the implicit method's field, with −1 the explicit one's.
        errors = [
            np.linalg.norm(
                integrate(
                    lambda t, h=h, s=sign: (s * h / 2 * curvature(*t) - np.eye(2)) @ gradient(*t),
                    start,
                    h,
                )[:, -1]
                - implicit_step(start, h)
            )
            for h in steps
        ]
        orders.append(ig.convergence_order(steps, errors))
    assert orders == pytest.approx([3, 2], abs=0.15)
    # The same, read off the iterates: the correction has the sign opposite to Theorem 3.1's.
    h, iterates = 0.01, [start]
    for _ in range(6):
        iterates.append(implicit_step(iterates[-1], h))
    field = np.asarray(ig.field_from_iterates(jnp.asarray(np.stack(iterates)), h))
    first = (field + gradient(*start)) / h
    assert first == pytest.approx(curvature(*start) @ gradient(*start) / 2, rel=0.05)


def test_explicit_rate_has_two_conventions():
    for start in (START_I, START_II):
        params, mu = two_parameter.Params(*start), 0.3
        plain = float(pair_loss(params))
        section_five = plain * (1 + mu * (start @ start))
        by_name = {
            name: float(ig.gradient_regularized_loss(pair_loss, mu, normalization=name)(params))
            for name in ("sum", "mean")
        }
        assert by_name["mean"] == pytest.approx(section_five, rel=1e-12)
        assert by_name["sum"] - plain == pytest.approx(2 * (section_five - plain), rel=1e-12)
        # h = 2μ, as Appendix A.4 has it, matches Section 5; equation (8) would need h = 4μ.
        assert ig.modified_loss(pair_loss, 2 * mu)(params) == pytest.approx(section_five)
        assert ig.modified_loss(pair_loss, 4 * mu)(params) == pytest.approx(by_name["sum"])


def test_explicit_regularization_at_point_two():
    setting = two_parameter.POINT_II
    rate, h = setting.mu, setting.h_euler

    losses = {
        name: ig.gradient_regularized_loss(pair_loss, rate, normalization=name)
        for name in ("sum", "mean")
    }

    def descend(normalization, step):
        start = two_parameter.Params(*START_II)
        run = ig.gradient_descent(losses[normalization], start, step, 4000)
        return np.stack([run.params.a, run.params.b], axis=1)

    assert not np.isfinite(descend("sum", h)).all()
    assert not np.isfinite(descend("mean", 1.03 * h)).all()
    iterates = descend("mean", h)
    assert np.isfinite(iterates).all()
    assert h * np_curvature(START_II, rate) == pytest.approx(9.72, abs=0.01)
    # The first steps jump across the origin and back; the flow stays in its quadrant.
    assert iterates[1] == pytest.approx([-70.743, -70.867], abs=5e-4)
    flow = path_of_flow(START_II, rate)
    assert flow.min() > 0
    assert flow[:, -1] @ flow[:, -1] == pytest.approx(1.836, abs=5e-4)
    assert (iterates[2:] > 0).all()
    # Once they no longer jump, the iterates follow the flow, to another minimum.
    assert h * np_curvature(iterates[-1], rate) < 0.01
    end = end_of_flow(iterates[-1], rate)
    assert end @ end == pytest.approx(3.049, abs=5e-4)


@pytest.mark.parametrize(
    ("start", "mu", "flow_ends", "explicit_ends", "h", "ends", "modified_ends"),
    [
        (START_I, 0.5, 4.570, 3.112, 0.066, 3.021, 4.005),
        (START_I, 0.5, 4.570, 3.112, 0.1, 1.358, 3.851),
        (START_II, 0.041, 11.308, 1.836, 1.8e-4, 1.227, 8.359),
    ],
)
def test_a_large_step_ends_lower_than_explicit_regularization(
    start, mu, flow_ends, explicit_ends, h, ends, modified_ends
):
    ended = [
        end_of_flow(start),
        end_of_flow(start, mu),
        end_of_descent(start, h, 400_000 if h < 1e-3 else 20_000),
        end_of_flow(start, h / 2),
    ]
    lengths = [theta @ theta for theta in ended]
    assert lengths == pytest.approx([flow_ends, explicit_ends, ends, modified_ends], abs=5e-4)
    assert ends < explicit_ends < modified_ends < flow_ends
    # Beyond hλ_max = 1 at the start, where the series of corrections stops converging.
    assert h * np_curvature(start) > 1.9
    # What is said of h = 2μ, the step whose modified loss E_μ is, holds: it diverges.
    run = ig.gradient_descent(pair_loss, two_parameter.Params(*start), 2 * mu, 50)
    assert not np.isfinite(run.losses[-1])


def test_a_large_step_may_also_end_higher():
    ends = {h: end_of_descent(START_I, h) for h in (0.108, 0.18)}
    # 0.108 all but reaches the flattest minimum, ‖θ‖² = 1.2. Figure A.1's 0.18 ends above the
    # gradient flow, for which ‖θ‖² = 4.570.
    lengths = [theta @ theta for theta in ends.values()]
    assert lengths == pytest.approx([1.201, 5.434], abs=5e-4)
    assert lengths[1] > end_of_flow(START_I) @ end_of_flow(START_I)


def test_converse_of_proposition_a_10_fails():
    # E = 1 + cos θ ≥ 0 has a maximum at 0, of curvature −1. Once h > 2, Ẽ has a minimum there.
    loss = 1 + sp.cos(A)
    modified = loss + H / 4 * loss.diff(A) ** 2
    assert loss.diff(A, 2).subs(A, 0) == -1
    assert modified.diff(A).subs(A, 0) == 0
    assert sp.simplify(modified.diff(A, 2).subs(A, 0) - (H / 2 - 1)) == 0
    theta = np.linspace(-0.5, 0.5, 101)
    for h, kind in ((1.5, np.argmax), (4.0, np.argmin)):
        values = jax.vmap(ig.modified_loss(lambda t: 1 + jnp.cos(t), h))(theta)
        assert kind(values) == 50
    # With I + (h/2)∇²E positive definite, signs of curvature agree at every critical point.
    for curvature in np.linspace(-1.9, 10, 50):
        assert np.sign(curvature * (1 + 1.0 / 2 * curvature)) == np.sign(curvature)


def test_volume_element_is_the_root_of_the_determinant():
    # The area of a tilted plane over the unit square, from a cross product.
    slope = np.array([0.7, -1.1])
    area = np.linalg.norm(np.cross([1, 0, slope[0]], [0, 1, slope[1]]))
    determinant = np.linalg.det(np.eye(2) + np.outer(slope, slope))
    plane = jnp.zeros(2)

    def loss(theta):
        return jnp.vdot(slope, theta)

    metric = geometry.metric_tensor(loss)(plane).as_matrix()
    regularizer = ig.implicit_gradient_regularizer(loss)(plane)
    # (A.19) itself is right.
    assert np.linalg.det(metric) == pytest.approx(1 + 2 * float(regularizer), rel=1e-12)
    assert determinant == pytest.approx(area**2, rel=1e-12)
    assert geometry.volume_element(loss)(plane) == pytest.approx(area, rel=1e-12)
    assert abs(determinant - area) > 0.9


def riemann(loss):
    """R_{abab} of the graph of a loss, from the Christoffel symbols of its metric."""
    slope = sp_gradient(loss)
    g = sp.eye(2) + slope * slope.T
    inverse = g.inv()
    christoffel = [
        sum(
            (
                inverse[:, k]
                * (g[k, i].diff(PLANE[j]) + g[k, j].diff(PLANE[i]) - g[i, j].diff(PLANE[k]))
                / 2
                for k in range(2)
            ),
            sp.zeros(2, 1),
        )
        for i in range(2)
        for j in range(2)
    ]
    along = sp.Matrix(2, 2, lambda i, j: 2 * i + j)
    gamma = [[christoffel[along[i, j]] for j in range(2)] for i in range(2)]
    # R^l_{bab} = ∂_a Γ^l_{bb} − ∂_b Γ^l_{ab} + Γ^l_{am} Γ^m_{bb} − Γ^l_{bm} Γ^m_{ab}
    raised = gamma[1][1].diff(A) - gamma[0][1].diff(B)
    for k in range(2):
        raised += gamma[0][k] * gamma[1][1][k] - gamma[1][k] * gamma[0][1][k]
    return sp.simplify((g * raised)[0])


def test_flat_surface_with_a_slope():
    # Flat, with R_IG ≠ 0: a tilted plane, and a valley that depends on one parameter alone.
    assert riemann(3 * A - 4 * B) == 0
    assert riemann(A**2) == 0
    plane = ig.implicit_gradient_regularizer(lambda t: 3 * t[0] - 4 * t[1])
    assert plane(jnp.zeros(2)) == pytest.approx(12.5, rel=1e-12)
    # The plane is isometric to the parameter plane: lengths along u·(0.6, −0.8)/√26 + v·(0.8, 0.6).
    frame = np.array([[0.6 / np.sqrt(26), -0.8 / np.sqrt(26)], [0.8, 0.6]])
    lifted = np.column_stack([frame, frame @ [3, -4]])
    assert lifted @ lifted.T == pytest.approx(np.eye(2), abs=1e-12)
    # Curved, with R_IG = 0: the bottom of a bowl.
    bowl = (A**2 + B**2) / 2
    assert riemann(bowl).subs({A: 0, B: 0}) == 1
    assert sp_gradient(bowl).subs({A: 0, B: 0}) == sp.zeros(2, 1)


def test_slope_is_zero_at_every_minimum():
    # E = θ²(θ − 1)²(1 + 9θ²)/2 ≥ 0: two interpolating minima, of curvature 1 and 10.
    def loss(theta):
        return theta**2 * (theta - 1) ** 2 * (1 + 9 * theta**2) / 2

    for minimum, curvature in ((0.0, 1), (1.0, 10)):
        theta = jnp.array(minimum)
        assert geometry.slope(loss)(theta) == 0
        assert jax.grad(jax.grad(loss))(theta) == pytest.approx(curvature, rel=1e-12)


def turned(params, inputs):
    """Outputs a and a·cos φ + b·sin φ; the inputs 0 and 1 pick them."""
    a, b, phi = params
    return a * jnp.cos(inputs * phi) + b * jnp.sin(inputs * phi)


def test_kernel_entries_can_grow():
    # Targets 1, sum of squares, both flows to the same loss. SymPy and SciPy make the numbers;
    # igrlib's kernel, form and modified loss are held against them where the flows end.
    h, phi = sp.Rational(1, 5), sp.Symbol("phi", real=True)
    theta = sp.Matrix([A, B, phi])
    errors = sp.Matrix([A - 1, A * sp.cos(phi) + B * sp.sin(phi) - 1])
    kernel = errors.jacobian(theta) * errors.jacobian(theta).T
    loss, form = errors.dot(errors), (errors.T * kernel * errors)[0]
    assert sp.simplify(kernel[0, 1] - sp.cos(phi)) == 0
    at = sp.lambdify((A, B, phi), (loss, form, kernel[0, 1]))
    levels, start, measured = (1.5, 1.0, 0.5, 0.3), np.array([0, 0, 2 * np.pi / 3]), []
    for objective in (loss, loss + h * form):
        field = sp.lambdify((A, B, phi), [-objective.diff(v) for v in theta])
        events = [lambda t, y, level=level: at(*y)[0] - level for level in levels]
        solution = solve_ivp(
            lambda t, y, f=field: f(*y), (0, 3), start, rtol=1e-10, atol=1e-12, events=events
        )
        ends = np.concatenate(solution.y_events)
        measured.append([at(*end)[1:] for end in ends])
        assert [at(*end)[0] for end in ends] == pytest.approx(levels, abs=1e-6)
    (plain, cross), (bent, bent_cross) = np.array(measured).transpose(0, 2, 1)
    assert (bent < plain).all()
    assert (np.abs(bent_cross) > np.abs(cross)).all()
    assert [bent[1], plain[1]] == pytest.approx([0.655, 0.694], abs=5e-4)
    assert np.abs([bent_cross[1], cross[1]]) == pytest.approx([0.45, 0.40], abs=5e-3)
    inputs = np.array([0.0, 1.0])
    for end, value, entry in zip(ends, bent, bent_cross, strict=True):
        params = jnp.asarray(end)
        residuals = turned(params, inputs) - 1
        assert ntk.ntk(turned, params, inputs)[0, 1] == pytest.approx(entry, rel=1e-12)
        assert ntk.ntk_quadratic_form(turned, params, inputs, residuals) == pytest.approx(value)
        modified = ig.modified_loss(lambda p: jnp.sum((turned(p, inputs) - 1) ** 2), 0.2)
        assert modified(params) == pytest.approx(at(*end)[0] + 0.2 * value, rel=1e-12)


def test_kernel_of_a_linear_model_stays():
    features = np.array([[1.0, 2.0], [0.5, -1.0]])
    kernels = [
        ntk.ntk(lambda w, x: x @ w, jnp.asarray(w), features) for w in ([0.0, 0.0], [3.0, -1.0])
    ]
    for kernel in kernels:
        assert kernel == pytest.approx(features @ features.T, rel=1e-12)
    assert abs(kernels[0][0, 1]) > 1


def test_compact_modified_loss_needs_the_step():
    rng = np.random.default_rng(3)
    features, targets, w, h = (*(rng.standard_normal(s) for s in ((4, 3), 4, 3)), 0.1)
    errors = np.tanh(features @ w) - targets
    slopes = (1 - np.tanh(features @ w) ** 2)[:, None] * features
    kernel = slopes @ slopes.T

    def loss(w):
        return jnp.sum((jnp.tanh(features @ w) - targets) ** 2)

    value = ig.modified_loss(loss, h)(jnp.asarray(w))
    assert value == pytest.approx(errors @ (np.eye(4) + h * kernel) @ errors, rel=1e-12)
    assert abs(value - errors @ (np.eye(4) + kernel) @ errors) > 0.5


def test_middle_expression_of_the_regularizer_needs_a_half():
    regularizer = ig.implicit_gradient_regularizer(pair_loss)
    for start in (START_I, START_II):
        params = two_parameter.Params(*start)
        squares = np.sum(np_gradient(start) ** 2)
        right = (start @ start) * np_loss(start)
        assert regularizer(params) == pytest.approx(right, rel=1e-12)
        assert two_parameter.regularizer(params, 1.0, 0.6) == pytest.approx(right, rel=1e-12)
        assert squares == pytest.approx(2 * right, rel=1e-12)


def test_ratio_is_squared_norm_and_squared_slope_over_loss():
    rng = np.random.default_rng(4)
    measured = []
    for theta in rng.uniform(0.5, 3, (20, 2)):
        params = two_parameter.Params(*theta)
        ratio = float(ig.implicit_gradient_regularizer(pair_loss)(params)) / np_loss(theta)
        slope = float(geometry.slope(pair_loss)(params))
        assert ratio == pytest.approx(theta @ theta, rel=1e-10)
        assert ratio == pytest.approx(slope**2 / (2 * np_loss(theta)), rel=1e-10)
        measured.append((ratio, np.linalg.norm(theta), slope**2))
    ratios, norms, slopes = np.array(measured).T
    # Proportional to neither the norm nor the squared slope.
    for quantity in (norms, slopes):
        assert (ratios / quantity).max() > 1.5 * (ratios / quantity).min()


def count(width, hidden, biases):
    sizes = [784, *[width] * hidden, 10]
    return sum((p + biases) * q for p, q in itertools.pairwise(sizes))


def test_five_hidden_layers():
    matches = [
        (hidden, biases)
        for hidden in range(1, 21)
        for biases in (False, True)
        if tuple(count(width, hidden, biases) for width in WIDTHS) == PRINTED_COUNTS
    ]
    assert matches == [(5, True)]
    # Not one of the six comes out at another depth.
    for width, printed in zip(WIDTHS, PRINTED_COUNTS, strict=True):
        for hidden in range(1, 21):
            assert (count(width, hidden, True) == printed) == (hidden == 5)


def test_width_400_has_a_million_parameters():
    assert count(400, 5, True) == 959610
    assert count(400, 5, True) / 9.6e5 == pytest.approx(1, abs=1e-3)


def test_test_error_is_the_same_at_every_minimum():
    ends = [
        end_of_flow(START_I),
        end_of_flow(START_I, 0.5),
        end_of_flow(START_II, 0.041),
        end_of_descent(START_I, 2.5e-2),
        end_of_descent(START_I, 0.18),
    ]
    errors = [float(two_parameter.loss(two_parameter.Params(*e), 0.5, 0.6)) for e in ends]
    assert errors == pytest.approx([0.045] * 5, abs=1e-9)
    # On the way it is less than that, zero where ab = 1.2: stopping early would decide.
    assert float(two_parameter.loss(two_parameter.Params(1.2, 1.0), 0.5, 0.6)) < 1e-30


def test_theorem_3_1():
    field = sp.lambdify((A, B), list(sp_field(TWO_PARAMETER)))
    slope = sp_gradient(TWO_PARAMETER)
    modified_loss = TWO_PARAMETER + H / 4 * slope.dot(slope)
    modified = sp.lambdify((A, B, H), list(-sp_gradient(modified_loss)))
    start = np.array([0.9, 0.5])
    truncations = [lambda t, h: field(*t), lambda t, h: modified(*t, h)]
    local = one_step_orders(
        lambda t: np.array(field(*t)), truncations, start, np.geomspace(0.01, 0.1, 5)
    )
    assert local == pytest.approx([2, 3], abs=0.1)
    counts = 2 ** np.arange(4, 9)
    errors = []
    for n in counts:
        end = ig.gradient_descent(two_parameter_loss, jnp.asarray(start), 1 / n, int(n)).params[-1]
        errors.append(
            [
                np.linalg.norm(integrate(lambda t, f=f, n=n: f(t, 1 / n), start, 1)[:, -1] - end)
                for f in truncations
            ]
        )
    orders = [ig.convergence_order(1 / counts, e) for e in np.array(errors).T]
    assert orders == pytest.approx([1, 2], abs=0.1)


def test_slope_and_angle():
    # Proposition A.6, Corollary A.6.1 and Proposition 3.3, from the tangent vectors.
    theta, h = jnp.array([0.4, -1.3, 0.8]), 0.2

    def loss(t):
        return jnp.sum(t**3) + t[0] * t[1]

    gradient = np.array([3 * 0.16 - 1.3, 3 * 1.69 + 0.4, 3 * 0.64])
    normal = geometry.normal_vector(loss)(theta)
    tangents = np.column_stack([np.eye(3), gradient])
    full_normal = np.append(normal[0], normal[1])
    assert tangents @ full_normal == pytest.approx(np.zeros(3), abs=1e-12)
    assert np.linalg.norm(full_normal) == pytest.approx(1, rel=1e-12)
    regularizer = float(ig.implicit_gradient_regularizer(loss)(theta))
    assert full_normal[-1] == pytest.approx(1 / np.sqrt(1 + 3 * regularizer), rel=1e-12)
    assert np.cos(geometry.angle(loss)(theta)) == pytest.approx(full_normal[-1], rel=1e-12)
    slope = float(geometry.slope(loss)(theta))
    assert slope == pytest.approx(np.tan(np.arccos(full_normal[-1])), rel=1e-10)
    assert slope == pytest.approx(np.sqrt(3 * regularizer), rel=1e-12)
    modified = float(ig.modified_loss(loss, h)(theta))
    assert modified == pytest.approx(float(loss(theta)) + h / 4 * slope**2, rel=1e-12)


def test_parameter_norm_grows_by_no_more_than_the_slope():
    for h in (0.01, 0.05, 0.3):
        run = ig.gradient_descent(two_parameter_loss, jnp.array([0.3, -1.5]), h, 30)
        norms = np.linalg.norm(run.params, axis=1)
        slopes = np.array([np.linalg.norm(np_gradient(t)) for t in np.asarray(run.params)])
        assert (np.diff(norms) <= h * slopes[:-1] + 1e-12).all()


def test_minima_stay_minima():
    # Proposition A.10 for every h > 0: on E = (a² − 1)²/4 + (b − a)²/2 and on 1 + cos θ.
    loss = (A**2 - 1) ** 2 / 4 + (B - A) ** 2 / 2
    slope = sp_gradient(loss)
    modified = loss + H / 4 * slope.dot(slope)
    for corner in (1, -1):
        at = {A: corner, B: corner}
        assert modified.subs(at) == 0
        assert sp_gradient(modified).subs(at) == sp.zeros(2, 1)
        hessian, plain = sp.hessian(modified, PLANE).subs(at), sp.hessian(loss, PLANE).subs(at)
        assert (hessian - plain - H / 2 * plain**2).applyfunc(sp.expand) == sp.zeros(2, 2)
    theta = np.pi + np.linspace(-0.5, 0.5, 101)
    for h in (0.1, 4.0, 100.0):
        values = jax.vmap(ig.modified_loss(lambda t: 1 + jnp.cos(t), h))(theta)
        assert np.argmin(values) == 50
        assert values[50] == pytest.approx(0, abs=1e-12)


def test_least_squares_identity():
    # Proposition A.11 with c = 2 outputs, against explicit loops.
    rng = np.random.default_rng(5)
    inputs, targets, w = (rng.standard_normal(s) for s in ((4, 3), (4, 2), (3, 2)))
    h, outputs = 0.1, np.sin(inputs @ w)
    jacobian = np.einsum("nd,nc,ce->ncde", inputs, np.cos(inputs @ w), np.eye(2)).reshape(4, 2, 6)
    errors = outputs - targets
    double_sum = sum(
        errors[i] @ jacobian[i] @ jacobian[j].T @ errors[j] for i in range(4) for j in range(4)
    )

    def model(w, x):
        return jnp.sin(x @ w)

    def loss(w):
        return jnp.sum((model(w, inputs) - targets) ** 2)

    expected = np.sum(errors**2) + h * double_sum
    assert ig.modified_loss(loss, h)(jnp.asarray(w)) == pytest.approx(expected, rel=1e-12)
    form = ntk.ntk_quadratic_form(model, jnp.asarray(w), inputs, jnp.asarray(errors))
    assert form == pytest.approx(double_sum, rel=1e-12)
    regularizer = ig.implicit_gradient_regularizer(loss)(jnp.asarray(w))
    assert regularizer == pytest.approx(4 / 6 * double_sum, rel=1e-12)


def test_modified_gradient_of_the_two_parameter_model():
    # (A.27), (A.28), Remark A.12 and slope = ‖θ‖·|x|·√(2E), for symbols x and y.
    x, y, rate = sp.symbols("x y lambda", real=True)
    loss = (y - A * B * x) ** 2 / 2
    slope = sp_gradient(loss)
    length = A**2 + B**2
    assert sp.expand(slope.dot(slope) - length * x**2 * 2 * loss) == 0
    modified = loss * (1 + rate * length * x**2)
    assert sp.expand(loss + rate * slope.dot(slope) / 2 - modified) == 0
    remark = (1 + rate * x**2 * length) * slope + 2 * rate * x**2 * loss * PLANE
    assert (sp_gradient(modified) - remark).applyfunc(sp.expand) == sp.zeros(2, 1)
    theta, params = np.array([1.2, -0.4]), two_parameter.Params(1.2, -0.4)
    measured = geometry.slope(two_parameter.loss)(params, 0.5, 0.6)
    energy = (0.6 + 1.2 * 0.4 * 0.5) ** 2 / 2
    assert measured == pytest.approx(np.linalg.norm(theta) * 0.5 * np.sqrt(2 * energy), rel=1e-12)


def test_figure_1():
    # 1b: λ = hm/4 = h/2 runs to 0.0125 with h up to 0.025, and R_IG/E = ‖θ‖² falls.
    steps = (0.001, 0.005, 0.01, 0.015, 0.02, 0.025)
    params = two_parameter.Params(*START_I)
    assert ig.regularization_rate(steps[-1], ig.num_params(params)) == pytest.approx(0.0125)
    ends = [end_of_descent(START_I, h) for h in steps]
    ratios = np.array([end @ end for end in ends])
    assert ratios == pytest.approx([4.556, 4.499, 4.426, 4.349, 4.268, 4.182], abs=5e-4)
    assert (np.diff(ratios) < 0).all()
    # 1a: a moderate step ends nearer to the modified flow's end than to the flow's, by a longer
    # path of that flow.
    h = two_parameter.POINT_I.h_moderate
    gap = [np.linalg.norm(end_of_flow(START_I, rate) - ends[-1]) for rate in (0, h / 2)]
    assert gap == pytest.approx([0.096, 0.027], abs=5e-4)
    lengths = []
    for rate in (0, h / 2):
        path = path_of_flow(START_I, rate)
        lengths.append(np.linalg.norm(np.diff(path, axis=1), axis=0).sum())
    assert lengths == pytest.approx([2.90, 2.93], abs=5e-3)
    # A.1: the large step crosses the line of minima before it converges.
    run = ig.gradient_descent(pair_loss, params, two_parameter.POINT_I.h_large, 400)
    product = np.asarray(run.params.a * run.params.b)
    assert np.count_nonzero(np.diff(np.sign(product - 0.6))) >= 2
    assert run.losses[-1] < 1e-20


def test_slope_falls_faster_per_loss_on_the_modified_flow():
    # d‖∇E‖²/dE along a direction −p is 2gᵀHp/gᵀp. With p = (I + (h/2)H)g it is a mean of the
    # eigenvalues c of H with weights (1 + hc/2)·g_c², which grows with h.
    rng = np.random.default_rng(6)
    for _ in range(50):
        square, g = rng.standard_normal((4, 4)), rng.standard_normal(4)
        hessian = square + square.T
        bound = 2 / max(-np.linalg.eigvalsh(hessian)[0], 1e-9)
        rates = []
        for h in np.linspace(0, 0.99 * bound, 20):
            direction = g + h / 2 * hessian @ g
            assert g @ direction > 0
            rates.append(2 * g @ hessian @ direction / (g @ direction))
        assert (np.diff(rates) > 0).all()
    # So R_IG at matched loss is smaller along the modified flow of the paper's model.
    flow, modified = path_of_flow(START_I), path_of_flow(START_I, 0.0125)
    levels = np.geomspace(1e-3, 30, 20)
    ratio = [
        np.interp(np.log(levels), np.log(np_loss(path)[::-1]), (path**2).sum(axis=0)[::-1])
        for path in (flow[:, np_loss(flow) > 1e-8], modified[:, np_loss(modified) > 1e-8])
    ]
    assert (ratio[1] < ratio[0]).all()
