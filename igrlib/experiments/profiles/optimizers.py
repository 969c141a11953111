"""The profiles of other optimizers: digits, and MNIST on two cores.

Momentum at (h, β) is compared with plain descent at the same effective rate h/(1 − β), and with
plain descent at that rate with the penalty that makes up the difference for full batches, μ =
β/(2(1 − β)) times the rate. With batches that penalty acts on their noise too, and so there is a
third, a known dose: μ = h/4, which doubles the regularizer that plain descent has of itself. The
seeds are the same, and so are the batches.

Source: not in the paper; chapter 11, *Other optimizers*.
"""

from dataclasses import replace

from igrlib.experiments.arm import Arm
from igrlib.experiments.networks import MLP
from igrlib.experiments.optimizers import Adam, Momentum
from igrlib.experiments.profiles.mlp import DIGITS
from igrlib.experiments.thresholds import Thresholds

__all__ = ["BETA", "DOUBLED", "OPTIMIZER_SWEEP", "made_up"]

BETA = {"digits": 0.5, "cpu": 0.9}
"""β of the momentum by profile. On digits it is small enough for the first order to be all."""

_SHORT = Thresholds(level=1e-1)
"""With the larger penalty a pilot of another seed came to 0.09 in 20,000 steps."""


DOUBLED = 0.25
"""μ by rate that doubles the regularizer of plain descent, h/4."""


def made_up(beta: float) -> float:
    """μ by effective rate that makes up the difference: a quarter of (1 + β)/(1 − β) − 1."""
    return beta / (2 * (1 - beta))


def _momentum(arm: Arm, beta: float) -> Arm:
    """`arm` with momentum at the same effective rates, for as many steps."""
    return replace(
        arm,
        name=arm.name.replace("plain", "momentum"),
        optimizer=Momentum(beta),
        learning_rates=tuple((1 - beta) * h for h in arm.learning_rates),
        physical_time=(1 - beta) * arm.physical_time,
        mu_ratios=(),
    )


_SMOOTH = replace(
    DIGITS,
    name="plain",
    network=MLP(depth=2, activation="tanh"),
    learning_rates=(0.1, 0.05, 0.025),
    mu_ratios=(made_up(BETA["digits"]),),
    min_steps=800,
    max_steps=3_200,
    thresholds=_SHORT,
    points=(),
)

_BATCHES = Arm(
    "plain",
    widths=(50,),
    seeds_per_unit=(2,),
    learning_rates=(0.1, 0.05, 0.025),
    mu_ratios=(DOUBLED, made_up(BETA["cpu"])),
    min_steps=40_000,
    max_steps=40_000,
    levels=(1e-1, 3e-2),
    num_matvecs=12,
    points=(),
    thresholds=_SHORT,
)

_TANH = replace(
    _BATCHES,
    name="tanh-plain",
    network=MLP(activation="tanh"),
)
"""The same without kinks."""

OPTIMIZER_SWEEP: dict[str, tuple[Arm, ...]] = {
    # Small enough to run in the chapter: full batches of a smooth loss, the theorem's case.
    "digits": (_SMOOTH, _momentum(_SMOOTH, BETA["digits"])),
    # Real MNIST with batches of 32.
    "cpu": (
        _BATCHES,
        _momentum(_BATCHES, BETA["cpu"]),
        _TANH,
        _momentum(_TANH, BETA["cpu"]),
        # Larger steps of Adam, whose correction is of the other sign where gradients are large
        # beside √ε.
        replace(
            _BATCHES,
            name="adam",
            optimizer=Adam(),
            learning_rates=(0.002, 0.001, 0.0005, 0.00025),
            mu_ratios=(),
        ),
    ),
}
"""The arms of `optimizer-sweep` by profile."""
