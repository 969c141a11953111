"""*The book on a page*: what its tables say, tried with the methods themselves."""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.integrate

import igrlib as ig
from igrlib.optimizers import optimizer_corrections

PAGE = (Path(__file__).resolve().parent.parent / "book/on_a_page.md").read_text("utf-8")
START, TIME = np.array([0.9, -0.4]), 1.0


def tables():
    """The tables of the page, each a list of rows of cells, their heads left out."""
    found = re.findall(r"(?:^\|.*\|\n)+", PAGE, re.M)

    def split(line):
        return [cell.strip() for cell in line.strip("|\n ").split(" | ")]

    return [[split(line) for line in table.splitlines()[2:]] for table in found]


FOLLOWED, CLOSELY, REGIMES, CONVENTIONS = tables()


def E(theta):
    return jnp.sin(theta[0]) * theta[1] + theta[0] ** 2 + theta[1] ** 2 + theta[0] ** 4 / 4


def g(theta):
    return jax.grad(E)(jnp.asarray(theta))


def squared(theta):
    return jnp.sum(jax.grad(E)(theta) ** 2)


# With rates of the order of h.
MU, RHO = 0.5, 0.7


def penalised(h):
    return jax.grad(lambda theta: E(theta) + MU * h * squared(theta))


def implicit(theta, h):
    # By iteration, each time nearer by a factor of the order of h.
    return jax.lax.fori_loop(0, 30, lambda _, end: theta - h * g(end), theta)


def sam(theta, h):
    slope = g(theta)
    return theta - h * g(theta + RHO * h * slope / jnp.linalg.norm(slope))


STEPS = {
    "gradient descent": lambda theta, h: theta - h * g(theta),
    "implicit Euler": implicit,
    "midpoint rule": lambda theta, h: theta - h * g(theta - h / 2 * g(theta)),
    "EGR, rate $\\mu$": lambda theta, h: theta - h * penalised(h)(theta),
    "SAM, not normalized": lambda theta, h: theta - h * g(theta + RHO * h * g(theta)),
    "SAM": sam,
}
# The losses as the page writes them.
LOSSES = {
    r"$E + \frac h4\norm g^2$": lambda h: lambda t: E(t) + h / 4 * squared(t),
    r"$E - \frac h4\norm g^2$": lambda h: lambda t: E(t) - h / 4 * squared(t),
    r"$E$": lambda h: E,
    r"$E + \frac{h+4\mu}4\norm g^2$": lambda h: lambda t: E(t) + (h + 4 * MU * h) / 4 * squared(t),
    r"$E + \frac{h+2\rho}4\norm g^2$": lambda h: (
        lambda t: E(t) + (h + 2 * RHO * h) / 4 * squared(t)
    ),
    r"$E + \frac h4\norm g^2 + \rho\norm g$": lambda h: (
        lambda t: E(t) + h / 4 * squared(t) + RHO * h * jnp.sqrt(squared(t))
    ),
}


def apart(step, loss, h, time=TIME):
    """How far the steps end from the flow of a loss, both after the same time."""
    number = round(time / h)
    theta = jax.jit(lambda t: jax.lax.fori_loop(0, number, lambda _, t: step(t, h), t))(START)
    field = jax.jit(jax.grad(loss))

    def down(_, at):
        return -np.asarray(field(jnp.asarray(at)))

    flow = scipy.integrate.solve_ivp(down, (0, time), START, rtol=1e-11, atol=1e-12)
    return np.linalg.norm(np.asarray(theta) - flow.y[:, -1])


def loss_of(method):
    (row,) = (row for row in FOLLOWED if row[0] == method)
    return row[2]


@pytest.mark.parametrize("method", STEPS)
def test_steps_follow_the_loss_of_the_table_to_second_order(method):
    step, loss = STEPS[method], LOSSES[loss_of(method)]
    far, near = (apart(step, loss(h), h) for h in (0.02, 0.01))
    assert np.log2(far / near) > 1.8
    if loss_of(method) != "$E$":
        far, near = (apart(step, E, h) for h in (0.02, 0.01))
        assert np.log2(far / near) == pytest.approx(1, abs=0.1)


MOMENTUM = {
    "heavy ball, $\\beta$": (
        r"$E + \frac{h_{\text{eff}}}4\frac{1+\beta}{1-\beta}\norm g^2$",
        lambda b: (1 + b) / (1 - b),
        False,
    ),
    "Nesterov, $\\beta$": (
        r"$E + \frac{h_{\text{eff}}}4\bigl(1 + \frac{2\beta^2}{1-\beta}\bigr)\norm g^2$",
        lambda b: 1 + 2 * b**2 / (1 - b),
        True,
    ),
}


@pytest.mark.parametrize("method", MOMENTUM)
@pytest.mark.parametrize("beta", [0.5, 0.9])
def test_momentum_has_the_factor_of_the_table(method, beta):
    written, factor, nesterov = MOMENTUM[method]
    assert loss_of(method) == written

    def optimizer(h):
        return optax.sgd(h, momentum=beta, nesterov=nesterov)

    first, second = optimizer_corrections(optimizer, E)(jnp.asarray(START))
    speed = 1 / (1 - beta)
    np.testing.assert_allclose(first, -speed * g(START), rtol=1e-9)
    # The speed times the gradient of (h_eff/4) c |g|^2, by h.
    regularizer = jax.grad(squared)(jnp.asarray(START)) * speed / 4 * factor(beta)
    np.testing.assert_allclose(second, -speed * regularizer, rtol=1e-9)


def test_every_method_of_the_table_is_tried_but_for_batches():
    assert [row[0] for row in FOLLOWED] == [*STEPS, *MOMENTUM, "batches, shuffled"]


def test_the_regimes_are_those_of_a_parabola():
    assert [row[0] for row in REGIMES] == ["well below 1", "1", "from 1 to 2", "2", "over 2"]
    for x, lands, alternates, stays in (
        *((0.3, False, False, True), (1.0, True, False, True)),
        *((1.5, False, True, True), (2.0, False, True, True), (2.1, False, True, False)),
    ):
        path = (1 - x) ** np.arange(60)
        assert (path[1] == 0) == lands
        assert (path[1] < 0) == alternates
        assert (abs(path[-1]) <= 1) == stays
    mu, curvature = 0.3, 2.0
    (edge,) = re.findall(r"it is at \$hs\(1 \+ 2\\mu s\) = (\d)\$", PAGE)
    h = float(edge) / (curvature * (1 + 2 * mu * curvature))

    def step(a):
        return a - h * (curvature * a + mu * 2 * curvature**2 * a)

    assert step(1.0) == pytest.approx(-1)


def power(cell, k):
    """The order that a cell like $h^{k+2}$, $h^3$ or $h$ gives."""
    (written,) = re.fullmatch(r"\$h(?:\^(\d|\{k\+\d\}))?\$", cell).groups(default="1")
    return k + int(written[3]) if "k" in written else int(written)


@pytest.mark.parametrize("k", [0, 1])
def test_the_orders_are_those_that_are_measured(k):
    """Against the flow of E, k = 0, and of the modified loss, k = 1."""
    loss = [lambda h: E, LOSSES[r"$E + \frac h4\norm g^2$"]][k]
    descent = STEPS["gradient descent"]
    one_step = [apart(descent, loss(h), h, time=h) for h in (0.04, 0.02)]
    fixed_time = [apart(descent, loss(h), h) for h in (0.02, 0.01)]
    for cell, general, (far, near) in zip(
        CLOSELY[k][1:], CLOSELY[2][1:], (one_step, fixed_time), strict=True
    ):
        assert power(cell, k) == power(general, k)
        assert np.log2(far / near) == pytest.approx(power(cell, k), abs=0.15)


def test_the_conventions_are_those_of_the_package():
    at, rate = jnp.asarray(START), 0.3
    for (_, _, strong, code), h in zip(CONVENTIONS, (4 * rate, 4 * rate / 2), strict=True):
        (name,) = re.findall(r'normalization="(\w+)"', code)
        assert strong == {"sum": r"$\mu = h/4$", "mean": r"$\mu = hm/4$"}[name]
        penalty = ig.gradient_regularized_loss(E, rate, normalization=name)(at)
        np.testing.assert_allclose(penalty, ig.modified_loss(E, h)(at), rtol=1e-5)
