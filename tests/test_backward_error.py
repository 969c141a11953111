"""igrlib.backward_error against SymPy, matrix logarithms, fitted orders and SciPy's integrator."""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
import kauri
import numpy as np
import pytest
import scipy.integrate
import scipy.linalg
import sympy
from helpers import (
    HALF,
    Pair,
    counted_compilations,
    few_examples,
    flat,
    largest_array,
    pytrees,
)
from hypothesis import given
from hypothesis import strategies as st

import igrlib as ig

ORDERS = range(6)


# The recursion of Hairer, Lubich & Wanner (2006), IX.1, for the explicit Euler method:
# f_l = −Σ_{n≥2} (1/n!) Σ_{k_1+…+k_n = l+1−n} D_{k_1}…D_{k_{n−1}} f_{k_n} with D_k G = G′f_k.
def recursion(field, variables, order, expand=lambda component: component):
    """f_0 … f_order as lists of components, each anything with `.diff`."""
    corrections = [field]

    def along(k, g):
        pairs = list(zip(variables, corrections[k], strict=True))
        return [expand(sum(component.diff(v) * f for v, f in pairs)) for component in g]

    for level in range(1, order + 1):
        total = [0 * component for component in field]
        for n in range(2, level + 2):
            for ks in itertools.product(range(level), repeat=n):
                if sum(ks) == level + 1 - n:
                    term = corrections[ks[-1]]
                    for k in reversed(ks[:-1]):
                        term = along(k, term)
                    weight = sympy.QQ(1, math.factorial(n))
                    total = [t - weight * c for t, c in zip(total, term, strict=True)]
        corrections.append(total)
    return corrections


X = sympy.Symbol("x")
_, U, V = sympy.ring("u,v", sympy.QQ)
# Each field in SymPy and in JAX; those in the plane are no gradients.
FIELDS = {
    "sine": ([sympy.sin(X)], jnp.sin),
    "square": ([X**2], jnp.square),
    "predator and prey": (
        [U - U * V, U * V - V],
        lambda p: Pair(p[0] - p[0] * p[1], p[0] * p[1] - p[1]),
    ),
    "cubic": (
        [U**2 - 2 * V + sympy.QQ(1, 3) * V**3, U * V + sympy.QQ(1, 2) * U],
        lambda p: Pair(p[0] ** 2 - 2 * p[1] + p[1] ** 3 / 3, p[0] * p[1] + p[0] / 2),
    ),
}


@functools.cache
def textbook_corrections(name):
    """f_0 … f_5 in numbers, at θ = 3/10 or θ = (3/10, −7/10)."""
    symbolic, _ = FIELDS[name]
    if len(symbolic) == 1:
        at = {X: sympy.Rational(3, 10)}
        return [[float(f.subs(at))] for (f,) in recursion(symbolic, [X], 5, sympy.expand)]
    at = [(U, sympy.QQ(3, 10)), (V, sympy.QQ(-7, 10))]
    return [[float(c.evaluate(at)) for c in f] for f in recursion(symbolic, [U, V], 5)]


@pytest.mark.parametrize("name", FIELDS)
def test_corrections_are_those_of_the_textbook_recursion(name):
    symbolic, field = FIELDS[name]
    expected = textbook_corrections(name)
    params = jnp.array(0.3) if len(symbolic) == 1 else Pair(jnp.array(0.3), jnp.array(-0.7))
    found = ig.euler_corrections(field, 5)(params)
    assert isinstance(found, tuple)
    assert len(found) == 6
    for order in ORDERS:
        assert jax.tree.structure(found[order]) == jax.tree.structure(params)
        np.testing.assert_allclose(flat(found[order]), expected[order], rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("order", ORDERS)
def test_every_order_is_a_prefix_of_the_next(order):
    field, params = FIELDS["cubic"][1], Pair(jnp.array(0.3), jnp.array(-0.7))
    expected = textbook_corrections("cubic")[: order + 1]
    found = ig.euler_corrections(field, order)(params)
    for f, g in zip(found, expected, strict=True):
        np.testing.assert_allclose(flat(f), g, rtol=1e-11)


def test_the_first_correction_of_a_gradient_field_is_a_quarter():
    """f_1 = −½f′f = −∇(‖∇E‖²/4): Theorem 3.1."""

    def loss(p):
        return jnp.sin(p["a"]).sum() * p["b"] + (p["a"] ** 2).sum() * p["b"] ** 2

    def quarter(p):
        return sum((g**2).sum() for g in jax.tree.leaves(jax.grad(loss)(p))) / 4

    params = {"a": jnp.array([0.4, -1.2]), "b": jnp.array(0.7)}
    _, found = ig.euler_corrections(ig.gradient_field(loss), 1)(params)
    np.testing.assert_allclose(flat(found), -flat(jax.grad(quarter)(params)), rtol=1e-13)


MATRIX = np.array([[-0.5, 1.2, 0.1], [-0.8, -0.3, 0.4], [0.2, 0.9, -1.1]])
START = np.array([1.0, -0.4, 0.6])


def linear(params):
    moved = MATRIX @ jnp.append(params["u"], params["v"])
    return {"u": moved[:2], "v": moved[2]}


LINEAR_START = {"u": jnp.asarray(START[:2]), "v": jnp.asarray(START[2])}


def test_linear_fields_have_the_series_of_the_logarithm():
    """f̃ = log(I + hA)/h·θ, so that f_k = (−1)ᵏ A^(k+1) θ/(k+1)."""
    found = ig.euler_corrections(linear, 5)(LINEAR_START)
    for k, correction in enumerate(found):
        expected = (-1) ** k / (k + 1) * np.linalg.matrix_power(MATRIX, k + 1) @ START
        np.testing.assert_allclose(flat(correction), expected, rtol=1e-13)


@pytest.mark.parametrize("order", ORDERS)
def test_the_truncated_field_is_right_to_the_next_power(order):
    modified = jax.jit(lambda h: ig.modified_field(linear, h, order)(LINEAR_START))
    steps = 0.2 * 2.0 ** -np.arange(5)
    errors = [
        np.linalg.norm(flat(modified(h)) - scipy.linalg.logm(np.eye(3) + h * MATRIX) @ START / h)
        for h in steps
    ]
    assert ig.convergence_order(steps, errors) == pytest.approx(order + 1, abs=0.15)


@pytest.mark.parametrize("order", ORDERS)
def test_one_euler_step_follows_the_truncated_flow_to_order_k_plus_2(order):
    """Against SciPy's DOP853 on a plane field that is no gradient."""

    def field(theta):
        x, y = theta
        return jnp.stack([jnp.sin(y) - x**2 / 2, jnp.cos(x) - x * y])

    modified = jax.jit(lambda theta, h: ig.modified_field(field, h, order)(theta))
    start = np.array([0.8, -0.3])
    euler = np.array([np.sin(-0.3) - 0.32, np.cos(0.8) + 0.24])
    steps = np.geomspace(0.03, 0.2, 4)
    errors = []
    for h in steps:
        reached = scipy.integrate.solve_ivp(
            lambda t, theta, h=h: np.asarray(modified(theta, h)),
            (0, h),
            start,
            method="DOP853",
            rtol=1e-13,
            atol=1e-15,
        ).y[:, -1]
        errors.append(np.linalg.norm(start + h * euler - reached))
    assert ig.convergence_order(steps, errors) == pytest.approx(order + 2, abs=0.2)


def test_modified_field_is_the_polynomial_in_h():
    h, params = 0.37, Pair(jnp.array(0.3), jnp.array(-0.7))
    field = FIELDS["predator and prey"][1]
    corrections = ig.euler_corrections(field, 3)(params)
    expected = sum(h**k * flat(f) for k, f in enumerate(corrections))
    for rate in (h, np.float64(h), jnp.array(h)):
        found = ig.modified_field(field, rate, 3)(params)
        np.testing.assert_allclose(flat(found), expected, rtol=1e-14)
    unmodified = ig.modified_field(field, h, 0)(params)
    np.testing.assert_allclose(flat(unmodified), [0.3 + 0.21, -0.21 + 0.7], rtol=1e-14)


def test_modified_field_leaves_dtypes_alone():
    params = {"s": jnp.ones(2, jnp.float32), "h": jnp.ones((), jnp.bfloat16), "d": jnp.ones(1)}
    rate = jnp.float64(0.1)
    found = jax.eval_shape(
        ig.modified_field(lambda p: jax.tree.map(lambda x: jnp.float64(1) * x**2, p), rate, 2),
        params,
    )
    assert jax.tree.map(lambda x: (x.shape, x.dtype), found) == jax.tree.map(
        lambda x: (x.shape, x.dtype), params
    )


def reciprocal_squares(params):
    return jax.tree.map(lambda x: -1 / (1 + jnp.square(x)), params)


@few_examples
@given(pytrees((*HALF, jnp.float32, jnp.float64)), st.integers(0, 3))
def test_corrections_are_like_the_parameters(params, order):
    found = jax.eval_shape(ig.euler_corrections(reciprocal_squares, order), params)
    wanted = jax.tree.map(lambda x: (jnp.shape(x), jnp.result_type(x)), params)
    assert len(found) == order + 1
    for correction in found:
        assert jax.tree.map(lambda x: (x.shape, x.dtype), correction) == wanted


@few_examples
@given(pytrees())
def test_separate_equations_do_not_mix(params):
    """A field that acts on each number alone: f_1 = −½f′f leaf by leaf, in NumPy."""
    theta = flat(params)
    _, found = ig.euler_corrections(reciprocal_squares, 1)(params)
    np.testing.assert_allclose(flat(found), theta / (1 + theta**2) ** 3, rtol=1e-13)


def test_half_floats_have_the_digits_of_half_floats():
    for dtype in HALF:
        found = ig.euler_corrections(jnp.square, 2)(jnp.full(3, 0.5, dtype))
        # For θ² the corrections are θ², −θ³ and 3θ⁴/2.
        for correction, expected in zip(found, (1 / 4, -1 / 8, 3 / 32), strict=True):
            np.testing.assert_allclose(
                np.asarray(correction, np.float64), expected, rtol=4 * float(jnp.finfo(dtype).eps)
            )


# What a field may be made of.
SQUARED = 0.6**2, -(0.6**3), 1.5 * 0.6**4


@jax.jit
def by_while(theta):
    """θ² as θ·θ, multiplied by 1.5 until past 3 and divided again."""
    many = jax.lax.while_loop(lambda s: s[0] < 3, lambda s: (s[0] * 1.5, s[1] * 1.5), (0.5, theta))
    return many[1] * theta * (0.5 / many[0])


def by_scan(theta):
    return (
        jax.lax.scan(lambda c, x: (c + x * theta, None), 0 * theta, jnp.array([0.2, 0.4, 0.4]))[0]
        * theta
    )


def by_branch(theta):
    if theta > 0:
        return theta**2
    return -(theta**2)


def by_cond(theta):
    return jax.lax.cond(theta > 0, lambda t: t**2, lambda t: -(t**2), theta)


def by_custom_jvp(theta):
    @jax.custom_jvp
    def square(t):
        return jax.lax.stop_gradient(t) ** 2

    square.defjvp(lambda primals, tangents: (primals[0] ** 2, 2 * primals[0] * tangents[0]))
    return square(theta)


@pytest.mark.parametrize("field", [by_while, by_scan, by_branch, by_cond, by_custom_jvp])
def test_fields_with_loops_and_branches(field):
    found = ig.euler_corrections(field, 2)(0.6)
    np.testing.assert_allclose(flat(found), SQUARED, rtol=1e-13)


def test_a_branch_that_is_taken_by_value_is_the_one_that_counts():
    np.testing.assert_allclose(
        flat(ig.euler_corrections(by_branch, 2)(-0.6)), (-0.36, 0.216, -1.5 * 0.1296), rtol=1e-13
    )


def test_softplus_inside_a_scan():
    """Three layers θ ↦ log(1 + e^θ) + θ/2, against the recursion in SymPy."""

    def field(theta):
        return -jax.lax.scan(
            lambda carry, w: (jax.nn.softplus(carry) + w * carry, None), theta, jnp.full(3, 0.5)
        )[0]

    layers = X
    for _ in range(3):
        layers = sympy.log(1 + sympy.exp(layers)) + layers / 2
    # f′f and so on by the chain rule along the field, at one number: no expanding.
    f = -layers
    f1 = -f.diff(X) * f / 2
    f2 = f.diff(X) ** 2 * f / 3 + f.diff(X, 2) * f**2 / 12
    expected = [float(g.subs(X, sympy.Rational(2, 5)).evalf(20)) for g in (f, f1, f2)]
    np.testing.assert_allclose(flat(ig.euler_corrections(field, 2)(0.4)), expected, rtol=1e-12)


def test_fields_may_return_constants():
    """A field of Python numbers or NumPy arrays is as smooth as any."""
    for field in (lambda p: {"a": 2.0}, lambda p: {"a": np.float64(2)}):
        found = ig.euler_corrections(field, 2)({"a": 0.5})
        np.testing.assert_allclose(flat(found), [2, 0, 0], atol=0)


def test_arguments_and_keywords_reach_the_field():
    def field(theta, batch, *, rate, name):
        assert name == "unchanged"
        return {"w": -rate * theta["w"] * batch.sum()}

    batch = jnp.array([1.0, 2.0])
    for transformed, expected in (
        (ig.euler_corrections(field, 1), [-6.0, -18.0]),
        (ig.modified_field(field, 0.1, 1), [-7.8]),
    ):
        found = transformed({"w": jnp.array(1.0)}, batch, rate=2.0, name="unchanged")
        np.testing.assert_allclose(flat(found), expected, rtol=1e-14)


def test_jit_vmap_and_grad():
    """For θ²: f_1 = −θ³, f_2 = 3θ⁴/2."""
    theta = jnp.array([0.5, -1.5, 2.0])
    corrections = ig.euler_corrections(jnp.square, 2)
    for found in (jax.vmap(corrections)(theta), jax.jit(corrections)(theta)):
        np.testing.assert_allclose(found[1], -(theta**3), rtol=1e-14)
        np.testing.assert_allclose(found[2], 1.5 * theta**4, rtol=1e-14)
    np.testing.assert_allclose(jax.grad(lambda t: corrections(t)[2])(2.0), 6 * 2.0**3, rtol=1e-14)
    h = jnp.array([0.1, 0.3])
    np.testing.assert_allclose(
        jax.vmap(lambda h: ig.modified_field(jnp.square, h, 1)(2.0))(h), 4 - 8 * h, rtol=1e-14
    )


def test_a_new_batch_of_the_same_shape_compiles_nothing():
    def field(theta, batch):
        return -theta * batch.mean()

    corrections = ig.euler_corrections(field, 3)
    batches = [jnp.arange(4.0) + k for k in range(3)]
    theta = jnp.ones(3)
    corrections(theta, batches[0])
    with counted_compilations() as compilations:
        found = [corrections(theta, batch)[1] for batch in batches]
    assert compilations == []
    for k, correction in enumerate(found):
        np.testing.assert_allclose(correction, -((1.5 + k) ** 2) / 2, rtol=1e-14)


def chained_loss(theta):
    """A quartic in which neighbours meet: its Hessian is neither zero nor diagonal."""
    return (theta**4).sum() / 4 + ((theta[1:] - theta[:-1]) ** 2 * theta[1:]).sum() / 2


def test_no_hessian_is_formed():
    m = 101
    theta = jnp.linspace(-1, 1, m)
    assert largest_array(jax.hessian(chained_loss), theta) >= m * m
    corrections = ig.euler_corrections(ig.gradient_field(chained_loss), 5)
    assert largest_array(corrections, theta) < 60 * m


def test_cost_is_linear_in_the_number_of_parameters():
    corrections = jax.jit(ig.euler_corrections(ig.gradient_field(chained_loss), 3))
    costs, bytes_held = [], []
    for m in (10_000, 40_000):
        compiled = corrections.lower(jnp.ones(m)).compile()
        costs.append(compiled.cost_analysis()["flops"])
        bytes_held.append(compiled.memory_analysis().temp_size_in_bytes)
    assert costs[1] / costs[0] == pytest.approx(4, rel=0.05)
    assert bytes_held[1] / bytes_held[0] == pytest.approx(4, rel=0.1)


def test_two_million_parameters():
    """A dense Hessian would take 32 TB. E = (Σθ)²/2m + Σθ³/3 has f and f_1 in closed form."""
    theta = np.linspace(-1, 1, 2_000_000)

    def loss(p):
        return p["a"].sum() ** 2 / (2 * theta.size) + (p["a"] ** 3).sum() / 3

    f, f1, f2 = ig.euler_corrections(ig.gradient_field(loss), 2)({"a": theta})

    def times_hessian(v):
        return v.sum() / theta.size + 2 * theta * v

    gradient = theta.sum() / theta.size + theta**2
    np.testing.assert_allclose(f["a"], -gradient, atol=1e-12)
    np.testing.assert_allclose(f1["a"], -times_hessian(gradient) / 2, atol=1e-12)
    # f_2 = ⅓f′f′f + ¹⁄₁₂f″(f, f) with f″(v, v) = −2v².
    expected = -times_hessian(times_hessian(gradient)) / 3 - gradient**2 / 6
    np.testing.assert_allclose(f2["a"], expected, atol=1e-12)


# Any one-step method: its corrections are Σ over rooted trees τ of order k + 1 of c(τ)/σ(τ)·F(τ),
# with the coefficients c of the method that the package kauri finds in the Butcher group.
RNG = np.random.default_rng(4)
C, A, B, T = (RNG.normal(size=(2,) * k) / math.factorial(k) for k in (1, 2, 3, 4))
B = (B + B.swapaxes(1, 2)) / 2
T = sum(T.transpose(0, *p) for p in itertools.permutations((1, 2, 3))) / 6


def cubic_field(theta):
    """c + Aθ + B(θ, θ)/2 + T(θ, θ, θ)/6 in the plane."""
    return C + (A + (B + T @ theta / 3) @ theta / 2) @ theta


def elementary_differential(tree, theta):
    """F(τ) of a tree ((children…, colour)): the derivative of f along those of its children."""
    along = [elementary_differential(child, theta) for child in tree[:-1]]
    first, second = A + (B + T @ theta / 2) @ theta, B + T @ theta
    match along:
        case []:
            return np.asarray(cubic_field(theta))
        case [u]:
            return first @ u
        case [u, v]:
            return second @ u @ v
        case [u, v, w]:
            return T @ u @ v @ w
    return np.zeros(2)


def runge_kutta(a, b, sweeps=1):
    """A step of the method with this tableau; an implicit one in so many sweeps."""

    def step(theta, h, field):
        slopes = [jnp.zeros_like(theta) for _ in b]
        for _ in range(sweeps):
            for i, row in enumerate(a):
                stage = sum((w * k for w, k in zip(row, slopes, strict=True)), 0 * theta)
                slopes[i] = field(theta + h * stage)
        return theta + h * sum(w * k for w, k in zip(b, slopes, strict=True))

    return step


def plane_field(theta):
    x, y = theta
    return jnp.stack([jnp.sin(y) - x**2 / 2, jnp.cos(x) - x * y])


PLANE_START = jnp.array([0.8, -0.3])


@pytest.mark.slow
@pytest.mark.parametrize("method", ["euler", "midpoint", "heun_rk2", "rk4", "backward_euler"])
def test_corrections_of_a_runge_kutta_step_are_those_of_its_trees(method):
    tableau = getattr(kauri, method)
    # Each sweep of an implicit step is right to one power of h more.
    order, sweeps = (3, 4) if method == "backward_euler" else (5, 1)
    step = runge_kutta(tableau.a, tableau.b, sweeps)
    coefficient = tableau.elementary_weights_map().modified_equation()
    theta = np.array([0.8, -0.3])
    found = ig.step_corrections(step, order)(theta, cubic_field)
    for level in range(order + 1):
        expected = sum(
            coefficient(tree) / tree.sigma() * elementary_differential(tree.list_repr, theta)
            for tree in kauri.trees_of_order(level + 1)
        )
        np.testing.assert_allclose(found[level], expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", FIELDS)
def test_euler_is_a_step(name):
    field = FIELDS[name][1]
    params = jnp.array(0.3) if name in ("sine", "square") else Pair(jnp.array(0.3), jnp.array(-0.7))

    def step(theta, h):
        return jax.tree.map(lambda p, f: p + h * f, theta, field(theta))

    for f, expected in zip(
        ig.step_corrections(step, 5)(params), textbook_corrections(name), strict=True
    ):
        np.testing.assert_allclose(flat(f), expected, rtol=1e-11, atol=1e-13)


@pytest.mark.slow
def test_the_implicit_step_is_the_explicit_one_backwards():
    """Its corrections are those of Euler's method with signs (−1)ᵏ: it is the adjoint."""
    implicit = runge_kutta([[1.0]], [1.0], 5)
    found = ig.step_corrections(implicit, 4)(PLANE_START, plane_field)
    euler = ig.euler_corrections(plane_field, 4)(PLANE_START)
    for k, (f, g) in enumerate(zip(found, euler, strict=True)):
        np.testing.assert_allclose(f, (-1) ** k * g, rtol=1e-9, atol=1e-12)


def bowl(theta):
    x, y = theta
    return jnp.sin(x) * y + (x**2 + 3 * y**2) / 2 + x * y**3 / 5


def egr_step(theta, h):
    """On E + μ‖∇E‖² with μ = 0.3."""
    return theta - h * jax.grad(lambda p: bowl(p) + 0.3 * (jax.grad(bowl)(p) ** 2).sum())(theta)


def sam_step(theta, h):
    """Sharpness-aware minimization, normalised, with ρ = 0.2."""
    g = jax.grad(bowl)(theta)
    return theta - h * jax.grad(bowl)(theta + 0.2 * g / jnp.sqrt((g**2).sum()))


def decayed_step(theta, h):
    """Decoupled weight decay of 0.4, after the gradient's step."""
    return (1 - 0.4 * h) * (theta - h * jax.grad(bowl)(theta))


def symplectic_step(theta, h):
    x, y = theta
    y = y - h * jnp.sin(x)
    return jnp.stack([x + h * y, y])


@pytest.mark.slow
@pytest.mark.parametrize("order", [0, 1, 2, 3])
@pytest.mark.parametrize("step", [egr_step, sam_step, decayed_step, symplectic_step])
def test_a_step_follows_its_truncated_flow_to_order_k_plus_2(step, order):
    """Against SciPy's DOP853."""
    modified = jax.jit(lambda theta, h: ig.step_field(step, h, order)(theta))
    moved = jax.jit(step)
    steps, errors = np.geomspace(0.02, 0.12, 4), []
    for h in steps:
        reached = scipy.integrate.solve_ivp(
            lambda t, theta, h=h: np.asarray(modified(theta, h)),
            (0, h),
            np.asarray(PLANE_START),
            method="DOP853",
            rtol=1e-13,
            atol=1e-15,
        ).y[:, -1]
        errors.append(np.linalg.norm(moved(PLANE_START, h) - reached))
    assert ig.convergence_order(steps, errors) == pytest.approx(order + 2, abs=0.2)


def test_a_step_that_moves_at_rate_0_is_refused():
    with pytest.raises(ValueError, match=r"alone at learning_rate 0: .* a change of up to 1"):
        ig.step_corrections(lambda theta, h: theta + 1 + h, 2)(jnp.array(0.5))


def test_arguments_reach_the_step_and_new_ones_compile_nothing():
    field = ig.step_field(lambda p, h, x, *, y: p - h * x * y * p, 0.1, 1)
    two, three, half = map(jnp.array, (2.0, 3.0, 0.5))
    assert float(field(two, three, y=half)) == pytest.approx(-3.0 - 0.1 * 1.5**2)
    with counted_compilations() as compiled:
        field(three, half, y=two)
    assert compiled == []


# One-step methods on θ′ = Aθ, each multiplying by a matrix a step.
def euler_matrix(a):
    return np.eye(3) + a


def midpoint_matrix(a):
    return np.eye(3) + a + a @ a / 2


def implicit_euler_matrix(a):
    return np.linalg.inv(np.eye(3) - a)


def iterates_of(matrix, start, count):
    return np.stack([np.linalg.matrix_power(matrix, n) @ start for n in range(count + 1)])


@pytest.mark.parametrize("count", range(1, 7))
@pytest.mark.parametrize("method", [euler_matrix, midpoint_matrix, implicit_euler_matrix])
def test_the_field_of_iterates_converges_with_their_number(method, count):
    """Against the matrix logarithm: the error is O(h^J)."""
    steps = 0.1 * 2.0 ** (-np.arange(5) / 2)
    errors = []
    for h in steps:
        matrix = method(h * MATRIX)
        found = ig.field_from_iterates(iterates_of(matrix, START, count), h)
        errors.append(np.linalg.norm(found - scipy.linalg.logm(matrix) @ START / h))
    assert ig.convergence_order(steps, errors) == pytest.approx(count, abs=0.3)


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_the_field_of_iterates_meets_the_corrections(count):
    """Nonlinear, Euler: what J iterates say differs from f_0 + … + h⁵f_5 by O(hᴶ)."""
    corrections = [flat(f) for f in ig.euler_corrections(FIELDS["cubic"][1], 5)(Pair(0.3, -0.7))]
    steps = np.geomspace(0.01, 0.04, 5)
    errors = []
    for h in steps:
        iterates = [np.array([0.3, -0.7])]
        for _ in range(count):
            x, y = iterates[-1]
            moved = np.array([x**2 - 2 * y + y**3 / 3, x * y + x / 2])
            iterates.append(iterates[-1] + h * moved)
        found = ig.field_from_iterates(np.stack(iterates), h)
        errors.append(np.linalg.norm(found - sum(h**k * f for k, f in enumerate(corrections))))
    assert ig.convergence_order(steps, errors) == pytest.approx(count, abs=0.3)


@few_examples
@given(pytrees(), st.integers(1, 4), st.floats(0.01, 0.5))
def test_the_field_of_points_on_a_polynomial_is_its_derivative(params, degree, h):
    """Σ_k c_k tᵏ of degree J, seen at t = 0, h, …, Jh: the field at t = 0 is c_1 exactly."""
    times = h * np.arange(degree + 1)

    def curve(leaf):
        numbers = np.asarray(leaf)
        powers = [np.multiply.outer(times**k, numbers / (k + 1)) for k in range(degree + 1)]
        return sum(powers)

    found = ig.field_from_iterates(jax.tree.map(curve, params), h)
    assert jax.tree.structure(found) == jax.tree.structure(params)
    np.testing.assert_allclose(flat(found), flat(params) / 2, rtol=1e-10)


def test_the_field_of_iterates_under_jit_vmap_and_grad():
    iterates = jnp.array([[1.0, 2.0], [1.5, 1.0]])
    hs = jnp.array([0.5, 0.25])
    expected = np.array([[1.0, -2.0], [2.0, -4.0]])
    np.testing.assert_allclose(
        jax.jit(jax.vmap(lambda h: ig.field_from_iterates(iterates, h)))(hs), expected, rtol=1e-15
    )
    gradient = jax.grad(lambda x: ig.field_from_iterates(x, 0.5).sum())(iterates)
    np.testing.assert_allclose(gradient, [[-2, -2], [2, 2]], rtol=1e-15)


def test_the_field_of_iterates_keeps_dtypes_and_loses_no_digits_far_from_zero():
    far = jnp.array([2.0**20 + n for n in range(5)], jnp.float32)
    found = ig.field_from_iterates({"a": far}, 0.5)
    assert found["a"].dtype == jnp.float32
    assert float(found["a"]) == pytest.approx(2.0, rel=1e-6)


def test_the_field_of_gradient_descent_is_read_off_its_trajectory():
    """On E = θ²/2 it is log(1 − h)/h·θ."""
    h = 0.05
    run = ig.gradient_descent(lambda p: p**2 / 2, 3.0, h, 12)
    np.testing.assert_allclose(
        ig.field_from_iterates(run.params, h), 3 * math.log1p(-h) / h, rtol=1e-11
    )


@few_examples
@given(st.floats(-3, 8), st.floats(1e-6, 1e6))
def test_convergence_order_of_a_power_law(order, factor):
    steps = np.array([0.5, 0.2, 0.1, 0.01])
    found = ig.convergence_order(steps, factor * steps**order)
    assert type(found) is float
    assert found == pytest.approx(order, abs=1e-9)


@few_examples
@given(st.lists(st.floats(1e-8, 1), min_size=5, max_size=5))
def test_convergence_order_is_the_least_squares_slope(errors):
    steps = [0.3, 0.2, 0.11, 0.07, 0.01]
    x, y = np.log(steps) - np.log(steps).mean(), np.log(errors)
    assert ig.convergence_order(steps, jnp.asarray(errors)) == pytest.approx(
        (x * y).sum() / (x * x).sum(), abs=1e-10
    )
