"""Training many models at once. Source: Section 6 and Appendix A.5; chapter 7, *MNIST*."""

from igrlib.training.ensemble import Ensemble
from igrlib.training.members import (
    Classifier,
    Layout,
    Members,
    NormalizedClassifier,
    State,
    Variables,
)

__all__ = [
    "Classifier",
    "Ensemble",
    "Layout",
    "Members",
    "NormalizedClassifier",
    "State",
    "Variables",
]
