"""The network of a unit, for images as the data set stores them.

Source: Section 6 and Appendix A.5; chapters 7, *MNIST*, and 8, *ResNet-18*.
"""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array

from igrlib._typing import PyTree
from igrlib.data import Dataset
from igrlib.experiments.units import Unit
from igrlib.models.mlp import mlp
from igrlib.models.resnet import resnet18
from igrlib.training import Classifier, NormalizedClassifier, Variables

__all__ = ["model_of"]


def model_of(unit: Unit, dataset: Dataset) -> Classifier | NormalizedClassifier:
    """The model to train: its images are divided by the scale of the data set, nothing else."""
    image = jnp.zeros((1, *dataset.train.images.shape[1:]))
    if unit.arm.model == "resnet18":
        return _resnet18(unit, image, dataset.scale)
    arm = unit.arm
    net = mlp(unit.width, depth=arm.depth, activation=arm.activation, initial=arm.initial)

    def logits(params: PyTree, images: Array) -> Array:
        outputs: Any = net.apply(params, images.astype(jnp.float32) / dataset.scale)
        return outputs

    return Classifier(lambda key: net.init(key, image), logits)


def _resnet18(unit: Unit, image: Array, scale: float) -> NormalizedClassifier:
    net = resnet18(unit.width, stem=unit.arm.stem)

    def start(key: Array) -> Variables:
        made = net.init(key, image, True)
        return Variables(made["params"], made["batch_stats"])

    def train(params: PyTree, stats: PyTree, images: Array) -> tuple[Array, PyTree]:
        made: dict[str, Any] = {"params": params, "batch_stats": stats}
        x = images.astype(jnp.float32) / scale
        logits, changed = net.apply(made, x, True, mutable=["batch_stats"])
        return logits, changed["batch_stats"]

    def evaluate(params: PyTree, stats: PyTree, images: Array) -> Array:
        made: dict[str, Any] = {"params": params, "batch_stats": stats}
        outputs: Any = net.apply(made, images.astype(jnp.float32) / scale, False)
        return outputs

    return NormalizedClassifier(start, train, evaluate)
