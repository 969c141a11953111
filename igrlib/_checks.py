"""Checks of arguments: each error names the argument, what came and what is wanted."""

import difflib
import inspect
import sys
from collections.abc import Callable, Iterable, Mapping
from numbers import Integral
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.core import Tracer

from igrlib._typing import PyTree

_NO_PARAMS = ("batch_stats", "cache", "intermediates")
"""Collections that Linen keeps beside "params"."""


def is_traced(*trees: PyTree) -> bool:
    """Whether any leaf is abstract, so that its value cannot be looked at."""
    return any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(trees))


def check_callable(name: str, function: object) -> None:
    if not callable(function):
        made = callable(getattr(function, "init", None))  # a transformation of Optax
        instead = ": pass optax.adam or lambda h: …, and not what it returns" if made else ""
        raise TypeError(f"{name} must be a function, got {_kind(function)}{instead}")


def check_params(params: PyTree, name: str = "params") -> PyTree:
    """The same pytree with every leaf a floating-point JAX array."""
    if holds_nnx(params):
        raise TypeError(
            f"{name} must be arrays, got an nnx.Module: pass wrt=nnx.Param, or "
            "nnx.state(model, nnx.Param) to a function that takes no wrt"
        )
    if isinstance(params, Mapping) and "params" in params:
        others = [key for key in _NO_PARAMS if jax.tree.leaves(params.get(key))]
        if others:
            raise ValueError(
                f"{name} must not hold {others[0]!r}: of Linen's variables pass "
                "variables['params'], and the rest as an argument of the loss"
            )
    params = jax.tree.map(native, params)
    for path, leaf in jax.tree.leaves_with_path(params):
        where = f"{name}{jax.tree_util.keystr(path)}"
        try:
            _shape(leaf, f"{where} must be a floating-point array", jnp.floating)
        except TypeError as error:
            if not _holds(params, eqx.Module):
                raise
            raise TypeError(
                f"{error}: for a whole model pass wrt=eqx.is_inexact_array, or "
                "eqx.filter(model, eqx.is_inexact_array) to a function that takes no wrt"
            ) from None
    if sum(np.size(leaf) for leaf in jax.tree.leaves(params)) == 0:
        raise ValueError(f"{name} must hold at least one number, got an empty pytree: {params!r}")
    # Giving the dtype drops JAX's weak type: a Python float must not compute in float32.
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.result_type(leaf)), params)


def nnx() -> Any:
    """`flax.nnx`, if anybody has imported it."""
    return sys.modules.get("flax.nnx")


def holds_nnx(tree: PyTree) -> bool:
    """Whether a pytree is an NNX module, or has one in it."""
    return nnx() is not None and _holds(tree, nnx().Module)


def check_finite(name: str, value: Any) -> None:
    """Refuse all but finite real scalars; a traced one may have any value."""
    if callable(value) and not hasattr(value, "dtype"):
        raise TypeError(
            f"{name} must be a real number, got {_kind(value)}: of a schedule pass its value at "
            "the step, inside the jitted step"
        )
    shape = _shape(value, f"{name} must be a real number", jnp.floating, jnp.integer)
    if shape != ():
        raise ValueError(f"{name} must be a scalar, got an array of shape {shape}")
    if not is_traced(value) and not np.isfinite(np.asarray(value, np.float64)):
        raise ValueError(f"{name} must be finite, got {value}")


def check_transformation(made: object) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """`init` and `update` of what an `optimizer` returned."""
    init, update = (getattr(made, name, None) for name in ("init", "update"))
    if not (callable(init) and callable(update)):
        raise TypeError(
            "optimizer must be a function of the learning rate that returns an Optax "
            f"transformation, such as optax.adam; got {made!r} from it"[:200]
        )
    return init, update


def wide_number(name: str, value: Any) -> Any:
    """A finite real scalar in which products neither wrap around nor overflow early.

    Integers and half precision become floating-point, float32 or wider; the rest stays as it is.
    """
    check_finite(name, value)
    dtype = jnp.result_type(value)
    if jnp.issubdtype(dtype, jnp.floating) and jnp.finfo(dtype).bits >= 32:
        return value
    if isinstance(value, Array):
        return jnp.asarray(value, jnp.promote_types(dtype, jnp.float32))
    return float(value)


def real_array(name: str, value: Any) -> Any:
    """An array of real numbers; a list of them becomes one."""
    wanted = f"{name} must be an array of real numbers"
    if not isinstance(value, Array):
        try:
            value = np.asarray(value)
        except ValueError as error:
            raise TypeError(f"{wanted}, got {_kind(value)}") from error
    if not (jnp.issubdtype(value.dtype, np.floating) or jnp.issubdtype(value.dtype, np.integer)):
        raise TypeError(f"{wanted}, got {_kind(value)} of dtype {value.dtype}")
    return value


def check_arrays(name: str, tree: PyTree) -> PyTree:
    """The same pytree with every leaf a JAX array; numbers become arrays."""
    tree = jax.tree.map(native, tree)
    for path, leaf in jax.tree.leaves_with_path(tree):
        numbers = isinstance(leaf, (bool, int, float, complex, np.generic, np.ndarray))
        if not (isinstance(leaf, Array) or (numbers and np.asarray(leaf).dtype.kind not in "OSUM")):
            raise TypeError(
                f"{name}{jax.tree_util.keystr(path)} must be an array or a number, got "
                f"{_kind(leaf)}: let the function close over anything else"
            )
    return jax.tree.map(jnp.asarray, tree)


def native(value: Any) -> Any:
    """`value`, in this machine's byte order if it is a NumPy array: JAX takes no other."""
    if isinstance(value, (np.ndarray, np.generic)) and not value.dtype.isnative:
        return value.astype(value.dtype.newbyteorder("="))
    return value


def check_positive(name: str, value: Any) -> None:
    check_finite(name, value)
    if not is_traced(value) and not float(value) > 0:
        raise ValueError(f"{name} must be positive, got {value}")


def one_of(what: str, value: Any, names: Iterable[str]) -> str:
    """`value`, if it is one of `names`; else `ValueError` with a list and the closest."""
    names = list(names)
    if value in names:
        return value
    near = difflib.get_close_matches(str(value).lower(), names, n=1, cutoff=0.5)
    hint = f'; did you mean "{near[0]}"?' if near else ""
    raise ValueError(f"{what} must be one of {', '.join(names)}, got {value!r}{hint}")


def check_integer(name: str, value: Any, *, low: int, high: int | None = None) -> int:
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    number = int(value)
    if number < low or (high is not None and number > high):
        wanted = f"at least {low}" if high is None else f"between {low} and {high}"
        raise ValueError(f"{name} must be {wanted}, got {number}")
    return number


def checked_loss(loss: Callable[..., Any], has_aux: bool) -> Callable[..., Any]:
    """`loss`, with an error as it is traced unless it returns a real scalar."""
    check_callable("loss", loss)

    def wrapped(params: PyTree, *args: Any, **kwargs: Any) -> Any:
        try:
            out = loss(params, *args, **kwargs)
        except TypeError as error:
            _explain_call(error, loss, params, *args, **kwargs)
            raise
        if has_aux and not (isinstance(out, tuple) and len(out) == 2):
            raise TypeError(
                f"loss with has_aux=True must return (value, aux), got {_kind(out)}: "
                "for a loss without aux leave has_aux out"
            )
        if not has_aux and isinstance(out, tuple) and len(out) == 2:
            raise TypeError(
                "loss must return a real floating-point scalar, got a tuple of two: for (value, "
                "aux) pass has_aux=True, or return value alone to a function without has_aux"
            )
        value: Any = out[0] if has_aux else out
        shape = _shape(value, "loss must return a real floating-point scalar", jnp.floating)
        if shape != ():
            raise ValueError(f"loss must return a scalar, got an array of shape {shape}")
        return out

    return wrapped


def check_leading(name: str, tree: PyTree, of: str = "batches") -> int:
    """The length of the leading axis; an error unless all leaves have the same."""
    lengths = {jnp.shape(leaf)[:1] for leaf in jax.tree.leaves(tree)}
    if len(lengths) != 1 or lengths == {()}:
        raise ValueError(
            f"{name} must have one leading axis, the {of}, in every leaf, got leading "
            f"axes {sorted(lengths)}"
        )
    return lengths.pop()[0]


def checked_field(field: Callable[..., PyTree], name: str = "field") -> Callable[..., PyTree]:
    """`field` with values in the dtypes of its argument; an error where they are unlike it."""
    check_callable(name, field)

    def leaf_like(path: Any, wanted: Any, leaf: Any) -> Any:
        where = f"the value of {name}{jax.tree_util.keystr(path)}"
        shape = _shape(leaf, f"{where} must be a floating-point array", jnp.floating, jnp.integer)
        if shape != wanted.shape:
            raise ValueError(f"{where} must have the shape of params, {wanted.shape}, got {shape}")
        return jnp.asarray(leaf, wanted.dtype)

    def wrapped(params: PyTree, *args: Any, **kwargs: Any) -> PyTree:
        value = field(params, *args, **kwargs)
        structure, wanted = jax.tree.structure(value), jax.tree.structure(params)
        if structure != wanted:
            raise ValueError(
                f"the value of {name} must have the structure of params, {wanted}, got {structure}"
            )
        return jax.tree.map_with_path(leaf_like, params, value)

    return wrapped


def checked_model(model: Callable[..., Any]) -> Callable[..., Array]:
    """`model`, with an error unless it returns outputs of shape (n,) or (n, c)."""
    check_callable("model", model)

    def wrapped(params: PyTree, inputs: Any) -> Array:
        outputs = model(params, inputs)
        wanted = "model must return floating-point outputs of shape (n,) or (n, c)"
        shape = _shape(outputs, wanted, jnp.floating)
        if len(shape) not in (1, 2):
            raise ValueError(f"{wanted}, got {shape}")
        return jnp.asarray(outputs)

    return wrapped


def _explain_call(error: TypeError, loss: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
    """A better error if the arguments are wrong: Python's own does not say what `loss` takes."""
    try:
        signature = inspect.signature(loss)
    except (TypeError, ValueError):  # Nor does the loss.
        return
    try:
        signature.bind(*args, **kwargs)
    except TypeError as wrong:
        names = ", ".join(signature.parameters)
        raise TypeError(f"loss takes ({names}): {wrong}") from error


def _holds(tree: PyTree, kind: type) -> bool:
    nodes = jax.tree.leaves(tree, is_leaf=lambda node: isinstance(node, kind))
    return any(isinstance(node, kind) for node in nodes)


def _shape(value: Any, wanted: str, *kinds: Any) -> tuple[int, ...]:
    """The shape of an array or number; `TypeError` with `wanted` unless its dtype is of `kinds`."""
    if hasattr(value, "dtype"):
        dtype = value.dtype
    elif isinstance(value, (int, float, complex)):
        dtype = jnp.result_type(value)
    else:  # JAX has a dtype for None, and NumPy one for a tuple of numbers.
        raise TypeError(f"{wanted}, got {_kind(value)}")
    if not any(jnp.issubdtype(dtype, kind) for kind in kinds):
        raise TypeError(f"{wanted}, got dtype {dtype}")
    return jnp.shape(value)


def _kind(value: object) -> str:
    return f"{type(value).__name__} {value!r}"[:80]
