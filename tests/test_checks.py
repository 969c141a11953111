"""Bad input, across the public surface: what is raised, what it says, and that it comes early."""

import functools
import re
from fractions import Fraction

import diffrax
import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import optax
import pytest
from helpers import counted_compilations

import igrlib as ig
from igrlib import curvature, edge, geometry, ntk, optimizers

THETA = jnp.ones(3)
INPUTS, ERRORS = jnp.ones((2, 3)), jnp.ones(2)
TIMES = np.array([0.0, 1.0])


# The import hook would refuse some of these itself.
pytestmark = pytest.mark.usefixtures("without_type_hook")


def bowl(params, *args, **kwargs):
    return sum((leaf**2).sum() for leaf in map(jnp.asarray, jax.tree.leaves(params)))


def linear(params, inputs):
    return inputs @ params


def downhill(params):
    return jax.tree.map(lambda leaf: -leaf, params)


def refused(call, kind, *words):
    """`call` raises `kind` before anything is compiled, with a message that holds all `words`."""
    with counted_compilations() as compilations, pytest.raises(kind) as caught:
        call()
    assert compilations == []
    assert type(caught.value) in (TypeError, ValueError)
    for word in words:
        assert re.search(word, str(caught.value)), f"{word!r} not in {caught.value}"


# Everything that takes a loss, as a function of that loss and of parameters.
OF_LOSS = {
    "implicit_gradient_regularizer": lambda loss, p: ig.implicit_gradient_regularizer(loss)(p),
    "modified_loss": lambda loss, p: ig.modified_loss(loss, 0.1)(p),
    "gradient_regularized_loss": lambda loss, p: ig.gradient_regularized_loss(loss, 0.1)(p),
    "gradient_field": lambda loss, p: ig.gradient_field(loss)(p),
    "gradient_descent": lambda loss, p: ig.gradient_descent(loss, p, 0.1, 2),
    "compare": lambda loss, p: ig.compare(loss, p, 0.1, 2),
    "slope": lambda loss, p: geometry.slope(loss)(p),
    "normal_vector": lambda loss, p: geometry.normal_vector(loss)(p),
    "angle": lambda loss, p: geometry.angle(loss)(p),
    "metric_tensor": lambda loss, p: geometry.metric_tensor(loss)(p),
    "volume_element": lambda loss, p: geometry.volume_element(loss)(p),
    "gradient_regularized_value_and_grad": lambda loss, p: ig.gradient_regularized_value_and_grad(
        loss, 0.1
    )(p),
    "largest_hessian_eigenvalue": lambda loss, p: curvature.largest_hessian_eigenvalue(loss)(p),
    "hessian_eigenvalues": lambda loss, p: curvature.hessian_eigenvalues(loss, 2)(p),
    "batch_sharpness": lambda loss, p: curvature.batch_sharpness(loss)(p, (INPUTS,)),
    "probe": lambda loss, p: ig.probe(loss, learning_rate=0.1)(p, [(INPUTS,)]),
    "optimizer_corrections": lambda loss, p: optimizers.optimizer_corrections(optax.sgd, loss)(p),
    "optimizer_field": lambda loss, p: optimizers.optimizer_field(optax.sgd, loss, 0.1)(p),
    "start_displacement": lambda loss, p: optimizers.start_displacement(optax.sgd, loss)(p),
    "heavy_ball_modified_loss": lambda loss, p: optimizers.heavy_ball_modified_loss(loss, 0.1, 0.5)(
        p
    ),
    "shuffled_modified_loss": lambda loss, p: optimizers.shuffled_modified_loss(loss, 0.1)(
        p, (INPUTS,)
    ),
    "perturbed_one_norm": lambda loss, p: optimizers.perturbed_one_norm(loss, 0.1)(p),
    "principal_field": lambda loss, p: edge.principal_field(loss, 0.1, num_directions=1)(p),
    "central_flow": lambda loss, p: edge.central_flow(loss, p, 0.1, TIMES, num_directions=1),
    "rod_flow": lambda loss, p: edge.rod_flow(loss, p, 0.1, TIMES),
}
# And everything that takes parameters.
OF_PARAMS = {
    **{name: lambda p, call=call: call(bowl, p) for name, call in OF_LOSS.items()},
    "num_params": ig.num_params,
    "euler_corrections": lambda p: ig.euler_corrections(downhill, 2)(p),
    "modified_field": lambda p: ig.modified_field(downhill, 0.1, 2)(p),
    "flow": lambda p: ig.flow(downhill, p, TIMES),
    "ntk": lambda p: ntk.ntk(linear, p, INPUTS),
    "ntk_quadratic_form": lambda p: ntk.ntk_quadratic_form(linear, p, INPUTS, ERRORS),
    "ntk_modified_loss": lambda p: ntk.ntk_modified_loss(linear, jnp.sum, 0.1)(p, INPUTS),
}
WRONG_LEAVES = {
    "int": (np.array([1, 2]), "int64"),
    "python int": (3, "int64"),
    "bool": (True, "bool"),
    "complex": (np.array([1j]), "complex128"),
    "text": ("abc", "'abc'"),
    "object": (object(), "object"),
}


@pytest.mark.parametrize("name", OF_PARAMS)
def test_an_integer_leaf_is_named_with_its_path(name):
    params = {"good": np.ones(2), "bad": [np.array([1, 2])]}
    refused(
        lambda: OF_PARAMS[name](params),
        TypeError,
        re.escape("params['bad'][0]"),
        "floating-point",
        "int64",
    )


@pytest.mark.parametrize("name", WRONG_LEAVES)
def test_leaves_that_are_no_real_numbers(name):
    leaf, came = WRONG_LEAVES[name]
    refused(lambda: ig.num_params({"w": leaf}), TypeError, r"params\['w'\]", "floating", came)


@pytest.mark.parametrize("name", OF_PARAMS)
@pytest.mark.parametrize("empty", [{}, (), None, {"a": np.zeros((0, 3))}], ids=repr)
def test_an_empty_pytree(name, empty):
    refused(lambda: OF_PARAMS[name](empty), ValueError, "params", "at least one", "empty")


# Some of them are given batches as well.
WRONG_LOSSES = {
    "vector": (lambda p, *_: p, ValueError, r"\(3,\)"),
    "one number in a vector": (lambda p, *_: p[:1], ValueError, r"\(1,\)"),
    "integer": (lambda p, *_: 3, TypeError, "int"),
    "complex": (lambda p, *_: jax.lax.complex(p[0], p[1]), TypeError, "complex128"),
    "nothing": (lambda p, *_: None, TypeError, "None"),
    "pair": (lambda p, *_: (p[0], p[1]), TypeError, "tuple"),
    "dict": (lambda p, *_: {"loss": p[0]}, TypeError, "dict"),
    "text": (lambda p, *_: "low", TypeError, "low"),
}


@pytest.mark.parametrize("name", OF_LOSS)
@pytest.mark.parametrize("loss", WRONG_LOSSES)
def test_a_loss_that_is_no_real_scalar(name, loss):
    # Slicing is compiled where jax.grad runs a loss eagerly; that is the loss's own doing.
    wrong, kind, came = WRONG_LOSSES[loss]
    with pytest.raises(kind, match=f"^loss must return .*{came}") as caught:
        OF_LOSS[name](wrong, THETA)
    assert type(caught.value) is kind


def test_a_vector_loss_is_refused_before_compiling():
    for call in OF_LOSS.values():
        refused(
            lambda call=call: call(lambda p, *_: p, THETA), ValueError, "loss", r"\(3,\)", "scalar"
        )


@pytest.mark.parametrize("name", OF_LOSS)
def test_a_loss_that_is_no_function(name):
    for wrong in (None, 3.0, "loss"):
        refused(
            lambda wrong=wrong: OF_LOSS[name](wrong, THETA),
            TypeError,
            "loss must be a function",
            type(wrong).__name__,
        )


def test_the_loss_is_looked_at_when_the_transform_is_made():
    for transform in (ig.implicit_gradient_regularizer, ig.gradient_field, geometry.slope):
        refused(lambda transform=transform: transform(None), TypeError, "loss", "NoneType")


@pytest.mark.parametrize("loss", [lambda p: p[0], lambda p: (p[0], 1, 2), lambda p: [p[0], 1]])
def test_has_aux_without_aux(loss):
    with pytest.raises(TypeError, match=r"^loss with has_aux=True must return \(value, aux\)"):
        ig.implicit_gradient_regularizer(loss, has_aux=True)(THETA)


@pytest.mark.parametrize("name", OF_LOSS)
def test_a_forgotten_has_aux(name):
    with pytest.raises(TypeError, match=r"^loss must return .*\(value, aux\) pass has_aux=True"):
        OF_LOSS[name](lambda p, *_: (p.sum(), {"accuracy": 1.0}), THETA)


def test_has_aux_for_a_loss_without_aux():
    with pytest.raises(TypeError, match=r"\(value, aux\), got [\s\S]*: .* leave has_aux out"):
        ig.modified_loss(bowl, 0.1, has_aux=True)(THETA)


@pytest.mark.parametrize("name", OF_PARAMS)
@pytest.mark.parametrize("collection", ["batch_stats", "cache", "intermediates"])
def test_the_whole_variables_of_a_linen_module(name, collection):
    variables = {"params": {"w": np.ones(2)}, collection: {"norm": {"mean": np.ones(2)}}}
    refused(
        lambda: OF_PARAMS[name](variables),
        ValueError,
        f"^params must not hold '{collection}'",
        re.escape("pass variables['params']"),
    )


def test_linen_variables_that_are_parameters_alone():
    for variables in ({"params": {"w": np.ones(2)}}, {"params": np.ones(2), "batch_stats": {}}):
        assert ig.num_params(variables) == 2


@pytest.mark.parametrize("name", OF_LOSS)
def test_arguments_that_the_loss_does_not_take(name):
    with pytest.raises(TypeError, match=r"^loss takes \(params, x, y, z\): missing .*'[xy]'"):
        OF_LOSS[name](lambda params, x, y, z: 0.0, THETA)


def test_a_keyword_that_the_loss_does_not_take():
    regularizer = ig.implicit_gradient_regularizer(lambda theta, scale=1.0: scale * bowl(theta))
    assert regularizer(THETA, scale=0.5) == 1
    with pytest.raises(
        TypeError, match=r"^loss takes \(theta, scale\): .*keyword.*'learning_rate'"
    ):
        regularizer(THETA, learning_rate=0.1)


def test_an_error_inside_the_loss_stays_as_it_is():
    with pytest.raises(TypeError, match=r"^unsupported operand"):
        ig.modified_loss(lambda p: p + "a", 0.1)(THETA)

    @functools.wraps(lambda p, x, y: None)  # It says what it does not take.
    def other(p):
        return bowl(p)

    assert ig.modified_loss(other, 0.0)(THETA) == 3


def test_has_aux_with_a_vector():
    with pytest.raises(ValueError, match=r"^loss must return a scalar.*\(3,\)"):
        geometry.slope(lambda p: (p, 1), has_aux=True)(THETA)


# Every scalar rate, and whether it must be positive as well.
RATES = {
    "modified_loss": ("learning_rate", lambda h: ig.modified_loss(bowl, h)),
    "regularization_rate": ("learning_rate", lambda h: ig.regularization_rate(h, 3)),
    "gradient_regularized_loss": ("mu", lambda h: ig.gradient_regularized_loss(bowl, h)),
    "modified_field": ("learning_rate", lambda h: ig.modified_field(downhill, h, 1)),
    "field_from_iterates": ("learning_rate", lambda h: ig.field_from_iterates(np.ones((3, 2)), h)),
    "gradient_descent": ("learning_rate", lambda h: ig.gradient_descent(bowl, THETA, h, 2)),
    "compare": ("learning_rate", lambda h: ig.compare(bowl, THETA, h, 2)),
    "ntk_modified_loss": ("learning_rate", lambda h: ntk.ntk_modified_loss(linear, jnp.sum, h)),
    "principal_field": (
        "learning_rate",
        lambda h: edge.principal_field(bowl, h, num_directions=1),
    ),
    "central_flow": (
        "learning_rate",
        lambda h: edge.central_flow(bowl, THETA, h, TIMES, num_directions=1),
    ),
    "rod_flow": ("learning_rate", lambda h: edge.rod_flow(bowl, THETA, h, TIMES)),
}
NO_NUMBERS = [
    "0.1",
    b"1",
    None,
    True,
    1j,
    [0.1],
    {},
    object(),
    Fraction(1, 10),
    np.bool_(True),
]


@pytest.mark.parametrize("name", RATES)
@pytest.mark.parametrize(
    "value", [np.nan, np.inf, -np.inf, np.float32(np.nan), np.array(np.inf)], ids=repr
)
def test_a_rate_that_is_not_finite(name, value):
    argument, call = RATES[name]
    refused(lambda: call(value), ValueError, f"^{argument} must be finite", "nan|inf")


@pytest.mark.parametrize("name", RATES)
def test_a_traced_constant_is_looked_at_too(name):
    argument, call = RATES[name]
    infinite = jnp.array(jnp.inf)
    refused(lambda: call(infinite), ValueError, argument, "finite", "inf")


@pytest.mark.parametrize("name", RATES)
@pytest.mark.parametrize("value", NO_NUMBERS, ids=lambda value: type(value).__name__)
def test_a_rate_that_is_no_real_number(name, value):
    argument, call = RATES[name]
    refused(lambda: call(value), TypeError, f"^{argument} must be a real number, got ")


@pytest.mark.parametrize("name", RATES)
def test_a_rate_that_is_no_scalar(name):
    argument, call = RATES[name]
    refused(lambda: call(np.ones(2)), ValueError, argument, "scalar", r"\(2,\)")


@pytest.mark.parametrize("value", [0, 0.0, -0.1, -1, -1e-30])
@pytest.mark.parametrize(
    "call",
    [
        ig.gradient_descent,
        ig.compare,
        lambda loss, p, h, _: edge.rod_flow(loss, p, h, TIMES),
        lambda loss, p, h, _: edge.central_flow(loss, p, h, TIMES, num_directions=1),
        lambda loss, p, h, _: edge.principal_field(loss, h, num_directions=1)(p),
    ],
)
def test_a_step_of_gradient_descent_that_is_not_positive(call, value):
    refused(
        lambda: call(bowl, THETA, value, 2),
        ValueError,
        "^learning_rate must be positive",
        re.escape(str(value)),
    )


@pytest.mark.parametrize("value", [0, 0.0, np.array(0.0)])
def test_a_field_from_iterates_no_time_apart(value):
    refused(
        lambda: ig.field_from_iterates(np.ones((3, 2)), value),
        ValueError,
        "^learning_rate must not be 0",
    )


def test_rates_of_other_signs_and_types_are_welcome():
    assert float(ig.modified_loss(bowl, -0.1)(THETA)) == pytest.approx(3 - 0.1 / 4 * 12)
    assert float(ig.gradient_regularized_loss(bowl, 0)(THETA)) == 3
    assert float(ig.gradient_regularized_loss(bowl, np.array(1))(THETA)) == 15
    assert ig.regularization_rate(np.float32(1), np.int32(4)) == 1


# Integers, by name: what they belong to, their least value and, where there is one, their greatest.
INTEGERS = {
    "order of euler_corrections": ("order", lambda n: ig.euler_corrections(downhill, n), 0, 5),
    "order of modified_field": ("order", lambda n: ig.modified_field(downhill, 0.1, n), 0, 5),
    "num_params": ("num_params", lambda n: ig.regularization_rate(0.1, n), 1, None),
    "num_steps": ("num_steps", lambda n: ig.gradient_descent(bowl, THETA, 0.1, n), 0, None),
    "save_every": (
        "save_every",
        lambda n: ig.gradient_descent(bowl, THETA, 0.1, 4, save_every=n),
        1,
        None,
    ),
    "max_steps": ("max_steps", lambda n: ig.flow(downhill, THETA, TIMES, max_steps=n), 1, None),
    "num_steps of compare": ("num_steps", lambda n: ig.compare(bowl, THETA, 0.1, n), 1, None),
    **{
        f"{name} of compare": (
            name,
            lambda n, name=name: ig.compare(bowl, THETA, 0.1, 2, **{name: n}),
            1,
            None,
        )
        for name in ("num_matvecs", "max_steps")
    },
    "num_directions of principal_field": (
        "num_directions",
        lambda n: edge.principal_field(bowl, 0.1, num_directions=n),
        1,
        None,
    ),
    "num_directions of central_flow": (
        "num_directions",
        lambda n: edge.central_flow(bowl, THETA, 0.1, TIMES, num_directions=n),
        1,
        8,
    ),
    **{
        f"{name} of central_flow": (
            name,
            lambda n, name=name: edge.central_flow(
                bowl, THETA, 0.1, TIMES, num_directions=1, **{name: n}
            ),
            least,
            None,
        )
        for name, least in (("substeps", 2), ("max_iterations", 1))
    },
    "order of rod_flow": ("order", lambda n: edge.rod_flow(bowl, THETA, 0.1, TIMES, order=n), 1, 4),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", INTEGERS)
def test_integers_out_of_range_or_of_another_type(name):
    argument, call, low, high = INTEGERS[name]
    for value in (low - 1, -100):
        wanted = f"at least {low}" if high is None else f"between {low} and {high}"
        refused(lambda v=value: call(v), ValueError, f"^{argument} must be {wanted}, got {value}$")
    for value in (1.0, "2", None, True, np.array(2.0)):
        refused(lambda v=value: call(v), TypeError, f"^{argument} must be an integer")
    if high is not None:
        refused(lambda: call(high + 1), ValueError, f"{argument} must be .*, got {high + 1}$")
        call(np.int32(high))


@pytest.mark.parametrize("value", ["max", "SUM", None, 1])
def test_normalization(value):
    refused(
        lambda: ig.gradient_regularized_loss(bowl, 0.1, normalization=value),
        ValueError,
        '^normalization must be "sum" or "mean"',
        re.escape(repr(value)),
    )


# Fields.
FIELD_CALLS = {
    "euler_corrections": lambda field, p: ig.euler_corrections(field, 1)(p),
    "modified_field": lambda field, p: ig.modified_field(field, 0.1, 1)(p),
    "flow": lambda field, p: ig.flow(field, p, TIMES),
}


@pytest.mark.parametrize("name", FIELD_CALLS)
def test_a_field_unlike_its_argument(name):
    call, params = FIELD_CALLS[name], {"a": jnp.ones(2), "b": jnp.ones(())}
    for wrong, kind, words in (
        (lambda p: {"a": p["a"]}, ValueError, ("structure of params", "'b'")),
        (lambda p: (p["a"], p["b"]), ValueError, ("structure of params",)),
        (lambda p: None, ValueError, ("structure of params",)),
        (lambda p: {"a": p["b"], "b": p["b"]}, ValueError, (r"\['a'\]", r"\(2,\)", r"\(\)")),
        (lambda p: {"a": p["a"], "b": p["a"]}, ValueError, (r"\['b'\]", r"\(2,\)", r"\(\)")),
    ):
        with pytest.raises(kind) as caught:
            call(wrong, params)
        assert type(caught.value) is kind
        for word in ("^the value of field", *words):
            assert re.search(word, str(caught.value))


@pytest.mark.parametrize("name", FIELD_CALLS)
def test_a_field_of_complex_numbers_or_of_text(name):
    for wrong, came in ((lambda p: 1j * p, "complex128"), (lambda p: "up", "up")):
        with pytest.raises(TypeError, match=f"^the value of field.*{came}"):
            FIELD_CALLS[name](wrong, 1.0)


def test_a_field_that_is_no_function():
    for call in FIELD_CALLS.values():
        refused(
            lambda call=call: call(None, THETA), TypeError, "field must be a function", "NoneType"
        )
    refused(lambda: ig.euler_corrections(3, 1), TypeError, "field", "int")


# Iterates.
@pytest.mark.parametrize(
    ("iterates", "kind", "words"),
    [
        (np.array([[1, 2], [3, 4]]), TypeError, ("floating-point", "int64")),
        (np.ones((1, 3)), ValueError, ("2 or more", r"\(1,\)")),
        (np.array(1.0), ValueError, ("2 or more", r"\(\)")),
        ({"a": np.ones((3, 2)), "b": np.ones(4)}, ValueError, ("2 or more", r"\(3,\)", r"\(4,\)")),
        ({"a": np.ones((3, 2)), "b": np.array(1.0)}, ValueError, ("2 or more", r"\(\)")),
        ({}, ValueError, ("at least one",)),
        (np.zeros((3, 0)), ValueError, ("at least one",)),
    ],
)
def test_iterates(iterates, kind, words):
    refused(lambda: ig.field_from_iterates(iterates, 0.1), kind, "^iterates", *words)


# Fitted orders.
@pytest.mark.parametrize(
    ("steps", "errors", "words"),
    [
        ([0.1], [1.0], (r"\(1,\)", "2 or more")),
        ([0.1, 0.2], [1.0], (r"\(2,\)", r"\(1,\)")),
        ([[0.1, 0.2]], [[1.0, 2.0]], ("one-dimensional", r"\(1, 2\)")),
        ([0.1, 0.2], [1.0, 0.0], ("^errors must be positive", "0")),
        ([0.1, 0.2], [1.0, np.nan], ("^errors must be positive", "nan")),
        ([0.1, -0.2], [1.0, 2.0], ("^step_sizes must be positive", "-0.2")),
        ([0.1, np.inf], [1.0, 2.0], ("^step_sizes must be positive", "inf")),
        ([0.1, 0.1], [1.0, 2.0], ("^step_sizes must differ", "0.1")),
        ([], [], (r"\(0,\)",)),
    ],
)
def test_convergence_order(steps, errors, words):
    refused(lambda: ig.convergence_order(steps, errors), ValueError, *words)


# Times and tolerances.
@pytest.mark.parametrize(
    ("times", "words"),
    [
        (np.array([0.0]), ("two or more", r"\(1,\)")),
        (np.array(1.0), ("two or more", r"\(\)")),
        (np.ones((2, 2)), ("two or more", r"\(2, 2\)")),
        (np.array([]), ("two or more", r"\(0,\)")),
        (np.array([0.0, 1.0, 1.0]), ("increase strictly",)),
        (np.array([0.0, -1.0]), ("increase strictly", "-1")),
        (np.array([0.0, np.nan]), ("finite", "nan")),
        (np.array([0.0, np.inf]), ("finite", "inf")),
    ],
)
def test_times(times, words):
    refused(lambda: ig.flow(downhill, 1.0, times), ValueError, "^times must be", *words)
    refused(
        lambda: edge.central_flow(bowl, THETA, 0.1, times, num_directions=1),
        ValueError,
        "^times must be",
        *words,
    )


def test_times_that_float32_cannot_tell_apart():
    with pytest.raises(ValueError, match=r"^times must be finite and increase strictly"):
        ig.flow(downhill, np.ones(2, np.float32), np.array([1e8, 1e8 + 1]))


@pytest.mark.parametrize("name", ["rtol", "atol"])
def test_tolerances(name):
    wrong = [(0.0, ValueError), (-1e-3, ValueError), (np.nan, ValueError), ("x", TypeError)]
    for value, kind in wrong:
        with pytest.raises(kind, match=f"^{name} must be"):
            ig.flow(downhill, 1.0, TIMES, **{name: value})
        refused(
            lambda v=value: ig.compare(bowl, THETA, 0.1, 2, **{name: v}), kind, f"^{name} must be"
        )


WRONG_SOLVERS = {
    "a class": (diffrax.Tsit5, TypeError, "Tsit5"),
    "a name": ("Tsit5", TypeError, "'Tsit5'"),
    "without an estimate": (diffrax.Euler(), ValueError, "diffrax.HalfSolver"),
    "of two fields": (diffrax.SemiImplicitEuler(), ValueError, "SemiImplicitEuler"),
    "of two terms": (diffrax.KenCarp4(), ValueError, "several terms"),
}


@pytest.mark.parametrize("name", WRONG_SOLVERS)
def test_what_is_no_solver_of_a_flow(name):
    solver, kind, came = WRONG_SOLVERS[name]
    for call in (
        lambda: ig.flow(downhill, THETA, TIMES, solver=solver),
        lambda: ig.compare(bowl, THETA, 0.1, 2, solver=solver),
    ):
        wanted = r"^solver must be a diffrax solver that estimates its error, such as diffrax.Tsit5"
        refused(call, kind, wanted, came)


# What the loss or field is given beside the parameters.
OF_ARGS = {
    "flow": lambda *args: ig.flow(lambda p, *_: -p, THETA, TIMES, *args),
    "compare": lambda *args: ig.compare(lambda p, *_: bowl(p), THETA, 0.1, 2, *args),
}


@pytest.mark.parametrize("name", OF_ARGS)
@pytest.mark.parametrize(
    "wrong", ["abc", object(), np.array(["a"]), bowl], ids=lambda x: type(x).__name__
)
def test_arguments_that_are_no_arrays(name, wrong):
    refused(
        lambda: OF_ARGS[name](1.0, {"x": np.ones(2), "y": wrong}),
        TypeError,
        r"^args\[1\]\['y'\] must be an array or a number, got ",
    )


# The kernel.
NTK_CALLS = {
    "ntk": lambda model: ntk.ntk(model, THETA, INPUTS),
    "ntk_quadratic_form": lambda model: ntk.ntk_quadratic_form(model, THETA, INPUTS, jnp.ones(2)),
    "ntk_modified_loss": lambda model: ntk.ntk_modified_loss(model, jnp.sum, 0.1)(THETA, INPUTS),
}
WRONG_MODELS = {
    "a number": (lambda p, x: p[0], ValueError, r"\(\)"),
    "three axes": (lambda p, x: p[None, None], ValueError, r"\(1, 1, 3\)"),
    "a tuple": (lambda p, x: (x @ p,), TypeError, "tuple"),
    "nothing": (lambda p, x: None, TypeError, "None"),
    "integers": (lambda p, x: jnp.arange(2), TypeError, "int64"),
    "complex": (lambda p, x: 1j * (x @ p), TypeError, "complex128"),
}


@pytest.mark.parametrize("name", NTK_CALLS)
@pytest.mark.parametrize("model", WRONG_MODELS)
def test_a_model_with_other_outputs(name, model):
    wrong, kind, came = WRONG_MODELS[model]
    with pytest.raises(kind, match=f"^model must return .*{came}") as caught:
        NTK_CALLS[name](wrong)
    assert type(caught.value) is kind


@pytest.mark.parametrize("name", NTK_CALLS)
def test_a_model_that_is_no_function(name):
    with pytest.raises(TypeError, match=r"^model must be a function, got NoneType"):
        NTK_CALLS[name](None)


@pytest.mark.parametrize(
    ("errors", "came"), [(jnp.ones(3), r"\(3,\)"), (jnp.ones((2, 1)), r"\(2, 1\)"), (1.0, r"\(\)")]
)
def test_errors_of_another_shape(errors, came):
    with pytest.raises(ValueError, match=rf"^errors must have the shape .*\(2,\), got {came}"):
        ntk.ntk_quadratic_form(linear, THETA, INPUTS, errors)


@pytest.mark.parametrize("loss", WRONG_LOSSES)
def test_an_output_loss_that_is_no_real_scalar(loss):
    wrong, kind, came = WRONG_LOSSES[loss]
    with pytest.raises(kind, match=f"must return .*{came}"):
        ntk.ntk_modified_loss(lambda p, x: p, wrong, 0.1)(THETA, INPUTS)


def test_an_output_loss_that_is_no_function():
    refused(lambda: ntk.ntk_modified_loss(linear, None, 0.1), TypeError, "loss", "NoneType")


def test_traced_values_are_taken_on_trust():
    """Under jit a value cannot be looked at; it must not be refused for that."""
    found = jax.jit(lambda h: ig.gradient_descent(bowl, THETA, h, 1).params[-1])(-0.5)
    np.testing.assert_allclose(found, 2)
    found = jax.jit(lambda h: ig.modified_loss(bowl, h)(THETA))(jnp.inf)
    assert np.isinf(found)
    found = jax.jit(lambda h: ig.field_from_iterates(jnp.eye(2), h))(0.0)
    assert np.isinf(found).all()


# Arrays of numbers: lists are taken, and what holds no numbers is refused by name.
NO_NUMBERS = [None, "abc", [1.0, "a"], [[1.0], [1.0, 2.0]], np.array([1j, 2]), [True, False]]
ARRAYS = {
    "times": lambda value: ig.flow(downhill, 1.0, value),
    "step_sizes": lambda value: ig.convergence_order(value, [1.0, 2.0]),
    "errors": lambda value: ig.convergence_order([1.0, 2.0], value),
    "errors of the kernel": lambda value: ntk.ntk_quadratic_form(linear, THETA, INPUTS, value),
}


@pytest.mark.parametrize("name", ARRAYS)
@pytest.mark.parametrize("value", NO_NUMBERS, ids=repr)
def test_what_holds_no_real_numbers(name, value):
    with pytest.raises(TypeError, match=f"^{name.split()[0]} must be an array of real numbers"):
        ARRAYS[name](value)


@pytest.mark.slow
@pytest.mark.parametrize("name", ARRAYS)
def test_lists_and_arrays_of_the_other_byte_order(name):
    expected = ARRAYS[name](np.array([0.5, 0.75]))
    for value in ([0.5, 0.75], np.array([0.5, 0.75], ">f8"), (0.5, 0.75)):
        np.testing.assert_array_equal(ARRAYS[name](value), expected)


@pytest.mark.slow
@pytest.mark.parametrize("name", OF_PARAMS)
def test_params_of_the_other_byte_order(name):
    def leaves(params):
        found = OF_PARAMS[name](params)
        found = found.as_matrix() if isinstance(found, lx.AbstractLinearOperator) else found
        return jax.tree.leaves(found)

    theta = np.array([1.0, 2.0, 3.0])
    for found, expected in zip(leaves(theta.astype(">f8")), leaves(theta), strict=True):
        np.testing.assert_array_equal(found, expected)
