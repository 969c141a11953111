"""The command `igr` in this process: what it understands, refuses, lists and judges."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
import zipfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.records import unit as made_up
from helpers.units import shard

import igrlib
import igrlib.experiments.cli.console as console
from igrlib.experiments import cli, data, layouts, records, runner
from igrlib.experiments.arm import Arm, combinations
from igrlib.experiments.cli import parser
from igrlib.experiments.folder import Claimed, Folder
from igrlib.experiments.job import Stopped
from igrlib.experiments.networks import MLP, ResNet18
from igrlib.experiments.optimizers import Adam, Momentum
from igrlib.experiments.profiles import EXPERIMENTS
from igrlib.experiments.profiles.mlp import MLP_SWEEP
from igrlib.experiments.settings import changed
from igrlib.experiments.storage import npz
from igrlib.experiments.verdicts import (
    describe,
    describe_flatness,
    describe_ladder,
    describe_strength,
    describe_together,
    judge,
    judge_boost,
    judge_flatness,
    judge_ladder,
    judge_strength,
)

RUN = ("run", "mlp-sweep")


OUT_OF_MEMORY = "RESOURCE_EXHAUSTED: Out of memory while trying to allocate 9 bytes\nin a step"


@pytest.fixture(autouse=True)
def as_a_user_runs_it(monkeypatch, without_type_hook):
    """Without the import hook of the tests, and with an environment that is put back."""
    monkeypatch.setenv("XLA_FLAGS", os.environ.get("XLA_FLAGS", ""))
    monkeypatch.delenv("IGR_TRACEBACK", raising=False)


@pytest.fixture
def igr(tmp_path, capsys):
    """The status and the lines of a command whose records lie in a folder of its own."""

    def call(*argv, out=tmp_path):
        where = ["--out", str(out)] if argv and argv[0] in ("run", "list", "verdicts") else []
        status = cli.main([*argv, *where])
        said = capsys.readouterr()
        return status, said.out, said.err

    return call


BEGINS = re.compile("igr: (the devices stay as they are|[0-9]+ of [0-9]+ units? done; now )")


def one_line(err):
    """The only line of an error, besides what begins, and that JAX has been used before."""
    lines = [line for line in err.splitlines() if not BEGINS.match(line)]
    assert len(lines) == 1, err
    assert lines[0].startswith("igr: ")
    return lines[0]


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ((), ["COMMAND", "igr --help"]),
        (("rnu",), ["'rnu'", "run", "igr --help"]),
        ((*RUN, "--partition=gpu"), ["unrecognized arguments: --partition=gpu; see"]),
        (("run",), ["experiment", "igr run --help"]),
        ((*RUN, "--tim-limit", "3"), ["--tim-limit"]),
        ((*RUN, "--time-limit", "soon"), ["--time-limit: invalid seconds value: 'soon'"]),
        ((*RUN, "--time-limit", "-1"), ["--time-limit: must be 0 or more", "-1"]),
        ((*RUN, "--time-limit", "nan"), ["--time-limit: must be 0 or more", "nan"]),
        ((*RUN, "--time-limit", "inf"), ["--time-limit: must be 0 or more, and finite, got inf"]),
        ((*RUN, "--checkpoint-every", "-1"), ["--checkpoint-every: must be 0 or more"]),
        (("run", "mlp-swep"), ["experiment", 'did you mean "mlp-sweep"']),
        ((*RUN, "--profile", "cpus"), ["--profile", "digits", 'did you mean "cpu"']),
        (("list", "--profile", "tiny"), ["--profile", "digits, cpu", "'tiny'"]),
        (("list", "--set", "widths=8"), ["--set needs a --profile"]),
        (("list", "mlp-swep"), ["experiment", 'did you mean "mlp-sweep"']),
        ((*RUN, "--group", "two"), ["--group", "'two'"]),
        ((*RUN, "--group", "0"), ["group must be at least 1, got 0"]),
        ((*RUN, "--group", "99"), ["group must be at most", "gd-n0032-b00500-s00-07", "got 99"]),
        ((*RUN, "--unit", "0"), ["--unit must be a name or a number", "got 0"]),
        ((*RUN, "--unit", 5000 * "9"), ["--unit must be a name or a number", f"got {20 * '9'}"]),
        ((*RUN, "--unit", "99"), ["--unit must be a name or a number", "got 99"]),
        ((*RUN, "--unit", "gd-n0033-b00500-s00-07"), ["--unit", "gd-n0032-b00500-s00-07"]),
        ((*RUN, "--set", "width=8"), ["field of a setting", 'did you mean "widths"']),
        ((*RUN, "--set", "name=x"), ["field of a setting", "'name'"]),
        ((*RUN, "--set", "widths"), ["must be field=value", "'widths'"]),
        ((*RUN, "--set", "widths=8,x"), ["widths must be an integer", "'x'"]),
        ((*RUN, "--set", "widths="), ["widths must have at least one entry"]),
        ((*RUN, "--set", "widths=0"), ["widths must be at least 1", "0"]),
        ((*RUN, "--set", "widths=8,8"), ["widths must differ", "(8, 8)"]),
        ((*RUN, "--set", "mus=0.1", "--set", "mus=0.2"), ["mus is set twice"]),
        ((*RUN, "--set", "mus=-0.1"), ["mus must be", "-0.1"]),
        ((*RUN, "--set", "learning_rates=0.1,-0.2"), ["learning_rates must be positive", "-0.2"]),
        ((*RUN, "--set", "learning_rates=nan"), ["learning_rates must be positive", "nan"]),
        ((*RUN, "--set", "physical_time=inf"), ["physical_time must be positive", "inf"]),
        ((*RUN, "--set", "min_steps=9000"), ["min_steps must be at most max_steps", "9000"]),
        ((*RUN, "--set", "initial=keras"), ["initial must be one of haiku, flax", "'keras'"]),
        ((*RUN, "--set", "points=best"), ["points must be one of", "'best'"]),
        ((*RUN, "--set", "dataset=mnits"), ["dataset must be one of", 'did you mean "mnist"']),
        ((*RUN, "--set", "seeds_per_unit=0"), ["seeds_per_unit must be at least 1"]),
        ((*RUN, "--set", "num_train=1499"), ["at most the 1500 training images", "1499 + 200"]),
        ((*RUN, "--set", "batch_sizes=501"), ["batch_sizes must be at most num_train", "got 501"]),
        (("data", "prepare", "minst"), ["'minst'", 'did you mean "mnist"']),
        (("data", "prepare", "digits"), ["digits", "nothing to prepare"]),
        (("data",), ["prepare", "igr data --help"]),
        (("verdicts",), ["no manifest.json", "run a unit first"]),
        (("verdicts", "--arm", "sdg"), ["--arm must be one of", 'did you mean "sgd"']),
    ],
)
def test_what_the_user_got_wrong_is_one_line_that_says_how_to_mend_it(igr, tmp_path, argv, words):
    status, out, err = igr(*argv)
    line = one_line(err)
    assert status == 2
    assert out == ""
    for word in words:
        assert word in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "command", [(), ("list",), ("run",), ("slurm",), ("verdicts",), ("data", "prepare")]
)
def test_every_command_has_a_help_text(igr, command):
    status, out, _ = igr(*command, "--help", out="unused")
    assert status == 0
    assert "usage: igr" in out


def test_the_help_shows_examples_that_are_understood():
    examples = re.findall(r"^  igr (.+?)(?:   .*)?$", parser._EXAMPLES, re.MULTILINE)
    assert len(examples) >= 6
    for example in examples:
        assert callable(parser._parser().parse_args(example.split()).run)


def test_a_bug_is_no_mistake_of_the_user(igr, monkeypatch):
    monkeypatch.setattr(runner, "run_unit", lambda *_, **__: [].remove(0))
    with pytest.raises(ValueError, match="not in list"):
        igr(*RUN)


def test_a_corrupt_cache_is_refused_before_anything_is_run(igr, tmp_path, monkeypatch):
    monkeypatch.setenv("IGR_DATA_DIR", str(tmp_path / "cache"))
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "mnist.npz").write_bytes(b"no archive")
    status, _, err = igr(*RUN, "--profile", "cpu", out=tmp_path / "out")
    assert status == 2
    assert "igr data prepare mnist" in one_line(err)
    assert (tmp_path / "cache" / "mnist.npz").read_bytes() == b"no archive"
    assert not (tmp_path / "out").exists()


def test_missing_data_name_the_command_that_fetches_them(igr, tmp_path, monkeypatch):
    for name in ("IGR_DATA_DIR", "TFDS_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    status, _, err = igr(*RUN, "--profile", "cpu", out=tmp_path / "out")
    assert status == 2
    assert "igr data prepare mnist" in one_line(err)


def test_a_run_that_cannot_fit_is_refused_with_the_sum(igr, tmp_path, monkeypatch):
    devices = jax.device_count()
    # 500 + 200 + 297 images of 64 bytes, and labels of 4, on every device.
    data = devices * 997 * 68
    # 64·400 + 400² + 400·10 weights and 810 biases of 4 bytes, three times for each of 32 models.
    models = 3 * -(-32 // devices) * devices * 4 * (64 * 400 + 400**2 + 400 * 10 + 810)
    monkeypatch.setattr(runner, "run_unit", lambda *_, **__: pytest.fail("it was begun"))
    argv = (*RUN, "--unit", "1", "--set", "widths=400")
    monkeypatch.setattr(layouts, "free_bytes", lambda device: data + models)
    assert igr(*argv, "--time-limit", "0")[0] == 75
    monkeypatch.setattr(layouts, "free_bytes", lambda device: None)
    assert igr(*argv, "--time-limit", "0")[0] == 75
    monkeypatch.setattr(layouts, "free_bytes", lambda device: data + models - 1)
    status, out, err = igr(*argv)
    assert (status, out) == (2, "")
    data, models, total = (f"{b / 2**20:.1f}" for b in (data, models, data + models))
    assert one_line(err) == (
        f"igr: unit gd-n0400-b00500-s00-07 needs data {data} + three copies of the parameters "
        f"{models} = {total} MiB, and {total} MiB are free: set fewer seeds_per_unit or "
        "learning_rates, or smaller widths, or take a device with more memory"
    )
    assert list(tmp_path.iterdir()) == []


class Runs:
    """Stands in for the runner: notes the units, and fails in those that it is told."""

    def __init__(self, out, monkeypatch, **fails):
        self.out, self.fails, self.ran = out, fails, []
        monkeypatch.setattr(runner, "run_unit", self.run_unit)

    def run_unit(self, unit, folder, **_):
        self.ran.append(unit.name)
        if unit.arm.name in self.fails:
            raise self.fails[unit.arm.name]
        return shard(self.out, folder.profile, unit)


def test_units_that_cannot_fit_are_left_out_and_the_others_run(igr, tmp_path, monkeypatch):
    runs = Runs(tmp_path, monkeypatch)
    # Enough for 32 models of width 8, and not of width 400, on any number of devices.
    monkeypatch.setattr(layouts, "free_bytes", lambda device: 8 * 2**20)
    status, out, err = igr(*RUN, "--set", "widths=400,8")
    assert status == 2
    assert runs.ran == ["gd-n0008-b00500-s00-07", "sgd-n0008-b00032-s00-07"]
    assert out.count("done") == 2
    *said, last = [line for line in err.splitlines() if not BEGINS.match(line)]
    for line, name in zip(said, ("gd-n0400-b00500", "sgd-n0400-b00032"), strict=True):
        assert re.match(rf"igr: unit {name}-s00-07 needs data .* and 8\.0 MiB are free: set ", line)
    assert last == f"igr: 2 of 4 units failed, the first: {said[0].removeprefix('igr: ')}"


def test_a_run_that_finds_no_memory_on_the_way_says_what_to_do(igr, monkeypatch):
    """JAX's own error, for more than any machine has; no other error of JAX is the user's."""
    monkeypatch.setattr(layouts, "free_bytes", lambda device: 2**30)
    monkeypatch.setattr(runner, "run_unit", lambda *_, **__: jnp.zeros((2**24, 2**24)))
    status, out, err = igr(*RUN, "--unit", "1")
    assert (status, out) == (2, "")
    line = one_line(err)
    for words in (
        "unit gd-n0032-b00500-s00-07 ran out of memory, 1,024.0 MiB are free: ",
        "take a smaller --group, or set fewer seeds_per_unit or learning_rates",
        "it has no checkpoint (RESOURCE_EXHAUSTED: ",
    ):
        assert words in line

    def broken(*_, **__):
        raise jax.errors.JaxRuntimeError("INTERNAL: no such luck")

    monkeypatch.setattr(runner, "run_unit", broken)
    with pytest.raises(jax.errors.JaxRuntimeError, match="no such luck"):
        igr(*RUN, "--unit", "1")


@pytest.mark.parametrize(
    "error", [MemoryError("Unable to allocate 4 TiB"), jax.errors.JaxRuntimeError(OUT_OF_MEMORY)]
)
def test_a_path_that_finds_no_memory_is_told_of_what_it_has(igr, monkeypatch, error):
    monkeypatch.setattr(runner, "run_unit", lambda *_, **__: (_ for _ in ()).throw(error))
    argv = ("run", "edge-sweep", "--unit", "path-n0016-h0.25-s00")
    status, out, err = igr(*argv)
    assert (status, out) == (2, "")
    line = one_line(err)
    assert "set smaller widths or num_train, or fewer flows; it has no checkpoint" in line
    assert line.endswith(f"({str(error).splitlines()[0]})")


def test_after_a_lost_device_nothing_more_is_begun(igr, tmp_path, monkeypatch):
    """Status 75 where something was saved since, and 2 where running again would not help."""
    first, second = (unit.name for unit in runner.units(MLP_SWEEP["digits"]))
    lost = jax.errors.JaxRuntimeError("INTERNAL: CUDA_ERROR_LAUNCH_FAILED: \nand a stack")
    runs = Runs(tmp_path, monkeypatch, gd=lost)
    status, out, err = igr(*RUN)
    assert (status, out, runs.ran) == (2, "", [first])
    assert one_line(err) == (
        f"igr: the device was lost in unit {first} (INTERNAL: CUDA_ERROR_LAUNCH_FAILED: ); it has "
        "no checkpoint; this run made no progress: check the device before you run again"
    )
    runs = Runs(tmp_path, monkeypatch, sgd=lost)
    status, _, err = igr(*RUN)
    assert (status, runs.ran) == (75, [first, second])
    assert one_line(err).endswith("; it has no checkpoint; 1 of 2 units left; run again to go on")


def test_a_device_that_does_not_answer_is_found_before_anything_runs(igr, tmp_path, monkeypatch):
    def dead(*_):
        raise jax.errors.JaxRuntimeError("INTERNAL: CUDA_ERROR_ECC_UNCORRECTABLE")

    monkeypatch.setattr(jax, "device_put", dead)
    runs = Runs(tmp_path, monkeypatch)
    status, _, err = igr(*RUN)
    assert (status, runs.ran) == (2, [])
    assert "JAX finds no device" in one_line(err)
    assert "CUDA_ERROR_ECC_UNCORRECTABLE" in one_line(err)


ON_A_GPU = {"device": {"kind": "H100", "platform": "gpu", "count": 1}}


@pytest.mark.parametrize("precision", ["default", "highest"])
def test_an_arm_of_another_precision_is_refused_before_anything_runs(
    igr, tmp_path, monkeypatch, precision
):
    """The arm gd has a unit from a GPU; here is a CPU, which computes in float32."""
    words = ("--set", "num_seeds=2", "--set", "seeds_per_unit=1")
    label, arms = changed("digits", MLP_SWEEP["digits"], words[1::2])
    done = next(unit for unit in runner.units(arms) if unit.arm.name == "gd")
    path = shard(tmp_path, label, done, origin=ON_A_GPU | {"precision": precision})
    runs = Runs(tmp_path, monkeypatch)
    if precision == "highest":
        assert igr(*RUN, *words)[0] == 0
        assert len(runs.ran) == 3
        return
    status, out, err = igr(*RUN, *words)
    assert (status, out, runs.ran) == (2, "", [])
    assert one_line(err) == (
        f"igr: {path} has products of matrices in default on gpu, here they are in float32, and "
        "an arm has one precision: move it away to run it anew, or name another --out"
    )
    # The other arm has no unit yet.
    other = [word for name in ("sgd-n0032-b00032-s00-00",) for word in ("--unit", name)]
    assert igr(*RUN, *words, *other)[0] == 0


@pytest.mark.parametrize("error", [RuntimeError("Unknown backend"), AssertionError()])
def test_a_run_without_a_device_says_which_one_it_asked_for(igr, tmp_path, monkeypatch, error):
    monkeypatch.setenv("JAX_PLATFORMS", "cuda")
    monkeypatch.setattr(jax, "devices", lambda: (_ for _ in ()).throw(error))
    status, out, err = igr(*RUN)
    assert (status, out) == (2, "")
    line = one_line(err)
    assert "JAX finds no device with JAX_PLATFORMS=cuda: ask for a machine that has one" in line
    assert (str(error) or "AssertionError") in line
    assert list(tmp_path.iterdir()) == []


def arm(**fields):
    return Arm("a", **{"widths": (8,), "num_seeds": (1,), **fields})


def test_settings_are_read_as_the_fields_are_annotated():
    settings = ["widths=8, 16", "mus=1e-3", "batch_sizes=none,32", "initial=flax", "points="]
    label, (new,) = changed("p", [arm()], settings)
    assert (new.widths, new.mus, new.batch_sizes) == ((8, 16), (0.001,), (None, 32))
    assert (new.network.initial, new.points) == ("flax", ())
    assert new.learning_rates == arm().learning_rates
    assert label == "p+batch_sizes=none,32+initial=flax+mus=0.001+points=+widths=8,16"


@pytest.mark.parametrize(
    ("text", "value"),
    [("true", True), ("Yes", True), ("1", True), ("False", False), ("no", False), ("0", False)],
)
def test_a_switch_is_read_as_what_it_says(text, value):
    for before in (True, False):
        _, (new,) = changed("p", [arm(matched=before)], [f"matched={text}"])
        assert new.matched is value


@pytest.mark.parametrize("text", ["", "off", "None", "2", "ture"])
def test_a_switch_that_says_nothing_is_refused(text):
    with pytest.raises(ValueError, match=f"matched must be true or false, got '{text}'"):
        changed("p", [arm()], [f"matched={text}"])


def test_what_is_asked_for_off_stays_off(igr):
    plain, off, on = (
        igr("list", "mlp-sweep", "--profile", "digits", *words)[1]
        for words in ((), ("--set", "matched=False"), ("--set", "matched=True"))
    )
    assert off == plain
    assert [row[2:4] for row in rows(on)] != [row[2:4] for row in rows(plain)]


@pytest.mark.parametrize(
    ("experiment", "profile", "setting", "model"),
    [
        ("resnet-sweep", "digits", "depth=7", "mlp"),
        ("resnet-sweep", "cpu", "activation=tanh", "mlp"),
        ("resnet-sweep", "digits", "initial=flax", "mlp"),
        ("mlp-sweep", "cpu", "stem=cifar", "resnet18"),
        ("egr-sweep", "digits", "stem=cifar", "resnet18"),
    ],
)
def test_a_field_that_the_network_does_not_have_is_refused(
    igr, tmp_path, experiment, profile, setting, model
):
    status, out, err = igr("list", experiment, "--profile", profile, "--set", setting)
    name = setting.partition("=")[0]
    assert (status, out) == (2, "")
    assert f"{name} is a field of model {model} alone" in one_line(err)
    assert list(tmp_path.iterdir()) == []


def test_a_field_of_one_network_is_changed_in_the_arms_that_have_it():
    arms = EXPERIMENTS["egr-sweep"]["cpu"]
    assert {arm.network.kind for arm in arms} == {"mlp", "resnet18"}
    label, new = changed("cpu", arms, ["depth=3"])
    assert label == "cpu+depth=3"
    assert [a.network for a in new] == [
        replace(a.network, depth=3) if isinstance(a.network, MLP) else a.network for a in arms
    ]
    # The network that is asked for counts, not the one that was there.
    _, (other,) = changed("p", [arm(dataset="digits")], ["model=resnet18", "stem=cifar"])
    assert other.network == ResNet18(stem="cifar")


def test_an_optimizer_is_chosen_and_its_fields_changed():
    label, (new,) = changed("p", [arm()], ["optimizer=momentum", "momentum=0.5", "nesterov=yes"])
    assert label == "p+momentum=0.5+nesterov=True+optimizer=momentum"
    assert (new.optimizer, new.network) == (Momentum(0.5, nesterov=True), arm().network)
    arms = EXPERIMENTS["optimizer-sweep"]["cpu"]
    _, several = changed("cpu", arms, ["b1=0.5"])
    assert [a.optimizer for a in several] == [
        replace(a.optimizer, b1=0.5) if isinstance(a.optimizer, Adam) else a.optimizer for a in arms
    ]
    with pytest.raises(ValueError, match=r"b1 is a field of optimizer adam alone, .* sgd"):
        changed("p", [arm()], ["b1=0.5"])
    with pytest.raises(ValueError, match=r'optimizer must be one of .*"adam"'):
        changed("p", [arm()], ["optimizer=adan"])


def test_a_changed_profile_has_a_name_of_its_own():
    arms = [arm()]
    assert changed("p", arms, []) == ("p", tuple(arms))
    assert changed("p", arms, ["widths=8"])[0] == "p"  # Nothing is changed.
    both = ["mus=0.5", "widths=9"]
    assert changed("p", arms, both)[0] == changed("p", arms, both[::-1])[0] == "p+mus=0.5+widths=9"
    exact = [changed("p", arms, [f"mus={mu}"])[0] for mu in ("0.1", "0.10000001", "1e-1")]
    assert exact[0] == exact[2] != exact[1]
    long = [*both, "points=test", "noise_draws=7", "slope_draws=5", "min_steps=10", "depth=3"]
    many = [[*long, f"learning_rates=0.1,0.2,{last}"] for last in ("0.3", "0.4")]
    names = [changed("p", arms, settings)[0] for settings in many]
    assert len(set(names)) == 2
    assert all(re.fullmatch(r"p\+[0-9a-f]{12}", name) for name in names)


def test_no_two_units_of_a_profile_have_one_name():
    for experiment, profiles in EXPERIMENTS.items():
        for profile, arms in profiles.items():
            names = [unit.name for unit in runner.units(arms)]
            assert len(set(names)) == len(names), (experiment, profile)


def rows(out):
    return [line.split(None, 5) for line in out.splitlines() if re.match(r" +\d+  ", line)]


def test_listing_tells_what_there_is_what_it_costs_and_what_is_missing(igr, tmp_path):
    units = runner.units(MLP_SWEEP["cpu"])
    # Two units of the same width: what one of them took is what the other will take.
    first = next(u for u in units if u.arm.name == "sgd" and u.width == 50)
    twin = next(u for u in units if u.arm == first.arm and u.width == 50 and u != first)
    shard(tmp_path, "cpu", first, seconds=3600.0 + 25 * 60)
    waiting = Folder(tmp_path, "mlp-sweep", "cpu").checkpoint(units[1])
    waiting.parent.mkdir()
    waiting.touch()
    status, out, err = igr("list", "mlp-sweep", "--profile", "cpu")
    assert (status, err) == (0, "")
    listed = {row[1]: row for row in rows(out)}
    assert list(listed) == [unit.name for unit in units]
    assert [row[0] for row in listed.values()] == [str(n) for n in range(1, len(units) + 1)]
    assert listed[first.name][4:] == ["1h25", "done"]
    assert listed[twin.name][4:] == ["~1h25", "missing"]
    assert listed[units[1].name][5] == "stopped, missing"
    steps = len(first.seeds) * sum(
        min(max(round(first.arm.physical_time / h), first.arm.min_steps), first.arm.max_steps)
        for h in first.arm.learning_rates
    )
    assert listed[first.name][3] == f"{steps:,}"
    assert listed[first.name][2] == str(len(first.seeds) * len(first.arm.learning_rates))
    assert f"{len(units) - 1} of {len(units)} units missing, ~" in out
    _, everything, _ = igr("list")
    assert all(f"\n{profile}: " in everything for profile in MLP_SWEEP)
    assert all(f"{experiment}: " in everything for experiment in EXPERIMENTS)


def test_listing_a_damaged_or_foreign_shard_says_so(igr, tmp_path):
    first, second = runner.units(MLP_SWEEP["digits"])[:2]
    shard(tmp_path, "digits", first, max_steps=7)
    path = shard(tmp_path, "digits", second)
    path.write_bytes(path.read_bytes()[:-9])
    _, out, _ = igr("list", "mlp-sweep", "--profile", "digits")
    states = {row[1]: row[5] for row in rows(out)}
    assert "recorded with max_steps = 7" in states[first.name]
    assert "cut short" in states[second.name]
    status, _, err = igr(*RUN)
    assert status == 2
    one_line(err)


ODD = {
    "batch size 0": lambda arrays, meta: meta["unit_config"].update(batch_size=0),
    "batch size -1": lambda arrays, meta: meta["unit_config"].update(batch_size=-1),
    "batch size x": lambda arrays, meta: meta["unit_config"].update(batch_size="x"),
    "endless seconds": lambda arrays, meta: meta.update(seconds=10**400),
    "no number of seconds": lambda arrays, meta: meta.update(seconds="long"),
    "no stops": lambda arrays, meta: arrays.update(stop=np.zeros(0, int)),
    "stops of text": lambda arrays, meta: arrays.update(stop=np.array(["a"])),
    "no device": lambda arrays, meta: meta.update(provenance=[]),
    "a mark beyond": lambda arrays, meta: meta["marks"].update(fitted=[10**6]),
    "no configuration": lambda arrays, meta: meta.update(unit_config=[]),
}


@pytest.mark.parametrize("odd", [*ODD, "a list", "a lying header"])
def test_one_odd_shard_takes_nothing_else_down(igr, tmp_path, odd):
    """Forged or foreign, with a right hash: named, and the rest is as it was."""
    first, second = runner.units(MLP_SWEEP["digits"])
    arrays = made_up(32, second.seeds).arrays
    good = shard(tmp_path, "digits", second, arrays=arrays)
    path = shard(tmp_path, "digits", first, arrays=arrays)
    arrays, meta = records.load(path)
    if odd == "a list":
        npz.atomic_write(path, lambda file: file.write(npz.encode(arrays, [])))
    elif odd == "a lying header":
        with zipfile.ZipFile(path, "w") as archive:
            about = b"{'descr': '<f8', 'fortran_order': False, 'shape': (10000000000000,)}"
            archive.writestr("__meta__.npy", b"\x93NUMPY\x01\x00\x76\x00" + about.ljust(118))
    else:
        ODD[odd](arrays, meta)
        records.save(path, arrays, meta)
    status, out, err = igr("list", "mlp-sweep", "--profile", "digits")
    assert (status, err) == (0, "")
    states = {row[1]: row[5] for row in rows(out)}
    assert states[second.name] == "done"
    for command in ("verdicts", "run"):
        argv = (command, "mlp-sweep")
        status, out, err = igr(*argv, *(("--unit", "2") if command == "run" else ()))
        assert status in (0, 2)
        if status == 2:
            assert path.name in one_line(err) or "manifest.json" in err
    assert records.load(good)[1]["unit"] == second.name


def test_running_again_skips_what_is_done_and_merges_shards_from_elsewhere(igr, tmp_path):
    units = runner.units(MLP_SWEEP["digits"])
    for unit in units:
        shard(tmp_path, "digits", unit)
    manifest = Folder(tmp_path, "mlp-sweep", "digits").path / "manifest.json"
    manifest.unlink()
    left = Folder(tmp_path, "mlp-sweep", "digits").checkpoint(units[0])
    left.parent.mkdir()
    left.touch()
    status, out, _ = igr(*RUN)
    assert status == 0
    assert out == f"digits: {len(units)} of {len(units)} units done\n"
    written = json.loads(manifest.read_text())
    assert written["expected"] == sorted(unit.name for unit in units)
    assert written["missing"] == []
    assert not left.exists()


def test_units_are_chosen_by_number_and_name(igr, monkeypatch):
    ran = []
    monkeypatch.setattr(runner, "run_unit", lambda unit, *_, **__: ran.append(unit.name))
    names = [unit.name for unit in runner.units(MLP_SWEEP["digits"])]
    assert igr(*RUN, "--unit", "2")[0] == 0
    assert igr(*RUN, "--unit", names[0], "--unit", "1")[0] == 0
    assert igr(*RUN)[0] == 0
    assert ran == [names[1], names[0], *names]


def test_a_trial_run_takes_one_unit_of_each_kind(igr, monkeypatch):
    ran = []
    monkeypatch.setattr(runner, "run_unit", lambda unit, *_, **__: ran.append(unit.name))
    two = ("--set", "widths=4,8", "--set", "num_seeds=3", "--set", "seeds_per_unit=1")
    assert igr(*RUN, "--one-of-each", *two)[0] == 0
    arms = [arm.name for arm in MLP_SWEEP["digits"]]
    started = [(arm, width) for arm in arms for width in ("n0004", "n0008")]
    assert [tuple(name.split("-")[:2]) for name in ran] == started
    assert all(name.endswith("-s00-00") for name in ran)


@pytest.mark.slow
def test_a_group_is_kept_by_the_checkpoint_and_the_record(igr, tmp_path):
    """Four models a device, two at a time; a stopped run goes on with its own group alone."""
    seeds = 2 * jax.device_count()
    settings = ("learning_rates=0.1,0.2", "widths=8", "min_steps=3", "max_steps=3")
    settings += (f"num_seeds={seeds}", f"seeds_per_unit={seeds}")
    words = [word for setting in (*settings, "points=") for word in ("--set", setting)]
    argv = (*RUN, *words, "--unit", "1")
    status, _, err = igr(*argv, "--group", "2", "--time-limit", "1e-9")
    assert status == 75, err
    (waiting,) = tmp_path.glob("*/checkpoints/*.npz")
    for other in ((), ("--group", "4")):
        status, out, err = igr(*argv, *other)
        assert (status, out) == (2, "")
        said = f"{waiting.name} was written with another layout['group']: 2, now "
        assert said in one_line(err)
    assert igr(*argv, "--group", "2")[0] == 0
    (path,) = tmp_path.glob("*/*.npz")
    assert records.load(path)[1]["unit_config"]["group"] == 2


def test_what_begins_is_said_and_whether_from_a_checkpoint(igr, tmp_path, monkeypatch):
    """Also of a single unit that was stopped; a single one from its start needs no line."""
    _, second = runner.units(MLP_SWEEP["digits"])
    monkeypatch.setattr(
        runner, "run_unit", lambda unit, folder, **_: shard(tmp_path, "digits", unit)
    )
    left = Folder(tmp_path, "mlp-sweep", "digits").checkpoint(second)
    left.parent.mkdir(parents=True)
    left.touch()
    begins = lambda err: [line for line in err.splitlines() if "; now " in line]  # noqa: E731
    assert begins(igr(*RUN, "--unit", "1")[2]) == []
    said = f"now {second.name}, from its checkpoint"
    assert begins(igr(*RUN, "--unit", "2")[2]) == [f"igr: 0 of 1 unit done; {said}"]
    Folder(tmp_path, "mlp-sweep", "digits").shard(second).unlink()
    left.touch()
    assert begins(igr(*RUN)[2]) == [f"igr: 1 of 2 units done; {said}"]


def test_with_no_time_at_all_nothing_is_begun(igr, monkeypatch):
    monkeypatch.setattr(runner, "run_unit", lambda *_, **__: pytest.fail("it was begun"))
    status, _, err = igr(*RUN, "--time-limit", "0")
    assert status == 75
    assert "run again to go on" in one_line(err)


def test_a_time_limit_under_the_time_to_start_still_gets_on(igr, monkeypatch):
    """Something is done in every run, and no second unit is begun."""
    calls = []

    def run_unit(unit, folder, *, asked_to_stop, progress, **_):
        assert not asked_to_stop()
        calls.append(unit.name)
        progress(unit, 1, 2, "training")
        assert asked_to_stop()
        raise Stopped

    monkeypatch.setattr(runner, "run_unit", run_unit)
    status, _, err = igr(*RUN, "--time-limit", "1e-9")
    assert status == 75
    assert "2 of 2 units left; run again to go on" in one_line(err)
    assert len(calls) == 1


@pytest.mark.parametrize("fate", ["finished", "given up", "still running"])
def test_a_unit_that_another_process_had_is_looked_at_again(igr, tmp_path, monkeypatch, fate):
    """Of two units the first is taken; what became of it is seen when the second is done."""
    first, second = runner.units(MLP_SWEEP["digits"])
    calls = []

    def run_unit(unit, folder, **_):
        calls.append(unit.name)
        if unit == first and (fate == "still running" or calls.count(unit.name) == 1):
            raise Claimed
        if unit == second and fate == "finished":
            shard(tmp_path, "digits", first)
        return shard(tmp_path, "digits", unit)

    monkeypatch.setattr(runner, "run_unit", run_unit)
    status, out, err = igr(*RUN)
    if fate == "still running":
        assert status == 2
        assert one_line(err) == f"igr: another process runs {first.name}: wait for it, or stop it"
    else:
        assert status == 0
        assert out.endswith("digits: 2 of 2 units done\n")
    again = {"finished": [], "given up": [first.name], "still running": [first.name]}
    assert calls == [first.name, second.name, *again[fate]]


def test_the_version_is_told(igr):
    status, out, _ = igr("--version", out="unused")
    assert (status, out) == (0, f"igr {igrlib.__version__}\n")


WITH_UNITS_THAT_DO_NOTHING = """
import sys
from igrlib.experiments import cli
from igrlib.experiments import runner
def run_unit(unit, folder, *, progress, **_):
    progress(unit, 1, 2, "training")
    open("ran", "a").write(unit.name + " ")
    return folder.shard(unit)
runner.run_unit = run_unit
sys.exit(cli.main(sys.argv[1:]))
"""


def process(
    *argv,
    cwd,
    code="import sys\nfrom igrlib.experiments import cli\nsys.exit(cli.main())",
    **standard,
):
    """A command in a process of its own, as a shell starts it."""
    package = str(Path(igrlib.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": package, **standard.pop("env", {})}
    environment.pop("PYTHONUNBUFFERED", None)
    command = [sys.executable, "-c", code, *argv]
    return subprocess.run(command, cwd=cwd, env=environment, text=True, **standard)


@pytest.fixture
def broken_pipe():
    """The end of a pipe that nobody reads."""
    read, write = os.pipe()
    os.close(read)
    yield write
    os.close(write)


@pytest.mark.slow
@pytest.mark.parametrize("both", [False, True])
def test_a_run_goes_on_when_nobody_reads_what_it_says(tmp_path, broken_pipe, both):
    stderr = broken_pipe if both else subprocess.PIPE
    code = WITH_UNITS_THAT_DO_NOTHING
    done = process(*RUN, code=code, cwd=tmp_path, stdout=broken_pipe, stderr=stderr)
    names = [unit.name for unit in runner.units(MLP_SWEEP["digits"])]
    begun = [f"igr: 0 of 2 units done; now {name}" for name in names]
    assert (done.returncode, (done.stderr or "").splitlines()) == (0, [] if both else begun)
    assert (tmp_path / "ran").read_text().split() == names


@pytest.mark.slow
def test_what_is_listed_may_be_read_in_part(tmp_path, broken_pipe):
    for argv in (["list"], ["--help"]):
        done = process(*argv, cwd=tmp_path, stdout=broken_pipe, stderr=subprocess.PIPE)
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has a disk always full")
def test_output_that_cannot_be_written_is_told(tmp_path):
    with open("/dev/full", "w") as full:
        done = process("list", cwd=tmp_path, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 2
    assert "No space left on device" in one_line(done.stderr)


@pytest.mark.slow
def test_an_encoding_without_greek_is_no_error(tmp_path):
    unit = next(u for u in runner.units(MLP_SWEEP["digits"]) if u.arm.name == "sgd")
    arrays = made_up(32, unit.seeds).arrays
    shard(tmp_path / "book" / "results", "digits", unit, arrays=arrays)
    done = process(
        "verdicts", "--arm", "sgd", cwd=tmp_path, capture_output=True,
        env={"PYTHONIOENCODING": "ascii"},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert r"h\xb7\u03bb_max" in done.stdout  # h·λ_max


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Windows has no SIGHUP")
@pytest.mark.parametrize("ignored", [False, True])
def test_a_closed_terminal_stops_in_good_order_but_not_under_nohup(ignored, capsys):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL)
    try:
        with console.stop_signals() as came:
            signal.raise_signal(signal.SIGHUP)
            end = time.monotonic() + 60
            while not ignored and "igr: stopping" not in capsys.readouterr().err:
                assert time.monotonic() < end
                time.sleep(0.01)  # Another thread says it.
        assert came == ([] if ignored else [signal.SIGHUP])
    finally:
        signal.signal(signal.SIGHUP, before)


def test_only_a_unit_that_differs_in_its_seeds_alone_tells_how_long_another_takes(igr, tmp_path):
    settings = ("widths=8,16", "batch_sizes=32,64", "num_seeds=5", "seeds_per_unit=2")
    label, arms = changed("digits", MLP_SWEEP["digits"], settings)
    units = {unit.name: unit for unit in runner.units(arms)}
    words = [word for setting in settings for word in ("--set", setting)]

    def times():
        status, out, err = igr("list", "mlp-sweep", "--profile", "digits", *words)
        assert (status, err) == (0, "")
        return {row[1]: row[4] for row in rows(out)}, out

    assert set(times()[0].values()) == {"?"}
    # Two seeds take a minute, two others three, on this kind of device; elsewhere an hour.
    shard(tmp_path, label, units["sgd-n0008-b00032-s00-01"], seconds=60.0)
    assert times()[0]["sgd-n0008-b00032-s02-03"] == "~1m00"
    shard(tmp_path, label, units["sgd-n0008-b00032-s02-03"], seconds=180.0)
    shard(tmp_path, label, units["sgd-n0016-b00064-s00-01"], seconds=3600.0, device="H100")
    listed, out = times()
    known = {name: time for name, time in listed.items() if time != "?"}
    assert known == {
        "sgd-n0008-b00032-s00-01": "1m00",
        "sgd-n0008-b00032-s02-03": "3m00",
        # One seed: half as many model-steps.
        "sgd-n0008-b00032-s04-04": "~1m00",
        "sgd-n0016-b00064-s00-01": "1h00",
    }
    missing = len(units) - 3
    assert f"{missing} of {len(units)} units missing, ~1m00 and {missing - 1} of unknown" in out


@pytest.mark.parametrize("error", [RuntimeError("Unable to initialize"), AssertionError()])
def test_without_a_device_the_list_has_no_estimates(igr, tmp_path, monkeypatch, error):
    (first, *_, twin) = [
        u
        for u in runner.units(MLP_SWEEP["cpu"])
        if (u.arm.name, u.width, u.batch_size) == ("sgd", 50, 32)
    ]
    shard(tmp_path, "cpu", first, seconds=60.0)

    def none():
        raise error

    monkeypatch.setattr(jax, "devices", none)
    status, out, err = igr("list", "mlp-sweep", "--profile", "cpu")
    assert (status, err) == (0, "")
    times = {row[1]: row[4] for row in rows(out)}
    assert (times[first.name], times[twin.name]) == ("1m00", "?")


def test_verdicts_are_read_from_the_record(igr, tmp_path):
    unit = next(u for u in runner.units(MLP_SWEEP["digits"]) if u.arm.name == "sgd")
    arrays = made_up(32, unit.seeds, effects={"squared_gradient": -0.3}).arrays
    shard(tmp_path, "digits", unit, arrays=arrays)
    status, out, _ = igr("verdicts", "--arm", "sgd")
    assert status == 0
    for verdict in judge(records.open_record(tmp_path / "mlp-sweep-digits"), arm="sgd"):
        assert f"{describe(verdict).sentence}\n" in out
        for note in describe(verdict).notes:
            assert f"    {note}\n" in out
    # −0.3 in the logarithm with each doubling of h.
    assert f"{100 * np.expm1(-0.3):+.2f}".replace("-", "−") in out
    _, out, _ = igr("verdicts")
    assert "No unit of the arm 'gd' is recorded" in out


@pytest.mark.slow
def test_verdicts_of_explicit_regularization_come_with_those_of_the_step(igr, tmp_path):
    """By h, by μ at the smallest h, and for an arm that varies μ against the best plain rate."""
    arms = {arm.name: arm for arm in EXPERIMENTS["egr-sweep"]["digits"]}
    for name in ("sgd", "mu"):
        (unit,) = runner.units([arms[name]])
        mus = sorted({mu for *_, mu, _ in combinations(unit.arm)})
        made = made_up(32, unit.seeds, rates=unit.arm.learning_rates, mus=mus)
        path = shard(tmp_path, "digits", unit, experiment="egr-sweep", arrays=made.arrays)
    record = records.open_record(path.parent)
    _, out, _ = igr("verdicts", "egr-sweep", "--arm", "sgd")
    plain, alone = (judge(record, "sgd", explicit=way) for way in (False, True))
    sentences = ["Arm sgd; --arm judges another: tanh, relu, mu."]
    sentences += ["by learning rate:", *(describe(v).sentence for v in plain)]
    sentences += ["by μ, at learning rate 0.05:", *(describe(v).sentence for v in alone)]
    assert [line for line in out.splitlines() if line[0] != " "] == sentences
    assert describe(plain[0]).sentence != describe(alone[0]).sentence
    _, out, _ = igr("verdicts", "egr-sweep", "--arm", "mu")
    last = out.partition("against the best learning rate:\n")[2]
    assert last.startswith(describe(judge_boost(record, "mu")).sentence)


@pytest.mark.slow
def test_verdicts_of_the_edge_are_those_that_an_arm_is_for(igr, tmp_path, monkeypatch):
    """Of a ladder, and of strengths; other experiments are judged by the predictions alone."""
    arms = {arm.name: arm for arm in EXPERIMENTS["egr-sweep"]["digits"]}
    mus = (0.0, 0.01, 0.02)
    edge = {
        "ladder": arms["sgd"],
        "strength": replace(arms["mu"], name="strength", learning_rates=(0.1,), mus=mus),
        "steps": replace(arms["sgd"], name="steps", matched=False),
        "wide": replace(arms["sgd"], name="wide", widths=(64,), num_seeds=(2,)),
    }
    monkeypatch.setitem(EXPERIMENTS, "edge-sweep", {"digits": tuple(edge.values())})
    for arm in edge.values():
        (unit,) = runner.units([arm])
        pairs = {mu for *_, mu, _ in combinations(arm)}
        made = made_up(unit.width, unit.seeds, rates=arm.learning_rates, mus=sorted(pairs))
        path = shard(tmp_path, "digits", unit, experiment="edge-sweep", arrays=made.arrays)
    record = records.open_record(path.parent)
    wanted = {
        "sgd": [
            *map(describe_ladder, judge_ladder(record, "sgd")),
            describe_together(judge_ladder(record, "sgd")),
            *map(describe_ladder, judge_ladder(record, ("sgd", "wide"))),
            describe_together(judge_ladder(record, ("sgd", "wide"))),
            *map(describe_flatness, judge_flatness(record, "sgd")),
        ],
        "strength": [
            describe_strength(judge_strength(record, "strength")),
            *map(describe_flatness, judge_flatness(record, "strength")),
        ],
        "steps": [],
    }
    titles = {
        "the ladder:",
        "the ladder, sgd with wide:",
        "the strength:",
        "whether flatness explains accuracy:",
    }
    shown = {}
    for name, words in wanted.items():
        _, out, _ = igr("verdicts", "edge-sweep", "--arm", name)
        lines = out.splitlines()
        shown[name] = [line for line in lines if line in titles]
        told = [line for one in words for line in (one.sentence, *(f"    {n}" for n in one.notes))]
        first = lines.index(shown[name][0]) if shown[name] else len(lines)
        assert [line for line in lines[first:] if line not in titles] == told
    assert shown == {
        "sgd": ["the ladder:", "the ladder, sgd with wide:", "whether flatness explains accuracy:"],
        "strength": ["the strength:", "whether flatness explains accuracy:"],
        "steps": [],
    }


def test_a_changed_profile_is_judged_from_its_own_record(igr, tmp_path):
    _, _, err = igr("verdicts", "--set", "mus=0.1")
    assert "mlp-sweep-digits+mus=0.1" in err


U, V = SimpleNamespace(name="u", models=20), SimpleNamespace(name="v", models=1)


class Clock:
    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        return self.now


def test_where_there_is_no_terminal_a_line_comes_now_and_then(monkeypatch):
    clock, stream = Clock(), io.StringIO()
    monkeypatch.setattr(console, "time", clock)
    monkeypatch.setattr(sys, "stderr", stream)
    progress = console.Progress()
    progress(U, 500, 10_500, "training")  # 500 were done before: no speed is known yet
    for clock.now, done in ((30.0, 1_500), (100.0, 2_500), (120.0, 2_900), (170.0, 3_900)):
        progress(U, done, 10_500, "training")
    progress.close()
    # Another unit: what the first one took does not count.
    progress(V, 0, 100, "training")
    clock.now = 230.0
    progress(V, 60, 100, "measuring")
    lines = stream.getvalue().splitlines()
    # 2,000 steps in 100 s, 8,000 left; 3,400 in 170 s, 6,600 left.
    assert lines == [
        "u, 20 models: 23 % of 10.5k model-steps, 20.0 per second, 06:40 left, training",
        "u, 20 models: 37 % of 10.5k model-steps, 20.0 per second, 05:30 left, training",
        "v, 1 model: 60 % of 100 model-steps, 1.00 per second, 00:40 left, measuring",
    ]


def test_on_a_terminal_there_is_a_bar(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stderr", stream := Terminal())
    progress = console.Progress()
    progress(U, 500, 1_000, "training")
    progress(U, 1_000, 1_000, "a close look, 1 of 1")
    progress.close()
    progress(V, 0, 10, "training")
    progress.close()
    assert "u, 20 models" in stream.getvalue()
    assert "v, 1 model:" in stream.getvalue()
    assert "1.00k/1.00k" in stream.getvalue()
    assert "a close look" in stream.getvalue()


@pytest.mark.slow
def test_the_module_is_the_command_and_help_loads_nothing_that_only_experiments_need():
    code = (
        "import runpy, sys\nsys.argv = ['igr', '--help']\n"
        "try:\n    runpy.run_module('igrlib', run_name='__main__')\n"
        "except SystemExit as done:\n    print(done.code, sorted(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    *usage, last = done.stdout.splitlines()
    assert usage[0].startswith("usage: igr")
    assert last.startswith("0 ")
    for module in ("flax", "optax", "sklearn", "tqdm", "igrlib.experiments.runner"):
        assert f"'{module}'" not in last


def test_digits_are_what_the_sizes_in_these_tests_say():
    assert len(data.load("digits").train.labels) == 1500
