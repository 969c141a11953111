"""`igr slurm` and the Snakefile: what is printed, and what Slurm and Snakemake make of it."""

import getpass
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from helpers.units import SETTINGS, assert_same_bits, pairs, shard

import igrlib
from igrlib.experiments import cli, records, runner
from igrlib.experiments.profiles.mlp import MLP_SWEEP
from igrlib.experiments.settings import changed

ROOT = Path(igrlib.__file__).parents[1]
CLUSTER = ROOT / "_build" / "cluster"
DIGITS = runner.units(MLP_SWEEP["digits"])
NAMES = [unit.name for unit in DIGITS]


@pytest.fixture(autouse=True)
def as_a_user_runs_it(without_type_hook):
    """Without the import hook of the tests."""


@pytest.fixture
def printed(capsys, tmp_path):
    """What `igr slurm mlp-sweep` with these words prints, in the folder of the test."""

    def call(*words, wanted=0):
        words = ["slurm", "mlp-sweep", "--out", str(tmp_path / "out"), *words]
        assert cli.main(words) == wanted
        return capsys.readouterr()

    return call


def asked(script):
    """The words that sbatch reads, read as a shell does."""
    return shlex.split(" ".join(re.findall(r"^#SBATCH (.*)$", script, re.M)))


def test_a_task_is_asked_for_each_unit_with_its_number(printed):
    script = printed().out
    assert script.startswith("#!/bin/bash\n#SBATCH ")
    assert asked(script) == [
        "--job-name=mlp-sweep-digits",
        "--array=1,2",
        "--gres=gpu:1",
        "--signal=B:TERM@120",
        "--requeue",
        "--open-mode=append",
    ]
    assert f"\nunits=([1]={NAMES[0]} [2]={NAMES[1]})\n" in script


def test_what_is_done_is_left_out(printed, tmp_path):
    shard(tmp_path / "out", "digits", DIGITS[0])
    script = printed().out
    assert "--array=2" in asked(script)
    assert NAMES[0] not in script
    shard(tmp_path / "out", "digits", DIGITS[1])
    said = printed()
    assert said.out == ""
    assert said.err == "igr: digits: no unit is missing, there is nothing to submit\n"


def test_units_are_chosen_as_for_a_run(printed):
    assert "--array=2" in asked(printed("--unit", NAMES[1]).out)
    assert "--array=1,2%1" in asked(printed("--at-once", "1").out)


def test_a_task_without_a_gpu_asks_for_none(printed):
    script = printed("--no-gpu").out
    assert not [word for word in asked(script) if "gpu" in word]
    assert "\nplatform=cpu\n" in script
    assert "\nplatform=cuda\n" in printed().out


def test_options_of_sbatch_come_last_so_that_they_count(printed):
    words = ["--gres=gpu:h100:1", "-p", "long", "--time=1:00:00", "--comment", "two words"]
    assert asked(printed("--", *words).out)[-len(words) :] == words


def test_a_task_runs_what_was_asked_for_wherever_it_starts(printed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    script = printed("--out", "it's here", "--set", "widths=8, 16", "--group", "3").out
    words = shlex.split(re.search(r"^run=\((.*)\)$", script, re.M)[1])
    assert words[:3] == [sys.executable, "-m", "igrlib"]
    args = cli.parser._parser().parse_args([*words[3:], "--unit", NAMES[0]])
    assert (args.experiment, args.profile, args.group) == ("mlp-sweep", "digits", 3)
    assert (args.set, args.unit) == (["widths=8, 16"], [NAMES[0]])
    assert args.out == tmp_path / "it's here"


def test_without_sbatch_the_script_is_printed_and_that_is_said(printed, monkeypatch):
    for path, said in (
        (None, "sbatch was not found here: submit this script on"),
        ("/sbatch", ""),
    ):
        monkeypatch.setattr(shutil, "which", lambda name, path=path: path)
        output = printed()
        assert output.out.startswith("#!/bin/bash\n")
        assert said in output.err
        assert bool(output.err) == bool(said)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--profile", "cpus"], ["--profile", 'did you mean "cpu"']),
        (["--unit", "3"], ["--unit must be a name or a number from 1 to 2", "got 3"]),
        (["--set", "width=8"], ['did you mean "widths"']),
        (["--at-once", "0"], ["--at-once: must be at least 1, got 0"]),
        (["--at-once", "all"], ["--at-once", "'all'"]),
        (["--time-limit", "3"], ["--time-limit"]),
        (["--partition=gpu"], ["--partition=gpu; options of sbatch come after --"]),
        *(
            (["--", *time], ["told to stop 120 seconds before", f"got {time[-1].split('=')[-1]};"])
            for time in (
                ["--time=2"],
                ["--time", "1:59"],
                ["-t", "0:2:00"],
                ["--time=0-0:1"],
                ["--mem=4G", "--time=0-0:0:30"],
            )
        ),
        (["--", "-t1"], ["told to stop 120 seconds before", "got 1;"]),
        *(
            (["--", option], [f"{option} cannot be passed", "sets --array itself", "--unit"])
            for option in ("--array=1-3", "--arr=1", "-a1-3", "-a")
        ),
        (["--", "--signal=USR1"], ["sets --signal itself"]),
        (["--", "--requeue"], ["sets --requeue itself"]),
        (["--", "--no-requeue"], ["sets --no-requeue itself"]),
        (["--", "--open-mode", "truncate"], ["sets --open-mode itself"]),
        (["--", "--comment=two\nlines"], ["one line", r"two\nlines"]),
    ],
)
def test_what_cannot_be_is_one_line(printed, words, said):
    output = printed(*words, wanted=2)
    assert output.out == ""
    assert output.err.startswith("igr: ")
    assert output.err.count("\n") == 1
    for part in said:
        assert part in output.err


@pytest.mark.parametrize(
    "time", ["3", "2:01", "0:3:0", "1-0", "0-1", "0-0:3", "0-0:2:1", "0", "UNLIMITED", "x:y"]
)
def test_a_longer_time_is_left_to_sbatch(printed, time):
    for words in ([f"--time={time}"], ["-t", time], [f"-t{time}"]):
        assert asked(printed("--", *words).out)[-len(words) :] == words
    assert "--time-min=1" in printed("--", "--time-min=1").out


def test_all_experiments_at_once_are_no_array(capsys, tmp_path):
    assert cli.main(["slurm", "all", "--out", str(tmp_path)]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("igr: igr slurm takes one experiment, got all: run it for each")
    assert "mlp-sweep, resnet-sweep" in output.err
    assert output.err.count("\n") == 1


def test_what_the_book_tells_to_type_is_understood(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "book" / "reproduce.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"^igr (slurm .*) > tasks.sh$", page, re.M)
    assert cli.main(shlex.split(line)) == 0
    words = asked(capsys.readouterr().out)
    assert words[-4:] == ["-p", "gpu", "-t", "1:00:00"]
    assert "--array=1,2," in " ".join(words)


# Stands in for Python: ends with $STATUS, or when told to, with a checkpoint where it gets on.
WORKER = """#!/bin/bash
here=$(dirname "$0")
unit=${!#}
stop() {
  sleep 0.3
  [ -e "$here/gets-on" ] && touch "$here/checkpoints/$unit.npz"
  exit 75
}
trap stop TERM
echo "$@" > "$here/words"
echo "$JAX_PLATFORMS $JAX_COMPILATION_CACHE_DIR" > "$here/environment"
[ -n "$STATUS" ] && [ -e "$here/gets-on" ] && touch "$here/checkpoints/$unit.npz"
[ -z "$STATUS" ] || exit "$STATUS"
echo >> "$here/begun"
for _ in {1..600}; do sleep 0.1; done
"""


def program(path, text):
    path.write_text(text)
    path.chmod(0o755)


@pytest.fixture
def worker(tmp_path, monkeypatch):
    """In the scripts of a test `WORKER` stands in for Python."""
    (tmp_path / "checkpoints").mkdir()
    program(tmp_path / "worker", WORKER)
    monkeypatch.setattr(sys, "executable", f"{tmp_path}/worker")


@pytest.fixture
def task(worker, printed, tmp_path):
    """Runs a task, told twice to stop where it waits: its status, words, and what it requeues."""
    program(tmp_path / "squeue", '#!/bin/bash\necho "$STATE"\n')
    program(tmp_path / "scontrol", '#!/bin/bash\necho "$@" >> requeued\nexit "$SCONTROL"\n')

    def run(number=2, words=("--no-gpu",), gets_on=True, **environment):
        script = re.sub(r"(?m)^folder=.*$", f"folder={tmp_path}", printed(*words).out)
        (tmp_path / "script").write_text(script)
        variables = {"SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": f"{number}"}
        variables |= {"STATE": "RUNNING", "SCONTROL": "0", "TMPDIR": f"{tmp_path}"}
        variables |= {"PATH": f"{tmp_path}:{os.environ['PATH']}"} | environment
        if gets_on:
            (tmp_path / "gets-on").touch()
        process = subprocess.Popen(
            ["bash", "script"], cwd=tmp_path, env=variables, stderr=subprocess.PIPE, text=True
        )
        if "STATUS" not in environment and number in (1, 2):
            await_((tmp_path / "begun").exists)
            for _ in range(2):
                process.terminate()
                time.sleep(0.1)
        said = process.communicate(timeout=60)[1]
        requeued = tmp_path / "requeued"
        return process.returncode, said, requeued.read_text() if requeued.exists() else ""

    return run


def await_(ready):
    end = time.monotonic() + 200
    while not ready():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_task_that_is_told_to_stop_waits_for_its_unit_and_is_requeued(task, tmp_path):
    assert task() == (75, "", "requeue 7_2\n")
    assert (tmp_path / "words").read_text().endswith(f"--unit {NAMES[1]}\n")


@pytest.mark.parametrize(
    ("how", "said", "tried"),
    [
        (
            {"gets_on": False},
            "before it made progress: give it more time, or another node if a GPU was lost",
            False,
        ),
        ({"STATE": "COMPLETING"}, "with its task, which is cancelled", False),
        ({"SCONTROL": "1"}, "and Slurm does not requeue it", True),
    ],
)
def test_a_task_that_is_not_requeued_says_why(task, printed, how, said, tried):
    status, stderr, requeued = task(**how)
    assert (status, bool(requeued)) == (75, tried)
    again = "a new script of igr slurm goes on with it"
    assert stderr == f"igr: {NAMES[1]} was stopped {said}; {again}\n"
    assert f"[2]={NAMES[1]}" in printed().out


@pytest.mark.parametrize("status", [0, 2, 1, 137])
def test_a_task_ends_as_its_unit_does(task, status):
    found, said, requeued = task(STATUS=f"{status}")
    assert (found, requeued) == (status, "")
    killed = f"igr: {NAMES[1]} was stopped by signal 9, perhaps for want of memory; a new script"
    assert said.startswith(killed if status == 137 else "")
    assert bool(said) == (status == 137)


@pytest.mark.parametrize("status", ["75", "134"])
@pytest.mark.parametrize("gets_on", [True, False])
def test_a_lost_gpu_is_requeued_where_the_unit_got_on(task, status, gets_on):
    """As `igr run` ends then, or XLA, which aborts."""
    found, said, requeued = task(gets_on=gets_on, STATUS=status)
    assert found == int(status)
    assert requeued == ("requeue 7_2\n" if gets_on else "")
    assert ("another node if a GPU was lost" in said) == (not gets_on)


def test_a_script_that_is_run_by_hand_says_what_it_is_for(task):
    for number in ("", "3"):
        status, said, requeued = task(number)
        assert status != 0
        assert "give this script to sbatch" in said
        assert requeued == ""


def test_programs_are_cached_on_the_disk_of_the_node(task, tmp_path):
    own = f"{tmp_path}/igr-jax-cache-{os.getuid()}"
    for words, extra, found in (
        (["--no-gpu"], {}, f"cpu {own}"),
        ([], {}, f"cuda {own}"),
        ([], {"JAX_PLATFORMS": "rocm", "JAX_COMPILATION_CACHE_DIR": "/x"}, "rocm /x"),
    ):
        task(words=words, STATUS="0", **extra)
        assert (tmp_path / "environment").read_text() == f"{found}\n"
    assert os.stat(own).st_mode & 0o777 == 0o700


# What follows runs for real.

WORDS = [word for setting in pairs(SETTINGS) for word in ("--set", setting)]
UNITS = ["gd-n0008-b00016-s00-00", "sgd-n0008-b00016-s00-00"]
RECORD = f"mlp-sweep-{changed('digits', MLP_SWEEP['digits'], pairs(SETTINGS))[0]}"


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    folder = tmp_path_factory.mktemp("home")
    return {name: os.environ[name] for name in ("HOME", "IGR_DATA_DIR") if name in os.environ} | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "XDG_CACHE_HOME": str(folder),
        "JAX_PLATFORMS": "cpu",
        # These programs are small: to compile them well takes longer than to run them badly.
        "XLA_FLAGS": "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true",
        "JAX_COMPILATION_CACHE_DIR": str(folder / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }


def igr(*words, cwd, environment):
    argv = [sys.executable, "-m", "igrlib", words[0], "mlp-sweep", *WORDS, "--out", "out"]
    ran = subprocess.run(
        [*argv, *words[1:]], cwd=cwd, env=environment, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    return ran


@pytest.fixture(scope="module")
def undisturbed(environment, tmp_path_factory):
    """The arrays of both units from a run that nothing disturbed."""
    cwd = tmp_path_factory.mktemp("undisturbed")
    igr("run", cwd=cwd, environment=environment)
    return {unit: records.load(cwd / "out" / RECORD / f"{unit}.npz")[0] for unit in UNITS}


def assert_complete(folder, undisturbed):
    assert list(records.open_record(folder).units) == UNITS
    for unit, wanted in undisturbed.items():
        assert_same_bits(records.load(folder / f"{unit}.npz")[0], wanted)
    assert list((folder / "checkpoints").iterdir()) == []


@contextmanager
def daemon(program, *options, env):
    with program.with_suffix(".log").open("w") as log:
        process = subprocess.Popen([program, *options], env=env, stdout=log, stderr=log)
        try:
            yield
        finally:
            process.terminate()
            process.wait()


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


CONF = """
ClusterName=one
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
# A requeued task begins so many seconds later; two minutes for less than five.
AuthInfo=socket={home}/munge,cred_expire=5
StateSaveLocation={home}/state
SlurmdSpoolDir={home}/spool
SlurmctldPidFile={home}/slurmctld.pid
SlurmdPidFile={home}/slurmd.pid
PluginDir={plugins}
ProctrackType=proctrack/linuxproc
SchedulerParameters=sched_interval=1
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
NodeName={host} NodeAddr=127.0.0.1 CPUs=2
PartitionName=all Nodes={host} Default=YES
"""


@pytest.fixture(scope="module")
def slurm(environment):
    """Runs a command where there is a Slurm of one node, and returns what it prints."""
    root = CLUSTER / "slurm"
    if not root.is_dir():
        pytest.skip("there is no Slurm: make cluster, on Debian or Ubuntu")
    (plugins,) = root.glob("usr/lib/*/slurm-wlm")
    with ExitStack() as stack:
        # The path of a socket has to be short.
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="igr-")))
        env = environment | {
            "PATH": f"{root}/usr/bin:{environment['PATH']}",
            "LD_LIBRARY_PATH": f"{plugins}:{plugins.parent}",
            "SLURM_CONF": f"{home}/slurm.conf",
        }

        def call(*words, cwd=home, check=True):
            ran = subprocess.run(words, cwd=cwd, env=env, capture_output=True, text=True)
            assert ran.returncode == 0 or not check, ran.stderr
            return ran.stdout.strip()

        # They go by their names, which Debian's alternatives would give them.
        for name in ("munged", "slurmctld", "slurmd", "slurmstepd"):
            (home / name).symlink_to(next(root.glob(f"usr/sbin/{name}*")))
        host, user = socket.gethostname().partition(".")[0], getpass.getuser()
        ports = [free_port(), free_port()]
        (home / "slurm.conf").write_text(
            CONF.format(host=host, user=user, ports=ports, home=home, plugins=plugins)
        )
        newer = call("sinfo", "--version").split()[1] >= "23.02"
        (home / "cgroup.conf").write_text(f"CgroupPlugin={'disabled' if newer else 'cgroup/v1'}\n")
        for name in ("state", "spool"):
            (home / name).mkdir()
        (home / "key").touch(mode=0o600)
        (home / "key").write_bytes(os.urandom(1024))
        files = {"key": "key", "socket": "munge", "pid": "pid", "log": "log", "seed": "seed"}
        options = [
            f"--{kind}{'' if kind == 'socket' else '-file'}={home}/{name}"
            for kind, name in files.items()
        ]
        stack.enter_context(daemon(home / "munged", "--foreground", "--force", *options, env=env))
        await_((home / "munge").exists)
        stack.enter_context(daemon(home / "slurmctld", "-D", env=env))
        stack.enter_context(daemon(home / "slurmd", "-D", "-d", home / "slurmstepd", env=env))
        await_(lambda: call("sinfo", "--noheader", "--format=%T", check=False) == "idle")
        yield call
        call("scancel", "--user", user)
        await_(lambda: call("squeue", "--noheader") == "")


def state(slurm, task, field="JobState"):
    return re.search(rf"\b{field}=(\S*)", slurm("scontrol", "show", "job", task))[1]


@pytest.mark.slow
def test_slurm_stops_and_requeues_a_unit_that_ends_with_the_same_bits(
    slurm, undisturbed, environment, tmp_path
):
    words = ["slurm", "--no-gpu", "--", "--output=log-%a"]
    script = igr(*words, cwd=tmp_path, environment=environment).stdout
    (tmp_path / "script").write_text(script)
    job = slurm("sbatch", "--parsable", "script", cwd=tmp_path)
    folder = tmp_path / "out" / RECORD
    # From its lock on a unit hears a signal, and writes a checkpoint after its next piece.
    await_((folder / "checkpoints" / f".{UNITS[0]}.lock").exists)
    # As Slurm does before the time is over.
    slurm("scancel", "--batch", "--signal=TERM", f"{job}_1")
    await_(lambda: slurm("squeue", "--noheader") == "")
    logs = [(tmp_path / f"log-{number}").read_text() for number in (1, 2)]
    assert "igr: stopped, 1 of 1 unit left" in logs[0]
    for number, restarts in ((1, "1"), (2, "0")):
        assert f"{UNITS[number - 1]}: done, {folder}" in logs[number - 1]
        assert state(slurm, f"{job}_{number}", "Restarts") == restarts
        assert state(slurm, f"{job}_{number}") == "COMPLETED"
    assert_complete(folder, undisturbed)
    assert igr("slurm", cwd=tmp_path, environment=environment).stdout == ""


@pytest.mark.slow
def test_slurm_does_not_requeue_what_is_cancelled_or_does_not_get_on(
    slurm, worker, printed, tmp_path
):
    comment = 'two "words" \\ # $HOME \\" it\'s'
    script = printed("--no-gpu", "--", "--comment", comment).out
    (tmp_path / "script").write_text(re.sub(r"(?m)^folder=.*$", f"folder={tmp_path}", script))
    job = slurm("sbatch", "--parsable", "script", cwd=tmp_path)
    begun = tmp_path / "begun"
    await_(lambda: begun.exists() and len(begun.read_text()) == 2)
    assert f"Comment={comment} \n" in slurm("scontrol", "show", "job", f"{job}_1")
    (tmp_path / "gets-on").touch()
    slurm("scancel", f"{job}_2")
    await_(lambda: slurm("squeue", "--noheader", f"--jobs={job}_2") == "")
    (tmp_path / "gets-on").unlink()
    slurm("scancel", "--batch", "--signal=TERM", f"{job}_1")
    await_(lambda: slurm("squeue", "--noheader") == "")
    for number, ends in ((1, "FAILED"), (2, "CANCELLED")):
        assert state(slurm, f"{job}_{number}") == ends
        assert state(slurm, f"{job}_{number}", "Restarts") == "0"
    assert "before it made progress" in (tmp_path / f"slurm-{job}_1.out").read_text()
    assert "which is cancelled" in (tmp_path / f"slurm-{job}_2.out").read_text()
    assert (tmp_path / "checkpoints" / f"{NAMES[1]}.npz").exists()


@pytest.fixture(scope="module")
def snakemake_python():
    """The Python that has Snakemake."""
    python = CLUSTER / "snakemake" / "bin" / "python"
    if not python.exists():
        pytest.skip("there is no Snakemake: make cluster")
    return python


@pytest.mark.slow
def test_snakemake_goes_on_with_what_was_stopped_to_the_same_bits(
    snakemake_python, undisturbed, environment, tmp_path
):
    argv = [snakemake_python, "-m", "snakemake", "--cores", "2", "--snakefile", ROOT / "Snakefile"]
    argv += ["--config", "out=out", f"options={shlex.join(WORDS)}"]
    log = tmp_path / "log"

    @contextmanager
    def snakemake():
        with log.open("w") as file:
            options = {"cwd": tmp_path, "env": environment, "stdout": file, "stderr": file}
            with subprocess.Popen(argv, start_new_session=True, **options) as process:
                yield process

    folder = tmp_path / "out" / RECORD
    checkpoints = folder / "checkpoints"
    with snakemake() as process:
        await_(lambda: process.poll() is not None or list(checkpoints.glob(".*.lock")))
        os.killpg(process.pid, signal.SIGINT)  # Ctrl-C
    assert process.returncode == 1, log.read_text()
    await_(lambda: not list(checkpoints.glob(".*.lock")))
    assert [*checkpoints.iterdir()]
    assert not [*folder.glob("*.npz")]
    for expected in (2, 0):
        with snakemake() as process:
            pass
        assert process.returncode == 0, log.read_text()
        assert len(re.findall(r"^localrule unit:", log.read_text(), re.M)) == expected
    assert_complete(folder, undisturbed)


# Stands in for igr: what is missing is done at the third try, where it is done at all.
STOPPED = """#!/bin/bash
if [ "$1" = list ]; then
  printf 'e\\n\\ndigits: 1 of 1 units are missing\\n     1  u-s00  3  10  ?  missing\\n'
  exit
fi
echo >> tries
[ "$(wc -l < tries)" -ge "$DONE_AT" ] || exit 75
mkdir -p results/mlp-sweep-digits && touch results/mlp-sweep-digits/u-s00.npz
"""


@pytest.mark.slow
@pytest.mark.parametrize(("done_at", "tries", "status"), [(3, 3, 0), (9, 3, 1)])
def test_snakemake_tries_again_as_often_as_it_is_told(
    snakemake_python, environment, tmp_path, done_at, tries, status
):
    program(tmp_path / "igr", STOPPED)
    path = f"{tmp_path}:{environment['PATH']}"
    argv = [snakemake_python, "-m", "snakemake", "--cores", "1", "--retries", "2"]
    ran = subprocess.run(
        [*argv, "--snakefile", ROOT / "Snakefile"],
        cwd=tmp_path,
        env=environment | {"PATH": path, "DONE_AT": f"{done_at}"},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == status, ran.stderr
    assert len((tmp_path / "tries").read_text()) == tries
    assert (tmp_path / "results" / "mlp-sweep-digits" / "u-s00.npz").exists() == (status == 0)
