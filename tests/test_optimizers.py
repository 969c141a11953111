"""igrlib.optimizers against closed forms, and against real Optax runs by the order of the error."""

import functools
import itertools
import math
import unittest.mock

import equinox as eqx
import jax
import jax.flatten_util
import jax.numpy as jnp
import lineax as lx
import numpy as np
import optax
import pytest
import scipy.integrate
from flax import nnx
from helpers import flat

import igrlib as ig
from igrlib import optimizers as opt

START = {"a": jnp.array([0.4, -1.2]), "b": jnp.array(0.7)}


def loss(p, scale=1.0):
    """Neither quadratic nor separable, with no entry of its gradient at 0 on the way."""
    a, b = p["a"], p["b"]
    coupled = jnp.sin(a).sum() * b + (a**2).sum() * b**2 / 2 + jnp.cos(a[0] * a[1])
    return scale * (coupled + (a**2).sum() + b**2)


@functools.cache
def gradient_and_hessian():
    """At the start: g, and the Hessian as a matrix in the order of `flat`."""

    def of_vector(v):
        return loss({"a": v[:2], "b": v[2]})

    v = jnp.asarray(flat(START))
    # NumPy arrays of JAX's: nobody can write into them.
    return np.asarray(jax.grad(of_vector)(v)), np.asarray(jax.jit(jax.hessian(of_vector))(v))


def moments(optimizer, params=START):
    return [flat(f) for f in opt.optimizer_corrections(optimizer, loss)(params)]


def test_plain_descent_has_the_corrections_of_euler():
    expected = ig.euler_corrections(ig.gradient_field(loss), 1)(START)
    for found, f in zip(moments(optax.sgd), expected, strict=True):
        np.testing.assert_allclose(found, flat(f), rtol=1e-13)


@pytest.mark.slow
@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("nesterov", [False, True])
def test_momentum_follows_the_gradient_of_its_modified_loss(momentum, nesterov):
    f0, f1 = moments(lambda h: optax.sgd(h, momentum=momentum, nesterov=nesterov))
    g, hessian = gradient_and_hessian()
    speed = 1 / (1 - momentum)
    stale = (1 - momentum + 2 * momentum**2) if nesterov else 1 + momentum
    np.testing.assert_allclose(f0, -speed * g, rtol=1e-12)
    np.testing.assert_allclose(f1, -(speed**3) * stale / 2 * hessian @ g, rtol=1e-10)
    h = 0.01
    modified = opt.heavy_ball_modified_loss(loss, h, momentum, nesterov=nesterov)
    np.testing.assert_allclose(f0 + h * f1, -speed * flat(jax.grad(modified)(START)), rtol=1e-10)


def of_adam(g, hessian, b1, b2, inner, outer):
    """F_0 and F_1 as Cattaneo, Klusowski and Shigida (2024) have them, in this book's time."""
    s = np.sqrt(g**2 + inner) + outer
    root = np.sqrt(g**2 + inner)
    f0 = -g / s
    first, second = (1 + b1) / (1 - b1), (1 + b2) / (1 - b2)
    return f0, hessian @ f0 / (2 * s) * (first - second * g**2 / (root * s))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rates", "outer", "inner"),
    [
        ((0.9, 0.99), 0.0, 1e-2),
        ((0.9, 0.99), 0.3, 1.0),
        ((0.5, 0.8), 0.3, 1e-2),
        ((0.9, 0.6), 0.0, 1.0),
    ],
)
def test_adam_has_the_corrections_of_the_literature(rates, outer, inner):
    b1, b2 = rates
    found = moments(lambda h: optax.adam(h, b1, b2, eps=outer, eps_root=inner))
    expected = of_adam(*gradient_and_hessian(), b1, b2, inner, outer)
    for f, closed in zip(found, expected, strict=True):
        np.testing.assert_allclose(f, closed, rtol=1e-10)


@pytest.mark.parametrize("inside", [True, False])
def test_rmsprop_is_adam_without_its_first_average(inside):
    found = moments(lambda h: optax.rmsprop(h, decay=0.8, eps=0.04, eps_in_sqrt=inside))
    inner, outer = (0.04, 0.0) if inside else (0.0, 0.04)
    for f, expected in zip(
        found, of_adam(*gradient_and_hessian(), 0.0, 0.8, inner, outer), strict=True
    ):
        np.testing.assert_allclose(f, expected, rtol=1e-10)


def test_the_first_correction_of_adam_is_about_the_perturbed_one_norm():
    b1, b2, epsilon = 0.9, 0.99, 0.05
    _, f1 = moments(lambda h: optax.adam(h, b1, b2, eps=0.0, eps_root=epsilon))
    g, _ = gradient_and_hessian()
    slope = flat(jax.grad(opt.perturbed_one_norm(loss, epsilon))(START))
    s2 = g**2 + epsilon
    weight = (1 + b1) / (1 - b1) - (1 + b2) / (1 - b2) * g**2 / s2
    np.testing.assert_allclose(f1, -weight * slope / (2 * np.sqrt(s2)), rtol=1e-10)


def clipped(h):
    return optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(h, momentum=0.6))


def decayed_in_momentum(h):
    return optax.chain(optax.add_decayed_weights(0.2), optax.sgd(h, momentum=0.6))


SMOOTH = {"b1": 0.6, "b2": 0.8, "eps": 0.1, "eps_root": 0.01}
OPTIMIZERS = {
    "sgd": optax.sgd,
    "heavy ball": lambda h: optax.sgd(h, momentum=0.7),
    "nesterov": lambda h: optax.sgd(h, momentum=0.7, nesterov=True),
    "adam": lambda h: optax.adam(h, **SMOOTH),
    "adamw": lambda h: optax.adamw(h, weight_decay=0.3, **SMOOTH),
    "nadam": lambda h: optax.nadam(h, **SMOOTH),
    "rmsprop": lambda h: optax.rmsprop(h, decay=0.7, eps=0.1),
    "rmsprop, centered": lambda h: optax.rmsprop(h, decay=0.7, eps=1.0, centered=True),
    "rmsprop, momentum": lambda h: optax.rmsprop(h, decay=0.7, eps=0.1, momentum=0.5),
    "adabelief": lambda h: optax.adabelief(h, b1=0.6, b2=0.8, eps=0.5, eps_root=0.1),
    "lamb": lambda h: optax.lamb(h, weight_decay=0.1, **SMOOTH),
    "clipped momentum": clipped,
    "coupled decay": decayed_in_momentum,
    "injected": lambda h: optax.inject_hyperparams(optax.adam)(h, **SMOOTH),
    # Smooth as long as no entry of the average is 0, and no singular value of the momentum.
    "lion": lambda h: optax.lion(h, b1=0.6, b2=0.7, weight_decay=0.2),
    "muon": lambda h: optax.contrib.muon(h, beta=0.6, adam_b1=0.6, adam_b2=0.8, eps=0.1),
}
TIMES = {"lion": 0.1}
"""By then no sign has changed; 0.4 for the others."""


def matrix_loss(p):
    """Muon orthogonalises the steps of matrices alone."""
    a = p["a"]
    return jnp.sin(a).sum() + (a @ a.T @ a).sum() / 5 + ((a - 1) ** 2).sum()


def setting(name):
    """The loss, and where to start."""
    if name == "muon":
        return matrix_loss, {"a": jnp.array([[0.4, -1.2], [0.7, 0.3]])}
    return loss, START


@functools.cache
def errors_of(name):
    """Step sizes, how far real runs end from the flows at a fixed time, and whether GMRES was used.

    The flows are those of F_0 from θ_0, of F_0 + h·F_1 from θ_0 + h·δ, and of that from θ_0.
    """
    optimizer, (of, start), time = OPTIMIZERS[name], setting(name), TIMES.get(name, 0.4)

    @jax.jit
    def steps(h, n):
        transformation = optimizer(h)

        def step(_, carry):
            params, state = carry
            update, state = transformation.update(jax.grad(of)(params), state, params)
            return optax.apply_updates(params, update), state

        return jax.lax.fori_loop(0, n, step, (start, transformation.init(start)))[0]

    theta, tree = jax.flatten_util.ravel_pytree(start)

    @jax.jit
    def both(v):
        return jnp.stack(
            [
                jax.flatten_util.ravel_pytree(f)[0]
                for f in opt.optimizer_corrections(optimizer, of)(tree(v))
            ]
        )

    with unittest.mock.patch.object(lx, "linear_solve", wraps=lx.linear_solve) as krylov:
        both(theta)
    delta = flat(opt.start_displacement(optimizer, of)(start))

    def flow(begin, h, order):
        def field(_, v):
            f0, f1 = np.asarray(both(v))
            return f0 + order * h * f1

        how = {"method": "DOP853", "rtol": 1e-9, "atol": 1e-11}
        return scipy.integrate.solve_ivp(field, (0, time), begin, **how).y[:, -1]

    theta, sizes = flat(start), time / np.array([100, 200, 400, 800])
    errors, limit = [], flow(theta, 0.0, 0)
    for h in sizes:
        end = flat(steps(h, round(time / h)))
        flows = (limit, flow(theta + h * delta, h, 1), flow(theta, h, 1))
        errors.append([np.linalg.norm(end - one) for one in flows])
    return sizes, np.array(errors).T, krylov.called


@pytest.mark.slow
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_real_runs_follow_the_flows_to_orders_1_and_2(name):
    sizes, (plain, corrected, _), _ = errors_of(name)
    assert ig.convergence_order(sizes, plain) == pytest.approx(1, abs=0.15)
    assert ig.convergence_order(sizes, corrected) == pytest.approx(2, abs=0.25)


@pytest.mark.parametrize("name", ["rmsprop", "nadam", "adabelief", "rmsprop, momentum", "muon"])
def test_without_the_displaced_start_the_order_is_1(name):
    sizes, (*_, undisplaced), _ = errors_of(name)
    assert ig.convergence_order(sizes, undisplaced) == pytest.approx(1, abs=0.15)


def averaged(rule):
    """A transformation of θ's entries in a row: `rule(state, g)` gives the step and the state."""

    def of(start):
        def optimizer(h):
            def update(updates, state, params=None):
                g, tree = jax.flatten_util.ravel_pytree(updates)
                step, state = rule(state, g)
                return tree(-h * step), state

            return optax.GradientTransformation(lambda params: start(flat_size(params)), update)

        return optimizer

    return of


def flat_size(params):
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def of_neighbours(m, g):
    m = 0.5 * m + 0.3 * jnp.roll(m, 1) + g
    return jnp.sin(m), m


def of_the_last_three(late, g):
    late = jnp.concatenate([g[None], late[:-1]])
    return late.mean(0), late


def of_each_other(state, g):
    one, other = state
    one, other = 0.5 * other + g, 0.7 * one + g**2
    return one + jnp.cos(other), (one, other)


def with_a_constant(state, g):
    m, constant = state
    m = 0.6 * m + constant * g
    return m, (m, constant)


def chained(h):
    """The trace depends on all entries of both of Adam's averages."""
    adam = optax.scale_by_adam(**SMOOTH)
    return optax.chain(adam, optax.clip_by_global_norm(1.0), optax.trace(0.5), optax.scale(-h))


STATES = {
    **{name: OPTIMIZERS[name] for name in ("heavy ball", "adam", "nadam", "rmsprop, centered")},
    **{name: OPTIMIZERS[name] for name in ("adabelief", "rmsprop, momentum", "lamb")},
    "average of a clipped step": chained,
    "novograd": lambda h: optax.novograd(h, b1=0.6, b2=0.8, eps=0.1, weight_decay=0.1),
    "a constant": averaged(with_a_constant)(lambda m: (jnp.zeros(m), jnp.array(2.0))),
    # These mix entries, of one array or of two that feed each other.
    "neighbours": averaged(of_neighbours)(jnp.zeros),
    "the last three": averaged(of_the_last_three)(lambda m: jnp.zeros((3, m))),
    "each other": averaged(of_each_other)(lambda m: (jnp.zeros(m), jnp.zeros(m))),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", STATES)
def test_the_corrections_are_those_of_a_dense_solve(name):
    """S_0 by many steps, A as a matrix, and NumPy's solution of 1 − A."""
    transformation = STATES[name](1.0)
    (theta, tree), (g, hessian) = jax.flatten_util.ravel_pytree(START), gradient_and_hessian()
    run = jax.jit(lambda s, g, p: transformation.update(tree(g), s, tree(p)))
    state = transformation.init(START)
    state = jax.jit(lambda s: jax.lax.fori_loop(0, 400, lambda _, s: run(s, g, theta)[1], s))(state)
    numbers, counts = eqx.partition(state, eqx.is_inexact_array)
    s, state_of = jax.flatten_util.ravel_pytree(numbers)

    def both(s, g, p):
        u, after = run(eqx.combine(state_of(s), counts), g, p)
        after = eqx.filter(after, eqx.is_inexact_array)
        return tuple(jax.flatten_util.ravel_pytree(one)[0] for one in (u, after))

    f0 = np.asarray(both(s, g, theta)[0])
    (us, ug, up), (a, bg, bp) = jax.jit(jax.jacfwd(both, (0, 1, 2)))(s, jnp.asarray(g), theta)
    dg = hessian @ f0
    # A constant stands still, and its row is 0.
    fades, fade = np.eye(s.size) - a, np.zeros((s.size, s.size))
    moving = np.ix_(*[fades.any(1)] * 2)
    fade[moving] = np.linalg.inv(fades[moving])
    ds0 = fade @ (bg @ dg + bp @ f0)
    f1 = us @ -(fade @ ds0) - (us @ ds0 + ug @ dg + up @ f0) / 2
    for found, expected in zip(moments(STATES[name]), (f0, f1), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-9)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_no_space_of_krylov_is_needed_for(name):
    *_, krylov = errors_of(name)
    assert not krylov


def test_displacements_in_closed_form():
    g, _ = gradient_and_hessian()
    beta = 0.7
    for nesterov, factor in ((False, beta), (True, beta**2)):
        found = opt.start_displacement(
            lambda h, n=nesterov: optax.sgd(h, momentum=beta, nesterov=n), loss
        )(START)
        np.testing.assert_allclose(flat(found), factor / (1 - beta) ** 2 * g, rtol=1e-9)
    # Adam takes its averages for what they would be: its steps are those of later from the first.
    found = opt.start_displacement(lambda h: optax.adam(h, **SMOOTH), loss)(START)
    np.testing.assert_allclose(flat(found), 0, atol=1e-12)
    # RMSprop's first steps are too long: ν_n = (1 − bⁿ)g².
    found = opt.start_displacement(OPTIMIZERS["rmsprop"], loss)(START)
    n = np.arange(1, 400)[:, None]
    lengths = 1 / np.sqrt((1 - 0.7**n) * g**2 + 0.1) - 1 / np.sqrt(g**2 + 0.1)
    np.testing.assert_allclose(flat(found), -g * lengths.sum(0), rtol=1e-10)


def test_the_displacement_ends_where_rounded_numbers_stand_still():
    """They stop short of S_0, by as much at every further step."""
    single = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), START)
    found = opt.start_displacement(lambda h: optax.sgd(h, 0.99), loss)(single)
    g, _ = gradient_and_hessian()
    np.testing.assert_allclose(flat(found), 0.99 / (1 - 0.99) ** 2 * g, rtol=1e-4)


@pytest.mark.slow
def test_the_field_is_the_sum():
    f0, f1 = moments(clipped)
    h = 0.05
    for order, expected in ((0, f0), (1, f0 + h * f1)):
        field = opt.optimizer_field(clipped, loss, h, order=order)
        np.testing.assert_allclose(flat(field(START)), expected, rtol=1e-13)
        inside = jax.jit(lambda p, h, o=order: opt.optimizer_field(clipped, loss, h, order=o)(p))
        np.testing.assert_allclose(flat(inside(START, h)), expected, rtol=1e-13)


@pytest.mark.slow
def test_arguments_reach_the_loss_and_aux_is_left_out():
    def with_aux(p, *, scale):
        return loss(p, scale), {"scale": scale}

    found = opt.optimizer_corrections(clipped, with_aux, has_aux=True)(START, scale=2.0)
    expected = opt.optimizer_corrections(clipped, loss)(START, 2.0)
    for f, g in zip(found, expected, strict=True):
        np.testing.assert_allclose(flat(f), flat(g), rtol=1e-14)
    found = opt.start_displacement(clipped, with_aux, has_aux=True)(START, scale=2.0)
    expected = opt.start_displacement(clipped, loss)(START, 2.0)
    np.testing.assert_allclose(flat(found), flat(expected), rtol=1e-14)


@pytest.mark.slow
def test_single_precision_keeps_its_digits_and_its_dtype():
    single = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), START)
    optimizer = OPTIMIZERS["adam"]
    for f, exact in zip(
        opt.optimizer_corrections(optimizer, loss)(single), moments(optimizer), strict=True
    ):
        assert {leaf.dtype for leaf in jax.tree.leaves(f)} == {jnp.dtype("float32")}
        np.testing.assert_allclose(flat(f), exact, rtol=1e-4)


REFUSED = [
    (optax.adagrad, "a state that settles"),
    (optax.amsgrad, "a state that settles"),
    (lambda h: optax.adam(0.1), "updates that scale with the learning rate"),
    (lambda h: optax.chain(optax.sgd(h), optax.clip(1e-3)), "that scale with the learning rate"),
    (lambda h: optax.adam(optax.cosine_decay_schedule(h, 100)), "must not hold a schedule"),
    (
        lambda h: optax.inject_hyperparams(optax.sgd)(optax.cosine_decay_schedule(h, 100)),
        "must not hold a schedule",
    ),
    (lambda h: optax.noisy_sgd(h, key=0), "must not be random"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("optimizer", "reason"), REFUSED)
def test_what_is_no_fading_memory_is_refused(optimizer, reason):
    with pytest.raises(ValueError, match=reason):
        opt.optimizer_corrections(optimizer, loss)(START)


@pytest.mark.parametrize(("optimizer", "reason"), [REFUSED[0], *REFUSED[4:]])
def test_nor_does_it_have_a_displacement(optimizer, reason):
    with pytest.raises(ValueError, match=reason):
        opt.start_displacement(optimizer, loss)(START)


@pytest.mark.usefixtures("without_type_hook")
def test_a_derivative_that_does_not_exist_is_refused():
    for still in (lambda h: optax.adam(h), lambda h: optax.rmsprop(h, eps_in_sqrt=False)):
        with pytest.raises(ValueError, match=r"a derivative here.*pass eps_root > 0"):
            opt.optimizer_corrections(still, lambda p: p[0] ** 2)(jnp.array([1.0, 2.0]))
    with pytest.raises(TypeError, match=r"returns an Optax transformation, such as optax\.adam"):
        opt.optimizer_corrections(lambda h: h, loss)(START)
    with pytest.raises(TypeError, match=r"optimizer must be a function.*: pass optax\.adam or lam"):
        opt.optimizer_corrections(optax.sgd(0.1), loss)


def test_the_penalty_is_that_of_explicit_regularization():
    """In a chain, under a schedule, with jit; against the gradient that this book takes."""
    grad_fn = jax.grad(loss)
    optimizer = optax.chain(opt.gradient_penalty(lambda n: 0.1 * (n + 1)), optax.sgd(0.01, 0.9))
    reference, params = optax.sgd(0.01, 0.9), START
    state, plain = optimizer.init(START), reference.init(START)

    @jax.jit
    def step(params, state):
        return optimizer.update(grad_fn(params), state, params, grad_fn=grad_fn)

    for n in range(3):
        found, state = step(params, state)
        whole = ig.gradient_regularized_value_and_grad(loss, 0.1 * (n + 1))(params)[1]
        expected, plain = reference.update(whole, plain, params)
        np.testing.assert_allclose(flat(found), flat(expected), rtol=1e-12)
        params = optax.apply_updates(params, found)


def test_a_masked_penalty_is_of_some_gradients_and_acts_on_all_parameters():
    optimizer = opt.gradient_penalty(0.2, mask={"a": True, "b": False})
    grad_fn = jax.grad(loss)
    found, _ = optimizer.update(grad_fn(START), optimizer.init(START), START, grad_fn=grad_fn)

    def penalised(p):
        return loss(p) + 0.2 * (jax.grad(loss)(p)["a"] ** 2).sum()

    np.testing.assert_allclose(flat(found), flat(jax.grad(penalised)(START)), rtol=1e-12)


def test_a_penalty_without_what_it_needs_says_so():
    optimizer = opt.gradient_penalty(0.2)
    state, grads = optimizer.init(START), jax.grad(loss)(START)
    with pytest.raises(ValueError, match="must be given params and grad_fn"):
        optimizer.update(grads, state, START)
    masked = optax.masked(optimizer, {"a": True, "b": False})
    with pytest.raises(ValueError, match=r"inside optax\.masked.*pass mask"):
        masked.update(grads, masked.init(START), START, grad_fn=jax.grad(loss))
    with pytest.raises(ValueError, match="mu must be finite"):
        opt.gradient_penalty(math.inf)


@pytest.mark.slow
def test_a_penalty_on_a_whole_model_says_what_to_pass():
    model = eqx.nn.MLP(2, "scalar", 3, 1, key=jax.random.key(0))
    x = jnp.array([1.0, 2.0])

    def of(model):
        return eqx.combine(model, static)(x) ** 2

    arrays, static = eqx.partition(model, eqx.is_inexact_array)
    optimizer, grad_fn = opt.gradient_penalty(0.2), eqx.filter_grad(of)
    grads = grad_fn(arrays)
    with pytest.raises(
        TypeError, match=r"params\.act.* must be a floating.*eqx\.filter\(model, eqx\.is_"
    ):
        optimizer.update(grads, optimizer.init(model), model, grad_fn=grad_fn)
    found, _ = optimizer.update(grads, optimizer.init(arrays), arrays, grad_fn=grad_fn)
    expected = eqx.filter_grad(lambda m: of(m) + 0.2 * squares(eqx.filter_grad(of)(m)))(arrays)
    np.testing.assert_allclose(flat(found), flat(expected), rtol=1e-10)
    whole = nnx.Linear(2, 1, rngs=nnx.Rngs(0))
    with pytest.raises(TypeError, match=r"params must be arrays, got an nnx\.Module.*nnx\.state"):
        optimizer.update(None, optimizer.init(None), whole, grad_fn=grad_fn)


def squares(tree):
    return sum((a**2).sum() for a in jax.tree.leaves(tree))


# One epoch in every order of four batches, on losses that are quartics of their own.
CENTRES = jnp.array([[0.3, -0.8], [1.1, 0.4], [-0.6, 0.9], [0.2, 0.1]])


def of_batch(theta, centre):
    x, y = theta - centre
    return x**2 / 2 + y**2 + x * y**2 / 3 + x**4 / 8


def epoch(theta, order, h):
    def step(theta, centre):
        return theta - h * jax.grad(of_batch)(theta, centre), None

    return jax.lax.scan(step, theta, CENTRES[order])[0]


epochs = jax.jit(jax.vmap(epoch, (None, 0, None)))


def of_shuffled(theta, h):
    return ig.gradient_field(opt.shuffled_modified_loss(of_batch, h))(theta, (CENTRES,))


@pytest.mark.slow
def test_shuffled_descent_follows_its_loss_on_the_average_over_orders():
    """One epoch: the mean over all 24 orders to order 3, a single order to order 2."""
    theta, sizes = jnp.array([0.5, -0.4]), np.geomspace(2e-3, 2e-2, 5)
    orders = jnp.array(list(itertools.permutations(range(4))))
    mean, one = [], []
    for h in sizes:
        ends = epochs(theta, orders, h)
        end = ig.flow(of_shuffled, theta, jnp.array([0.0, 4 * h]), h)[-1]
        mean.append(np.linalg.norm(ends.mean(0) - end))
        one.append(np.linalg.norm(ends[5] - end))
    assert ig.convergence_order(sizes, mean) == pytest.approx(3, abs=0.1)
    assert ig.convergence_order(sizes, one) == pytest.approx(2, abs=0.1)


@pytest.mark.slow
def test_with_replacement_the_mean_has_the_term_of_plain_descent():
    """(h/4)‖∇E‖² and not (h/4)·mean‖∇E_k‖²: over all 4⁴ sequences, to order 3."""
    theta, sizes = jnp.array([0.5, -0.4]), np.geomspace(2e-3, 2e-2, 5)
    sequences = jnp.array(list(itertools.product(range(4), repeat=4)))

    def whole(theta):
        return jnp.mean(jax.vmap(of_batch, (None, 0))(theta, CENTRES))

    def of_descent(theta, h):
        return ig.gradient_field(ig.modified_loss(whole, h))(theta)

    errors = {"descent": [], "shuffled": []}
    for h in sizes:
        end = epochs(theta, sequences, h).mean(0)
        for name, field in (("descent", of_descent), ("shuffled", of_shuffled)):
            reached = ig.flow(field, theta, jnp.array([0.0, 4 * h]), h)[-1]
            errors[name].append(np.linalg.norm(end - reached))
    assert ig.convergence_order(sizes, errors["descent"]) == pytest.approx(3, abs=0.1)
    assert ig.convergence_order(sizes, errors["shuffled"]) == pytest.approx(2, abs=0.15)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: opt.heavy_ball_modified_loss(loss, 0.1, 1.0), ValueError, "momentum must be at"),
        (lambda: opt.heavy_ball_modified_loss(loss, math.nan, 0.5), ValueError, "learning_rate"),
        (lambda: opt.heavy_ball_modified_loss(loss, 0.1, "0.9"), TypeError, "momentum must be a"),
        (lambda: opt.perturbed_one_norm(loss, 0.0), ValueError, "epsilon must be positive"),
        (lambda: opt.optimizer_field(optax.sgd, loss, 0.1, order=2), ValueError, "order must be"),
        (lambda: opt.optimizer_field(optax.sgd, loss, math.inf), ValueError, "learning_rate"),
        (
            lambda: opt.shuffled_modified_loss(of_batch, 0.1)(
                jnp.zeros(2), (CENTRES, jnp.zeros(3))
            ),
            ValueError,
            r"leading axes \[\(3,\), \(4,\)\]",
        ),
    ],
)
@pytest.mark.usefixtures("without_type_hook")
def test_bad_arguments_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_displacement_of_narrow_parameters_where_wide_ones_are_switched_on(dtype):
    found = ig.optimizers.start_displacement(
        lambda h: optax.sgd(h, momentum=0.5), lambda theta: jnp.sum(theta**2) / 2
    )(jnp.ones(2, dtype))
    assert found.dtype == dtype
    np.testing.assert_allclose(np.asarray(found, float), [2.0, 2.0], rtol=0.05)
