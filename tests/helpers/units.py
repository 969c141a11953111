"""Units of the digits that take seconds, made-up shards of units, and equal bits."""

import jax
import numpy as np

from helpers.records import ORIGIN, meta
from igrlib.experiments import records
from igrlib.experiments.folder import Folder

# Three models on two devices, one of them filled up; two learning rates stop before the third.
SETTINGS = {
    "widths": "8",
    "depth": "1",
    "num_seeds": "1",
    "seeds_per_unit": "1",
    "learning_rates": "0.4,0.2,0.1",
    "batch_sizes": "16",
    "num_train": "200",
    "num_validation": "50",
    "min_steps": "1000",
    "max_steps": "4000",
    "physical_time": "400",
    "score_every": "250",
    "num_gradients": "6",
    "points": "",
}


def pairs(settings):
    return [f"{name}={value}" for name, value in settings.items()]


def assert_same_bits(found, wanted):
    assert sorted(found) == sorted(wanted)
    for name, array in wanted.items():
        assert found[name].dtype == array.dtype, name
        assert found[name].shape == array.shape, name
        assert found[name].tobytes() == array.tobytes(), name


def shard(
    out,
    profile,
    unit,
    seconds=100.0,
    arrays=None,
    experiment="mlp-sweep",
    device=None,
    origin=None,
    **config,
):
    """A finished unit, as the runner leaves it."""
    device = {"device": {"kind": device or jax.devices()[0].device_kind}}
    about = meta(
        unit.name,
        experiment=experiment,
        profile=profile,
        dataset={"name": unit.arm.dataset, "fingerprint": "0", "sizes": {}},
        unit_config=unit.config() | config,
        seeds=list(unit.seeds),
        seconds=seconds,
        provenance=ORIGIN | device | (origin or {}),
    )
    if arrays is None:
        steps = list(unit.config()["steps"].values())
        arrays = {"stop": np.repeat(steps, len(unit.seeds))}
    return records.add_unit(Folder(out, experiment, profile).path, unit.name, arrays, about)
