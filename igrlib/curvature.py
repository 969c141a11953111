"""The curvature of any loss: the largest eigenvalues of its Hessian, and the sharpness of batches.

The Hessian is never formed: its product with a vector costs about two gradients.

Source: not in the paper: the rival explanation, stability at hλ_max = 2; chapters 6, *Higher orders
and the edge*, and 7, *MNIST*.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from igrlib._checks import check_integer, check_leading, check_params
from igrlib._lanczos import lanczos, start_vector
from igrlib._models import of_model
from igrlib._trees import flattened, gradient_of, inner, squared_norm
from igrlib._typing import Filter, PyTree

__all__ = [
    "BatchSharpness",
    "Eigenvalue",
    "batch_sharpness",
    "hessian_eigenvalues",
    "largest_hessian_eigenvalue",
]


class Eigenvalue(NamedTuple):
    """An eigenvalue λ, or several in falling order, and the residual ‖Hv − λv‖ of its vector.

    There is an eigenvalue of H within the residual of `value`.

    Source: not in the paper; chapter 7, *MNIST*.
    """

    value: Float[Array, "..."]
    residual: Float[Array, "..."]


class BatchSharpness(NamedTuple):
    """gᵀHg/‖g‖² along the gradients of batches: the ratio of the means, and the mean of the ratios.

    With g_B and H_B of a batch they are E[g_BᵀH_B g_B]/E‖g_B‖² and E[g_BᵀH_B g_B/‖g_B‖²].

    Source: Andreyev & Beneventano (2024); not in the paper.
    """

    ratio_of_means: Float[Array, ""]
    mean_of_ratios: Float[Array, ""]


def largest_hessian_eigenvalue(
    loss: Callable[..., Any],
    *,
    num_matvecs: int = 20,
    has_aux: bool = False,
    wrt: Filter | None = None,
) -> Callable[..., Eigenvalue]:
    """λ_max of ∇²E, the largest *algebraic* eigenvalue, with its residual, by Lanczos' method.

    `loss` and `wrt` are as in `igrlib.implicit_gradient_regularizer`, and the returned function
    takes the same arguments; inside `jax.jit` too. `num_matvecs` products with the Hessian, and one
    for the residual, start from the gradient and a fixed random vector. The estimate is from below,
    up to rounding. A negative eigenvalue of larger size does not count.

    Raises `TypeError` or `ValueError` unless `num_matvecs` is an integer ≥ 1, and as
    `implicit_gradient_regularizer` does.

    Source: not in the paper; chapter 7, *MNIST*.

    Example:
        >>> loss = lambda theta: 3 * theta[0] ** 2 - 5 * theta[1] ** 2
        >>> found = ig.curvature.largest_hessian_eigenvalue(loss)(jnp.array([1.0, 2.0]))
        >>> round(float(found.value), 4)
        6.0
    """
    several = hessian_eigenvalues(loss, 1, num_matvecs=num_matvecs, has_aux=has_aux, wrt=wrt)

    def largest(params: PyTree, *args: Any, **kwargs: Any) -> Eigenvalue:
        return Eigenvalue(*(part[0] for part in several(params, *args, **kwargs)))

    return largest


def hessian_eigenvalues(
    loss: Callable[..., Any],
    k: int,
    *,
    num_matvecs: int = 20,
    has_aux: bool = False,
    wrt: Filter | None = None,
) -> Callable[..., Eigenvalue]:
    """The k largest algebraic eigenvalues of ∇²E, in falling order, with their residuals, (k,).

    A multiple eigenvalue is found once or more. If fewer than k are found, the last entries are
    NaN. The rest is as in `largest_hessian_eigenvalue`; `num_matvecs` must be
    at least k.

    Source: not in the paper; chapter 6.

    Example:
        >>> loss = lambda theta: theta @ jnp.diag(jnp.array([3.0, 2.0, 1.0])) @ theta / 2
        >>> found = ig.curvature.hessian_eigenvalues(loss, 2)(jnp.ones(3))
        >>> [round(float(value), 4) for value in found.value]
        [3.0, 2.0]
    """
    if wrt is not None:
        return of_model(
            lambda e: hessian_eigenvalues(e, k, num_matvecs=num_matvecs, has_aux=has_aux), loss, wrt
        )
    k = check_integer("k", k, low=1)
    num_matvecs = check_integer("num_matvecs", num_matvecs, low=k)
    gradient = gradient_of(loss, has_aux)

    def largest(params: PyTree, *args: Any, **kwargs: Any) -> Eigenvalue:
        params = check_params(params)
        _, unflatten = flattened(params)
        g, push = jax.linearize(lambda p: gradient(p, *args, **kwargs), params)

        def product(v: Array) -> Array:
            return flattened(push(unflatten(v)))[0]

        start = start_vector(flattened(g)[0])
        matrix, vectors, count = lanczos(product, start, min(num_matvecs, start.size))
        values, small = jnp.linalg.eigh(matrix)
        top = values[::-1], small[:, ::-1].T
        kept = min(k, len(matrix))

        def residual(pair: tuple[Array, Array]) -> Array:
            value, weights = pair
            v = weights @ vectors
            return jnp.linalg.norm(product(v) - value * v) / jnp.linalg.norm(v)

        found = Eigenvalue(top[0][:kept], jax.lax.map(residual, (top[0][:kept], top[1][:kept])))
        real = jnp.arange(kept) < count
        padding = (0, k - kept)
        return Eigenvalue(
            *(
                jnp.pad(jnp.where(real, part, jnp.nan), padding, constant_values=jnp.nan)
                for part in found
            )
        )

    return largest


def batch_sharpness(
    loss: Callable[..., Any], *, has_aux: bool = False, wrt: Filter | None = None
) -> Callable[..., BatchSharpness]:
    """The curvature of batch losses along their own gradients.

    The returned function takes `params` and `batches`, a tuple of the arguments of `loss` after
    `params`, each with a leading axis over the batches. The source reports that SGD settles where
    the ratio of the means is about 2/h, for any λ_max of the whole loss. Raises `ValueError`
    for different numbers of batches, and as `igrlib.implicit_gradient_regularizer` does, which says
    what `wrt` is.

    Source: Andreyev & Beneventano, "Edge of stochastic stability", 2024; not in the paper.

    Example:
        >>> loss = lambda theta, x: x * theta**2 / 2
        >>> found = ig.curvature.batch_sharpness(loss)(1.0, (jnp.array([1.0, 3.0]),))
        >>> [round(float(each), 4) for each in found]  # 28/10 and (1 + 3)/2
        [2.8, 2.0]
    """
    if wrt is not None:
        return of_model(lambda e: batch_sharpness(e, has_aux=has_aux), loss, wrt)
    gradient = gradient_of(loss, has_aux)

    def sharpness(params: PyTree, batches: tuple[PyTree, ...]) -> BatchSharpness:
        params = check_params(params)
        check_leading("batches", batches)

        def both(batch: tuple[PyTree, ...]) -> tuple[Array, Array]:
            g, push = jax.linearize(lambda p: gradient(p, *batch), params)
            return inner(g, push(g)), squared_norm(g)

        curved, squared = jax.lax.map(both, batches)
        ratios = curved / jnp.where(squared > 0, squared, 1)
        return BatchSharpness(jnp.mean(curved) / jnp.mean(squared), jnp.mean(ratios))

    return sharpness
