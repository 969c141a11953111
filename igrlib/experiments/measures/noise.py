"""Multiplicative noise on parameters.

Source: Section 6, Figure 3; chapter 7, *MNIST*.
"""

import jax
from jaxtyping import Array, Float

from igrlib._typing import PyTree

__all__ = ["perturbed"]


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
