"""What a sweep records: the names and dimensions of its arrays.

Losses are in nats, accuracies between 0 and 1, squared gradients ‖∇E‖² of the mean loss of a whole
split. NaN stands where nothing was measured, −1 for a step that never came.

Source: Section 6 and Appendix A.5; chapter 7, *MNIST*.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["ALONG", "CURVATURE", "DIMENSIONS", "MARKS", "MEASURED", "POINTS", "empty_arrays"]

POINTS = ("validation", "test", "final")
"""Where each model is looked at closely: its best validation accuracy, test accuracy, its end."""

MEASURED = ("loss", "accuracy", "squared_gradient", "scale_free")
"""What is measured of a whole split."""

CURVATURE = ("lambda_max", "batch_squared_gradient", "batch_sharpness")
"""What is measured of the training split at levels of its loss, and at the points asked for."""

ALONG = {
    "score_step": ("validation_loss", "validation_accuracy", "test_loss", "test_accuracy"),
    "gradient_step": (
        *(f"train_{name}" for name in MEASURED),
        "evaluated_loss",
        "evaluated_squared_gradient",
        "test_squared_gradient",
        "norm",
    ),
    "curvature_step": (
        "lambda_max",
        "lambda_max_residual",
        "batch_sharpness",
        "batch_sharpness_mean",
    ),
}
"""Arrays measured along the way, by the steps at which they are; `curvature_step` where asked for.

`evaluated` is the training split in evaluation mode, where there is batch norm.
"""

_WHOLE = [
    f"{split}_{name}" for split in ("train", "validation", "test", "evaluated") for name in MEASURED
]
_NOISE = {"noise_accuracy": "noise_sigma", "noise_slope": "slope_sigma"}

DIMENSIONS: dict[str, tuple[str, ...]] = {
    "stop": (),
    **{name: (grid,) for grid, names in ALONG.items() for name in names},
    # λ_max of the Hessian of each of the first batches.
    "batch_lambda_max": ("curvature_step", "batch"),
    # At the first measurement of gradients with a training loss below the level.
    **{f"crossing_{name}": ("level",) for name in ("step", *CURVATURE)},
    **{f"chosen_{name}_accuracy_then": () for name in POINTS[:2]},
    **{f"chosen_{name}": ("point",) for name in ("step", "norm", *_WHOLE, *CURVATURE)},
    # Mean and standard deviation over the draws of noise.
    **{
        f"chosen_{name}{of}": ("point", sigma)
        for name, sigma in _NOISE.items()
        for of in ("", "_sd")
    },
}
"""The dimensions of each array after the first, which is that of the models.

`point` is that of `POINTS`; the others are arrays of a unit themselves: score_step, gradient_step,
curvature_step, batch (its number), level (training losses), noise_sigma and slope_sigma (standard
deviations of the noise).
"""

MARKS = ("censored_validation", "censored_test", "fitted")
"""Lists of models in the metadata: best accuracy in the last tenth of the run, on validation or
test split, and every training example right at some measurement."""


def empty_arrays(
    members: int,
    *,
    scores: Sequence[int],
    gradients: Sequence[int],
    levels: Sequence[float],
    noise_sigmas: Sequence[float],
    slope_sigmas: Sequence[float],
    validation: bool,
    normalized: bool = False,
    curvatures: Sequence[int] = (),
    batches: int = 0,
) -> dict[str, np.ndarray]:
    """All arrays of a sweep of `members` models, with nothing measured yet.

    `scores`, `gradients` and `curvatures` are the steps at which they are measured; `validation`:
    whether there is such a split; `normalized`: whether there is batch norm; `batches`: of how many
    batches λ_max is measured.
    """
    coordinates: dict[str, Sequence[Any]] = {
        "score_step": scores,
        "gradient_step": gradients,
        "level": levels,
        "noise_sigma": noise_sigmas,
        "slope_sigma": slope_sigmas,
    }
    if curvatures:
        coordinates |= {"curvature_step": curvatures, "batch": range(batches)}
    sizes = {name: len(values) for name, values in {**coordinates, "point": POINTS}.items()}
    arrays = {name: np.asarray(values) for name, values in coordinates.items()}
    for name, dimensions in DIMENSIONS.items():
        measured = name.removeprefix("chosen_") if "point" in dimensions else name
        if not sizes.keys() >= set(dimensions):
            continue
        if (normalized or not measured.startswith("evaluated")) and (
            validation or measured == name or not measured.startswith("validation")
        ):
            empty = -1 if name.endswith("_step") else np.nan
            arrays[name] = np.full((members, *(sizes[d] for d in dimensions)), empty)
    return arrays | {"score_done": np.zeros(len(scores), bool), "diverged": np.full(members, -1)}
