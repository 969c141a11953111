"""The experiments, and the profiles of each: what is run live, on two cores and on one GPU.

Source: Section 6; chapter 7, *MNIST*.
"""

from igrlib.experiments.arm import Arm
from igrlib.experiments.profiles.mlp import MLP_SWEEP

__all__ = ["ABOUT", "EXPERIMENTS"]

EXPERIMENTS: dict[str, dict[str, tuple[Arm, ...]]] = {"mlp-sweep": MLP_SWEEP}
"""Arms by experiment and profile."""

ABOUT = {"mlp-sweep": "Section 6, learning rates, widths and batch sizes of an MLP"}
"""What each experiment is, in a line."""
