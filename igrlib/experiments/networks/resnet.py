"""ResNet-18 with batch norm, as Haiku builds it, which the paper used.

Source: Appendix A.5, Figures A.7 and A.8; chapter 8, *ResNet-18*.
Differs from the paper: the paper names only "ResNet-18" and Haiku. We read this as
`hk.nets.ResNet18` with its stem for ImageNet, because the paper's accuracies are near 75 %.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal

import jax.numpy as jnp
from jax.nn.initializers import zeros
from jaxtyping import Array

from igrlib._checks import check_integer, one_of
from igrlib._typing import PyTree
from igrlib.experiments._extras import missing
from igrlib.experiments.networks.model import NormalizedClassifier, Variables, haiku_normal

try:
    import flax.linen as nn
except ImportError as _error:
    raise missing(_error) from _error

__all__ = ["ResNet18", "ResNet18Module"]

GROUPS = ((1, 1), (2, 2), (4, 2), (8, 2))
"""Channels, in units of the width, and stride of each of the four groups of two blocks."""


class ResNet18Module(nn.Module):
    """17 convolutions with batch norm and a linear layer, in four groups of two residual blocks.

    Takes images of shape (n, height, width, channels) and the mode, `training` or not, and returns
    logits of shape (n, num_classes). In training mode the network normalizes each batch by its mean
    and variance and keeps their moving averages in the collection "batch_stats". In evaluation mode
    it normalizes by these averages.

    Source: He et al., "Deep residual learning", CVPR 2016; Appendix A.5; chapter 8.
    """

    width: int
    num_classes: int
    stem: Literal["imagenet", "cifar"]

    @nn.compact
    def __call__(self, images: Array, training: bool) -> Array:
        norm = partial(nn.BatchNorm, use_running_average=not training, momentum=0.9, epsilon=1e-5)
        size, stride = (7, 2) if self.stem == "imagenet" else (3, 1)
        x = nn.relu(norm(name="stem_norm")(_conv(self.width, size, stride, "stem")(images)))
        if self.stem == "imagenet":
            x = nn.max_pool(x, (3, 3), strides=(2, 2), padding="SAME")
        for number, (channels, stride) in enumerate(GROUPS):
            for place in range(2):
                block = _Block(channels * self.width, 1 if place else stride, norm)
                x = block.copy(name=f"group{number}_block{place}")(x)
        # Haiku starts the last layer at 0: all classes are equally likely, and E = log 10.
        return nn.Dense(self.num_classes, kernel_init=zeros, name="logits")(jnp.mean(x, (1, 2)))


class _Block(nn.Module):
    """Two convolutions beside a shortcut, with a projection where the shape changes."""

    channels: int
    stride: int
    norm: Any

    @nn.compact
    def __call__(self, x: Array) -> Array:
        shortcut = x
        if self.stride != 1:
            shortcut = _conv(self.channels, 1, self.stride, "shortcut")(x)
            shortcut = self.norm(name="shortcut_norm")(shortcut)
        x = self.norm(name="norm0")(_conv(self.channels, 3, self.stride, "conv0")(x))
        x = self.norm(name="norm1")(_conv(self.channels, 3, 1, "conv1")(nn.relu(x)))
        return nn.relu(x + shortcut)


@dataclass(frozen=True)
class ResNet18:
    """ResNet-18 without its width and the shape of its images.

    `stem="imagenet"` is a 7×7 convolution of stride 2 and a max-pool, which reduce images of 32×32
    to 8×8. `stem="cifar"`, common on CIFAR-10, is a 3×3 convolution that keeps the size, so that
    every block has sixteen times as many positions. Weights have the MLP's distribution "haiku".
    Scales start at 1, offsets and the last layer at 0. Raises `ValueError` for another `stem`.

    Source: Appendix A.5; chapter 8.
    Differs from Haiku: moving averages start at mean 0 and variance 1, and nothing corrects for
    this start. After 100 steps at decay 0.9 it contributes less than 10⁻⁴ of either.
    """

    kind: ClassVar[str] = "resnet18"
    convolutional: ClassVar[bool] = True

    stem: Literal["imagenet", "cifar"] = "imagenet"

    def __post_init__(self) -> None:
        one_of("stem", self.stem, ("imagenet", "cifar"))

    @property
    def smooth(self) -> bool:
        """False: ReLU has kinks."""
        return False

    @property
    def label(self) -> str:
        """Its description in records."""
        return f"ResNet-18, stem for {'ImageNet' if self.stem == 'imagenet' else 'CIFAR'}"

    def module(self, width: int = 64, *, num_classes: int = 10) -> ResNet18Module:
        """The Flax module with `width` channels after the stem, 64 in the paper's network.

        The later groups have 2, 4 and 8 times as many. Raises `TypeError` or `ValueError` unless
        `width` is 1 or more and `num_classes` 2 or more.
        """
        check_integer("width", width, low=1)
        return ResNet18Module(width, check_integer("num_classes", num_classes, low=2), self.stem)

    def build(self, width: int, shape: tuple[int, ...], scale: float) -> NormalizedClassifier:
        """The network with `width` channels after the stem, for images of `shape`.

        It divides images by `scale` and changes nothing else in them.
        """
        net = self.module(width)

        def start(key: Array) -> Variables:
            made = net.init(key, jnp.zeros((1, *shape)), True)
            return Variables(made["params"], made["batch_stats"])

        def training(params: PyTree, stats: PyTree, images: Array) -> tuple[Array, PyTree]:
            made: dict[str, Any] = {"params": params, "batch_stats": stats}
            x = images.astype(jnp.float32) / scale
            logits, changed = net.apply(made, x, True, mutable=["batch_stats"])
            return logits, changed["batch_stats"]

        def evaluation(params: PyTree, stats: PyTree, images: Array) -> Array:
            made: dict[str, Any] = {"params": params, "batch_stats": stats}
            outputs: Any = net.apply(made, images.astype(jnp.float32) / scale, False)
            return outputs

        return NormalizedClassifier(start, training, evaluation)


def _conv(features: int, size: int, stride: int, name: str) -> nn.Conv:
    return nn.Conv(
        features,
        (size, size),
        strides=(stride, stride),
        use_bias=False,
        kernel_init=haiku_normal,
        name=name,
    )
