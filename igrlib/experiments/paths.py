"""Gradient descent beside the flows that are to describe it: another kind of arm.

An `Arm` trains many models and compares their ends; a `PathArm` follows single full-batch runs
step by step, with flows that start from the same parameters.

Source: Theorem 3.1; not in the paper: Cohen et al. (2021, 2025) and what lies beyond 2/h; chapter
10, *The edge of stability*.
"""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from igrlib._checks import check_integer, check_positive, one_of
from igrlib.experiments.data import IMAGE_SHAPES, Dataset
from igrlib.experiments.networks import MLP, NETWORKS, Network
from igrlib.experiments.networks.model import Model

__all__ = ["FLOWS", "PathArm", "PathUnit", "paths_of"]

FLOWS = ("gradient", "modified", "principal", "central", "rod")
"""The flows that can be followed: of E, of E + (h/4)‖∇E‖², and the flows of `igrlib.edge`."""

MOST_STEPS = 50_000
"""Steps of a run: loss and ‖∇E‖² of each are kept."""

_COUNTED = (
    "num_train",
    "num_saved",
    "num_matvecs",
    "num_directions",
    "window",
    "substeps",
    "max_solver_steps",
)


@dataclass(frozen=True)
class PathArm:
    """Full-batch runs, each of one width, seed and learning rate, and the flows beside them.

    A field that `Arm` has too means the same in both.
    """

    name: str
    dataset: Literal["digits", "mnist", "cifar10"] = "mnist"
    network: Network = field(default_factory=MLP)
    widths: tuple[int, ...] = (50,)
    learning_rates: tuple[float, ...] = (0.02,)
    seeds: tuple[int, ...] = (0,)
    num_train: int = 1_000
    """The first images of the training split: all of them are the batch."""
    physical_time: float = 30.0
    """A run takes T/h steps, or a few more: a whole, even number between two saved times."""
    flows_from: float = 0.0
    """The physical time from which on the flows are followed: they set out from the parameters of
    the run at the saved time nearest to it, at the last but one at the latest."""
    num_saved: int = 100
    """Times, evenly spread, at which eigenvalues and distances are measured."""
    num_matvecs: int = 20
    """Hessian products for the eigenvalues, and in the principal field; one more for the residual
    of each. There are at least as many as directions."""
    num_directions: int = 5
    """Eigenvalues measured, and directions of the principal and of the central flow."""
    flows: tuple[str, ...] = FLOWS
    window: int = 20
    """Steps, an even number, over which the run is averaged, where a flow predicts means."""
    rtol: float = 1e-4
    atol: float = 1e-6
    substeps: int = 2
    """Steps of the central flow in one of the run."""
    max_solver_steps: int = 200
    """Steps of a solver between two of the saved times; a flow that needs more ends there."""

    def __post_init__(self) -> None:
        one_of("dataset", self.dataset, tuple(IMAGE_SHAPES))
        if type(self.network) not in NETWORKS.values():
            raise TypeError(
                "network must be an architecture of igrlib.experiments.networks, "
                f"got {self.network!r}"
            )
        for name in ("widths", "learning_rates", "seeds", "flows"):
            values = getattr(self, name)
            if not isinstance(values, tuple):
                raise TypeError(f"{name} must be a tuple, got {values!r}")
            if not values and name != "flows":
                raise ValueError(f"{name} must have at least one entry, got none")
            if len(set(values)) != len(values):
                raise ValueError(f"{name} must differ from one another, got {values}")
        for name in _COUNTED:
            check_integer(name, getattr(self, name), low=1, high=1_000_000)
        if self.window % 2:
            raise ValueError(f"window must be even, got {self.window}")
        for width in self.widths:
            check_integer("widths", width, low=1, high=1_000_000)
        for seed in self.seeds:
            check_integer("seeds", seed, low=0, high=2**31 - 1)
        for flow in self.flows:
            one_of("flows", flow, FLOWS)
        for name in ("physical_time", "rtol", "atol"):
            check_positive(name, getattr(self, name))
        if not 0 <= self.flows_from < math.inf:
            raise ValueError(f"flows_from must be finite and 0 or more, got {self.flows_from}")
        for h in self.learning_rates:
            check_positive("learning_rates", h)
            if self.physical_time / h > MOST_STEPS:
                raise ValueError(
                    f"physical_time must be at most {MOST_STEPS} steps of the smallest of "
                    f"learning_rates, got {self.physical_time} and {h}"
                )


@dataclass(frozen=True)
class PathUnit:
    """One run of an arm with its flows."""

    arm: PathArm
    width: int
    seed: int
    learning_rate: float
    models: int = 1

    @property
    def name(self) -> str:
        """What its files are called."""
        return f"{self.arm.name}-n{self.width:04d}-h{self.learning_rate:g}-s{self.seed:02d}"

    @property
    def seeds(self) -> tuple[int, ...]:
        """Its seed."""
        return (self.seed,)

    @property
    def num_matvecs(self) -> int:
        """Hessian products for the eigenvalues."""
        return max(self.arm.num_matvecs, self.arm.num_directions)

    @property
    def every(self) -> int:
        """Steps between two saved times, an even number: at the edge every second step is alike."""
        return 2 * math.ceil(self._wanted / (2 * self.arm.num_saved))

    @property
    def model_steps(self) -> int:
        """How many steps it takes."""
        return self.every * math.ceil(self._wanted / self.every)

    @property
    def saved(self) -> range:
        """The steps after which eigenvalues and distances are measured."""
        return range(0, self.model_steps + 1, self.every)

    @property
    def first(self) -> int:
        """The saved step at which the flows set out."""
        start = self.arm.flows_from / self.learning_rate
        return min(self.saved[:-1], key=lambda step: abs(step - start))

    @property
    def _wanted(self) -> int:
        return max(round(self.arm.physical_time / self.learning_rate), 1)

    @property
    def alike(self) -> tuple[Any, ...]:
        """What it has in common with units that differ in their seeds alone."""
        return self.arm, self.width, self.learning_rate

    def classifier(self, dataset: Dataset) -> Model:
        """The network to train, for images as the data set stores them."""
        return self.arm.network.build(self.width, dataset.train.images.shape[1:], dataset.scale)

    def config(self) -> dict[str, Any]:
        """The configuration of this unit, as JSON."""
        arm = asdict(self.arm)
        network = arm.pop("network")
        return {
            **arm,
            "model": self.arm.network.kind,
            **network,
            "width": self.width,
            "learning_rate": self.learning_rate,
            "seeds": list(self.seeds),
            "steps": self.model_steps,
        }


def paths_of(arm: PathArm) -> Iterator[PathUnit]:
    """The units of an arm: the learning rates as they are listed, seed by seed."""
    for seed in arm.seeds:
        for width in arm.widths:
            for h in arm.learning_rates:
                yield PathUnit(arm, width, seed, h)
