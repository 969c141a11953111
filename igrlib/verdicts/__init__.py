"""What a recorded sweep says of Predictions 2.1 to 2.4: which hold, and which do not.

Source: Section 2, Predictions 2.1-2.4; chapters 7, *MNIST*, and 10, *What held*.
"""

from igrlib.verdicts.judgement import Verdict, judge
from igrlib.verdicts.rules import Thresholds, Word

__all__ = ["Thresholds", "Verdict", "Word", "judge"]
