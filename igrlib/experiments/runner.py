"""Run a unit of a profile into a record.

A finished unit is not run again. A stopped unit continues from its checkpoint.

Source: Section 6; chapter 7, *MNIST*.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from igrlib.experiments import data, records
from igrlib.experiments.arm import Arm
from igrlib.experiments.building import build, check_splits
from igrlib.experiments.data import Dataset
from igrlib.experiments.folder import Folder, claimed
from igrlib.experiments.following import Following, check_images, marks_of
from igrlib.experiments.job import Job
from igrlib.experiments.layouts import check_fits, layout_of
from igrlib.experiments.networks import num_params
from igrlib.experiments.paths import PathArm, PathUnit, paths_of
from igrlib.experiments.units import OF_THE_ARM, Unit, units_of

__all__ = ["check", "less", "run_unit", "units"]


class _Kind(NamedTuple):
    """What the runner must know about a kind of arm.

    units(arm): its units. check(unit, dataset, group): raises before anything runs. job(unit,
    dataset, group): the job that computes, and its layout on the devices as entries of a record.
    marks(arrays): the marks of the finished unit. less: what to do where memory is short.
    """

    units: Callable[[Any], Iterator[Any]]
    check: Callable[[Any, Dataset, int | None], None]
    job: Callable[[Any, Dataset, int | None], tuple[Job, dict[str, Any]]]
    marks: Callable[[dict[str, np.ndarray]], dict[str, Any]]
    less: str


def units(arms: Iterable[Arm | PathArm]) -> list[Unit | PathUnit]:
    """The units of all arms in the order in which they run.

    Sweeps run before single runs. Within each kind, units with smaller first seeds run first.
    """
    found = [unit for arm in arms for unit in _KINDS[type(arm)].units(arm)]
    return sorted(found, key=lambda unit: (list(_KINDS).index(type(unit.arm)), unit.seeds[0]))


def check(unit: Unit | PathUnit, dataset: Dataset, *, group: int | None = None) -> None:
    """Raise `ValueError` or `MemoryError` for a unit that cannot run on `dataset` on this machine.

    `group` is as in `run_unit`.
    """
    _KINDS[type(unit.arm)].check(unit, dataset, group)


def less(unit: Unit | PathUnit) -> str:
    """Advice, in words, for a unit that runs out of memory."""
    return _KINDS[type(unit.arm)].less


def run_unit(
    unit: Unit | PathUnit,
    folder: Folder,
    *,
    group: int | None = None,
    expected: Sequence[str] | None = None,
    every: float = 300.0,
    asked_to_stop: Callable[[], bool] = lambda: False,
    progress: Callable[[Any, int, int, str], None] = lambda unit, done, total, what: None,
) -> Path:
    """Train and measure a unit, write its shard and return the path of the shard.

    A finished unit is not run again. group: models that a device trains together, see `layout_of`.
    expected: the names of all units of the profile, for the manifest. every: seconds between two
    checkpoints. asked_to_stop: called often; true ends the run. progress(unit, done, total, what):
    called often; `done` and `total` count the steps of single models.

    Raises `igrlib.experiments.job.Stopped` after `asked_to_stop` was true and the checkpoint is
    written. Raises `RecordError` where the checkpoint belongs to another configuration, or where
    another process has finished the unit meanwhile with other numbers. Raises
    `igrlib.experiments.folder.Claimed` where another process runs the unit, and `OSError`, which
    names the file, where a file cannot be written.

    Source: Section 6; chapter 7, *MNIST*.
    """
    waiting = folder.checkpoint(unit)
    lock = waiting.with_name(f".{unit.name}.lock")
    # By default a GPU rounds factors to ten bits, in measurements too. Steps set their precision.
    with claimed(lock, unit.name), jax.default_matmul_precision("highest"):
        # Another process may have finished the unit meanwhile.
        if folder.finished(unit) is None:
            dataset = data.load(unit.arm.dataset)
            kind = _KINDS[type(unit.arm)]
            provenance = records.provenance()
            job, laid = kind.job(unit, dataset, group)
            arrays = job.run(
                checkpoint=waiting,
                identity={
                    "unit": {k: v for k, v in unit.config().items() if k not in OF_THE_ARM},
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
                "seconds": round(job.seconds, 1),
                "provenance": provenance,
                "diverged": [
                    {"member": k, "step": step}
                    for k, step in enumerate(arrays["diverged"].tolist())
                    if step >= 0
                ],
                "marks": kind.marks(arrays),
            }
            try:
                records.add_unit(folder.path, unit.name, arrays, meta)
            except records.RecordError:
                if folder.finished(unit) is None:
                    raise
                _check_same(folder.shard(unit), arrays)
        folder.merge(expected)
    return folder.shard(unit)


def _check_same(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Raise `RecordError` where another process has meanwhile written a shard with other numbers.

    This can happen where locks do nothing, as on some disks that several machines share.
    """
    found, _ = records.load(path)
    bits, others = ({name: a.tobytes() for name, a in of.items()} for of in (arrays, found))
    if bits != others:
        raise records.RecordError(
            f"another process has finished {path} meanwhile, with other numbers: that shard stays,"
            " and the numbers computed here are discarded; on this disk run each unit in one"
            " process only"
        )


def _check_sweep(unit: Unit, dataset: Dataset, group: int | None) -> None:
    check_splits(unit.arm, dataset)
    check_fits(unit, dataset, layout_of(unit, group=group))


def _sweep(unit: Unit, dataset: Dataset, group: int | None) -> tuple[Job, dict[str, Any]]:
    layout = layout_of(unit, group=group)
    laid = {"devices": layout.mesh.size, "group": layout.group, "loop": layout.loop}
    laid |= {"chunk": layout.chunk} if layout.chunk > 1 else {}
    return build(unit, dataset, layout), laid


def _marks(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """Members with their best accuracy in the last tenth of the run, and those that fitted all."""
    late = arrays["chosen_step"][:, :2] > 0.9 * arrays["stop"][:, None]
    fitted = np.nanmax(np.nan_to_num(arrays["train_accuracy"]), axis=1) == 1
    return {
        "censored_validation": np.flatnonzero(late[:, 0]).tolist(),
        "censored_test": np.flatnonzero(late[:, 1]).tolist(),
        "fitted": np.flatnonzero(fitted).tolist(),
    }


_KINDS: dict[type[Any], _Kind] = {
    Arm: _Kind(
        units_of,
        _check_sweep,
        _sweep,
        _marks,
        "take a smaller --group, or set fewer seeds_per_unit or learning_rates, or smaller widths"
        " or batch_sizes",
    ),
    PathArm: _Kind(
        paths_of,
        lambda unit, dataset, _: check_images(unit.arm, dataset),
        lambda unit, dataset, _: (Following(unit, dataset), {}),
        marks_of,
        "set smaller widths or num_train, or fewer flows",
    ),
}
"""The kinds of arms in the order in which they run. A new kind needs an entry here."""
