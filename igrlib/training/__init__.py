"""Training many models at once. Source: Section 6 and Appendix A.5; chapter 7, *MNIST*."""

from igrlib.training.ensemble import Ensemble
from igrlib.training.members import Layout, Members, State

__all__ = ["Ensemble", "Layout", "Members", "State"]
