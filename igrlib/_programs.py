"""Functions that are traced at every call and compiled once for each program they come to.

`jax.jit` tells functions apart by the object, and so freezes at the first call what a loss reads
besides its arguments: arrays, globals, attributes. A new trace reads them again. Captured arrays
become arguments of the compiled program, so that new values in them compile nothing.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.extend.core import ClosedJaxpr, Literal, Var, jaxpr_as_fun

from igrlib._checks import is_traced
from igrlib._typing import PyTree


@dataclass(frozen=True)
class _Code:
    """A jaxpr without its arrays, equal to another where the compiler is given the same text."""

    identity: object
    structure: Any
    jaxpr: Any = field(compare=False)


class Program(eqx.Module):
    """A function as it was when traced; the arrays that it captured are leaves."""

    captured: list[Array]
    code: _Code = eqx.field(static=True)

    def __call__(self, *args: PyTree) -> Any:
        leaves = jax.tree.leaves(args)
        outputs = jaxpr_as_fun(ClosedJaxpr(self.code.jaxpr, self.captured))(*leaves)
        return jax.tree.unflatten(self.code.structure, outputs)


def traced(function: Callable[[PyTree], Any], params: PyTree, *others: PyTree) -> Program:
    """`function` of `params` as it is now; the program will compute with `others` as well.

    `params` and the values are pytrees of arrays, `params` possibly of shapes and dtypes alone.
    """
    # make_jaxpr tells functions apart by the object too: it gets a new one.
    closed, shapes = jax.make_jaxpr(lambda p: function(p), return_shape=True)(params)
    captured = [c if isinstance(c, Array) else jnp.array(c) for c in closed.consts]

    def from_arguments(captured: list[Array], leaves: list[Array]) -> Any:
        return jaxpr_as_fun(ClosedJaxpr(closed.jaxpr, captured))(*leaves)

    abstract = [
        [jax.ShapeDtypeStruct(v.aval.shape, v.aval.dtype) for v in variables]
        for variables in (closed.jaxpr.constvars, closed.jaxpr.invars)
    ]
    identity: object = jax.jit(from_arguments).lower(*abstract).as_text()
    # The text does not hold the rule of a custom derivative or the values that the rule captures.
    # The rule matters only where somebody outside takes a derivative later.
    if is_traced(captured, params, *others) and "custom_" in str(closed.jaxpr):
        identity = object()
    return Program(captured, _Code(identity, jax.tree.structure(shapes), closed.jaxpr))


@eqx.filter_jit
def run(program: Program, params: PyTree) -> Any:
    """What the program gives of `params`, compiled once for equal programs."""
    return program(params)


def shared(function: Callable[[Array], Any], at: Array) -> Any:
    """`function(at)`, with what it computes twice computed once.

    Of nested derivatives that is most: n of them have 2ⁿ parts, of which n + 1 are different.
    """
    closed, shapes = jax.make_jaxpr(function, return_shape=True)(at)
    first: dict[Any, Any] = {}
    instead: dict[Any, Any] = {}
    equations = []
    for equation in closed.jaxpr.eqns:
        inputs = [v if isinstance(v, Literal) else instead.get(v, v) for v in equation.invars]
        equation = equation.replace(invars=inputs)
        known = None
        # What nobody reads has a type of its own, and no value.
        if not equation.effects and all(type(v) is Var for v in equation.outvars):
            with suppress(TypeError):  # Of a parameter without a hash.
                known = first.setdefault(_meaning(equation), equation)
        if known is None or known is equation:
            equations.append(equation)
        else:
            instead.update(zip(equation.outvars, known.outvars, strict=True))
    outputs = [v if isinstance(v, Literal) else instead.get(v, v) for v in closed.jaxpr.outvars]
    jaxpr = closed.jaxpr.replace(eqns=equations, outvars=outputs)
    found = jaxpr_as_fun(ClosedJaxpr(jaxpr, closed.consts))(at)
    return jax.tree.unflatten(jax.tree.structure(shapes), found)


def _meaning(equation: Any) -> Any:
    """Equal for equations that compute the same."""
    inputs = tuple(
        (v.aval, np.asarray(v.val).tobytes()) if isinstance(v, Literal) else v
        for v in equation.invars
    )
    settings = tuple(sorted(equation.params.items(), key=lambda item: item[0]))
    return equation.primitive, settings, inputs, equation.ctx
