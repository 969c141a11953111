"""The networks whose steps are compared one at a time: the MLP of the paper and ResNet-18.

Source: Section 6 and Appendix A.5; chapters 7, *MNIST*, and 8, *ResNet-18*.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

RATE = 0.01
TURN = 1.0
"""Seconds a turn of single steps should last."""


@dataclass(frozen=True)
class Problem:
    """A network by its width, and batches of square images of `side` pixels."""

    network: Literal["mlp", "resnet18"]
    width: int
    batch_size: int
    side: int

    @property
    def channels(self) -> int:
        return 3 if self.network == "resnet18" else 1

    def __str__(self) -> str:
        name = "ResNet-18" if self.network == "resnet18" else "MLP"
        shape = f"{self.side}×{self.side}×{self.channels}"
        return f"{name}, width {self.width}, batch {self.batch_size}, images {shape}"


def synthetic(num_images: int, side: int, channels: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Images of bytes with labels, all random: how fast a step is does not hang on them."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (num_images, side, side, channels), np.uint8)
    return images, rng.integers(0, 10, num_images).astype(np.int32)


def images_of(problem: Problem, num_images: int) -> tuple[np.ndarray, np.ndarray]:
    """Random images and labels for a problem."""
    return synthetic(num_images, problem.side, problem.channels)


def unit_of(problem: Problem) -> Any:
    """The unit of a sweep that trains one such model."""
    from igrlib.experiments.arm import Arm
    from igrlib.experiments.networks import NETWORKS
    from igrlib.experiments.units import Unit

    dataset = "cifar10" if problem.network == "resnet18" else "mnist"
    arm = Arm("bench", dataset=dataset, network=NETWORKS[problem.network](), learning_rates=(RATE,))
    return Unit(arm, problem.width, problem.batch_size, (0,))


def model_of(problem: Problem) -> Any:
    """The model as the sweeps make it."""
    from igrlib.experiments.data import NUM_CLASSES, Dataset, Split

    split = Split(*images_of(problem, 1))
    data = Dataset("bench", split, split, NUM_CLASSES, 255.0, "")
    return unit_of(problem).classifier(data)
