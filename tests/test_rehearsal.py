"""The rehearsal of the chapters: what is made up is a record, and a broken chapter is told."""

import shutil

import nbformat
import nbformat.v4 as nbf
import numpy as np
import pytest
import rehearse

from igrlib.experiments import records, runner, verdicts
from igrlib.experiments.path_table import path_of
from igrlib.experiments.profiles import EXPERIMENTS
from igrlib.experiments.schema import DIMENSIONS
from igrlib.experiments.table import missing_units, preferred, table_of

REAL = rehearse.BOOK / "results"


@pytest.fixture
def results(tmp_path):
    """A folder with the recorded ResNets."""
    for profile in ("cpu", "gpu"):
        name = f"resnet-sweep-{profile}"
        shutil.copytree(REAL / name, tmp_path / "results" / name)
    return tmp_path / "results"


def test_a_made_up_record_is_whole_and_can_be_judged(results):
    made = rehearse.make_up(results, rehearse.shards_in(results), "resnet-sweep", "paper")
    names = ["sgd-n0064-b00512-s00-00", "sgd-n0064-b00512-s01-01", "sgd-n0064-b00512-s02-02"]
    assert sorted(made.units) == list(made.expected) == names
    assert missing_units(made, "sgd") == ()
    there = records.open_records(results, "resnet-sweep", ("paper", "gpu"))
    assert preferred(there, "sgd", there).directory == made.directory
    assert made.directory == results / "resnet-sweep-paper"
    table = table_of(made, "sgd")
    assert table["stop"].values.tolist() == 3 * [5 * [40_000]]
    assert np.unique(table["learning_rate"]).tolist() == [0.005, 0.01, 0.05, 0.1, 0.2]
    assert [verdict.trend.blocks for verdict in verdicts.judge(made)] == 4 * [3]
    for unit in made.units.values():
        assert unit.meta["provenance"]["commit"] == {"hash": 40 * "0", "dirty": True}
        assert unit.meta["provenance"]["device"]["kind"] == "made up"


def test_it_is_of_the_form_of_real_ones():
    """A unit of `mlp-sweep` `paper` that a GPU has run, beside one made up of others."""
    real = records.open_record(REAL / "mlp-sweep-paper").units["sgd-n0050-b00032-s00-02"]
    others = [
        shard
        for name in ("mlp-sweep-cpu", "edge-sweep-cpu")
        for shard in records.open_record(REAL / name).units.values()
    ]
    (unit,) = [u for u in runner.units(EXPERIMENTS["mlp-sweep"]["paper"]) if u.name == real.name]
    arrays, meta = rehearse.made_up(unit, others, "mlp-sweep", "paper")
    assert arrays.keys() >= real.arrays.keys()
    assert arrays.keys() - real.arrays.keys() <= DIMENSIONS.keys()
    for name, array in real.arrays.items():
        made = arrays[name]
        assert made.shape == array.shape
        assert made.dtype.kind == array.dtype.kind
        # Measured wherever a real run is, but for losses that it does not come to.
        if array.dtype.kind == "f" and not name.startswith("crossing"):
            sound = real.arrays["diverged"] < 0
            rows = sound if array.shape[0] == len(sound) else slice(None)
            np.testing.assert_array_equal(np.isfinite(made[rows]), np.isfinite(array[rows]))
    for name in ("learning_rate", "seed", "mu", "stop", "score_step", "gradient_step", "level"):
        np.testing.assert_array_equal(arrays[name], real.arrays[name])
    assert meta.keys() == real.meta.keys()
    assert (
        meta["unit_config"].items() >= {"width": 50, "batch_size": 32, "num_params": 49_960}.items()
    )
    assert meta["dataset"] == real.meta["dataset"]


def test_a_made_up_path(tmp_path):
    shards = records.open_record(REAL / "edge-sweep-cpu").units
    (unit,) = [
        u
        for u in runner.units(EXPERIMENTS["edge-sweep"]["paper"])
        if u.name == "path-gelu-n0200-h0.05-s01"
    ]
    arrays, meta = rehearse.made_up(unit, list(shards.values()), "edge-sweep", "paper")
    real = shards["path-gelu-n0050-h0.05-s00"].arrays
    assert arrays.keys() == real.keys()
    assert [arrays[name].ndim for name in real] == [array.ndim for array in real.values()]
    records.add_unit(tmp_path / "made", unit.name, arrays, meta)
    path = path_of(records.open_record(tmp_path / "made"), unit.name)
    # T = 30 in steps of 0.05, looked at after every fourth.
    assert path.sizes == {"step": 601, "saved": 151, "flow": 5, "direction": 4}
    assert path.attrs["width"] == 200
    assert np.isfinite(path["loss"]).all()


def test_nothing_is_made_up_in_the_book_itself():
    before = sorted(REAL.iterdir())
    with pytest.raises(ValueError, match="must be a copy"):
        rehearse.make_up(REAL, [], "resnet-sweep", "paper")
    assert sorted(REAL.iterdir()) == before


CELLS = {
    "claims": 'assert 1 + 1 == 3, "no"\nnp.testing.assert_allclose(1, 2)\nprint("goes on")',
    "in a function": "def f():\n    assert False\n    return 5\nfive = f()",
    "broken": '{"cpu": five}["paper"]',
    "an assert that cannot be asked": "assert missing > 0",
    "a warning": 'import warnings\nwarnings.warn("nothing is there", stacklevel=1)',
}


def test_a_broken_chapter_is_told(tmp_path, monkeypatch, capsys):
    """A whole run of a book of one chapter: claims are told, faults end with status 1."""
    book = tmp_path / "book"
    (book / "results").mkdir(parents=True)
    first = 'from pathlib import Path\nimport numpy as np\nRESULTS = Path("results")'
    cells = [nbf.new_markdown_cell("# A"), *map(nbf.new_code_cell, (first, *CELLS.values()))]
    nbformat.write(nbf.new_notebook(cells=cells), book / "a.ipynb")
    nbformat.write(nbf.new_notebook(cells=[nbf.new_code_cell("1 / 0")]), book / "b.ipynb")
    monkeypatch.setattr(rehearse, "BOOK", book)
    monkeypatch.setattr(rehearse, "COPY", tmp_path / "copy")
    monkeypatch.setattr(rehearse, "EXPERIMENTS", {"none": {"cpu": ()}})
    monkeypatch.setattr("sys.argv", ["rehearse.py"])
    with pytest.raises(SystemExit) as stopped:
        rehearse.main()
    told = stopped.value.code.splitlines()
    assert told.pop(2).startswith("a, cell 7: to stderr: ")
    assert told == [
        "a, cell 5: KeyError: 'paper'",
        "a, cell 6: NameError: name 'missing' is not defined",
        "3 faults",
    ]
    claims = [line for line in capsys.readouterr().out.splitlines() if "claim" in line]
    assert claims == [
        "a, cell 3: a claim that fails: assert 1 + 1 == 3, 'no'",
        "a, cell 3: a claim that fails: np.testing.assert_allclose(1, 2)",
        "a, cell 4: a claim that fails: assert False",
    ]
