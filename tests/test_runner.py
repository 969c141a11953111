"""igrlib.experiments.runner: which models of a unit get which mark; a unit that is done twice."""

import numpy as np
import pytest
from helpers.units import shard

from igrlib.experiments import records, runner
from igrlib.experiments.arm import Arm
from igrlib.experiments.folder import Folder
from igrlib.experiments.profiles.mlp import MLP_SWEEP
from igrlib.experiments.runner import _marks

NAN = np.nan
# (best by validation, best by test, end), steps in all, training accuracies, and the marks.
MODELS = {
    "soon, not fitted": ((60, 50, 100), 100, (0.2, 0.99), ()),
    "validation in the last tenth": ((91, 90, 100), 100, (0.2, 0.95), ("censored_validation",)),
    "test in the last tenth": ((90, 91, 100), 100, (0.2, 0.95), ("censored_test",)),
    "both, at the end": (
        (100, 100, 100),
        100,
        (0.2, 0.9),
        ("censored_validation", "censored_test"),
    ),
    "early in a longer run": ((91, 95, 1000), 1000, (0.2, 0.9), ()),
    "fitted at the end": ((10, 10, 100), 100, (0.5, 1.0), ("fitted",)),
    "fitted once": ((10, 10, 100), 100, (1.0, 0.9), ("fitted",)),
    "fitted, then not measured": ((10, 10, 100), 100, (1.0, NAN), ("fitted",)),
    "never measured": ((-1, -1, -1), 100, (NAN, NAN), ()),
    "no validation split": ((-1, 95, 100), 100, (0.2, 0.9), ("censored_test",)),
}


@pytest.mark.parametrize("order", [1, -1])
def test_marks_are_those_of_the_models(order):
    rows = list(MODELS.values())[::order]
    arrays = {
        "chosen_step": np.array([chosen for chosen, *_ in rows]),
        "stop": np.array([stop for _, stop, *_ in rows]),
        "train_accuracy": np.array([accuracies for *_, accuracies, _ in rows]),
    }
    expected = {
        mark: [k for k, (*_, marks) in enumerate(rows) if mark in marks]
        for mark in ("censored_validation", "censored_test", "fitted")
    }
    assert _marks(arrays) == expected


@pytest.mark.parametrize("same", [True, False])
def test_of_a_unit_that_another_process_finished_meanwhile_one_shard_stays(
    tmp_path, monkeypatch, same
):
    """As on a disk without locks: done where the numbers are the same, else refused."""
    unit, folder = runner.units(MLP_SWEEP["digits"])[0], Folder(tmp_path, "mlp-sweep", "digits")
    mine = {"loss": np.array([1.0, NAN]), "diverged": np.array([-1])}
    others = mine if same else mine | {"loss": np.array([1.5, NAN])}

    class Job:
        seconds = 3.0

        def run(self, **_):
            shard(tmp_path, "digits", unit, seconds=7.0, arrays=others)
            return mine

    kind = runner._KINDS[Arm]._replace(job=lambda *_: (Job(), {}), marks=lambda arrays: {})
    monkeypatch.setitem(runner._KINDS, Arm, kind)
    if same:
        assert runner.run_unit(unit, folder) == folder.shard(unit)
    else:
        told = "meanwhile, with other numbers: that shard stays"
        with pytest.raises(records.RecordError, match=told):
            runner.run_unit(unit, folder)
    arrays, meta = records.load(folder.shard(unit))
    np.testing.assert_array_equal(arrays["loss"], others["loss"])
    assert meta["seconds"] == 7.0
    assert list(records.open_record(folder.path).units) == [unit.name]
