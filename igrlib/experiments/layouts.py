"""How the models of a unit lie on the devices, and whether they can.

Source: Section 6 and Appendix A.5; chapter 8, *ResNet-18*.
"""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from igrlib._checks import check_integer
from igrlib.experiments._extras import needed
from igrlib.experiments.data import Dataset
from igrlib.experiments.ensemble import Layout
from igrlib.experiments.units import Unit

__all__ = ["LESS", "check_fits", "free_bytes", "layout_of"]

CHUNK = 32
"""Steps in a chunk on a GPU."""
LESS = "train fewer seeds or learning rates together, or a smaller width or batch"
"""What takes less memory."""


def layout_of(
    unit: Unit, devices: Sequence[Any] | None = None, *, group: int | None = None
) -> Layout:
    """How a unit lies on `devices`, by default all: never more devices than models.

    A CPU takes one model at a time, and convolutions outside of loops. A GPU takes dense layers of
    all models together, in chunks of steps, and one network with convolutions at a time, which
    fills the GPU; several would be grouped convolutions, which are slow. With `group`, each device
    takes that many models together. Raises `TypeError` or `ValueError` unless `group` is an integer
    ≥ 1 and at most the models of a device.
    """
    found = list(jax.devices() if devices is None else devices)[: unit.models]
    most = -(-unit.models // len(found))
    cpu, convolutions = found[0].platform == "cpu", unit.arm.network.convolutional
    if group is None:
        group = 1 if cpu or convolutions else most
    if check_integer("group", group, low=1) > most:
        raise ValueError(
            f"group must be at most {most}, the models of unit {unit.name} on each of "
            f"{len(found)} devices, got {group}"
        )
    mesh = Mesh(np.array(found), ("models",))
    chunk = 1 if cpu or convolutions else CHUNK
    return Layout(mesh, group, loop=not (cpu and convolutions), chunk=chunk)


def free_bytes(device: Any) -> int | None:
    """The free bytes of a JAX device, for a CPU those of the machine; None if unknown."""
    if device.platform == "cpu":
        return needed("psutil").virtual_memory().available
    stats = device.memory_stats() or {}
    limit = stats.get("bytes_limit")
    return None if limit is None else limit - stats.get("bytes_in_use", 0)


def check_fits(unit: Unit, dataset: Dataset, layout: Layout) -> None:
    """Raise `MemoryError` where even the splits and the models of a unit exceed what is free.

    Each model lies there three times: as trained, and as chosen by validation and test accuracy.
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
    free = min((b for b in map(free_bytes, devices) if b is not None), default=None)
    if free is not None and data + copies > free:
        data, copies, total, left = (
            f"{b / 2**20:,.1f}" for b in (data, copies, data + copies, free)
        )
        raise MemoryError(
            f"unit {unit.name} needs data {data} + three copies of the parameters {copies} = "
            f"{total} MiB, and {left} MiB are free: {LESS}"
        )
