"""The architectures that can be trained: one frozen dataclass each, and their names.

A new one needs what `Network` has, and its place in `NETWORKS`. Its fields are settings of an arm;
its width is the arm's.

Source: Section 6 and Appendix A.5; chapters 7, *MNIST*, and 8, *ResNet-18*.
"""

from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from typing import Any, ClassVar, Protocol, runtime_checkable

import jax

from igrlib._checks import one_of
from igrlib.experiments.data import IMAGE_SHAPES
from igrlib.experiments.networks.mlp import MLP
from igrlib.experiments.networks.model import Model
from igrlib.experiments.networks.resnet import ResNet18

__all__ = ["MLP", "NETWORKS", "Network", "ResNet18", "network_of", "num_params", "recorded_params"]


@runtime_checkable
class Network(Protocol):
    """What every architecture has.

    `kind` is its name in records and settings; `convolutional` says how models are laid out.
    """

    kind: ClassVar[str]
    convolutional: ClassVar[bool]
    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def smooth(self) -> bool:
        """Whether the logits are smooth functions of the parameters, as the theorem asks."""
        ...

    @property
    def label(self) -> str:
        """What records call it."""
        ...

    def build(self, width: int, shape: tuple[int, ...], scale: float) -> Model:
        """The network to train, for images of `shape` that it divides by `scale`."""
        ...


NETWORKS: dict[str, type[Any]] = {network.kind: network for network in (MLP, ResNet18)}
"""The architectures by the name that records and settings use."""


def network_of(config: Mapping[str, Any]) -> Network:
    """The architecture of a unit's configuration; an MLP where that names none, as older ones do.

    Raises `ValueError` for an unknown one.
    """
    kind = NETWORKS[one_of("model", config.get("model", MLP.kind), NETWORKS)]
    return kind(**{f.name: config[f.name] for f in fields(kind) if f.name in config})


@cache
def num_params(network: Network, width: int, dataset: str) -> int:
    """The number m of parameters, counted in the network itself, on images of a data set.

    Source: Section 6, the legend of Figure 2; chapters 7 and 8.
    """
    model = network.build(width, IMAGE_SHAPES[dataset], 1.0)
    start = jax.eval_shape(model.start, jax.eval_shape(lambda: jax.random.key(0)))
    return sum(leaf.size for leaf in jax.tree.leaves(start.params))


def recorded_params(config: Mapping[str, Any]) -> int:
    """The number m of parameters of a recorded unit, counted from its configuration.

    For older units, which do not hold m. Raises `ValueError` for an unknown network.
    """
    return num_params(network_of(config), config["width"], config["dataset"])
