"""What a loss or field reads besides its arguments is read anew at each call, and compiled once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import counted_compilations

import igrlib as ig
from igrlib._programs import shared, traced

TIMES = np.array([0.0, 0.5])
STEP = 0.1


# On E = Σ s²θ²/2, in closed form: θ after one step, θ(t), and f_1 = −s⁴θ/2 and f̃ = f_0 + h·f_1.
def one_step(loss, theta):
    return ig.gradient_descent(loss, theta, STEP, 1).params[1]


def end_of_flow(loss, theta):
    return ig.flow(ig.gradient_field(loss), theta, TIMES)[1]


def first_correction(loss, theta):
    return ig.euler_corrections(ig.gradient_field(loss), 1)(theta)[1]


def modified(loss, theta):
    return ig.modified_field(ig.gradient_field(loss), STEP, 1)(theta)


CLOSED_FORMS = {
    one_step: lambda s: 1 - STEP * s**2,
    end_of_flow: lambda s: np.exp(-TIMES[1] * s**2),
    first_correction: lambda s: -(s**4) / 2,
    modified: lambda s: -(s**2) - STEP * s**4 / 2,
}


class Holder:
    """A loss that is a method, and reads an attribute."""

    def loss(self, theta):
        return jnp.sum((self.scale * theta) ** 2) / 2


def array_changed_in_place():
    held = np.ones(2)
    return lambda theta: jnp.sum((held * theta) ** 2) / 2, lambda s: held.fill(s)


def jax_array_rebound():
    held = [jnp.ones(2)]
    return (
        lambda theta: jnp.sum((held[0] * theta) ** 2) / 2,
        lambda s: held.__setitem__(0, jnp.asarray(np.full(2, s))),
    )


def global_rebound():
    return uses_global, lambda s: globals().__setitem__("SCALE", s)


SCALE = 1.0


def uses_global(theta):
    return jnp.sum((SCALE * theta) ** 2) / 2


def attribute():
    holder = Holder()
    return holder.loss, lambda s: setattr(holder, "scale", s)


def rule_of_its_own():
    """The rule of a custom derivative reads what the function itself reads."""
    held = np.ones(2)

    @jax.custom_jvp
    def half_square(theta):
        return jnp.sum((held * theta) ** 2) / 2

    @half_square.defjvp
    def rule(primals, tangents):
        (theta,), (tangent,) = primals, tangents
        return half_square(theta), jnp.sum(held * held * theta * tangent)

    return half_square, lambda s: held.fill(s)


WAYS = [array_changed_in_place, jax_array_rebound, global_rebound, attribute, rule_of_its_own]


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("compute", list(CLOSED_FORMS))
def test_what_a_loss_reads_is_read_at_each_call(compute, way):
    loss, change = way()
    for scale in (1.0, 2.0, 0.5):
        change(scale)
        found = compute(loss, jnp.ones(2))
        np.testing.assert_allclose(found, CLOSED_FORMS[compute](scale), rtol=1e-9)


def test_a_field_that_is_kept_reads_anew_as_well():
    loss, change = array_changed_in_place()
    field = ig.gradient_field(loss)
    corrections = ig.euler_corrections(field, 1)
    for scale in (1.0, 2.0):
        change(scale)
        np.testing.assert_allclose(
            ig.flow(field, jnp.ones(2), TIMES)[1], np.exp(-TIMES[1] * scale**2), rtol=1e-9
        )
        np.testing.assert_allclose(corrections(jnp.ones(2))[1], -(scale**4) / 2, rtol=1e-14)


def test_the_same_function_object_is_traced_anew():
    loss, change = jax_array_rebound()
    for scale in (1.0, 2.0):
        change(scale)
        assert float(traced(loss, jnp.ones(2))(jnp.ones(2))) == scale**2


@pytest.mark.parametrize("way", [array_changed_in_place, jax_array_rebound])
@pytest.mark.parametrize("compute", list(CLOSED_FORMS))
def test_other_data_of_the_same_shape_compile_nothing(compute, way):
    loss, change = way()
    compute(loss, jnp.ones(2))
    change(2.0)
    theta = jnp.array([1.0, 3.0])
    with counted_compilations() as compilations:
        found = compute(loss, theta)
    assert compilations == []
    np.testing.assert_allclose(found, CLOSED_FORMS[compute](2.0) * theta, rtol=1e-9)


@pytest.mark.parametrize("compute", list(CLOSED_FORMS))
def test_the_same_program_in_another_function_compiles_nothing(compute):
    compute(array_changed_in_place()[0], jnp.ones(2))
    with counted_compilations() as compilations:
        compute(array_changed_in_place()[0], jnp.ones(2))
    assert compilations == []


@pytest.mark.slow
@pytest.mark.parametrize("compute", list(CLOSED_FORMS))
def test_programs_that_differ_in_a_number_differ(compute):
    """The last digits of a number are part of the program."""
    found = [compute(lambda p, s=s: jnp.sum((s * p) ** 2) / 2, jnp.ones(2)) for s in (1, 1 + 1e-12)]
    assert (np.asarray(found[0]) != np.asarray(found[1])).all()


@pytest.mark.slow
@pytest.mark.parametrize("way", [array_changed_in_place, rule_of_its_own])
def test_derivatives_taken_from_outside_read_anew_as_well(way):
    """d/dh of E after one step from θ = 1, Σ s²(1 − hs²)²/2: −s⁴(1 − hs²) for each of two."""
    loss, change = way()
    for scale in (1.0, 2.0, 0.5):
        change(scale)
        last = lambda h: ig.gradient_descent(loss, jnp.ones(2), h, 1).losses[-1]  # noqa: E731
        expected = -2 * scale**4 * (1 - STEP * scale**2)
        np.testing.assert_allclose(jax.grad(last)(STEP), expected, rtol=1e-12)
        np.testing.assert_allclose(jax.vmap(jax.grad(last))(jnp.array([STEP])), expected)


@pytest.mark.slow
@pytest.mark.parametrize("compute", list(CLOSED_FORMS))
def test_traced_captures(compute):
    """A loss may close over what jit, vmap or grad hands it."""
    of_scale = lambda s: compute(lambda p: jnp.sum((s * p) ** 2) / 2, jnp.ones(2))[0]  # noqa: E731
    scales = np.array([1.0, 0.5])
    expected = CLOSED_FORMS[compute](scales)
    np.testing.assert_allclose(jax.vmap(of_scale)(jnp.asarray(scales)), expected, rtol=1e-9)
    np.testing.assert_allclose([jax.jit(of_scale)(s) for s in scales], expected, rtol=1e-9)
    nudge = 1e-6
    slope = (CLOSED_FORMS[compute](1 + nudge) - CLOSED_FORMS[compute](1 - nudge)) / (2 * nudge)
    np.testing.assert_allclose(jax.grad(of_scale)(1.0), slope, rtol=1e-6)


def test_what_is_computed_twice_is_computed_once_and_nothing_else_is():
    seen = []

    def function(t):
        jax.debug.callback(seen.append, t)
        jax.debug.callback(seen.append, t)
        zeros = jnp.copysign(t, 0.0), jnp.copysign(t, -0.0)
        return (jnp.sin(t) + 1) * (jnp.sin(t) + 1), jnp.sin(2 * t), zeros

    at = jnp.array(0.7)
    square, double, signs = shared(function, at)
    np.testing.assert_allclose(square, (np.sin(0.7) + 1) ** 2, rtol=1e-15)
    np.testing.assert_allclose(double, np.sin(1.4), rtol=1e-15)
    assert signs == (0.7, -0.7)
    jax.effects_barrier()
    assert len(seen) == 2
    assert str(jax.make_jaxpr(lambda t: shared(function, t))(at)).count(" sin ") == 2


def test_the_program_of_the_corrections_does_not_double_with_each_order():
    """Without sharing it would almost triple."""
    lengths = []
    for order in (3, 4, 5):
        corrections = ig.euler_corrections(lambda theta: jnp.sin(theta) * theta, order)
        lengths.append(str(jax.make_jaxpr(corrections)(0.5)).count(" = "))
    assert lengths[1] < 1.6 * lengths[0]
    assert lengths[2] < 1.6 * lengths[1]
