"""The compiled steps of an ensemble: many steps of an optimizer on many models.

Source: Section 6; chapter 7, *MNIST*.
"""

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec as P
from jaxtyping import Array

from igrlib._typing import PyTree
from igrlib.experiments._extras import missing
from igrlib.experiments.ensemble.batches import steps_per_epoch
from igrlib.experiments.ensemble.members import Layout, State
from igrlib.regularizer import gradient_regularized_value_and_grad

try:
    import optax
except ImportError as _error:
    raise missing(_error) from _error

__all__ = ["Epoch", "Given", "compiled_steps"]


class Given(NamedTuple):
    """What stays the same in each model, with the axis of models first.

    order: the model's row in `Epoch.orders`, which has one row for each different seed.
    """

    seeds: Array
    order: Array
    learning_rates: Array
    mus: Array
    stops: Array


class Epoch(NamedTuple):
    """The examples, which all models share, and their orders in an epoch, (seeds, n)."""

    orders: Array
    data: tuple[PyTree, ...]


def compiled_steps(
    loss: Callable[..., tuple[Array, PyTree]],
    optimizer: Callable[[Any], Any],
    layout: Layout,
    *,
    batch_size: int,
    num_examples: int,
    stops: Sequence[int],
    mus: Sequence[float],
) -> Callable[[State, Given, Epoch, int, int], State]:
    """`(state, given, epoch, first, last) -> state`: takes the steps first … last − 1 of an epoch.

    `loss(params, stats, *batch)` returns E_B and the statistics after the batch. Full batches use
    no order. The call donates the state. `stops` and `mus` are the fields of `Given`, on the host.

    Without `layout.loop` it takes only the step `first`, and a program is one step of one group.
    Groups at their end take no step, and groups without a μ > 0 do not compute the penalty.
    """
    per_epoch, full = steps_per_epoch(num_examples, batch_size), batch_size == num_examples
    axes = (0, 0, 0, 0, None if full else 0)
    num_groups = len(stops) // layout.per_round
    by_group = (-1, num_groups, layout.group)  # Devices, groups on a device, models of a group.
    ends: list[int] = np.reshape(stops, by_group).max(axis=(0, 2)).tolist()
    penalized: list[bool] = np.greater(np.reshape(mus, by_group).max(axis=(0, 2)), 0).tolist()

    def step(
        one: Callable[..., Any],
        t: Array,
        state: State,
        given: Given,
        epoch: Epoch,
        end: Array | None = None,
    ) -> State:
        batch = epoch.data
        if not full:
            begin, orders = ((t % per_epoch) * batch_size).astype(jnp.int32), epoch.orders
            at = jax.vmap(lambda k: jax.lax.dynamic_slice(orders, (k, begin), (1, batch_size))[0])
            examples = at(given.order)
            batch = jax.tree.map(lambda a: a[examples], batch)
        active = (t < given.stops) & (state.diverged < 0)
        if end is not None:
            active &= t < end
        moved, finite = one(state, active, given.learning_rates, given.mus, batch)
        return moved._replace(diverged=jnp.where(active & ~finite, t, state.diverged))

    def every_group(
        one: Callable[..., Any], state: State, given: Given, epoch: Epoch, first: Array, last: Array
    ) -> State:
        def steps(group: tuple[State, Given]) -> State:
            state, given = group
            end = jnp.minimum(last, jnp.max(given.stops))
            if layout.chunk == 1:
                return jax.lax.fori_loop(
                    first, end, lambda t, s: step(one, t, s, given, epoch), state
                )

            def chunk(k: Array, state: State) -> State:
                begin = first + k * layout.chunk
                return jax.lax.fori_loop(
                    0, layout.chunk, lambda i, s: step(one, begin + i, s, given, epoch, end), state
                )

            return jax.lax.fori_loop(0, -((first - end) // layout.chunk), chunk, state)

        split = (num_groups, layout.group)
        groups = jax.tree.map(lambda a: a.reshape(*split, *a.shape[1:]), (state, given))
        return jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), jax.lax.map(steps, groups))

    def one_group(
        one: Callable[..., Any], state: State, given: Given, epoch: Epoch, t: Array, k: Array
    ) -> State:
        at, size = k * layout.group, layout.group
        some, its = jax.tree.map(
            lambda a: jax.lax.dynamic_slice_in_dim(a, at, size), (state, given)
        )
        moved = step(one, t, some, its, epoch)
        return jax.tree.map(
            lambda a, b: jax.lax.dynamic_update_slice_in_dim(a, b, at, 0), state, moved
        )

    @cache
    def compiled(regularized: bool) -> Callable[..., State]:
        """The program with the penalty μ‖∇E_B‖², or without it."""
        one = partial(_step, loss, optimizer, regularized)
        each, same = P(layout.mesh.axis_names[0]), P()
        laid = jax.shard_map(
            partial(every_group if layout.loop else one_group, layout.batched(one, axes)),
            mesh=layout.mesh,
            in_specs=(each, each, same, same, same),
            out_specs=each,
            check_vma=False,
        )
        return jax.jit(laid, donate_argnums=0)

    if layout.loop:
        return compiled(any(penalized))

    def each_group(state: State, given: Given, epoch: Epoch, first: int, _: int) -> State:
        for k in range(num_groups):
            if first < ends[k]:
                state = compiled(penalized[k])(state, given, epoch, first, k)
        return state

    return each_group


def _step(
    loss: Callable[..., tuple[Array, PyTree]],
    optimizer: Callable[[Any], Any],
    regularized: bool,
    state: State,
    active: Array,
    learning_rate: Array,
    mu: Array,
    batch: tuple[PyTree, ...],
) -> tuple[State, Array]:
    """One step of one model. Returns the model after the step and whether its loss was finite."""

    def of_batch(params: PyTree) -> tuple[Array, PyTree]:
        return loss(params, state.stats, *batch)

    if regularized:
        value_and_grad = gradient_regularized_value_and_grad(of_batch, mu, has_aux=True)
    else:
        value_and_grad = jax.value_and_grad(of_batch, has_aux=True)
    (value, after), gradient = value_and_grad(state.params)
    finite = jnp.isfinite(value)
    move = active & finite
    update, opt_state = optax.with_extra_args_support(optimizer(learning_rate)).update(
        gradient,
        state.opt_state,
        state.params,
        value=value,
        grad_fn=lambda p: value_and_grad(p)[1],
    )

    def kept(new: PyTree, old: PyTree) -> PyTree:
        # The state keeps its types, whatever the type of the images.
        return jax.tree.map(lambda a, b: jnp.where(move, a.astype(b.dtype), b), new, old)

    # Choose instead of multiplying: 0 times a gradient that is not finite is not 0.
    update = jax.tree.map(lambda u: jnp.where(move, u, 0), update)
    params = optax.apply_updates(state.params, update)
    moved = State(
        params, kept(after, state.stats), state.diverged, kept(opt_state, state.opt_state)
    )
    return moved, finite
