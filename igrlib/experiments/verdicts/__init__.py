"""What recorded sweeps say of the paper's predictions and claims: which hold, and which do not.

Source: Section 2, Predictions 2.1-2.4, and Figure 3c; chapters 7 to 10.
"""

from igrlib.experiments.verdicts.boost import Boost, BoostThresholds, boost, judge_boost
from igrlib.experiments.verdicts.judgement import Verdict, judge
from igrlib.experiments.verdicts.rules import Thresholds, Word, thresholds_of

__all__ = [
    "Boost",
    "BoostThresholds",
    "Thresholds",
    "Verdict",
    "Word",
    "boost",
    "judge",
    "judge_boost",
    "thresholds_of",
]
