"""An arm that runs in a moment, and changes of it."""

import dataclasses

from igrlib.experiments.arm import Arm
from igrlib.experiments.networks import MLP

SMALL = Arm(
    "small",
    dataset="digits",
    widths=(8,),
    network=MLP(depth=1),
    learning_rates=(0.5, 0.1),
    batch_sizes=(10,),
    num_seeds=(2,),
    num_train=60,
    num_validation=20,
    min_steps=30,
    max_steps=40,
    physical_time=16.0,
    score_every=10,
    num_gradients=3,
    points=(),
)


def changed(**changes):
    return dataclasses.replace(SMALL, **changes)
