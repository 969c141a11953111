"""The profiles of the edge of stability: is it the regularizer, or the edge?

The ladder gives small steps the regularizer of a large one: h_L/4, h_L/16 and h_L/64, each with
μ = (h_L − h)/4 and without, for the same physical time. If the regularizer rules, what they have at
equal loss stays that of h_L as h falls; if the edge rules, it goes back to that of small steps.

The paths are single full-batch runs, with five flows beside each: which of them goes on where the
run does.

Source: not in the paper, whose Section 7 leaves it open; chapter 10, *The edge of stability*.
"""

from dataclasses import replace

from igrlib.experiments.arm import Arm
from igrlib.experiments.networks import MLP
from igrlib.experiments.paths import PathArm
from igrlib.experiments.profiles.mlp import DIGITS
from igrlib.experiments.thresholds import Thresholds

__all__ = ["EDGE_SWEEP", "RUNGS"]

RUNGS = (1, 4, 16, 64)
"""The large step by each step of the ladder."""


def _rungs(largest: float) -> tuple[float, ...]:
    return tuple(largest / rung for rung in RUNGS)


_SHORT = Thresholds(level=1e-1)
_NOISY = Thresholds(level=2e-1)
"""In pilots of another seed the large step of batches, with GELU, came to 0.16 at T = 300."""

_BATCHES = Arm(
    "ladder",
    widths=(50,),
    num_seeds=(4,),
    seeds_per_unit=(1,),
    # 20,000 images: λ_max of the whole split costs as much as hundreds of steps.
    num_train=20_000,
    learning_rates=_rungs(0.1),
    ladder=True,
    physical_time=300.0,
    min_steps=1,
    max_steps=1_000_000,
    score_every=4_000,
    num_gradients=80,
    gradient_every=None,
    levels=(3e-1, 2e-1, 1e-1),
    num_matvecs=12,
    points=(),
    thresholds=_NOISY,
)

_FULL = replace(
    _BATCHES,
    name="ladder-gd",
    batch_sizes=(None,),
    num_train=500,
    # 0.2 stands at the edge of full batches, 0.1 hardly.
    learning_rates=_rungs(0.2),
    physical_time=80.0,
    score_every=400,
    num_gradients=120,
    first_gradient=10,
    num_curvatures=24,
    first_curvature=1,
    levels=(3e-1, 1e-1, 3e-2),
    thresholds=_SHORT,
)

_EDGES = replace(
    _BATCHES,
    name="batches",
    learning_rates=(0.1, 0.05, 0.025, 0.0125),
    batch_sizes=(8, 32, 128),
    ladder=False,
    min_steps=20_000,
    max_steps=20_000,
    num_gradients=20,
    num_curvatures=12,
)
"""The sharpness of the split and of its batches from step 100 on."""

_STRENGTH = replace(
    _FULL,
    name="strength",
    network=MLP(activation="tanh"),
    learning_rates=(0.0025,),
    ladder=False,
    mus=(0.0, 0.0005, 0.0015, 0.005, 0.015, 0.05),
    physical_time=50.0,
)
"""The theorem's case: smooth, full batches, small hλ_max; the strength varies by μ alone."""

_DIGITS = replace(
    DIGITS,
    name="ladder-gd",
    learning_rates=_rungs(0.4),
    ladder=True,
    num_seeds=(4,),
    seeds_per_unit=(4,),
    min_steps=1,
    max_steps=20_000,
    # At 40 the loss is still at 0.1.
    physical_time=80.0,
    first_gradient=10,
    num_gradients=40,
    num_curvatures=12,
    first_curvature=1,
    num_matvecs=12,
    levels=(3e-1, 1e-1),
    thresholds=_SHORT,
)


_PATH = PathArm(
    "path",
    # h = 0.05 reaches the edge soon after the loss begins to fall, at t = 8, and stays there.
    learning_rates=(0.05, 0.1),
    physical_time=16.0,
    flows_from=6.0,
    num_saved=80,
    # Those at the edge at once, and one more to see that they are all.
    num_directions=4,
    num_matvecs=12,
    max_solver_steps=100,
)

_PATH_GELU = replace(
    _PATH,
    name="path-gelu",
    network=MLP(activation="gelu"),
    # With GELU the loss stays on its first plateau until t = 18.
    physical_time=30.0,
    flows_from=20.0,
    num_saved=100,
)
"""The same without kinks: the flows at the edge need third derivatives."""

_PATH_DIGITS = replace(
    _PATH,
    dataset="digits",
    network=MLP(depth=3, activation="tanh"),
    widths=(16,),
    num_train=500,
    # h·λ_max passes 2 at t = 3, reaches 3, and stays at 2 from t = 12 on.
    learning_rates=(0.25,),
    physical_time=30.0,
    flows_from=0.0,
    num_saved=15,
    num_directions=3,
)


def _ladders(arm: Arm) -> tuple[Arm, Arm]:
    """An arm with kinks, and the same without."""
    return arm, replace(
        arm, name=f"{arm.name}-gelu", network=replace(arm.network, activation="gelu")
    )


EDGE_SWEEP: dict[str, tuple[Arm | PathArm, ...]] = {
    # Minutes on two cores.
    "digits": (
        *_ladders(_DIGITS),
        replace(
            _DIGITS,
            name="strength",
            network=replace(_DIGITS.network, activation="tanh"),
            learning_rates=(0.02,),
            ladder=False,
            mus=(0.0, 0.001, 0.003, 0.01, 0.03, 0.1),
        ),
        _PATH_DIGITS,
    ),
    # Real MNIST. The wider networks are arms of their own: they take twice as long as all others.
    "cpu": (
        *_ladders(_BATCHES),
        *_ladders(_FULL),
        _EDGES,
        _STRENGTH,
        *(
            replace(arm, name=f"wide-{arm.name}", widths=(200,))
            for arm in (*_ladders(_BATCHES), *_ladders(_FULL))
        ),
        _PATH_GELU,
        _PATH,
    ),
    # The same with more seeds, more images and longer, for one GPU.
    "paper": (
        *(
            replace(
                arm, widths=(50, 200, 400), num_seeds=(8,), num_train=55_000, physical_time=800.0
            )
            for arm in _ladders(_BATCHES)
        ),
        *(
            replace(
                arm, widths=(50, 200, 400), num_seeds=(8,), num_train=5_000, physical_time=160.0
            )
            for arm in _ladders(_FULL)
        ),
        replace(_EDGES, widths=(50, 200), num_seeds=(8,), num_train=55_000, num_curvatures=24),
        replace(_STRENGTH, num_seeds=(8,), num_train=5_000),
        *(
            replace(arm, widths=(50, 200), seeds=(0, 1), num_train=5_000, num_saved=200)
            for arm in (_PATH_GELU, _PATH)
        ),
    ),
}
"""The arms of `edge-sweep` by profile."""
