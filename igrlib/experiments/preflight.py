"""What can be known to be wrong with a unit before anything is trained.

Source: not in the paper; the appendix *How to reproduce*.
"""

from igrlib.data import Dataset, Split
from igrlib.experiments.arm import combinations
from igrlib.experiments.building import check_splits
from igrlib.experiments.costs import models
from igrlib.experiments.units import Unit
from igrlib.training.members import Layout
from igrlib.training.memory import available_bytes, check_fits, device_bytes

__all__ = ["check_unit", "memory_of"]


def check_unit(unit: Unit, dataset: Dataset, layout: Layout) -> None:
    """Refuse a unit that cannot be run on these data and devices.

    Raises `ValueError` naming a field, what it is and what is wanted; `MemoryError` with the sum
    where the memory that is free on a device, or with the CPU as the device in all, is too small.
    """
    check_splits(unit.arm, dataset)
    devices, terms = list(layout.mesh.devices.flat), memory_of(unit, dataset, layout)
    if devices[0].platform == "cpu":
        # One memory for all of them, and for the copy that becomes a checkpoint.
        terms = {name: len(devices) * size for name, size in terms.items()}
        terms["checkpoint"] = terms["parameters"] + terms["two chosen copies"]
    free = [b for b in map(available_bytes, devices) if b is not None]
    check_fits(f"unit {unit.name}", terms, min(free, default=None))


def memory_of(unit: Unit, dataset: Dataset, layout: Layout) -> dict[str, int]:
    """Bytes that each device needs for a unit, by what they are for."""
    held = unit.arm.num_train + unit.arm.num_validation
    data = _nbytes(dataset.train, held) + _nbytes(dataset.test, len(dataset.test.labels))
    orders = 4 * len(unit.seeds) * unit.arm.num_train
    return {"orders of examples": orders} | device_bytes(
        unit.arm.network.build(unit.width, dataset.train.images.shape[1:], dataset.scale),
        dataset.train.images[0],
        num_models=-(-models(unit) // layout.block) * layout.group,
        group=layout.group,
        batch_size=unit.batch_size,
        num_matvecs=unit.arm.num_matvecs,
        regularized=any(mu for _, mu, _ in combinations(unit.arm)),
        data=data,
    )


def _nbytes(split: Split, number: int) -> int:
    """Bytes of the first images of a split on a device, their labels 4 bytes each."""
    return number * (split.images[0].nbytes + 4)
