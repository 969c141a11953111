"""An optimizer's memory: the state that it settles to, and how fast the state forgets.

Source: chapter 11, *Other optimizers*; `igrlib.optimizers` has the equations.
"""

from collections.abc import Callable, Iterable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
from jax.extend.core import Literal
from jaxtyping import Array, Float

from igrlib._checks import check_transformation
from igrlib._trees import squared_norm
from igrlib._typing import PyTree

FOR_EVER = 2**30
"""After this many steps nothing is left of a correction of the bias."""

NEWTON_STEPS = 8
"""One step is exact for averages. Each average of averages takes one step more."""

ENTRYWISE = {
    "add",
    "add_any",
    "convert_element_type",
    "copy",
    "div",
    "mul",
    "neg",
    "select_n",
    "sub",
}
"""A linear program of these operations alone mixes no entries of an array."""


class Memory(eqx.Module):
    """A transformation after its transient: (s, g, θ) ↦ (u, s⁺), s the numbers in its state."""

    transformation: Any = eqx.field(static=True)
    start: PyTree
    rest: PyTree

    @classmethod
    def of(cls, transformation: Any, params: PyTree) -> "Memory":
        init, _ = check_transformation(transformation)
        state = init(params)
        _check_state(state)
        start, rest = eqx.partition(state, remembers(state))
        rest = jax.tree.map(
            lambda leaf: jnp.full_like(leaf, FOR_EVER) if leaf.dtype == jnp.int32 else leaf, rest
        )
        return cls(transformation, start, rest)

    def __call__(self, s: PyTree, g: PyTree, params: PyTree) -> tuple[PyTree, PyTree]:
        update, state = self.transformation.update(g, eqx.combine(s, self.rest), params)
        return update, eqx.filter(state, remembers(state))

    def settled(
        self, g: PyTree, params: PyTree, *, start: PyTree = None
    ) -> tuple[PyTree, Float[Array, ""]]:
        """The settled state S_0 and its relative distance from its successor.

        The search begins at rest, or at the state `start`.
        """
        # Take a step first: roots have no derivative at a state of zeros.
        s = self(self.start, g, params)[1] if start is None else start

        def apart(s: PyTree) -> PyTree:
            return jax.tree.map(jnp.subtract, self(s, g, params)[1], s)

        def goes_on(carry: Any) -> Array:
            _, unsettled, n = carry
            return (unsettled > 2 * jnp.finfo(unsettled.dtype).eps) & (n < NEWTON_STEPS)

        def newton(carry: Any) -> Any:
            s, _, n = carry
            s = jax.tree.map(jnp.add, s, self.faded(s, g, params, apart(s)))
            return s, distance(apart(s), s), n + 1

        s, unsettled, _ = jax.lax.while_loop(goes_on, newton, (s, distance(apart(s), s), 0))
        return s, unsettled

    def faded(self, s: PyTree, g: PyTree, params: PyTree, right: PyTree) -> PyTree:
        """The solution x of (1 − A)x = `right`.

        GMRES finds x where A mixes the entries of an array; elsewhere a few products are enough.
        """
        _, product = jax.linearize(lambda s: self(s, g, params)[1], s)
        order = _order(product, s)
        if order is None:
            return _krylov(product, s, right)
        leaves, structure = jax.tree.flatten(right)
        found = [jnp.zeros_like(leaf) for leaf in leaves]

        def times(vectors: list[Array]) -> list[Array]:
            return jax.tree.leaves(product(jax.tree.unflatten(structure, vectors)))

        # Arrays come after those that they depend on. Of its own part each has only a diagonal.
        for n, arrays in enumerate(order):
            ones = [jnp.full_like(leaf, j in arrays) for j, leaf in enumerate(leaves)]
            diagonal, moved = times(ones), times(found) if n else found
            for j in arrays:
                total, fades = leaves[j] + moved[j], 1 - diagonal[j]
                # A constant in the state does not fade. Nothing moves it either.
                found[j] = total / jnp.where((total == 0) & (fades == 0), 1, fades)
        return jax.tree.unflatten(structure, found)


def _check_state(state: PyTree) -> None:
    nodes: list[Any] = [state]
    while nodes:
        node = nodes.pop()
        if "Schedule" in type(node).__name__:
            raise ValueError(
                "optimizer must not hold a schedule, because the field depends on the parameters "
                f"alone, got {type(node).__name__}: pass the present learning rate as a number"
            )
        if isinstance(node, dict):
            nodes += node.values()
        elif isinstance(node, (tuple, list)):
            nodes += node
        elif jnp.issubdtype(getattr(node, "dtype", jnp.float32), jax.dtypes.prng_key):
            raise ValueError(
                "optimizer must not be random, got a random key in its state: leave out the noise"
            )


def remembers(state: PyTree) -> PyTree:
    """Which leaves are memory: all real numbers except those of `optax.inject_hyperparams`."""

    def leaf(path: Any, value: Any) -> bool:
        injected = any(getattr(key, "name", None) == "hyperparams" for key in path)
        return eqx.is_inexact_array(value) and not injected

    return jax.tree.map_with_path(leaf, state)


def _order(product: Callable[[PyTree], PyTree], s: PyTree) -> list[list[int]] | None:
    """The arrays of the state in an order in which each depends only on itself and earlier ones.

    None where entries of an array mix. The program itself shows the order before anything is
    computed. Most optimizers keep averages, entry by entry, of gradients and of each other.
    """
    jaxpr = jax.make_jaxpr(product)(s).jaxpr
    reached = _reach(jaxpr, [{j: True} for j in range(len(jaxpr.invars))])
    order, left = [], set(range(len(reached)))
    while left:
        ready = [j for j in left if reached[j].get(j, True) and left & reached[j].keys() <= {j}]
        if not ready:
            return None
        order.append(ready)
        left -= set(ready)
    return order


def _reach(jaxpr: Any, inputs: list[dict[int, bool]]) -> list[dict[int, bool]]:
    """For each output of a linear program: its inputs, and whether each acts entry by entry."""
    known: dict[Any, dict[int, bool]] = dict(zip(jaxpr.invars, inputs, strict=True))

    def of(variable: Any) -> dict[int, bool]:
        return {} if isinstance(variable, Literal) else known.get(variable, {})

    def union(several: Iterable[dict[int, bool]]) -> dict[int, bool]:
        found: dict[int, bool] = {}
        for one in several:
            found |= {j: entrywise and found.get(j, True) for j, entrywise in one.items()}
        return found

    for equation in jaxpr.eqns:
        reached = [of(variable) for variable in equation.invars]
        name, shape = equation.primitive.name, equation.outvars[0].aval.shape
        if name in ("jit", "pjit", "cond"):
            several = name == "cond"
            bodies = equation.params["branches"] if several else [equation.params["jaxpr"]]
            each = [_reach(body.jaxpr, reached[several:]) for body in bodies]
            outputs = [union(ways) for ways in zip(*each, strict=True)]
        else:
            shapes = {v.aval.shape for v, one in zip(equation.invars, reached, strict=True) if one}
            found = union(reached)
            if name not in ENTRYWISE or shapes != {shape}:
                found = dict.fromkeys(found, False)
            outputs = [found] * len(equation.outvars)
        known.update(zip(equation.outvars, outputs, strict=True))
    return [of(variable) for variable in jaxpr.outvars]


def _krylov(product: Callable[[PyTree], PyTree], s: PyTree, right: PyTree) -> PyTree:
    """The solution x of (1 − A)x = `right` by GMRES: one Krylov vector for each decay rate."""
    leaves = jax.tree.leaves(right)
    # Each array has its own unit, because a state holds gradients and their squares.
    units = jax.tree.map(lambda a: jnp.maximum(jnp.max(jnp.abs(a), initial=0), _least(a)), s)

    def rest(x: PyTree) -> PyTree:
        moved = product(jax.tree.map(jnp.multiply, x, units))
        return jax.tree.map(lambda a, b, unit: a - b / unit, x, moved, units)

    right = jax.tree.map(jnp.divide, right, units)
    scale = jnp.maximum(jnp.sqrt(squared_norm(right)), _least(right))
    right = jax.tree.map(lambda r: (r / scale).astype(r.dtype), right)
    tolerance = 4 * float(jnp.finfo(jnp.result_type(*leaves)).eps)
    solver = lx.GMRES(rtol=tolerance, atol=tolerance, restart=4, stagnation_iters=8)
    operator = lx.FunctionLinearOperator(rest, jax.eval_shape(lambda: right))
    found = lx.linear_solve(operator, right, solver, throw=False).value
    return jax.tree.map(lambda x, unit: (x * scale * unit).astype(x.dtype), found, units)


def _least(tree: PyTree) -> float:
    """The smallest number by which the arrays can be divided."""
    return max(float(jnp.finfo(leaf.dtype).tiny) for leaf in jax.tree.leaves(tree))


def distance(x: PyTree, size: PyTree) -> Float[Array, ""]:
    """The largest |x| relative to the largest |size| of the same array, over all arrays."""
    largest = [
        jnp.max(jnp.abs(a), initial=0) / jnp.maximum(jnp.max(jnp.abs(b), initial=0), _least(b))
        for a, b in zip(jax.tree.leaves(x), jax.tree.leaves(size), strict=True)
    ]
    return jnp.max(jnp.stack(largest)) if largest else jnp.zeros(())
