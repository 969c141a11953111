"""The examples of the batch at step t: a pure function of seed and t, reshuffled each epoch.

Source: Section 6, which states only the batch size; chapter 7, *MNIST*.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Integer

from igrlib._checks import check_integer

__all__ = ["batch_indices", "epoch_order", "steps_per_epoch"]


def steps_per_epoch(num_examples: int, batch_size: int) -> int:
    """The number of whole batches in an epoch.

    Examples after the last whole batch wait for the next shuffle. Raises `TypeError` or
    `ValueError` unless both numbers are integers of 1 or more, and `ValueError` for a batch larger
    than the split.

    Example:
        >>> from igrlib.experiments.ensemble.batches import steps_per_epoch
        >>> steps_per_epoch(100, 32)
        3
    """
    check_integer("num_examples", num_examples, low=1)
    check_integer("batch_size", batch_size, low=1)
    if batch_size > num_examples:
        raise ValueError(
            f"batch_size must be at most the {num_examples} examples of the training split, "
            f"got {batch_size}"
        )
    return num_examples // batch_size


def epoch_order(key: Array, epoch: Integer[Array, ""] | int, num_examples: int) -> Array:
    """The order of the examples in an epoch, int32 of shape (num_examples,)."""
    return jax.random.permutation(
        jax.random.fold_in(key, epoch), jnp.arange(num_examples, dtype=jnp.int32)
    )


def batch_indices(
    key: Array, step: Integer[Array, ""] | int, num_examples: int, batch_size: int
) -> Array:
    """The examples of the batch at `step`, int32 of shape (batch_size,).

    `key` is the random key of the order, one for each seed. Errors are as in `steps_per_epoch`.
    """
    per_epoch = steps_per_epoch(num_examples, batch_size)
    order = epoch_order(key, step // per_epoch, num_examples)
    return jax.lax.dynamic_slice(order, ((step % per_epoch) * batch_size,), (batch_size,))
