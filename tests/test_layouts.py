"""igrlib.experiments.layouts: what is tried, what is chosen, and that a choice stays."""

import json
import math

import jax
import numpy as np
import pytest
from jax.sharding import Mesh
from test_arm import changed

from igrlib import data
from igrlib.experiments import layouts, runner
from igrlib.experiments.folder import Folder
from igrlib.training import Layout

ONE_SEED = {"num_seeds": (1,), "min_steps": 30, "max_steps": 30}
RATES = (0.1, 0.05, 0.02, 0.01, 0.005)


class Device:
    """As much of a JAX device as a layout looks at."""

    def __init__(self, number, platform):
        self.platform, self.id = platform, number


@pytest.fixture
def mesh(monkeypatch, without_type_hook):
    class AnyMesh:
        def __init__(self, devices, names):
            self.devices, self.axis_names, self.size = devices, names, devices.size

    monkeypatch.setattr(layouts, "Mesh", AnyMesh)


def one_unit(**changes):
    (unit,) = runner.units([changed(**ONE_SEED | {"learning_rates": RATES} | changes)])
    return unit


@pytest.mark.parametrize(
    ("platform", "count", "size", "group"),
    [("cpu", 2, 2, 1), ("cpu", 64, 5, 1), ("gpu", 1, 1, 5), ("gpu", 2, 2, 3)],
)
def test_a_unit_is_laid_over_the_devices(mesh, platform, count, size, group):
    devices = [Device(k, platform) for k in range(count)]
    layout = layouts.layout_of(one_unit(), devices)
    assert (layout.mesh.size, layout.group, layout.loop) == (size, group, True)
    assert len(layouts.candidates(one_unit(), devices)) == 1
    # On a CPU convolutions do badly inside of a loop; elsewhere every way gets its trial.
    found = layouts.candidates(one_unit(model="resnet18", stem="cifar"), devices)
    ways = [(way.mesh.size, way.group, way.loop) for way in found.values()]
    if platform == "cpu":
        assert ways == [(size, 1, False)]
    else:
        expected = [(size, k, loop) for k in (1, group) for loop in (True, False)]
        assert ways == expected
        assert list(found) == [
            "one by one, in a loop",
            "one by one, step by step",
            "together, in a loop",
            "together, step by step",
        ]


def four(unit):
    """What a GPU would be asked, on the devices that there are."""
    mesh = layouts.layout_of(unit).mesh
    return {
        f"{group} {loop}": Layout(mesh, group=group, loop=loop)
        for group in (1, 2)
        for loop in (True, False)
    }


def test_the_quickest_that_fits_is_chosen_once_for_all_seeds(tmp_path):
    unit, digits, tried, said = one_unit(), data.load("digits"), [], []
    times = {(1, True): 3e-3, (1, False): 2e-3, (2, True): 1e-3, (2, False): 0.5e-3}

    def seconds(unit, dataset, layout):
        tried.append((layout.group, layout.loop))
        if tried[-1] == (2, False):
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory")
        return times[tried[-1]]

    def choose(unit):
        return layouts.chosen_layout(
            unit, digits, tmp_path, layouts=four(unit), seconds=seconds, say=said.append
        )

    layout, found = choose(unit)
    assert (layout.group, layout.loop) == (2, True)
    assert found == {"1 True": 3e-3, "1 False": 2e-3, "2 True": 1e-3, "2 False": None}
    assert tried == list(times)
    assert said[2:] == [
        "5 models 2 True: 1 ms for a step of a model",
        "5 models 2 False: does not fit",
    ]
    # Another seed and other rates: the same work, and no trial.
    other = one_unit(learning_rates=(0.5, 0.4, 0.3, 0.2, 0.1))
    assert choose(other) == (layout, found)
    assert len(tried) == 4
    # Another width: its own.
    choose(one_unit(widths=(9,)))
    assert len(tried) == 8
    # A file that was damaged is as none.
    for path in tmp_path.iterdir():
        path.write_text(path.read_text().replace("0.001", "-1"))
    assert choose(unit) == (layout, found)
    assert len(tried) == 12
    for path in tmp_path.iterdir():
        path.write_bytes(path.read_bytes()[:-9])
    choose(unit)
    assert len(tried) == 16


def test_what_would_not_fit_later_is_not_tried(tmp_path, monkeypatch):
    """Measuring takes more memory than a step: what `igr run` would refuse is no candidate."""
    unit, tried = one_unit(), []

    def check(unit, dataset, layout):
        if layout.group > 1:
            raise MemoryError("too large")

    def seconds(unit, dataset, layout):
        tried.append(layout.group)
        return 1.0 / layout.group

    def choose():
        return layouts.chosen_layout(
            unit, data.load("digits"), tmp_path, layouts=four(unit), seconds=seconds
        )

    monkeypatch.setattr(layouts, "check_unit", check)
    layout, found = choose()
    assert (layout.group, tried) == (1, [1, 1])
    assert found["2 True"] is found["2 False"] is None
    # What is kept is told again in the same way, and not for ever.
    assert choose() == (layout, found)
    assert len(tried) == 2
    monkeypatch.setattr(layouts, "check_unit", lambda *_: None)
    assert choose()[0].group == 2
    assert len(tried) == 6


def test_where_nothing_fits_that_is_said_and_other_errors_pass(tmp_path):
    unit, digits = one_unit(), data.load("digits")

    def too_large(*_):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory")

    def broken(*_):
        raise jax.errors.JaxRuntimeError("INTERNAL: something else")

    with pytest.raises(MemoryError, match=unit.name):
        layouts.chosen_layout(unit, digits, tmp_path, layouts=four(unit), seconds=too_large)
    with pytest.raises(jax.errors.JaxRuntimeError, match="INTERNAL"):
        layouts.chosen_layout(unit, digits, tmp_path, layouts=four(unit), seconds=broken)
    assert not list(tmp_path.iterdir())


def test_a_trial_takes_real_steps_and_tells_the_time_of_one(monkeypatch):
    """A clock that counts: each call of `advance` costs 1, and 10 more for every step of it."""
    unit, clock, asked = one_unit(), [0.0], []
    make = layouts.ensemble_of

    def watched(*args):
        ensemble = make(*args)
        advance = ensemble.advance

        def counted(state, first, last):
            asked.append((first, last))
            clock[0] += 1 + 0.01 * (last - first)
            return advance(state, first, last)

        ensemble.advance = counted
        return ensemble

    monkeypatch.setattr(layouts, "ensemble_of", watched)
    monkeypatch.setattr(layouts.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(layouts, "TRIAL", 1e6)
    found = layouts.seconds_of(unit, data.load("digits"), layouts.layout_of(unit))
    # Never beyond the end of training, where a step costs nothing.
    assert asked == [(0, 1), (0, 1), (0, 30), (0, 30)]
    assert found == pytest.approx((1 + 0.3) / 30 / 5)


@pytest.mark.usefixtures("without_type_hook")
def test_a_unit_runs_in_the_layout_found_and_says_so_in_its_shard(tmp_path, monkeypatch):
    unit = one_unit()
    monkeypatch.setattr(layouts, "candidates", lambda unit, devices=None: four_of(unit))
    monkeypatch.setattr(layouts, "seconds_of", lambda u, d, layout: 1.0 / layout.group)

    def four_of(unit):
        mesh = Mesh(np.array(jax.devices()[:1]), ("models",))
        return {str(k): Layout(mesh, group=k) for k in (1, 5)}

    folder, said = Folder(tmp_path, "mlp-sweep", "digits"), []
    runner.run_unit(unit, folder, say=said.append)
    meta = folder.finished(unit)
    assert meta["unit_config"]["layout_seconds"] == {"1": 1.0, "5": 0.2}
    assert (meta["unit_config"]["group"], meta["unit_config"]["loop"]) == (5, True)
    assert len(said) == 2
    (path,) = (folder.path / "checkpoints").glob("layout-*.json")
    kept = json.loads(path.read_text())
    assert kept["of"]["models"] == 5
    assert math.isclose(kept["seconds"]["5"], 0.2)
