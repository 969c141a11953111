"""How many parameters a network has, from its configuration alone.

Source: Section 6, the legend of Figure 2; chapters 7, *MNIST*, and 8, *ResNet-18*.
"""

import math
from collections.abc import Mapping
from typing import Any, Literal

from igrlib.data import IMAGE_SHAPES, NUM_CLASSES

__all__ = ["mlp_size", "resnet18_size", "size_of"]


def size_of(config: Mapping[str, Any]) -> int:
    """The number m of parameters of the network of a unit with this configuration."""
    if config.get("model", "mlp") == "resnet18":
        return resnet18_size(config["dataset"], config["width"], config["stem"])
    return mlp_size(config["dataset"], config["width"], config.get("depth", 5))


def mlp_size(dataset: str, width: int, depth: int = 5) -> int:
    """The number m of parameters of an MLP with `depth` hidden layers of `width` units, and biases.

    Source: Section 6, the legend of Figure 2.
    """
    pixels = math.prod(IMAGE_SHAPES[dataset])
    return (pixels + 1) * width + (depth - 1) * (width + 1) * width + (width + 1) * NUM_CLASSES


def resnet18_size(dataset: str, width: int, stem: Literal["imagenet", "cifar"] = "imagenet") -> int:
    """The number m of parameters of `igrlib.models.resnet.resnet18(width, stem=stem)`.

    Source: He et al., "Deep residual learning", CVPR 2016; chapter 8.
    """
    channels = IMAGE_SHAPES[dataset][-1]
    size = (49 if stem == "imagenet" else 9) * channels * width + 2 * width
    inputs = width
    for outputs in (width, 2 * width, 4 * width, 8 * width):
        # Four convolutions of 3×3, each with scale and offset, and a projection between groups.
        size += 9 * inputs * outputs + 3 * 9 * outputs**2 + 4 * 2 * outputs
        if outputs != inputs:
            size += inputs * outputs + 2 * outputs
        inputs = outputs
    return size + (inputs + 1) * NUM_CLASSES
