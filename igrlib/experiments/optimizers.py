"""The optimizers that an arm can name: one frozen dataclass each, and their names.

A new one needs what `Optimizer` has, and its place in `OPTIMIZERS`. Its fields are settings of an
arm; its learning rate is a model's.

Source: Section 8 asks for them; chapter 11, *Other optimizers*.
"""

from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

from igrlib._checks import check_finite
from igrlib.experiments._extras import needed

__all__ = ["OPTIMIZERS", "SGD", "Adam", "Momentum", "Optimizer", "RMSprop"]


@runtime_checkable
class Optimizer(Protocol):
    """What every optimizer has. `kind` is its name in records and settings."""

    kind: ClassVar[str]

    def transformation(self, learning_rate: Any) -> Any:
        """The Optax transformation at a learning rate."""
        ...


@dataclass(frozen=True)
class SGD:
    """θ − h∇E_B(θ): gradient descent where the batch is the whole split.

    Source: eq. (1); chapter 2.
    """

    kind: ClassVar[str] = "sgd"

    def transformation(self, learning_rate: Any) -> Any:
        """`optax.sgd`."""
        return needed("optax").sgd(learning_rate)


@dataclass(frozen=True)
class Momentum:
    """Heavy ball m⁺ = βm + ∇E_B, θ − hm⁺, or with `nesterov` θ − h(βm⁺ + ∇E_B); β in [0, 1).

    Source: not in the paper; chapter 11.
    """

    kind: ClassVar[str] = "momentum"

    momentum: float = 0.9
    nesterov: bool = False

    def __post_init__(self) -> None:
        _check_decay("momentum", self.momentum)

    def transformation(self, learning_rate: Any) -> Any:
        """`optax.sgd` with momentum."""
        return needed("optax").sgd(learning_rate, self.momentum, self.nesterov)


@dataclass(frozen=True)
class Adam:
    """Adam with decay rates b1 and b2 in [0, 1), θ − h·m̂/(√(v̂ + eps_root) + eps).

    The default has its ε inside the root. With ε outside, √v̂ has no derivative where a gradient is
    0, as for a black pixel, and the flow that Adam follows is not defined there.

    Source: not in the paper; chapter 11.
    """

    kind: ClassVar[str] = "adam"

    b1: float = 0.9
    b2: float = 0.999
    eps: float = 0.0
    eps_root: float = 1e-8

    def __post_init__(self) -> None:
        _check_decay("b1", self.b1)
        _check_decay("b2", self.b2)
        _check_epsilons(eps=self.eps, eps_root=self.eps_root)

    def transformation(self, learning_rate: Any) -> Any:
        """`optax.adam`."""
        return needed("optax").adam(learning_rate, **asdict(self))


@dataclass(frozen=True)
class RMSprop:
    """RMSprop with a decay rate in [0, 1), θ − h∇E_B/√(v⁺ + eps), v from 0 and not corrected.

    Source: not in the paper; chapter 11.
    """

    kind: ClassVar[str] = "rmsprop"

    decay: float = 0.99
    eps: float = 1e-8

    def __post_init__(self) -> None:
        _check_decay("decay", self.decay)
        _check_epsilons(eps=self.eps)

    def transformation(self, learning_rate: Any) -> Any:
        """`optax.rmsprop` with its ε inside of the root."""
        return needed("optax").rmsprop(learning_rate, **asdict(self), eps_in_sqrt=True)


OPTIMIZERS: dict[str, type[Any]] = {
    optimizer.kind: optimizer for optimizer in (SGD, Momentum, Adam, RMSprop)
}
"""The optimizers by the name that records and settings use."""


def _check_decay(name: str, value: float) -> None:
    check_finite(name, value)
    if not 0 <= value < 1:
        raise ValueError(f"{name} must be at least 0 and below 1, got {value}")


def _check_epsilons(**epsilons: float) -> None:
    for name, value in epsilons.items():
        check_finite(name, value)
        if value < 0:
            raise ValueError(f"{name} must be 0 or more, got {value}")
    if not any(epsilons.values()):
        raise ValueError(f"{' or '.join(epsilons)} must be positive, got 0: a gradient may be 0")
