"""Arrays and metadata in one file: what goes in comes out, and nothing else passes for it."""

import io
import json
import os
import zipfile

import numpy as np
import pytest

from igrlib.experiments import records
from igrlib.experiments.storage import npz

ARRAYS = {
    "bits": np.array([True, False]),
    "bytes": np.arange(12, dtype=np.uint8).reshape(3, 4),
    "scalar": np.array(2.5, np.float32),
    "params/0['w']": np.linspace(-1, 1, 6).reshape(2, 3).T,
    "none": np.zeros((0, 3)),
    "big-endian": np.arange(3, dtype=">i4"),
    "complex": np.array([1 + 2j, -3j]),
    "text": np.array(["λ", "R_IG", ""]),
    "gone": np.array([np.nan, np.inf, -0.0], np.float16),
    "file": np.array([1]),
}
META = {"none": None, "yes": True, "step": 10**20, "h": 0.1, "μ": "λ\n", "deep": [{"a": [1.5, []]}]}


# The import hook would refuse some of these itself.
pytestmark = pytest.mark.usefixtures("without_type_hook")


@pytest.fixture
def path(tmp_path):
    records.save(tmp_path / "state.npz", ARRAYS, META)
    return tmp_path / "state.npz"


def assert_same(found, wanted):
    assert found.keys() == wanted.keys()
    for name, array in wanted.items():
        assert found[name].dtype == array.dtype
        assert found[name].shape == array.shape
        assert found[name].tobytes() == array.tobytes()


def test_what_goes_in_comes_out(path):
    arrays, meta = records.load(path)
    assert_same(arrays, ARRAYS)
    assert meta == META


def test_numpy_alone_reads_the_file(path):
    with np.load(path, allow_pickle=False) as found:
        assert_same({name: found[name] for name in ARRAYS}, ARRAYS)
        assert json.loads(found["__meta__"].tobytes())["meta"] == META


def test_the_same_contents_give_the_same_bytes(path):
    before = path.read_bytes()
    records.save(path, ARRAYS, META)
    assert path.read_bytes() == before
    records.save(path, dict(reversed(ARRAYS.items())), dict(reversed(META.items())))
    assert path.read_bytes() == before


def test_tuples_and_numpy_floats_become_what_json_has(path):
    records.save(path, {}, {"shape": (1, (2,)), "h": np.float64(0.1), "name": np.str_("a")})
    meta = records.load(path)[1]
    assert meta == {"shape": [1, [2]], "h": 0.1, "name": "a"}


@pytest.mark.parametrize(
    ("arrays", "error", "message"),
    [
        ({"x": np.array([None])}, TypeError, r"arrays\['x'\] must be numeric.*object"),
        ({"x": np.array([(1, 2.0)], "i4,f8")}, TypeError, r"arrays\['x'\] must be numeric"),
        ({"x": np.array(["2026-01-01"], "M8[D]")}, TypeError, r"arrays\['x'\].*datetime64"),
        ({"x": np.array([b"a"])}, TypeError, r"arrays\['x'\] must be numeric.*S1"),
        ({"x": np.ma.masked_less(np.arange(3), 1)}, TypeError, r"arrays\['x'\].*MaskedArray"),
        ({"x": [1.0]}, TypeError, r"arrays\['x'\] must be a NumPy array, got list"),
        ({3: np.ones(2)}, TypeError, "names of arrays must be str, got 3"),
        ({"__meta__": np.ones(2)}, ValueError, "'__meta__' cannot be the name"),
        ({"": np.ones(2)}, ValueError, "'' cannot be the name"),
        ({"a\0b": np.ones(2)}, ValueError, "cannot be the name"),
    ],
)
def test_only_plain_arrays_are_saved(path, arrays, error, message):
    before = path.read_bytes()
    with pytest.raises(error, match=message):
        records.save(path, arrays, {})
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("meta", "error", "message"),
    [
        ({"a": {"h": float("nan")}}, ValueError, r"meta\['a'\]\['h'\] must be finite, got nan"),
        ({"a": [0.0, -np.inf]}, ValueError, r"meta\['a'\]\[1\] must be finite, got -inf"),
        ({"a": {1: 2}}, TypeError, r"keys of meta\['a'\] must be str, got 1"),
        ({"a": np.float32(1)}, TypeError, r"meta\['a'\] must be JSON.*float32"),
        ({"a": np.int64(1)}, TypeError, r"meta\['a'\] must be JSON.*int64"),
        ({"a": {1, 2}}, TypeError, r"meta\['a'\] must be JSON.*set"),
    ],
)
def test_only_json_is_metadata(path, meta, error, message):
    with pytest.raises(error, match=message):
        records.save(path, {}, meta)


def refused(path, message):
    with pytest.raises(records.RecordError, match=message) as caught:
        records.load(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_told(tmp_path):
    refused(tmp_path / "none.npz", "does not exist. Run what writes it")
    refused(tmp_path, "cannot be read: Is a directory")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"no archive", b"\x93NUMPY" * 99])
def test_a_foreign_file_is_told(path, content):
    path.write_bytes(content)
    refused(path, "cut short, altered or no .npz file .*Delete it and run again")


def test_an_archive_of_somebody_else_is_told(path):
    np.savez(path, x=np.ones(2))
    refused(path, "was not written by igrlib")


def test_cut_short_anywhere_it_is_no_record(path):
    whole = path.read_bytes()
    for length in np.linspace(0, len(whole) - 1, 60).astype(int):
        path.write_bytes(whole[:length])
        with pytest.raises(records.RecordError):
            records.load(path)


def test_one_changed_byte_never_changes_what_is_read(path):
    whole, refusals = bytearray(path.read_bytes()), 0
    places = np.random.default_rng(0).choice(len(whole), 400, replace=False)
    for place in places:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x11]) + whole[place + 1 :])
        try:
            arrays, meta = records.load(path)
        except records.RecordError:
            refusals += 1
        else:  # A date, or a flag that nobody reads.
            assert_same(arrays, ARRAYS)
            assert meta == META
    assert refusals > len(places) / 2


def rewritten(path, change):
    """The same archive, checksums of the zip included, with some members changed."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.update({"file.npy": m["file.npy"][:-8] + b"\2" + bytes(7)}),
        lambda m: m.update({"file.npy": m["file.npy"].replace(b"<i8", b"<u8")}),
        lambda m: m.update({"file.npy": m["file.npy"].replace(b"(1,), }  ", b"(1, 1), }")}),
        lambda m: m.update({"bits.npy": m["bits.npy"][:-2] + m["bits.npy"][:-3:-1]}),
        lambda m: m.update({"fill.npy": m.pop("file.npy")}),
        lambda m: m.update({"more.npy": m["file.npy"]}),
        lambda m: m.pop("file.npy"),
        lambda m: m.update({"__meta__.npy": m["__meta__.npy"].replace(b'"h":0.1', b'"h":0.2')}),
    ],
    ids=["number", "dtype", "shape", "order", "name", "added", "removed", "meta"],
)
def test_the_hash_covers_everything(path, change):
    rewritten(path, change)
    with np.load(path, allow_pickle=False) as sound:
        assert all(sound[name] is not None for name in sound.files)
    refused(path, "has been altered: it was saved with sha256 [0-9a-f]{64}")


def test_bytes_after_the_last_number_are_told(path):
    rewritten(path, lambda m: m.update({"file.npy": m["file.npy"] + b"\0"}))
    refused(path, r"file\.npy is longer than its header says")


def test_another_format_is_told(path):
    rewritten(path, lambda m: m.update({"__meta__.npy": m["__meta__.npy"].replace(b"d 1", b"d 2")}))
    refused(path, "has the format 'igrlib record 2', wanted is 'igrlib record 1'")


def test_nothing_is_unpickled(path):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(path.with_name("sprung")),)

    with np.load(path) as found:
        head = found["__meta__"]
    np.savez(path, __meta__=head, x=np.array([Trap()], object))
    refused(path, "Object arrays cannot be loaded")
    assert not path.with_name("sprung").exists()


def header(shape, dtype="<f8"):
    file = io.BytesIO()
    about = {"descr": dtype, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, about)
    return file.getvalue()


@pytest.mark.parametrize(
    ("count", "message"), [(10**15, "claims more numbers than it has"), (10**6, "is cut short")]
)
def test_a_header_that_claims_more_than_there_is_is_told(path, count, message):
    """8·10¹⁵ bytes are no array that any memory has room for, 8·10⁶ are."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("__meta__.npy", header((count,)) + bytes(80))
    refused(path, message)


def test_a_file_over_its_limit_is_not_read(path):
    records.save(path, {"x": np.arange(1000.0)}, {})
    size = path.stat().st_size
    assert len(npz.load(path, limit=size)[0]) == 1
    with pytest.raises(records.RecordError, match=f"has {size} bytes.*at most {size - 1} and"):
        npz.load(path, limit=size - 1)


def test_what_unpacks_to_far_more_is_not_unpacked(path):
    path.write_bytes(npz.encode({"x": np.zeros(2_000_000)}, {}))
    size = path.stat().st_size
    assert size * 100 < 16_000_000 < 1_000_000 * 100
    assert len(npz.load(path, limit=1_000_000)[0]) == 1
    with pytest.raises(records.RecordError, match=r"and 16000\d+ unpacked; at most .* are read"):
        npz.load(path, limit=size)
