"""An arm cut into independent units, one for each width, batch size and range of seeds.

Source: Section 6 and Appendix A.5; chapter 7, *MNIST*.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from igrlib.experiments.arm import Arm, combinations, seeds_of, stops_of
from igrlib.experiments.data import Dataset
from igrlib.experiments.networks.model import Model

__all__ = ["OF_THE_ARM", "Unit", "units_of"]

OF_THE_ARM = ("widths", "batch_sizes", "num_seeds", "seeds_per_unit")
"""Fields that say which units an arm has, and nothing of any one: an arm may grow."""


@dataclass(frozen=True)
class Unit:
    """One piece of an arm that trains together: a width, a batch size and some seeds."""

    arm: Arm
    width: int
    batch_size: int
    seeds: tuple[int, ...]

    @property
    def name(self) -> str:
        """What its files are called."""
        seeds = f"s{self.seeds[0]:02d}-{self.seeds[-1]:02d}"
        return f"{self.arm.name}-n{self.width:04d}-b{self.batch_size:05d}-{seeds}"

    @property
    def models(self) -> int:
        """How many models train together."""
        return len(self.seeds) * len(combinations(self.arm))

    @property
    def model_steps(self) -> int:
        """Steps of single models."""
        return len(self.seeds) * sum(steps for *_, steps in combinations(self.arm))

    @property
    def alike(self) -> tuple[Any, ...]:
        """What it has in common with units that differ in their seeds alone."""
        return self.arm, self.width, self.batch_size

    def classifier(self, dataset: Dataset) -> Model:
        """The network to train, for images as the data set stores them."""
        return self.arm.network.build(self.width, dataset.train.images.shape[1:], dataset.scale)

    def config(self) -> dict[str, Any]:
        """The configuration of this unit, as JSON."""
        arm = asdict(self.arm)
        network, optimizer = arm.pop("network"), arm.pop("optimizer")
        return {
            **arm,
            "model": self.arm.network.kind,
            **network,
            "optimizer": self.arm.optimizer.kind,
            **optimizer,
            "width": self.width,
            "batch_size": self.batch_size,
            "seeds": list(self.seeds),
            "steps": dict(zip(map(str, self.arm.learning_rates), stops_of(self.arm), strict=True)),
        }


def units_of(arm: Arm) -> Iterator[Unit]:
    """The units of an arm."""
    for width, (number, together) in zip(arm.widths, seeds_of(arm), strict=True):
        for batch_size in arm.batch_sizes:
            for first in range(0, number, together):
                seeds = tuple(range(first, min(first + together, number)))
                yield Unit(arm, width, batch_size or arm.num_train, seeds)
