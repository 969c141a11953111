"""The steps of gradient descent beside the two flows: which one they follow, and for how long.

Source: Theorem 3.1; chapters 2 and 6, *Higher orders and the edge*.
"""

import textwrap
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from igrlib._checks import check_arrays, check_integer, check_params, checked_loss, is_traced
from igrlib._programs import run, traced
from igrlib._solving import check_settings, solve
from igrlib._trees import squared_norm
from igrlib._typing import PyTree, Scalar
from igrlib.curvature import largest_hessian_eigenvalue
from igrlib.flows import gradient_descent, gradient_field
from igrlib.regularizer import modified_loss

__all__ = ["Comparison", "compare"]

_ROWS = 11


class Comparison(NamedTuple):
    """What `compare` measures at the saved steps n; `print` makes a report of it.

    times: t = nh; losses: E(θ_n); gradient_norms: ‖∇E(θ_n)‖; scaled_curvature: h·λ_max of ∇²E(θ_n),
    largest algebraic, from below; moved: ‖θ_n − θ_0‖; from_gradient_flow: the distance of θ_n from
    the gradient flow of E at time nh, from_modified_flow: from that of E + (h/4)‖∇E‖²; tolerance:
    what the solver and the dtype of the parameters leave of a distance. Distances are NaN where
    the steps or the flow are not finite, and the report says which.

    Source: eqs. (1) and (2), Theorem 3.1; chapter 2.
    """

    steps: Int[Array, "saved"]
    times: Float[Array, "saved"]
    losses: Float[Array, "saved"]
    gradient_norms: Float[Array, "saved"]
    scaled_curvature: Float[Array, "saved"]
    moved: Float[Array, "saved"]
    from_gradient_flow: Float[Array, "saved"]
    from_modified_flow: Float[Array, "saved"]
    tolerance: Float[Array, "saved"]

    @property
    def outside_from(self) -> int | None:
        """The first saved step with |h·λ_max| ≥ 1, from which on the theory makes no claim."""
        outside = np.flatnonzero(np.abs(np.asarray(self.scaled_curvature)) >= 1)
        return int(self.steps[outside[0]]) if outside.size else None

    @property
    def summary(self) -> str:
        """The result in a few sentences: the curvature, the nearer flow, and failures."""
        seen = jax.tree.map(np.asarray, self)
        sentences = (*_curvature(seen), *_nearer(seen), *_failures(seen))
        return "\n".join(textwrap.fill(each, 88, subsequent_indent="  ") for each in sentences)

    def __str__(self) -> str:
        if is_traced(self) or np.ndim(self.steps) != 1:
            return repr(self)
        return f"{_table(jax.tree.map(np.asarray, self))}\n{self.summary}"


def compare(
    loss: Callable[..., Any],
    params: PyTree,
    learning_rate: Scalar,
    num_steps: int,
    *args: PyTree,
    save_every: int | None = None,
    num_matvecs: int = 20,
    has_aux: bool = False,
    rtol: float | None = None,
    atol: float | None = None,
    max_steps: int = 10_000,
    solver: diffrax.AbstractAdaptiveSolver[Any] | None = None,
) -> Comparison:
    """Gradient descent beside the gradient flows of E and of Ẽ = E + (h/4)‖∇E‖², in one call.

    `loss(params, *args)` is a scalar, or a pair with `has_aux`; `args` are pytrees of arrays and
    numbers. Steps 0, `save_every`, … and `num_steps` are saved, by default about twenty; each takes
    `num_matvecs` products with the Hessian, and three copies of the parameters are held. `print`
    shows a table and says from which step on the run is outside the theory: where |h·λ_max| ≥ 1 the
    expansion in h diverges on a quadratic, and where h·λ_max > 2 so does descent. (The most
    negative eigenvalue is not checked.) `rtol`, `atol`, `max_steps` and `solver` are those of
    `igrlib.flow`. A divergence, or a flow that does not arrive, is not an error: the distances are
    NaN, and the report says so. Compiles as `igrlib.flow` does.

    Raises `TypeError` or `ValueError` unless `num_steps` and `save_every` are integers ≥ 1, and as
    `igrlib.gradient_descent`, `igrlib.flow` and `igrlib.curvature.largest_hessian_eigenvalue` do.

    Source: Theorem 3.1; chapter 2; h·λ_max: chapter 6.

    Example:
        >>> loss = lambda theta: theta @ jnp.array([[3.0, 0.0], [0.0, 1.0]]) @ theta / 2
        >>> found = ig.compare(loss, jnp.array([1.0, 1.0]), 0.1, 20)
        >>> print(found.summary.splitlines()[0])
        h·λ_max is 0.3: below 1, as the theory asks, at all saved steps.
        >>> bool(found.from_modified_flow[-1] < found.from_gradient_flow[-1])
        True
    """
    num_steps = check_integer("num_steps", num_steps, low=1)
    save_every = -(-num_steps // 20) if save_every is None else save_every
    checked = checked_loss(loss, has_aux)
    params, args = check_params(params), check_arrays("args", args)
    _, relative, absolute, *_ = check_settings(params, rtol, atol, max_steps, solver)

    def value(theta: PyTree, *args: PyTree) -> Array:
        out = checked(theta, *args)
        return out[0] if has_aux else out

    eigenvalue = largest_hessian_eigenvalue(value, num_matvecs=num_matvecs)

    def at(given: tuple[PyTree, tuple[PyTree, ...]]) -> tuple[Array, Array]:
        theta, args = given
        return jnp.sqrt(squared_norm(jax.grad(value)(theta, *args))), eigenvalue(theta, *args).value

    def along(given: tuple[PyTree, tuple[PyTree, ...]]) -> tuple[Array, Array]:
        iterates, args = given
        return jax.lax.map(lambda theta: at((theta, args)), iterates)

    def modified(theta: PyTree, rate: Scalar, *args: PyTree) -> PyTree:
        return gradient_field(modified_loss(value, rate))(theta, *args)

    descent = gradient_descent(
        lambda theta: value(theta, *args), params, learning_rate, num_steps, save_every=save_every
    )
    h = jnp.asarray(learning_rate, float)
    times = descent.steps * h

    def followed(field: Callable[..., PyTree], *args: PyTree) -> PyTree:
        return solve(
            field, params, times, args, rtol=rtol, atol=atol, max_steps=max_steps, solver=solver
        )[0]

    flows = [followed(gradient_field(value), *args), followed(modified, h, *args)]
    both = descent.params, args
    norms, eigenvalues = run(traced(along, both), both)
    moved, plain, corrected, length = _distances(descent.params, flows)
    precision = max(float(jnp.finfo(leaf.dtype).eps) for leaf in jax.tree.leaves(params))
    return Comparison(
        steps=descent.steps,
        times=times,
        losses=descent.losses,
        gradient_norms=norms,
        scaled_curvature=h * eigenvalues,
        moved=moved,
        from_gradient_flow=plain,
        from_modified_flow=corrected,
        tolerance=jnp.maximum(relative, precision) * length + absolute,
    )


@jax.jit
def _distances(iterates: PyTree, flows: list[PyTree]) -> list[Array]:
    """‖θ_n − θ_0‖, the distances from the flows, NaN where one was not reached, and ‖θ_n‖."""

    def apart(x: PyTree, y: PyTree) -> Array:
        def difference(a: Array, b: Array) -> Array:
            dtype = jnp.promote_types(a.dtype, jnp.float32)
            return a.astype(dtype) - b.astype(dtype)

        return jnp.sqrt(jax.vmap(squared_norm)(jax.tree.map(difference, x, y)))

    start = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf[:1], leaf.shape), iterates)
    found = [apart(iterates, path) for path in (start, *flows)]
    # What overflowed, or was not reached, is no distance.
    found = [jnp.where(jnp.isfinite(distance), distance, jnp.nan) for distance in found]
    return [*found, jnp.sqrt(jax.vmap(squared_norm)(iterates))]


def _curvature(seen: Any) -> Iterator[str]:
    known = seen.scaled_curvature[np.isfinite(seen.scaled_curvature)]
    if not known.size:
        yield "h·λ_max is finite at no saved step: nothing says whether the theory holds."
        return
    low, high = f"{known.min():.3g}", f"{known.max():.3g}"
    spread = f"h·λ_max is {low}" if low == high else f"h·λ_max is between {low} and {high}"
    if seen.outside_from is None:
        every = "all saved steps" if known.size == seen.steps.size else "all that are finite"
        yield f"{spread}: below 1, as the theory asks, at {every}."
        return
    yield (
        f"{spread}: its size is 1 or more at {_count(np.abs(seen.scaled_curvature) >= 1)}. The run "
        f"is outside the theory from step {seen.outside_from} on."
    )
    beyond = seen.scaled_curvature > 2
    if beyond.any():
        first = seen.steps[np.argmax(beyond)]
        yield (
            f"h·λ_max is above 2, where descent on a quadratic is unstable, at {_count(beyond)}, "
            f"first at step {first}."
        )


def _nearer(seen: Any) -> Iterator[str]:
    """Which flow the steps are nearer to, inside the theory and at the last step to be told."""
    plain, corrected = seen.from_gradient_flow, seen.from_modified_flow
    told = np.isfinite(plain) & np.isfinite(corrected) & (seen.steps > 0)
    inside = told & (seen.steps < (np.inf if seen.outside_from is None else seen.outside_from))
    places = {int(np.flatnonzero(where)[-1]) for where in (inside, told) if where.any()}
    if not places:
        yield "No step can be compared with both flows."
    for k in sorted(places):
        where = "" if inside[k] else ", outside the theory"
        yield (
            f"At step {seen.steps[k]}{where}: {plain[k]:.3g} from gradient flow and "
            f"{corrected[k]:.3g} from the modified flow, after {seen.moved[k]:.3g} moved: "
            f"{_which(plain[k], corrected[k], seen.tolerance[k])}."
        )


def _which(plain: Any, corrected: Any, tolerance: Any) -> str:
    if max(plain, corrected) <= tolerance:
        return f"both within the tolerance {tolerance:.1g}"
    far, near, name = (
        (plain, corrected, "modified flow")
        if corrected < plain
        else (corrected, plain, "gradient flow")
    )
    if near <= tolerance:
        return f"nearer to the {name}, which is within the tolerance {tolerance:.1g}"
    factor = f"{far / near:.3g}"
    return "equally near" if factor == "1" else f"{factor} times nearer to the {name}"


def _failures(seen: Any) -> Iterator[str]:
    lost = np.isnan(seen.moved)
    if lost.any():
        yield (
            f"The steps, or their squares, left the finite numbers by step "
            f"{seen.steps[np.argmax(lost)]}: distances are NaN from there on."
        )
    unknown = ~np.isfinite(seen.scaled_curvature) & ~lost
    if unknown.any():
        first = seen.steps[np.argmax(unknown)]
        yield f"λ_max is not finite at {_count(unknown)}, first at step {first}."
    for name, distance in (
        ("Gradient flow", seen.from_gradient_flow),
        ("The modified flow", seen.from_modified_flow),
    ):
        missing = np.isnan(distance) & ~lost
        if missing.any():
            k = int(np.argmax(missing))
            yield (
                f"{name} was not solved to t = {seen.times[k]:.4g} (step {seen.steps[k]}): it left "
                "the finite numbers or needed more than max_steps steps. Distances from it are NaN "
                "from there on."
            )


def _count(where: np.ndarray) -> str:
    return f"{int(where.sum())} of {where.size} saved steps"


def _table(seen: Any) -> str:
    """At most `_ROWS` of the saved steps, the first and the last among them."""
    columns = {
        "step": seen.steps,
        "t": seen.times,
        "loss": seen.losses,
        "‖∇E‖": seen.gradient_norms,
        "h·λ_max": seen.scaled_curvature,
        "moved": seen.moved,
        "from flow": seen.from_gradient_flow,
        "from modified": seen.from_modified_flow,
    }
    shown = np.unique(np.linspace(0, seen.steps.size - 1, _ROWS).round().astype(int))
    widths = [7, *(max(9, len(name)) for name in list(columns)[1:])]
    lines = ["  ".join(f"{name:>{w}}" for name, w in zip(columns, widths, strict=True))]
    lines += [
        "  ".join(
            f"{column[k]:>{w}.4g}" for column, w in zip(columns.values(), widths, strict=True)
        )
        for k in shown
    ]
    return "\n".join(lines)
