"""The profiles of the MNIST sweep: what is run live, on two cores in an evening, and on one GPU.

Source: Section 6 and Appendix A.5; chapter 7, *MNIST*.
"""

from igrlib.experiments.mlp_sweep import Arm

__all__ = ["PROFILES"]

_DIGITS = Arm(
    "gd",
    dataset="digits",
    widths=(32,),
    learning_rates=(0.2, 0.1, 0.05, 0.025),
    batch_sizes=(None,),
    num_train=1_300,
    num_validation=200,
    min_steps=500,
    max_steps=2_000,
    physical_time=50.0,
    score_every=50,
    num_gradients=24,
    points=("validation",),
)

PROFILES: dict[str, tuple[Arm, ...]] = {
    # Small enough to run in the chapter: full batch, the theorem's only literal case.
    "digits": (_DIGITS,),
    # Real MNIST. Of the paper's 10⁶ steps 60,000 to 90,000 are kept: what two cores train in an
    # evening, and enough for training losses between 10⁻² and 10⁻⁴.
    "cpu": (
        Arm(
            "sgd",
            num_seeds=(8, 8, 4, 4),
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
                max_steps=90_000 * 32 // size,
                physical_time=450.0 * 32 / size,
                score_every=1_000 * 32 // size,
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
}
