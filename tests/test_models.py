"""Whole Equinox and NNX models in the place of params: the same bits as of the plain pytree."""

import collections.abc
import importlib
import inspect
import re
import typing
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from test_package import THEORY

import igrlib as ig
from igrlib import curvature, edge, geometry, ntk, optimizers

RNG = np.random.default_rng(3)
PARAMS = {"b": jnp.asarray(RNG.normal(size=2)), "w": jnp.asarray(RNG.normal(size=(3, 2)))}
X, Y = jnp.asarray(RNG.normal(size=(4, 3))), jnp.asarray(RNG.normal(size=(4, 2)))
BATCHES = (X.reshape(2, 2, 3), Y.reshape(2, 2, 2))
H = 0.3


class Net(eqx.Module):
    """Beside the parameters an integer, a function and a word, none of which is static."""

    b: jax.Array
    w: jax.Array
    steps: jax.Array
    activation: Callable[..., Any]
    name: str


class NNXNet(nnx.Module):
    def __init__(self) -> None:
        self.b, self.w = nnx.Param(PARAMS["b"]), nnx.Param(PARAMS["w"])
        self.seen = nnx.BatchStat(jnp.zeros(2))
        self.steps = nnx.Variable(jnp.array(0))


class Form(NamedTuple):
    """One network: the model, the filter, and its parameters read from a model and written."""

    model: Callable[[], Any]
    wrt: Any
    read: Callable[[Any], Any]
    write: Callable[[Any, Any], Any]

    def outputs(self, model, x):
        params = self.read(model)
        outputs = jnp.tanh(x @ params["w"] + params["b"][None])
        if isinstance(model, NNXNet):  # As batch norm does.
            model.seen[...] = model.seen[...] + outputs.mean(0)
        return outputs

    def loss(self, model, x, y):
        return jnp.mean((self.outputs(model, x) - y) ** 2)

    def step(self, model, h, x, y):
        def of_params(params):
            return self.loss(self.write(model, params), x, y)

        params = self.read(model)
        gradient = jax.grad(of_params)(params)
        return self.write(model, jax.tree.map(lambda p, g: p - h * g, params, gradient))


def written_nnx(model, params):
    graph, state = nnx.split(model)
    model = nnx.merge(graph, jax.tree.map(lambda leaf: leaf, state))
    model.b[...], model.w[...] = params["b"], params["w"]
    return model


PLAIN = Form(lambda: PARAMS, None, lambda m: m, lambda m, p: p)
EQUINOX = Form(
    lambda: Net(PARAMS["b"], PARAMS["w"], jnp.array(0), jnp.tanh, "net"),
    eqx.is_inexact_array,
    lambda m: {"b": m.b, "w": m.w},
    lambda m, p: eqx.tree_at(lambda m: (m.b, m.w), m, (p["b"], p["w"])),
)
NNX = Form(NNXNet, nnx.Param, lambda m: {"b": m.b[...], "w": m.w[...]}, written_nnx)
FORMS = {"equinox": EQUINOX, "nnx": NNX}


def momentum(h):
    return optax.sgd(h, momentum=0.5)


def of_loss(function, *args, **settings):
    """The call of a function that takes a loss first, and gives one of params and of X and Y."""
    return lambda form, m: function(form.loss, *args, wrt=form.wrt, **settings)(m, X, Y)


def field(form):
    return ig.gradient_field(form.loss, wrt=form.wrt)


# Everything that takes `wrt`.
CALLS = {
    "implicit_gradient_regularizer": of_loss(ig.implicit_gradient_regularizer),
    "modified_loss": of_loss(ig.modified_loss, H),
    "gradient_regularized_loss": of_loss(ig.gradient_regularized_loss, H),
    "gradient_regularized_value_and_grad": of_loss(
        ig.gradient_regularized_value_and_grad, H, terms=True
    ),
    "gradient_field": of_loss(ig.gradient_field),
    "slope": of_loss(geometry.slope),
    "normal_vector": of_loss(geometry.normal_vector),
    "angle": of_loss(geometry.angle),
    "metric_tensor": lambda form, m: of_loss(geometry.metric_tensor)(form, m).mv(
        field(form)(m, X, Y)
    ),
    "volume_element": of_loss(geometry.volume_element),
    "euler_corrections": lambda form, m: ig.euler_corrections(field(form), 1, wrt=form.wrt)(
        m, X, Y
    ),
    "modified_field": lambda form, m: ig.modified_field(field(form), H, 1, wrt=form.wrt)(m, X, Y),
    "step_corrections": lambda form, m: ig.step_corrections(form.step, 1, wrt=form.wrt)(m, X, Y),
    "step_field": lambda form, m: ig.step_field(form.step, H, 1, wrt=form.wrt)(m, X, Y),
    "largest_hessian_eigenvalue": of_loss(curvature.largest_hessian_eigenvalue, num_matvecs=4),
    "hessian_eigenvalues": of_loss(curvature.hessian_eigenvalues, 2, num_matvecs=4),
    "batch_sharpness": lambda form, m: curvature.batch_sharpness(form.loss, wrt=form.wrt)(
        m, BATCHES
    ),
    "probe": lambda form, m: ig.probe(form.loss, learning_rate=H, num_matvecs=2, wrt=form.wrt)(
        m, [(X[:3], Y[:3]), (X[3:], Y[3:])]
    ),
    "optimizer_corrections": lambda form, m: optimizers.optimizer_corrections(
        momentum, form.loss, wrt=form.wrt
    )(m, X, Y),
    "optimizer_field": lambda form, m: optimizers.optimizer_field(
        momentum, form.loss, H, wrt=form.wrt
    )(m, X, Y),
    "start_displacement": lambda form, m: optimizers.start_displacement(
        momentum, form.loss, wrt=form.wrt
    )(m, X, Y),
    "heavy_ball_modified_loss": of_loss(optimizers.heavy_ball_modified_loss, H, 0.5),
    "shuffled_modified_loss": lambda form, m: optimizers.shuffled_modified_loss(
        form.loss, H, wrt=form.wrt
    )(m, BATCHES),
    "perturbed_one_norm": of_loss(optimizers.perturbed_one_norm, 0.1),
    "principal_field": lambda form, m: edge.principal_field(
        form.loss, H, num_directions=1, num_matvecs=4, wrt=form.wrt
    )(m, X, Y),
    "ntk": lambda form, m: ntk.ntk(form.outputs, m, X, wrt=form.wrt),
    "ntk_quadratic_form": lambda form, m: ntk.ntk_quadratic_form(
        form.outputs, m, X, Y, wrt=form.wrt
    ),
    "ntk_modified_loss": lambda form, m: ntk.ntk_modified_loss(
        form.outputs, lambda f, y: jnp.mean((f - y) ** 2), H, wrt=form.wrt
    )(m, X, Y),
}


def leaves(tree):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]


def same(found, expected, rtol=0.0):
    for one, other in zip(leaves(found), leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=rtol)


def public_functions():
    for module in map(importlib.import_module, THEORY):
        for name in module.__all__:
            if inspect.isfunction(getattr(module, name)):
                yield name, inspect.signature(getattr(module, name))


def test_the_table_holds_everything_that_takes_wrt():
    takes = {name for name, signature in public_functions() if "wrt" in signature.parameters}
    assert takes == set(CALLS)


def test_whatever_makes_a_function_of_params_from_one_takes_wrt():
    lacking = [
        name
        for name, signature in public_functions()
        if {"loss", "field", "step", "model"} & set(signature.parameters)
        and typing.get_origin(signature.return_annotation) is collections.abc.Callable
        and "wrt" not in signature.parameters
    ]
    assert lacking == []


@pytest.mark.slow
@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("form", FORMS)
def test_a_whole_model_gives_the_numbers_of_its_parameters(name, form):
    form, call = FORMS[form], CALLS[name]
    model = form.model()
    same(call(form, model), call(PLAIN, PARAMS))
    if form is NNX:  # The loss assigns to a copy.
        np.testing.assert_array_equal(model.seen[...], 0)


def test_the_form_of_what_is_like_params():
    model = EQUINOX.model()
    found = field(EQUINOX)(model, X, Y)
    assert jax.tree.structure(found) == jax.tree.structure(eqx.filter(model, eqx.is_inexact_array))
    assert (found.steps, found.activation, found.name) == (None, None, None)
    found = field(NNX)(NNXNet(), X, Y)
    assert isinstance(found, nnx.State)
    assert set(found) == {"b", "w"}


@pytest.mark.parametrize(
    ("form", "wrt"),
    [
        (
            "equinox",
            eqx.tree_at(lambda m: m.w, jax.tree.map(lambda _: False, EQUINOX.model()), True),
        ),
        ("equinox", lambda leaf: eqx.is_inexact_array(leaf) and leaf.ndim == 2),
        ("nnx", nnx.All(nnx.Param, nnx.PathContains("w"))),
        ("nnx", lambda path, _: path == ("w",)),
        ("nnx", [nnx.PathContains("w")]),
    ],
)
def test_a_filter_that_leaves_parameters_alone(form, wrt):
    form = FORMS[form]
    found = ig.gradient_field(form.loss, wrt=wrt)(form.model(), X, Y)
    same(found, ig.gradient_field(PLAIN.loss)(PARAMS, X, Y)["w"])


def test_a_pytree_of_filters_on_the_top_of_a_dictionary():
    variables = {"params": PARAMS, "batch_stats": {"mean": jnp.ones(2)}}
    found = ig.gradient_field(
        lambda v, x, y: PLAIN.loss(v["params"], x, y) * v["batch_stats"]["mean"].sum(),
        wrt={"params": True, "batch_stats": False},
    )(variables, X, Y)
    same(found["params"], ig.gradient_field(lambda p: 2 * PLAIN.loss(p, X, Y))(PARAMS))
    assert found["batch_stats"] == {"mean": None}


# Training.
def training(wrt, form):
    return ig.gradient_regularized_value_and_grad(form.loss, 0.1, wrt=wrt)


@jax.jit
def plain_steps(params):
    optimizer = optax.adam(H)
    state = optimizer.init(params)
    for _ in range(3):
        _, gradient = training(None, PLAIN)(params, X, Y)
        updates, state = optimizer.update(gradient, state, params)
        params = optax.apply_updates(params, updates)
    return params


def test_training_steps_of_an_equinox_model():
    optimizer = optax.adam(H)

    @eqx.filter_jit
    def steps(model):
        state = optimizer.init(eqx.filter(model, eqx.is_inexact_array))
        for _ in range(3):
            _, gradient = training(eqx.is_inexact_array, EQUINOX)(model, X, Y)
            updates, state = optimizer.update(gradient, state, model)
            model = eqx.apply_updates(model, updates)
        return model

    same(EQUINOX.read(steps(EQUINOX.model())), plain_steps(PARAMS))


def test_training_steps_of_an_nnx_model():
    model = NNXNet()
    optimizer = nnx.Optimizer(model, optax.adam(H), wrt=nnx.Param)

    @nnx.jit
    def steps(model, optimizer):
        for _ in range(3):
            _, gradient = training(nnx.Param, NNX)(model, X, Y)
            optimizer.update(model, gradient)

    steps(model, optimizer)
    # Another program, for it has statistics besides.
    same(NNX.read(model), plain_steps(PARAMS), rtol=1e-12)


def test_steps_of_plain_descent_by_nnx_update():
    model = NNXNet()
    gradient = field(NNX)(model, X, Y)
    nnx.update(model, jax.tree.map(lambda p, f: p + H * f, nnx.state(model, nnx.Param), gradient))
    same(NNX.read(model), PLAIN.step(PARAMS, H, X, Y))


def test_gradients_of_a_modified_loss_as_each_library_takes_them():
    expected = jax.jit(jax.grad(ig.modified_loss(PLAIN.loss, H)))(PARAMS, X, Y)
    of_equinox = ig.modified_loss(EQUINOX.loss, H, wrt=eqx.is_inexact_array)
    same(eqx.filter_jit(eqx.filter_grad(of_equinox))(EQUINOX.model(), X, Y), expected)
    of_nnx = ig.modified_loss(NNX.loss, H, wrt=nnx.Param)
    same(nnx.jit(nnx.grad(of_nnx))(NNXNet(), X, Y), expected)


def test_what_the_loss_changes_comes_back_as_aux():
    def loss(model, x, y):
        return NNX.loss(model, x, y), nnx.state(model, nnx.BatchStat)

    model = NNXNet()
    (_, changed), _ = ig.gradient_regularized_value_and_grad(
        loss, 0.1, has_aux=True, wrt=nnx.Param
    )(model, X, Y)
    np.testing.assert_array_equal(model.seen[...], 0)
    nnx.update(model, changed)
    np.testing.assert_allclose(model.seen[...], PLAIN.outputs(PARAMS, X).mean(0), rtol=1e-12)


# What goes wrong.
WRONG = {
    "equinox": [
        (3, TypeError, "function of a leaf.*got 3"),
        ({}, TypeError, "function of a leaf.*got {}"),
        (nnx.Param, TypeError, "function of a leaf.*Param.*nnx.Module"),
        (nnx.All(nnx.Param), TypeError, "function of a leaf.*Param.*nnx.Module"),
        (eqx.is_array, TypeError, r"floating-point arrays alone, got params\.steps of dtype int"),
        (callable, TypeError, r"floating-point arrays alone, got params\.activation"),
        (lambda leaf: False, ValueError, "at least one array"),
        ([True], ValueError, "like params"),
    ],
    "nnx": [
        (3, TypeError, "filter of NNX.*got 3"),
        ({}, TypeError, "filter of NNX.*got {}"),
        (eqx.is_inexact_array, TypeError, "filter of NNX.*got .*is_inexact_array"),
        (..., TypeError, r"floating-point arrays alone, got params\['steps'\].* of dtype int"),
        (nnx.Intermediate, ValueError, "at least one array"),
    ],
}


@pytest.mark.parametrize(
    ("form", "wrt", "kind", "message"),
    [(form, *wrong) for form, rows in WRONG.items() for wrong in rows],
)
@pytest.mark.parametrize("name", CALLS)
def test_a_wrong_filter_is_named(name, form, wrt, kind, message):
    with pytest.raises(kind, match=f"^wrt must .*{message}"):
        CALLS[name](FORMS[form]._replace(wrt=wrt), FORMS[form].model())


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize(
    ("form", "wrt"), [("equinox", "eqx.is_inexact_array"), ("nnx", "nnx.Param")]
)
def test_a_whole_model_without_wrt(name, form, wrt):
    with pytest.raises(TypeError, match=f"^params.*pass wrt={re.escape(wrt)}"):
        CALLS[name](FORMS[form]._replace(wrt=None), FORMS[form].model())


@pytest.mark.usefixtures("without_type_hook")
def test_other_arguments_are_looked_at_before_there_is_a_model():
    with pytest.raises(ValueError, match=r"^learning_rate must be finite"):
        ig.modified_loss(EQUINOX.loss, np.nan, wrt=eqx.is_inexact_array)
    with pytest.raises(TypeError, match=r"^loss must be a function"):
        curvature.batch_sharpness(None, wrt=nnx.Param)
    with pytest.raises(TypeError, match=r"^model must be a function"):
        ntk.ntk(None, EQUINOX.model(), X, wrt=eqx.is_inexact_array)
    with pytest.raises(TypeError, match=r"^step must be a function"):
        ig.step_corrections(None, 1, wrt=eqx.is_inexact_array)


def test_an_argument_that_the_loss_does_not_take():
    with pytest.raises(TypeError, match=r"^loss takes \(model, x, y\): .*'learning_rate'"):
        ig.modified_loss(EQUINOX.loss, H, wrt=eqx.is_inexact_array)(
            EQUINOX.model(), X, Y, learning_rate=0.1
        )
