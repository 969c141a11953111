"""The ensemble against loops in NumPy, and against itself cut into other pieces."""

import json
import os
import subprocess
import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import flat
from helpers.ensembles import (
    IMAGES,
    LABELS,
    MANY,
    MEMBERS,
    MLP,
    N,
    host,
    init,
    model,
    same_bits,
    trained_together,
)
from helpers.mlp import (
    add_numpy,
    layers_of,
    log_softmax_numpy,
    loss_and_gradient_numpy,
    params_of,
)
from jax.sharding import Mesh

from igrlib.experiments.ensemble import Layout, Members
from igrlib.experiments.ensemble.batches import batch_indices
from igrlib.experiments.ensemble.steps import Epoch
from igrlib.experiments.networks.model import Classifier

MESH = Mesh(np.array(jax.devices()[:1]), ("models",))


def ensemble(
    members=MEMBERS, *, batch_size=5, group=1, loop=True, chunk=1, classifier=MLP, data=None
):
    images, labels = data or (IMAGES, LABELS)
    layout = Layout(MESH, group, loop, chunk)
    return trained_together(classifier, members, (images, labels), batch_size, layout)


def only(members, *which):
    return Members(*(tuple(f[k] for k in which) for f in vars(members).values()))


def penalised_gradient_numpy(layers, x, y, mu):
    """∇E + μ∇‖∇E‖² = ∇E + 2μ∇²E∇E, the Hessian by a central difference along the gradient."""
    _, gradient = loss_and_gradient_numpy(layers, x, y)
    if mu == 0:
        return gradient
    eps = 1e-6
    ahead, behind = (
        loss_and_gradient_numpy(add_numpy(layers, e, gradient), x, y)[1] for e in (eps, -eps)
    )
    return add_numpy(add_numpy(gradient, mu / eps, ahead), -mu / eps, behind)


starts = jax.jit(init, static_argnums=1)
taken_from = jax.jit(jax.vmap(batch_indices, (None, 0, None, None)), static_argnums=(2, 3))


def start_of(seed, dtype=jnp.float64):
    return starts(jax.random.fold_in(jax.random.key(seed), 0), dtype)


def trained_numpy(members, k, steps, batch_size, start=None):
    """Member k after `steps` steps from `start`, taken one by one in float64."""
    seed = members.seeds[k]
    layers = layers_of(start or start_of(seed))
    h, mu = np.float64(np.float32([members.learning_rates[k], members.mus[k]]))
    at = np.tile(np.arange(N), (steps, 1))
    if batch_size < N:
        order = jax.random.fold_in(jax.random.key(seed), 1)
        at = taken_from(order, jnp.arange(50), N, batch_size)
    for batch in np.asarray(at)[:steps]:
        gradient = penalised_gradient_numpy(layers, IMAGES[batch] / 255, LABELS[batch], mu)
        layers = add_numpy(layers, -h, gradient)
    return flat(params_of(layers))


@pytest.fixture(scope="module")
def batched():
    """Mini-batches, one model at a time: the ensemble, and its state after some of the steps."""
    built, at, states = ensemble(), 0, {}
    state = built.init()
    states[0] = host(state)
    for step in (1, 13, 40, 50, 90):
        state = built.advance(state, at, step)
        states[step], at = host(state), step
    return built, states


@pytest.mark.slow
def test_models_start_from_keys_of_their_seeds(batched):
    _, states = batched
    start = states[0]
    for k, seed in enumerate(MEMBERS.seeds):
        expected = start_of(seed)
        np.testing.assert_allclose(flat(model(start.params, k)), flat(expected), rtol=1e-14)
    assert same_bits(model(start.params, 0), model(start.params, 1))
    np.testing.assert_array_equal(start.diverged, -1)


def test_one_step_and_fifty_in_numpy(batched):
    _, states = batched
    for steps, rtol in ((1, 1e-13), (50, 1e-10)):
        for k, stop in enumerate(MEMBERS.stops):
            expected = trained_numpy(MEMBERS, k, min(steps, stop), 5)
            np.testing.assert_allclose(
                flat(model(states[steps].params, k)), expected, rtol=rtol, atol=rtol
            )
    np.testing.assert_array_equal(states[90].diverged, -1)


def test_models_that_have_stopped_stay_as_they_are(batched):
    _, states = batched
    for later in (40, 50, 90):
        assert same_bits(model(states[later].params, 2), model(states[13].params, 2))
    for k in (0, 1):
        assert not same_bits(model(states[40].params, k), model(states[13].params, k))
        assert same_bits(model(states[90].params, k), model(states[50].params, k))


def test_calls_of_any_length_give_the_same_bits(batched):
    built, states = batched
    for cuts in ([50], [3, 4, 8, 9, 25, 50], list(range(1, 51)), [0, 0, 7, 7, 60]):
        state, at = built.init(), 0
        for step in cuts:
            state, at = built.advance(state, at, step), step
        assert same_bits(host(state), states[50])


@pytest.mark.parametrize("k", [0, 2])
def test_a_model_alone_has_the_bits_that_it_has_in_company(batched, k):
    _, states = batched
    alone = ensemble(only(MEMBERS, k))
    state = alone.advance(alone.init(), 0, 50)
    assert same_bits(model(state.params, 0), model(states[50].params, k))


@pytest.mark.slow
def test_groups_and_single_steps_give_the_same_to_rounding(batched):
    _, states = batched
    for group, loop in ((1, False), (2, False), (3, True)):
        other = ensemble(group=group, loop=loop)
        state = host(other.advance(other.init(), 0, 50))
        for k in range(3):
            np.testing.assert_allclose(
                flat(model(state.params, k)), flat(model(states[50].params, k)), rtol=1e-10
            )
        assert len(state.diverged) == (4 if group == 2 else 3)


@pytest.mark.slow
@pytest.mark.parametrize(("group", "chunk"), [(1, 3), (3, 4), (3, 64)])
def test_chunks_of_steps_end_where_single_steps_end(group, chunk):
    """Calls and models end within a chunk, and four steps of an epoch are no whole number of it."""
    one, other = ensemble(group=group), ensemble(group=group, chunk=chunk)
    states = [built.init() for built in (one, other)]
    for first, last in ((0, 1), (1, 7), (7, 7), (7, 50)):
        states = [
            built.advance(state, first, last)
            for built, state in zip((one, other), states, strict=True)
        ]
        for k in range(3):
            ours, theirs = (flat(model(host(state).params, k)) for state in states)
            np.testing.assert_allclose(ours, theirs, rtol=1e-10)
        np.testing.assert_array_equal(*(state.diverged for state in states))


def test_a_chunk_is_a_loop_whose_length_the_compiler_knows():
    built = ensemble(chunk=7)
    examples = Epoch(built._orders_of(0), built.data)
    text = built._advance.lower(built.init(), built._given, examples, 0, 9).compile().as_text()
    assert '"known_trip_count":{"n":"7"}' in text


def test_padding_takes_no_step_and_changes_nothing():
    """Three models in groups of two: the fourth repeats the first, and stays where it starts."""
    built = ensemble(group=2)
    assert built.padded == 4
    start = host(built.init())
    assert same_bits(model(start.params, 3), model(start.params, 0))
    state = host(built.advance(built.init(), 0, 20))
    assert same_bits(model(state.params, 3), model(start.params, 3))
    assert not same_bits(model(state.params, 0), model(start.params, 0))


@pytest.mark.parametrize("group", [1, 3])
def test_full_batch_gradient_descent_in_numpy(group):
    built = ensemble(batch_size=N, group=group)
    assert built.steps_per_epoch == 1
    state = host(built.advance(built.init(), 0, 50))
    for k, stop in enumerate(MEMBERS.stops):
        np.testing.assert_allclose(
            flat(model(state.params, k)), trained_numpy(MEMBERS, k, stop, N), rtol=1e-10, atol=1e-10
        )


@pytest.mark.parametrize(("group", "batch_size"), [(1, 5), (3, N)])
def test_explicit_regularization_in_numpy(group, batch_size):
    """Other rates μ side by side; without one, the bits are not spoiled by the others' penalty."""
    members = Members((0.2, 0.2, 0.1), (5, 5, 8), (20, 20, 7), (0.0, 0.05, 0.02))
    built = ensemble(members, batch_size=batch_size, group=group)
    state = host(built.advance(built.init(), 0, 20))
    expected = [trained_numpy(members, k, members.stops[k], batch_size) for k in range(3)]
    for k in range(3):
        np.testing.assert_allclose(flat(model(state.params, k)), expected[k], rtol=1e-7, atol=1e-7)
    assert np.abs(expected[1] - expected[0]).max() > 1e-3


def matrix_products(members, **layout):
    """How many matrix products three steps take, loops looked into once."""
    built, count = ensemble(members, **layout), 0
    program = jax.make_jaxpr(lambda s: built.advance(s, 0, 3))(built.init())
    programs = [program.jaxpr]
    while programs:
        for equation in programs.pop().eqns:
            count += equation.primitive.name == "dot_general"
            inner = jax.tree.leaves(equation.params, is_leaf=lambda leaf: hasattr(leaf, "eqns"))
            programs += [getattr(leaf, "jaxpr", leaf) for leaf in inner if hasattr(leaf, "eqns")]
    return count


def test_without_regularization_nothing_is_paid_for_it():
    """Three layers: 3 products forward, 3 for the weights and 2 for the layers below back."""
    assert matrix_products(MEMBERS) == 8
    with_mu = Members((0.1,) * 3, (0,) * 3, (9,) * 3, (0.0, 0.0, 1e-3))
    assert matrix_products(with_mu) > 16


@pytest.mark.slow
def test_step_by_step_stopped_models_and_those_without_regularization_cost_nothing_more():
    """Each group is a program of its own, and the host knows which are to be called."""
    # Of three steps the first takes one, the second two, the third none.
    short = Members((0.1,) * 3, (0,) * 3, (1, 2, 0), (0.0,) * 3)
    assert matrix_products(short, loop=False) == 8 * (1 + 2)
    # In groups of two, of which one is filled up: two steps of the first group, none of the other.
    pair = matrix_products(Members((0.1,) * 2, (0,) * 2, (3, 3), (0.0,) * 2), group=2, loop=False)
    assert matrix_products(short, group=2, loop=False) == 2 * pair / 3
    with_mu = matrix_products(Members((0.1,), (0,), (1,), (1e-3,)), loop=False)
    mixed = Members((0.1,) * 3, (0,) * 3, (1, 1, 1), (0.0, 1e-3, 0.0))
    assert matrix_products(mixed, loop=False) == 8 + with_mu + 8


def table_logits(params, images):
    """A model with parameters of its own for every example, so that a step shows its batch."""
    return params[images[:, 0]]


def test_which_examples_a_step_takes():
    """No use is made of `batches`: two of six a step, each once in three steps, in every epoch."""
    images, labels = np.arange(6, dtype=np.uint8)[:, None], np.array([0, 1, 0, 1, 0, 1], np.int32)
    members = Members((0.5, 2.0, 0.5), (0, 0, 1), (30,) * 3, (0.0,) * 3)
    table = Classifier(lambda key: jnp.zeros((6, 2)), table_logits)
    built = ensemble(members, batch_size=2, classifier=table, data=(images, labels))
    state, taken = built.init(), []
    for t in range(30):
        before = host(state).params
        state = built.advance(state, t, t + 1)
        moved = (np.asarray(state.params) != before).any(-1)
        taken.append(moved)
    taken = np.array(taken)  # (step, model, example)
    assert (taken.sum(-1) == 2).all()
    np.testing.assert_array_equal(taken.reshape(10, 3, 3, 6).sum(1), 1)
    # The order is that of the seed, whatever the learning rate, and is new in every epoch.
    np.testing.assert_array_equal(taken[:, 0], taken[:, 1])
    assert (taken[:, 0] != taken[:, 2]).any()
    assert len({epoch.tobytes() for epoch in taken[:, 0].reshape(10, 3, 6)}) > 5
    # Whatever the order, each example has pulled at its own row ten times.
    for k, h in enumerate(members.learning_rates):
        rows = np.zeros((6, 2))
        for _ in range(10):
            rows -= h / 2 * (np.exp(log_softmax_numpy(rows)) - np.eye(2)[labels])
        np.testing.assert_allclose(state.params[k], rows, rtol=1e-12)


def linear_logits(params, images):
    return images.reshape(len(images), -1) / 255.0 @ params["a"] @ params["b"]


def linear_init(key):
    return {"a": jax.random.uniform(key, (12, 4)) - 0.5, "b": jnp.eye(4, 3)}


def blown_up_numpy(learning_rate, seed, steps):
    """A linear model of two layers: the first step with a loss that is not finite, and its θ."""
    start = linear_init(jax.random.fold_in(jax.random.key(seed), 0))
    a, b = (np.asarray(start[name]) for name in "ab")
    x, h = IMAGES.reshape(N, -1) / 255, np.float64(np.float32(learning_rate))
    with np.errstate(all="ignore"):
        for t in range(steps):
            log_probabilities = log_softmax_numpy(x @ a @ b)
            if not np.isfinite(log_probabilities[np.arange(N), TWINS].mean()):
                return t, a, b
            delta = (np.exp(log_probabilities) - np.eye(3)[TWINS]) / N
            a, b = a - h * x.T @ delta @ b.T, b - h * (x @ a).T @ delta
    return None


TWINS = np.arange(N, dtype=np.int32) % 3


@pytest.mark.slow
@pytest.mark.parametrize("group", [1, 3])
def test_a_model_that_leaves_the_finite_numbers(group):
    """Marked where it does, left as it was, and its neighbours do not feel it."""
    train = partial(
        ensemble,
        batch_size=N,
        group=group,
        classifier=Classifier(linear_init, linear_logits),
        data=(IMAGES, TWINS),
    )
    rest = ((0, 1, 2), (40,) * 3, (0.0,) * 3)
    wild, tame = (train(Members((0.1, h, 0.1), *rest)) for h in (1e20, 0.1))
    found, other = (host(built.advance(built.init(), 0, 40)) for built in (wild, tame))
    step, a, b = blown_up_numpy(1e20, 1, 40)
    assert 1 < step < 39
    assert blown_up_numpy(0.1, 1, 40) is None
    np.testing.assert_array_equal(found.diverged, [-1, step, -1])
    np.testing.assert_array_equal(other.diverged, -1)
    left = model(found.params, 1)
    np.testing.assert_allclose(left["a"], a, rtol=1e-9)
    np.testing.assert_allclose(left["b"], b, rtol=1e-9)
    for k in (0, 2):
        assert same_bits(model(found.params, k), model(other.params, k))
    # Nothing moves it again, and the step that is marked is the first.
    at_mark = wild.advance(wild.init(), 0, step)
    np.testing.assert_array_equal(at_mark.diverged, -1)
    assert same_bits(model(host(at_mark).params, 1), left)
    again = wild.advance(wild.advance(at_mark, step, step + 1), step + 1, 60)
    assert same_bits(host(again), found)


def test_a_model_that_starts_broken_is_marked_at_step_0():
    """Also one whose gradient alone is not finite is found out, at the step after."""

    def broken(key):
        return {"a": jnp.full((12, 4), jnp.nan), "b": jnp.eye(4, 3)}

    def steep(params, images):
        # √ has an infinite slope at 0, where its value is 0.
        return jnp.ones((len(images), 1)) @ jnp.sqrt(params["b"][:1])

    pairs = [
        (Classifier(broken, linear_logits), 0),
        (Classifier(lambda key: {"b": jnp.zeros((4, 3))}, steep), 1),
    ]
    for classifier, step in pairs:
        built = ensemble(only(MEMBERS, 0), batch_size=N, classifier=classifier)
        np.testing.assert_array_equal(built.advance(built.init(), 0, 5).diverged, step)


@pytest.mark.parametrize("group", [1, 2])
def test_each_maps_over_a_round_and_shares_the_rest(group):
    built = ensemble(group=group)
    assert built.layout.per_round == group
    total = built.each(lambda p, q, shared: (p["x"].sum() + q, p["x"] * shared), num_mapped=2)
    x = np.arange(3.0 * group).reshape(group, 3)
    sums, products = total({"x": built.lay(x)}, built.lay(jnp.arange(group) * 10.0), 2.0)
    np.testing.assert_allclose(sums, x.sum(1) + np.arange(group) * 10)
    np.testing.assert_allclose(products, 2 * x)


def test_rounds_are_filled_up_by_repetition():
    built = ensemble(group=2)
    cut = [some.tolist() for some in built.rounds([4, 0, 2])]
    assert cut == [[4, 0], [2, 2]]
    assert built.rounds([]) == []
    params = {"x": built.lay(jnp.arange(8.0).reshape(4, 2))}
    np.testing.assert_array_equal(built.take(params, np.array([3, 1]))["x"], [[6, 7], [2, 3]])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"learning_rates": (0.1, -0.5, 0.1)}, ValueError, r"learning_rates\[1\] .*got -0.5"),
        ({"learning_rates": (0.1, 0.0, 0.1)}, ValueError, r"learning_rates\[1\] must be positive"),
        ({"learning_rates": (0.1, 0.1, np.inf)}, ValueError, r"learning_rates\[2\] .*got inf"),
        ({"learning_rates": (np.nan, 0.1, 0.1)}, ValueError, r"learning_rates\[0\] .*got nan"),
        ({"mus": (0.0, 0.0, -1e-3)}, ValueError, r"mus\[2\] must be finite and 0 or more"),
        ({"mus": (np.nan, 0.0, 0.0)}, ValueError, r"mus\[0\] .*got nan"),
        ({"seeds": (0, -1, 2)}, ValueError, r"seeds\[1\] must be between 0 and 2147483647, got -1"),
        ({"stops": (0, 1, -2)}, ValueError, r"stops\[2\] .*got -2"),
        ({"stops": (1, 1)}, ValueError, r"members must have fields of one length.*'stops': 2"),
    ],
)
def test_members_that_cannot_be(change, error, message):
    with pytest.raises(error, match=message):
        Members(**{**vars(MEMBERS), **change})


def test_no_members():
    with pytest.raises(ValueError, match="of one length, at least 1"):
        Members((), (), (), ())


def test_layouts_that_cannot_be():
    two = Mesh(np.array(jax.devices()[:1]).reshape(1, 1), ("models", "data"))
    with pytest.raises(ValueError, match=r"mesh must have one axis, got \('models', 'data'\)"):
        Layout(two)
    with pytest.raises(ValueError, match="group must be at least 1, got 0"):
        Layout(MESH, 0)
    with pytest.raises(ValueError, match="chunk must be at least 1, got 0"):
        Layout(MESH, chunk=0)


def test_a_batch_larger_than_the_split():
    with pytest.raises(ValueError, match=r"batch_size must be at most the 22 examples .*got 23"):
        ensemble(batch_size=23)


# Members by their name in the helpers, devices, models of a group, batch size; with the padding.
LAID = {
    "one": ("MANY", 1, 1, 5, 11),
    "two": ("MANY", 2, 1, 5, 12),
    "eight": ("MANY", 8, 1, 5, 16),
    "grouped on one": ("MANY", 1, 2, 5, 12),
    "grouped on two": ("MANY", 2, 2, 5, 12),
    "grouped on eight": ("MANY", 8, 2, 5, 16),
    "full on one": ("MANY", 1, 1, N, 11),
    "full on two": ("MANY", 2, 1, N, 12),
    "full on eight": ("MANY", 8, 1, N, 16),
    "few on eight": ("MEMBERS", 8, 1, 5, 8),
}
DEVICES = """
import json, sys
import jax, jax.numpy as jnp, numpy as np
jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")
from jax.sharding import Mesh
import helpers
from helpers import ensembles as t
from helpers.arms import changed
from helpers.mlp import logits
from igrlib.experiments import data
from igrlib.experiments.building import build
from igrlib.experiments.ensemble.batches import batch_indices
from igrlib.experiments.layouts import layout_of
from igrlib.experiments.networks.model import Classifier
from igrlib.experiments.ensemble import Layout
from igrlib.experiments.units import units_of

assert len(jax.devices()) == 8 and not jax.config.jax_enable_x64
single = Classifier(lambda key: t.init(key, jnp.float32), logits)

def run(name, devices, group, batch_size, padded):
    members = getattr(t, name)
    layout = Layout(Mesh(np.array(jax.devices()[:devices]), ("models",)), group)
    e = t.trained_together(single, members, (t.IMAGES, t.LABELS), batch_size, layout)
    state = e.advance(e.advance(e.init(), 0, 7), 7, 50)
    laid = {s.device.id for s in jax.tree.leaves(state.params)[0].addressable_shards}
    assert len(laid) == devices and e.padded == padded
    state = t.host(state)
    each = [helpers.flat(t.model(state.params, k)).tolist() for k in range(len(members))]
    return {"models": each, "diverged": state.diverged[: len(members)].tolist()}

found = {name: run(*how) for name, how in json.loads(sys.argv[1]).items()}
found["order"] = [batch_indices(jax.random.key(3), s, 14, 3).tolist() for s in (0, 1, 9)]
# Nine models, of which three blow up; all kinds of measures are taken of them.
jax.config.update("jax_disable_most_optimizations", True)
arm = changed(learning_rates=(0.5, 0.1, 1e35), num_seeds=(3,), seeds_per_unit=(3,),
              points=("test",), num_curvatures=2, num_matvecs=2, noise_draws=1, slope_draws=1)
unit, digits = next(units_of(arm)), data.load("digits")
for devices in (1, 8):
    arrays = build(unit, digits, layout_of(unit, jax.devices()[:devices])).run()
    found[f"unit on {devices}"] = {name: array.tolist() for name, array in arrays.items()}
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found_on_devices():
    """What is found in float32 on up to eight devices, which JAX is asked for before it starts."""
    here = os.path.dirname(__file__)
    path = os.pathsep.join([here, os.path.dirname(here)])
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("JAX_", "XLA_"))}
    environment |= {"PYTHONPATH": path, "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", DEVICES, json.dumps(LAID)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.parametrize("how", ["{}", "grouped on {}", "full on {}"])
def test_two_devices_give_the_bits_of_one_and_eight_its_numbers(found_on_devices, how):
    """Eleven models: mini-batches, groups of two, and full batches."""
    one, two, eight = (found_on_devices[how.format(count)] for count in ("one", "two", "eight"))
    assert one == two
    np.testing.assert_allclose(eight["models"], one["models"], rtol=1e-4, atol=1e-5)
    assert eight["diverged"] == one["diverged"]
    assert [step >= 0 for step in one["diverged"]] == [h > 1 for h in MANY.learning_rates]


@pytest.mark.parametrize("name", ["two", "grouped on eight", "full on eight", "few on eight"])
def test_float32_on_devices_follows_numpy(found_on_devices, name):
    """Without 64-bit mode, as the experiments run; the loop in NumPy is in float64."""
    members = MEMBERS if name == "few on eight" else MANY
    for k, (h, stop) in enumerate(zip(members.learning_rates, members.stops, strict=True)):
        if h < 1:
            start = start_of(members.seeds[k], jnp.float32)
            expected = trained_numpy(members, k, stop, LAID[name][3], start)
            found = found_on_devices[name]["models"][k]
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_float32_takes_the_same_batches(found_on_devices):
    expected = [batch_indices(jax.random.key(3), t, 14, 3).tolist() for t in (0, 1, 9)]
    assert found_on_devices["order"] == expected


def test_a_unit_on_eight_devices_gives_the_numbers_of_one(found_on_devices):
    """Trained, scored, measured on the way, and looked at closely."""
    one, eight = (found_on_devices[f"unit on {count}"] for count in (1, 8))
    assert one.keys() == eight.keys()
    for name, array in one.items():
        np.testing.assert_allclose(eight[name], array, rtol=1e-4, atol=1e-5, err_msg=name)
