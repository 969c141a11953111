"""The types of the public surface, as a type checker and as the run-time checks see them."""

from typing import TYPE_CHECKING, Any, TypeAlias

from jax import Array

if TYPE_CHECKING:
    # jaxtyping's PyTree tells a type checker nothing; a Scalar is real, which ArrayLike is not.
    PyTree = Any
    Scalar = float | Array
else:
    from jaxtyping import ArrayLike as Scalar
    from jaxtyping import PyTree

Filter: TypeAlias = Any
"""What `wrt` may be; see `igrlib.implicit_gradient_regularizer`."""

__all__ = ["Filter", "PyTree", "Scalar"]
