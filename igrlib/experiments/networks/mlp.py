"""The multilayer perceptron of Section 6: five hidden layers of n ReLU units, 784-n-n-n-n-n-10.

Source: Section 6 and Appendix A.5; chapter 7, *MNIST*.
Differs from the paper: the paper says "5-layer". Only five *hidden* layers, with biases, give the
parameter counts in its figures.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
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

__all__ = ["MLP", "MLPModule"]

_ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "relu": nn.relu,
    "tanh": nn.tanh,
    # With the exact Φ of the normal distribution, not its approximation by tanh.
    "gelu": partial(nn.gelu, approximate=False),
}


@dataclass(frozen=True)
class MLP:
    """The perceptron without its width and the shape of its images.

    `depth` counts hidden layers. The paper used Haiku. As Haiku does, `initial="haiku"` draws
    weights from a normal distribution of standard deviation 1/√fan-in and cuts it off at two
    deviations. The cut leaves a deviation of 0.88/√fan-in. Flax's default, `initial="flax"`,
    corrects for the cut. Biases start at 0 in both. The paper's `activation` is "relu", and the
    theorem excludes its kinks. With "tanh" and "gelu", x·Φ(x), the loss is smooth.

    Raises `TypeError` or `ValueError` for a `depth` that is not an integer from 1 to 1000, and for
    another `initial` or `activation`.

    Source: Section 6, which does not state the initial distribution; chapter 7.

    Example:
        >>> from igrlib.experiments.networks import MLP
        >>> MLP(depth=2, activation="tanh").label
        'MLP, 2 hidden layers, tanh'
    """

    kind: ClassVar[str] = "mlp"
    convolutional: ClassVar[bool] = False

    depth: int = 5
    activation: Literal["relu", "tanh", "gelu"] = "relu"
    initial: Literal["haiku", "flax"] = "haiku"

    def __post_init__(self) -> None:
        check_integer("depth", self.depth, low=1, high=1_000)
        one_of("activation", self.activation, tuple(_ACTIVATIONS))
        one_of("initial", self.initial, ("haiku", "flax"))

    @property
    def smooth(self) -> bool:
        """Whether the logits are smooth functions of the parameters: true without ReLU."""
        return self.activation != "relu"

    @property
    def label(self) -> str:
        """Its description in records."""
        layers = f"MLP, {'five' if self.depth == 5 else self.depth} hidden layers"
        return layers if self.activation == "relu" else f"{layers}, {self.activation}"

    def module(self, width: int, *, num_classes: int = 10) -> "MLPModule":
        """The Flax module with `width` units in each hidden layer.

        Raises `TypeError` or `ValueError` unless `width` is 1 or more and `num_classes` 2 or more.
        """
        check_integer("width", width, low=1)
        return MLPModule(self, width, check_integer("num_classes", num_classes, low=2))

    def build(self, width: int, shape: tuple[int, ...], scale: float) -> Classifier:
        """The network with `width` units in each hidden layer, for images of `shape`.

        It divides images by `scale` and changes nothing else in them.
        """
        net = self.module(width)

        def logits(params: PyTree, images: Array) -> Array:
            outputs: Any = net.apply(params, images.astype(jnp.float32) / scale)
            return outputs

        return Classifier(lambda key: net.init(key, jnp.zeros((1, *shape))), logits)


class MLPModule(nn.Module):
    """Flattens images of shape (n, ...) and returns logits of shape (n, num_classes).

    Source: Section 6; chapter 7.
    """

    network: MLP
    width: int
    num_classes: int

    @nn.compact
    def __call__(self, images: Array) -> Array:
        x = jnp.reshape(images, (images.shape[0], -1))
        nonlinear = _ACTIVATIONS[self.network.activation]
        kernel_init = haiku_normal if self.network.initial == "haiku" else lecun_normal()
        for _ in range(self.network.depth):
            x = nonlinear(nn.Dense(self.width, kernel_init=kernel_init)(x))
        return nn.Dense(self.num_classes, kernel_init=kernel_init)(x)
