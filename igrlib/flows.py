"""Gradient descent, and the flows that it is compared with.

Source: Sections 2, 3 and 5; chapters 1 to 3.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int

from igrlib._checks import (
    check_callable,
    check_integer,
    check_params,
    check_positive,
    checked_loss,
    is_traced,
)
from igrlib._programs import Program, traced
from igrlib._solving import solve
from igrlib._trees import add_scaled, transform_of_gradient
from igrlib._typing import Filter, PyTree, Scalar

__all__ = ["FlowStats", "Trajectory", "flow", "gradient_descent", "gradient_field"]


class FlowStats(NamedTuple):
    """The cost of a flow: the steps of its solver, `num_steps` = `num_accepted` + `num_rejected`.

    A step of `Dopri8` evaluates the field 13 times, whether it is accepted or not.

    Source: diffrax; not in the paper.
    """

    num_steps: Int[Array, ""]
    num_accepted: Int[Array, ""]
    num_rejected: Int[Array, ""]


class Trajectory(NamedTuple):
    """The saved iterates of gradient descent.

    `steps` are their numbers n, `params` a pytree like θ with a leading axis over them, `losses`
    the values E(θ_n). After a divergence they hold the infinities that the run reached.

    Source: eq. (1); chapter 1.
    """

    steps: Int[Array, "saved"]
    params: PyTree
    losses: Float[Array, "saved"]


def gradient_field(
    loss: Callable[..., Any], *, has_aux: bool = False, wrt: Filter | None = None
) -> Callable[..., Any]:
    """The field f = −∇E of gradient flow, `(params, *args, **kwargs) -> pytree like params`.

    With `has_aux` it returns `(field, aux)`. `wrt` and the errors are as in
    `igrlib.implicit_gradient_regularizer`.

    Source: eq. (5); chapter 2.

    Example:
        >>> float(ig.gradient_field(lambda theta: theta**2)(3.0))
        -6.0
    """
    return transform_of_gradient(
        loss, has_aux, lambda _, gradient: jax.tree.map(jnp.negative, gradient), wrt
    )


def gradient_descent(
    loss: Callable[[PyTree], Any],
    params: PyTree,
    learning_rate: Scalar,
    num_steps: int,
    *,
    save_every: int = 1,
) -> Trajectory:
    """The iterates θ_{n+1} = θ_n − h∇E(θ_n) of full-batch gradient descent.

    Saves steps 0, `save_every`, 2·`save_every`, … and the last. Each call traces `loss` anew and
    so sees the present values of captured arrays, globals and attributes. A program compiles once
    for each `num_steps` and `save_every`; new values in captured arrays of the same shape compile
    nothing. (`jax.jit` around the call saves the trace, some milliseconds, and freezes captured
    values.) A divergence is not an error: the trajectory holds the values that the run reached.

    Raises `TypeError` or `ValueError` unless `learning_rate` h > 0 is finite, `num_steps` ≥ 0 and
    `save_every` ≥ 1 are integers, `params` are floating-point and `loss` returns a scalar.

    Source: eq. (1); chapter 2.

    Example:
        >>> run = ig.gradient_descent(lambda theta: theta**2 / 2, 1.0, 0.5, 3)
        >>> run.params.tolist(), run.steps.tolist()
        ([1.0, 0.5, 0.25, 0.125], [0, 1, 2, 3])
    """
    check_callable("loss", loss)
    check_positive("learning_rate", learning_rate)
    num_steps = check_integer("num_steps", num_steps, low=0)
    save_every = check_integer("save_every", save_every, low=1)
    params = check_params(params)
    value_and_grad = jax.value_and_grad(checked_loss(loss, has_aux=False))
    program = traced(value_and_grad, params, learning_rate)
    iterates, losses = _descend(
        program, params, jnp.asarray(learning_rate, float), num_steps, save_every
    )
    return Trajectory(jnp.asarray(_saved_steps(num_steps, save_every)), iterates, losses)


def flow(
    field: Callable[..., PyTree],
    params: PyTree,
    times: Float[ArrayLike, "saved"],
    *args: PyTree,
    rtol: float | None = None,
    atol: float | None = None,
    max_steps: int = 100_000,
    solver: diffrax.AbstractAdaptiveSolver[Any] | None = None,
    stats: bool = False,
) -> Any:
    """The solution of dθ/dt = `field(θ, *args)` with θ(times[0]) = params, at all `times`.

    Returns a pytree like `params` with a leading axis over `times`, which increase strictly; with
    `stats` the pair of it and a `FlowStats`. `args` are pytrees of arrays and numbers, such as a
    batch or a learning rate. `solver` is a solver of diffrax with an estimate of its error,
    by default `Dopri8`, and steps onto every time; an implicit one, `diffrax.Kvaerno5()`, is for
    stiff flows of few parameters. Tolerances default to 1e-10 and 1e-13 in float64, 1e-5 and 1e-7
    below.

    Each call traces `field` once, and so sees the present values of captured arrays, globals and
    attributes. A program compiles once for each field, solver, `max_steps` and shapes. New values
    of `params`, `times`, `args`, tolerances and captured arrays compile nothing; nor does another
    field with the same arithmetic.

    Raises `TypeError` or `ValueError` for bad times, tolerances, `args`, another `solver`, or a
    field whose values do not have the form of `params`, and `RuntimeError` where the solution
    leaves the finite numbers or needs more than `max_steps` steps. It never returns NaN. (Inside
    `jax.jit` the message is the same, and JAX chooses the type of the error.)

    Source: eq. (5), Theorem 3.1; chapter 2.

    Example:
        >>> field = lambda theta, rate: -rate * theta
        >>> path, stats = ig.flow(field, 1.0, jnp.arange(2.0), 0.5, stats=True)  # 1, 1/√e
        >>> [round(float(theta), 3) for theta in path]
        [1.0, 0.607]
        >>> int(stats.num_steps) == int(stats.num_accepted) + int(stats.num_rejected)
        True
    """
    solution, reached, counts = solve(
        field, params, times, args, rtol=rtol, atol=atol, max_steps=max_steps, solver=solver
    )
    failure = (
        f"flow left the finite numbers or needed more than max_steps={max_steps} steps; "
        "if the solution does not blow up there, raise max_steps, or rtol and atol"
    )
    if is_traced(reached):
        solution = eqx.error_if(solution, ~reached.all(), failure)
    elif not reached.all():
        first_bad = int(np.argmin(reached))
        time = float(np.asarray(times)[first_bad])
        raise RuntimeError(f"{failure} (times[{first_bad}] = {time:.6g} not reached)")
    return (solution, FlowStats(*counts)) if stats else solution


@eqx.filter_jit
def _descend(
    value_and_grad: Program,
    params: PyTree,
    learning_rate: Scalar,
    num_steps: int,
    save_every: int,
) -> tuple[PyTree, Array]:
    def advance(theta: PyTree, steps: int) -> PyTree:
        def step(_: Any, theta: PyTree) -> PyTree:
            return add_scaled(theta, -learning_rate, value_and_grad(theta)[1])

        return jax.lax.fori_loop(0, steps, step, theta)

    def block(theta: PyTree, _: None) -> tuple[PyTree, PyTree]:
        return advance(theta, save_every), theta

    blocks, rest = divmod(num_steps, save_every)
    theta, saved = jax.lax.scan(block, params, length=blocks)
    tail = [theta, advance(theta, rest)] if rest else [theta]
    iterates = jax.tree.map(
        lambda early, *late: jnp.concatenate([early, jnp.stack(late)]), saved, *tail
    )
    return iterates, jax.lax.map(lambda theta: value_and_grad(theta)[0], iterates)


def _saved_steps(num_steps: int, save_every: int) -> Int[np.ndarray, "saved"]:
    return np.append(np.arange(0, num_steps, save_every), num_steps)
