"""Files written whole or not at all: full disks, killed writers, what they leave, and the lock."""

import errno
import fcntl
import itertools
import os
import random
import resource
import signal
import stat
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from helpers.processes import bare, names

from igrlib.experiments import records
from igrlib.experiments.folder import claimed
from igrlib.experiments.storage import files

# Forks a child for each line it reads; the child saves one state after the other until killed.
WRITER = """
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        try:
            print(os.getpid(), flush=True)
            step = records.load("state.npz")[1]["step"]
            while True:
                step += 1
                records.save("state.npz", {"x": np.full(100_000, step)}, {"step": step})
                os.write(1, b"saved\\n")  # in one piece, whatever moment the child is killed at
        finally:
            os._exit(1)
    os.waitpid(child, 0)
    print("gone", flush=True)
"""


def test_records_alone_need_no_jax(tmp_path):
    with bare("print('jax' in sys.modules, records.save.__name__)", tmp_path) as process:
        assert process.stdout.readline() == "False save\n"


@pytest.mark.slow
def test_a_writer_killed_at_random_moments_leaves_the_old_file_or_the_new(tmp_path):
    path, rng = tmp_path / "state.npz", random.Random(0)
    steps = [0]
    records.save(path, {"x": np.full(100_000, 0)}, {"step": 0})
    with bare(WRITER, tmp_path) as process:
        for _ in range(20):
            process.stdin.write("\n")
            process.stdin.flush()
            child, start = int(process.stdout.readline()), time.monotonic()
            assert process.stdout.readline() == "saved\n"
            # At any moment of the save that follows, however long one takes here.
            time.sleep(rng.uniform(0.0, time.monotonic() - start))
            os.kill(child, signal.SIGKILL)
            while (line := process.stdout.readline()) != "gone\n":
                assert line == "saved\n"
            arrays, meta = records.load(path)
            np.testing.assert_array_equal(arrays["x"], np.full(100_000, meta["step"]))
            steps.append(meta["step"])
    assert all(one < other for one, other in itertools.pairwise(steps))
    left = [name for name in names(tmp_path) if name != "state.npz"]
    half = [name for name in left if name.endswith(".tmp")]
    assert half, "no kill fell into a write: the test shows nothing"
    assert [swept.name for swept in records.sweep(tmp_path)] == left
    assert names(tmp_path) == ["state.npz"]


def test_what_a_living_process_writes_is_not_swept(tmp_path):
    code = (
        "from igrlib.experiments.storage import files; from pathlib import Path\n"
        "def write(file): file.write(b'half'); print('writing', flush=True); sys.stdin.readline()\n"
        "files.atomic_write(Path('state.npz'), write); print('done', flush=True)\n"
    )
    with bare(code, tmp_path) as process:
        assert process.stdout.readline() == "writing\n"
        lock, temporary = names(tmp_path)
        assert temporary.startswith(f".state.npz.{process.pid}-")
        assert (lock, temporary[-4:]) == (f"{temporary[:-4]}.lock", ".tmp")
        assert records.sweep(tmp_path) == []
        assert names(tmp_path) == [lock, temporary]
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "done\n"
        assert names(tmp_path) == ["state.npz"]
    # Neither is what another thread of this very process writes.
    files.atomic_write(
        tmp_path / "own", lambda file: (records.sweep(tmp_path), file.write(b"whole"))
    )
    assert (tmp_path / "own").read_bytes() == b"whole"


def test_sweeping_leaves_other_files_alone(tmp_path):
    mine = [
        ".state.npz.1-0123abcd.tmp",
        ".state.npz.1-0123abcd.lock",
        ".other.npz.2-0123abcd.tmp",
        ".manifest.lock",
        ".sgd-n0008-b00016-s00-00.lock",
    ]
    others = [
        ".other.lock",
        "sgd-n0008-b00016-s00-00.lock",
        "state.npz",
        "state.npz.1-0123abcd.tmp",
        ".state.npz.swp",
        ".a.tmp",
        ".b-1.tmp",
    ]
    for name in mine + others:
        (tmp_path / name).touch()
    assert [path.name for path in records.sweep(tmp_path)] == sorted(mine)
    assert names(tmp_path) == sorted(others)
    assert records.sweep(tmp_path / "none") == []


def failing(number=errno.ENOSPC):
    def fails(*_, **__):
        raise OSError(number, os.strerror(number))

    return fails


@contextmanager
def no_room(monkeypatch, where):
    """A disk that is full: for the numbers, for their last bytes, or for the new name."""
    if where == "write":
        # A true failure halfway: the kernel takes no byte after the first thousand.
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
        try:
            yield errno.EFBIG
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    else:
        with monkeypatch.context() as patch:
            patch.setattr(os, where, failing())
            yield errno.ENOSPC


@pytest.mark.parametrize("where", ["write", "fsync", "replace"])
def test_a_full_disk_leaves_what_was_there(tmp_path, monkeypatch, where):
    path = tmp_path / "state.npz"
    records.save(path, {"x": np.arange(3)}, {})
    before = path.read_bytes()
    with no_room(monkeypatch, where) as number, pytest.raises(OSError, match="nothing") as caught:
        records.save(path, {"x": np.arange(3000)}, {})
    assert caught.value.errno == number
    assert caught.value.filename == str(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == before
    assert names(tmp_path) == ["state.npz"]


def test_whatever_stops_a_write_takes_its_temporary_file_along(tmp_path):
    def interrupted(file):
        file.write(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        files.atomic_write(tmp_path / "state.npz", interrupted)
    assert names(tmp_path) == []


def test_the_numbers_are_on_the_disk_before_they_get_their_name(tmp_path, monkeypatch):
    calls = []
    fsync, replace = os.fsync, os.replace

    def noted_fsync(descriptor):
        calls.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "replace", lambda *a: (calls.append("name"), replace(*a)))
    records.save(tmp_path / "state.npz", {}, {})
    assert calls == ["file", "name", "folder"]


@contextmanager
def anybody():
    """Not root, whom no permission stops."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


def test_a_read_only_folder_is_named(tmp_path, monkeypatch):
    tmp_path.chmod(0o755)
    monkeypatch.chdir(tmp_path)  # Nobody but its owner comes through the folders above.
    folder = Path("held")
    folder.mkdir()
    records.save(folder / "state.npz", {}, {})
    (folder / ".state.npz.1-0123abcd.tmp").touch()
    folder.chmod(0o555)
    try:
        with anybody():
            with pytest.raises(PermissionError, match=r"held/state\.npz"):
                records.save(folder / "state.npz", {"x": np.ones(2)}, {})
            with pytest.raises(PermissionError, match="'held'"), files.locked(folder):
                raise AssertionError("a folder that nobody may write in was locked")
            assert records.sweep(folder) == []
            assert records.load(folder / "state.npz") == ({}, {})
    finally:
        folder.chmod(0o755)


def test_one_process_at_a_time_holds_the_lock_and_its_file_goes(tmp_path):
    code = (
        "from igrlib.experiments.storage import files; from pathlib import Path\n"
        "print('ready', flush=True)\n"
        "with files.locked(Path('.')): print('held', flush=True)\n"
        "print('free', flush=True)\n"
    )
    with bare(code, tmp_path) as process:
        with files.locked(tmp_path):
            assert process.stdout.readline() == "ready\n"
            time.sleep(0.1)
            os.set_blocking(process.stdout.fileno(), False)
            assert process.stdout.buffer.read() is None
            os.set_blocking(process.stdout.fileno(), True)
            assert records.sweep(tmp_path) == []
        assert process.stdout.readline() == "held\n"
        assert process.stdout.readline() == "free\n"
    assert names(tmp_path) == []


def test_one_thread_at_a_time_holds_the_lock_though_its_file_comes_and_goes(tmp_path):
    inside, seen = [], []

    def work():
        for _ in range(50):
            with files.locked(tmp_path):
                inside.append(1)
                time.sleep(0.0002)
                seen.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [1] * 200


def test_the_file_of_a_lock_goes_while_it_is_held(tmp_path, monkeypatch):
    """Removed later it could be another's: two would then hold files of one name."""
    held, unlink = [], Path.unlink

    def noted(path, **how):
        with open(path) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                held.append(False)
            except BlockingIOError:
                held.append(True)
        unlink(path, **how)

    monkeypatch.setattr(Path, "unlink", noted)
    with files.locked(tmp_path):
        pass
    with claimed(tmp_path / ".a-s00-00.lock", "it"):
        pass
    assert held == [True, True]


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_still_saves_and_sweeps_nothing(tmp_path, monkeypatch, number):
    monkeypatch.setattr(fcntl, "flock", failing(number))
    with files.locked(tmp_path), claimed(tmp_path / ".a.lock", "it"):
        records.save(tmp_path / "state.npz", {}, {})
    (tmp_path / ".state.npz.1-0123abcd.tmp").touch()
    assert records.sweep(tmp_path) == []
    assert names(tmp_path) == [".state.npz.1-0123abcd.tmp", "state.npz"]


def test_a_file_that_another_machine_sweeps_is_written_again(tmp_path, monkeypatch):
    """Where locks hold on one machine alone, the other takes a writer for dead."""
    monkeypatch.setattr(fcntl, "flock", lambda *how: None)
    swept = []

    def write(file):
        file.write(b"whole")
        if not swept:
            swept.extend(records.sweep(tmp_path))

    files.atomic_write(tmp_path / "state", write)
    assert [path.suffix for path in swept if path.suffix == ".tmp"] == [".tmp"]
    assert (tmp_path / "state").read_bytes() == b"whole"
    assert names(tmp_path) == ["state"]


def test_a_lock_that_fails_otherwise_names_what_it_was_for(tmp_path, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", failing(errno.EIO))
    with pytest.raises(OSError, match="nothing was changed") as caught:
        records.save(tmp_path / "state.npz", {}, {})
    assert (caught.value.errno, caught.value.filename) == (errno.EIO, str(tmp_path / "state.npz"))
    with pytest.raises(OSError, match="nothing was changed") as caught, files.locked(tmp_path):
        raise AssertionError("it was locked without a lock")
    assert (caught.value.errno, caught.value.filename) == (errno.EIO, str(tmp_path))


def test_the_lock_on_a_unit_is_swept_only_when_its_holder_is_gone(tmp_path):
    """A process that is killed between its shard and its last line leaves one."""
    lock = tmp_path / ".sgd-n0008-b00016-s00-00.lock"
    code = (
        "from igrlib.experiments.folder import claimed; from pathlib import Path\n"
        f"with claimed(Path({lock.name!r}), 'it'):\n"
        "    print('held', flush=True); sys.stdin.readline()\n"
    )
    with bare(code, tmp_path) as process:
        assert process.stdout.readline() == "held\n"
        assert records.sweep(tmp_path) == []
        assert names(tmp_path) == [lock.name]
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert [path.name for path in records.sweep(tmp_path)] == [lock.name]
    assert names(tmp_path) == []
