"""What recorded sweeps say of the paper's predictions and claims: observations and readings.

Source: Section 2, Predictions 2.1-2.4, and Figure 3c; chapters 7 to 12.
"""

from igrlib.experiments.thresholds import Thresholds
from igrlib.experiments.verdicts.boost import BoostThresholds, boost, judge_boost
from igrlib.experiments.verdicts.contrasts import Contrast, contrast
from igrlib.experiments.verdicts.describe import Description, describe
from igrlib.experiments.verdicts.describe_edge import (
    describe_flatness,
    describe_ladder,
    describe_strength,
    describe_together,
)
from igrlib.experiments.verdicts.flatness import judge_flatness
from igrlib.experiments.verdicts.judgement import judge
from igrlib.experiments.verdicts.ladder import judge_ladder
from igrlib.experiments.verdicts.rules import (
    Observation,
    Reading,
    Reason,
    recorded_thresholds,
)
from igrlib.experiments.verdicts.strength import judge_strength
from igrlib.experiments.verdicts.verdict import Boost, Level, Standing, Verdict

__all__ = [
    "Boost",
    "BoostThresholds",
    "Contrast",
    "Description",
    "Level",
    "Observation",
    "Reading",
    "Reason",
    "Standing",
    "Thresholds",
    "Verdict",
    "boost",
    "contrast",
    "describe",
    "describe_flatness",
    "describe_ladder",
    "describe_strength",
    "describe_together",
    "judge",
    "judge_boost",
    "judge_flatness",
    "judge_ladder",
    "judge_strength",
    "recorded_thresholds",
]
