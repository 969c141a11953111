"""A unit of a sweep built: its network, its data on the devices, its schedule.

Source: Section 6 and Appendix A.5; chapters 7, *MNIST*, and 8, *ResNet-18*.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from igrlib.experiments.arm import Arm, combinations, stops_of
from igrlib.experiments.data import Dataset
from igrlib.experiments.ensemble import Ensemble, Layout, Members
from igrlib.experiments.evaluation import Evaluation, Splits
from igrlib.experiments.log import Schedule
from igrlib.experiments.measures import training_loss
from igrlib.experiments.sweep import Sweep
from igrlib.experiments.units import Unit

__all__ = ["build", "check_splits", "schedule_of"]


def check_splits(arm: Arm, dataset: Dataset) -> None:
    """Raise `ValueError` where the splits of an arm are larger than the data set."""
    available = len(dataset.train.labels)
    if arm.num_train + arm.num_validation > available:
        raise ValueError(
            f"num_train + num_validation must be at most the {available} training images of "
            f"{dataset.name}, got {arm.num_train} + {arm.num_validation}"
        )
    if arm.num_test is not None and arm.num_test > (there := len(dataset.test.labels)):
        raise ValueError(
            f"num_test must be at most the {there} test images of {dataset.name}, "
            f"got {arm.num_test}"
        )


def schedule_of(arm: Arm) -> Schedule:
    """When an arm is measured: accuracies every `score_every` steps, and with everything else."""
    stops = stops_of(arm)
    last = max(stops)
    dense = min(arm.gradient_every or last, last)
    grid = np.round(np.geomspace(min(arm.first_gradient, dense), dense, arm.num_gradients))
    every = arm.gradient_every or last
    gradients = sorted({0, *map(int, grid), *range(every, last + 1, every), *stops})
    first = min(arm.first_curvature, last)
    curvatures = sorted(set(map(int, np.round(np.geomspace(first, last, arm.num_curvatures)))))
    every_score = range(arm.score_every, last + 1, arm.score_every)
    scores = sorted({*gradients, *curvatures, *every_score})
    return Schedule(tuple(scores), tuple(gradients), arm.levels, tuple(curvatures))


def build(unit: Unit, dataset: Dataset, layout: Layout) -> Sweep:
    """The sweep of a unit, its models seed by seed, its data on the devices.

    Raises `ValueError` as `check_splits` does.
    """
    arm = unit.arm
    check_splits(arm, dataset)
    images, labels = dataset.train.images, dataset.train.labels.astype(np.int32)
    each = [(h, s, t, mu) for s in unit.seeds for h, mu, t in combinations(arm)]
    model = unit.classifier(dataset)
    ensemble = Ensemble(
        _in_precision(training_loss(model), arm.precision),
        model.start,
        Members(*zip(*each, strict=True)),
        (images[: arm.num_train], labels[: arm.num_train]),
        batch_size=unit.batch_size,
        optimizer=arm.optimizer.transformation,
        layout=layout,
    )
    held = slice(len(labels) - arm.num_validation, len(labels))
    tested = slice(arm.num_test)
    place = ensemble.replicate
    splits = Splits(
        train=(ensemble.data[0], ensemble.data[1]),
        validation=(place(images[held]), place(labels[held])) if arm.num_validation else None,
        test=(
            place(dataset.test.images[tested]),
            place(dataset.test.labels[tested].astype(np.int32)),
        ),
    )
    evaluation = Evaluation(
        points=arm.points,
        num_matvecs=arm.num_matvecs,
        sharpness_batches=arm.sharpness_batches,
        noise_draws=arm.noise_draws,
        slope_sigmas=arm.slope_sigmas,
        slope_draws=arm.slope_draws,
    )
    return Sweep(model, ensemble, splits, schedule_of(arm), evaluation)


def _in_precision(loss: Callable[..., Any], precision: str) -> Callable[..., Any]:
    """The loss, with all products in it and in its derivatives computed in `precision`."""

    def computed(*args: Any) -> Any:
        with jax.default_matmul_precision(precision):
            return loss(*args)

    return computed
