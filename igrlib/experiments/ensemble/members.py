"""The parts of an ensemble besides its network: members, layout over devices, state.

Source: Section 6 and Appendix A.5; chapter 7, *MNIST*.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array

from igrlib._checks import check_integer
from igrlib._typing import PyTree
from igrlib.experiments.networks.model import Variables

__all__ = ["Layout", "Members", "State"]

CHUNK = 32
"""The number of steps in a chunk on a GPU."""


@dataclass(frozen=True)
class Members:
    """What varies inside an ensemble. Every field has one entry for each model.

    learning_rates: h > 0; seeds: ≥ 0, for the initial parameters and the order of the examples;
    stops: ≥ 0, the number of steps; mus: ≥ 0, the explicit regularization rates. Steps use learning
    rates and mus in float32. Raises `TypeError` or `ValueError`, which name the field, the model
    and the value.

    Source: Section 6 and eq. (8); chapter 7, *MNIST*.

    Example:
        >>> from igrlib.experiments.ensemble import Members
        >>> Members.grid((0.1, 0.05), seeds=(0, 1), stop=100).seeds
        (0, 0, 1, 1)
    """

    learning_rates: tuple[float, ...]
    seeds: tuple[int, ...]
    stops: tuple[int, ...]
    mus: tuple[float, ...]

    def __post_init__(self) -> None:
        sizes = {name: len(getattr(self, name)) for name in self.__dataclass_fields__}
        if len(set(sizes.values())) != 1 or not self.seeds:
            raise ValueError(
                f"members must have fields of one length, at least 1, got the lengths {sizes}"
            )
        for k, h in enumerate(self.learning_rates):
            if not (np.isfinite(h) and h > 0):
                raise ValueError(f"learning_rates[{k}] must be positive and finite, got {h}")
            if not (np.isfinite(self.mus[k]) and self.mus[k] >= 0):
                raise ValueError(f"mus[{k}] must be finite and 0 or more, got {self.mus[k]}")
            check_integer(f"seeds[{k}]", self.seeds[k], low=0, high=2**31 - 1)
            check_integer(f"stops[{k}]", self.stops[k], low=0, high=2**31 - 1)

    def __len__(self) -> int:
        return len(self.seeds)

    @classmethod
    def grid(
        cls,
        learning_rates: Sequence[float],
        *,
        seeds: Sequence[int],
        stop: int,
        mus: Sequence[float] = (0.0,),
    ) -> "Members":
        """All combinations of seed, learning rate and μ, in this order, with `stop` steps each."""
        each = [(h, s, stop, mu) for s in seeds for h in learning_rates for mu in mus]
        return cls(*zip(*each, strict=True)) if each else cls((), (), (), ())


@dataclass(frozen=True)
class Layout:
    """How the models of an ensemble lie on devices.

    mesh: has one axis. group: how many models a device batches together (`jax.vmap`), 1 where one
    model fills the device. loop: whether the program loops over the steps of a call; inside such a
    loop a CPU is slow at convolutions. chunk: the number of steps in an inner loop. The compiler
    knows this number, so that a GPU can launch the inner loop as a whole. Steps of a chunk after
    the last step of a call have no effect. Raises `TypeError` or `ValueError` for a mesh with more
    axes, and unless `group` and `chunk` are integers of 1 or more.
    """

    mesh: Mesh
    group: int = 1
    loop: bool = True
    chunk: int = 1

    def __post_init__(self) -> None:
        if len(self.mesh.axis_names) != 1:
            raise ValueError(f"mesh must have one axis, got {self.mesh.axis_names}")
        check_integer("group", self.group, low=1)
        check_integer("chunk", self.chunk, low=1)

    @classmethod
    def of(
        cls,
        models: int,
        devices: Sequence[Any] | None = None,
        *,
        group: int | None = None,
        convolutional: bool = False,
    ) -> "Layout":
        """The layout of a number of `models` on `devices`, by default all of this host.

        It never has more devices than models. A CPU takes one model at a time, and convolutions
        outside of loops. A GPU takes the dense layers of all models together, in chunks of steps.
        It takes one network with convolutions at a time, which fills the GPU; several together need
        grouped convolutions, which are slow. With `group`, each device takes that many models
        together. Raises `TypeError` or `ValueError` unless `group` is an integer from 1 to the
        number of models on a device.
        """
        # Devices of other hosts take other units.
        found = list(jax.local_devices() if devices is None else devices)[:models]
        most = -(-models // len(found))
        cpu = found[0].platform == "cpu"
        if group is None:
            group = 1 if cpu or convolutional else most
        if check_integer("group", group, low=1) > most:
            raise ValueError(
                f"group must be at most {most}, the models on each of {len(found)} devices, "
                f"got {group}"
            )
        mesh = Mesh(np.array(found), ("models",))
        chunk = 1 if cpu or convolutional else CHUNK
        return cls(mesh, group, loop=not (cpu and convolutional), chunk=chunk)

    def batched(
        self, function: Callable[..., PyTree], axes: Sequence[int | None]
    ) -> Callable[..., PyTree]:
        """`function` of one model, applied to the models of a group. `axes` is as in `jax.vmap`."""
        if self.group > 1:
            return jax.vmap(function, in_axes=tuple(axes))

        def alone(*args: Any) -> PyTree:
            # `vmap` is slower: it batches the products.
            one = [
                a if axis is None else jax.tree.map(lambda b: b[0], a)
                for a, axis in zip(args, axes, strict=True)
            ]
            return jax.tree.map(lambda a: a[None], function(*one))

        return alone

    @property
    def per_round(self) -> int:
        """How many models run at once: a group on each device."""
        return self.mesh.size * self.group


class State(NamedTuple):
    """The ensemble at one step. Every leaf has the axis of models first, with the padding.

    params, stats: the models, see `Variables`; diverged: the step at which the batch loss was not
    finite, or −1; opt_state: the state of the optimizer.
    """

    params: PyTree
    stats: PyTree
    diverged: Array
    opt_state: PyTree

    @property
    def variables(self) -> Variables:
        """The parameters and statistics of the models."""
        return Variables(self.params, self.stats)
