"""The solver behind every flow."""

from collections.abc import Callable
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float

from igrlib._checks import (
    check_arrays,
    check_integer,
    check_params,
    check_positive,
    checked_field,
    is_traced,
    real_array,
)
from igrlib._programs import Program, traced
from igrlib._typing import PyTree, Scalar


def solve(
    field: Callable[..., PyTree],
    params: PyTree,
    times: Float[ArrayLike, "saved"],
    args: tuple[PyTree, ...],
    *,
    rtol: float | None,
    atol: float | None,
    max_steps: int,
    solver: diffrax.AbstractAdaptiveSolver[Any] | None,
) -> tuple[PyTree, Bool[Array, "saved"], tuple[Array, Array, Array]]:
    """The solution, at which times it was reached with finite numbers, and how many steps it took.

    Arguments and errors are those of `igrlib.flow`, but a flow that does not arrive is no error.
    The steps are all, those accepted and those rejected.
    """
    checked = checked_field(field)
    params = check_params(params)
    args = check_arrays("args", args)
    times = real_array("times", times)
    settings = check_settings(params, rtol, atol, max_steps, solver)
    dtype, relative, absolute, most, method = settings
    times = jnp.asarray(times, dtype)
    check_times(times)
    wide = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, dtype), params)
    program = traced(
        lambda given: checked(given[0], *given[1]), (wide, args), times, relative, absolute
    )
    # A number that is no array would be part of the program.
    both = jnp.asarray(relative, dtype), jnp.asarray(absolute, dtype)
    return _solve(program, params, times, args, both, most, method)


def check_settings(
    params: PyTree, rtol: Any, atol: Any, max_steps: Any, solver: Any
) -> tuple[Any, Scalar, Scalar, int, diffrax.AbstractAdaptiveSolver[Any]]:
    """The dtype a flow of `params` is solved in, the widest of them, and how."""
    dtype = jnp.result_type(jnp.float32, *jax.tree.leaves(params))
    defaults = (1e-10, 1e-13) if dtype == jnp.float64 else (1e-5, 1e-7)
    rtol, atol = (d if v is None else v for v, d in zip((rtol, atol), defaults, strict=True))
    check_positive("rtol", rtol)
    check_positive("atol", atol)
    max_steps = check_integer("max_steps", max_steps, low=1)
    return dtype, rtol, atol, max_steps, _checked_solver(solver)


def _checked_solver(solver: Any) -> diffrax.AbstractAdaptiveSolver[Any]:
    if solver is None:
        return diffrax.Dopri8()
    wanted = "solver must be a diffrax solver that estimates its error, such as diffrax.Tsit5()"
    if not isinstance(solver, diffrax.AbstractSolver):
        raise TypeError(f"{wanted}, got {solver!r}")
    if not isinstance(solver, diffrax.AbstractAdaptiveSolver):
        raise ValueError(f"{wanted}, got {solver!r}; diffrax.HalfSolver gives it an estimate")
    # The terms of others are two: parts of a field, or a drift and noise.
    structure = solver.term_structure
    if not (isinstance(structure, type) and issubclass(diffrax.ODETerm, structure)):
        raise ValueError(f"{wanted}, for one field; got {solver!r}, which takes several terms")
    return solver


def check_times(times: Array) -> None:
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
    args: tuple[PyTree, ...],
    tolerances: tuple[Scalar, Scalar],
    max_steps: int,
    solver: diffrax.AbstractAdaptiveSolver[Any],
) -> tuple[PyTree, Bool[Array, "saved"], tuple[Array, Array, Array]]:
    rtol, atol = tolerances
    found = diffrax.diffeqsolve(
        diffrax.ODETerm(lambda t, theta, given: given[0]((theta, given[1]))),
        solver,
        times[0],
        times[-1],
        None,
        jax.tree.map(lambda leaf: leaf.astype(times.dtype), params),
        (field, args),
        saveat=diffrax.SaveAt(ts=times),
        # Interpolated values are a thousand times less accurate than the steps themselves.
        stepsize_controller=diffrax.ClipStepSizeController(
            diffrax.PIDController(rtol=rtol, atol=atol), step_ts=times
        ),
        max_steps=max_steps,
        throw=False,
    )
    solution = jax.tree.map(lambda leaf, like: leaf.astype(like.dtype), found.ys, params)
    finite = [
        jnp.isfinite(leaf).reshape(times.size, -1).all(1) for leaf in jax.tree.leaves(solution)
    ]
    names = ("num_steps", "num_accepted_steps", "num_rejected_steps")
    steps, accepted, rejected = (jnp.asarray(found.stats[name]) for name in names)
    return solution, jnp.stack(finite).all(0), (steps, accepted, rejected)
