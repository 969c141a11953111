"""The rod flow: the centre and the half-difference of consecutive steps of gradient descent.

Let p be a step and q = p − h∇E(p) the next. At the edge, hλ = 2, steps turn around along the top
eigenvectors, and one is far from the next; but two are near one: along an eigenvector the map of
two steps multiplies by (1 − hλ)², which is close to 1 at both ends, hλ = 0 and hλ = 2. Its
logarithm, with Δ = (two steps) − 1,

    p′ = (1/2h)·(Δ − ½Δ² + …)p,   to first order p′ = −½·(∇E(p) + ∇E(q)),

is real, and its flow goes through every second step. The rod has p and q at its ends.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import diffrax
import jax
import jax.numpy as jnp
from jaxtyping import ArrayLike, Float

from igrlib._checks import check_callable, check_integer, check_params, check_positive
from igrlib._trees import add_scaled, gradient_of
from igrlib._typing import PyTree, Scalar
from igrlib.backward_error import field_from_iterates
from igrlib.flows import flow

__all__ = ["RodPath", "rod_flow"]


class RodPath(NamedTuple):
    """The rod at all times: its ends are `centre` − `half_difference` and their sum.

    Both are pytrees like θ with a leading axis over the times. At t = 2nh the ends are close to the
    steps θ_{2n} and θ_{2n+1}.

    Source: Regis & Chewi (2026); chapter 10.
    """

    centre: PyTree
    half_difference: PyTree


def rod_flow(
    loss: Callable[..., Any],
    params: PyTree,
    learning_rate: Scalar,
    times: Float[ArrayLike, "saved"],
    *args: PyTree,
    order: int = 2,
    rtol: float | None = None,
    atol: float | None = None,
    max_steps: int = 100_000,
    solver: diffrax.AbstractAdaptiveSolver[Any] | None = None,
) -> RodPath:
    """The centre and the half-difference of consecutive steps of gradient descent, as a flow.

    `order` from 1 to 4 is how many differences of the two-step map are taken, see the module. As
    h → 0 at a fixed time, the ends differ from steps of gradient descent by O(h^order). The field
    takes 2·`order` gradients and no product with the Hessian. `params` are θ at times[0], the end
    `centre` − `half_difference`; `args`, the tolerances, `solver` and the errors are as in
    `igrlib.flow`. Raises `TypeError` or `ValueError` unless `learning_rate` h > 0 is finite and
    `order` is from 1 to 4.

    Source: Regis & Chewi, "Rod flow: a continuous-time model for gradient descent at the edge of
    stability", 2026 (arXiv:2602.01480); chapter 10.
    Differs from its source: derived anew, from the logarithm of two steps; the half-difference is
    no unknown of its own but −(h/2)∇E at one end, as it is of the steps.

    Example:
        >>> rod = ig.edge.rod_flow(lambda theta: theta**2, 1.0, 1.0, jnp.arange(2.0))  # hλ = 2
        >>> [round(float(x), 4) for x in rod.centre - rod.half_difference]
        [1.0, 1.0]
    """
    check_callable("loss", loss)
    check_positive("learning_rate", learning_rate)
    order = check_integer("order", order, low=1, high=4)
    params = check_params(params)
    gradient = gradient_of(loss, has_aux=False)

    def step(theta: PyTree, h: Scalar, given: tuple[PyTree, ...]) -> PyTree:
        return add_scaled(theta, -h, gradient(theta, *given))

    def field(theta: PyTree, h: Scalar, *given: PyTree) -> PyTree:
        ends = [theta]
        for _ in range(order):
            ends.append(step(step(ends[-1], h, given), h, given))
        return field_from_iterates(jax.tree.map(lambda *each: jnp.stack(each), *ends), 2 * h)

    ends = flow(
        field,
        params,
        times,
        learning_rate,
        *args,
        rtol=rtol,
        atol=atol,
        max_steps=max_steps,
        solver=solver,
    )

    def half(theta: PyTree) -> PyTree:
        g = gradient(theta, *args)
        return jax.tree.map(lambda a: -learning_rate / 2 * a, g)

    halves = jax.lax.map(half, ends)
    halves = jax.tree.map(lambda d, p: jnp.asarray(d, p.dtype), halves, ends)
    return RodPath(jax.tree.map(jnp.add, ends, halves), halves)
