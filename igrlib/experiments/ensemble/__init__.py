"""Training many models at once. Source: Section 6 and Appendix A.5; chapter 7, *MNIST*."""

from igrlib.experiments.ensemble.ensemble import Ensemble
from igrlib.experiments.ensemble.members import Layout, Members, State

__all__ = ["Ensemble", "Layout", "Members", "State"]
