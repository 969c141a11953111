"""The experiments, and the profiles of each: what is run live, on two cores and on one GPU.

Source: Sections 4 and 6; chapters 7, *MNIST*, 8, *ResNet-18*, 9, *Explicit regularization*, and
11, *Other optimizers*.
"""

from collections.abc import Mapping

from igrlib.experiments.arm import Arm
from igrlib.experiments.paths import PathArm
from igrlib.experiments.profiles.edge import EDGE_SWEEP
from igrlib.experiments.profiles.egr import EGR_SWEEP
from igrlib.experiments.profiles.mlp import MLP_SWEEP
from igrlib.experiments.profiles.optimizers import OPTIMIZER_SWEEP
from igrlib.experiments.profiles.resnet import RESNET_SWEEP

__all__ = ["ABOUT", "EXPERIMENTS"]

EXPERIMENTS: dict[str, Mapping[str, tuple[Arm | PathArm, ...]]] = {
    "mlp-sweep": MLP_SWEEP,
    "resnet-sweep": RESNET_SWEEP,
    "egr-sweep": EGR_SWEEP,
    "edge-sweep": EDGE_SWEEP,
    "optimizer-sweep": OPTIMIZER_SWEEP,
}
"""Arms by experiment and profile."""

ABOUT = {
    "mlp-sweep": "Section 6, learning rates, widths and batch sizes of an MLP",
    "resnet-sweep": "Figures A.7 and A.8, learning rates of a ResNet-18",
    "egr-sweep": "Section 4 and Figure 3c, explicit gradient regularization",
    "edge-sweep": "not in the paper, whether the regularizer or the edge of stability rules",
    "optimizer-sweep": "not in the paper, momentum and Adam beside plain descent",
}
"""What each experiment is, in a line."""
