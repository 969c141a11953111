"""The MNIST experiments of Section 6 as one sweep over learning rates, widths and batch sizes.

An arm is cut into independent units, one for each width, batch size and block of seeds; a unit is
built from its arm, the data and the devices.

Source: Section 6, Appendix A.5, Figures 2, 3 and A.3-A.6; chapter 7, *MNIST*.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import jax.numpy as jnp
import numpy as np

from igrlib.data import Dataset
from igrlib.experiments.arm import Arm, schedule_of, stops_of
from igrlib.experiments.closeup import CloseUp
from igrlib.experiments.sweep import Splits, Sweep
from igrlib.models.mlp import mlp
from igrlib.training.ensemble import Classifier, Ensemble, Layout, Members

__all__ = ["Unit", "build", "check_splits", "classifier_of", "units_of"]


@dataclass(frozen=True)
class Unit:
    """One piece of an arm that trains together: a width, a batch size and a block of seeds."""

    arm: Arm
    width: int
    batch_size: int
    seeds: tuple[int, ...]
    name: str = field(init=False)

    def __post_init__(self) -> None:
        seeds = f"s{self.seeds[0]:02d}-{self.seeds[-1]:02d}"
        batch = f"b{self.batch_size:05d}"
        object.__setattr__(self, "name", f"{self.arm.name}-n{self.width:04d}-{batch}-{seeds}")

    def config(self) -> dict[str, Any]:
        """What makes this unit what it is, as JSON."""
        return {
            **asdict(self.arm),
            "width": self.width,
            "batch_size": self.batch_size,
            "seeds": list(self.seeds),
            "steps": dict(zip(map(str, self.arm.learning_rates), stops_of(self.arm), strict=True)),
        }


def units_of(arm: Arm) -> Iterator[Unit]:
    """The units of an arm, first seeds first."""
    for k, width in enumerate(arm.widths):
        seeds = arm.num_seeds[k if len(arm.num_seeds) > 1 else 0]
        block = arm.seeds_per_unit[k if len(arm.seeds_per_unit) > 1 else 0]
        for batch_size in arm.batch_sizes:
            for first in range(0, seeds, block):
                members = tuple(range(first, min(first + block, seeds)))
                yield Unit(arm, width, batch_size or arm.num_train, members)


def check_splits(arm: Arm, dataset: Dataset) -> None:
    """Raise `ValueError` where the splits asked for are larger than the data set."""
    available = len(dataset.train.labels)
    if arm.num_train + arm.num_validation > available:
        raise ValueError(
            f"num_train + num_validation must be at most the {available} training images of "
            f"{dataset.name}, got {arm.num_train} + {arm.num_validation}"
        )


def classifier_of(unit: Unit, dataset: Dataset) -> Classifier:
    """The network of a unit, for images as the data set stores them."""
    net = mlp(unit.width, depth=unit.arm.depth, initial=unit.arm.initial)
    image = jnp.zeros((1, *dataset.train.images.shape[1:]))

    def logits(params: Any, images: Any) -> Any:
        return net.apply(params, images.astype(jnp.float32) / dataset.scale)

    return Classifier(lambda key: net.init(key, image), logits)


def build(unit: Unit, dataset: Dataset, layout: Layout) -> Sweep:
    """The sweep of a unit, its data on the devices.

    Raises `ValueError` where the splits asked for are larger than the data set.
    """
    arm = unit.arm
    check_splits(arm, dataset)
    pairs = [
        (h, s, t)
        for s in unit.seeds
        for h, t in zip(arm.learning_rates, stops_of(arm), strict=True)
    ]
    rates, seeds, stops = zip(*pairs, strict=True)
    members = Members(rates, seeds, stops, (arm.mu,) * len(pairs))
    images, labels = dataset.train.images, dataset.train.labels.astype(np.int32)
    ensemble = Ensemble(
        classifier_of(unit, dataset),
        members,
        images[: arm.num_train],
        labels[: arm.num_train],
        batch_size=unit.batch_size,
        layout=layout,
    )
    held = slice(len(labels) - arm.num_validation, len(labels))
    place = ensemble.replicate
    splits = Splits(
        train=ensemble.data,
        validation=(place(images[held]), place(labels[held])) if arm.num_validation else None,
        test=(place(dataset.test.images), place(dataset.test.labels.astype(np.int32))),
    )
    closeup = CloseUp(
        unit.batch_size,
        points=arm.points,
        num_matvecs=arm.num_matvecs,
        noise_draws=arm.noise_draws,
        slope_draws=arm.slope_draws,
    )
    return Sweep(ensemble, splits, schedule_of(arm), closeup)
