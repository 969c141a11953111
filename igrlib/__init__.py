"""Implicit gradient regularization (Barrett & Dherin, ICLR 2021) for any JAX loss.

To the next order in h, gradient descent with step h follows the gradient flow of
Ẽ = E + (h/4)‖∇E‖² and not that of the loss E. `igrlib` measures that regularizer
(`regularizer`, `geometry`, `ntk`), derives the flow behind the steps of any one-step method to any
order up to five (`backward_error`), and follows steps and flows (`flows`, `comparison`). Everything
is a pure function of a JAX loss over a pytree of parameters. 64-bit mode stays as the caller has
set it.

The examples in docstrings come after `import igrlib as ig` and `import jax.numpy as jnp`.
"""

from igrlib import (
    backward_error,
    comparison,
    curvature,
    edge,
    flows,
    geometry,
    ntk,
    optimizers,
    probing,
    regularizer,
    two_parameter,
)
from igrlib.backward_error import (
    convergence_order,
    euler_corrections,
    field_from_iterates,
    modified_field,
    step_corrections,
    step_field,
)
from igrlib.comparison import Comparison, compare
from igrlib.flows import FlowStats, Trajectory, flow, gradient_descent, gradient_field
from igrlib.probing import Probe, probe
from igrlib.regularizer import (
    Terms,
    gradient_regularized_loss,
    gradient_regularized_value_and_grad,
    implicit_gradient_regularizer,
    matching_mu,
    modified_loss,
    num_params,
    regularization_rate,
)

__version__ = "0.1.0"

__all__ = [
    "Comparison",
    "FlowStats",
    "Probe",
    "Terms",
    "Trajectory",
    "backward_error",
    "compare",
    "comparison",
    "convergence_order",
    "curvature",
    "edge",
    "euler_corrections",
    "field_from_iterates",
    "flow",
    "flows",
    "geometry",
    "gradient_descent",
    "gradient_field",
    "gradient_regularized_loss",
    "gradient_regularized_value_and_grad",
    "implicit_gradient_regularizer",
    "matching_mu",
    "modified_field",
    "modified_loss",
    "ntk",
    "num_params",
    "optimizers",
    "probe",
    "probing",
    "regularization_rate",
    "regularizer",
    "step_corrections",
    "step_field",
    "two_parameter",
]
