"""How the models of a unit lie on the devices.

Source: Section 6 and Appendix A.5; chapter 8, *ResNet-18*.
"""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from igrlib.experiments.costs import models
from igrlib.experiments.units import Unit
from igrlib.training import Layout

__all__ = ["layout_of"]

CHUNK = 32
"""Steps that a GPU is given at once."""


def layout_of(unit: Unit, devices: Sequence[Any] | None = None) -> Layout:
    """How a unit lies on `devices`, by default all: never more devices than models.

    A CPU takes one model at a time, and convolutions outside of loops. A GPU takes dense layers of
    all models together, in chunks of steps, and one network with convolutions at a time, which
    fills it; several at once would be grouped convolutions, which are slow.
    """
    found = list(jax.devices() if devices is None else devices)[: models(unit)]
    mesh = Mesh(np.array(found), ("models",))
    convolutions = unit.arm.network.convolutional
    if found[0].platform == "cpu":
        return Layout(mesh, group=1, loop=not convolutions)
    if convolutions:
        return Layout(mesh, group=1)
    return Layout(mesh, group=-(-models(unit) // len(found)), chunk=CHUNK)
