"""Backward error analysis of the explicit Euler method, and of any other one-step method.

The Euler steps θ_{n+1} = θ_n + h·f(θ_n) lie, as a formal power series in h, on the flow of a
modified field f̃ = f_0 + h·f_1 + h²·f_2 + … with f_0 = f. Write S for one step and Δ = S − 1: the
flow over h is S = exp(h·d/dt), so h·f̃ = log(1 + Δ)θ = Σ_{j≥1} ((−1)^{j+1}/j)·Δʲθ.
`field_from_iterates` evaluates this sum on given iterates. Expanded in h along symbolic iterates,
the sum gives every correction: `euler_corrections` for Euler steps, `step_corrections` for others.

Source: Section 3, Appendix A.1; chapters 2, *The theorem*, and 6, *Higher orders and the edge*.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from igrlib._checks import (
    check_callable,
    check_finite,
    check_integer,
    check_params,
    checked_field,
    is_traced,
    real_array,
)
from igrlib._models import of_model, split
from igrlib._programs import run, shared, traced
from igrlib._trees import add_scaled
from igrlib._typing import Filter, PyTree, Scalar

__all__ = [
    "convergence_order",
    "euler_corrections",
    "field_from_iterates",
    "modified_field",
    "step_corrections",
    "step_field",
]

MAX_ORDER = 5

_NOT_TRACEABLE = (
    jax.errors.ConcretizationTypeError,
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerIntegerConversionError,
)


def euler_corrections(
    field: Callable[..., PyTree], order: int, *, wrt: Filter | None = None
) -> Callable[..., tuple[PyTree, ...]]:
    """The corrections (f_0, …, f_order) of the explicit Euler method, each a pytree like θ.

    `field(params, *args, **kwargs)` is any smooth vector field, a gradient or not; the returned
    function takes the same arguments. `order` is from 0 to 5. The function takes only directional
    derivatives of `field`, so its cost is linear in the number of parameters, and it works wherever
    `jax.jvp` of `field` does. Each call traces `field` anew and so sees what captured arrays,
    globals and attributes hold now; new values in arrays of the same shape, arguments or captured,
    compile nothing. `wrt` is as in `igrlib.implicit_gradient_regularizer`: `field` takes the
    model and returns a pytree like its parameters, as `gradient_field` with the same `wrt` does.
    Raises `TypeError` or `ValueError` for another order, for parameters that are not floating-point
    or empty, and for a field whose values do not have the form of its argument.

    Source: Appendix A.1; Hairer, Lubich & Wanner (2006), Section IX.1; chapter 6.
    Differs from the paper: Proposition A.4 is right for f_1 and f_2 and wrong for f_3 under
    each of its readings; see the errata.

    Example:
        >>> corrections = ig.euler_corrections(lambda theta: -theta, 2)
        >>> [round(float(f), 4) for f in corrections(1.0)]  # of log(1 − h)/h
        [-1.0, -0.5, -0.3333]
    """
    if wrt is not None:
        return of_model(lambda f: euler_corrections(f, order), field, wrt)
    checked = checked_field(field)
    order = check_integer("order", order, low=0, high=MAX_ORDER)

    def expand(params: PyTree, args: Any, kwargs: Any, unroll: bool) -> PyTree:
        def at(theta: PyTree) -> PyTree:
            return checked(theta, *args, **kwargs)

        def advance(coefficients: PyTree) -> PyTree:
            shorter = jax.tree.map(lambda c: c[:-1], coefficients)
            slopes = _taylor(lambda t: at(_at(shorter, t)), params, order, unroll)
            return jax.tree.map(lambda c, s: c.at[1:].add(s), coefficients, slopes)

        first = jax.tree.map(lambda c, s: c.at[1].add(s), _constant(params, order), at(params))
        return _logarithm(_iterates(advance, first, order, unroll), order)

    def corrections(params: PyTree, *args: Any, **kwargs: Any) -> tuple[PyTree, ...]:
        return _compiled(expand, check_params(params), args, kwargs)

    return corrections


def step_corrections(
    step: Callable[..., PyTree], order: int, *, wrt: Filter | None = None
) -> Callable[..., tuple[PyTree, ...]]:
    """The corrections (f_0, …, f_order) of any one-step method, each a pytree like θ.

    `step(params, learning_rate, *args, **kwargs) -> params` is smooth in both and leaves `params`
    alone at learning rate 0: a Runge-Kutta step, a step on a penalized loss, of sharpness-aware
    minimization, of weight decay. The returned function takes `params` and the other arguments.
    Over a time h the flow of f_0 + h·f_1 + … + hᵏ·f_k differs from one step by O(h^(k+2)). `order`
    is from 0 to 5. It costs one derivative more than `euler_corrections`. With `wrt`,
    see `igrlib.implicit_gradient_regularizer`, `step` takes and returns a whole model. Raises
    `TypeError` or `ValueError` as `euler_corrections` does, and `ValueError` for a step that moves
    at 0.

    Source: Hairer, Lubich & Wanner (2006), Section IX.1; not in the paper.

    Example:
        >>> def implicit(theta, h):  # of θ′ = −θ
        ...     return theta / (1 + h)
        >>> [round(float(f), 4) for f in ig.step_corrections(implicit, 2)(1.0)]  # −log(1 + h)/h
        [-1.0, 0.5, -0.3333]
    """
    if wrt is not None:
        check_callable("step", step)

        def moved(model: PyTree, *args: Any, **kwargs: Any) -> PyTree:
            return split(step(model, *args, **kwargs), wrt)[0]

        return of_model(lambda s: step_corrections(s, order), moved, wrt)
    checked = checked_field(step, "step")
    order = check_integer("order", order, low=0, high=MAX_ORDER)

    def expand(params: PyTree, args: Any, kwargs: Any, unroll: bool) -> PyTree:
        def advance(coefficients: PyTree) -> PyTree:
            def curve(t: Array) -> PyTree:
                return checked(_at(coefficients, t), t, *args, **kwargs)

            return _taylor(curve, params, order + 1, unroll)

        first = advance(_constant(params, order))
        still = jax.tree.map(lambda c: c[0], first)
        return still, _logarithm(_iterates(advance, first, order, unroll), order)

    def corrections(params: PyTree, *args: Any, **kwargs: Any) -> tuple[PyTree, ...]:
        params = check_params(params)
        still, found = _compiled(expand, params, args, kwargs)
        _check_identity(params, still)
        return found

    return corrections


def step_field(
    step: Callable[..., PyTree], learning_rate: Scalar, order: int, *, wrt: Filter | None = None
) -> Callable[..., PyTree]:
    """The modified field of a one-step method truncated at hᵏ, k = `order`: f_0 + … + hᵏ·f_k.

    `learning_rate` is a finite scalar h, traced or concrete; the rest is as in `step_corrections`.

    Source: not in the paper.

    Example:
        >>> float(ig.step_field(lambda theta, h: theta / (1 + h), 0.5, 1)(1.0))  # −1 + h/2
        -0.75
    """
    return _truncated(step_corrections(step, order, wrt=wrt), learning_rate)


def modified_field(
    field: Callable[..., PyTree], learning_rate: Scalar, order: int, *, wrt: Filter | None = None
) -> Callable[..., PyTree]:
    """The modified field truncated at hᵏ with k = `order`, f_0 + h·f_1 + … + hᵏ·f_k.

    Its flow over time h differs from one Euler step by O(h^(k+2)). `learning_rate` is a finite
    scalar h, traced or concrete; the rest is as in `euler_corrections`.

    Source: eqs. (6) and (A.3); chapters 2 and 6.
    Differs from the paper: it states O(h^(k+1)), which is true and not sharp; see the errata.

    Example:
        >>> float(ig.modified_field(lambda theta: -theta, 0.5, 1)(1.0))  # −1 − h/2
        -1.25
    """
    return _truncated(euler_corrections(field, order, wrt=wrt), learning_rate)


def field_from_iterates(iterates: PyTree, learning_rate: Scalar) -> PyTree:
    """The modified field at θ_0 of any method of constant step, read off its iterates θ_0 … θ_J.

    For momentum and other optimizers with a fading memory, take iterates after the transient: the
    field is then theirs, at the first of these.

    `iterates` is a pytree whose leaves have a leading axis of length J + 1 ≥ 2, as in
    `Trajectory.params` with `save_every=1`; `learning_rate` is a finite scalar h that is not 0.
    Returns (1/h)·Σ_{j=1..J} ((−1)^{j+1}/j)·Δʲθ_0, a pytree like θ_0, which differs from f̃(θ_0) by
    O(h^J). Rounding errors grow as 2^J/h. Raises `ValueError` for leaves of different length or
    fewer than two iterates.

    Source: the logarithm of the shift operator (module docstring); chapter 6. Not in the paper.

    Example:
        >>> iterates = jnp.array([1.0, 0.9, 0.81])  # Euler steps of θ′ = −θ
        >>> round(float(ig.field_from_iterates(iterates, 0.1)), 4)  # −1 − h/2
        -1.05
    """
    iterates = check_params(iterates, "iterates")
    check_finite("learning_rate", learning_rate)
    if not is_traced(learning_rate) and learning_rate == 0:
        raise ValueError(f"learning_rate must not be 0, got {learning_rate}")
    lengths = {leaf.shape[:1] for leaf in jax.tree.leaves(iterates)}
    if len(lengths) != 1 or min(lengths) < (2,):
        raise ValueError(
            "iterates must have one leading axis of length 2 or more in every leaf, "
            f"got leading axes {sorted(lengths)}"
        )
    (num_iterates,) = lengths.pop()
    weights = _log_weights(num_iterates - 1)

    def leaf(theta: Array) -> Array:
        # All weights sum to 0. Differences from θ_0 therefore lose no digits to θ_0.
        moved = theta[1:] - theta[:1]
        total = jnp.tensordot(jnp.asarray(weights, theta.dtype), moved, 1)
        return (total / learning_rate).astype(theta.dtype)

    return jax.tree.map(leaf, iterates)


def convergence_order(step_sizes: Any, errors: Any) -> float:
    """The slope of log(error) against log(step size), fitted by least squares.

    `step_sizes` and `errors` are one-dimensional, of one length ≥ 2, positive and finite, with
    at least two different step sizes; else `ValueError`. Values that are not real numbers
    raise `TypeError`.

    Source: chapter 1.

    Example:
        >>> round(ig.convergence_order([0.1, 0.01], [3e-2, 3e-4]), 6)
        2.0
    """
    h = np.asarray(real_array("step_sizes", step_sizes), np.float64)
    e = np.asarray(real_array("errors", errors), np.float64)
    if h.ndim != 1 or h.shape != e.shape or h.size < 2:
        raise ValueError(
            "step_sizes and errors must be one-dimensional, of one length of 2 or more, "
            f"got shapes {h.shape} and {e.shape}"
        )
    for name, values in (("step_sizes", h), ("errors", e)):
        if not (np.isfinite(values).all() and (values > 0).all()):
            raise ValueError(f"{name} must be positive and finite, got {values}")
    if np.ptp(h) == 0:
        raise ValueError(f"step_sizes must differ, got {h}")
    return float(np.polynomial.Polynomial.fit(np.log(h), np.log(e), 1).convert().coef[1])


def _compiled(expand: Callable[..., PyTree], params: PyTree, args: Any, kwargs: Any) -> PyTree:
    try:
        program = traced(lambda p: expand(p, args, kwargs, unroll=False), params)
    except _NOT_TRACEABLE:
        # The function branches on the values it sees: no compiling, a derivative at a time.
        return expand(params, args, kwargs, unroll=True)
    return run(program, params)


def _truncated(
    corrections: Callable[..., tuple[PyTree, ...]], learning_rate: Scalar
) -> Callable[..., PyTree]:
    check_finite("learning_rate", learning_rate)

    def modified(params: PyTree, *args: Any, **kwargs: Any) -> PyTree:
        *lower, total = corrections(params, *args, **kwargs)
        for correction in reversed(lower):
            total = add_scaled(correction, learning_rate, total)
        return total

    return modified


def _check_identity(params: PyTree, still: PyTree) -> None:
    """`still`, the parameters after a step at 0, are `params`; only concrete ones are compared."""
    if is_traced(params, still):
        return
    for theta, after in zip(jax.tree.leaves(params), jax.tree.leaves(still), strict=True):
        tolerance = 8 * float(jnp.finfo(theta.dtype).eps)
        if not np.allclose(after, theta, rtol=tolerance, atol=tolerance):
            raise ValueError(
                "step must leave params alone at learning_rate 0: multiply its update by it; got "
                f"a change of up to {float(jnp.max(jnp.abs(after - theta))):.2g}"
            )


def _log_weights(num_steps: int) -> Float[np.ndarray, "num_steps"]:
    """The weights of θ_1, …, θ_J in Σ_{j=1..J} ((−1)^{j+1}/j)·Δʲθ_0, summed over j in closed form.

    They are the forward-difference weights of a first derivative.
    """
    return np.array(
        [(-1) ** (i + 1) * math.comb(num_steps, i) / i for i in range(1, num_steps + 1)]
    )


def _logarithm(iterates: PyTree, order: int) -> tuple[PyTree, ...]:
    """The coefficients of h, …, h^(order + 1) in log(1 + Δ)θ."""

    def coefficient(leaf: Float[Array, "..."], power: int) -> Float[Array, "..."]:
        # That of hᵖ needs the first p iterates.
        weights = jnp.asarray(_log_weights(power), leaf.dtype)
        return jnp.tensordot(weights, leaf[:power, power], 1)

    return tuple(
        jax.tree.map(functools.partial(coefficient, power=level + 1), iterates)
        for level in range(order + 1)
    )


def _constant(params: PyTree, order: int) -> PyTree:
    """Taylor coefficients 0, …, order + 1 in h of θ itself."""
    return jax.tree.map(
        lambda theta: jnp.zeros((order + 2, *theta.shape), theta.dtype).at[0].set(theta), params
    )


def _iterates(
    advance: Callable[[PyTree], PyTree], first: PyTree, order: int, unroll: bool
) -> PyTree:
    """Taylor coefficients in h of the iterates: leaves [n − 1, k] for n = 1, …, order + 1.

    Leaf axis 1 has length order + 2; its entry 0 is θ itself.
    """
    if not unroll:
        # One program for all iterates: unrolled, it would compile for as many times as long.
        _, later = jax.lax.scan(lambda c, _: (advance(c),) * 2, first, length=order)
        return jax.tree.map(lambda c, rest: jnp.concatenate([c[None], rest]), first, later)
    iterates = [first]
    for _ in range(order):
        iterates.append(advance(iterates[-1]))
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *iterates)


def _at(coefficients: PyTree, t: Array) -> PyTree:
    """Σ_k c_k tᵏ."""

    def leaf(c: Array) -> Array:
        total = c[-1]
        for k in reversed(range(len(c) - 1)):
            total = c[k] + t.astype(total.dtype) * total
        return total

    return jax.tree.map(leaf, coefficients)


def _taylor(curve: Callable[[Array], PyTree], like: PyTree, order: int, unroll: bool) -> PyTree:
    """Taylor coefficients 0, …, order of a curve at t = 0, stacked, in the dtypes of `like`."""

    def value(t: Array) -> tuple[PyTree, ...]:
        return (curve(t),)

    derivatives: Callable[[Array], tuple[PyTree, ...]] = value
    for _ in range(order):
        derivatives = _append_derivative(derivatives)
    zero = jnp.zeros(())
    values = derivatives(zero) if unroll else shared(derivatives, zero)
    return jax.tree.map(
        lambda theta, *d: jnp.stack(
            [d[k].astype(theta.dtype) / math.factorial(k) for k in range(order + 1)]
        ),
        like,
        *values,
    )


def _append_derivative(
    derivatives: Callable[[Array], tuple[PyTree, ...]],
) -> Callable[[Array], tuple[PyTree, ...]]:
    """From t ↦ (g, …, g⁽ᵏ⁾), t ↦ (g, …, g⁽ᵏ⁺¹⁾)."""

    def longer(t: Array) -> tuple[PyTree, ...]:
        values, tangents = jax.jvp(derivatives, (t,), (jnp.ones_like(t),))
        return (*values, tangents[-1])

    return longer
