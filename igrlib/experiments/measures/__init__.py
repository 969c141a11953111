"""What is measured of a classifier, on whole splits and never on a batch.

Every function takes `logits(params, images)`, images for it and integer labels, and goes through
the split in parts, so that memory does not grow with the split. Gradients are computed at full
matrix precision.

Source: Section 6 and Appendix A.5; chapter 7, *MNIST*.
"""

from igrlib.experiments.measures.curvature import largest_hessian_eigenvalue
from igrlib.experiments.measures.noise import perturbed
from igrlib.experiments.measures.sharpness import Sharpness, sharpness, sharpness_of_batches
from igrlib.experiments.measures.splits import (
    AT_ONCE,
    Logits,
    Measures,
    OverSplit,
    Scores,
    cross_entropy,
    mean_cross_entropy,
    mean_squared_batch_gradient,
    measures,
    scores,
    training_loss,
)

__all__ = [
    "AT_ONCE",
    "Logits",
    "Measures",
    "OverSplit",
    "Scores",
    "Sharpness",
    "cross_entropy",
    "largest_hessian_eigenvalue",
    "mean_cross_entropy",
    "mean_squared_batch_gradient",
    "measures",
    "perturbed",
    "scores",
    "sharpness",
    "sharpness_of_batches",
    "training_loss",
]
