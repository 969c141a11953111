"""The flow that an optimizer with a fading memory follows, F_0 + h·F_1.

An optimizer moves parameters and a state: s⁺ = G(s, ∇E(θ), θ) and θ⁺ = θ + h·u(s, ∇E(θ), θ). If
the memory fades, the state becomes a function of the parameters, S(θ) = S_0 + h·S_1 + …, and the
optimizer is a one-step method again. With A = ∂G/∂s at S_0, and d a derivative along F_0,

    S_0 = G(S_0, g, θ),   F_0 = u(S_0, g, θ),
    (1 − A)·dS_0 = (∂G/∂g)·dg + (∂G/∂θ)·F_0,   (1 − A)·S_1 = −dS_0,
    F_1 = (∂u/∂s)·S_1 − ½·dF_0.

This module computes all of this from an Optax transformation as it is, with one Hessian product,
dg. Optax itself is not needed.

Source: chapter 11, *Other optimizers*; not in the paper, which asks for it (Section 8). Heavy ball:
Ghosh et al., "Implicit regularization in heavy-ball momentum accelerated stochastic gradient
descent", ICLR 2023; Adam and RMSprop: Cattaneo, Klusowski & Shigida, "On the implicit bias of
Adam", ICML 2024.
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
from jax.extend.core import Literal
from jaxtyping import Array, Float

from igrlib._checks import (
    check_callable,
    check_finite,
    check_integer,
    check_leading,
    check_params,
    check_transformation,
    is_traced,
)
from igrlib._models import of_model
from igrlib._programs import run, traced
from igrlib._trees import add_scaled, gradient_of, squared_norm, transform_of_gradient
from igrlib._typing import Filter, PyTree, Scalar
from igrlib.regularizer import gradient_regularized_loss

__all__ = [
    "gradient_penalty",
    "heavy_ball_modified_loss",
    "optimizer_corrections",
    "optimizer_field",
    "perturbed_one_norm",
    "shuffled_modified_loss",
    "start_displacement",
]

FOR_EVER = 2**30
"""A count of steps after which corrections of a bias are gone."""

NEWTON_STEPS = 8
"""One is exact for averages; averages of averages take one more each."""

MOST_STEPS = 100_000
"""Of the transient."""

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
"""Of these consists a linear program that mixes no entries of an array."""


def optimizer_corrections(
    optimizer: Callable[[Any], Any],
    loss: Callable[..., Any],
    *,
    has_aux: bool = False,
    wrt: Filter | None = None,
) -> Callable[..., tuple[PyTree, PyTree]]:
    """(F_0, F_1), each a pytree like θ: after its transient an optimizer follows F_0 + h·F_1.

    `optimizer` is a function of the learning rate that returns an Optax transformation, such as
    `optax.adam` or `lambda h: optax.sgd(h, momentum=0.9)`; `loss` and `wrt` are as in
    `modified_loss`, and the returned function takes the arguments of `loss`. At a fixed
    time the steps differ from the flow of F_0 by O(h), from that of F_0 + h·F_1 by O(h²) if it
    starts from the displaced point, see `start_displacement`. It costs one gradient and one
    Hessian product. The state is solved for entry by entry, in a few passes over the parameters,
    where its arrays are averages by entries of gradients or of each other: at 10⁶ parameters Adam
    then takes the time of 3 to 4 gradients of 512 examples, or of 9 of 32, and memory for 10 copies
    of the parameters. A state that mixes the entries of an array is solved for by GMRES, which can
    take hundreds of gradients and tens of copies.

    Raises `TypeError` for an `optimizer` that returns no transformation, and `ValueError` where
    updates do not scale with the learning rate, the state does not settle while the gradient
    stands still (Adagrad, AMSGrad), holds a schedule or is random, or a derivative does not exist
    (Adam with `eps_root=0` where an entry of the gradient is 0). Inside `jax.jit` values are not
    looked at.

    Source: the module's docstring, chapter 11; not in the paper.

    Example:
        >>> import optax
        >>> loss = lambda theta: theta**2 / 2
        >>> heavy_ball = lambda h: optax.sgd(h, momentum=0.5)
        >>> f0, f1 = ig.optimizers.optimizer_corrections(heavy_ball, loss)(1.0)
        >>> float(f0), float(f1)  # −g/(1 − β), −½·(1 + β)/(1 − β)³·Hg
        (-2.0, -6.0)
    """
    if wrt is not None:
        return of_model(lambda e: optimizer_corrections(optimizer, e, has_aux=has_aux), loss, wrt)
    gradient = gradient_of(loss, has_aux)
    check_callable("optimizer", optimizer)

    def expand(params: PyTree, args: Any, kwargs: Any) -> tuple[Any, "_Doubts"]:
        memory = _Memory.of(optimizer(1.0), params)
        g, hessian_product = jax.linearize(lambda p: gradient(p, *args, **kwargs), params)
        s0, unsettled = memory.settled(g, params)
        f0, _ = memory(s0, g, params)
        dg = hessian_product(f0)
        _, (du, dG) = jax.jvp(lambda g, p: memory(s0, g, p), (g, params), (dg, f0))
        ds0 = memory.faded(s0, g, params, dG)
        s1 = memory.faded(s0, g, params, jax.tree.map(jnp.negative, ds0))

        def along(direction: PyTree) -> PyTree:
            return jax.jvp(lambda s: memory(s, g, params)[0], (s0,), (direction,))[1]

        f1 = jax.tree.map(lambda u1, u, uds: u1 - (u + uds) / 2, along(s1), du, along(ds0))
        # The same at another learning rate, and after gradients that were twice as large.
        half = _Memory.of(optimizer(0.5), params)
        f0_of_half = half(half.settled(g, params)[0], g, params)[0]
        twice, _ = memory.settled(jax.tree.map(lambda a: 2 * a, g), params)
        later = memory(memory.settled(g, params, start=twice)[0], g, params)[0]
        doubts = _Doubts(
            unsettled=unsettled,
            unscaled=_distance(jax.tree.map(lambda a, b: 2 * a - b, f0_of_half, f0), f0),
            remembered=_distance(jax.tree.map(jnp.subtract, later, f0), f0),
        )
        return (f0, f1), doubts

    def corrections(params: PyTree, *args: Any, **kwargs: Any) -> tuple[PyTree, PyTree]:
        params = check_params(params)
        found, doubts = run(traced(lambda p: expand(p, args, kwargs), params), params)
        doubts.check(found)
        return found

    return corrections


def optimizer_field(
    optimizer: Callable[[Any], Any],
    loss: Callable[..., Any],
    learning_rate: Scalar,
    *,
    order: int = 1,
    has_aux: bool = False,
    wrt: Filter | None = None,
) -> Callable[..., PyTree]:
    """The field that an optimizer follows after its transient: F_0 + h·F_1, or with `order` 0 F_0.

    `learning_rate` is a finite scalar h, traced or concrete; the rest is as in
    `optimizer_corrections`. Time is t = n·h for every optimizer.

    Source: chapter 11, *Other optimizers*; not in the paper.

    Example:
        >>> import optax
        >>> field = ig.optimizers.optimizer_field(optax.sgd, lambda theta: theta**2 / 2, 0.5)
        >>> float(field(1.0))  # −1 − h/2
        -1.25
    """
    check_finite("learning_rate", learning_rate)
    order = check_integer("order", order, low=0, high=1)
    corrections = optimizer_corrections(optimizer, loss, has_aux=has_aux, wrt=wrt)

    def field(params: PyTree, *args: Any, **kwargs: Any) -> PyTree:
        f0, f1 = corrections(params, *args, **kwargs)
        return add_scaled(f0, learning_rate, f1) if order else f0

    return field


def start_displacement(
    optimizer: Callable[[Any], Any],
    loss: Callable[..., Any],
    *,
    has_aux: bool = False,
    wrt: Filter | None = None,
) -> Callable[..., PyTree]:
    """The displacement δ of the start by the transient: the steps follow the flow from θ_0 + h·δ.

    Until its memory is full an optimizer takes other steps than u(S_0). δ is the sum of
    u(s_n) − F_0 over the states s_n that it goes through from rest, with the gradient held fixed
    at θ_0. For heavy ball δ = β/(1 − β)²·g; Adam, which corrects its bias, has hardly any. The sum
    takes no gradient beyond one, and ends when its terms vanish, the state stands still, as rounded
    numbers do, or after 100,000 steps. Arguments and errors are as in `optimizer_corrections`.

    Source: chapter 11, *Other optimizers*; not in the paper.

    Example:
        >>> import optax
        >>> heavy_ball = lambda h: optax.sgd(h, momentum=0.5)
        >>> start = ig.optimizers.start_displacement(heavy_ball, lambda theta: theta**2 / 2)
        >>> round(float(start(1.0)), 4)  # 0.5/0.5² · g
        2.0
    """
    if wrt is not None:
        return of_model(lambda e: start_displacement(optimizer, e, has_aux=has_aux), loss, wrt)
    gradient = gradient_of(loss, has_aux)
    check_callable("optimizer", optimizer)

    def summed(params: PyTree, args: Any, kwargs: Any) -> tuple[PyTree, Array]:
        transformation = optimizer(1.0)
        memory = _Memory.of(transformation, params)
        g = gradient(params, *args, **kwargs)
        s0, unsettled = memory.settled(g, params)
        f0, _ = memory(s0, g, params)

        def numbers(state: PyTree) -> PyTree:
            return eqx.filter(state, _remembers(state))

        def goes_on(carry: Any) -> Array:
            *_, last, n = carry
            return (last > 4 * jnp.finfo(last.dtype).eps) & (n < MOST_STEPS)

        def step(carry: Any) -> Any:
            before, total, _, n = carry
            update, state = transformation.update(g, before, params)
            apart = jax.tree.map(jnp.subtract, update, f0)
            # A rounded state stands still short of S_0.
            moved = _distance(jax.tree.map(jnp.subtract, numbers(state), numbers(before)), s0)
            last = jnp.where(moved > 0, _distance(apart, f0), 0)
            return state, jax.tree.map(jnp.add, total, apart), last, n + 1

        zero = jax.tree.map(jnp.zeros_like, params)
        far = jnp.ones_like(_distance(f0, f0))
        carry = (transformation.init(params), zero, far, 0)
        _, total, _, _ = jax.lax.while_loop(goes_on, step, carry)
        return total, unsettled

    def displacement(params: PyTree, *args: Any, **kwargs: Any) -> PyTree:
        params = check_params(params)
        total, unsettled = run(traced(lambda p: summed(p, args, kwargs), params), params)
        zero = jnp.zeros_like(unsettled)
        _Doubts(unsettled=unsettled, unscaled=zero, remembered=zero).check(total)
        return total

    return displacement


def gradient_penalty(mu: Any, *, mask: PyTree = None) -> Any:
    """An Optax transformation that turns ∇E into ∇(E + μ‖∇E‖²): the first in a chain.

    Its updates are ∇E + 2μ∇²E∇E, and so `update(grads, state, params, grad_fn=grad_fn)` takes the
    function that gave `grads`, `grad_fn(params) -> grads`, of the same batch; `optax.chain` passes
    it on. `mu` is a finite scalar, or a schedule: a function of the number of updates so far.
    `mask`, a pytree of Booleans like `params`, says for which arrays the gradient is penalized; the
    penalty acts on all arrays. Use it instead of `optax.masked`, which hides arrays from `grad_fn`.

    Raises `ImportError` without Optax, and in `update` `ValueError` without `params` or `grad_fn`,
    and inside `optax.masked`.

    Source: eq. (8); chapter 9, *Explicit regularization*.

    Example:
        >>> import jax, optax
        >>> grad_fn = jax.grad(lambda theta: theta**2)
        >>> optimizer = optax.chain(ig.optimizers.gradient_penalty(0.25), optax.sgd(0.5))
        >>> theta = jnp.array(1.0)
        >>> grads, state = grad_fn(theta), optimizer.init(theta)
        >>> updates, state = optimizer.update(grads, state, theta, grad_fn=grad_fn)
        >>> float(updates)  # −0.5·(2 + 2 · 0.25 · 2 · 2)
        -2.0
    """
    try:
        import optax
    except ImportError as error:
        raise ImportError(f"{error}. Install with: pip install optax", name=error.name) from error
    if not callable(mu):
        check_finite("mu", mu)

    def init(params: Any) -> Any:
        del params
        return jnp.zeros((), jnp.int32)

    def update(
        updates: Any, state: Any, params: Any = None, *, grad_fn: Any = None, **_: Any
    ) -> tuple[Any, Any]:
        if params is None or grad_fn is None:
            raise ValueError(
                "update must be given params and grad_fn, the function that gave the gradient: "
                "optimizer.update(grads, state, params, grad_fn=grad_fn)"
            )
        leaves = jax.tree.leaves(updates, is_leaf=lambda x: isinstance(x, optax.MaskedNode))
        if any(isinstance(leaf, optax.MaskedNode) for leaf in leaves):
            raise ValueError(
                "gradient_penalty must not stand inside optax.masked, which hides parameters from "
                "grad_fn: pass mask to gradient_penalty"
            )
        along = updates
        if mask is not None:
            along = jax.tree.map(lambda g, on: g if on else jnp.zeros_like(g), updates, mask)
        _, product = jax.jvp(grad_fn, (params,), (along,))
        strength: Any = mu(state) if callable(mu) else mu
        return add_scaled(updates, 2 * strength, product), state + 1

    return optax.GradientTransformationExtraArgs(init, update)


def heavy_ball_modified_loss(
    loss: Callable[..., Any],
    learning_rate: Scalar,
    momentum: Scalar,
    *,
    nesterov: bool = False,
    has_aux: bool = False,
    wrt: Filter | None = None,
) -> Callable[..., Any]:
    """The loss whose gradient flow momentum follows, at the speed 1/(1 − β).

    It is Ẽ = E + (h_eff/4)·c·‖∇E‖² with h_eff = h/(1 − β) and c = (1 + β)/(1 − β), for Nesterov's
    momentum as Optax takes it c = (1 − β + 2β²)/(1 − β): θ′ = −∇Ẽ/(1 − β) up to O(h²). `momentum`
    is β in [0, 1); `loss`, `wrt`, the returned function and the errors are as in `modified_loss`.

    Source: Ghosh et al. (2023); chapter 11. Not in the paper.

    Example:
        >>> loss = lambda theta: theta**2 / 2
        >>> float(ig.optimizers.heavy_ball_modified_loss(loss, 0.5, 0.5)(1.0))  # 0.5 + 1/4 · 3
        1.25
    """
    check_finite("learning_rate", learning_rate)
    check_finite("momentum", momentum)
    if not is_traced(momentum) and not 0 <= momentum < 1:
        raise ValueError(f"momentum must be at least 0 and below 1, got {momentum}")
    stale = 1 - momentum + 2 * momentum**2 if nesterov else 1 + momentum
    mu = learning_rate * stale / (4 * (1 - momentum) ** 2)
    return gradient_regularized_loss(loss, mu, has_aux=has_aux, wrt=wrt)


def shuffled_modified_loss(
    loss: Callable[..., Any], learning_rate: Scalar, *, wrt: Filter | None = None
) -> Callable[..., Float[Array, ""]]:
    """E + (h/4)·mean_k ‖∇E_k‖², which SGD follows on average over the orders of an epoch.

    The returned function takes `params` and `batches`, the arguments of `loss` after `params` with
    a leading axis over the batches of the epoch; E is the mean of their losses E_k. The mean over
    all orders of the end of one epoch differs from the flow of this loss by O(h³), as long as
    (batches)·h·‖H‖ is small. `wrt` is as in `modified_loss`. Raises `ValueError` for different
    numbers of batches.

    Source: Smith, Dherin, Barrett & De, "On the origin of implicit regularization in stochastic
    gradient descent", ICLR 2021; not in the paper.

    Example:
        >>> loss = lambda theta, x: (theta - x) ** 2 / 2
        >>> batches = (jnp.array([0.0, 2.0]),)
        >>> float(ig.optimizers.shuffled_modified_loss(loss, 0.5)(1.0, batches))  # 0.5 + 0.5/4
        0.625
    """
    check_finite("learning_rate", learning_rate)
    penalized = gradient_regularized_loss(loss, learning_rate / 4, wrt=wrt)

    def mean(params: PyTree, batches: tuple[PyTree, ...]) -> Float[Array, ""]:
        check_leading("batches", batches)
        return jnp.mean(jax.lax.map(lambda batch: penalized(params, *batch), batches))

    return mean


def perturbed_one_norm(
    loss: Callable[..., Any],
    epsilon: Scalar,
    *,
    has_aux: bool = False,
    wrt: Filter | None = None,
) -> Callable[..., Any]:
    """‖∇E‖_{1,ε} = Σ_j √((∂E/∂θ_j)² + ε), whose gradient is in the first correction of Adam.

    With ε inside the root (`eps=0, eps_root=ε`), s_j = √(g_j² + ε) and decay rates b1, b2,
    θ′ = −(1/s)·(g + (h/2)·{(1 + b1)/(1 − b1) − (1 + b2)/(1 − b2)·g²/s²}·∇‖∇E‖_{1,ε}) + O(h²): where
    ε is small and b2 > b1 Adam is driven *away* from small norms. RMSprop is b1 = 0. `epsilon` is
    positive; `loss`, `wrt` and the returned function are as in `modified_loss`.

    Source: Cattaneo, Klusowski & Shigida (2024); chapter 11. Not in the paper.

    Example:
        >>> float(ig.optimizers.perturbed_one_norm(lambda theta: 1.5 * theta**2, 16.0)(1.0))
        5.0
    """
    check_finite("epsilon", epsilon)
    if not is_traced(epsilon) and not epsilon > 0:
        raise ValueError(f"epsilon must be positive, got {epsilon}")

    def norm(_: Array, gradient: PyTree) -> Float[Array, ""]:
        roots = jax.tree.map(lambda g: jnp.sum(jnp.sqrt(g**2 + epsilon)), gradient)
        return jax.tree.reduce(jnp.add, roots)

    return transform_of_gradient(loss, has_aux, norm, wrt)


class _Memory(eqx.Module):
    """A transformation past its transient: (s, g, θ) ↦ (u, s⁺), s the numbers in its state."""

    transformation: Any = eqx.field(static=True)
    start: PyTree
    rest: PyTree

    @classmethod
    def of(cls, transformation: Any, params: PyTree) -> "_Memory":
        init, _ = check_transformation(transformation)
        state = init(params)
        _check_state(state)
        start, rest = eqx.partition(state, _remembers(state))
        rest = jax.tree.map(
            lambda leaf: jnp.full_like(leaf, FOR_EVER) if leaf.dtype == jnp.int32 else leaf, rest
        )
        return cls(transformation, start, rest)

    def __call__(self, s: PyTree, g: PyTree, params: PyTree) -> tuple[PyTree, PyTree]:
        update, state = self.transformation.update(g, eqx.combine(s, self.rest), params)
        return update, eqx.filter(state, _remembers(state))

    def settled(
        self, g: PyTree, params: PyTree, *, start: PyTree = None
    ) -> tuple[PyTree, Float[Array, ""]]:
        """S_0, and how far it is from settled; from rest, or from the state `start`."""
        # A step first: roots have no derivative at a state of zeros.
        s = self(self.start, g, params)[1] if start is None else start

        def apart(s: PyTree) -> PyTree:
            return jax.tree.map(jnp.subtract, self(s, g, params)[1], s)

        def goes_on(carry: Any) -> Array:
            _, distance, n = carry
            return (distance > 2 * jnp.finfo(distance.dtype).eps) & (n < NEWTON_STEPS)

        def newton(carry: Any) -> Any:
            s, _, n = carry
            s = jax.tree.map(jnp.add, s, self.faded(s, g, params, apart(s)))
            return s, _distance(apart(s), s), n + 1

        s, distance, _ = jax.lax.while_loop(goes_on, newton, (s, _distance(apart(s), s), 0))
        return s, distance

    def faded(self, s: PyTree, g: PyTree, params: PyTree, right: PyTree) -> PyTree:
        """The solution x of (1 − A)x = `right`, by GMRES where A mixes the entries of an array."""
        _, product = jax.linearize(lambda s: self(s, g, params)[1], s)
        order = _order(product, s)
        if order is None:
            return _krylov(product, s, right)
        leaves, structure = jax.tree.flatten(right)
        found = [jnp.zeros_like(leaf) for leaf in leaves]

        def times(vectors: list[Array]) -> list[Array]:
            return jax.tree.leaves(product(jax.tree.unflatten(structure, vectors)))

        # Each array with those before it: of its own part of A there is a diagonal alone.
        for n, arrays in enumerate(order):
            ones = [jnp.full_like(leaf, j in arrays) for j, leaf in enumerate(leaves)]
            diagonal, moved = times(ones), times(found) if n else found
            for j in arrays:
                total, fades = leaves[j] + moved[j], 1 - diagonal[j]
                # A constant in the state does not fade, and has no reason to move either.
                found[j] = total / jnp.where((total == 0) & (fades == 0), 1, fades)
        return jax.tree.unflatten(structure, found)


class _Doubts(NamedTuple):
    """Relative distances that are to be 0: S_0 from settled, F_0 at another rate and start."""

    unsettled: Array
    unscaled: Array
    remembered: Array

    def check(self, found: PyTree) -> None:
        if is_traced(found, self):
            return
        tolerance = float(jnp.finfo(self.unsettled.dtype).eps) ** 0.5
        if not self.unsettled < tolerance or not self.remembered < tolerance:
            raise ValueError(
                "optimizer must have a state that settles while the gradient stands still, and "
                "forgets how it began, as averages do: Adagrad's sum and AMSGrad's maximum do not"
            )
        if not self.unscaled < tolerance:
            raise ValueError(
                "optimizer must give updates that scale with the learning rate, got a relative "
                f"difference of {float(self.unscaled):.2g} between 1 and 1/2: pass a function of "
                "the learning rate, clip before it is multiplied by it"
            )
        if not all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(found)):
            raise ValueError(
                "optimizer has no derivative here: an entry of the gradient is 0 under a root or "
                "a norm; pass eps_root > 0 (optax.adam), or eps_in_sqrt=True (optax.rmsprop)"
            )


def _check_state(state: PyTree) -> None:
    nodes: list[Any] = [state]
    while nodes:
        node = nodes.pop()
        if "Schedule" in type(node).__name__:
            raise ValueError(
                "optimizer must not hold a schedule, whose rate is no function of the parameters; "
                f"got {type(node).__name__}: pass the learning rate that the schedule has now"
            )
        if isinstance(node, dict):
            nodes += node.values()
        elif isinstance(node, (tuple, list)):
            nodes += node
        elif jnp.issubdtype(getattr(node, "dtype", jnp.float32), jax.dtypes.prng_key):
            raise ValueError("optimizer must not be random, got a random key in its state")


def _remembers(state: PyTree) -> PyTree:
    """Which leaves are memory: numbers, but not those that `optax.inject_hyperparams` keeps."""

    def leaf(path: Any, value: Any) -> bool:
        injected = any(getattr(key, "name", None) == "hyperparams" for key in path)
        return eqx.is_inexact_array(value) and not injected

    return jax.tree.map_with_path(leaf, state)


def _order(product: Callable[[PyTree], PyTree], s: PyTree) -> list[list[int]] | None:
    """The arrays of the state, those first that depend on no others; None where entries mix.

    Read off the program before anything is computed: most optimizers keep averages, entry by entry,
    of gradients and of each other.
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
    """For each output of a linear program the inputs in it, and which are so entry by entry."""
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
    """The solution x of (1 − A)x = `right`; as many Krylov vectors as there are decay rates."""
    leaves = jax.tree.leaves(right)
    # Each array of the state in units of its own: squares stand beside gradients there.
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
    """The smallest number that may be divided by."""
    return max(float(jnp.finfo(leaf.dtype).tiny) for leaf in jax.tree.leaves(tree))


def _distance(x: PyTree, size: PyTree) -> Float[Array, ""]:
    """The largest |x| relative to the largest |size| of the same array, over all arrays."""
    largest = [
        jnp.max(jnp.abs(a), initial=0) / jnp.maximum(jnp.max(jnp.abs(b), initial=0), _least(b))
        for a, b in zip(jax.tree.leaves(x), jax.tree.leaves(size), strict=True)
    ]
    return jnp.max(jnp.stack(largest)) if largest else jnp.zeros(())
