"""The sharpness of a whole split and of its batches, along the way of a run.

Source: not in the paper: the edge of stability, of full batches and of batches; chapter 10, *The
edge of stability*.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer, Num

from igrlib._checks import check_integer
from igrlib._typing import PyTree
from igrlib.curvature import BatchSharpness, batch_sharpness
from igrlib.experiments.measures.curvature import largest_hessian_eigenvalue
from igrlib.experiments.measures.splits import AT_ONCE, Logits, check_split, cross_entropy

__all__ = ["Sharpness", "sharpness", "sharpness_of_batches"]


class Sharpness(NamedTuple):
    """λ_max of the whole split with the residual of its vector, and what batches see of it.

    With E_B of a batch, g_B its gradient and H_B its Hessian: batch_sharpness is
    E[g_BᵀH_B g_B]/E‖g_B‖², batch_sharpness_mean is E[g_BᵀH_B g_B/‖g_B‖²], batch_lambda_max the
    largest eigenvalue of each H_B.

    Source: Andreyev & Beneventano (2024); chapter 10, *The edge of stability*.
    """

    lambda_max: Float[Array, ""]
    lambda_max_residual: Float[Array, ""]
    batch_sharpness: Float[Array, ""]
    batch_sharpness_mean: Float[Array, ""]
    batch_lambda_max: Float[Array, " batch"]


def sharpness(
    logits: Logits,
    params: PyTree,
    images: Num[Array, "n ..."],
    labels: Integer[Array, " n"],
    *,
    batch_size: int,
    num_batches: int,
    num_matvecs: int = 12,
    at_once: int = AT_ONCE,
) -> Sharpness:
    """The sharpness of a split, and of its first `num_batches` consecutive batches.

    `num_matvecs` products with each Hessian. The order of the split is the caller's. Raises
    `ValueError` where the split has fewer batches, and as `scores` does.

    Source: chapter 10, *The edge of stability*.
    """
    check_split(logits, params, images, labels)
    size = check_integer("batch_size", batch_size, low=1, high=len(labels))
    number = check_integer("num_batches", num_batches, low=1, high=len(labels) // size)
    batches = _batches(images, labels, number, size)
    whole = largest_hessian_eigenvalue(
        logits, params, images, labels, num_matvecs=num_matvecs, at_once=at_once
    )

    def of_batch(batch: tuple[Array, Array]) -> Array:
        return largest_hessian_eigenvalue(
            logits, params, *batch, num_matvecs=num_matvecs, at_once=size
        ).value

    along = _along_gradients(logits, params, batches)
    with jax.default_matmul_precision("highest"):
        each = jax.lax.map(of_batch, batches)
    return Sharpness(*whole, *along, jnp.asarray(each))


def sharpness_of_batches(
    logits: Logits,
    params: PyTree,
    images: Num[Array, "n ..."],
    labels: Integer[Array, " n"],
    *,
    batch_size: int,
) -> BatchSharpness:
    """The sharpness along their gradients of all batches of the split cut into consecutive ones.

    The examples past the last whole batch are left out. Raises `ValueError` as `scores` does.

    Source: Andreyev & Beneventano (2024); chapter 10, *The edge of stability*.
    """
    check_split(logits, params, images, labels)
    size = check_integer("batch_size", batch_size, low=1, high=len(labels))
    batches = _batches(images, labels, len(labels) // size, size)
    return _along_gradients(logits, params, batches)


def _batches(images: Array, labels: Array, number: int, size: int) -> tuple[Array, Array]:
    """The first `number` consecutive batches."""
    first = number * size
    return (
        images[:first].reshape(number, size, *images.shape[1:]),
        labels[:first].reshape(number, size),
    )


def _along_gradients(
    logits: Logits, params: PyTree, batches: tuple[Array, Array]
) -> BatchSharpness:
    with jax.default_matmul_precision("highest"):
        return batch_sharpness(cross_entropy(logits))(params, batches)
