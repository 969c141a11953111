"""Whole models in the place of parameters: a filter, `wrt`, says which arrays are the parameters.

Flax is not imported: who passes an NNX module has imported it.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from igrlib._checks import holds_nnx, nnx
from igrlib._typing import Filter, PyTree


def of_model(
    build: Callable[[Callable[..., Any]], Callable[..., Any]],
    function: Callable[..., Any],
    wrt: Filter,
) -> Callable[..., Any]:
    """`build(function)`, a function of params, as a function of a whole model."""
    build(function)  # Arguments are looked at now.

    def whole(model: PyTree, *args: Any, **kwargs: Any) -> Any:
        params, rebuild = split(model, wrt)

        @functools.wraps(function)  # What it takes is in errors.
        def of_params(p: PyTree, *args: Any, **kwargs: Any) -> Any:
            return function(rebuild(p), *args, **kwargs)

        return build(of_params)(params, *args, **kwargs)

    return whole


def split(model: PyTree, wrt: Filter) -> tuple[PyTree, Callable[[PyTree], PyTree]]:
    """The parameters that `wrt` selects, and the function that puts them back into the model."""
    params, rebuild = _split_nnx(model, wrt) if holds_nnx(model) else _split_pytree(model, wrt)
    leaves = jax.tree.leaves_with_path(params)
    if not leaves:
        raise ValueError(f"wrt must select at least one array, got {wrt!r}, which selects none")
    for path, leaf in leaves:
        if not jnp.issubdtype(getattr(leaf, "dtype", type(leaf)), jnp.floating):
            came = f"of dtype {leaf.dtype}" if hasattr(leaf, "dtype") else repr(leaf)[:80]
            raise TypeError(
                "wrt must select floating-point arrays alone, got "
                f"params{jax.tree_util.keystr(path)} {came}: leave it out"
            )
    return params, rebuild


def _split_pytree(model: PyTree, wrt: Filter) -> tuple[PyTree, Callable[[PyTree], PyTree]]:
    filters = jax.tree.leaves(wrt)
    if not filters or not all(isinstance(f, bool) or _takes(f, 1) for f in filters):
        raise TypeError(
            "wrt must be a function of a leaf, such as eqx.is_inexact_array, or a pytree of "
            f"Booleans and such functions, got {wrt!r}; filters of NNX are for an nnx.Module"
        )
    try:
        params, rest = eqx.partition(model, wrt)
    except ValueError as error:
        raise ValueError(f"wrt must be like params, or the top of it: {error}") from error
    return params, lambda p: eqx.combine(p, rest)


def _split_nnx(model: PyTree, wrt: Filter) -> tuple[PyTree, Callable[[PyTree], PyTree]]:
    flax = nnx()
    refusal = f"wrt must be a filter of NNX for an nnx.Module, such as nnx.Param, got {wrt!r}"
    try:
        predicate = flax.filterlib.to_predicate(wrt)
    except (TypeError, ValueError) as error:
        raise TypeError(refusal) from error
    if not _takes(predicate, 2):
        raise TypeError(refusal)
    graph, params, rest = flax.split(model, wrt, ...)

    def rebuild(p: PyTree) -> PyTree:
        # New variables: merge takes those it is given, and the loss may assign to them.
        return flax.merge(graph, *jax.tree.map(lambda leaf: leaf, (p, rest)))

    return params, rebuild


def _takes(function: object, num_args: int) -> bool:
    """Whether this is a function, and no class, of so many arguments."""
    if isinstance(function, type) or not callable(function):
        return False
    try:
        inspect.signature(function).bind(*range(num_args))
    except TypeError:
        return False
    except ValueError:  # It does not say.
        return True
    return True
