"""At which steps an ensemble is measured.

Source: Appendix A.5 shows curves and does not say how often it measured; chapter 7, *MNIST*.
"""

from dataclasses import dataclass

__all__ = ["Schedule"]


@dataclass(frozen=True)
class Schedule:
    """The steps at which accuracies, and gradients, are measured.

    Sorted; `gradients` is among `scores`, because both are wanted of the same parameters.
    `levels`: the training losses at whose first crossing a model is looked at closely, falling.
    """

    scores: tuple[int, ...]
    gradients: tuple[int, ...]
    levels: tuple[float, ...] = (1e-1, 1e-2, 1e-3, 1e-4)

    def __post_init__(self) -> None:
        for name in ("scores", "gradients"):
            steps = getattr(self, name)
            if not steps or list(steps) != sorted(set(steps)) or steps[0] < 0:
                raise ValueError(f"{name} must be steps in rising order, got {steps}")
        if not set(self.gradients) <= set(self.scores):
            strays = sorted(set(self.gradients) - set(self.scores))
            raise ValueError(f"gradients must be among scores, got {strays} besides")
        if list(self.levels) != sorted(set(self.levels), reverse=True):
            raise ValueError(f"levels must be in falling order, got {self.levels}")
