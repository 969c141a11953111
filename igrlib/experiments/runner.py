"""Run the units of a profile, one after the other, into a record.

A unit that is done is skipped; one that was stopped goes on from its checkpoint. Signals, progress
bars and exits belong to the command line.

Source: Section 6; chapter 7, *MNIST*.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from igrlib import data, records
from igrlib.experiments.mlp_sweep import Arm, Unit, build, units_of
from igrlib.training.ensemble import Layout

__all__ = ["EXPERIMENT", "checkpoint_path", "missing", "record_path", "run_unit", "units"]

EXPERIMENT = "mlp-sweep"


def units(arms: Iterable[Arm]) -> list[Unit]:
    """The units of all arms in the order in which they are run: first seeds of every arm first."""
    found = [unit for arm in arms for unit in units_of(arm)]
    return sorted(found, key=lambda unit: unit.seeds[0])


def record_path(out: Path, profile: str) -> Path:
    """Where the record of a profile lies in the folder of results."""
    return out / f"{EXPERIMENT}-{profile}"


def checkpoint_path(out: Path, profile: str, unit: Unit) -> Path:
    """Where a unit that was stopped waits."""
    return record_path(out, profile) / "checkpoints" / f"{unit.name}.npz"


def missing(out: Path, profile: str, wanted: Iterable[Unit]) -> list[Unit]:
    """The units that have no shard yet."""
    folder = record_path(out, profile)
    return [unit for unit in wanted if not (folder / f"{unit.name}.npz").exists()]


def run_unit(
    unit: Unit,
    layout: Layout,
    out: Path,
    profile: str,
    *,
    expected: Iterable[str] = (),
    every: float = 300.0,
    asked_to_stop: Callable[[], bool] = lambda: False,
    progress: Callable[[Unit, int, int, str], None] = lambda unit, done, total, what: None,
) -> Path:
    """Train and measure a unit, write its shard and say where.

    `progress(unit, done, total, what)` hears of steps of single models. Raises
    `igrlib.experiments.sweep.Stopped` when `asked_to_stop`, its checkpoint written, and
    `RecordError` for a checkpoint that cannot be gone on from.
    """
    dataset = data.load(unit.arm.dataset)
    sweep = build(unit, dataset, layout)
    waiting = checkpoint_path(out, profile, unit)
    waiting.parent.mkdir(parents=True, exist_ok=True)
    records.sweep(waiting.parent)
    provenance = records.provenance()
    identity = {
        "unit": unit.config(),
        "dataset": dataset.fingerprint,
        "versions": provenance["versions"],
        "device": provenance["device"],
        "cores": provenance["cpus"],
        "layout": {"devices": layout.mesh.size, "group": layout.group, "loop": layout.loop},
    }
    arrays = sweep.run(
        checkpoint=waiting,
        identity=identity,
        every=every,
        asked_to_stop=asked_to_stop,
        progress=lambda done, what: progress(unit, done, sweep.model_steps, what),
    )
    meta = {
        "experiment": EXPERIMENT,
        "profile": profile,
        "unit": unit.name,
        "dataset": {
            "name": dataset.name,
            "fingerprint": dataset.fingerprint,
            "sizes": {"train": len(dataset.train.labels), "test": len(dataset.test.labels)},
        },
        "config": {"model": "MLP, five hidden layers", "loss": "cross entropy"},
        "unit_config": unit.config() | identity["layout"],
        "seeds": list(unit.seeds),
        "seconds": round(sweep.seconds, 1),
        "provenance": provenance,
        "diverged": _diverged(arrays["diverged"]),
        "marks": _marks(arrays),
    }
    folder = record_path(out, profile)
    shard = records.add_unit(folder, unit.name, arrays, meta)
    if expected:
        records.rebuild_manifest(folder, expected_units=list(expected))
    waiting.unlink(missing_ok=True)
    return shard


def _diverged(steps: np.ndarray) -> list[dict[str, int]]:
    return [{"member": int(k), "step": int(steps[k])} for k in np.flatnonzero(steps >= 0)]


def _marks(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """Members whose best accuracy lies in the last tenth of their run, or that fitted all examples."""
    late = arrays["chosen_step"][:, :2] > 0.9 * arrays["stop"][:, None]
    fitted = np.nanmax(np.nan_to_num(arrays["train_accuracy"]), axis=1) == 1
    return {
        "censored_validation": np.flatnonzero(late[:, 0]).tolist(),
        "censored_test": np.flatnonzero(late[:, 1]).tolist(),
        "fitted": np.flatnonzero(fitted).tolist(),
    }
