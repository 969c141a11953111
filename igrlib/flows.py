"""Gradient descent, and the flows it is compared with.

Source: Sections 2, 3 and 5; chapters 1 to 3.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Int

from igrlib._checks import (
    check_callable,
    check_integer,
    check_params,
    check_positive,
    checked_field,
    checked_loss,
    is_traced,
    real_array,
)
from igrlib._programs import Program, traced
from igrlib._trees import add_scaled, transform_of_gradient
from igrlib._typing import Filter, PyTree, Scalar

__all__ = ["Trajectory", "flow", "gradient_descent", "gradient_field"]


class Trajectory(NamedTuple):
    """The saved iterates of gradient descent.

    `steps` are their numbers n, `params` a pytree like θ with a leading axis over them, `losses`
    the values E(θ_n). A run that diverges holds the infinities it reached.

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
    so sees what captured arrays, globals and attributes hold now. A program compiles once for each
    `num_steps` and `save_every`; new values in captured arrays of the same shape compile nothing.
    (`jax.jit` around the call saves the trace, some milliseconds, and freezes what is captured.) A
    run that diverges is no error: its trajectory holds what it reached. Raises `TypeError` or
    `ValueError` unless `learning_rate` h > 0 is finite, `num_steps` ≥ 0 and `save_every` ≥ 1 are
    integers, `params` are floating-point and `loss` returns a scalar.

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
    field: Callable[[PyTree], PyTree],
    params: PyTree,
    times: Float[ArrayLike, "saved"],
    *,
    rtol: float | None = None,
    atol: float | None = None,
    max_steps: int = 100_000,
) -> PyTree:
    """The solution of dθ/dt = field(θ) with θ(times[0]) = params, at all `times`.

    Returns a pytree like `params` with a leading axis over `times`, which increase strictly.
    The solver is diffrax's `Dopri8`, stepping onto every time. Tolerances default to 1e-10 and
    1e-13 in float64, 1e-5 and 1e-7 below. Each call traces `field` anew, as `gradient_descent`
    does its loss. Raises `ValueError` for bad times, tolerances or a field whose values are not
    like `params`, and `RuntimeError` where the solution leaves the finite numbers or needs more
    than `max_steps` steps; it never returns NaN. (Inside `jax.jit` the message is the same, and JAX
    chooses the type of the error.)

    Source: eq. (5), Theorem 3.1; chapter 2.

    Example:
        >>> field = ig.gradient_field(lambda theta: theta**2 / 2)
        >>> path = ig.flow(field, 1.0, jnp.arange(2.0))  # 1, 1/e
        >>> [round(float(theta), 3) for theta in path]
        [1.0, 0.368]
    """
    checked = checked_field(field)
    params = check_params(params)
    times = real_array("times", times)
    max_steps = check_integer("max_steps", max_steps, low=1)
    # Mixed precisions are solved in the widest of them.
    dtype = jnp.result_type(jnp.float32, *jax.tree.leaves(params))
    wide = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, dtype), params)
    program = traced(checked, wide, params, times, rtol, atol)
    times = jnp.asarray(times, dtype)
    _check_times(times)
    single = dtype != jnp.float64
    rtol = (1e-5 if single else 1e-10) if rtol is None else rtol
    atol = (1e-7 if single else 1e-13) if atol is None else atol
    check_positive("rtol", rtol)
    check_positive("atol", atol)
    solution, finite = _solve(program, params, times, rtol, atol, max_steps)
    failure = (
        f"flow left the finite numbers or needed more than max_steps={max_steps} steps; "
        "if the solution does not blow up there, raise max_steps, or rtol and atol"
    )
    if is_traced(finite):
        return eqx.error_if(solution, ~finite.all(), failure)
    if not finite.all():
        first_bad = int(np.argmin(finite))
        raise RuntimeError(f"{failure} (times[{first_bad}] = {times[first_bad]:.6g} not reached)")
    return solution


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


def _check_times(times: Array) -> None:
    if times.ndim != 1 or times.size < 2:
        raise ValueError(f"times must be a vector of two or more, got shape {times.shape}")
    if is_traced(times):
        return
    if not (np.isfinite(times).all() and (np.diff(times) > 0).all()):
        raise ValueError(f"times must be finite and increase strictly, got {times}")


@eqx.filter_jit
def _solve(
    field: Program,
    params: PyTree,
    times: Float[Array, "saved"],
    rtol: Scalar,
    atol: Scalar,
    max_steps: int,
) -> tuple[PyTree, Bool[Array, "saved"]]:
    """The solution, and at which times it was reached with finite numbers."""
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(lambda t, theta, field: field(theta)),
        diffrax.Dopri8(),
        times[0],
        times[-1],
        None,
        jax.tree.map(lambda leaf: leaf.astype(times.dtype), params),
        field,
        saveat=diffrax.SaveAt(ts=times),
        # Interpolated values are a thousand times less accurate than the steps themselves.
        stepsize_controller=diffrax.ClipStepSizeController(
            diffrax.PIDController(rtol=rtol, atol=atol), step_ts=times
        ),
        max_steps=max_steps,
        throw=False,
    ).ys
    solution = jax.tree.map(lambda leaf, like: leaf.astype(like.dtype), solution, params)
    finite = [
        jnp.isfinite(leaf).reshape(times.size, -1).all(1) for leaf in jax.tree.leaves(solution)
    ]
    return solution, jnp.stack(finite).all(0)
