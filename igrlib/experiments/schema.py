"""What a sweep records: the names and shapes of its arrays.

For M models, S measurements of accuracies, G of gradients, L levels of the training loss and the
three points of `POINTS`; NaN where nothing was measured, −1 for a step that never came:

- learning_rate, seed, mu, stop, diverged: (M,);
- score_step: (S,); {validation, test}_{loss, accuracy}: (M, S);
- gradient_step: (G,); train_{loss, accuracy, squared_gradient, scale_free},
  test_squared_gradient, norm: (M, G), and with batch norm evaluated_{loss, squared_gradient}, of
  the training split in evaluation mode;
- level: (L,); crossing_{step, lambda_max, batch_squared_gradient}: (M, L), at the first measurement
  of gradients with a training loss below the level;
- chosen_step, chosen_norm, chosen_{train, validation, test}_{loss, accuracy, squared_gradient,
  scale_free} and with batch norm chosen_evaluated_… too, chosen_{lambda_max,
  batch_squared_gradient}: (M, 3); chosen_noise_accuracy and its standard deviation _sd over
  noise_sigma, chosen_noise_slope and _sd over slope_sigma: (M, 3, K).

Losses are in nats, accuracies between 0 and 1, squared gradients ‖∇E‖² of the mean loss of a whole
split. Source: Section 6 and Appendix A.5; chapter 7, *MNIST*.
"""

from collections.abc import Sequence

import numpy as np

__all__ = ["ALONG", "CURVATURE", "MARKS", "MEASURED", "POINTS", "empty_arrays"]

POINTS = ("validation", "test", "final")
"""Where each model is looked at closely: its best validation accuracy, test accuracy, its end."""

ALONG = {
    "score_step": ("validation_loss", "validation_accuracy", "test_loss", "test_accuracy"),
    "gradient_step": (
        "train_loss",
        "train_accuracy",
        "train_squared_gradient",
        "train_scale_free",
        "evaluated_loss",
        "evaluated_squared_gradient",
        "test_squared_gradient",
        "norm",
    ),
}
"""Arrays with a measurement for each model and step, by the array that holds these steps."""

MEASURED = ("loss", "accuracy", "squared_gradient", "scale_free")
"""What is measured of a whole split."""

CURVATURE = ("lambda_max", "batch_squared_gradient")
"""What is measured of the training split at levels of its loss, and at the points asked for."""

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
) -> dict[str, np.ndarray]:
    """All arrays of a sweep of `members` models, with nothing measured yet.

    `scores` and `gradients` are the steps at which they are measured; `validation`: whether there
    is such a split; `normalized`: whether there is batch norm.
    """
    points, steps = len(POINTS), {"score_step": scores, "gradient_step": gradients}

    def nan(*shape: int) -> np.ndarray:
        return np.full((members, *shape), np.nan)

    arrays = {
        name: nan(len(steps[grid]))
        for grid, names in ALONG.items()
        for name in names
        if normalized or not name.startswith("evaluated")
    }
    arrays["crossing_step"] = np.full((members, len(levels)), -1)
    arrays |= {f"crossing_{name}": nan(len(levels)) for name in CURVATURE}
    arrays["chosen_step"] = np.full((members, points), -1)
    splits = ["train", "test", *["validation"] * validation, *["evaluated"] * normalized]
    whole = [f"{split}_{measure}" for split in splits for measure in MEASURED]
    arrays |= {f"chosen_{name}": nan(points) for name in ("norm", *whole, *CURVATURE)}
    for name, sigmas in (("noise_accuracy", noise_sigmas), ("noise_slope", slope_sigmas)):
        arrays |= {f"chosen_{name}{of}": nan(points, len(sigmas)) for of in ("", "_sd")}
    arrays |= {f"chosen_{name}_accuracy_then": nan() for name in POINTS[:2]}
    return arrays | {
        **{grid: np.asarray(at) for grid, at in steps.items()},
        "level": np.asarray(levels),
        "noise_sigma": np.asarray(noise_sigmas),
        "slope_sigma": np.asarray(slope_sigmas),
        "score_done": np.zeros(len(scores), bool),
        "diverged": np.full(members, -1),
    }
