"""The types of the public surface, as a type checker and as the run-time checks see them."""

from typing import TYPE_CHECKING, Any

from jax import Array

if TYPE_CHECKING:
    # jaxtyping's PyTree tells a type checker nothing; a Scalar is real, which ArrayLike is not.
    PyTree = Any
    Scalar = float | Array
else:
    from jaxtyping import ArrayLike as Scalar
    from jaxtyping import PyTree

__all__ = ["PyTree", "Scalar"]
