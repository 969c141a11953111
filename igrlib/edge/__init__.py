"""Flows that go on where gradient descent does: at the edge of stability, hλ_max = 2.

`principal_field` follows the size of steps along the top eigenvectors, `central_flow` the mean of
the steps and their covariance, `rod_flow` the steps themselves, two at a time.

Source: chapter 10, *The edge of stability*; not in the paper.
"""

from igrlib.edge.central import CentralPath, central_flow
from igrlib.edge.principal import principal_field
from igrlib.edge.rod import RodPath, rod_flow

__all__ = ["CentralPath", "RodPath", "central_flow", "principal_field", "rod_flow"]
