"""The MNIST experiments of Section 6 as one sweep over learning rates, widths and batch sizes.

A profile is a tuple of arms; an arm is cut into independent units, one for each width, batch size
and block of seeds. Each arm states only what differs from the default, and why.

Source: Section 6, Appendix A.5, Figures 2, 3 and A.3-A.6; chapter 7, *MNIST*.
"""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np

from igrlib._checks import check_integer
from igrlib.data import Dataset
from igrlib.experiments.closeup import CloseUp
from igrlib.experiments.schedule import Schedule
from igrlib.experiments.sweep import Splits, Sweep
from igrlib.models.mlp import mlp
from igrlib.training.ensemble import Classifier, Ensemble, Layout, Members

__all__ = [
    "Arm",
    "Unit",
    "build",
    "check_splits",
    "classifier_of",
    "schedule_of",
    "stops_of",
    "units_of",
]


@dataclass(frozen=True)
class Arm:
    """One sweep: every combination of width, batch size, seed and learning rate."""

    name: str
    dataset: Literal["digits", "mnist"] = "mnist"
    widths: tuple[int, ...] = (50, 100, 200, 400)
    """Units n of each hidden layer."""
    depth: int = 5
    """Hidden layers."""
    learning_rates: tuple[float, ...] = (0.1, 0.05, 0.025, 0.01, 0.005)
    """The learning rates h of Figures A.3 to A.5; Section 6 lists others, see the errata."""
    batch_sizes: tuple[int | None, ...] = (32,)
    """None is the whole training split: gradient descent."""
    num_seeds: tuple[int, ...] = (8,)
    """How many seeds, 0, 1, …: one number, or one for each width."""
    seeds_per_unit: tuple[int, ...] = (8,)
    """Seeds trained together in a unit: one number, or one for each width."""
    num_train: int = 55_000
    """The first images of the training split; the paper does not say whether it held any out."""
    num_validation: int = 5_000
    """The last images of the training split, for choosing without the test split."""
    min_steps: int = 60_000
    max_steps: int = 150_000
    physical_time: float = 750.0
    """A model takes T/h steps, but at least `min_steps` and at most `max_steps`."""
    score_every: int = 1_000
    """Steps between measurements of the accuracies."""
    num_gradients: int = 10
    """Measurements of whole-split gradients, evenly spread in log t over the first
    `gradient_every` steps, or over all of them where that is None."""
    gradient_every: int | None = 5_000
    """Steps between later measurements of gradients."""
    initial: Literal["haiku", "flax"] = "haiku"
    mu: float = 0.0
    """The explicit regularization rate."""
    points: tuple[str, ...] = ("validation",)
    """Where λ_max and the effect of noise are measured."""
    num_matvecs: int = 4
    noise_draws: int = 100
    slope_draws: int = 3

    def __post_init__(self) -> None:
        for name in (
            "depth",
            "num_train",
            "min_steps",
            "max_steps",
            "score_every",
            "num_gradients",
        ):
            check_integer(name, getattr(self, name), low=1)
        check_integer("num_validation", self.num_validation, low=0)
        for h in self.learning_rates:
            if not (math.isfinite(h) and h > 0):
                raise ValueError(f"learning_rates must be positive and finite, got {h}")
        if not (math.isfinite(self.mu) and self.mu >= 0):
            raise ValueError(f"mu must be finite and 0 or more, got {self.mu}")
        for name in ("num_seeds", "seeds_per_unit"):
            if len(getattr(self, name)) not in (1, len(self.widths)):
                raise ValueError(
                    f"{name} must have one entry, or one for each of {len(self.widths)} widths, "
                    f"got {getattr(self, name)}"
                )


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


def stops_of(arm: Arm) -> list[int]:
    """The number of steps for each learning rate."""
    return [
        min(max(round(arm.physical_time / h), arm.min_steps), arm.max_steps)
        for h in arm.learning_rates
    ]


def schedule_of(arm: Arm) -> Schedule:
    """When an arm is measured: accuracies with every gradient, and every `score_every` steps."""
    stops = stops_of(arm)
    last = max(stops)
    dense = min(arm.gradient_every or last, last)
    grid = np.round(np.geomspace(min(100, dense), dense, arm.num_gradients)).astype(int)
    gradients = {0, *(int(t) for t in grid), *stops}
    if arm.gradient_every is not None:
        check_integer("gradient_every", arm.gradient_every, low=1)
        gradients |= set(range(arm.gradient_every, last + 1, arm.gradient_every))
    gradients = sorted(gradients)
    scores = sorted({*gradients, *range(arm.score_every, last + 1, arm.score_every)})
    return Schedule(tuple(scores), tuple(gradients))


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
