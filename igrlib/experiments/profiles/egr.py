"""The profiles of explicit gradient regularization: digits and MNIST, ResNet-18 on CIFAR-10.

Two kinds of arm. Those that are `matched` train at one small step h_s with the regularizer
μ = (h − h_s)/4 of larger steps h, for the same physical time, beside these steps themselves. The
others vary μ at given learning rates, as Figure 3c does.

Source: Section 4 and Figure 3c; chapter 9, *Explicit regularization*.
"""

from dataclasses import replace

from igrlib.experiments.arm import Arm
from igrlib.experiments.networks import MLP
from igrlib.experiments.profiles.mlp import DIGITS
from igrlib.experiments.profiles.resnet import CIFAR, PUBLISHED, QUARTER
from igrlib.experiments.thresholds import Thresholds

__all__ = ["EGR_SWEEP"]

_SHORT = Thresholds(level=1e-1)
"""Trained for a shorter time than the sweeps of learning rates: 10⁻² is not reached."""

_MATCHED = replace(
    DIGITS,
    thresholds=_SHORT,
    learning_rates=(0.4, 0.2, 0.1),
    matched=True,
    max_steps=800,
    points=("validation",),
)

_LARGE = replace(PUBLISHED.thresholds, level=1.0, rates=3)
"""The largest step, of the fewest, must come to the level."""

EGR_SWEEP: dict[str, tuple[Arm, ...]] = {
    # Small enough to run in the chapter. Full batches of a smooth loss first: the theorem's case.
    "digits": (
        replace(_MATCHED, name="tanh", network=MLP(depth=2, activation="tanh")),
        replace(_MATCHED, name="relu"),
        # With batches each batch has its own regularizer, explicit and implicit.
        replace(
            _MATCHED,
            name="sgd",
            batch_sizes=(32,),
            num_train=1_300,
            learning_rates=(0.2, 0.1, 0.05),
            physical_time=100.0,
            min_steps=500,
            max_steps=2_000,
        ),
        # Figure 3c on digits, with learning rates to compare with.
        replace(
            _MATCHED,
            name="mu",
            matched=False,
            batch_sizes=(32,),
            num_train=1_300,
            learning_rates=(0.2, 0.1, 0.05),
            mus=(0.0, 0.005, 0.01, 0.02, 0.03, 0.05),
            min_steps=1_000,
            max_steps=1_000,
            score_every=20,
        ),
    ),
    "cpu": (
        Arm(
            "gd",
            widths=(50,),
            batch_sizes=(None,),
            num_train=1_000,
            seeds_per_unit=(4,),
            learning_rates=(0.2, 0.1, 0.05),
            matched=True,
            min_steps=500,
            max_steps=2_000,
            physical_time=100.0,
            score_every=100,
            num_gradients=20,
            gradient_every=None,
            thresholds=_SHORT,
        ),
        Arm(
            "sgd",
            widths=(50,),
            seeds_per_unit=(4,),
            learning_rates=(0.1, 0.05, 0.025),
            matched=True,
            min_steps=5_000,
            max_steps=20_000,
            physical_time=500.0,
            gradient_every=2_500,
            thresholds=_SHORT,
        ),
        # Figure 3c. The paper does not say at which learning rate: at a small one, where steps
        # regularize least, and at the largest, so that the penalty may choose as plain models do.
        # A step takes two gradients or more, so it has half the steps of `resnet-sweep`, to which
        # it is compared.
        replace(
            CIFAR,
            name="resnet",
            learning_rates=(0.2, 0.01),
            mus=(0.0, 0.02, 0.05),
            min_steps=CIFAR.max_steps // 2,
            max_steps=CIFAR.max_steps // 2,
            num_gradients=6,
            # Three rates, which three seeds must have in order: 1/6³.
            thresholds=replace(CIFAR.thresholds, rates=3),
        ),
    ),
    # A step takes two gradients or more: half as many steps as in `resnet-sweep`.
    "gpu": (
        replace(
            QUARTER,
            name="resnet",
            learning_rates=(0.2, 0.01),
            mus=(0.0, 0.01, 0.03, 0.05),
            min_steps=QUARTER.max_steps // 2,
            max_steps=QUARTER.max_steps // 2,
            thresholds=replace(QUARTER.thresholds, rates=3),
        ),
    ),
    # The paper's own size. Figure 3c at one small learning rate; then the regularizer of a step of
    # 0.2, 0.1 without it, for T = 200.
    "paper": (
        replace(
            PUBLISHED,
            name="resnet",
            learning_rates=(0.01,),
            mus=(0.0, 0.01, 0.03, 0.05),
            levels=(1.0, 1e-1),
            thresholds=_LARGE,
        ),
        replace(
            PUBLISHED,
            name="matched",
            learning_rates=(0.2, 0.1, 0.05),
            matched=True,
            min_steps=1_000,
            max_steps=4_000,
            physical_time=200.0,
            score_every=88,
            gradient_every=1_000,
            levels=(1.0, 1e-1),
            thresholds=_LARGE,
        ),
    ),
}
"""The arms of `egr-sweep` by profile."""
