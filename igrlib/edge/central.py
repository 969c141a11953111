"""The central flow: the mean of the steps of gradient descent where they oscillate.

About their mean θ the steps oscillate along the eigenvectors with hλ = 2. With the covariance Σ of
the oscillation the mean moves as

    θ′ = −∇E − ½∇⟨∇²E, Σ⟩,

and Σ ≽ 0, on the span of these eigenvectors, is what keeps every eigenvalue from rising above 2/h:
a semidefinite complementarity problem. Its discretisation is of second order in the substep where
the motion is smooth: a substep is an explicit midpoint rule, and Σ solves the problem for the
Hessian at its end, linearised at the midpoint.

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
from igrlib._lanczos import lanczos, start_vector
from igrlib._programs import Program, traced
from igrlib._solving import check_times
from igrlib._trees import flattened
from igrlib._typing import PyTree, Scalar
from igrlib.edge._complementarity import solve_complementarity
from igrlib.edge._eigenvectors import top_eigenvectors

MOST_DIRECTIONS = 8

NEAR = 0.9
"""Eigenvalues above this part of 2/h may come to the edge within a substep."""

BEYOND = 1.01
"""Eigenvalues above this part of 2/h are beyond the edge, and not there by an error of order."""

START_MATVECS = 40


class CentralPath(NamedTuple):
    """The central flow at all times, and what it says of gradient descent there.

    `params` is a pytree like θ with a leading axis over the times. `eigenvalues` are the k largest
    of the Hessian and `variances` those of Σ, both in falling order. `directions`, the eigenvectors
    of Σ in the order of `variances`, is a pytree like θ with two leading axes, times and k, or None.
    `loss` is E and `predicted_loss` = E + ½⟨H, Σ⟩ the mean loss of the steps;
    `predicted_squared_gradient` = ‖∇E‖² + ⟨H², Σ⟩ is that of their ‖∇E‖².

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
    tolerance: float = 1e-3,
    max_iterations: int = 50,
    save_directions: bool = False,
) -> CentralPath:
    """The central flow of gradient descent with step h from θ(times[0]) = params, at all `times`.

    `learning_rate` h is positive and `times` increase strictly, in the time of gradient flow: a step
    of gradient descent takes h. `args` are what `loss` takes after `params`, as in `igrlib.flow`.
    At most `num_directions` eigenvectors, of 1 to 8, can be at the edge; `substeps` are those in a
    time h. Where no eigenvalue is at 2/h the flow is gradient flow.

    Source: Cohen et al. (2025), Section 3; chapter 10.
    """
    h, checked = learning_rate, checked_loss(loss, has_aux=False)
    check_positive("learning_rate", learning_rate)
    num_directions = check_integer("num_directions", num_directions, low=1, high=MOST_DIRECTIONS)
    substeps = check_integer("substeps", substeps, low=1)
    max_iterations = check_integer("max_iterations", max_iterations, low=1)
    check_positive("tolerance", tolerance)
    params = check_params(params)
    args = check_arrays("args", args)
    theta, unflatten = flattened(params)
    times = jnp.asarray(real_array("times", times), theta.dtype)
    check_times(times)
    program = traced(lambda given: checked(given[0], *given[1]), (params, args), times)
    numbers = [jnp.asarray(value, theta.dtype) for value in (h, tolerance)]
    settings = _Settings(num_directions, substeps, max_iterations, save_directions)
    found, status, when = _follow(program, params, times, args, *numbers, settings)
    _check(found, status, when, settings)
    return found


class _Settings(NamedTuple):
    num_directions: int
    substeps: int
    max_iterations: int
    save_directions: bool


FINE, INFINITE, NO_VECTORS, NO_SIGMA, TOO_FEW, BEYOND_EDGE = range(6)


def _check(found: CentralPath, status: Array, when: Array, settings: _Settings) -> None:
    messages = {
        INFINITE: "central_flow left the finite numbers: take more substeps or a smaller step",
        NO_VECTORS: (
            f"central_flow found no eigenvectors within max_iterations={settings.max_iterations}: "
            "raise it, or tolerance"
        ),
        NO_SIGMA: (
            "central_flow found no Σ that keeps the eigenvalues below 2/h: the third derivatives "
            "do not reach them"
        ),
        TOO_FEW: (
            f"num_directions={settings.num_directions} are too few: one more eigenvalue is at the "
            f"edge 2/h; take more, at most {MOST_DIRECTIONS}"
        ),
        BEYOND_EDGE: "params must not lie beyond the edge: the largest eigenvalue is above 2/h",
    }
    if is_traced(status):
        return
    if int(status) != FINE:
        error = ValueError if int(status) in (TOO_FEW, BEYOND_EDGE) else RuntimeError
        raise error(f"{messages[int(status)]} (at time {float(when):.6g})")


@eqx.filter_jit
def _follow(
    program: Program,
    params: PyTree,
    times: Float[Array, "saved"],
    args: tuple[PyTree, ...],
    h: Float[Array, ""],
    tolerance: Float[Array, ""],
    settings: _Settings,
) -> tuple[CentralPath, Array, Array]:
    theta, unflatten = flattened(params)
    k, m = settings.num_directions, theta.size
    kept, tracked = min(k, m), min(k + 1, m)  # One more to see whether they are enough.
    edge = 2 / h

    def loss(x: Array) -> Array:
        return program((unflatten(x), args)).astype(theta.dtype)

    gradient = jax.grad(loss)

    def eigen(x: Array, vectors: Array) -> tuple[Array, Array, Array, Array]:
        """The gradient, the top eigenvalues and eigenvectors, and what went wrong."""
        g, product = jax.linearize(gradient, x)

        def wanted(values: Array) -> Array:
            first = jnp.arange(tracked) == 0
            return (jnp.arange(tracked) < kept) & (first | (values > NEAR * edge))

        top = top_eigenvectors(product, vectors, wanted, tolerance, settings.max_iterations)
        far = top.residuals > tolerance * jnp.max(jnp.abs(top.values))
        status = jnp.where(jnp.any(far & wanted(top.values)), NO_VECTORS, FINE)
        if tracked > kept:
            status = jnp.where(top.values[-1] > BEYOND * edge, TOO_FEW, status)
        return g, top.values, top.vectors, status

    def push(x: Array, g: Array, values: Array, vectors: Array, back: Array, dt: Array) -> Any:
        """−½∇⟨H, Σ⟩, Σ in the basis of the vectors, and what went wrong.

        Σ is such that at `back` + dt·(−g − ½∇⟨H, Σ⟩) no eigenvalue is above the edge.
        """
        near = values > NEAR * edge
        rows, columns = np.triu_indices(kept)
        metric = jnp.asarray(np.where(rows == columns, 1, 2), theta.dtype)

        def third(pair: tuple[Array, Array, Array]) -> Array:
            u, v, needed = pair

            def curvature(y: Array) -> Array:
                return jax.jvp(lambda y: jax.jvp(loss, (y,), (u,))[1], (y,), (v,))[1]

            return jax.lax.cond(needed, jax.grad(curvature), jnp.zeros_like, x)

        pairs = vectors.T[rows], vectors.T[columns], near[rows] & near[columns]
        thirds = jax.lax.map(third, pairs)
        moved = thirds @ (back - x - dt * g)
        gram = dt / 2 * thirds @ thirds.T
        index = np.zeros((kept, kept), int)
        index[rows, columns] = index[columns, rows] = np.arange(len(rows))
        # What is not near stays below: Σ is 0 there.
        a = jnp.diag(jnp.where(near, edge - values, edge)) - moved[index]
        solved = solve_complementarity(a, gram[index][:, :, index])
        sigma = jnp.where(near[:, None] & near[None, :], solved.x, 0)
        status = jnp.where(solved.converged, FINE, NO_SIGMA)
        return -(metric * sigma[rows, columns]) @ thirds / 2, sigma, status

    def look(x: Array, g: Array, values: Array, vectors: Array, back: Array, dt: Array) -> Any:
        def nothing() -> Any:
            return jnp.zeros_like(x), jnp.zeros((kept, kept), x.dtype), jnp.asarray(FINE)

        return jax.lax.cond(
            jnp.any(values[:kept] > NEAR * edge),
            lambda: push(x, g, values[:kept], vectors[:, :kept], back, dt),
            nothing,
        )

    def substep(x: Array, vectors: Array, last: Array, dt: Array) -> tuple[Array, ...]:
        middle = x + dt / 2 * (last - gradient(x))
        g, values, vectors, bad = eigen(middle, vectors)
        pushed, _, worse = look(middle, g, values, vectors, x, dt)
        after = x + dt * (pushed - g)
        status = jnp.where(bad == FINE, worse, bad)
        return after, vectors, pushed, jnp.where(jnp.all(jnp.isfinite(after)), status, INFINITE)

    def observe(x: Array, vectors: Array, dt: Array) -> tuple[Any, Array, Array, Array]:
        g, values, vectors, bad = eigen(x, vectors)
        pushed, sigma, worse = look(x, g, values, vectors, x, dt)
        variances, weights = jnp.linalg.eigh(sigma)
        variances, weights = variances[::-1], weights[:, ::-1]
        value, diagonal = loss(x), jnp.diagonal(sigma)
        directions = None
        if settings.save_directions:
            spread = jnp.pad((vectors[:, :kept] @ weights).T, ((0, k - kept), (0, 0)))
            directions = jax.vmap(unflatten)(spread)
        pad = (0, k - kept)
        seen = CentralPath(
            unflatten(x),
            jnp.pad(values[:kept], pad, constant_values=jnp.nan),
            jnp.pad(jnp.maximum(variances, 0), pad),
            directions,
            value,
            value + values[:kept] @ diagonal / 2,
            g @ g + values[:kept] ** 2 @ diagonal,
        )
        status = jnp.where(bad == FINE, worse, bad)
        return seen, vectors, pushed, jnp.where(jnp.isfinite(value), status, INFINITE)

    def interval(carry: tuple[Array, ...], ends: tuple[Array, Array]) -> Any:
        x, vectors, last, status, when = carry
        begin, end = ends
        count = jnp.ceil((end - begin) * settings.substeps / h * (1 - 1e-4)).astype(int)
        count = jnp.maximum(count, 1)
        dt = (end - begin) / count

        def goes_on(state: tuple[Array, ...]) -> Array:
            return (state[0] < count) & (state[4] == FINE)

        def step(state: tuple[Array, ...]) -> tuple[Array, ...]:
            n, x, vectors, last, _, when = state
            x, vectors, last, status = substep(x, vectors, last, dt)
            return n + 1, x, vectors, last, status, begin + (n + 1) * dt

        _, x, vectors, last, status, when = jax.lax.while_loop(
            goes_on, step, (0, x, vectors, last, status, when)
        )
        seen, vectors, _, worse = observe(x, vectors, dt)
        status = jnp.where(status == FINE, worse, status)
        return (x, vectors, last, status, when), seen

    g, product = jax.linearize(gradient, theta)
    _, start, count = lanczos(product, start_vector(g), min(START_MATVECS, m))
    matrix, _, _ = lanczos(product, start_vector(g), min(START_MATVECS, m))
    small = jnp.linalg.eigh(matrix)[1][:, ::-1][:, :tracked]
    start = start.T @ small
    first, vectors, last, status = observe(theta, jnp.linalg.qr(start)[0], h / settings.substeps)
    status = jnp.where(first.eigenvalues[0] > BEYOND * edge, BEYOND_EDGE, status)
    (_, _, _, status, when), rest = jax.lax.scan(
        interval, (theta, vectors, last, status, times[0]), (times[:-1], times[1:])
    )
    return (
        jax.tree.map(lambda one, more: jnp.concatenate([one[None], more]), first, rest),
        status,
        when,
    )
