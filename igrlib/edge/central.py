"""The central flow: the mean of the steps of gradient descent where they oscillate.

About their mean θ the steps oscillate along the eigenvectors with hλ = 2. With the covariance Σ of
the oscillation the mean moves as

    θ′ = −∇E − ½∇⟨∇²E, Σ⟩,

where Σ ≽ 0, on the span of these eigenvectors, keeps every eigenvalue from rising above 2/h. To
find Σ is a semidefinite complementarity problem. Its discretisation is of second order in the
substep where the motion is smooth: a substep is an explicit midpoint rule, and Σ solves the
problem for the Hessian at its end, linearised at the midpoint.

Source: Cohen, Damian, Talwalkar, Kolter & Lee, "Understanding optimization in deep learning with
central flows", ICLR 2025 (arXiv:2410.24206).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from igrlib._checks import (
    check_arrays,
    check_integer,
    check_params,
    check_positive,
    checked_loss,
    is_traced,
    real_array,
)
from igrlib._programs import Program, traced
from igrlib._solving import check_times
from igrlib._trees import flattened
from igrlib._typing import PyTree, Scalar
from igrlib.edge._complementarity import solve_complementarity
from igrlib.edge._eigenvectors import top_eigenvectors

__all__ = ["CentralPath", "central_flow"]

MOST_DIRECTIONS = 8

NEAR = 0.95
"""Eigenvalues above this part of 2/h may come to the edge within a substep, and where the largest
changes fast those that are two such changes below it."""

FAR = 0.75
"""Below this part of 2/h the largest eigenvalue is looked at after every fifth substep, and more
often if it could reach it before."""

SKIPPED = 4

BEYOND = 1.01
"""Eigenvalues above this part of 2/h are not there by an error of the discretisation."""


class CentralPath(NamedTuple):
    """The central flow at all times, and its predictions for gradient descent there.

    `params` is a pytree like θ with a leading axis over the times. `eigenvalues` are the k largest
    of the Hessian H and `variances` those of Σ, in falling order; `directions`, the eigenvectors of
    Σ in the order of `variances`, are a pytree like θ with leading axes times and k, or None.
    `loss` is E, `predicted_loss` = E + ½⟨H, Σ⟩ the mean loss of the steps, and
    `predicted_squared_gradient` = ‖∇E‖² + ⟨H², Σ⟩ the mean of their ‖∇E‖². Where there are fewer
    than k parameters, the last eigenvalues are NaN and the last variances 0.

    Source: Cohen et al. (2025), Section 3; chapter 10.
    """

    params: PyTree
    eigenvalues: Float[Array, "saved k"]
    variances: Float[Array, "saved k"]
    directions: PyTree
    loss: Float[Array, "saved"]
    predicted_loss: Float[Array, "saved"]
    predicted_squared_gradient: Float[Array, "saved"]


def central_flow(
    loss: Callable[..., Any],
    params: PyTree,
    learning_rate: Scalar,
    times: Float[ArrayLike, "saved"],
    *args: PyTree,
    num_directions: int,
    substeps: int = 2,
    tolerance: Scalar = 1e-3,
    max_iterations: int = 50,
    save_directions: bool = False,
) -> CentralPath:
    """The central flow of gradient descent with step h from θ(times[0]) = params, at all `times`.

    `learning_rate` h is positive; `times` increase strictly, in the time of gradient flow, where a
    step of gradient descent takes h. `args` are the arguments of `loss` after `params`, pytrees of
    arrays and numbers. All of the top k = `num_directions` eigenvectors, 1 to 8, may be at the
    edge. Where no eigenvalue is at 2/h, Σ = 0 and the flow is gradient flow.

    The flow divides a time h into `substeps` or more, at least 2. The error at a fixed time is of
    second order in their length; the error of Σ is of first order. Eigenvectors near the edge, and
    at the saved times all of them, have residuals of at most `tolerance`·2/h, after at most
    `max_iterations` of 2k + 2 products with the Hessian each. A substep costs 2 gradients. Below
    0.75·2/h every fifth substep, or more of them, costs k + 1 products. Near the edge a substep
    costs k + 1 products or more, mostly 3k + 3, and j(j + 1)/2 third derivatives for j eigenvectors
    above 0.95·2/h. The Hessian is never formed. `save_directions` asks for the eigenvectors of Σ, k
    copies of θ for each time.

    Each call traces `loss` anew, as `igrlib.flow` does; other values of `params`, `times`, `args`,
    `learning_rate` and `tolerance` compile nothing.

    Raises `TypeError` or `ValueError` for bad arguments, `ValueError` if `params` lie beyond the
    edge or if more eigenvalues than `num_directions` reach it, and `RuntimeError` where the flow
    leaves the finite numbers, an eigenvalue passes the edge in spite of Σ, or the eigenvectors or Σ
    are not found. (Inside `jax.jit` one message says all this, and JAX chooses the type.)

    Source: Cohen, Damian, Talwalkar, Kolter & Lee, "Understanding optimization in deep learning
    with central flows", ICLR 2025; chapter 10.
    Differs from its source: midpoint substeps, of second order, in place of Euler's, of first.

    Example:
        >>> loss = lambda theta: theta[1] * theta[0] ** 2 / 2 - theta[1]  # λ = θ_1 rises
        >>> path = ig.edge.central_flow(
        ...     loss, jnp.array([0.0, 1.0]), 1.0, jnp.arange(4.0), num_directions=1
        ... )
        >>> [round(float(value), 3) for value in path.eigenvalues[:, 0]]  # to 2/h
        [1.0, 2.0, 2.0, 2.0]
        >>> round(float(path.variances[-1, 0]), 3)
        2.0
    """
    check_positive("learning_rate", learning_rate)
    check_positive("tolerance", tolerance)
    num_directions = check_integer("num_directions", num_directions, low=1, high=MOST_DIRECTIONS)
    substeps = check_integer("substeps", substeps, low=2)
    max_iterations = check_integer("max_iterations", max_iterations, low=1)
    checked = checked_loss(loss, has_aux=False)
    params, args = check_params(params), check_arrays("args", args)
    wide = flattened(params)[0].dtype
    times = jnp.asarray(real_array("times", times), wide)
    check_times(times)
    program = traced(lambda given: checked(given[0], *given[1]), (params, args), times)
    h, small, count = (jnp.asarray(number, wide) for number in (learning_rate, tolerance, substeps))
    numbers = _Numbers(h, small, count, jnp.int32(max_iterations))
    path, status, when = _follow(
        program, params, times, args, numbers, num_directions, bool(save_directions)
    )
    failures = _failures(num_directions, substeps, max_iterations)
    if is_traced(status):
        return eqx.error_if(path, status != FINE, " or ".join(failures.values()))
    if int(status) in (NOT_HELD, TOO_FEW) and when == times[0]:
        status = BEYOND_EDGE
    if int(status) != FINE:
        error = ValueError if int(status) in (TOO_FEW, BEYOND_EDGE) else RuntimeError
        raise error(f"{failures[int(status)]} (at time {float(when):.6g})")
    return path


class _Numbers(NamedTuple):
    """What may change without compiling anew."""

    h: Float[Array, ""]
    tolerance: Float[Array, ""]
    substeps: Float[Array, ""]
    max_iterations: Array


FINE, INFINITE, NO_VECTORS, NO_SIGMA, NOT_HELD, TOO_FEW, BEYOND_EDGE = range(7)


def _failures(k: int, substeps: int, most: int) -> dict[int, str]:
    finer = f"take more substeps than {substeps}"
    return {
        INFINITE: f"central_flow left the finite numbers; if it does not blow up there, {finer}",
        NO_VECTORS: (
            f"central_flow found no eigenvectors in max_iterations={most}; raise it, or tolerance"
        ),
        NO_SIGMA: (
            "central_flow found no Σ that keeps the eigenvalues below 2/h, as where the third "
            f"derivatives vanish; {finer}, or a smaller learning_rate, to stay below the edge"
        ),
        NOT_HELD: f"central_flow passed the edge: an eigenvalue is above {BEYOND}·2/h; {finer}",
        TOO_FEW: (
            f"num_directions={k} are too few: one more eigenvalue has come to the edge 2/h; take "
            f"more, at most {MOST_DIRECTIONS}"
        ),
        BEYOND_EDGE: (
            "params must not lie beyond the edge, got a largest eigenvalue above 2/h; take a "
            "smaller learning_rate, or the params after some steps of gradient descent"
        ),
    }


@eqx.filter_jit
def _follow(
    program: Program,
    params: PyTree,
    times: Float[Array, "saved"],
    args: tuple[PyTree, ...],
    numbers: _Numbers,
    k: int,
    save_directions: bool,
) -> tuple[CentralPath, Array, Array]:
    """The path, what went wrong, and when."""
    theta, unflatten = flattened(params)
    h, tolerance, substeps, max_iterations = numbers
    m = theta.size
    kept, tracked = min(k, m), min(k + 1, m)  # One more, to see whether they are enough.
    edge = 2 / h

    def loss(x: Array) -> Array:
        return program((unflatten(x), args)).astype(theta.dtype)

    gradient = jax.grad(loss)

    def top(x: Array, vectors: Array, *, every: bool) -> tuple[Array, Array, Array, Array]:
        """The gradient, top eigenvalues and eigenvectors, and what went wrong.

        All are as exact as asked for, or those alone that may be near the edge.
        """
        g, product = jax.linearize(gradient, x)

        def far(values: Array, residuals: Array) -> Array:
            near = values + residuals > FAR * edge
            return (residuals > tolerance * edge) & (jnp.arange(tracked) < kept) & (near | every)

        found = top_eigenvectors(product, vectors, far, max_iterations)
        lost = jnp.any(far(found.values, found.residuals))
        status = jnp.where(lost, NO_VECTORS, FINE)
        if tracked > kept:  # Where too many are near, the last ones are not found either.
            # One that is not held takes the place of the largest, which stays at the edge.
            free = (found.values[0] > BEYOND * edge) & (found.values[kept] > edge / BEYOND)
            free |= found.values[kept] > BEYOND * edge
            status = jnp.where(free, TOO_FEW, status)
        return g, found.values[:kept], found.vectors, status

    def push(
        x: Array, g: Array, values: Array, vectors: Array, near: Array, back: Array, dt: Array
    ) -> tuple[Array, Array, Array]:
        """−½∇⟨H, Σ⟩ at x, Σ in the basis of the vectors, and what went wrong.

        Σ is such that no eigenvalue is above the edge at `back` + dt·(−g − ½∇⟨H, Σ⟩), with the
        Hessian linearised at x.
        """
        rows, columns = np.triu_indices(kept)
        index = np.zeros((kept, kept), int)
        index[rows, columns] = index[columns, rows] = np.arange(len(rows))

        def third(pair: tuple[Array, Array, Array]) -> Array:
            u, v, needed = pair

            def turned(y: Array) -> Array:
                return jax.jvp(gradient, (y,), (u,))[1]

            return jax.lax.cond(
                needed, lambda: jax.jvp(turned, (x,), (v,))[1], lambda: jnp.zeros_like(x)
            )

        columned = vectors.T[:kept]
        thirds = jax.lax.map(third, (columned[rows], columned[columns], near[rows] & near[columns]))
        gap = jnp.diag(edge - values) - (thirds @ (back - x - dt * g))[index]
        # Those that are not near stay below, whatever Σ is: Σ is 0 there.
        both = near[:, None] & near[None, :]
        gap = jnp.where(both, gap, 0)
        gap += jnp.diag(jnp.where(near, 10 * jnp.finfo(gap.dtype).eps * edge, jnp.max(abs(gap))))
        gram = (dt / 2 * thirds @ thirds.T)[index][:, :, index]
        solved = solve_complementarity(gap, gram)
        sigma = jnp.where(both, solved.x, 0)
        twice = jnp.asarray(np.where(rows == columns, 1, 2), x.dtype)
        pushed = -(twice * sigma[rows, columns]) @ thirds / 2
        return pushed, sigma, jnp.where(solved.converged, FINE, NO_SIGMA)

    def held(
        x: Array, g: Array, values: Array, vectors: Array, change: Array, back: Array, dt: Array
    ) -> tuple[Array, Array, Array]:
        """`push`, where an eigenvalue is near the edge."""
        near = values > edge - jnp.maximum((1 - NEAR) * edge, 2 * change * dt)
        return jax.lax.cond(
            near[0],
            lambda: push(x, g, values, vectors, near, back, dt),
            lambda: (jnp.zeros_like(x), jnp.zeros((kept, kept), x.dtype), jnp.asarray(FINE)),
        )

    def substep(state: "_State", dt: Array) -> "_State":
        x = state.x
        middle = x + dt / 2 * (state.push - gradient(x))

        def looked() -> "_State":
            g, values, vectors, bad = top(middle, state.vectors, every=False)
            change = jnp.abs(values[0] - state.largest) / (state.since + dt / 2)
            pushed, _, worse = held(middle, g, values, vectors, change, x, dt)
            rest = (FAR * edge - values[0]) / (2 * dt * jnp.maximum(change, 1e-3 * edge / h))
            skip = jnp.clip(rest, 0, SKIPPED).astype(jnp.int32)
            after = x + dt * (pushed - g)
            status = _first(bad, worse)
            return _State(after, vectors, pushed, values[0], change, dt / 2, skip, status)

        def skipped() -> "_State":
            after = x - dt * gradient(middle)
            return state._replace(x=after, since=state.since + dt, skip=state.skip - 1)

        after = jax.lax.cond(state.skip > 0, skipped, looked)
        finite = jnp.all(jnp.isfinite(after.x))
        return after._replace(status=jnp.where(finite, after.status, INFINITE))

    def observed(state: "_State", dt: Array) -> tuple["_State", CentralPath]:
        x = state.x
        g, values, vectors, bad = top(x, state.vectors, every=True)
        _, sigma, worse = held(x, g, values, vectors, state.change, x, dt)
        variances, weights = (part[..., ::-1] for part in jnp.linalg.eigh(sigma))
        value, spread = loss(x), jnp.diagonal(sigma)
        padding = (0, k - kept)
        directions = None
        if save_directions:
            turned = jnp.pad((vectors[:, :kept] @ weights).T, (padding, (0, 0)))
            directions = jax.vmap(unflatten)(turned)
        path = CentralPath(
            unflatten(x),
            jnp.pad(values, padding, constant_values=jnp.nan),
            jnp.pad(jnp.maximum(variances, 0), padding),
            directions,
            value,
            value + values @ spread / 2,
            g @ g + values**2 @ spread,
        )
        bad = _first(state.status, bad, jnp.where(values[0] > BEYOND * edge, NOT_HELD, FINE), worse)
        since = jnp.zeros_like(dt)
        return state._replace(vectors=vectors, largest=values[0], since=since, status=bad), path

    def interval(carry: tuple["_State", Array], ends: tuple[Array, Array]) -> Any:
        begin, end = ends
        rounding = 1 - 100 * jnp.finfo(h.dtype).eps
        count = jnp.ceil((end - begin) * substeps / h * rounding).astype(jnp.int32)
        # There is none before the first time.
        dt = jnp.where(count > 0, (end - begin) / count, h / substeps)

        def step(inner: tuple[Array, "_State", Array]) -> tuple[Array, "_State", Array]:
            n, state, _ = inner
            return n + 1, substep(state, dt), begin + (n + 1) * dt

        def goes_on(inner: tuple[Array, "_State", Array]) -> Array:
            return (inner[0] < count) & (inner[1].status == FINE)

        state, when = carry
        _, state, when = jax.lax.while_loop(goes_on, step, (jnp.int32(0), state, when))
        state, path = observed(state, dt)
        return (state, when), path

    start = jax.random.normal(jax.random.key(0), (m, tracked), theta.dtype)
    zero, still = jnp.zeros((), theta.dtype), jnp.zeros_like(theta)
    state = _State(theta, start, still, zero, zero, zero, jnp.int32(0), jnp.asarray(FINE))
    ends = jnp.concatenate([times[:1], times[:-1]]), times
    (state, when), path = jax.lax.scan(interval, (state, times[0]), ends)
    return path, state.status, when


class _State(NamedTuple):
    """Where the flow is, what was seen when it was last looked at, and how it fares.

    `largest` is the largest eigenvalue, `change` how fast it changed, `since` the time from then,
    `skip` for how many substeps nobody looks.
    """

    x: Float[Array, " m"]
    vectors: Float[Array, "m tracked"]
    push: Float[Array, " m"]
    largest: Float[Array, ""]
    change: Float[Array, ""]
    since: Float[Array, ""]
    skip: Array
    status: Array


def _first(*status: Array) -> Array:
    """The first that is not fine."""
    found = status[-1]
    for one in status[-2::-1]:
        found = jnp.where(one == FINE, found, one)
    return found
