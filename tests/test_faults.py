"""Runs that are killed, interrupted or out of room: nothing is lost, and the bits stay the same."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from helpers.units import SETTINGS, assert_same_bits, pairs

from igrlib.experiments import records
from igrlib.experiments.folder import claimed
from igrlib.experiments.profiles.mlp import MLP_SWEEP
from igrlib.experiments.records.origin import cores
from igrlib.experiments.settings import changed

pytestmark = pytest.mark.slow

# Imports once what takes seconds, then forks a child for each line of code it is sent. JAX makes
# its threads at its first use, which is in the child.
SERVER = """
import io, json, os, signal, sys, traceback
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # Where the tests run under nohup it is ignored.
import filelock, flax.linen, jax, matfree.decomp, optax, psutil, sklearn.datasets, tqdm
import igrlib.experiments.cli
from igrlib.experiments import data
from igrlib.experiments import layouts, runner
from jax._src import xla_bridge
data.load("digits")
assert not xla_bridge.backends_are_initialized()
for line in sys.stdin:
    asked = json.loads(line)
    if "wait" in asked:
        print(os.waitstatus_to_exitcode(os.waitpid(asked["wait"], 0)[1]), flush=True)
        continue
    child = os.fork()
    if child:
        print(child, flush=True)
        continue
    log = os.open(asked["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for standard in (1, 2):
        os.dup2(log, standard)
    sys.stderr = io.TextIOWrapper(os.fdopen(2, "wb", 0), write_through=True)
    status = 1
    try:
        exec(asked["code"], {})
    except SystemExit as error:
        status = error.code
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    os._exit(status)
"""

UNIT = "sgd-n0008-b00016-s00-00"
# Measured so often that a wish to stop is heard at once, and never done.
ENDLESS = SETTINGS | {"min_steps": "10000000", "max_steps": "10000000"}


class Igr:
    """Runs of the command in children of one server, in the folder `cwd`."""

    def __init__(self, server, cwd):
        self.server, self.cwd, self.log = server, cwd, cwd / "log"

    def ask(self, **question):
        if "log" in question:
            self.log.write_text("")
        self.server.stdin.write(json.dumps(question) + "\n")
        self.server.stdin.flush()
        return int(self.server.stdout.readline())

    def start(self, *options, settings=SETTINGS, before="", units=(UNIT,)):
        """The process id of `igr run` with `options`; `before` is run first, in the same child."""
        argv = ["run", "mlp-sweep", "--out", "out", *options]
        argv += [word for unit in units for word in ("--unit", unit)]
        argv += [word for setting in pairs(settings) for word in ("--set", setting)]
        code = f"import os\nos.chdir({str(self.cwd)!r})\n{before}\n"
        code += "from igrlib.experiments import cli\n"
        return self.ask(code=f"{code}raise SystemExit(cli.main({argv!r}))", log=str(self.log))

    def wait(self, process):
        """The exit status, and the lines said that are not about devices."""
        return self.ask(wait=process), self.log.read_text().splitlines()

    def run(self, *options, **keywords):
        return self.wait(self.start(*options, **keywords))

    def folder(self, settings=SETTINGS):
        label, _ = changed("digits", MLP_SWEEP["digits"], pairs(settings))
        return self.cwd / "out" / f"mlp-sweep-{label}"

    def shard(self, settings=SETTINGS):
        return self.folder(settings) / f"{UNIT}.npz"

    def checkpoint(self, settings=SETTINGS):
        return self.folder(settings) / "checkpoints" / f"{UNIT}.npz"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    environment |= {
        "JAX_PLATFORMS": "cpu",
        # These programs are small: to compile them well takes longer than to run them badly.
        "XLA_FLAGS": "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true",
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path_factory.mktemp("compiled")),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", SERVER],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdin.close()
        process.stdout.close()


@pytest.fixture
def igr(server, tmp_path):
    return Igr(server, tmp_path)


class Undisturbed(NamedTuple):
    shard: Path
    arrays: dict
    seconds: float


@pytest.fixture(scope="module")
def undisturbed(server, tmp_path_factory):
    """What a run leaves that nothing disturbed, and how long it takes, once it is compiled."""
    first, again = (Igr(server, tmp_path_factory.mktemp("undisturbed")) for _ in range(2))
    status, said = first.run()
    assert status == 0, said
    arrays, _ = records.load(first.shard())
    began = time.monotonic()
    assert again.run("--checkpoint-every", "0")[0] == 0
    seconds = time.monotonic() - began
    assert_same_bits(records.load(again.shard())[0], arrays)
    # It is no comparison of nothing with nothing.
    assert np.isfinite(arrays["crossing_lambda_max"]).any()
    assert (arrays["chosen_step"][:, 0] > 0).all()
    return Undisturbed(first.shard(), arrays, seconds)


GOES_ON = f"igr: 0 of 1 unit done; now {UNIT}, from its checkpoint"


def assert_one_line(said, *parts):
    """One line of an error, besides that the unit goes on."""
    said = [line for line in said if line != GOES_ON]
    assert len(said) == 1, said
    assert said[0].startswith("igr: ")
    for part in parts:
        assert part in said[0]


def await_(ready, igr):
    limit = time.monotonic() + 100
    while not ready():
        assert time.monotonic() < limit, igr.log.read_text()
        time.sleep(0.02)


@contextmanager
def running(igr, *options, settings):
    """A run that has just written a checkpoint."""
    process = igr.start(*options, "--checkpoint-every", "0", settings=settings)
    path = igr.checkpoint(settings)
    before = path.read_bytes() if path.exists() else None
    try:
        await_(lambda: path.exists() and path.read_bytes() != before, igr)
        yield process
    except BaseException:
        os.kill(process, signal.SIGKILL)
        raise


def step_of(path):
    return records.load(path)[1]["progress"]["step"]


def test_killed_at_20_random_moments_a_run_ends_with_the_same_bits(igr, undisturbed):
    rng, kills, went_on, length = random.Random(3), 0, 0, undisturbed.seconds
    while kills < 20:
        # Never half a file, wherever the last one was killed.
        went_on += igr.checkpoint().exists() and step_of(igr.checkpoint()) > 0
        began, moment = time.monotonic(), rng.uniform(0, length)
        process = igr.start("--checkpoint-every", "0")
        while time.monotonic() - began < moment and not igr.shard().exists():
            time.sleep(0.01)
        os.kill(process, signal.SIGKILL)
        status, said = igr.wait(process)
        assert status in (0, -signal.SIGKILL), said
        kills += status != 0
        if igr.shard().exists():
            # Done, or nearly: the next one starts from nothing.
            length = min(length, time.monotonic() - began)
            assert igr.run()[0] == 0
            assert_same_bits(records.load(igr.shard())[0], undisturbed.arrays)
            igr.shard().unlink()
    assert went_on >= 3
    assert igr.run()[0] == 0
    assert_same_bits(records.load(igr.shard())[0], undisturbed.arrays)
    assert sorted(path.name for path in igr.folder().rglob("*")) == [
        "checkpoints",
        "manifest.json",
        f"{UNIT}.npz",
    ]
    assert list(records.open_record(igr.folder()).units) == [UNIT]
    assert json.loads((igr.folder() / "manifest.json").read_text())["expected"] == sorted(
        [UNIT, UNIT.replace("sgd", "gd")]
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_stops_in_good_order(igr, number):
    with running(igr, settings=ENDLESS) as process:
        os.kill(process, number)
        status, said = igr.wait(process)
    assert status == 75, said
    assert said[-1] == "igr: stopped, 1 of 1 unit left; run again to go on"
    assert step_of(igr.checkpoint(ENDLESS)) > 0
    assert not igr.shard(ENDLESS).exists()


def test_a_time_limit_stops_in_good_order_and_running_again_goes_on(igr, undisturbed):
    steps = []
    # On a busy machine a run gets no further than its first piece, which may be a measurement.
    while len(steps) < 2 or (steps[-1] == steps[0] and len(steps) < 6):
        status, said = igr.run("--time-limit", str(undisturbed.seconds), settings=ENDLESS)
        assert status == 75, said
        assert_one_line(said, "run again to go on")
        steps.append(step_of(igr.checkpoint(ENDLESS)))
    assert steps == sorted(steps)
    assert steps[-1] > steps[0]


def test_stopped_often_a_run_ends_with_the_same_bits(igr, undisturbed):
    for _ in range(2):
        with running(igr, settings=SETTINGS) as process:
            os.kill(process, signal.SIGTERM)
            assert igr.wait(process)[0] == 75
    status, said = igr.run()
    assert status == 0, said
    assert_same_bits(records.load(igr.shard())[0], undisturbed.arrays)
    assert not igr.checkpoint().exists()
    assert igr.run("--time-limit", "0") == (0, [said[-1]])  # Nothing is left to stop.


ENDLESS_PROGRAM = """
from igrlib.experiments.cli.console import stop_signals
import jax
with stop_signals():
    print("now", flush=True)
    jax.lax.fori_loop(0, 2**31 - 1, lambda i, x: jax.numpy.sin(x), 0.5).block_until_ready()
"""


def test_a_second_interrupt_kills_even_inside_a_compiled_program(igr):
    process = igr.ask(code=ENDLESS_PROGRAM, log=str(igr.log))
    try:
        for said in ("now", "another Ctrl-C"):
            await_(lambda said=said: said in igr.log.read_text(), igr)
            time.sleep(0.5)  # It is inside the program by now.
            os.kill(process, signal.SIGINT)
        assert igr.wait(process)[0] == 130
    except BaseException:
        os.kill(process, signal.SIGKILL)
        raise


def truncated(path):
    path.write_bytes(path.read_bytes()[:-1000])


def altered(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def of_another_machine(path):
    arrays, meta = records.load(path)
    meta["identity"]["device"]["kind"] = "abacus"
    records.save(path, arrays, meta)


def of_another_config(path):
    arrays, meta = records.load(path)
    meta["identity"]["unit"]["width"] = 9
    records.save(path, arrays, meta)


def of_another_precision(path):
    arrays, meta = records.load(path)
    meta["identity"]["precision"] = "default"
    records.save(path, arrays, meta)


def of_fewer_devices(_):
    """The file stays; the run that finds it has one device more."""
    return f"from igrlib.experiments.cli import commands\ncommands.cores = lambda: {cores() + 1}"


def foreign(path):
    np.savez(path, x=np.zeros(3))


@pytest.fixture(scope="module")
def stopped(server, tmp_path_factory):
    """The bytes of a checkpoint."""
    igr = Igr(server, tmp_path_factory.mktemp("stopped"))
    with running(igr, settings=SETTINGS) as process:
        os.kill(process, signal.SIGTERM)
        assert igr.wait(process)[0] == 75
    return igr.checkpoint().read_bytes()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (truncated, ["cut short"]),
        (altered, ["altered"]),
        (of_another_machine, ["another device", "abacus"]),
        (of_another_config, ["another unit"]),
        (of_another_precision, ["another precision: 'default', now 'highest'; go on where and as"]),
        (of_fewer_devices, [f"another device['count']: {cores()}, now {cores() + 1}; go on where"]),
        (foreign, ["not written by igrlib"]),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused_and_kept(igr, stopped, change, words):
    path = igr.checkpoint()
    path.parent.mkdir(parents=True)
    path.write_bytes(stopped)
    code = change(path)
    before = path.read_bytes()
    status, said = igr.run(before=code or "")
    assert status == 2
    assert_one_line(said, path.name, *words)
    assert path.read_bytes() == before
    assert not igr.shard().exists()


FULL_DISK = """
import errno
from igrlib.experiments.storage import files
calls, fsync = [], os.fsync
def full(descriptor):
    calls.append(descriptor)
    if len(calls) > 8:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    fsync(descriptor)
files.os.fsync = full
"""


def test_a_full_disk_costs_only_what_came_after_the_last_checkpoint(igr, undisturbed):
    status, said = igr.run("--checkpoint-every", "0", before=FULL_DISK)
    assert status == 2
    assert_one_line(said, f"{UNIT}.npz", "No space left on device", "run again to go on")
    assert step_of(igr.checkpoint()) > 0
    assert igr.run()[0] == 0
    assert_same_bits(records.load(igr.shard())[0], undisturbed.arrays)


NO_MEMORY = """
from igrlib.experiments.ensemble import Ensemble
import jax.numpy as jnp
advance = Ensemble.advance
def hungry(ensemble, state, first, last):
    if first >= 1000:
        jnp.zeros((2**24, 2**24))
    return advance(ensemble, state, first, last)
Ensemble.advance = hungry
"""


def test_without_memory_a_run_ends_in_one_line_and_goes_on_from_its_checkpoint(igr, undisturbed):
    status, said = igr.run("--checkpoint-every", "0", before=NO_MEMORY)
    assert status == 2
    step = step_of(igr.checkpoint())
    assert step >= 1000
    assert_one_line(
        said, f"unit {UNIT} ran out of memory, ", " MiB are free: take a smaller --group"
    )
    assert f"; its checkpoint of step {step} is kept (RESOURCE_EXHAUSTED: " in said[0]
    assert igr.run()[0] == 0
    assert_same_bits(records.load(igr.shard())[0], undisturbed.arrays)


# At the given call the device is gone, as JAX says it: no checkpoint can be written any more.
LOST = """
from igrlib.experiments import checkpoint
from igrlib.experiments.ensemble import Ensemble
from igrlib.experiments.log import Log
from jax.errors import JaxRuntimeError
calls, whole = 0, {of}.{name}
def counted(*arguments):
    global calls
    calls += 1
    if calls == {call}:
        checkpoint.save = None
        raise JaxRuntimeError({text!r})
    return whole(*arguments)
{of}.{name} = counted
"""
LOSSES = {
    "advance": "INTERNAL: Failed to execute XLA Runtime executable: CUDA_ERROR_ECC_UNCORRECTABLE",
    "measure": "UNKNOWN: CUDA_ERROR_LAUNCH_FAILED: unspecified launch failure",
    "look_closely": "UNAVAILABLE: CUDA error: device lost",
}


def losing(name, call):
    of, text = "Ensemble" if name == "advance" else "Log", f"{LOSSES[name]}\nand a stack of calls"
    return LOST.format(of=of, name=name, call=call, text=text)


def test_a_device_lost_at_random_moments_costs_what_came_after_a_checkpoint(igr, undisturbed):
    rng = random.Random(5)
    for number, (name, text) in enumerate(LOSSES.items()):
        before = losing(name, rng.randint(2, 4))
        status, said = igr.run("--checkpoint-every", "0", before=before)
        step = step_of(igr.checkpoint())
        assert (status, said[:-1]) == (75, [GOES_ON] * (number > 0)), said
        assert said[-1] == (
            f"igr: the device was lost in unit {UNIT} ({text}); its checkpoint of step {step} is "
            "kept; 1 of 1 unit left; run again to go on"
        )
    assert igr.run()[0] == 0
    assert_same_bits(records.load(igr.shard())[0], undisturbed.arrays)


def test_a_device_lost_before_anything_is_saved_is_to_be_seen_to(igr, stopped):
    igr.checkpoint().parent.mkdir(parents=True)
    igr.checkpoint().write_bytes(stopped)
    status, said = igr.run(before=losing("advance", 1))
    assert status == 2
    step = step_of(igr.checkpoint())
    assert_one_line(said, f"step {step} is kept; this run made no progress: check the device")
    assert igr.checkpoint().read_bytes() == stopped


@pytest.mark.skipif(
    sys.platform != "linux" and getattr(os, "geteuid", lambda: 0)() == 0,
    reason="root gives up its capabilities as Linux has them",
)
def test_a_folder_that_nobody_may_write_in_is_named(igr):
    (igr.cwd / "out").mkdir(mode=0o555)
    # Root may write everywhere, by a capability. It keeps its own files, wherever they lie.
    give_up = (
        "if os.geteuid() == 0:\n"
        "    import ctypes\n"
        "    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # version 3, this process\n"
        "    assert ctypes.CDLL(None).capset(header, (ctypes.c_uint32 * 6)()) == 0\n"
    )
    status, said = igr.run(before=give_up)
    assert status == 2
    assert_one_line(said, "out/", "Permission denied", "--out")
    assert list((igr.cwd / "out").iterdir()) == []


def test_one_process_at_a_time_runs_a_unit(igr, undisturbed):
    lock = igr.checkpoint().with_name(f".{UNIT}.lock")
    with claimed(lock, UNIT):
        status, said = igr.run()
        assert status == 2
        assert_one_line(said, "another process", UNIT)
        assert not igr.shard().exists()
    assert not lock.exists()
    first, second = igr.start(), igr.start()
    ends = [igr.wait(first)[0], igr.wait(second)[0]]
    # The later one finds the unit taken; or, if it comes very late, done.
    assert sorted(ends) in ([0, 0], [0, 2])
    assert_same_bits(records.load(igr.shard())[0], undisturbed.arrays)


SLOW_DISK = """
import random, time
from igrlib.experiments.storage import files
replace = files.os.replace
def slow(*paths):
    time.sleep(random.uniform(0, 0.5))
    replace(*paths)
files.os.replace = slow
"""


def test_eight_processes_on_one_folder_lose_nothing(server, tmp_path):
    """As tasks of a cluster on its disk, with each of four units submitted twice."""
    settings = SETTINGS | {"num_seeds": "4", "min_steps": "20", "max_steps": "20"}
    units = [f"sgd-n0008-b00016-s{seed:02d}-{seed:02d}" for seed in range(4)]
    alone, *several = (Igr(server, tmp_path / f"{number > 0}") for number in range(9))
    for number, igr in enumerate((alone, *several)):
        igr.cwd.mkdir(exist_ok=True)
        igr.log = igr.cwd / f"log{number}"
    assert alone.run(settings=settings, units=units)[0] == 0
    started = [
        igr.start(settings=settings, units=[unit], before=SLOW_DISK)
        for igr, unit in zip(several, 2 * units, strict=True)
    ]
    ends = [igr.wait(process) for igr, process in zip(several, started, strict=True)]
    for number in range(4):
        both = [ends[number], ends[number + 4]]
        # The later one finds the unit taken; or, if it comes very late, done.
        assert sorted(status for status, _ in both) in ([0, 0], [0, 2]), both
        for status, said in both:
            assert status == 0 or f"another process runs {units[number]}" in said[-1]
    folder = several[0].folder(settings)
    assert sorted(path.name for path in folder.rglob("*")) == sorted(
        ["checkpoints", "manifest.json", *(f"{unit}.npz" for unit in units)]
    )
    manifest = json.loads((folder / "manifest.json").read_text())
    assert sorted(manifest["units"]) == units
    for unit in units:
        arrays, _ = records.load(alone.folder(settings) / f"{unit}.npz")
        assert_same_bits(records.load(folder / f"{unit}.npz")[0], arrays)


# As on a disk of which each of two machines sees its own locks alone: both have run their first
# unit before one of them writes it, and the other comes `late` seconds after that.
WITHOUT_LOCKS = """
import fcntl, glob, time
from igrlib.experiments.sweep import Sweep
fcntl.flock = lambda *how: None
finished = Sweep._finished
def together(sweep):
    sweep.seconds += {late}
    open(f"ready-{{os.getpid()}}", "w").close()
    while len(glob.glob("ready-*")) < 2:
        time.sleep(0.01)
    time.sleep({late})
    return finished(sweep)
Sweep._finished = together
"""


def test_two_machines_that_do_not_see_each_others_locks_lose_nothing(server, tmp_path):
    settings = SETTINGS | {"num_seeds": "3", "min_steps": "20", "max_steps": "20"}
    units = [f"sgd-n0008-b00016-s{seed:02d}-{seed:02d}" for seed in range(3)]
    one, other = Igr(server, tmp_path), Igr(server, tmp_path)
    other.log = tmp_path / "other"
    started = [
        (igr, igr.start(settings=settings, units=several, before=WITHOUT_LOCKS.format(late=late)))
        for igr, several, late in ((one, units[:2], 0), (other, units[::2], 1))
    ]
    try:
        await_(lambda: len([*tmp_path.glob("ready-*")]) == 2, one)
    except BaseException:
        for _, process in started:
            os.kill(process, signal.SIGKILL)
        raise
    for igr, process in started:
        status, said = igr.wait(process)
        assert status == 0, said
    folder = one.folder(settings)
    assert sorted(records.open_record(folder).units) == units
    assert json.loads((folder / "manifest.json").read_text())["missing"] == [
        unit.replace("sgd", "gd") for unit in units
    ]


def test_a_unit_of_another_configuration_is_neither_taken_for_done_nor_overwritten(
    igr, undisturbed
):
    arrays, meta = records.load(undisturbed.shard)
    meta["unit_config"]["max_steps"] += 1
    igr.shard().parent.mkdir(parents=True)
    records.save(igr.shard(), arrays, meta)
    before = igr.shard().read_bytes()
    status, said = igr.run()
    assert status == 2
    assert_one_line(said, "recorded with max_steps = 4001, the profile has 4000")
    assert igr.shard().read_bytes() == before


def test_a_unit_stays_where_its_arm_has_grown(igr, undisturbed):
    """More widths or seeds are other units."""
    arrays, meta = records.load(undisturbed.shard)
    meta["unit_config"] |= {"widths": [4, 8], "num_seeds": [9], "seeds_per_unit": [1]}
    igr.shard().parent.mkdir(parents=True)
    records.save(igr.shard(), arrays, meta)
    before = igr.shard().read_bytes()
    assert igr.run()[0] == 0
    assert igr.shard().read_bytes() == before


def test_a_unit_is_measured_in_full_precision_and_trained_in_that_of_its_arm(undisturbed):
    _, meta = records.load(undisturbed.shard)
    assert meta["provenance"]["precision"] == "highest"
    assert meta["unit_config"]["precision"] == "float32"


def test_a_unit_that_names_no_optimizer_is_of_plain_descent(igr, undisturbed):
    """As units recorded before there was another."""
    arrays, meta = records.load(undisturbed.shard)
    assert meta["unit_config"].pop("optimizer") == "sgd"
    igr.shard().parent.mkdir(parents=True)
    records.save(igr.shard(), arrays, meta)
    before = igr.shard().read_bytes()
    assert igr.run()[0] == 0  # It is done, and stays.
    assert igr.shard().read_bytes() == before
    meta["unit_config"]["optimizer"] = "adam"
    records.save(igr.shard(), arrays, meta)
    status, said = igr.run()
    assert status == 2
    assert_one_line(said, "recorded with optimizer = 'adam', the profile has 'sgd'")
