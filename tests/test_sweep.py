"""igrlib.experiments.sweep against models trained anew and measured in NumPy."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.ensembles import MLP, model, trained_together
from helpers.mlp import layers_of, logits, measures_numpy, squared_norm_numpy
from jax.sharding import Mesh

import igrlib
from igrlib.curvature import batch_sharpness
from igrlib.experiments import records
from igrlib.experiments.checkpoint import code_of
from igrlib.experiments.ensemble import Layout, Members
from igrlib.experiments.evaluation import Evaluation, Splits
from igrlib.experiments.job import Stopped
from igrlib.experiments.log import Schedule
from igrlib.experiments.measures import cross_entropy, largest_hessian_eigenvalue
from igrlib.experiments.schema import CURVATURE, POINTS
from igrlib.experiments.sweep import Sweep

RNG = np.random.default_rng(5)
RULE = RNG.normal(size=(12, 3))


def examples(n):
    """Images whose class a linear model can tell: training losses fall through some levels."""
    images = RNG.integers(0, 256, (n, 3, 4, 1), np.uint8)
    return images, (images.reshape(n, -1) - 127.5).dot(RULE).argmax(1).astype(np.int32)


TRAIN, VALIDATION, TEST = examples(40), examples(15), examples(12)
# Five models in groups of two; the fourth blows up, the last one stops early.
MEMBERS = Members((0.5, 0.1, 0.5, 1e35, 0.1), (0, 0, 1, 2, 2), (60, 60, 60, 60, 25), (0.0,) * 5)
SCHEDULE = Schedule(
    (0, 1, *range(5, 61, 5)), (0, 10, 20, 25, 30, 50, 60), (1.2, 1.11, 1.0, 0.1), (1, 5, 40)
)
CLOSE = Evaluation(
    num_matvecs=2,
    sharpness_batches=3,
    noise_sigmas=(0.0, 0.5),
    noise_draws=6,
    noise_parts=3,
    slope_sigmas=(0.0, 0.5),
    slope_draws=2,
)
IDENTITY = {"unit": {"width": 5}, "cores": 2, "versions": ["a", "b"]}
SPLITS = {"train": TRAIN, "validation": VALIDATION, "test": TEST}


def built(members, batch_size, group=1):
    layout = Layout(Mesh(np.array(jax.devices()[:1]), ("models",)), group)
    return trained_together(MLP, members, TRAIN, batch_size, layout)


def splits_of(ensemble, validation=True):
    place = ensemble.replicate
    laid = {name: tuple(place(a) for a in split) for name, split in SPLITS.items()}
    return Splits(**{**laid, "validation": laid["validation"] if validation else None})


@pytest.fixture(scope="module")
def done():
    """A finished sweep, with copies of its models at every step that is measured."""
    ensemble = built(MEMBERS, 5, group=2)
    sweep = Sweep(MLP, ensemble, splits_of(ensemble), SCHEDULE, CLOSE)
    heard = []
    held = jax.tree.map(np.array, (sweep.state, sweep.log.chosen))
    blank = {name: array.copy() for name, array in sweep.log.arrays.items()}
    arrays = sweep.run(progress=lambda steps, what: heard.append((steps, what)))
    state, at, models = ensemble.init(), 0, {}
    for step in SCHEDULE.scores:
        state, at = ensemble.advance(state, at, step), step
        models[step] = jax.tree.map(np.array, state.params)
    return SimpleNamespace(
        ensemble=ensemble, sweep=sweep, arrays=arrays, heard=heard, models=models,
        held=held, blank=blank,
        diverged=np.array(state.diverged)[:5],
    )  # fmt: skip


def measured(done, member, step, split):
    """Loss, accuracy and squared gradient of a model trained anew, in NumPy."""
    return measures_numpy(*SPLITS[split], layers_of(model(done.models[step], member)))[:3]


def reached(done, member, step):
    diverged = done.diverged[member]
    return step <= MEMBERS.stops[member] and (diverged < 0 or step <= diverged)


@pytest.mark.slow
def test_what_is_recorded_of_whom(done):
    a, members = done.arrays, 5
    assert (done.diverged[3], *done.diverged[[0, 1, 2, 4]]) == (4, -1, -1, -1, -1)
    np.testing.assert_array_equal(a["diverged"], done.diverged)
    for name, field in (("learning_rate", "learning_rates"), ("seed", "seeds"), ("stop", "stops")):
        np.testing.assert_array_equal(a[name], getattr(MEMBERS, field))
    np.testing.assert_array_equal(a["score_step"], SCHEDULE.scores)
    np.testing.assert_array_equal(a["gradient_step"], SCHEDULE.gradients)
    np.testing.assert_array_equal(a["level"], SCHEDULE.levels)
    kinds = {
        SCHEDULE.scores: ("validation_loss", "validation_accuracy", "test_loss", "test_accuracy"),
        SCHEDULE.gradients: (
            "train_loss", "train_accuracy", "train_squared_gradient", "train_scale_free",
            "test_squared_gradient", "norm",
        ),
        SCHEDULE.curvatures: (
            "lambda_max", "lambda_max_residual", "batch_sharpness", "batch_sharpness_mean",
        ),
    }  # fmt: skip
    for steps, names in kinds.items():
        known = [[reached(done, k, t) for t in steps] for k in range(members)]
        for name in names:
            assert a[name].shape == (members, len(steps))
            np.testing.assert_array_equal(~np.isnan(a[name]), known, err_msg=name)
    assert np.sum(known) < np.size(known)
    np.testing.assert_array_equal(a["curvature_step"], SCHEDULE.curvatures)
    np.testing.assert_array_equal(a["batch"], range(3))
    assert a["batch_lambda_max"].shape == (members, 3, 3)
    for k in range(3):
        np.testing.assert_array_equal(~np.isnan(a["batch_lambda_max"][:, :, k]), known)


@pytest.mark.slow
def test_sharpness_is_measured_where_it_was_asked_for(done):
    """λ_max by the same number of products, along the gradients of the first batches of 5."""
    for member, column in ((0, 0), (2, 2)):
        step = SCHEDULE.curvatures[column]
        params = model(done.models[step], member)
        whole = curvature(done, member, step)[0]
        np.testing.assert_allclose(done.arrays["lambda_max"][member, column], whole, rtol=1e-8)
        of_batch = jax.jit(
            lambda p, x, y: largest_hessian_eigenvalue(logits, p, x, y, num_matvecs=2).value
        )
        parts = [(TRAIN_LAID[0][k : k + 5], TRAIN_LAID[1][k : k + 5]) for k in (0, 5, 10)]
        each = [float(of_batch(params, *part)) for part in parts]
        found = done.arrays["batch_lambda_max"][member, column]
        np.testing.assert_allclose(found, each, rtol=1e-8)


@pytest.mark.slow
def test_curves_are_those_of_the_models_trained_anew(done):
    a = done.arrays
    for member in (0, 1, 4):
        for column, step in enumerate(SCHEDULE.scores):
            if not reached(done, member, step):
                continue
            for split in ("validation", "test"):
                loss, accuracy, _ = measured(done, member, step, split)
                np.testing.assert_allclose(a[f"{split}_loss"][member, column], loss, rtol=1e-9)
                np.testing.assert_allclose(a[f"{split}_accuracy"][member, column], accuracy)
        for column, step in enumerate(SCHEDULE.gradients):
            if not reached(done, member, step):
                continue
            loss, accuracy, squared = measured(done, member, step, "train")
            np.testing.assert_allclose(a["train_loss"][member, column], loss, rtol=1e-9)
            np.testing.assert_allclose(a["train_accuracy"][member, column], accuracy)
            np.testing.assert_allclose(
                a["train_squared_gradient"][member, column], squared, rtol=1e-8
            )
            squared = measured(done, member, step, "test")[2]
            np.testing.assert_allclose(
                a["test_squared_gradient"][member, column], squared, rtol=1e-8
            )
            norm = np.sqrt(squared_norm_numpy(layers_of(model(done.models[step], member))))
            np.testing.assert_allclose(a["norm"][member, column], norm, rtol=1e-12)


def test_chosen_steps_are_first_maxima(done):
    a = done.arrays
    for point, split in enumerate(("validation", "test")):
        accuracy = a[f"{split}_accuracy"]
        first = [SCHEDULE.scores[int(np.nanargmax(row))] for row in accuracy]
        np.testing.assert_array_equal(a["chosen_step"][:, point], first)
        # The rule is put to the test only where a maximum is reached more than once.
        again = (accuracy == np.nanmax(accuracy, 1, keepdims=True)).sum(1)
        assert again.max() > 1
        assert len(set(first)) > 1
    np.testing.assert_array_equal(a["chosen_step"][:, 2], [60, 60, 60, -1, 25])


def test_chosen_models_are_measured_where_they_were_chosen(done):
    a = done.arrays
    for point, name in enumerate(POINTS):
        for member in (0, 1, 2, 4):
            step = a["chosen_step"][member, point]
            for split in SPLITS:
                found = [a[f"chosen_{split}_{m}"][member, point]
                         for m in ("loss", "accuracy", "squared_gradient")]  # fmt: skip
                np.testing.assert_allclose(
                    found, measured(done, member, step, split), rtol=1e-8, err_msg=name
                )
            norm = np.sqrt(squared_norm_numpy(layers_of(model(done.models[step], member))))
            np.testing.assert_allclose(a["chosen_norm"][member, point], norm, rtol=1e-12)


def test_the_close_look_is_taken_where_it_was_asked_for(done):
    a, alive = done.arrays, [0, 1, 2, 4]
    deep = ["chosen_lambda_max", "chosen_batch_squared_gradient", "chosen_noise_accuracy",
            "chosen_noise_accuracy_sd", "chosen_noise_slope", "chosen_noise_slope_sd"]  # fmt: skip
    for name in deep:
        assert np.isfinite(a[name][alive, 0]).all()
        assert np.isnan(a[name][:, 1:]).all()
    assert a["chosen_noise_accuracy"].shape == a["chosen_noise_slope"].shape == (5, 3, 2)
    # No noise: the 12 test images in three parts, and the slope as it is.
    accuracy, slope = a["chosen_test_accuracy"][:, 0], a["chosen_train_squared_gradient"][:, 0]
    np.testing.assert_allclose(a["chosen_noise_accuracy"][alive, 0, 0], accuracy[alive])
    np.testing.assert_allclose(a["chosen_noise_slope"][alive, 0, 0] ** 2, slope[alive], rtol=1e-9)
    np.testing.assert_allclose(a["chosen_noise_slope_sd"][alive, 0, 0], 0, atol=1e-9)
    assert (a["chosen_noise_slope_sd"][alive, 0, 1] > 1e-4).all()


def curvature(done, member, step):
    """λ_max by the same number of products, ‖∇E_B‖² in NumPy, the sharpness along gradients."""
    params = model(done.models[step], member)
    squares = [
        measures_numpy(TRAIN[0][k : k + 5], TRAIN[1][k : k + 5], layers_of(params))[2]
        for k in range(0, 40, 5)
    ]
    product = jax.jit(
        lambda p: largest_hessian_eigenvalue(logits, p, *TRAIN_LAID, num_matvecs=2).value
    )
    batches = tuple(a.reshape(8, 5, *a.shape[1:]) for a in TRAIN_LAID)
    along = jax.jit(batch_sharpness(cross_entropy(logits)))(params, batches)
    return float(product(params)), np.mean(squares), float(along.ratio_of_means)


TRAIN_LAID = tuple(jnp.asarray(a) for a in TRAIN)


def test_curvature_at_the_chosen_point(done):
    step = done.arrays["chosen_step"][0, 0]
    found = [done.arrays[f"chosen_{name}"][0, 0] for name in CURVATURE]
    np.testing.assert_allclose(found, curvature(done, 0, step), rtol=1e-8)


def test_crossings_are_the_first_steps_below_a_level(done):
    """Recomputed from the losses; two levels crossed at once are looked at once, at the lower."""
    a, steps = done.arrays, np.array(SCHEDULE.gradients)
    with np.errstate(invalid="ignore"):
        below = a["train_loss"][:, None, :] < np.array(SCHEDULE.levels)[:, None]
    expected = np.where(below.any(-1), steps[below.argmax(-1)], -1)
    np.testing.assert_array_equal(a["crossing_step"], expected)
    crossed = expected >= 0
    assert (crossed[:, :3].any(), crossed[:, 3].any()) == (True, False)
    at_once = np.zeros_like(crossed)
    at_once[:, :-1] = crossed[:, :-1] & (expected[:, :-1] == expected[:, 1:])
    assert at_once.any()
    assert (crossed & ~at_once).sum() > 3
    for name in CURVATURE:
        np.testing.assert_array_equal(~np.isnan(a[f"crossing_{name}"]), crossed & ~at_once)
    member, level = np.argwhere(crossed & ~at_once)[-1]
    found = [a[f"crossing_{name}"][member, level] for name in CURVATURE]
    wanted = curvature(done, member, expected[member, level])
    np.testing.assert_allclose(found, wanted, rtol=1e-8)


def test_progress_counts_steps_of_single_models(done):
    steps = [n for n, _ in done.heard]
    assert steps == sorted(steps)
    assert (steps[0], steps[-1]) == (0, 4 * 60 + 25)
    assert {what.split(",")[0] for _, what in done.heard} == {
        "training", "measuring", "a close look"
    }  # fmt: skip


@pytest.fixture
def second(done):
    """The sweep as it was at first, without compiling everything anew."""
    sweep = done.sweep
    sweep.state, sweep.log.chosen = sweep.ensemble.lay(done.held)
    sweep.log.arrays = {name: array.copy() for name, array in done.blank.items()}
    sweep.step, sweep.tasks_done, sweep.seconds = 0, 0, 0.0
    return sweep


def forget(sweep):
    """What another process would not have: were any of it used, the arrays would show it."""
    sweep.state, sweep.log.chosen = jax.tree.map(jnp.zeros_like, (sweep.state, sweep.log.chosen))
    sweep.log.arrays = {name: np.zeros_like(array) for name, array in sweep.log.arrays.items()}
    sweep.step, sweep.tasks_done = 10**6, 10**6


def assert_same_bits(found, expected):
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert found[name].dtype == array.dtype, name
        assert found[name].tobytes() == array.tobytes(), name


class Killed(BaseException):
    pass


def interrupted(sweep, path, strides, kill):
    """Run to the end, stopped after every so many strides; how often it was stopped."""
    for stops in range(200):
        seen = []

        def tick(steps, what, seen=seen):
            seen.append(what)
            if kill and len(seen) > strides:
                raise Killed

        def asked(seen=seen):
            return not kill and len(seen) >= strides

        try:
            arrays = sweep.run(
                checkpoint=path,
                identity=IDENTITY,
                every=0.0 if kill else 1e9,
                asked_to_stop=asked,
                progress=tick,
            )
            return arrays, stops
        except (Stopped, Killed):
            forget(sweep)
    pytest.fail("a sweep that is stopped again and again never comes to its end")


@pytest.mark.slow
@pytest.mark.parametrize(("strides", "kill"), [(1, False), (4, False), (3, True)])
def test_stopped_and_gone_on_gives_the_same_bits(done, second, tmp_path, strides, kill):
    """Stopped as it was asked to, or killed between two checkpoints, anywhere."""
    arrays, stops = interrupted(second, tmp_path / "c.npz", strides, kill)
    assert stops >= 25 // strides - 1
    assert_same_bits(arrays, done.arrays)


def test_a_checkpoint_of_something_else_is_refused_by_name(second, tmp_path):
    path = tmp_path / "c.npz"
    with pytest.raises(Stopped):
        second.run(checkpoint=path, identity=IDENTITY, asked_to_stop=lambda: True)
    before = path.read_bytes()
    for name, value in (("cores", 3), ("unit", {"width": 6}), ("versions", ["a"])):
        with pytest.raises(records.RecordError, match=rf"with another {name}.*: .*, now "):
            second.run(checkpoint=path, identity={**IDENTITY, name: value})
    with pytest.raises(records.RecordError, match="with another device: None, now 'gpu'"):
        second.run(checkpoint=path, identity={**IDENTITY, "device": "gpu"})
    assert path.read_bytes() == before
    path.write_bytes(before[: len(before) // 2])
    with pytest.raises(records.RecordError, match=r"c\.npz"):
        second.run(checkpoint=path, identity=IDENTITY)
    assert path.read_bytes() == before[: len(before) // 2]


def forged(change):
    """What a checkpoint with a right hash must not hold, and what is said of it."""

    def forge(path):
        arrays, meta = records.load(path)
        other = change(arrays, meta)
        records.save(path, arrays, meta if other is None else other)

    return forge


FORGED = {
    "a leaf is missing": (lambda a, m: a.__delitem__("device_0"), "device_0 is missing, wanted"),
    "a leaf of another shape": (
        lambda a, m: a.update(device_0=a["device_0"][:-1]),
        r"device_0 is \w+ of shape \(.*\), wanted is",
    ),
    "a leaf too many": (lambda a, m: a.update(device_999=np.zeros(3)), "device_999 is float64"),
    "an array is missing": (lambda a, m: a.__delitem__("host_norm"), "host_norm is missing"),
    "no progress": (lambda a, m: m.__delitem__("progress"), "does not say how far"),
    "no step": (lambda a, m: m["progress"].__delitem__("step"), "matches its measurements"),
    "a step before": (lambda a, m: m["progress"].update(step=7), "matches its measurements"),
    "a step beyond": (lambda a, m: m["progress"].update(step=59), "matches its measurements"),
    "text": (lambda a, m: m["progress"].update(step="20"), "matches its measurements"),
    "tasks": (lambda a, m: m["progress"].update(tasks_done=3), "matches its measurements"),
    "other code": (
        lambda a, m: m["identity"].update({"code of igrlib": "00"}),
        "with another code of igrlib: '00', now '[0-9a-f]{12}'",
    ),
    "no identity": (lambda a, m: m.update(identity=None), "with another code of igrlib: None"),
}


@pytest.fixture(scope="module")
def half_way(tmp_path_factory):
    """A checkpoint from after the measurement at step 20."""
    path = tmp_path_factory.mktemp("half") / "c.npz"
    ensemble = built(MEMBERS, 5, group=2)
    sweep = Sweep(MLP, ensemble, splits_of(ensemble), SCHEDULE, CLOSE)
    with pytest.raises(Stopped):
        sweep.run(
            checkpoint=path,
            identity=IDENTITY,
            asked_to_stop=lambda: sweep.step == 20 and sweep.log.has(20),
        )
    return path.read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("what", FORGED)
def test_a_checkpoint_that_does_not_hold_what_it_must_is_refused(second, half_way, tmp_path, what):
    change, said = FORGED[what]
    path = tmp_path / "c.npz"
    path.write_bytes(half_way)
    forged(change)(path)
    with pytest.raises(records.RecordError, match=rf"checkpoint c\.npz .*{said}"):
        second.run(checkpoint=path, identity=IDENTITY, asked_to_stop=lambda: True)
    path.write_bytes(half_way)
    with pytest.raises(Stopped):
        second.run(checkpoint=path, identity=IDENTITY, asked_to_stop=lambda: True)


CODE = [
    # a module of igrlib: whether it computes what a checkpoint holds
    ("experiments/sweep.py", True),
    ("experiments/measures/splits.py", True),
    ("regularizer.py", True),
    ("experiments/table.py", False),
    ("experiments/verdicts/judgement.py", False),
    ("experiments/cli/commands.py", False),
    ("plots/curves.py", False),
]


@pytest.mark.parametrize(("module", "computes"), CODE)
def test_a_change_in_a_module_that_only_reads_leaves_checkpoints_valid(tmp_path, module, computes):
    copy = shutil.copytree(Path(igrlib.__file__).parent, tmp_path / "igrlib")
    before = code_of(copy)
    with (copy / module).open("a") as file:
        file.write("# changed\n")
    assert (code_of(copy) != before) == computes


def test_the_code_is_that_which_computes(tmp_path):
    (tmp_path / "training").mkdir()
    (tmp_path / "plots").mkdir()
    (tmp_path / "training" / "steps.py").write_text("one")
    first = code_of(tmp_path)
    (tmp_path / "plots" / "style.py").write_text("any")
    (tmp_path / "training" / "notes.txt").write_text("any")
    assert code_of(tmp_path) == first
    (tmp_path / "training" / "steps.py").write_text("two")
    assert code_of(tmp_path) != first
    (tmp_path / "training" / "steps.py").rename(tmp_path / "training" / "step.py")
    (tmp_path / "training" / "step.py").write_text("one")
    assert code_of(tmp_path) != first


def test_stopped_without_a_checkpoint(second):
    with pytest.raises(Stopped):
        second.run(asked_to_stop=lambda: True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((0, 5, 3), (0,)), r"scores must be steps in rising order, got \(0, 5, 3\)"),
        (((0, 5, 5), (0,)), "scores must be steps in rising order"),
        (((), ()), "scores must be steps in rising order"),
        (((0, 5), (-1, 0)), "gradients must be steps in rising order"),
        (((0, 5, 9), (0, 4, 9)), r"gradients must be among scores, got \[4\] besides"),
        (((0, 5), (0,), (), (4,)), r"curvatures must be among scores, got \[4\] besides"),
        (((0, 5), (0,), (), (5, 0)), "curvatures must be steps in rising order"),
        (((0, 5), (0,), (0.1, 0.5)), r"levels must be in falling order, got \(0.1, 0.5\)"),
    ],
)
def test_schedules_that_cannot_be(arguments, message):
    with pytest.raises(ValueError, match=message):
        Schedule(*arguments)


@pytest.fixture(scope="module")
def every_step():
    """Gradient descent with the whole split, no validation split, measured after every step."""
    members = Members((0.01, 0.2), (0, 3), (30, 30), (0.0, 0.0))
    ensemble = built(members, 40)
    close = Evaluation(points=())
    steps = tuple(range(31))
    splits = splits_of(ensemble, validation=False)
    return Sweep(MLP, ensemble, splits, Schedule(steps, steps, (1e-9,)), close).run()


@pytest.mark.slow
def test_growth_of_the_parameters_is_bounded(every_step):
    """Proposition A.9: ‖θ_n‖ − ‖θ_0‖ ≤ h Σ slopes; and one step moves by h times one slope."""
    a = every_step
    slope = np.sqrt(a["train_squared_gradient"])
    h = a["learning_rate"][:, None]
    growth = a["norm"] - a["norm"][:, :1]
    bound = np.concatenate([np.zeros((2, 1)), np.cumsum(h * slope, 1)[:, :-1]], axis=1)
    assert (np.abs(growth) <= bound + 1e-6).all()
    assert (np.abs(np.diff(a["norm"])) <= (h * slope)[:, :-1] * (1 + 1e-6)).all()
    assert growth[1, -1] > 0.1 * bound[1, -1]


def test_loss_and_slope_belong_to_the_same_step(every_step):
    """(E_t − E_{t+1})/h = (3‖∇E_t‖² + ‖∇E_{t+1}‖²)/4 + O(h²): that E + (h/4)‖∇E‖² flows."""
    a = every_step
    fall = -np.diff(a["train_loss"][0]) / a["learning_rate"][0]
    squared = a["train_squared_gradient"][0]
    errors = np.abs(fall / ((3 * squared[:-1] + squared[1:]) / 4) - 1)
    # A few steps go over a kink of a ReLU.
    assert np.median(errors) < 1e-3
    assert errors.max() < 0.02
    assert np.median(np.abs(np.diff(squared)) / squared[1:]) > 0.02


def test_without_a_validation_split(every_step):
    a = every_step
    assert np.isnan(a["validation_accuracy"]).all()
    assert np.isnan(a["validation_loss"]).all()
    np.testing.assert_array_equal(a["chosen_step"][:, 0], -1)
    assert "chosen_validation_accuracy" not in a
    assert np.isnan(a["chosen_norm"][:, 0]).all()
    assert np.isfinite(a["chosen_norm"][:, 1:]).all()
    assert np.isnan(a["chosen_lambda_max"]).all()


def ending(stop):
    """Two models with the same start, of which the second leaves the finite numbers at step 4."""
    members = Members((0.1, 1e35), (2, 2), (stop, stop), (0.0, 0.0))
    ensemble = built(members, 5)
    steps = tuple(sorted({*range(5), stop}))
    sweep = Sweep(MLP, ensemble, splits_of(ensemble), Schedule(steps, steps), Evaluation(points=()))
    return sweep.run()


@pytest.mark.slow
@pytest.mark.parametrize("stop", [4, 9])
def test_a_model_that_diverges_in_its_last_step_has_diverged(stop):
    """As one that runs on, and is found out at its next step."""
    a = ending(stop)
    np.testing.assert_array_equal(a["diverged"], [-1, 4])
    assert np.isnan(a["train_loss"][1, 4])
    for split in ("validation", "test"):
        assert np.isfinite(a[f"{split}_accuracy"][0]).all()
        # The class that stands first is no answer.
        np.testing.assert_array_equal(
            np.isfinite(a[f"{split}_accuracy"][1, :5]), 4 * [True] + [False]
        )
        best = np.nanargmax(a[f"{split}_accuracy"][1, :4])
        assert a["chosen_step"][1, POINTS.index(split)] == best
    np.testing.assert_array_equal(a["chosen_step"][:, POINTS.index("final")], [stop, -1])
    assert np.isfinite(a["chosen_train_loss"][0]).all()
    assert np.isnan(a["chosen_train_loss"][1, POINTS.index("final")])
