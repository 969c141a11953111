"""A verdict: the observation, its reading as evidence, and the numbers behind both.

Source: Section 2, Predictions 2.1-2.4; chapter 12, *What held*.
"""

from dataclasses import dataclass, field

import numpy as np

from igrlib.experiments.thresholds import Thresholds
from igrlib.experiments.verdicts.rules import Observation, Reading, Reason
from igrlib.experiments.verdicts.trends import Trend

__all__ = ["LABELS", "Boost", "Level", "Standing", "Verdict"]

LABELS = {"2.1": "P1", "2.2": "P2", "2.3": "P3", "2.4": "P4"}
"""What the book calls the paper's Predictions 2.1 to 2.4."""


@dataclass(frozen=True, eq=False)
class Standing:
    """Where the models stand at which a quantity was measured: medians of each column, (R,).

    factor: h, or h + 4μ; level: the training loss at which all stand, None at chosen points; loss,
    time: training loss, and physical time t = n·h; edge: h·λ_max(1 + 2μλ_max); curvature_loss: the
    training loss at which λ_max was measured; num_matvecs: the Lanczos products of each λ_max.
    NaN where nothing was measured.
    """

    factor: np.ndarray
    level: float | None
    loss: np.ndarray
    time: np.ndarray
    edge: np.ndarray
    curvature_loss: np.ndarray
    num_matvecs: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Level:
    """What is observed of P1 at one training loss."""

    level: float
    observation: Observation
    trend: Trend
    time: np.ndarray


@dataclass(frozen=True, eq=False)
class Boost:
    """The best plain and the best regularized model of each block, chosen on validation.

    seed: (B,); plain, explicit: test accuracies in per cent, NaN where none was measured;
    plain_rate, explicit_rate, explicit_mu: of the models chosen; gradients: how many a model of
    either side could compute; plain_rates, explicit_rates: the learning rates offered.
    """

    seed: np.ndarray
    plain: np.ndarray
    explicit: np.ndarray
    plain_rate: np.ndarray
    explicit_rate: np.ndarray
    explicit_mu: np.ndarray
    gradients: int
    plain_rates: np.ndarray
    explicit_rates: np.ndarray

    @property
    def points(self) -> np.ndarray:
        """(B,) what explicit regularization adds."""
        return self.explicit - self.plain


@dataclass(frozen=True, eq=False)
class Verdict:
    """A verdict with its numbers; `igrlib.experiments.verdicts.describe` puts it into words.

    prediction: its number in the paper; observation: what was seen; reading: what that is evidence
    for; reasons: why the observation is not another one; rivals: what else would explain it. name,
    unit, factor, falls: the primary quantity, its unit, what varies, and whether a fall is
    predicted; thresholds: those of the verdict. trend: of the primary quantity over all blocks,
    None without a record; widths: the same by width; controls, beside: by what was kept or
    measured; levels: for P1, the observation at other training losses; progress: the trend of the
    training loss where the models are compared; standing: where that is. models, diverged (left
    out), unmeasured: how many models; beyond_edge: how many with h·λ_max over the edge, left in;
    missing: units not yet run; boost: of Figure 3c.
    """

    prediction: str
    claim: str
    observation: Observation
    reading: Reading = "none"
    reasons: tuple[Reason, ...] = ()
    rivals: tuple[Reason, ...] = ()
    name: str = ""
    unit: str = ""
    factor: str = "h"
    falls: bool = False
    least: float = 0.0
    thresholds: Thresholds = field(default_factory=Thresholds)
    trend: Trend | None = None
    widths: dict[int, Trend] = field(default_factory=dict)
    controls: dict[str, Trend] = field(default_factory=dict)
    beside: dict[str, Trend] = field(default_factory=dict)
    levels: tuple[Level, ...] = ()
    progress: Trend | None = None
    standing: Standing | None = None
    models: int = 0
    diverged: int = 0
    unmeasured: int = 0
    beyond_edge: int = 0
    missing: tuple[str, ...] = ()
    boost: Boost | None = None

    @property
    def label(self) -> str:
        """P1 to P4, or the figure where the verdict is on one."""
        return LABELS.get(self.prediction, f"Figure {self.prediction}")
