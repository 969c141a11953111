"""Checks of arguments: each error names the argument, what came and what is wanted."""

import math
from collections.abc import Callable
from numbers import Integral
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from igrlib._typing import PyTree


def is_traced(*trees: PyTree) -> bool:
    """Whether any leaf is abstract, so that its value cannot be looked at."""
    return any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(trees))


def check_callable(name: str, function: object) -> None:
    if not callable(function):
        raise TypeError(f"{name} must be a function, got {_kind(function)}")


def check_params(params: PyTree, name: str = "params") -> PyTree:
    """The same pytree with every leaf a floating-point JAX array."""
    for path, leaf in jax.tree.leaves_with_path(params):
        where = f"{name}{jax.tree_util.keystr(path)}"
        try:
            dtype = jnp.result_type(leaf)
        except (TypeError, ValueError) as error:
            raise TypeError(f"{where} must be a floating-point array, got {_kind(leaf)}") from error
        if not jnp.issubdtype(dtype, jnp.floating):
            raise TypeError(f"{where} must be a floating-point array, got dtype {dtype}")
    if sum(np.size(leaf) for leaf in jax.tree.leaves(params)) == 0:
        raise ValueError(f"{name} must hold at least one number, got an empty pytree: {params!r}")
    # Giving the dtype drops JAX's weak type: a Python float must not compute in float32.
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.result_type(leaf)), params)


def check_finite(name: str, value: Any) -> None:
    """A real scalar; its value is looked at only where it is concrete."""
    if isinstance(value, (str, bytes, bool)) or value is None:
        raise TypeError(f"{name} must be a real number, got {value!r}")
    try:
        shape, dtype = jnp.shape(value), jnp.result_type(value)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} must be a real number, got {_kind(value)}") from error
    if shape != ():
        raise ValueError(f"{name} must be a scalar, got an array of shape {shape}")
    if jnp.issubdtype(dtype, jnp.complexfloating) or dtype == jnp.bool_:
        raise TypeError(f"{name} must be a real number, got dtype {dtype}")
    if not is_traced(value) and not math.isfinite(float(value)):
        raise ValueError(f"{name} must be finite, got {value}")


def check_positive(name: str, value: Any) -> None:
    check_finite(name, value)
    if not is_traced(value) and not float(value) > 0:
        raise ValueError(f"{name} must be positive, got {value}")


def check_integer(name: str, value: Any, *, low: int, high: int | None = None) -> int:
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    number = int(value)
    if number < low or (high is not None and number > high):
        wanted = f"at least {low}" if high is None else f"between {low} and {high}"
        raise ValueError(f"{name} must be {wanted}, got {number}")
    return number


def checked_loss(loss: Callable[..., Any], has_aux: bool) -> Callable[..., Any]:
    """`loss`, refusing as it is traced to return anything but a real scalar."""
    check_callable("loss", loss)

    def wrapped(params: PyTree, *args: Any, **kwargs: Any) -> Any:
        out = loss(params, *args, **kwargs)
        if has_aux and not (isinstance(out, tuple) and len(out) == 2):
            raise TypeError(f"loss with has_aux=True must return (value, aux), got {_kind(out)}")
        value: Any = out[0] if has_aux else out
        try:
            shape, dtype = jnp.shape(value), jnp.result_type(value)
        except (TypeError, ValueError) as error:
            raise TypeError(f"loss must return a real scalar, got {_kind(value)}") from error
        if shape != ():
            raise ValueError(f"loss must return a scalar, got an array of shape {shape}")
        if not jnp.issubdtype(dtype, jnp.floating):
            raise TypeError(f"loss must return a real floating-point scalar, got dtype {dtype}")
        return out

    return wrapped


def check_like(name: str, tree: PyTree, like_name: str, like: PyTree) -> None:
    """Two pytrees of one structure, leaf by leaf of one shape."""
    structure, wanted = jax.tree.structure(tree), jax.tree.structure(like)
    if structure != wanted:
        raise ValueError(
            f"{name} must have the structure of {like_name}, {wanted}, got {structure}"
        )
    for (path, leaf), other in zip(
        jax.tree.leaves_with_path(tree), jax.tree.leaves(like), strict=True
    ):
        if jnp.shape(leaf) != jnp.shape(other):
            raise ValueError(
                f"{name}{jax.tree_util.keystr(path)} must have the shape of {like_name}, "
                f"{jnp.shape(other)}, got {jnp.shape(leaf)}"
            )


def _kind(value: object) -> str:
    return f"{type(value).__name__} {value!r}"[:80]
