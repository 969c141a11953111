"""Run the units of a profile, one after the other, into a record.

A unit that is done is skipped; one that was stopped goes on from its checkpoint. Signals, progress
bars and exits belong to the command line.

Source: Section 6; chapter 7, *MNIST*.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from igrlib import data, records
from igrlib.experiments.arm import Arm
from igrlib.experiments.claim import claimed
from igrlib.experiments.costs import models
from igrlib.experiments.mlp_sweep import Unit, build, units_of
from igrlib.training.members import Layout

__all__ = [
    "EXPERIMENT",
    "checkpoint_path",
    "finished",
    "layout_of",
    "merge",
    "missing",
    "record_path",
    "run_unit",
    "units",
]

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


def finished(out: Path, profile: str, unit: Unit) -> dict[str, Any] | None:
    """The metadata of a unit's shard, None where the unit is not done.

    Raises `RecordError` for a shard that is damaged, or that was made with another configuration.
    """
    path = record_path(out, profile) / f"{unit.name}.npz"
    if not path.exists():
        return None
    meta = records.load(path)[1]
    was, wanted = meta.get("unit_config", {}), json.loads(json.dumps(unit.config()))
    for field in sorted(was.keys() & wanted.keys()):
        if was[field] != wanted[field]:
            raise records.RecordError(
                f"{path} was recorded with {field} = {was[field]!r}, the profile has "
                f"{wanted[field]!r} now; move it away to run it anew, or name another --out"
            )
    return meta


def missing(out: Path, profile: str, wanted: Iterable[Unit]) -> list[Unit]:
    """The units that have no shard yet; raises `RecordError` as `finished` does."""
    return [unit for unit in wanted if finished(out, profile, unit) is None]


def merge(out: Path, profile: str, expected: Sequence[str] | None = None) -> None:
    """Write the manifest anew from the shards that lie in the record, wherever they were made.

    `expected` names all units of the profile; None keeps the names that the manifest has. Removes
    what killed processes left half written, and checkpoints of units that are done. Raises
    `RecordError` or `OSError`; does nothing where there is no shard.
    """
    folder = record_path(out, profile)
    shards = {path.name for path in folder.glob("[!.]*.npz")}
    for path in (folder, folder / "checkpoints"):
        records.sweep(path)
    for waiting in (folder / "checkpoints").glob("[!.]*.npz"):
        if waiting.name in shards:
            waiting.unlink(missing_ok=True)
    if shards:
        records.rebuild_manifest(folder, expected_units=expected)


def layout_of(unit: Unit, devices: Sequence[Any] | None = None) -> Layout:
    """How a unit lies on `devices`, by default all: no more of them than models.

    A CPU does best with one model at a time, anything else with all of its models together.
    """
    found = list(jax.devices() if devices is None else devices)[: models(unit)]
    group = 1 if found[0].platform == "cpu" else -(-models(unit) // len(found))
    return Layout(Mesh(np.array(found), ("models",)), group=group)


def run_unit(
    unit: Unit,
    layout: Layout,
    out: Path,
    profile: str,
    *,
    expected: Sequence[str] | None = None,
    every: float = 300.0,
    asked_to_stop: Callable[[], bool] = lambda: False,
    progress: Callable[[Unit, int, int, str], None] = lambda unit, done, total, what: None,
) -> Path:
    """Train and measure a unit, write its shard and say where; a unit that is done stays.

    `every` is the number of seconds between two checkpoints; `progress(unit, done, total, what)`
    hears of steps of single models. Raises `igrlib.experiments.sweep.Stopped` when `asked_to_stop`,
    its checkpoint written, `RecordError` for a checkpoint that cannot be gone on from,
    `igrlib.experiments.claim.Claimed` where another process runs it, and `OSError` naming the file
    that cannot be written.
    """
    folder, waiting = record_path(out, profile), checkpoint_path(out, profile, unit)
    with claimed(waiting.with_name(f".{unit.name}.lock"), unit.name):
        # Another process may have finished it since it was found to be missing.
        if finished(out, profile, unit) is None:
            dataset = data.load(unit.arm.dataset)
            sweep = build(unit, dataset, layout)
            provenance = records.provenance()
            laid = {"devices": layout.mesh.size, "group": layout.group, "loop": layout.loop}
            arrays = sweep.run(
                checkpoint=waiting,
                identity={
                    "unit": unit.config(),
                    "dataset": dataset.fingerprint,
                    "versions": provenance["versions"],
                    "device": provenance["device"],
                    "cores": provenance["cpus"],
                    "layout": laid,
                },
                every=every,
                asked_to_stop=asked_to_stop,
                progress=lambda done, what: progress(unit, done, sweep.model_steps, what),
            )
            meta = {
                "experiment": EXPERIMENT,
                "profile": profile,
                "unit": unit.name,
                "dataset": _told(dataset),
                "config": {"model": _model(unit.arm.depth), "loss": "cross entropy"},
                "unit_config": unit.config() | laid,
                "seeds": list(unit.seeds),
                "seconds": round(sweep.seconds, 1),
                "provenance": provenance,
                "diverged": _diverged(arrays["diverged"]),
                "marks": _marks(arrays),
            }
            records.add_unit(folder, unit.name, arrays, meta)
        merge(out, profile, expected)
    return folder / f"{unit.name}.npz"


def _model(depth: int) -> str:
    return f"MLP, {'five' if depth == 5 else depth} hidden layers"


def _told(dataset: data.Dataset) -> dict[str, Any]:
    sizes = {"train": len(dataset.train.labels), "test": len(dataset.test.labels)}
    return {"name": dataset.name, "fingerprint": dataset.fingerprint, "sizes": sizes}


def _diverged(steps: np.ndarray) -> list[dict[str, int]]:
    return [{"member": int(k), "step": int(steps[k])} for k in np.flatnonzero(steps >= 0)]


def _marks(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """Members whose best accuracy came in the last tenth of the run, or that fitted everything."""
    late = arrays["chosen_step"][:, :2] > 0.9 * arrays["stop"][:, None]
    fitted = np.nanmax(np.nan_to_num(arrays["train_accuracy"]), axis=1) == 1
    return {
        "censored_validation": np.flatnonzero(late[:, 0]).tolist(),
        "censored_test": np.flatnonzero(late[:, 1]).tolist(),
        "fitted": np.flatnonzero(fitted).tolist(),
    }
