"""The profiles of the ResNet-18 sweep: digits, CIFAR-10 on two cores, and on one GPU.

Source: Section 6 and Appendix A.5, Figures A.7 and A.8; chapter 8, *ResNet-18*.
"""

from dataclasses import replace

from igrlib.experiments.arm import Arm
from igrlib.experiments.networks import ResNet18
from igrlib.experiments.thresholds import Thresholds

__all__ = ["CIFAR", "PUBLISHED", "QUARTER", "RESNET_SWEEP"]

CIFAR = Arm(
    "sgd",
    dataset="cifar10",
    network=ResNet18(),
    # An eighth of the published width.
    widths=(8,),
    learning_rates=(0.2, 0.1, 0.05, 0.01, 0.005),
    batch_sizes=(512,),
    num_seeds=(3,),
    seeds_per_unit=(1,),
    # 40 whole batches: with batch norm a shorter one would be another loss.
    num_train=20_480,
    num_validation=5_000,
    # Of up to 40,000 steps. As in the paper all learning rates have equally many.
    min_steps=1_200,
    max_steps=1_200,
    score_every=60,
    # The largest rate passes the level of the verdicts within some dozens of steps.
    num_gradients=9,
    first_gradient=20,
    gradient_every=None,
    # λ_max and noise take more than the rest together where convolutions do badly in loops.
    levels=(),
    points=(),
    # Accuracies: over the fortyfold rates, 5.3 doublings, 1.3 points, two and a half standard
    # errors of one of 60 to 75 % on 10,000 images. Three seeds of five rates are as telling as
    # four of three: 1/120³. The level is one that a pilot of another seed just reached at the
    # smallest rate.
    thresholds=Thresholds(level=1.6, least_accuracy=0.25, rates=4, blocks=3),
)
"""Real CIFAR-10 on two cores, a narrower network and fewer steps."""

PUBLISHED = replace(
    CIFAR,
    widths=(64,),
    # 88 whole batches; the rest of the 50,000 images validates.
    num_train=45_056,
    num_validation=4_944,
    min_steps=40_000,
    max_steps=40_000,
    score_every=440,
    num_gradients=10,
    first_gradient=100,
    gradient_every=5_000,
    levels=(1.0, 1e-1, 1e-2),
    points=("validation",),
    noise_draws=20,
    slope_draws=1,
    # All of the paper's steps should come to this level.
    thresholds=replace(CIFAR.thresholds, level=1e-1),
)
"""The published width and the paper's number of steps, measured as closely as an MLP."""

QUARTER = replace(
    PUBLISHED,
    min_steps=10_000,
    max_steps=10_000,
    score_every=176,
    gradient_every=None,
    num_gradients=12,
    levels=(1.0, 1e-1),
    # A quarter of them should come to this one.
    thresholds=replace(CIFAR.thresholds, level=1.0),
)
"""A quarter of the paper's steps, so that learning rates and penalties fit into half an hour of one
GPU together."""

RESNET_SWEEP: dict[str, tuple[Arm, ...]] = {
    "digits": (
        Arm(
            "sgd",
            dataset="digits",
            widths=(4,),
            # The stem for ImageNet would leave one pixel of the 8×8.
            network=ResNet18(stem="cifar"),
            learning_rates=(0.2, 0.1, 0.05, 0.02, 0.01),
            batch_sizes=(100,),
            num_train=1_300,
            num_validation=200,
            min_steps=200,
            max_steps=1_000,
            physical_time=10.0,
            score_every=20,
            # The largest rate has fitted nearly everything after some dozens of steps.
            num_gradients=14,
            first_gradient=4,
            gradient_every=None,
            levels=(),
            points=(),
        ),
    ),
    "cpu": (CIFAR,),
    "gpu": (QUARTER,),
    "paper": (PUBLISHED,),
}
"""The arms of `resnet-sweep` by profile."""
