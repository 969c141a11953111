"""Single runs and their flows: what is measured against other ways to it, stops, and failures."""

import dataclasses
import json
from typing import get_type_hints

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.errors import JaxRuntimeError
from jax.flatten_util import ravel_pytree
from scipy.integrate import solve_ivp

from igrlib.curvature import Eigenvalue
from igrlib.experiments import cli, data, following, records
from igrlib.experiments.arm import Arm
from igrlib.experiments.folder import Folder
from igrlib.experiments.following import Following, marks_of
from igrlib.experiments.job import Stopped
from igrlib.experiments.networks import MLP
from igrlib.experiments.paths import FLOWS, PathArm, paths_of
from igrlib.experiments.profiles import EXPERIMENTS
from igrlib.experiments.runner import run_unit, units
from igrlib.experiments.schema import MARKS
from igrlib.experiments.settings import changed
from igrlib.experiments.table import arms, table_of

ARM = PathArm(
    "small",
    dataset="digits",
    network=MLP(depth=1, activation="tanh"),
    widths=(3,),
    learning_rates=(0.5,),
    num_train=30,
    physical_time=6.0,
    flows_from=1.2,
    num_saved=3,
    num_matvecs=40,
    num_directions=2,
    flows=("gradient", "modified"),
    window=4,
    rtol=1e-6,
    atol=1e-7,
)


def changed_arm(**fields):
    return dataclasses.replace(ARM, **fields)


@pytest.fixture(scope="module")
def digits():
    return data.load("digits")


@pytest.fixture(scope="module")
def made(digits):
    (unit,) = paths_of(ARM)
    return Following(unit, digits).run()


@pytest.fixture(scope="module")
def run(digits):
    """The loss of a flat vector, written anew, and the iterates of descent on it."""
    (unit,) = paths_of(ARM)
    start = unit.classifier(digits).start(jax.random.key(0)).params
    theta, unravel = ravel_pytree(start)
    x = jnp.asarray(digits.train.images[:30].reshape(30, 64) / 16.0)
    one_hot = np.eye(10)[digits.train.labels[:30]]

    def loss(flat):
        layers = unravel(flat.astype(jnp.float32))["params"]
        first, last = (jax.tree.map(lambda a: a.astype(float), layers[k]) for k in sorted(layers))
        hidden = jnp.tanh(x @ first["kernel"] + first["bias"][None])
        logits = hidden @ last["kernel"] + last["bias"][None]
        return -jnp.mean(jnp.sum(jax.nn.log_softmax(logits) * one_hot, 1))

    gradient = jax.jit(jax.grad(loss))
    iterates = [np.asarray(theta, float)]
    for _ in range(13):
        iterates.append(iterates[-1] - 0.5 * np.asarray(gradient(jnp.asarray(iterates[-1]))))
    return jax.jit(loss), gradient, np.array(iterates)


def test_a_unit_has_whole_even_intervals():
    (unit,) = paths_of(ARM)
    assert unit.name == "small-n0003-h0.5-s00"
    # 12 steps in three intervals; 1.2/0.5 = 2.4 steps lie nearer to 4 than to 0.
    assert (unit.every, unit.model_steps, list(unit.saved), unit.first) == (4, 12, [0, 4, 8, 12], 4)
    (odd,) = paths_of(changed_arm(physical_time=5.5, num_saved=4, flows_from=99.0))
    assert (odd.every, list(odd.saved), odd.first) == (4, [0, 4, 8, 12], 8)
    several = changed_arm(learning_rates=(0.5, 0.25), widths=(3, 4), seeds=(1, 0))
    assert [(u.seed, u.width, u.learning_rate) for u in paths_of(several)][:3] == [
        (1, 3, 0.5),
        (1, 3, 0.25),
        (1, 4, 0.5),
    ]
    # The first seeds of every arm run first.
    assert [u.seed for u in units([several])] == 4 * [0] + 4 * [1]
    config = json.loads(json.dumps(unit.config()))
    assert (config["learning_rate"], config["width"], config["steps"]) == (0.5, 3, 12)


@pytest.mark.slow
def test_the_run_is_that_of_gradient_descent(made, run):
    loss, gradient, iterates = run
    np.testing.assert_allclose(made["loss"], [float(loss(x)) for x in iterates[:13]], rtol=1e-5)
    squares = [float(jnp.sum(gradient(x) ** 2)) for x in iterates[:13]]
    np.testing.assert_allclose(made["squared_gradient"], squares, rtol=1e-4)
    moved = np.linalg.norm(iterates[[0, 4, 8, 12]] - iterates[0], axis=1)
    np.testing.assert_allclose(made["moved"], moved, rtol=1e-4)
    norms = np.linalg.norm(iterates[[0, 4, 8, 12]], axis=1)
    np.testing.assert_allclose(made["norm"], [norms], rtol=1e-5)
    hessian = jax.jit(jax.hessian(loss))
    for column, step in enumerate((0, 4, 8, 12)):
        values = np.linalg.eigvalsh(hessian(jnp.asarray(iterates[step])))
        np.testing.assert_allclose(made["eigenvalue"][column], values[:-3:-1], rtol=1e-3)
    assert (made["residual"] < 1e-2 * made["eigenvalue"]).all()


@pytest.mark.slow
def test_distances_are_those_from_flows_that_set_out_together(made, run):
    """The flows of E and of E + (h/4)‖∇E‖², by SciPy's solver, from the fourth step."""
    loss, gradient, iterates = run

    def modified(x):
        return loss(x) + 0.125 * jnp.sum(gradient(x) ** 2)

    for row, field in enumerate((gradient, jax.jit(jax.grad(modified)))):
        flow = solve_ivp(
            lambda t, y, field=field: -np.asarray(field(jnp.asarray(y))),
            (2.0, 6.0),
            iterates[4],
            t_eval=[2.0, 4.0, 6.0],
            rtol=1e-7,
            atol=1e-9,
        ).y.T
        apart = np.linalg.norm(iterates[[4, 8, 12]] - flow, axis=1)
        np.testing.assert_allclose(made["distance"][row, 1:], apart, rtol=0.02, atol=2e-5)
        means = [(iterates[n - 1] + 2 * iterates[n] + iterates[n + 1]) / 4 for n in (4, 8, 12)]
        np.testing.assert_allclose(
            made["mean_distance"][row, 1:],
            np.linalg.norm(means - flow, axis=1),
            rtol=0.02,
            atol=2e-5,
        )
        np.testing.assert_allclose(
            made["flow_loss"][row, 1:], [float(loss(jnp.asarray(y))) for y in flow], rtol=1e-3
        )
    assert np.isnan(made["distance"][:, 0]).all()
    assert made["distance"][1, -1] < 0.5 * made["distance"][0, -1]
    # With the marks that sweeps have: tables of all units name them.
    assert marks_of(made) == {"ended": {}, **{mark: [] for mark in MARKS}}


@pytest.mark.slow
def test_stopped_on_the_way_it_goes_on_to_the_same_bits(digits, made, tmp_path):
    (unit,) = paths_of(ARM)
    path, pieces = tmp_path / "c.npz", []
    with pytest.raises(Stopped):
        Following(unit, digits).run(
            checkpoint=path,
            asked_to_stop=lambda: len(pieces) == 3,
            progress=lambda done, what: pieces.append(done),
        )
    assert pieces == [0, 4, 8]
    with pytest.raises(records.RecordError, match="another of"):
        Following(unit, digits).run(checkpoint=path, identity={"of": "another"})
    arrays = Following(unit, digits).run(
        checkpoint=path, progress=lambda done, what: pieces.append(done)
    )
    assert pieces == [0, 4, 8, 12]
    assert sorted(arrays) == sorted(made)
    for name, array in made.items():
        assert arrays[name].tobytes() == array.tobytes(), name


@pytest.mark.slow
def test_a_flow_that_fails_is_nan_from_there_and_the_others_go_on(digits, made, monkeypatch):
    calls = []

    def follow(flow, place):
        calls.append(place)
        if len(calls) > 1:
            raise RuntimeError("no Σ at /secret/place\nand more")
        return place, {"central_loss": 3.0}

    monkeypatch.setattr(following._Central, "follow", follow)
    (unit,) = paths_of(changed_arm(flows=("gradient", "central"), max_solver_steps=300))
    arrays = Following(unit, digits).run()
    np.testing.assert_array_equal(arrays["distance"][0], made["distance"][0])
    assert np.isfinite(arrays["distance"][1]).tolist() == [False, True, True, False]
    assert np.isfinite(arrays["central_loss"]).tolist() == [False, False, True, False]
    assert len(calls) == 2
    # Records take no path of a machine: the reason is then the kind of the error.
    assert marks_of(arrays)["ended"] == {"central": {"step": 8, "why": "RuntimeError"}}
    (short,) = paths_of(changed_arm(flows=("gradient", "rod"), max_solver_steps=1))
    ended = marks_of(Following(short, digits).run())["ended"]
    assert sorted(ended) == ["gradient", "rod"]
    for flow in ended.values():
        assert flow["step"] == 4
        assert "max_solver_steps=1 were too few" in flow["why"]


@pytest.mark.parametrize(
    ("text", "raised"),
    [
        ("INTERNAL: CUDA_ERROR_LAUNCH_FAILED: unspecified", True),
        ("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 9 bytes.", True),
        ("INTERNAL: CpuCallback error: _EquinoxRuntimeError", False),
    ],
)
@pytest.mark.parametrize("flow", ["gradient", "rod"])
def test_a_device_that_fails_is_no_end_of_a_flow(digits, flow, text, raised):
    (unit,) = paths_of(changed_arm(flows=(flow,), flows_from=0.0))
    job = Following(unit, digits)

    def broken(place):
        raise JaxRuntimeError(text)

    job._step = lambda params: (params, 1.0, 1.0)
    job._look = lambda params: (1.0, 1.0, Eigenvalue(np.ones(2), np.zeros(2)))
    job._flows[flow]._advance = broken
    if raised:
        with pytest.raises(JaxRuntimeError, match=text):
            job.run()
    else:
        why = "max_solver_steps=200 were too few" if flow == "rod" else text
        assert why in marks_of(job.run())["ended"][flow]["why"]


@pytest.mark.slow
def test_a_run_that_diverges_is_recorded_as_far_as_it_goes(digits, tmp_path):
    network = MLP(depth=3, activation="relu")
    arm = changed_arm(learning_rates=(1e9,), physical_time=1.2e10, flows=(), network=network)
    (unit,) = paths_of(arm)
    folder = Folder(tmp_path, "edge-sweep", "own")
    shard = records.open_record(run_unit(unit, folder).parent).units[unit.name]
    (gone,) = shard.meta["diverged"]
    assert gone["member"] == 0
    assert gone["step"] in (4, 8, 12)
    assert not np.isfinite(shard.arrays["loss"][gone["step"]])
    assert np.isnan(shard.arrays["eigenvalue"][-1]).all()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"flows": ("gradient", "centre")}, 'flows must be one of .*"central"'),
        ({"flows": ("rod", "rod")}, "flows must differ"),
        ({"widths": ()}, "widths must have at least one entry"),
        ({"learning_rates": (0.1, -0.1)}, "learning_rates must be positive, got -0.1"),
        ({"learning_rates": (1e-6,)}, "physical_time must be at most 50000 steps"),
        ({"seeds": (-1,)}, "seeds must be at least 0|seeds must be between 0"),
        ({"window": 5}, "window must be even, got 5"),
        ({"num_saved": 0}, "num_saved must be"),
        ({"flows_from": -1.0}, "flows_from must be finite and 0 or more, got -1"),
        ({"rtol": 0.0}, "rtol must be positive"),
    ],
)
def test_what_cannot_be_is_refused(fields, words):
    with pytest.raises(ValueError, match=words):
        changed_arm(**fields)


def test_too_many_images_are_refused_before_anything_runs(digits):
    (unit,) = paths_of(changed_arm(num_train=1501))
    with pytest.raises(ValueError, match="num_train must be at most the 1500 training images"):
        Following(unit, digits)


def test_a_setting_means_the_same_in_both_kinds_of_arms():
    """It is read once, by the type of the field."""
    one, other = get_type_hints(Arm), get_type_hints(PathArm)
    assert {name: one[name] for name in one.keys() & other} == {
        name: other[name] for name in one.keys() & other
    }
    mixed = (Arm("a", widths=(8,)), ARM)
    label, (arm, path) = changed("p", mixed, ["widths=5", "num_saved=7", "num_seeds=2", "depth=2"])
    assert label == "p+depth=2+num_saved=7+num_seeds=2+widths=5"
    assert (arm.widths, arm.num_seeds, path.widths, path.num_saved) == ((5,), (2,), (5,), 7)
    assert arm.network.depth == path.network.depth == 2
    with pytest.raises(ValueError, match="num_seeds"):
        changed("p", (ARM,), ["num_seeds=2"])
    with pytest.raises(ValueError, match="optimizer"):
        changed("p", (ARM,), ["optimizer=adam"])


def test_the_profiles_follow_every_flow_on_their_data():
    found = [
        arm
        for arms_ in EXPERIMENTS["edge-sweep"].values()
        for arm in arms_
        if isinstance(arm, PathArm)
    ]
    assert len(found) >= 4
    for arm in found:
        assert arm.flows == FLOWS
        assert arm.num_matvecs >= 12
        assert arm.num_train >= (500 if arm.dataset == "digits" else 1_000)


CUT = {
    "widths": "3",
    "num_train": "30",
    "physical_time": "4",
    "num_saved": "2",
    "num_matvecs": "4",
    "num_directions": "2",
    "flows": "gradient,central",
}
UNIT = "path-n0003-h0.25-s00"


@pytest.fixture
def igr(tmp_path, capsys, without_type_hook, monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "")

    def call(command, *argv):
        settings = [word for pair in CUT.items() for word in ("--set", "=".join(pair))]
        where = ["edge-sweep", "--profile", "digits", "--out", str(tmp_path), *settings]
        status = cli.main([command, *where, *argv])
        return status, capsys.readouterr()

    return call


@pytest.mark.slow
def test_the_command_runs_stops_lists_and_goes_on(igr, tmp_path):
    assert igr("run", "--unit", UNIT, "--time-limit", "0")[0] == 75
    status, said = igr("list")
    (row,) = [line for line in said.out.splitlines() if UNIT in line]
    assert (status, row.split()[2:4], row.split()[-1]) == (0, ["1", "16"], "missing")
    # With the first words of progress it is late.
    status, said = igr("run", "--unit", UNIT, "--time-limit", "1e-9")
    assert status == 75
    (checkpoint,) = tmp_path.glob("*/checkpoints/*.npz")
    assert records.load(checkpoint)[0]["host_measured"].tolist() == [True, False, False]
    assert "stopped, missing" in igr("list")[1].out
    status, said = igr("run", "--unit", UNIT)
    assert status == 0, said.err
    assert igr("run", "--unit", UNIT)[0] == 0
    (folder,) = [path for path in tmp_path.iterdir() if path.is_dir()]
    record = records.open_record(folder)
    shard = record.units[UNIT]
    assert shard.meta["seeds"] == [0]
    assert shard.meta["unit_config"]["num_params"] == 64 * 3 + 3 + 2 * (3 * 3 + 3) + 3 * 10 + 10
    assert shard.meta["provenance"]["versions"]["igrlib"]
    assert shard.meta["marks"]["ended"] == {}
    assert np.isfinite(shard.arrays["distance"][:, -1]).all()
    assert np.isfinite(shard.arrays["central_loss"][1:]).all()
    # It is no arm of a sweep.
    assert arms(record) == []
    with pytest.raises(ValueError, match="must be part of a sweep"):
        table_of(record, "path")
    status, said = igr("verdicts", "--arm", "path")
    assert status == 2
    assert "--arm must be one of" in said.err
