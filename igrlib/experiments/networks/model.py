"""What the trainer needs of a network: initial variables, and logits in training and evaluation.

Source: Section 6 and Appendix A.5; chapters 7, *MNIST*, and 8, *ResNet-18*.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import jax.numpy as jnp
from jax.nn.initializers import truncated_normal
from jaxtyping import Array

from igrlib._typing import PyTree

__all__ = ["Classifier", "Model", "NormalizedClassifier", "Variables", "haiku_normal"]


class Variables(NamedTuple):
    """The variables of a model.

    params: the trained parameters; stats: the moving averages of batch norm, {} without batch norm.
    """

    params: PyTree
    stats: PyTree


@dataclass(frozen=True)
class Classifier:
    """A model to train: `init(key) -> params` and `logits(params, images) -> (n, classes)`.

    `logits` takes the images as they are stored, in bytes, and scales them itself. The logits are
    the same in training and evaluation. A model with batch norm is a `NormalizedClassifier`.

    Source: Section 6; chapter 7, *MNIST*.
    """

    init: Callable[[Array], PyTree]
    logits: Callable[[PyTree, Array], Array]

    def start(self, key: Array) -> Variables:
        """The variables before the first step."""
        return Variables(self.init(key), {})

    def training(self, params: PyTree, stats: PyTree, images: Array) -> tuple[Array, PyTree]:
        """The logits in training mode, (n, classes), and the statistics after these images."""
        return self.logits(params, images), stats

    def evaluation(self, params: PyTree, stats: PyTree, images: Array) -> Array:
        """The logits in evaluation mode, (n, classes)."""
        del stats
        return self.logits(params, images)


@dataclass(frozen=True)
class NormalizedClassifier:
    """A model with batch norm to train: the three functions that a `Classifier` has as methods.

    `training` normalizes by its images, so that each logit depends on all images. `evaluation`
    normalizes by the statistics. Both take the images as they are stored.

    Source: Appendix A.5; chapter 8, *ResNet-18*.
    """

    start: Callable[[Array], Variables]
    training: Callable[[PyTree, PyTree, Array], tuple[Array, PyTree]]
    evaluation: Callable[[PyTree, PyTree, Array], Array]


Model: TypeAlias = Classifier | NormalizedClassifier


def haiku_normal(key: Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
    """Weights from a normal distribution of deviation 1/√fan-in, cut off at two deviations.

    Haiku draws them so. `shape` ends in the numbers of inputs and outputs.
    """
    return truncated_normal(stddev=math.prod(shape[:-1]) ** -0.5)(key, shape, dtype)
