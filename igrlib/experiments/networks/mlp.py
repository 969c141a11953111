"""The multilayer perceptron of Section 6: five hidden layers of n ReLU units, 784-n-n-n-n-n-10.

Source: Section 6 and Appendix A.5; chapter 7, *MNIST*.
Differs from the paper: it says "5-layer"; only five *hidden* layers, with biases, give the
parameter counts that its figures print.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import jax.numpy as jnp
from jax.nn.initializers import lecun_normal
from jaxtyping import Array

from igrlib._checks import check_integer, one_of
from igrlib._typing import PyTree
from igrlib.experiments._extras import missing
from igrlib.experiments.networks.model import Classifier, haiku_normal

try:
    import flax.linen as nn
except ImportError as _error:
    raise missing(_error) from _error

__all__ = ["MLP", "MLPModule", "mlp"]


class MLPModule(nn.Module):
    """`depth` hidden layers of `width` ReLU or tanh units, and `num_classes` logits.

    Takes images of shape (n, ...), flattened, and returns logits of shape (n, num_classes).

    Source: Section 6; chapter 7.
    """

    width: int
    depth: int = 5
    num_classes: int = 10
    initial: Literal["haiku", "flax"] = "haiku"
    activation: Literal["relu", "tanh"] = "relu"

    @nn.compact
    def __call__(self, images: Array) -> Array:
        x = jnp.reshape(images, (images.shape[0], -1))
        nonlinear = nn.relu if self.activation == "relu" else nn.tanh
        kernel_init = haiku_normal if self.initial == "haiku" else lecun_normal()
        for _ in range(self.depth):
            x = nonlinear(nn.Dense(self.width, kernel_init=kernel_init)(x))
        return nn.Dense(self.num_classes, kernel_init=kernel_init)(x)


def mlp(
    width: int,
    *,
    depth: int = 5,
    num_classes: int = 10,
    initial: Literal["haiku", "flax"] = "haiku",
    activation: Literal["relu", "tanh"] = "relu",
) -> MLPModule:
    """The MLP with its arguments checked.

    `initial="haiku"` draws weights from a normal distribution of standard deviation 1/√fan-in cut
    off at two deviations, as Haiku does, which the paper used; that leaves 0.88/√fan-in. Flax's
    default, `initial="flax"`, corrects for the cut. Biases start at 0 in both. The paper's
    `activation` is "relu"; with "tanh" the loss is smooth, as the theorem assumes. Raises
    `TypeError` or `ValueError` for sizes that are no positive integers, another `initial` or
    `activation`.

    Source: Section 6; the initial distribution is not stated there; chapter 7.
    """
    one_of("initial", initial, ("haiku", "flax"))
    one_of("activation", activation, ("relu", "tanh"))
    return MLPModule(
        check_integer("width", width, low=1),
        check_integer("depth", depth, low=1),
        check_integer("num_classes", num_classes, low=2),
        initial,
        activation,
    )


@dataclass(frozen=True)
class MLP:
    """The architecture of `mlp`, without its width and the images that it is given.

    `depth` counts hidden layers. Raises `ValueError` or `TypeError` as `mlp` does.

    Source: Section 6; chapter 7.
    """

    kind: ClassVar[str] = "mlp"
    convolutional: ClassVar[bool] = False

    depth: int = 5
    activation: Literal["relu", "tanh"] = "relu"
    """With ReLU the loss has kinks, where the theorem does not hold."""
    initial: Literal["haiku", "flax"] = "haiku"

    def __post_init__(self) -> None:
        check_integer("depth", self.depth, low=1, high=1_000)
        self._module(1)

    @property
    def smooth(self) -> bool:
        """Whether the logits are smooth functions of the parameters: with tanh."""
        return self.activation == "tanh"

    @property
    def label(self) -> str:
        """What records call it."""
        layers = f"MLP, {'five' if self.depth == 5 else self.depth} hidden layers"
        return layers if self.activation == "relu" else f"{layers}, {self.activation}"

    def build(self, width: int, shape: tuple[int, ...], scale: float) -> Classifier:
        """The network with `width` units in each hidden layer, for images of `shape`.

        It divides images by `scale`, and does nothing else to them.
        """
        net = self._module(width)

        def logits(params: PyTree, images: Array) -> Array:
            outputs: Any = net.apply(params, images.astype(jnp.float32) / scale)
            return outputs

        return Classifier(lambda key: net.init(key, jnp.zeros((1, *shape))), logits)

    def _module(self, width: int) -> MLPModule:
        return mlp(width, depth=self.depth, activation=self.activation, initial=self.initial)
