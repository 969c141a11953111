"""Units and manifests: merging, refusing what does not fit, and losing nothing."""

import errno
import getpass
import importlib.metadata
import json
import os
import platform
import shutil
import socket
import subprocess
from pathlib import Path

import jax
import numpy as np
import pytest
from helpers.processes import bare, names
from helpers.records import META, ORIGIN, meta

import igrlib
from igrlib.experiments import records
from igrlib.experiments.records import origin
from igrlib.experiments.storage import files

# The import hook would refuse some of these itself.
pytestmark = pytest.mark.usefixtures("without_type_hook")


def arrays(value=0.0):
    return {"loss": np.array([value, np.nan, np.inf]), "steps": np.arange(3)}


def add(folder, unit, value=0.0, replace=False, **changed):
    return records.add_unit(folder, unit, arrays(value), meta(unit, **changed), replace=replace)


def manifest(folder):
    return json.loads((folder / "manifest.json").read_text())


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "mlp-sweep-cpu"


def test_a_unit_leaves_a_shard_that_tells_all_and_a_manifest(folder):
    assert add(folder, "w50") == folder / "w50.npz"
    assert names(folder) == ["manifest.json", "w50.npz"]
    stored, about = records.load(folder / "w50.npz")
    assert about == meta("w50")
    np.testing.assert_array_equal(stored["loss"], [0, np.nan, np.inf])
    record = records.open_record(folder)
    assert (record.directory, record.experiment, record.profile) == (folder, "mlp-sweep", "cpu")
    assert list(record.units) == ["w50"]
    assert record.units["w50"].name == "w50"
    assert record.units["w50"].meta == meta("w50")
    np.testing.assert_array_equal(record.units["w50"].arrays["steps"], [0, 1, 2])


def test_the_manifest_tells_what_the_shards_say(folder):
    other = {**ORIGIN, "device": {"kind": "H100", "platform": "gpu", "count": 1}}
    gone, marks = [{"member": 3, "step": 17}], {"2": "its maximum lies in the last tenth"}
    add(folder, "w50", seconds=0.25, seeds=[4, 2])
    add(folder, "w200", provenance=other, unit_config={"width": 200}, diverged=gone)
    add(folder, "w100", seconds=1, marks=marks)
    found = manifest(folder)
    for field in ("experiment", "profile", "dataset", "config"):
        assert found[field] == META[field]
    assert found["seeds"] == [0, 1, 2, 4]
    assert found["seconds"] == 0.25 + 12.5 + 1
    assert sorted(found["units"]) == ["w100", "w200", "w50"]
    assert found["units"]["w200"]["unit_config"] == {"width": 200}
    assert found["units"]["w200"]["diverged"] == gone
    assert found["units"]["w100"]["marks"] == marks
    assert {one["device"]["kind"]: (one["units"], one["cpus"]) for one in found["provenance"]} == {
        "cpu": (["w100", "w50"], 2),
        "H100": (["w200"], 2),
    }
    assert found["expected"] is None
    assert found["missing"] is None


def test_which_units_are_missing_is_told_and_kept(folder):
    add(folder, "b")
    found = records.rebuild_manifest(folder, expected_units=["c", "b", "a"])
    assert found == manifest(folder)
    assert found["missing"] == ["a", "c"]
    add(folder, "a")
    assert manifest(folder)["missing"] == ["c"]
    (folder / "b.npz").unlink()
    assert records.rebuild_manifest(folder)["missing"] == ["b", "c"]
    assert records.rebuild_manifest(folder, expected_units=["a"])["missing"] == []
    with pytest.raises(ValueError, match=r"letters, digits.*'a/b'"):
        records.rebuild_manifest(folder, expected_units=["a/b"])


def test_rebuilding_gives_an_empty_diff_whatever_the_order(folder, tmp_path):
    other = tmp_path / "again" / folder.name
    for unit in ("w50", "w100", "w9"):
        add(folder, unit)
    for unit in ("w9", "w50", "w100"):
        add(other, unit)
    assert contents(folder) == contents(other)
    before = contents(folder)
    records.rebuild_manifest(folder)
    assert contents(folder) == before
    (folder / "manifest.json").unlink()
    records.rebuild_manifest(folder)
    assert contents(folder) == before
    text = before["manifest.json"].decode()
    assert text == json.dumps(json.loads(text), indent=1, sort_keys=True) + "\n"


def test_shards_of_two_machines_merge_by_copying(folder, tmp_path):
    other = tmp_path / "other" / folder.name
    add(folder, "a", 1.0)
    add(other, "b", 2.0)
    shutil.copy(other / "b.npz", folder)
    with pytest.raises(
        records.RecordError, match=r"\['units'\]\['b'\] says 'nothing'.*rebuild_manifest"
    ):
        records.open_record(folder)
    records.rebuild_manifest(folder)
    record = records.open_record(folder)
    assert {name: unit.arrays["loss"][0] for name, unit in record.units.items()} == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"experiment": "other"}, "experiment"),
        ({"profile": "paper"}, r"profile \('cpu' and 'paper'\)"),
        ({"config": {**META["config"], "batch_size": 64}}, r"config\['batch_size'\] \(32 and 64\)"),
        ({"config": {"batch_size": 32}}, r"config\['learning_rates'\] .* 'nothing'"),
        ({"dataset": {**META["dataset"], "fingerprint": "cd"}}, r"dataset\['fingerprint'\]"),
        ({"dataset": {**META["dataset"], "sizes": {}}}, r"dataset\['sizes'\]\['test'\]"),
    ],
)
def test_two_runs_do_not_mix(folder, tmp_path, changed, message):
    add(folder, "a")
    before = contents(folder)
    with pytest.raises(records.RecordError, match=rf"a\.npz and .*b\.npz differ in {message}"):
        add(folder, "b", **changed)
    assert contents(folder) == before
    # Copied in, it is found too, and the manifest stays.
    other = add(tmp_path / "other", "b", **changed)
    shutil.copy(other, folder)
    with pytest.raises(records.RecordError, match=rf"a\.npz and .*b\.npz differ in {message}"):
        records.rebuild_manifest(folder)
    assert contents(folder) == {**before, "b.npz": other.read_bytes()}


def test_a_finished_unit_is_replaced_only_on_request(folder):
    add(folder, "a", 1.0)
    before = contents(folder)
    add(folder, "a", 1.0)
    assert contents(folder) == before
    with pytest.raises(records.RecordError, match=r"a\.npz exists already.*replace=True"):
        add(folder, "a", 2.0)
    with pytest.raises(records.RecordError, match=r"a\.npz exists already.*replace=True"):
        add(folder, "a", 1.0, seconds=13.0)
    assert contents(folder) == before
    add(folder, "a", 2.0, replace=True)
    assert records.open_record(folder).units["a"].arrays["loss"][0] == 2
    # Replacing the only shard may change the config too.
    add(folder, "a", config={}, replace=True)
    assert manifest(folder)["config"] == {}


def test_a_shard_has_a_limit(folder):
    noise = np.random.default_rng(0).integers(0, 256, 1_000_001, np.uint8)
    with pytest.raises(ValueError, match=r"at most 1000000 bytes, got 100[0-9]{4}:"):
        records.add_unit(folder, "a", {"x": noise}, meta("a"))
    assert not folder.exists()
    records.add_unit(folder, "a", {"x": noise[:990_000], "calm": np.zeros(10**6)}, meta("a"))
    assert (folder / "a.npz").stat().st_size < 1_000_000


WRONG = [
    ("experiment", "", ValueError, r"meta\['experiment'\] must be 1 to 100 letters"),
    ("experiment", "<img src=x>", ValueError, r"meta\['experiment'\] must be 1 to 100 letters"),
    ("profile", "<b>cpu</b>", ValueError, r"meta\['profile'\] must be 1 to 100 letters, digits"),
    ("profile", "a" * 101, ValueError, r"meta\['profile'\] must be 1 to 100 letters, digits"),
    (
        "dataset",
        {"name": "[x](javascript:y)", "fingerprint": "a", "sizes": {}},
        ValueError,
        r"meta\['dataset'\]\['name'\] must be 1 to 100 letters",
    ),
    ("seconds", 10**400, ValueError, r"meta\['seconds'\] must be between 0 and 1e10"),
    (
        "provenance",
        {**ORIGIN, "commit": {"hash": "<b>x", "dirty": False}},
        ValueError,
        r"\['commit'\]\['hash'\] must be 4 to 64 hexadecimal digits, got '<b>x'",
    ),
    ("profile", 3, TypeError, r"meta\['profile'\] must be str, got 3"),
    ("unit", "b", ValueError, r"meta\['unit'\] must be the unit's name 'a', got 'b'"),
    ("dataset", {"name": "mnist"}, ValueError, r"meta\['dataset'\] must have the key 'finger"),
    (
        "dataset",
        {"name": "mnist", "fingerprint": "a", "sizes": {"train": 1.5}},
        TypeError,
        r"meta\['dataset'\]\['sizes'\]\['train'\] must be int, got 1.5",
    ),
    ("config", [1], TypeError, r"meta\['config'\] must be dict, got \[1\]"),
    ("config", {"h": float("inf")}, ValueError, r"meta\['config'\]\['h'\] must be finite"),
    ("unit_config", None, TypeError, r"meta\['unit_config'\] must be dict, got None"),
    ("seeds", [0, 1.0], TypeError, r"meta\['seeds'\]\[1\] must be int, got 1.0"),
    ("seeds", [True], TypeError, r"meta\['seeds'\]\[0\] must be int, got True"),
    ("seconds", -1.0, ValueError, r"meta\['seconds'\] must be between 0 and 1e10, got -1.0"),
    ("seconds", "1", TypeError, r"meta\['seconds'\] must be int or float, got '1'"),
    ("provenance", {}, ValueError, r"meta\['provenance'\] must have the key 'commit'"),
    ("diverged", [3], TypeError, r"meta\['diverged'\]\[0\] must be dict, got 3"),
    ("diverged", [{"member": 1}], ValueError, r"meta\['diverged'\]\[0\] must have the key 'step'"),
    ("diverged", [{"member": -1, "step": 2}], ValueError, r"\['member'\] must be at least 0"),
    ("marks", "none", TypeError, r"meta\['marks'\] must be dict"),
    ("more", 1, ValueError, "meta must have the keys .*, got 'more' too"),
    ("config", {"out": "/srv/me/run"}, ValueError, r"meta\['config'\]\['out'\].*no path"),
    ("config", {"out": "~/run"}, ValueError, r"meta\['config'\]\['out'\].*no path"),
    ("config", {"out": "C:\\run"}, ValueError, r"meta\['config'\]\['out'\].*no path"),
    ("marks", {"0": ["no file '/srv/x'"]}, ValueError, r"meta\['marks'\]\['0'\]\[0\].*no path"),
    ("marks", {"/srv/x": 1}, ValueError, r"a key of meta\['marks'\] .*no path"),
]


@pytest.mark.parametrize(("field", "value", "error", "message"), WRONG)
def test_wrong_metadata_is_named_before_anything_is_written(folder, field, value, error, message):
    with pytest.raises(error, match=message):
        records.add_unit(folder, "a", arrays(), {**meta("a"), field: value})
    assert not folder.exists()


def test_each_field_is_asked_for(folder):
    for field in meta("a"):
        lacking = meta("a")
        del lacking[field]
        with pytest.raises(ValueError, match=f"meta must have the key '{field}'"):
            records.add_unit(folder, "a", arrays(), lacking)


def test_ordinary_words_are_no_paths(folder):
    words = ["train/test", "‖∇E‖² / m", "1 / 2", "https://example.org/a", "a: b", "h:0.1", "~3 %"]
    add(folder, "a", marks={word: word for word in words})
    assert manifest(folder)["units"]["a"]["marks"] == {word: word for word in words}
    with pytest.raises(ValueError, match=r"arrays\['why'\]\[1\] must hold no path"):
        records.add_unit(folder, "b", {"why": np.array(["ok", "/srv/x"])}, meta("b"))


@pytest.mark.parametrize("unit", ["", "../a", "a/b", ".a", "a b", "a\n", "a" * 101])
def test_a_unit_needs_a_name_that_a_file_can_have(folder, unit):
    with pytest.raises(ValueError, match="must be 1 to 100 letters, digits"):
        add(folder, unit)
    with pytest.raises(TypeError, match="the name of a unit must be str, got 3"):
        add(folder, 3)
    assert not folder.exists()


def test_a_broken_shard_costs_no_other_unit(folder):
    broken = add(folder, "a")
    broken.write_bytes(broken.read_bytes()[:-9])
    with pytest.raises(records.RecordError, match=r"a\.npz is cut short"):
        add(folder, "b", 2.0)
    assert records.load(folder / "b.npz")[0]["loss"][0] == 2
    for call in (records.open_record, records.rebuild_manifest):
        with pytest.raises(records.RecordError, match=r"a\.npz is cut short"):
            call(folder)
    with pytest.raises(records.RecordError, match=r"a\.npz is cut short.*Delete it"):
        add(folder, "a")
    add(folder, "a", replace=True)
    assert sorted(records.open_record(folder).units) == ["a", "b"]


def test_arms_of_one_record_may_differ_in_data_set_and_config(folder):
    """What they share is told once, the rest with each unit; a data set is always the same."""
    mlp, resnet = ({"unit_config": {"name": name}} for name in ("mlp", "resnet"))
    wide = {"config": {"width": 9}}
    add(folder, "a", **mlp)
    add(folder, "b", **resnet, **wide)
    found = manifest(folder)
    assert found["dataset"] == META["dataset"]
    assert "config" not in found
    assert {n: u["config"] for n, u in found["units"].items()} == {
        "a": META["config"],
        "b": wide["config"],
    }
    assert sorted(records.open_record(folder).units) == ["a", "b"]
    altered = {**META["dataset"], "fingerprint": "cd"}
    with pytest.raises(records.RecordError, match=r"differ in config\['width'\] \(9 and 8\)"):
        add(folder, "c", **resnet, config={"width": 8})
    with pytest.raises(records.RecordError, match=r"differ in dataset\['fingerprint'\]"):
        add(folder, "c", unit_config={"name": "third"}, dataset=altered)
    other = {"name": "other", "fingerprint": "ef", "sizes": {}}
    add(folder, "c", unit_config={"name": "third"}, dataset=other)
    assert "dataset" not in manifest(folder)
    assert manifest(folder)["units"]["c"]["dataset"] == other


def test_without_a_manifest_it_is_told_what_to_do(folder):
    """Nothing is there, a unit was stopped, or a unit is finished."""

    def said():
        with pytest.raises(records.RecordError, match=r"holds no manifest\.json") as caught:
            records.open_record(folder)
        return str(caught.value)

    assert "run a unit first, with" in said()
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "checkpoints" / "a.npz").touch()
    assert "run a unit first or go on with one that was stopped" in said()
    assert "rebuild_manifest(" not in said()
    add(folder, "a", 1.0)
    (folder / "manifest.json").unlink()
    assert "rebuild_manifest(" in said()


def test_a_manifest_that_disagrees_is_told(folder):
    add(folder, "a", 1.0)
    add(folder, "b")
    path = folder / "manifest.json"
    good = path.read_text()

    def refused(message):
        with pytest.raises(records.RecordError, match=message) as caught:
            records.open_record(folder)
        assert "rebuild_manifest(" in str(caught.value)
        assert "\n" not in str(caught.value)

    path.write_text(good.replace('"batch_size": 32', '"batch_size": 64'))
    refused(r"manifest\.json\['config'\]\['batch_size'\] says 64, its shards say 32")
    path.write_text(good.replace(' "missing": null,\n', ""))
    refused(r"manifest\.json\['missing'\] says 'nothing', its shards say None")
    for text in (good[:-20], "", "[]", "{}", '{"units": 3}'):
        path.write_text(text)
        refused(r"manifest\.json is cut short or altered")
    path.unlink()
    refused(r"holds no manifest\.json")
    path.write_text(good)
    shard = (folder / "a.npz").read_bytes()
    records.save(folder / "a.npz", arrays(3.0), meta("a"))
    refused(r"\['units'\]\['a'\]\['sha256'\] says '[0-9a-f]{64}', its shards say '[0-9a-f]{64}'")
    (folder / "a.npz").unlink()
    refused(r"manifest\.json\['units'\]\['a'\] says \{.*, its shards say 'nothing'")
    (folder / "a.npz").write_bytes(shard)
    assert len(records.open_record(folder).units) == 2


def test_a_broken_manifest_is_mended_by_rebuilding(folder):
    add(folder, "a")
    good = (folder / "manifest.json").read_bytes()
    for text in ("{", "[]", '{"expected": 3}', '{"expected": ["/"]}', '{"expected": [1]}'):
        (folder / "manifest.json").write_text(text)
        records.rebuild_manifest(folder)
        assert (folder / "manifest.json").read_bytes() == good


def test_a_shard_under_another_name_is_told(folder):
    shutil.copy(add(folder, "a"), folder / "b.npz")
    with pytest.raises(records.RecordError, match=r"b\.npz is no shard.*name 'b', got 'a'"):
        records.rebuild_manifest(folder)
    records.save(folder / "b.npz", {}, {"step": 3})
    with pytest.raises(records.RecordError, match=r"b\.npz is no shard of a unit"):
        records.rebuild_manifest(folder)


def test_an_empty_folder_is_no_record(folder):
    for _ in range(2):
        for call in (records.open_record, records.rebuild_manifest):
            with pytest.raises(records.RecordError, match="holds no"):
                call(folder)
        folder.mkdir(exist_ok=True)
    add(folder, "a").unlink()
    with pytest.raises(records.RecordError, match="holds no shard"):
        records.open_record(folder)


def test_the_records_that_are_there_are_opened_in_the_order_asked_for(tmp_path):
    for profile in ("cpu", "digits"):
        add(tmp_path / f"mlp-sweep-{profile}", "a", profile=profile)
    (tmp_path / "mlp-sweep-paper").mkdir()
    add(tmp_path / "other-cpu", "b", experiment="other")
    found = records.open_records(tmp_path, "mlp-sweep", ("digits", "cpu", "paper", "none"))
    assert list(found) == ["digits", "cpu"]
    assert [one.profile for one in found.values()] == ["digits", "cpu"]
    assert list(records.open_records(tmp_path, "nothing", ("cpu",))) == []
    (tmp_path / "mlp-sweep-cpu" / "manifest.json").unlink()
    with pytest.raises(records.RecordError, match="holds no manifest"):
        records.open_records(tmp_path, "mlp-sweep", ("cpu",))


@pytest.mark.parametrize("nth", [1, 2])
def test_a_full_disk_costs_neither_shards_nor_manifest(folder, monkeypatch, nth):
    add(folder, "a")
    before, calls, replace = contents(folder), [], os.replace

    def full(source, target):
        calls.append(target)
        if len(calls) == nth:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(OSError, match="No space left") as caught:
            add(folder, "b")
    assert caught.value.filename == str(folder / ("b.npz", "manifest.json")[nth - 1])
    after = contents(folder)
    assert {name: after[name] for name in before} == before
    assert set(after) - set(before) == ({"b.npz"} if nth == 2 else set())
    add(folder, "b")
    assert sorted(records.open_record(folder).units) == ["a", "b"]


ADDING = """
import json
meta = json.loads(sys.stdin.readline())
print("ready", flush=True)
sys.stdin.readline()
for i in range(15):
    unit = f"{sys.argv[1]}{i}"
    records.add_unit("run", unit, {"x": np.full(9, i)}, {**meta, "unit": unit})
print("done", flush=True)
"""


def test_two_processes_lose_nothing(tmp_path):
    def code(letter):
        return f"\nsys.argv = ['', {letter!r}]" + ADDING

    with bare(code("a"), tmp_path) as one, bare(code("b"), tmp_path) as two:
        for line, answer in ((json.dumps(meta("a")), "ready"), ("go", "done")):
            for process in (one, two):
                process.stdin.write(line + "\n")
                process.stdin.flush()
            for process in (one, two):
                assert process.stdout.readline() == answer + "\n"
    folder = tmp_path / "run"
    before = contents(folder)
    assert len(before) == 31
    units = {f"{letter}{i}": i for letter in "ab" for i in range(15)}
    found = records.open_record(folder).units
    assert {name: unit.arrays["x"][0] for name, unit in found.items()} == units
    records.rebuild_manifest(folder)
    assert contents(folder) == before


# What it does stops before it writes this file, until it is told to go on.
PAUSING = """
write = record.atomic_write
def paused(path, how):
    if path.name == {name!r}:
        record.atomic_write = write
        print("stops", flush=True)
        sys.stdin.readline()
    write(path, how)
record.atomic_write = paused
"""
# Says when it first finds a lock taken.
WAITING = """
import fcntl
flock = fcntl.flock
def told(*how):
    try:
        flock(*how)
    except BlockingIOError:
        fcntl.flock = flock
        print("waits", flush=True)
        raise
fcntl.flock = told
"""
WITHOUT_LOCKS = "\nimport fcntl\nfcntl.flock = lambda *how: None\n"
DOING = """
try:
    {action}
    print("done", flush=True)
except records.RecordError as error:
    print("refused", flush=True)
"""
REBUILDS = "records.rebuild_manifest('run')"


def adds(unit, value):
    return f"records.add_unit('run', {unit!r}, {{'x': np.full(9, {value})}}, {meta(unit)!r})"


def two_at_once(cwd, first, stops_before, second, *, locks=True):
    """What the second of two processes says while the first stands still, and both after that."""
    begin = "from igrlib.experiments.records import record\n" + ("" if locks else WITHOUT_LOCKS)
    codes = (
        begin + PAUSING.format(name=stops_before) + DOING.format(action=first),
        begin + (WAITING if locks else "") + DOING.format(action=second),
    )
    with bare(codes[0], cwd) as one:
        assert one.stdout.readline() == "stops\n"
        with bare(codes[1], cwd) as other:
            meanwhile = other.stdout.readline().strip()
            one.stdin.write("go on\n")
            one.stdin.flush()
            ends = [one.stdout.readline().strip(), other.stdout.readline().strip()]
    return meanwhile, *ends


@pytest.mark.parametrize(
    ("first", "stops_before"), [(REBUILDS, "manifest.json"), (adds("a", 1), "manifest.json")]
)
def test_no_process_writes_while_another_has_read_the_shards(tmp_path, first, stops_before):
    add(tmp_path / "run", "old")
    (tmp_path / "run" / "manifest.json").unlink()
    said = two_at_once(tmp_path, first, stops_before, adds("b", 2))
    assert said == ("waits", "done", "done")
    units = ["a", "b", "old"] if first != REBUILDS else ["b", "old"]
    assert sorted(records.open_record(tmp_path / "run").units) == units


def test_of_two_processes_with_one_unit_the_later_one_is_refused(tmp_path):
    said = two_at_once(tmp_path, adds("a", 1), "a.npz", adds("a", 2))
    assert said == ("waits", "done", "refused")
    assert records.open_record(tmp_path / "run").units["a"].arrays["x"].tolist() == 9 * [1]


def test_without_locks_the_manifest_still_has_every_unit(tmp_path):
    """Two machines, of which neither sees the locks of the other."""
    said = two_at_once(tmp_path, adds("a", 1), "manifest.json", adds("b", 2), locks=False)
    assert said == ("done", "done", "")
    assert sorted(records.open_record(tmp_path / "run").units) == ["a", "b"]


GPU = {"device": {"kind": "H100", "platform": "gpu", "count": 1}}
PRECISIONS = {
    "cpu": ORIGIN | {"precision": "default"},
    "older cpu": ORIGIN,
    "float32": ORIGIN | GPU | {"precision": "highest"},
    "also float32": ORIGIN | GPU | {"precision": "float32"},
    "tf32": ORIGIN | GPU | {"precision": "default"},
    "unknown": ORIGIN | GPU,
}


@pytest.mark.parametrize("name", [*PRECISIONS])
def test_an_arm_has_one_precision(folder, tmp_path, name):
    """A CPU computes in float32, a GPU where it is asked to; an older shard may not say."""
    arms = {"unit_config": {"name": "a"}}
    add(folder, "first", provenance=PRECISIONS["float32"], **arms)
    add(folder, "other", provenance=PRECISIONS["tf32"], unit_config={"name": "b"})
    before = contents(folder)
    told = "precision .'float32' and 'default on gpu'.*One record holds one run"
    if name != "tf32":
        add(folder, "second", provenance=PRECISIONS[name], **arms)
        assert sorted(records.open_record(folder).units) == ["first", "other", "second"]
        return
    with pytest.raises(records.RecordError, match=told):
        add(folder, "second", provenance=PRECISIONS[name], **arms)
    assert contents(folder) == before
    # Nor is it merged or read where it was copied in.
    shutil.copy(add(tmp_path / "elsewhere", "second", provenance=PRECISIONS[name], **arms), folder)
    for call in (records.rebuild_manifest, records.open_record):
        with pytest.raises(records.RecordError, match=told):
            call(folder)


def test_provenance_is_that_of_this_run():
    found = records.provenance()
    versions = found["versions"]
    assert versions.pop("python") == platform.python_version()
    assert versions.pop("igrlib") == igrlib.__version__
    assert set(versions) == {"jax", "jaxlib", "flax", "optax", "numpy"}
    assert versions == {name: importlib.metadata.version(name) for name in versions}
    assert found["device"] == {
        "kind": jax.devices()[0].device_kind,
        "platform": jax.default_backend(),
        "count": jax.device_count(),
    }
    assert 1 <= found["cpus"] <= os.cpu_count()
    assert found["precision"] == "default"
    with jax.default_matmul_precision("highest"):
        assert records.provenance()["precision"] == "highest"


def test_flags_of_the_compiler_are_told_without_paths(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_b=2  --xla_a=true --xla_dump_to=/home/somebody")
    assert records.provenance()["xla_flags"] == ["--xla_a=true", "--xla_b=2"]
    monkeypatch.delenv("XLA_FLAGS")
    assert records.provenance()["xla_flags"] == []


def test_a_copy_without_its_repository_is_told_its_commit(monkeypatch):
    monkeypatch.setattr(origin, "commit", lambda package: None)
    assert records.provenance()["commit"] is None
    given = {"hash": "0123456789abcdef" * 2 + "01234567", "dirty": True}
    monkeypatch.setenv("IGR_COMMIT", json.dumps(given))
    assert records.provenance()["commit"] == given
    wrong = ("main", "[]", '{"hash": "abc", "dirty": false}', json.dumps(given | {"dirty": "no"}))
    for text in wrong:
        monkeypatch.setenv("IGR_COMMIT", text)
        with pytest.raises(ValueError, match=r'IGR_COMMIT must be \{"hash": "40 hex.*got'):
            records.provenance()


def test_provenance_of_older_shards_and_of_newer_ones(folder):
    add(folder, "old")
    add(folder, "new", provenance=ORIGIN | {"precision": "highest", "xla_flags": ["--xla_a=1"]})
    with pytest.raises(TypeError, match=r"\['precision'\] must be str, got 32"):
        add(folder, "odd", provenance=ORIGIN | {"precision": 32})


def test_a_package_that_is_not_installed_has_no_version():
    assert origin._version("igrlib-of-somebody-else") is None


def test_a_record_tells_nothing_of_whose_machine_it_was(folder):
    add(folder, "a", provenance=records.provenance())
    with np.load(folder / "a.npz") as shard:
        texts = [shard["__meta__"].tobytes().decode(), (folder / "manifest.json").read_text()]
    secrets = {socket.gethostname(), str(Path.home()), os.getcwd(), igrlib.__path__[0], str(folder)}
    for text in texts:
        assert not [secret for secret in secrets if secret in text]
        # A short user name may be part of a word, never a word.
        assert f'"{getpass.getuser()}"' not in text


def git(folder, *arguments):
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(
        ["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def test_the_commit_is_that_of_the_package_and_of_nobody_else(tmp_path, monkeypatch):
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").write_text("a = 1\n")
    assert origin.commit(package) is None
    git(tmp_path, "init", "-q")
    # Not tracked, as an installed copy inside a repository of the user.
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", "theirs")
    assert origin.commit(package) is None
    git(tmp_path, "add", "package")
    git(tmp_path, "commit", "-q", "-m", "ours")
    clean = {"hash": git(tmp_path, "rev-parse", "HEAD"), "dirty": False}
    assert origin.commit(package) == clean
    (tmp_path / "notes.txt").touch()
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "none"))
    assert origin.commit(package) == clean
    (package / "new.py").touch()
    assert origin.commit(package) == {**clean, "dirty": True}
    (package / "new.py").unlink()
    (package / "__init__.py").write_text("a = 2\n")
    assert origin.commit(package) == {**clean, "dirty": True}
    monkeypatch.setenv("PATH", str(tmp_path))
    assert origin.commit(package) is None


def test_the_name_of_a_changed_profile_is_one(folder):
    add(folder, "a", profile="digits+batch_sizes=none,32+mus=1e-05")


def test_a_record_knows_what_it_is_to_have_from_when_it_was_opened(folder):
    add(folder, "a")
    assert records.open_record(folder).expected is None
    records.rebuild_manifest(folder, expected_units=["b", "a"])
    opened = records.open_record(folder)
    (folder / "manifest.json").unlink()
    assert opened.expected == ("a", "b")


@pytest.mark.parametrize("expected", ["", '"expected": 3,', '"expected": ["/"],'])
def test_a_manifest_in_doubt_about_what_there_is_to_be_is_refused(folder, expected):
    add(folder, "a")
    path = folder / "manifest.json"
    path.write_text(path.read_text().replace('"expected": null,', expected))
    with pytest.raises(records.RecordError, match=r"cut short or altered.*rebuild_manifest"):
        records.open_record(folder)


def test_a_manifest_nested_without_end_is_told_and_mended(folder):
    add(folder, "a")
    good = (folder / "manifest.json").read_bytes()
    (folder / "manifest.json").write_text(200_000 * "[")
    with pytest.raises(records.RecordError, match="cut short or altered"):
        records.open_record(folder)
    records.rebuild_manifest(folder)
    assert (folder / "manifest.json").read_bytes() == good


def test_a_shard_of_more_bytes_than_a_record_takes_is_not_read(folder):
    path = add(folder, "a")
    big = {"x": np.random.default_rng(0).normal(size=130_000)}
    records.save(path, big, meta("a"))
    with pytest.raises(records.RecordError, match=r"a\.npz has 1\d+ bytes, .*at most 1000000"):
        records.rebuild_manifest(folder)
    with pytest.raises(ValueError, match="at most 50000000 bytes, got 56000000"):
        records.add_unit(folder, "b", {"x": np.zeros(7_000_000)}, meta("b"))


def test_a_whole_record_may_lie_where_nobody_writes(folder, monkeypatch):
    def read_only(*_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    add(folder, "a")
    whole = records.rebuild_manifest(folder, expected_units=["a"])
    monkeypatch.setattr(files, "held", read_only)
    assert records.rebuild_manifest(folder, expected_units=["a"]) == whole
    with pytest.raises(OSError, match="Read-only"):
        records.rebuild_manifest(folder, expected_units=["a", "b"])


RECORDED_RUNS = Path(__file__).parents[1] / "book" / "recorded_runs.ipynb"


def test_the_page_of_recorded_runs_shows_a_record_of_which_little_is_known(tmp_path, monkeypatch):
    """Without expected units and without a commit."""
    folder = tmp_path / "results" / "mlp-sweep-cpu"
    marks = {"censored_validation": [], "censored_test": [0], "fitted": [0, 1]}
    about = meta("sgd-n0050-b00032-s00-01", marks=marks, provenance={**ORIGIN, "commit": None})
    made = {"seed": np.array([0, 0, 1, 1]), "norm": np.ones((4, 1))}
    records.add_unit(folder, about["unit"], made, about)
    monkeypatch.chdir(tmp_path)
    shown, names = [], {}
    cells = json.loads(RECORDED_RUNS.read_text())["cells"]
    sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    (tables,) = (k for k, source in enumerate(sources) if "display(table(" in source)
    for source in sources[: tables + 1]:
        exec(source, names)
        names["display"] = shown.append
    assert len(shown) == 1
    assert "| `sgd-n0050-b00032-s00-01` | 4 | 0–1 | 12 | unknown | 0 | 1 | 2 |" in shown[0].data
    assert "Missing: unknown." in shown[0].data
