"""The principal flow: the logarithm of a step of gradient descent along the top eigenvectors.

Source: Rosca, Wu, Qin & Dherin, "On a continuous time model of gradient descent dynamics and
instability in deep learning", TMLR 2023 (arXiv:2302.01952); chapter 10.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from igrlib._checks import check_integer, check_params, check_positive, is_traced
from igrlib._lanczos import lanczos, start_vector
from igrlib._models import of_model
from igrlib._programs import run, traced
from igrlib._trees import flattened, gradient_of
from igrlib._typing import Filter, PyTree, Scalar

__all__ = ["principal_field"]


def principal_field(
    loss: Callable[..., Any],
    learning_rate: Scalar,
    *,
    num_directions: int,
    num_matvecs: int = 20,
    has_aux: bool = False,
    wrt: Filter | None = None,
) -> Callable[..., PyTree]:
    """The principal flow's field along the top eigenvectors u of the Hessian, a pytree like θ.

    Along u it is (log|1 − hλ|/(hλ))·⟨∇E, u⟩·u, in the other directions −(I + (h/2)H)∇E: a step of
    gradient descent differs from its flow over a time h by O(h³), whatever the loss, and along the
    `num_directions` eigenvectors by nothing if the loss is quadratic and hλ < 1. Beyond, where the
    logarithm is complex, its real part is taken: the flow follows the size of the steps and not
    their sign. It is singular at hλ = 1, where one step ends at the minimum: there |1 − hλ| is
    taken as the rounding unit at least.

    `learning_rate` h is positive; `loss` and `wrt` are as in `igrlib.modified_loss`, and the
    returned function takes the same arguments. `num_matvecs` products with the Hessian, of about
    two gradients each, find the eigenvectors by Lanczos' method from the gradient.

    Raises `TypeError` or `ValueError` unless 1 ≤ `num_directions` ≤ `num_matvecs` are integers, and
    `ValueError` where an eigenvalue of the other directions is beyond the edge, 2/h. (Inside
    `jax.jit` the field is NaN there, and `igrlib.flow` raises.)

    Source: Rosca, Wu, Qin & Dherin, "On a continuous time model of gradient descent dynamics and
    instability in deep learning", TMLR 2023; chapter 10.
    Differs from its source, which takes all eigenvectors, and complex numbers.

    Example:
        >>> field = ig.edge.principal_field(lambda theta: theta**2 / 2, 0.5, num_directions=1)
        >>> end = ig.flow(field, 1.0, jnp.array([0.0, 1.0]))[-1]
        >>> round(float(end), 4)  # two steps halve it twice
        0.25
    """
    if wrt is not None:
        return of_model(
            lambda e: principal_field(
                e,
                learning_rate,
                num_directions=num_directions,
                num_matvecs=num_matvecs,
                has_aux=has_aux,
            ),
            loss,
            wrt,
        )
    check_positive("learning_rate", learning_rate)
    num_directions = check_integer("num_directions", num_directions, low=1)
    num_matvecs = check_integer("num_matvecs", num_matvecs, low=num_directions)
    gradient = gradient_of(loss, has_aux)

    def along(params: PyTree, h: Scalar, args: Any, kwargs: Any) -> tuple[PyTree, Float[Array, ""]]:
        """The field, and hλ of the largest of the other eigenvalues."""
        theta, unflatten = flattened(params)

        def flat(x: Array) -> Array:
            return flattened(gradient(unflatten(x), *args, **kwargs))[0].astype(x.dtype)

        g, product = jax.linearize(flat, theta)
        # Start from the gradient alone: nothing at right angles to it moves.
        start = jnp.where(jnp.any(g != 0), g, start_vector(g))
        matrix, vectors, _ = lanczos(product, start, min(num_matvecs, g.size))
        values, small = jnp.linalg.eigh(matrix)
        rate = jnp.asarray(h, g.dtype)
        z = rate * values[::-1]
        top = small[:, ::-1].T[:num_directions] @ vectors
        excess = _excess(z[:num_directions]) * (top @ g)
        found = -(g + rate / 2 * product(g)) + excess @ top
        rest = jnp.max(z[num_directions:], initial=-jnp.inf)
        return unflatten(jnp.where(rest >= 2, jnp.nan, found)), rest

    def field(params: PyTree, *args: Any, **kwargs: Any) -> PyTree:
        params = check_params(params)
        h = learning_rate
        if not is_traced(h):
            # An array is an argument of the compiled program: another h compiles nothing.
            with jax.ensure_compile_time_eval():
                h = jnp.asarray(h, float)
        found, rest = run(traced(lambda p: along(p, h, args, kwargs), params), params)
        if not is_traced(rest) and rest >= 2:
            raise ValueError(
                f"num_directions={num_directions} are too few: the next eigenvalue is "
                f"{float(rest):.4g}/h, beyond the edge 2/h; take more directions"
            )
        return found

    return field


def _excess(z: Float[Array, " k"]) -> Float[Array, " k"]:
    """log|1 − z|/z + 1 + z/2, which is −z²/3 − … near 0."""
    small = jnp.abs(z) < jnp.finfo(z.dtype).eps ** 0.25
    far = jnp.where(small, 0.5, z)
    gap = jnp.maximum(jnp.abs(1 - far), jnp.finfo(z.dtype).eps)
    near = -(z**2) * (1 / 3 + z * (1 / 4 + z * (1 / 5 + z / 6)))
    return jnp.where(small, near, jnp.log(gap) / far + 1 + far / 2)
