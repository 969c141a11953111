"""The profiles of the MNIST sweep: what is run live, on two cores in a day, and on one GPU.

Source: Section 6 and Appendix A.5; chapter 7, *MNIST*.
"""

from dataclasses import replace

from igrlib.experiments.arm import Arm
from igrlib.experiments.networks import MLP
from igrlib.experiments.thresholds import Thresholds

__all__ = ["DIGITS", "MLP_SWEEP"]

DIGITS = Arm(
    "gd",
    dataset="digits",
    widths=(32,),
    # Two hidden layers: on 8×8 images five only lengthen the first plateau.
    network=MLP(depth=2),
    learning_rates=(0.4, 0.2, 0.1, 0.05),
    batch_sizes=(None,),
    num_train=500,
    num_validation=200,
    min_steps=200,
    max_steps=1_600,
    physical_time=80.0,
    score_every=100,
    num_gradients=14,
    gradient_every=None,
    points=(),
)

_FEW_SEEDS = Thresholds(rates=4, blocks=3)
"""Three seeds of five rates, one of which may diverge: 1/24³ where four are in order."""

_ALL_RATES = (0.5, 0.1, 0.05, 0.025, 0.01, 0.005, 0.001, 0.0005)
"""The learning rates of Figure 2, with the 0.025 of Figures A.3 to A.5."""

_STRONG_NOISE = (0.0, 0.5, 1.0, 2.0, 3.0)
"""To 300 %, as in Figure 3a."""

_MILLION = Arm(
    "sgd",
    learning_rates=_ALL_RATES,
    num_seeds=(3,),
    min_steps=1_000_000,
    max_steps=1_000_000,
    score_every=2_000,
    gradient_every=20_000,
    num_matvecs=12,
    slope_sigmas=_STRONG_NOISE,
    thresholds=_FEW_SEEDS,
)
"""The paper's 10⁶ steps at every learning rate of its figures."""

MLP_SWEEP: dict[str, tuple[Arm, ...]] = {
    # Small enough to run in the chapter: full batch, the theorem's only literal case.
    # Then batches, which live in the record only.
    "digits": (
        DIGITS,
        replace(
            DIGITS,
            name="sgd",
            batch_sizes=(32,),
            num_train=1_300,
            learning_rates=(0.2, 0.1, 0.05, 0.025),
            max_steps=8_000,
            min_steps=4_000,
            physical_time=200.0,
            score_every=40,
            points=("validation",),
        ),
    ),
    # Real MNIST. Of the paper's 10⁶ steps 60,000 are kept, and as many more for the small learning
    # rates as the time T = 750 takes: what two cores train in a day, and enough for training
    # losses of about 10⁻².
    "cpu": (
        Arm(
            "sgd",
            num_seeds=(8, 4, 4, 3),
            seeds_per_unit=(4, 4, 2, 1),
        ),
        # The theorem speaks of gradient descent: the whole of a subset, for an equal physical time.
        Arm(
            "gd",
            widths=(50,),
            batch_sizes=(None,),
            num_train=1_000,
            seeds_per_unit=(4,),
            learning_rates=(0.2, 0.1, 0.05, 0.025, 0.01),
            min_steps=2_000,
            max_steps=30_000,
            physical_time=300.0,
            num_gradients=24,
            gradient_every=None,
        ),
        # Batch sizes other than 32, at equal numbers of examples seen.
        *(
            Arm(
                f"batch{size}",
                widths=(100,),
                batch_sizes=(size,),
                num_seeds=(4,),
                seeds_per_unit=(4,),
                min_steps=60_000 * 32 // size,
                max_steps=150_000 * 32 // size,
                physical_time=750.0 * 32 / size,
                score_every=1_000 * 32 // size,
                gradient_every=5_000 * 32 // size,
            )
            for size in (8, 128)
        ),
        # All 60,000 images, as the paper may have used: no validation split is left.
        Arm(
            "all",
            widths=(100,),
            num_seeds=(4,),
            seeds_per_unit=(4,),
            num_train=60_000,
            num_validation=0,
            points=("test",),
        ),
    ),
    # The paper's 10⁶ steps and all eight learning rates on two cores: a seed of width 50 takes one
    # of them for less than half an hour, a seed of width 200 for more than an hour.
    "long": (replace(_MILLION, widths=(50, 100, 200), seeds_per_unit=(1,)),),
    # The paper's own size: the whole grid of Figure 2, with the 0.025 of Figures A.3 to A.5, for
    # 10⁶ steps, fewer only at the largest width. A unit is meant for eight minutes of one GPU or
    # less. Up to width 200 three seeds together should take hardly longer than one there: the time
    # goes into starting small products.
    "paper": (
        *(
            replace(
                _MILLION,
                widths=(width,),
                seeds_per_unit=(3 if width <= 200 else 1,),
                min_steps=steps,
                max_steps=steps,
            )
            for width, steps in (
                (50, 1_000_000),
                (100, 1_000_000),
                (200, 1_000_000),
                (400, 1_000_000),
                (800, 1_000_000),
                (1600, 400_000),
            )
        ),
        # Figure A.6: other batch sizes, at equal numbers of examples seen, and the whole training
        # split, at width 400.
        *(
            Arm(
                name,
                widths=(400,),
                learning_rates=(0.5, 0.1, 0.05, 0.025, 0.01),
                batch_sizes=(size,),
                num_seeds=(3,),
                seeds_per_unit=(1,),
                num_train=num_train,
                num_validation=60_000 - num_train,
                min_steps=steps,
                max_steps=steps,
                score_every=steps // 100,
                gradient_every=steps // 20,
                num_matvecs=12,
                points=("validation",) if num_train < 60_000 else ("test",),
                thresholds=_FEW_SEEDS,
            )
            for name, size, num_train, steps in (
                ("batch128", 128, 55_000, 250_000),
                ("batch512", 512, 55_000, 62_500),
                ("gd", None, 60_000, 10_000),
                # Batches of 32 from all 60,000 images, as the paper may have used them.
                ("all", 32, 60_000, 400_000),
            )
        ),
        # What a GPU does with float32 unless it is told otherwise.
        replace(
            _MILLION, name="tf32", widths=(50,), seeds_per_unit=(3,), precision="tensorfloat32"
        ),
    ),
}
"""The arms of `mlp-sweep` by profile."""
