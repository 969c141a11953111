"""The quantities of the theory for a loss that is given in batches, in any training loop.

Source: eqs. (3) and (4); the mean over batches: Smith, Dherin, Barrett & De (2021); chapters 7,
*MNIST*, and 12, *What held*.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from igrlib._checks import check_finite, check_integer, check_params, checked_loss
from igrlib._lanczos import start_vector
from igrlib._models import of_model
from igrlib._programs import Program, run, traced
from igrlib._trees import inner, squared_norm
from igrlib._typing import Filter, PyTree, Scalar
from igrlib.regularizer import num_params

__all__ = ["Probe", "probe"]


class Probe(NamedTuple):
    """Measures of E, the mean loss of all examples, and of the losses E_B of batches.

    loss: E; squared_gradient: ‖∇E‖²; regularizer: R_IG = ‖∇E‖²/m; relative_penalty: λR_IG/E, the
    share of the implicit penalty (h/4)‖∇E‖² in the loss; batch_squared_gradient: the mean of
    ‖∇E_B‖²; noise_share: 1 − ‖∇E‖²/mean‖∇E_B‖², between 0 for a full batch and 1;
    largest_hessian_eigenvalue: λ_max of ∇²E, the largest algebraic one, from below; residual: that
    of its vector; scaled_curvature: h·λ_max, on a quadratic stable up to 2; batch_sharpness:
    E[g_BᵀH_B g_B]/E‖g_B‖². NaN where it was not asked for.

    Source: eqs. (3) and (4); chapter 7, *MNIST*.
    """

    loss: Float[Array, ""]
    squared_gradient: Float[Array, ""]
    regularizer: Float[Array, ""]
    relative_penalty: Float[Array, ""]
    batch_squared_gradient: Float[Array, ""]
    noise_share: Float[Array, ""]
    largest_hessian_eigenvalue: Float[Array, ""]
    residual: Float[Array, ""]
    scaled_curvature: Float[Array, ""]
    batch_sharpness: Float[Array, ""]


def probe(
    loss: Callable[..., Any],
    *,
    learning_rate: Scalar,
    num_matvecs: int = 0,
    has_aux: bool = False,
    wrt: Filter | None = None,
) -> Callable[[PyTree, Iterable[Any]], Probe]:
    """Measure a loss over batches: `measure(params, batches)`, one batch in memory at a time.

    Each of `batches` is a tuple of the arguments of `loss` after `params`; the loss is the mean
    over the examples of the batch, whose number is the length of the first array in it. Means over
    all examples, and over batches weighted by their size, take one pass. λ_max takes a pass for
    each of `num_matvecs` products with the Hessian, so `batches` must then allow several passes: a
    list or a loader, not a generator. With 0, the default, λ_max is NaN. λ_max is found
    from below: where `residual` is not small beside it, take more products.

    `learning_rate` is the h of plain gradient descent. For heavy ball with β pass h/(1 − β): then
    `relative_penalty` lacks the factor (1 + β)/(1 − β) of full batches, and the edges of
    `scaled_curvature` and of `batch_sharpness` are those of chapter 11. For Adam no h gives its
    penalty or its edge.

    Raises `ValueError` without a batch, for a batch that is no tuple or begins with a random key,
    or for a generator where several passes are asked for, and as
    `igrlib.implicit_gradient_regularizer` does, which says what `wrt` is. A loss that is a sum over
    its examples raises nothing, and makes E as many times too large.

    Source: eqs. (3) and (4); chapter 7, *MNIST*.

    Example:
        >>> loss = lambda theta, x: jnp.mean((theta - x) ** 2) / 2
        >>> batches = [(jnp.array([0.0, 1.0]),), (jnp.array([2.0, 5.0]),)]
        >>> measure = ig.probe(loss, learning_rate=0.5, num_matvecs=1)
        >>> found = measure(3.0, batches)  # the mean of x is 2
        >>> float(found.squared_gradient), float(found.batch_squared_gradient)
        (1.0, 3.25)
        >>> float(found.scaled_curvature)
        0.5
    """
    if wrt is not None:
        return of_model(
            lambda e: probe(
                e, learning_rate=learning_rate, num_matvecs=num_matvecs, has_aux=has_aux
            ),
            loss,
            wrt,
        )
    check_finite("learning_rate", learning_rate)
    num_matvecs = check_integer("num_matvecs", num_matvecs, low=0)
    value_and_grad = jax.value_and_grad(checked_loss(loss, has_aux), has_aux=has_aux)

    def along_itself(given: PyTree) -> tuple[Array, PyTree, Array, Array]:
        """E_B, its gradient g, ‖g‖² and gᵀHg."""
        (params,), batch = given

        def first(p: PyTree) -> tuple[PyTree, Array]:
            out, gradient = value_and_grad(p, *batch)
            return gradient, out[0] if has_aux else out

        gradient, push, value = jax.linearize(first, params, has_aux=True)
        return value, gradient, squared_norm(gradient), inner(gradient, push(gradient))

    def product(given: PyTree) -> PyTree:
        (params, vector), batch = given

        def gradient(p: PyTree) -> PyTree:
            return value_and_grad(p, *batch)[1]

        return jax.jvp(gradient, (params,), (vector,))[1]

    def measure(params: PyTree, batches: Iterable[Any]) -> Probe:
        params = check_params(params)
        if num_matvecs and isinstance(batches, Iterator):
            raise ValueError(
                "batches must be something that can be gone through again where num_matvecs is "
                f"above 0, such as a list; got {type(batches).__name__}"
            )
        value, gradient, squared, curved = _mean(along_itself, (params,), batches)
        whole = squared_norm(gradient)
        found, residual = _largest(
            lambda v: _mean(product, (params, v), batches), gradient, num_matvecs
        )
        h = jnp.asarray(learning_rate)
        return Probe(
            loss=value,
            squared_gradient=whole,
            regularizer=whole / float(num_params(params)),
            relative_penalty=h / 4 * whole / value,
            batch_squared_gradient=squared,
            noise_share=1 - whole / squared,
            largest_hessian_eigenvalue=found,
            residual=residual,
            scaled_curvature=h * found,
            batch_sharpness=curved / squared,
        )

    return measure


def _mean(function: Callable[[Any], PyTree], fixed: tuple[PyTree, ...], batches: Any) -> Any:
    """The mean of `function((fixed, batch))` over batches, weighted by their sizes."""
    programs: dict[Any, Program] = {}
    total, examples = None, 0
    for batch in batches:
        batch = _arguments(batch)
        leaves, structure = jax.tree.flatten(batch)
        key = (structure, tuple((leaf.shape, leaf.dtype) for leaf in leaves))
        if key not in programs:
            programs[key] = traced(function, (fixed, batch))
        n = len(leaves[0])
        here = jax.tree.map(lambda a, n=n: n * a, run(programs[key], (fixed, batch)))
        total = here if total is None else jax.tree.map(jnp.add, total, here)
        examples += n
    if total is None:
        raise ValueError("batches must be one or more, got none")
    return jax.tree.map(lambda a: (a / examples).astype(a.dtype), total)


def _arguments(batch: Any) -> tuple[PyTree, ...]:
    """A batch as a tuple of arrays, the first of which has an axis of examples."""
    wanted = "batches must be tuples of the arguments of loss after params"
    if isinstance(batch, Mapping):
        name = type(batch).__name__
        raise ValueError(f"{wanted}, got a {name}: for a loss of (params, batch) pass [(batch,)]")
    if not isinstance(batch, (tuple, list)):
        what = f"an array of shape {batch.shape}" if hasattr(batch, "shape") else repr(batch)[:80]
        raise ValueError(f"{wanted}, got {what} in place of a tuple: for one batch pass [(x, y)]")
    arguments = jax.tree.map(jnp.asarray, tuple(batch))
    leaves = jax.tree.leaves(arguments)
    if not leaves or not leaves[0].ndim or _is_key(*leaves):
        raise ValueError(
            f"{wanted}, the first array with an axis of examples; got "
            f"{jax.tree.map(jax.typeof, arguments)}: pass keys and scalars after the examples"
        )
    return arguments


def _is_key(first: Array, *others: Array) -> bool:
    """Whether an array is a random key: of JAX's own dtype, or two words beside longer arrays."""
    words = first.dtype == jnp.uint32 and first.shape == (2,)
    return jnp.issubdtype(first.dtype, jax.dtypes.prng_key) or (
        words and any(a.ndim and len(a) != 2 for a in others)
    )


def _largest(
    product: Callable[[PyTree], PyTree], start: PyTree, num_matvecs: int
) -> tuple[Array, Array]:
    """The largest eigenvalue, and its residual, of a product that is not a JAX program."""
    if not num_matvecs:
        return jnp.asarray(jnp.nan), jnp.asarray(jnp.nan)
    vector, unravel = ravel_pytree(start)
    vector = start_vector(vector)
    basis = [vector / jnp.linalg.norm(vector)]
    matrix = np.zeros((num_matvecs, num_matvecs))
    tiny = float(jnp.finfo(vector.dtype).eps) ** 0.75
    last, beta = 0, 0.0
    for k in range(min(num_matvecs, vector.size)):
        ahead, _ = ravel_pytree(product(unravel(basis[k])))
        matrix[k, k] = float(basis[k] @ ahead)
        for _ in range(2):  # Once leaves rounding errors.
            for q in basis:
                ahead = ahead - (q @ ahead) * q
        beta = float(jnp.linalg.norm(ahead))
        last = k + 1
        if beta <= tiny * max(np.abs(matrix).max(), 1e-30) or k + 1 == num_matvecs:
            break
        matrix[k, k + 1] = matrix[k + 1, k] = beta
        basis.append(ahead / beta)
    values, weights = np.linalg.eigh(matrix[:last, :last])
    # ‖Hv − λv‖ of the Ritz vector: the rest of the last product, times the share of its vector.
    return jnp.asarray(values[-1]), jnp.asarray(abs(weights[-1, -1]) * beta)
