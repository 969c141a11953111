"""The flow that an optimizer with a fading memory follows, F_0 + h·F_1.

An optimizer moves parameters and a state: s⁺ = G(s, ∇E(θ), θ) and θ⁺ = θ + h·u(s, ∇E(θ), θ). If
the memory fades, the state becomes a function of the parameters, S(θ) = S_0 + h·S_1 + …, and the
optimizer acts as a one-step method. Let A be ∂G/∂s at S_0, and d the derivative along F_0. Then

    S_0 = G(S_0, g, θ),   F_0 = u(S_0, g, θ),
    (1 − A)·dS_0 = (∂G/∂g)·dg + (∂G/∂θ)·F_0,   (1 − A)·S_1 = −dS_0,
    F_1 = (∂u/∂s)·S_1 − ½·dF_0.

This module computes F_0 and F_1 from any Optax transformation with one Hessian product, dg. It
does not need Optax itself.

Source: chapter 11, *Other optimizers*; not in the paper, which asks for it (Section 8). Heavy ball:
Ghosh et al., "Implicit regularization in heavy-ball momentum accelerated stochastic gradient
descent", ICLR 2023; Adam and RMSprop: Cattaneo, Klusowski & Shigida, "On the implicit bias of
Adam", ICML 2024.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from igrlib._checks import (
    check_callable,
    check_finite,
    check_integer,
    check_leading,
    check_params,
    is_traced,
)
from igrlib._memory import Memory, distance, remembers
from igrlib._models import of_model
from igrlib._programs import run, traced
from igrlib._trees import add_scaled, gradient_of, transform_of_gradient
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

MOST_STEPS = 100_000
"""The most steps of a transient that are added up."""


def optimizer_corrections(
    optimizer: Callable[[Any], Any],
    loss: Callable[..., Any],
    *,
    has_aux: bool = False,
    wrt: Filter | None = None,
) -> Callable[..., tuple[PyTree, PyTree]]:
    """F_0 and F_1, pytrees like θ: after its transient an optimizer follows F_0 + h·F_1.

    `optimizer` is a function of the learning rate that returns an Optax transformation, such as
    `optax.adam` or `lambda h: optax.sgd(h, momentum=0.9)`; `loss` and `wrt` are as in
    `modified_loss`, and the returned function takes the arguments of `loss`. At a fixed time the
    steps differ from the flow of F_0 by O(h). They differ from the flow of F_0 + h·F_1 by O(h²) if
    that flow starts from the displaced point, see `start_displacement`.

    The function takes one gradient and one Hessian product. Where the arrays of the state are
    averages, entry by entry, of gradients or of each other, a few passes over the parameters find
    the state: at 10⁶ parameters Adam takes the time of 3 to 4 gradients of 512 examples, or of 9
    gradients of 32, and memory for 10 copies of the parameters. Where the state mixes the entries
    of an array, GMRES finds it, which can take hundreds of gradients and tens of copies.

    Raises `TypeError` for an `optimizer` that returns no transformation. Raises `ValueError` where
    updates do not scale with the learning rate, where the state does not settle while the gradient
    stands still (Adagrad, AMSGrad), holds a schedule or is random, and where a derivative does not
    exist (Adam with `eps_root=0` where an entry of the gradient is 0). Inside `jax.jit` the values
    are not checked.

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
        memory = Memory.of(optimizer(1.0), params)
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
        # F_0 at another learning rate, and after gradients that were twice as large.
        half = Memory.of(optimizer(0.5), params)
        f0_of_half = half(half.settled(g, params)[0], g, params)[0]
        twice, _ = memory.settled(jax.tree.map(lambda a: 2 * a, g), params)
        later = memory(memory.settled(g, params, start=twice)[0], g, params)[0]
        doubts = _Doubts(
            unsettled=unsettled,
            unscaled=distance(jax.tree.map(lambda a, b: 2 * a - b, f0_of_half, f0), f0),
            remembered=distance(jax.tree.map(jnp.subtract, later, f0), f0),
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
    """The field that an optimizer follows after its transient: F_0 + h·F_1, or F_0 with `order` 0.

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
    u(s_n) − F_0 over the states s_n through which the optimizer goes from rest, with the gradient
    held fixed at θ_0. For heavy ball δ = β/(1 − β)²·g; Adam corrects its bias, and its δ is close
    to 0. The sum takes one gradient. It ends when its terms vanish, when rounding stops the state,
    or after 100,000 steps. Arguments and errors are as in `optimizer_corrections`.

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
        memory = Memory.of(transformation, params)
        g = gradient(params, *args, **kwargs)
        s0, unsettled = memory.settled(g, params)
        f0, _ = memory(s0, g, params)

        def numbers(state: PyTree) -> PyTree:
            return eqx.filter(state, remembers(state))

        def goes_on(carry: Any) -> Array:
            *_, last, n = carry
            return (last > 4 * jnp.finfo(last.dtype).eps) & (n < MOST_STEPS)

        def step(carry: Any) -> Any:
            before, total, _, n = carry
            update, state = transformation.update(g, before, params)
            apart = jax.tree.map(jnp.subtract, update, f0)
            # A rounded state can stop before it reaches S_0.
            moved = distance(jax.tree.map(jnp.subtract, numbers(state), numbers(before)), s0)
            last = jnp.where(moved > 0, distance(apart, f0), 0)
            return state, jax.tree.map(jnp.add, total, apart), last, n + 1

        zero = jax.tree.map(jnp.zeros_like, params)
        far = jnp.ones_like(distance(f0, f0))
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

    Its updates are ∇E + 2μ∇²E∇E. To compute them, `update(grads, state, params, grad_fn=grad_fn)`
    takes the function that gave `grads`, `grad_fn(params) -> grads`, on the same batch;
    `optax.chain` passes `grad_fn` on. `mu` is a finite scalar, or a schedule: a function of the
    number of updates so far. `mask`, a pytree of Booleans like `params`, says which arrays'
    gradients are penalized; the penalty acts on all arrays. Use `mask` instead of `optax.masked`,
    which hides arrays from `grad_fn`. Put it before `optax.MultiSteps`, not inside: there it would
    multiply the mean gradient by the Hessian of the last micro-batch.

    Raises `ImportError` without Optax. `update` raises `ValueError` without `params` or `grad_fn`,
    and inside `optax.masked`, and `TypeError` for a whole model of Equinox or NNX: give it the
    model's arrays, as `eqx.filter` or `nnx.state` returns them.

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
                "update must be given params and grad_fn, the function that gave the gradient, "
                f"got no {'params' if params is None else 'grad_fn'}: call "
                "optimizer.update(grads, state, params, grad_fn=grad_fn)"
            )
        leaves = jax.tree.leaves(updates, is_leaf=lambda x: isinstance(x, optax.MaskedNode))
        if any(isinstance(leaf, optax.MaskedNode) for leaf in leaves):
            raise ValueError(
                "gradient_penalty must not stand inside optax.masked, which hides parameters from "
                "grad_fn: pass mask to gradient_penalty"
            )
        params, along = check_params(params), updates
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

    The loss is Ẽ = E + (h_eff/4)·c·‖∇E‖² with h_eff = h/(1 − β) and c = (1 + β)/(1 − β). For
    Nesterov's momentum, in Optax's form, c = (1 − β + 2β²)/(1 − β). The steps follow
    θ′ = −∇Ẽ/(1 − β) up to O(h²). `momentum` is β in [0, 1); `loss`, `wrt`, the returned function
    and the errors are as in `modified_loss`. Raises `ValueError` for another `momentum`.

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
    """E + (h/4)·mean_k ‖∇E_k‖²: SGD follows its flow on average over the orders of an epoch.

    The returned function takes `params` and `batches`. `batches` holds the arguments of `loss`
    after `params`, with a leading axis over the batches of the epoch; E is the mean of the batch
    losses E_k. At the end of one epoch the parameters, averaged over all orders, differ from the
    flow of this loss by O(h³), as long as (batches)·h·‖H‖ is small. `wrt` is as in `modified_loss`.
    Raises `ValueError` where the arguments have different numbers of batches.

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
    θ′ = −(1/s)·(g + (h/2)·{(1 + b1)/(1 − b1) − (1 + b2)/(1 − b2)·g²/s²}·∇‖∇E‖_{1,ε}) + O(h²). Where
    ε is small and b2 > b1, the correction drives Adam *away* from small norms. RMSprop has b1 = 0.
    `epsilon` is positive; `loss`, `wrt` and the returned function are as in `modified_loss`. Raises
    `ValueError` for an `epsilon` that is not positive.

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


class _Doubts(NamedTuple):
    """Relative distances that must be 0.

    unsettled: of S_0 from its successor; unscaled: between F_0 at two learning rates; remembered:
    between F_0 after two different starts.
    """

    unsettled: Array
    unscaled: Array
    remembered: Array

    def check(self, found: PyTree) -> None:
        if is_traced(found, self):
            return
        tolerance = float(jnp.finfo(self.unsettled.dtype).eps) ** 0.5
        if not self.unsettled < tolerance or not self.remembered < tolerance:
            raise ValueError(
                "optimizer must have a state that settles while the gradient stands still and "
                "forgets its start, got one that does not, such as Adagrad's sum or AMSGrad's "
                "maximum: take an optimizer that keeps averages"
            )
        if not self.unscaled < tolerance:
            raise ValueError(
                "optimizer must give updates that scale with the learning rate, got a relative "
                f"difference of {float(self.unscaled):.2g} between 1 and 1/2: pass a function of "
                "the learning rate, and clip before the multiplication by it"
            )
        if not all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(found)):
            raise ValueError(
                "optimizer must have a derivative here, got values that are not finite, because an "
                "entry of the gradient is 0 under a root or a norm: pass eps_root > 0 "
                "(optax.adam), or eps_in_sqrt=True (optax.rmsprop)"
            )
