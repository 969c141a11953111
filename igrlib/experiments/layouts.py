"""How the models of a unit lie on the devices, and whether they can.

Source: Section 6 and Appendix A.5; chapter 8, *ResNet-18*.
"""

from collections.abc import Sequence
from typing import Any

import jax

from igrlib.experiments._extras import needed
from igrlib.experiments.data import Dataset
from igrlib.experiments.ensemble import Layout
from igrlib.experiments.units import Unit

__all__ = ["check_fits", "free_bytes", "layout_of", "least_free"]


def layout_of(
    unit: Unit, devices: Sequence[Any] | None = None, *, group: int | None = None
) -> Layout:
    """How a unit lies on `devices`, by default all, as `Layout.of` has it and with its errors."""
    convolutional = unit.arm.network.convolutional
    try:
        return Layout.of(unit.models, devices, group=group, convolutional=convolutional)
    except ValueError as error:
        raise ValueError(f"unit {unit.name}: {error}") from error


def free_bytes(device: Any) -> int | None:
    """The free bytes of a JAX device, None if unknown. For a CPU: the free bytes of the machine."""
    if device.platform == "cpu":
        return needed("psutil").virtual_memory().available
    stats = device.memory_stats() or {}
    limit = stats.get("bytes_limit")
    return None if limit is None else limit - stats.get("bytes_in_use", 0)


def least_free(devices: Sequence[Any] | None = None) -> int | None:
    """The free bytes of the device, by default of all, that has the least; None if unknown."""
    found = map(free_bytes, jax.devices() if devices is None else devices)
    return min((free for free in found if free is not None), default=None)


def check_fits(unit: Unit, dataset: Dataset, layout: Layout) -> None:
    """Raise `MemoryError` where the splits and the models of a unit alone exceed the free memory.

    Memory holds each model three times: as trained, and as chosen by validation and test accuracy.
    What a step needs besides is known only once it is compiled.
    """
    key = jax.eval_shape(lambda: jax.random.key(0))
    variables = jax.eval_shape(unit.classifier(dataset).start, key)
    model = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(variables))
    images = unit.arm.num_train + unit.arm.num_validation + len(dataset.test.labels)
    # Labels are kept in 4 bytes; a device fills up its last group.
    data = images * (dataset.train.images[0].nbytes + 4)
    copies = 3 * model * layout.group * -(-unit.models // layout.per_round)
    devices = list(layout.mesh.devices.flat)
    if devices[0].platform == "cpu":  # One memory for all of them.
        data, copies = len(devices) * data, len(devices) * copies
    free = least_free(devices)
    if free is not None and data + copies > free:
        data, copies, total, left = (
            f"{b / 2**20:,.1f}" for b in (data, copies, data + copies, free)
        )
        raise MemoryError(
            f"unit {unit.name} needs data {data} + three copies of the parameters {copies} = "
            f"{total} MiB, and {left} MiB are free: set fewer seeds_per_unit or learning_rates, "
            "or smaller widths, or take a device with more memory"
        )
