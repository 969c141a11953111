"""igrlib.experiments.layouts: what memory is known of a unit, against the arrays themselves."""

import dataclasses
from types import SimpleNamespace

import jax
import numpy as np
import psutil
import pytest
from helpers import enable_x64
from jax.sharding import Mesh

from igrlib.experiments import data, layouts
from igrlib.experiments.building import build
from igrlib.experiments.ensemble import Ensemble, Layout
from igrlib.experiments.profiles.mlp import MLP_SWEEP
from igrlib.experiments.profiles.resnet import RESNET_SWEEP
from igrlib.experiments.runner import units

ONE = {"num_seeds": (1,), "seeds_per_unit": (1,)}


def is_least(free, unit, dataset, layout, monkeypatch):
    """Whether a unit fits into so many free bytes, and is refused with one less."""

    def fits(number):
        monkeypatch.setattr(layouts, "free_bytes", lambda device: number)
        try:
            layouts.check_fits(unit, dataset, layout)
        except MemoryError:
            return False
        return True

    return fits(free) and not fits(free - 1)


def nbytes(tree):
    return sum(leaf.nbytes for leaf in jax.tree.leaves(tree))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arm", "fields", "group"),
    [
        (MLP_SWEEP["digits"][0], {"widths": (7,), "learning_rates": (0.1, 0.2)}, 3),
        (RESNET_SWEEP["digits"][0], {"widths": (2,), "learning_rates": (0.1,)}, 1),
    ],
)
def test_what_is_refused_is_what_lies_on_the_device(monkeypatch, arm, fields, group):
    init = Ensemble.init

    def zeros(ensemble):
        """To compile what draws random numbers takes longer than all the rest."""
        shapes = jax.eval_shape(lambda: init(ensemble))
        return ensemble.lay(jax.tree.map(lambda s: np.zeros(s.shape, s.dtype), shapes))

    monkeypatch.setattr(Ensemble, "init", zeros)
    (unit,) = units([dataclasses.replace(arm, **ONE, **fields)])
    dataset = data.load("digits")
    layout = Layout(Mesh(np.array(jax.devices()[:1]), ("models",)), group)
    with enable_x64(False):
        sweep = build(unit, dataset, layout)
        held = nbytes((sweep.state.variables, sweep.log.chosen, sweep.log.evaluator.splits))
        assert is_least(held, unit, dataset, layout, monkeypatch)


@dataclasses.dataclass(frozen=True)
class Device:
    platform: str
    id: int = 0


MLPS, RESNETS = MLP_SWEEP["digits"][0], RESNET_SWEEP["digits"][0]
SIX = {"widths": (2,), "learning_rates": (0.1, 0.2), "num_seeds": (3,), "seeds_per_unit": (3,)}


@pytest.mark.parametrize(
    ("arm", "platform", "devices", "asked", "group", "loop", "chunk"),
    [
        # What is chosen: six models on one device, three on each of two, two on each of four.
        (MLPS, "cpu", 2, None, 1, True, 1),
        (RESNETS, "cpu", 2, None, 1, False, 1),
        (MLPS, "gpu", 1, None, 6, True, 32),
        (MLPS, "gpu", 2, None, 3, True, 32),
        (MLPS, "gpu", 4, None, 2, True, 32),
        (MLPS, "gpu", 9, None, 1, True, 32),
        (RESNETS, "gpu", 1, None, 1, True, 1),
        # What is asked for changes the group alone.
        (MLPS, "cpu", 2, 3, 3, True, 1),
        (RESNETS, "cpu", 1, 6, 6, False, 1),
        (MLPS, "gpu", 1, 4, 4, True, 32),
        (MLPS, "gpu", 1, 1, 1, True, 32),
        (RESNETS, "gpu", 2, 2, 2, True, 1),
    ],
)
def test_how_six_models_lie(arm, platform, devices, asked, group, loop, chunk):
    (unit,) = units([dataclasses.replace(arm, **SIX)])
    found = [Device(platform, k) for k in range(devices)]
    layout = layouts.layout_of(unit, found, group=asked)
    assert (layout.group, layout.loop, layout.chunk) == (group, loop, chunk)
    assert layout.mesh.devices.tolist() == found[:6]


def test_a_unit_lies_on_the_devices_of_its_own_host(monkeypatch):
    (unit,) = units([dataclasses.replace(MLPS, **SIX)])
    there, here = ([Device("gpu", k) for k in (first, first + 1)] for first in (0, 2))
    monkeypatch.setattr(jax, "devices", lambda: [*there, *here])
    monkeypatch.setattr(jax, "local_devices", lambda: here)
    assert layouts.layout_of(unit).mesh.devices.tolist() == here


@pytest.mark.parametrize(
    ("devices", "asked", "error", "message"),
    [
        (1, 0, ValueError, "group must be at least 1, got 0"),
        (
            1,
            7,
            ValueError,
            "unit gd-n.*most 6, the models on each of 1 devices, got 7",
        ),
        (
            4,
            3,
            ValueError,
            "unit gd-n.*most 2, the models on each of 4 devices, got 3",
        ),
        (1, True, TypeError, "group must be an integer, got True"),
    ],
)
def test_groups_that_cannot_be(devices, asked, error, message):
    (unit,) = units([dataclasses.replace(MLPS, **SIX)])
    with pytest.raises(error, match=message):
        layouts.layout_of(unit, [Device("gpu", k) for k in range(devices)], group=asked)


def test_on_a_cpu_all_devices_share_one_memory(monkeypatch, without_type_hook):
    (unit,) = units([dataclasses.replace(MLP_SWEEP["digits"][0], **ONE)])
    dataset = data.load("digits")

    def wanted(free, platform, group):
        devices = np.array([SimpleNamespace(platform=platform)] * 2, object)
        mesh = SimpleNamespace(devices=devices, size=2)
        layout = SimpleNamespace(mesh=mesh, group=group, per_round=2 * group)
        return is_least(free, unit, dataset, layout, monkeypatch)

    split = 997 * 68
    model = 4 * (64 * 32 + 32**2 + 32 * 10 + 74)
    # Four models, two on each device.
    assert wanted(2 * split + 3 * 4 * model, "cpu", 1)
    assert wanted(split + 3 * 2 * model, "gpu", 1)
    assert wanted(split + 3 * 2 * model, "gpu", 2)
    # Filled up to three on each.
    assert wanted(split + 3 * 3 * model, "gpu", 3)


def test_the_device_with_the_least_memory_counts(monkeypatch, without_type_hook):
    (unit,) = units([dataclasses.replace(MLP_SWEEP["digits"][0], **ONE)])
    stats = [None, {"bytes_limit": 2**40, "bytes_in_use": 2**40 - 9}, {"bytes_limit": 2**40}]
    for order in (stats, stats[::-1]):
        devices = [SimpleNamespace(platform="gpu", memory_stats=lambda s=s: s) for s in order]
        mesh = SimpleNamespace(devices=np.array(devices, object), size=3)
        with pytest.raises(MemoryError, match=r"and 0\.0 MiB are free"):
            layouts.check_fits(
                unit, data.load("digits"), SimpleNamespace(mesh=mesh, group=2, per_round=6)
            )


def test_what_is_free_is_what_the_device_or_the_system_says():
    stats = {"bytes_limit": 1000, "bytes_in_use": 300}
    assert layouts.free_bytes(SimpleNamespace(platform="gpu", memory_stats=lambda: stats)) == 700
    assert layouts.free_bytes(SimpleNamespace(platform="gpu", memory_stats=lambda: None)) is None
    found, memory = layouts.free_bytes(jax.devices("cpu")[0]), psutil.virtual_memory()
    assert 0 < found <= memory.total
