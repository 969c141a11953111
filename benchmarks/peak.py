"""What the machine can do at best, a large product of matrices, and what a training step needs.

A unit of work is a multiplication or an addition of float32 numbers.
"""

import numpy as np

from .workers import Job

REPEATS = 4


def num_params(width: int, side: int) -> int:
    """m of the network side²-n-n-n-n-n-10."""
    return (side**2 + 1) * width + 4 * (width + 1) * width + (width + 1) * 10


def flop(width: int, batch_size: int, side: int) -> int:
    """Multiplications and additions of a step: 6 for each parameter and example.

    That is the usual count and a little flattering: the first layer passes no gradient on to the
    images, which saves a third of its part.
    """
    return 6 * num_params(width, side) * batch_size


def numpy_product(size: int) -> Job:
    """Products of two float32 matrices in NumPy."""
    a = np.random.default_rng(0).normal(size=(size, size)).astype(np.float32)
    out = a @ a

    def work() -> None:
        for _ in range(REPEATS):
            np.matmul(a, a, out=out)

    return Job(work, REPEATS * 2 * size**3)


def jax_product(size: int) -> Job:
    """The same in JAX, at the precision that the trainer has."""
    import jax
    import jax.numpy as jnp

    a = jnp.asarray(np.random.default_rng(0).normal(size=(size, size)).astype(np.float32))
    product = jax.jit(jnp.matmul)
    jax.block_until_ready(product(a, a))

    def work() -> None:
        jax.block_until_ready([product(a, a) for _ in range(REPEATS)])

    return Job(work, REPEATS * 2 * size**3)
