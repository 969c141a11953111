"""igrlib.experiments.building, units and profiles: counting, NumPy, and MNIST itself."""

import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.arms import SMALL, changed
from helpers.ensembles import trained_together
from helpers.mlp import forward_numpy, layers_of
from jax.sharding import Mesh

from igrlib.experiments import building, data
from igrlib.experiments.arm import Arm, stops_of
from igrlib.experiments.building import build, schedule_of
from igrlib.experiments.ensemble import Ensemble, Layout, Members
from igrlib.experiments.job import Stopped
from igrlib.experiments.measures import scores
from igrlib.experiments.networks import MLP, ResNet18
from igrlib.experiments.networks.model import Classifier
from igrlib.experiments.optimizers import Adam, Momentum
from igrlib.experiments.profiles import EXPERIMENTS
from igrlib.experiments.units import units_of

LAYOUT = Layout(Mesh(np.array(jax.devices()[:1]), ("models",)))


def test_units_are_every_combination_once():
    arm = changed(widths=(8, 16, 4), batch_sizes=(10, None), num_seeds=(5, 3, 1),
                  seeds_per_unit=(2, 3, 8))  # fmt: skip
    found = [(u.width, u.batch_size, seed) for u in units_of(arm) for seed in u.seeds]
    expected = {(w, b, s) for w, n in ((8, 5), (16, 3), (4, 1)) for b in (10, 60) for s in range(n)}
    assert len(found) == len(expected) == 18
    assert set(found) == expected
    assert [u.seeds for u in units_of(arm)][:3] == [(0, 1), (2, 3), (4,)]
    assert [u.name for u in units_of(arm)][:2] == [
        "small-n0008-b00010-s00-01", "small-n0008-b00010-s02-03"
    ]  # fmt: skip
    one_number_for_all = changed(widths=(8, 16), num_seeds=(3,), seeds_per_unit=(2,))
    assert [(u.width, u.seeds) for u in units_of(one_number_for_all)] == [
        (8, (0, 1)), (8, (2,)), (16, (0, 1)), (16, (2,))
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("experiment", "profile"), [(e, p) for e, profiles in EXPERIMENTS.items() for p in profiles]
)
def test_units_of_the_profiles(experiment, profile):
    arms = [arm for arm in EXPERIMENTS[experiment][profile] if isinstance(arm, Arm)]
    units = [unit for arm in arms for unit in units_of(arm)]
    names = [unit.name for unit in units]
    assert len(set(names)) == len(names) > 0
    for unit in units:
        config = json.loads(json.dumps(unit.config(), allow_nan=False))
        assert config["width"] == unit.width
        assert config["batch_size"] == unit.batch_size <= unit.arm.num_train
        assert config["seeds"] == list(unit.seeds)
        assert list(config["steps"].values()) == stops_of(unit.arm)
        assert set(unit.arm.points) <= {"validation", "test", "final"}
    for arm in arms:
        sizes = {"digits": 1_500, "mnist": 60_000, "cifar10": 50_000}
        assert arm.num_train + arm.num_validation <= sizes[arm.dataset]
        # Every model is measured at its end.
        assert set(stops_of(arm)) <= set(schedule_of(arm).gradients)


@pytest.fixture(scope="module")
def digits():
    return data.load("digits")


def test_units_that_do_not_fit_the_data(digits):
    arm = changed(num_train=1_400, num_validation=101)
    with pytest.raises(ValueError, match=r"at most the 1500 .*digits, got 1400 . 101"):
        build(next(units_of(arm)), digits, LAYOUT)
    with pytest.raises(
        ValueError, match=r"num_test must be at most the 297 test .*digits, got 298"
    ):
        build(next(units_of(changed(num_test=298))), digits, LAYOUT)


@pytest.mark.parametrize(("num_test", "measured"), [(None, 297), (297, 297), (40, 40)])
def test_the_test_split_of_a_trial_may_be_smaller(digits, num_test, measured):
    sweep = build(next(units_of(changed(num_test=num_test))), digits, LAYOUT)
    images, labels = sweep.log.evaluator.splits.test
    np.testing.assert_array_equal(images, digits.test.images[:measured])
    np.testing.assert_array_equal(labels, digits.test.labels[:measured])


@pytest.fixture(scope="module")
def sweep(digits):
    return build(next(units_of(SMALL)), digits, LAYOUT)


@pytest.fixture(scope="module")
def start(sweep):
    """The models as they start, on the host: `advance` takes the state that it is given."""
    return jax.tree.map(np.array, sweep.state)


def test_splits_are_the_first_and_the_last_training_images(sweep, digits):
    first, held = slice(0, 60), slice(1_480, 1_500)
    expected = {
        "train": [a[first] for a in digits.train],
        "validation": [a[held] for a in digits.train],
        "test": digits.test,
    }
    for name, (images, labels) in sweep.log.evaluator.splits._asdict().items():
        np.testing.assert_array_equal(images, expected[name][0])
        np.testing.assert_array_equal(labels, expected[name][1])
        assert images.dtype == np.uint8
        assert labels.dtype == np.int32


def test_members_share_what_they_should(sweep, start):
    """Seeds, of initial values and of order, are the same for every learning rate."""
    members = sweep.ensemble.members
    pairs = list(zip(members.seeds, members.learning_rates, strict=True))
    assert pairs == [(0, 0.5), (0, 0.1), (1, 0.5), (1, 0.1)]
    assert members.stops == (32, 40, 32, 40)
    assert members.mus == (0.0,) * 4
    ensemble = sweep.ensemble
    kernel = start.params["params"]["Dense_0"]["kernel"]
    assert kernel.dtype == np.float32
    np.testing.assert_array_equal(kernel[0], kernel[1])
    np.testing.assert_array_equal(kernel[2], kernel[3])
    assert (kernel[0] != kernel[2]).all()
    # One step moves by h∇E_B: the same gradient, so the same batch, for both h of a seed.
    moved = ensemble.advance(ensemble.lay(start), 0, 1).params
    step = jax.tree.map(lambda a, b: (a - np.asarray(b)).astype(np.float64), start.params, moved)
    bias = step["params"]["Dense_1"]["bias"] / np.array(members.learning_rates)[:, None]
    np.testing.assert_allclose(bias[0], bias[1], atol=1e-6)
    np.testing.assert_allclose(bias[2], bias[3], atol=1e-6)
    assert np.abs(bias[0] - bias[2]).max() > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("precision", "expected"), [("float32", "HIGHEST"), ("tensorfloat32", "HIGH")]
)
def test_every_product_of_a_step_has_the_precision_of_the_arm(
    digits, monkeypatch, precision, expected
):
    losses = []

    def taken(loss, *args, **kwargs):
        losses.append(loss)
        return Ensemble(loss, *args, **kwargs)

    monkeypatch.setattr(building, "Ensemble", taken)
    (unit,) = units_of(changed(precision=precision))
    sweep = build(unit, digits, LAYOUT)
    params = sweep.log.evaluator.model.start(jax.random.key(0)).params
    batch = [jnp.asarray(part[:5]) for part in (digits.train.images, digits.train.labels)]

    def penalised(p):
        value, gradient = jax.value_and_grad(lambda p: losses[0](p, {}, *batch)[0])(p)
        return value + sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(gradient))

    program = str(jax.make_jaxpr(jax.grad(penalised))(params))
    assert program.count("dot_general[") > 6
    assert set(re.findall(r"precision=(.*)", program)) == {
        f"(Precision.{expected}, Precision.{expected})"
    }


def test_images_are_divided_by_the_scale_of_their_data(sweep, start, digits):
    """Pixels of digits go up to 16."""
    assert digits.train.images.max() == 16
    params = jax.tree.map(lambda a: a[2], start.params)
    images = digits.train.images[:9]
    found = jax.jit(sweep.log.evaluator.model.logits)(params, jnp.asarray(images))
    _, expected = forward_numpy(layers_of(params), images / 16)
    assert len(layers_of(params)) == 2
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_a_unit_from_end_to_end(sweep, start):
    """In float32, as recorded: every model is measured to its end, and has learned something."""
    sweep.state = sweep.ensemble.lay(start)
    arrays = sweep.run()
    (unit,) = units_of(SMALL)
    assert unit.model_steps == sum(sweep.ensemble.members.stops) == 2 * (32 + 40)
    np.testing.assert_array_equal(arrays["diverged"], -1)
    last = [sweep.schedule.gradients.index(t) for t in sweep.ensemble.members.stops]
    loss = arrays["train_loss"]
    np.testing.assert_allclose(loss[:, 0], np.log(10), atol=0.5)
    assert (loss[range(4), last] < loss[:, 0] - 0.05).all()
    assert (loss[[0, 2], last[0]] < 0.7 * loss[[0, 2], 0]).all()
    ended = np.isnan(loss[:, -1])
    np.testing.assert_array_equal(ended, [True, False, True, False])
    assert (arrays["chosen_test_accuracy"][:, 1] > 0.15).all()


@pytest.mark.slow
def test_mnist_is_learned_and_the_same_twice():
    """Real images and width 50: 500 steps with batches of 32 and h = 0.1."""
    try:
        mnist = data.load("mnist")
    except FileNotFoundError as error:
        pytest.skip(str(error))
    net = MLP().module(50)

    def logits(params, images):
        return net.apply(params, images.astype(jnp.float32) / mnist.scale)

    classifier = Classifier(lambda key: net.init(key, jnp.zeros((1, 28, 28, 1))), logits)
    members = Members((0.1,), (0,), (500,), (0.0,))
    labels = mnist.train.labels.astype(np.int32)
    ensemble = trained_together(classifier, members, (mnist.train.images, labels), 32)
    start = jax.tree.map(np.array, ensemble.init())
    whole = ensemble.advance(ensemble.lay(start), 0, 500)
    parts = ensemble.advance(ensemble.advance(ensemble.lay(start), 0, 123), 123, 500)
    for one, other in zip(jax.tree.leaves(whole), jax.tree.leaves(parts), strict=True):
        np.testing.assert_array_equal(one, other)
    params = jax.tree.map(lambda a: a[0], whole.params)
    test = jnp.asarray(mnist.test.images), jnp.asarray(mnist.test.labels.astype(np.int32))
    accuracy = float(jax.jit(lambda p, x, y: scores(logits, p, x, y))(params, *test).accuracy)
    _, outputs = forward_numpy(layers_of(params), mnist.test.images / 255)
    assert accuracy == pytest.approx((outputs.argmax(1) == mnist.test.labels).mean(), abs=3e-4)
    assert accuracy > 0.85


@pytest.fixture(scope="module")
def plain_loss(digits):
    """The training losses of plain descent."""
    return build(next(units_of(changed(learning_rates=(0.02,)))), digits, LAYOUT).run()[
        "train_loss"
    ]


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", [Momentum(0.7), Adam()], ids=lambda o: o.kind)
def test_an_optimizer_goes_on_from_its_checkpoint_to_the_same_bits(
    optimizer, digits, tmp_path, plain_loss
):
    """Its state is in the file: a sweep that is built anew and starts from it ends the same."""
    (unit,) = units_of(changed(optimizer=optimizer, learning_rates=(0.02,)))
    whole = build(unit, digits, LAYOUT).run()
    with pytest.raises(Stopped):
        build(unit, digits, LAYOUT).run(checkpoint=tmp_path / "c.npz", asked_to_stop=stop_after(3))
    again = build(unit, digits, LAYOUT)
    blank = jax.tree.map(np.array, again.state)
    found = again.run(checkpoint=tmp_path / "c.npz")
    for name, array in whole.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)
    assert not np.array_equal(plain_loss, whole["train_loss"])
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(blank.opt_state))


def stop_after(strides):
    seen = iter([False] * strides + [True] * 99)
    return lambda: next(seen)


@pytest.mark.slow
def test_a_resnet_from_end_to_end(digits):
    """Two steps of width 1 on the digits: both modes are measured, and the classes start alike."""
    arm = changed(
        widths=(1,),
        network=ResNet18(stem="cifar"),
        learning_rates=(0.1,),
        mus=(0.0, 0.01),
        num_seeds=(1,),
        batch_sizes=(20,),
        num_validation=0,
        # Whole batches only, so that each program is compiled for one size.
        num_test=40,
        min_steps=2,
        max_steps=2,
    )
    sweep = build(next(units_of(arm)), digits, Layout(LAYOUT.mesh, loop=False))
    arrays = sweep.run()
    assert arrays["mu"].tolist() == [0.0, np.float32(0.01)]
    for name in ("train_loss", "evaluated_loss", "test_loss"):
        assert arrays[name].shape[0] == 2
        np.testing.assert_allclose(arrays[name][:, 0], np.log(10), rtol=1e-6)
        assert np.isfinite(arrays[name][:, -1]).all()
    assert (arrays["train_loss"][:, -1] != arrays["evaluated_loss"][:, -1]).all()
    assert arrays["train_loss"][0, -1] != arrays["train_loss"][1, -1]
    assert (arrays["train_scale_free"][:, -1] > 0).all()
    np.testing.assert_array_equal(arrays["diverged"], -1)
