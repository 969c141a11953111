"""Run a unit of a profile into a record.

A unit that is done stays; a unit that was stopped goes on from its checkpoint.

Source: Section 6; chapter 7, *MNIST*.
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from igrlib.experiments import data, records
from igrlib.experiments.arm import Arm
from igrlib.experiments.building import build
from igrlib.experiments.folder import Folder, claimed
from igrlib.experiments.layouts import layout_of
from igrlib.experiments.networks import num_params
from igrlib.experiments.units import Unit, units_of

__all__ = ["run_unit", "units"]


def units(arms: Iterable[Arm]) -> list[Unit]:
    """The units of all arms in the order in which they run: the first seeds of every arm first."""
    found = [unit for arm in arms for unit in units_of(arm)]
    return sorted(found, key=lambda unit: unit.seeds[0])


def run_unit(
    unit: Unit,
    folder: Folder,
    *,
    group: int | None = None,
    expected: Sequence[str] | None = None,
    every: float = 300.0,
    asked_to_stop: Callable[[], bool] = lambda: False,
    progress: Callable[[Unit, int, int, str], None] = lambda unit, done, total, what: None,
) -> Path:
    """Train and measure a unit, and return the path of its shard; a unit that is done stays.

    `group` goes to `layout_of`. `every`: seconds between two checkpoints; `progress(unit, done,
    total, what)` takes steps of single models. Raises `igrlib.experiments.sweep.Stopped` when
    `asked_to_stop`, its checkpoint written, `RecordError` for a checkpoint of something else,
    `igrlib.experiments.folder.Claimed` where another process runs the unit, and `OSError` naming
    the file that cannot be written.
    """
    waiting = folder.checkpoint(unit)
    with claimed(waiting.with_name(f".{unit.name}.lock"), unit.name):
        # Another process may have finished the unit meanwhile.
        if folder.finished(unit) is None:
            dataset = data.load(unit.arm.dataset)
            layout = layout_of(unit, group=group)
            sweep = build(unit, dataset, layout)
            provenance = records.provenance()
            laid = {"devices": layout.mesh.size, "group": layout.group, "loop": layout.loop}
            laid |= {"chunk": layout.chunk} if layout.chunk > 1 else {}
            arrays = sweep.run(
                checkpoint=waiting,
                identity={
                    "unit": unit.config(),
                    "dataset": dataset.fingerprint,
                    "versions": provenance["versions"],
                    "device": provenance["device"],
                    "cores": provenance["cpus"],
                    "layout": laid,
                    "precision": provenance["precision"],
                    "xla_flags": provenance["xla_flags"],
                },
                every=every,
                asked_to_stop=asked_to_stop,
                progress=lambda done, what: progress(unit, done, unit.model_steps, what),
            )
            network = unit.arm.network
            of_network = {
                "num_params": num_params(network, unit.width, unit.arm.dataset),
                "smooth": network.smooth,
            }
            meta = {
                "experiment": folder.experiment,
                "profile": folder.profile,
                "unit": unit.name,
                "dataset": {
                    "name": dataset.name,
                    "fingerprint": dataset.fingerprint,
                    "sizes": {"train": len(dataset.train.labels), "test": len(dataset.test.labels)},
                },
                "config": {"model": network.label, "loss": "cross entropy"},
                "unit_config": unit.config() | laid | of_network,
                "seeds": list(unit.seeds),
                "seconds": round(sweep.seconds, 1),
                "provenance": provenance,
                "diverged": [
                    {"member": k, "step": step}
                    for k, step in enumerate(arrays["diverged"].tolist())
                    if step >= 0
                ],
                "marks": _marks(arrays),
            }
            records.add_unit(folder.path, unit.name, arrays, meta)
        folder.merge(expected)
    return folder.shard(unit)


def _marks(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """Members whose best accuracy came in the last tenth of the run, or that fitted everything."""
    late = arrays["chosen_step"][:, :2] > 0.9 * arrays["stop"][:, None]
    fitted = np.nanmax(np.nan_to_num(arrays["train_accuracy"]), axis=1) == 1
    return {
        "censored_validation": np.flatnonzero(late[:, 0]).tolist(),
        "censored_test": np.flatnonzero(late[:, 1]).tolist(),
        "fitted": np.flatnonzero(fitted).tolist(),
    }
