"""What is measured of a classifier, on whole splits and never on a batch.

Every function takes `logits(params, images)`, images that it can be applied to and integer labels,
and walks through the split in blocks, so that memory does not grow with the split. Gradients are
computed at full matrix precision.

Source: Section 6 and Appendix A.5; chapter 7, *MNIST*.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Integer, Num
from matfree import decomp, eig

from igrlib._checks import check_integer
from igrlib._trees import squared_norm
from igrlib._typing import PyTree

__all__ = [
    "BLOCK",
    "Measures",
    "Scores",
    "cross_entropy",
    "largest_hessian_eigenvalue",
    "mean_squared_batch_gradient",
    "measures",
    "perturbed",
    "scores",
]

BLOCK = 500
"""Examples of a split that are taken at once: the fastest of those tried at width 50 on a CPU."""

Logits = Callable[[PyTree, Array], Array]


class Scores(NamedTuple):
    """The loss E, a mean over the split in nats, and the accuracy, between 0 and 1."""

    loss: Float[Array, ""]
    accuracy: Float[Array, ""]


class Measures(NamedTuple):
    """The loss E, the accuracy, and ‖∇E‖², the square of the slope, of a whole split.

    R_IG is `squared_gradient` over the number of parameters, λR_IG is h/4 times it.
    Source: eqs. (3), (4), Proposition 3.3; chapter 7.
    """

    loss: Float[Array, ""]
    accuracy: Float[Array, ""]
    squared_gradient: Float[Array, ""]


def cross_entropy(logits: Logits) -> Callable[[PyTree, Array, Array], Float[Array, ""]]:
    """The loss `(params, images, labels) -> E`, the mean cross entropy in nats."""

    def loss(params: PyTree, images: Array, labels: Array) -> Float[Array, ""]:
        outputs = logits(params, images)
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(outputs, labels))

    return loss


def scores(
    logits: Logits,
    params: PyTree,
    images: Num[Array, "n ..."],
    labels: Integer[Array, " n"],
    *,
    block: int = BLOCK,
) -> Scores:
    """Loss and accuracy of a whole split, `block` examples at a time."""

    total = _sum_over_blocks(partial(_totals, logits, params), images, labels, block)
    return Scores(*(s / len(labels) for s in total))


def measures(
    logits: Logits,
    params: PyTree,
    images: Num[Array, "n ..."],
    labels: Integer[Array, " n"],
    *,
    block: int = BLOCK,
) -> Measures:
    """Loss, accuracy and ‖∇E‖² of a whole split, `block` examples at a time."""

    part = partial(jax.value_and_grad(partial(_totals, logits), has_aux=True), params)
    with jax.default_matmul_precision("highest"):
        (loss, correct), gradient = _sum_over_blocks(part, images, labels, block)
    n = len(labels)
    return Measures(loss / n, correct / n, squared_norm(jax.tree.map(lambda g: g / n, gradient)))


def mean_squared_batch_gradient(
    logits: Logits,
    params: PyTree,
    images: Num[Array, "n ..."],
    labels: Integer[Array, " n"],
    *,
    batch_size: int,
) -> Float[Array, ""]:
    """The mean of ‖∇E_B‖² over the split cut into consecutive batches of `batch_size`.

    What stochastic gradient descent penalises in the place of ‖∇E‖² (Smith et al., 2021); the
    examples past the last whole batch are left out. The order of the split is the caller's. Raises
    `ValueError` for a batch larger than the split.

    Source: not in the paper; chapter 7.
    """
    loss = cross_entropy(logits)
    size = check_integer("batch_size", batch_size, low=1, high=len(labels))
    num_batches = len(labels) // size
    x, y = (_blocks(a, num_batches, batch_size) for a in (images, labels))
    with jax.default_matmul_precision("highest"):
        squares = jax.lax.map(lambda b: squared_norm(jax.grad(loss)(params, *b)), (x, y))
    return jnp.mean(squares)


def largest_hessian_eigenvalue(
    logits: Logits,
    params: PyTree,
    images: Num[Array, "n ..."],
    labels: Integer[Array, " n"],
    *,
    num_matvecs: int = 10,
    block: int = BLOCK,
) -> Float[Array, ""]:
    """λ_max of ∇²E over a whole split, by Lanczos' method (`matfree`) from the gradient.

    `num_matvecs` products of the Hessian with a vector, each about three gradients; the estimate
    is from below, and starts at the gradient because that lies mostly along the largest
    eigenvectors.

    Source: not in the paper: the rival explanation, stability at hλ_max = 2; chapter 7.
    """

    gradient = jax.grad(lambda p, x, y: _totals(logits, p, x, y)[0])

    def product(v: PyTree) -> PyTree:
        def part(x: Array, y: Array) -> PyTree:
            return jax.jvp(lambda p: gradient(p, x, y), (params,), (v,))[1]

        return jax.tree.map(
            lambda s: s / len(labels), _sum_over_blocks(part, images, labels, block)
        )

    with jax.default_matmul_precision("highest"):
        start = _sum_over_blocks(partial(gradient, params), images, labels, block)
        # Lanczos' method divides by the length of its start: never 0, even at a flat point.
        start = jax.tree.map(lambda g: g + jnp.finfo(g.dtype).tiny ** 0.5, start)
        lanczos = eig.eigh_partial(decomp.tridiag_sym(num_matvecs, custom_vjp=False))
        values, _ = lanczos(product, start)
    return jnp.max(values)


def perturbed(params: PyTree, key: Array, sigma: Float[Array, ""]) -> PyTree:
    """θ(1 + η) with η drawn from N(0, σ²) for each parameter; σ is a standard deviation, ≥ 0.

    Source: Section 6, Figure 3; chapter 7.
    Differs from the paper: it does not say whether its σ is a deviation or a variance.
    """
    leaves, structure = jax.tree.flatten(params)
    keys = jax.random.split(key, len(leaves))
    return jax.tree.unflatten(
        structure,
        [
            a * (1 + sigma.astype(a.dtype) * jax.random.normal(k, a.shape, a.dtype))
            for a, k in zip(leaves, keys, strict=True)
        ],
    )


def _totals(logits: Logits, params: PyTree, x: Array, y: Array) -> tuple[Array, Array]:
    """The sums of the losses and of the right answers."""
    outputs = logits(params, x)
    losses = optax.softmax_cross_entropy_with_integer_labels(outputs, y)
    return jnp.sum(losses), jnp.sum(jnp.argmax(outputs, -1) == y).astype(losses.dtype)


def _blocks(a: Array, number: int, size: int) -> Array:
    return a[: number * size].reshape(number, size, *a.shape[1:])


def _sum_over_blocks(
    part: Callable[[Array, Array], Any], images: Array, labels: Array, block: int
) -> Any:
    """The sum of `part` over consecutive blocks, the last one as short as it comes."""
    n, block = len(labels), check_integer("block", block, low=1)
    if n <= block:
        return part(images, labels)
    whole = n // block
    parts = _blocks(images, whole, block), _blocks(labels, whole, block)
    shape = jax.eval_shape(part, *(a[0] for a in parts))
    zero = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shape)

    def add(total: Any, b: tuple[Array, Array]) -> tuple[Any, None]:
        return jax.tree.map(jnp.add, total, part(*b)), None

    total, _ = jax.lax.scan(add, zero, parts)
    if n % block:
        rest = part(images[whole * block :], labels[whole * block :])
        total = jax.tree.map(jnp.add, total, rest)
    return total
