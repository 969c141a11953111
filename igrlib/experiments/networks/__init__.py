"""The architectures: one frozen dataclass each, and the table of their names.

A new architecture needs the attributes of `Network` and an entry in `NETWORKS`. Its fields become
settings of an arm. Its width comes from the arm.

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
    """The attributes that every architecture has.

    kind: its name in records and settings; convolutional: whether it has convolutions, which
    decides how `Layout.of` lays out its models.
    """

    kind: ClassVar[str]
    convolutional: ClassVar[bool]
    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def smooth(self) -> bool:
        """Whether the logits are smooth functions of the parameters, as the theorem requires."""
        ...

    @property
    def label(self) -> str:
        """Its description in records."""
        ...

    def build(self, width: int, shape: tuple[int, ...], scale: float) -> Model:
        """The network to train. It takes images of `shape` and divides them by `scale`."""
        ...


NETWORKS: dict[str, type[Any]] = {network.kind: network for network in (MLP, ResNet18)}
"""The architectures by the name that records and settings use."""


def network_of(config: Mapping[str, Any]) -> Network:
    """The architecture that a unit's configuration names under "model".

    Older configurations name none; theirs is an MLP. Raises `ValueError` for an unknown name.

    Example:
        >>> from igrlib.experiments.networks import network_of
        >>> network_of({"model": "mlp", "depth": 2}).label
        'MLP, 2 hidden layers'
    """
    kind = NETWORKS[one_of("model", config.get("model", MLP.kind), NETWORKS)]
    return kind(**{f.name: config[f.name] for f in fields(kind) if f.name in config})


@cache
def num_params(network: Network, width: int, dataset: str) -> int:
    """The number m of parameters of a network of `width`, counted on the images of a data set.

    Source: Section 6, the legend of Figure 2; chapters 7 and 8.

    Example:
        >>> from igrlib.experiments.networks import MLP, num_params
        >>> num_params(MLP(), 50, "mnist")
        49960
    """
    model = network.build(width, IMAGE_SHAPES[dataset], 1.0)
    start = jax.eval_shape(model.start, jax.eval_shape(lambda: jax.random.key(0)))
    return sum(leaf.size for leaf in jax.tree.leaves(start.params))


def recorded_params(config: Mapping[str, Any]) -> int:
    """The number m of parameters of a recorded unit, counted from its configuration.

    Older units need this function, because they do not hold m. Raises `ValueError` for an unknown
    network, and `KeyError` where the configuration has no width or data set.
    """
    return num_params(network_of(config), config["width"], config["dataset"])
