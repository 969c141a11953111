"""`igr run all` and `igr list all`: one order, one limit, the folders of the single experiments."""

import re

import jax
import numpy as np
import pytest
from helpers.records import ORIGIN, meta

from igrlib.experiments import cli, profiles, records, runner
from igrlib.experiments.arm import Arm
from igrlib.experiments.cli import limit as limits
from igrlib.experiments.cli import order
from igrlib.experiments.folder import Folder
from igrlib.experiments.job import Stopped
from igrlib.experiments.networks import MLP

TINY = {
    "dataset": "digits",
    "network": MLP(depth=1),
    "widths": (4,),
    "learning_rates": (0.1,),
    "num_seeds": (2,),
    "seeds_per_unit": (1,),
    "num_train": 64,
    "num_validation": 16,
    "min_steps": 2,
    "max_steps": 2,
    "num_gradients": 1,
    "levels": (),
    "points": (),
}
ARMS = {
    "mlp-sweep": (
        Arm("all", **TINY),
        Arm("batch8", **TINY, batch_sizes=(8,)),
        Arm("gd", **TINY, batch_sizes=(None,)),
        Arm("sgd", **TINY),
    ),
    "egr-sweep": (Arm("matched", **TINY), Arm("resnet", **TINY)),
    "resnet-sweep": (Arm("sgd", **TINY, mus=(0.01,)),),
}
# Figures 2, A.7, 3c and A.6, then what the paper does not have; and so for the second seed.
IN_ORDER = [
    name + seed
    for seed in ("-s00-00", "-s01-01")
    for name in (
        "mlp-sweep/sgd-n0004-b00032",
        "resnet-sweep/sgd-n0004-b00032",
        "egr-sweep/resnet-n0004-b00032",
        "mlp-sweep/gd-n0004-b00064",
        "mlp-sweep/batch8-n0004-b00008",
        "mlp-sweep/all-n0004-b00032",
        "egr-sweep/matched-n0004-b00032",
    )
]
RUN = ("run", "all")


EXPERIMENTS = profiles.EXPERIMENTS


@pytest.fixture(autouse=True)
def tiny(monkeypatch, without_type_hook):
    """Experiments of a moment; one of them has no profile `digits`."""
    monkeypatch.setenv("XLA_FLAGS", "")
    made = {experiment: {"digits": arms} for experiment, arms in ARMS.items()}
    made["edge-sweep"] = {"cpu": ARMS["resnet-sweep"]}
    for module in (profiles, order):
        monkeypatch.setattr(module, "EXPERIMENTS", made)
    return made


@pytest.fixture
def igr(tmp_path, capsys):
    """The status and the lines of a command; that JAX has been used here before is left out."""

    def call(*argv, out=tmp_path):
        status = cli.main([*argv, "--out", str(out)])
        said = capsys.readouterr()
        err = [line for line in said.err.splitlines() if "the devices stay as they" not in line]
        return status, said.out.splitlines(), err

    return call


class Stub:
    """Units that take `start` seconds to begin and `work` seconds in two pieces."""

    def __init__(self, start=0.0, work=0.0):
        self.now, self.start, self.work, self.ran, self.fails = 0.0, start, work, [], {}

    def monotonic(self):
        return self.now

    def run_unit(self, unit, folder, *, asked_to_stop, progress, expected, **_):
        name = f"{folder.experiment}/{unit.name}"
        self.ran.append(name)
        if name in self.fails:
            raise self.fails[name]
        self.now += self.start
        for _ in range(2):
            progress(unit, 1, 2, "training")
            if asked_to_stop():
                stopped(folder, unit)
                raise Stopped
            self.now += self.work / 2
        shard(folder, unit)
        folder.merge(expected)
        return folder.shard(unit)


@pytest.fixture
def stub(monkeypatch):
    made = Stub()
    monkeypatch.setattr(runner, "run_unit", made.run_unit)
    monkeypatch.setattr(limits, "time", made)
    return made


def shard(folder, unit):
    about = meta(
        unit.name,
        experiment=folder.experiment,
        profile=folder.profile,
        dataset={"name": "digits", "fingerprint": "0", "sizes": {}},
        unit_config=unit.config(),
        seeds=list(unit.seeds),
        seconds=60.0,
        provenance=ORIGIN | {"device": {"kind": jax.devices()[0].device_kind}},
    )
    records.add_unit(folder.path, unit.name, {"stop": np.array([2])}, about)


def stopped(folder, unit):
    folder.checkpoint(unit).parent.mkdir(parents=True, exist_ok=True)
    folder.checkpoint(unit).touch()


def task(out, name):
    experiment, name = name.split("/")
    units = {unit.name: unit for unit in runner.units(ARMS[experiment])}
    return Folder(out, experiment, "digits"), units[name]


def rows(lines):
    return [line.split(None, 5) for line in lines if re.match(r" +\d+  ", line)]


def test_everything_runs_in_one_order_and_says_how_far_it_is(igr, tmp_path, stub):
    status, out, err = igr(*RUN)
    assert status == 0
    assert stub.ran == IN_ORDER
    assert err == [
        f"igr: {done} of 14 units done; now {name}" for done, name in enumerate(IN_ORDER)
    ]
    for name, line in zip(IN_ORDER, out, strict=False):
        folder, unit = task(tmp_path, name)
        assert line == f"{unit.name}: done, {folder.shard(unit)}"
    assert out[14:] == ["digits: 14 of 14 units done"]
    # Each experiment has the record that a run of its own would have made.
    for experiment, arms in ARMS.items():
        record = records.open_record(tmp_path / f"{experiment}-digits")
        names = sorted(unit.name for unit in runner.units(arms))
        assert sorted(record.units) == sorted(record.expected) == names
    stub.ran.clear()
    assert igr(*RUN)[0] == 0
    assert igr("run", "egr-sweep")[0] == 0
    assert stub.ran == []


def test_a_trial_run_of_all_takes_one_unit_of_each_kind(igr, stub):
    assert igr(*RUN, "--one-of-each")[0] == 0
    assert stub.ran == IN_ORDER[:7]


def test_single_runs_and_all_go_on_with_each_other(igr, stub):
    assert igr("run", "mlp-sweep", "--unit", "gd-n0004-b00064-s01-01")[0] == 0
    assert igr("run", "resnet-sweep")[0] == 0
    before = [*stub.ran]
    assert len(before) == 3
    assert igr(*RUN)[0] == 0
    assert stub.ran[3:] == [name for name in IN_ORDER if name not in before]


def test_what_was_stopped_goes_on_first_but_no_second_seed_before_a_first(igr, tmp_path, stub):
    first, second = "egr-sweep/matched-n0004-b00032-s00-00", "mlp-sweep/all-n0004-b00032-s01-01"
    shard(*task(tmp_path, IN_ORDER[0]))
    for name in (first, second):
        stopped(*task(tmp_path, name))
    seed0, seed1 = IN_ORDER[:7], IN_ORDER[7:]
    for seed, name in ((seed0, first), (seed1, second)):
        seed.remove(name)
        seed.insert(0, name)
    status, out, err = igr("list", "all", "--profile", "digits")
    assert (status, err) == (0, [])
    listed = rows(out)
    assert [row[1] for row in listed] == [*seed0, *seed1]
    states = {row[1]: row[4:] for row in listed}
    assert states[IN_ORDER[0]] == ["1m00", "done"]
    # It differs from that one in its seed alone.
    assert states[IN_ORDER[7]] == ["~1m00", "missing"]
    assert states[first] == ["?", "stopped, missing"]
    assert states[IN_ORDER[1]] == ["?", "missing"]
    assert "digits: 13 of 14 units missing, ~1m00 and 12 of unknown length" in out
    assert igr(*RUN)[0] == 0
    assert stub.ran == [name for name in (*seed0, *seed1) if name != IN_ORDER[0]]


# Units of 10 s to begin and 30 s to work; how many are begun under a limit, and finished.
LIMITS = {
    0.0: (0, 0),  # Nothing at all.
    1.0: (1, 0),  # Too short, but something is done.
    40.0: (1, 1),
    49.0: (1, 1),  # Another would begin at 40 s, and could be stopped at 50 s.
    51.0: (2, 1),
    91.0: (3, 2),
    1e6: (14, 14),
}


@pytest.mark.parametrize("seconds", LIMITS)
def test_no_unit_begins_that_could_not_be_stopped_within_the_limit(igr, tmp_path, stub, seconds):
    stub.start, stub.work = 10.0, 30.0
    begun, done = LIMITS[seconds]
    status, _, err = igr(*RUN, "--time-limit", str(seconds))
    assert stub.ran == IN_ORDER[:begun]
    assert len(list(tmp_path.glob("*/*.npz"))) == done
    assert status == (0 if done == 14 else 75)
    longer = "; give a longer --time-limit: a unit took 10 s to load data and compile"
    more = longer if seconds == 1 else ""
    if status:
        assert err[-1] == f"igr: stopped, {14 - done} of 14 units left; run again to go on{more}"


def test_a_unit_that_fails_leaves_the_others(igr, stub):
    why = "the checkpoint x.npz was written with another precision"
    stub.fails = {IN_ORDER[0]: records.RecordError(why)}
    status, out, err = igr(*RUN)
    assert stub.ran == IN_ORDER
    assert (status, len(out)) == (2, 13)
    assert err[1] == f"igr: {why}"
    assert err[-1] == f"igr: 1 of 14 units failed, the first: {why}"
    # A disk that is full is full for all of them.
    stub.ran.clear()
    stub.fails = {IN_ORDER[0]: OSError("No space left on device")}
    assert igr(*RUN)[0] == 2
    assert stub.ran == IN_ORDER[:1]


@pytest.mark.parametrize("number", [0, 3])
def test_after_a_lost_device_no_unit_of_any_experiment_is_begun(igr, stub, number):
    stub.fails = {IN_ORDER[number]: jax.errors.JaxRuntimeError("UNAVAILABLE: device lost")}
    status, _, err = igr(*RUN)
    assert stub.ran == IN_ORDER[: number + 1]
    assert status == (75 if number else 2)
    assert "the device was lost in unit" in err[-1]
    assert ("11 of 14 units left; run again to go on" in err[-1]) == bool(number)
    stub.fails = {}
    assert igr(*RUN)[0] == 0
    assert stub.ran[number + 1 :] == IN_ORDER[number:]


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ((*RUN, "--profile", "digit"), "--profile must be one of digits, cpu, got 'digit'; did"),
        ((*RUN, "--unit", "1"), "--unit works with one experiment, got all: name one of mlp-"),
        ((*RUN, "--set", "widths=8"), "--set works with one experiment, got all: name one of"),
        ((*RUN, "--group", "0"), "--group works with one experiment, got all: name one of"),
        (("list", "all"), "all needs a --profile"),
        (("list", "all", "--profile", "paper"), "--profile must be one of digits, cpu"),
        (("list", "all", "--profile", "cpu", "--set", "widths=8"), "--set works with one"),
    ],
)
def test_what_all_does_not_take_is_one_line(igr, tmp_path, argv, words):
    status, out, err = igr(*argv)
    assert (status, out, len(err)) == (2, [], 1)
    assert err[0].startswith(f"igr: {words}")
    assert list(tmp_path.iterdir()) == []


def test_a_profile_of_some_experiments_is_run_for_those(igr, stub):
    assert igr(*RUN, "--profile", "cpu")[0] == 0
    assert stub.ran == ["edge-sweep/sgd-n0004-b00032-s00-00", "edge-sweep/sgd-n0004-b00032-s01-01"]


@pytest.mark.slow
def test_stopped_and_resumed_it_ends_with_the_bits_of_single_runs(igr, tmp_path, tiny):
    """Real units, of two experiments with a seed each."""
    del tiny["resnet-sweep"]
    for experiment in ("mlp-sweep", "egr-sweep"):
        arm = ARMS[experiment][-1]
        tiny[experiment] = {"digits": (Arm(arm.name, **TINY | {"num_seeds": (1,)}),)}
        assert igr("run", experiment, out=tmp_path / "single")[0] == 0
    # Less than a start takes: the first piece of the first unit is done all the same.
    assert igr(*RUN, "--time-limit", "1e-6", out=tmp_path / "all")[0] == 75
    assert len([*tmp_path.glob("all/*/checkpoints/*.npz")]) == 1
    assert igr(*RUN, out=tmp_path / "all")[0] == 0
    shards = [path.relative_to(tmp_path / "all") for path in tmp_path.glob("all/*/*.npz")]
    assert len(shards) == 2
    for path in shards:
        one, other = (records.load(tmp_path / where / path)[0] for where in ("all", "single"))
        assert {name: a.tobytes() for name, a in one.items()} == {
            name: a.tobytes() for name, a in other.items()
        }


# Where each arm of `paper` is for the first time: one in the first round, by what it tells.
PAPER = (
    *(f"mlp-sweep/sgd-n{n:04d}-b00032" for n in (50, 100, 200, 400, 800, 1600)),
    "resnet-sweep/sgd-n0064-b00512",
    "egr-sweep/resnet-n0064-b00512",
    "mlp-sweep/gd-n0400-b60000",
    "mlp-sweep/batch512-n0400-b00512",
    "mlp-sweep/batch128-n0400-b00128",
    "mlp-sweep/all-n0400-b00032",
    "mlp-sweep/tf32-n0050-b00032",
    "egr-sweep/matched-n0064-b00512",
    "edge-sweep/ladder-n0050-b00032",
)


def test_the_paper_runs_the_first_seed_of_every_figure_before_a_second_of_any(monkeypatch):
    monkeypatch.setattr(order, "EXPERIMENTS", EXPERIMENTS)
    names = [f"{experiment}/{unit.name}" for experiment, unit in order.in_order("paper")]
    without_seeds = [re.sub(r"-s\d\d(-\d\d)?$", "", name) for name in names]
    every = len(set(without_seeds))
    assert tuple(without_seeds[: len(PAPER)]) == PAPER
    assert len(set(without_seeds[:every])) == every
    assert {name.split("/")[0] for name in names[:every]} == {
        experiment for experiment, profiles in EXPERIMENTS.items() if "paper" in profiles
    }
    # And so on: no third before a second.
    seeds = [int(re.search(r"-s(\d\d)", name)[1]) for name in names]
    assert seeds == sorted(seeds)
