"""The compiled steps of an ensemble: from θ to θ − h∇E_B(θ), for many models and many steps.

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
from igrlib.experiments.ensemble.batches import steps_per_epoch
from igrlib.experiments.ensemble.members import Layout, State
from igrlib.experiments.measures import mean_cross_entropy
from igrlib.experiments.networks.model import Model
from igrlib.regularizer import gradient_regularized_value_and_grad

__all__ = ["Epoch", "Given", "compiled_steps"]


class Given(NamedTuple):
    """What stays the same in each model, with the axis of models first.

    `order`: the model's row in `Epoch.orders`, which has one for each different seed.
    """

    seeds: Array
    order: Array
    learning_rates: Array
    mus: Array
    stops: Array


class Epoch(NamedTuple):
    """The examples, the same for every model, and their orders in an epoch, (seeds, n)."""

    orders: Array
    images: Array
    labels: Array


def compiled_steps(
    model: Model,
    layout: Layout,
    *,
    batch_size: int,
    num_examples: int,
    stops: Sequence[int],
    mus: Sequence[float],
) -> Callable[[State, Given, Epoch, int, int], State]:
    """`(state, given, epoch, first, last) -> state`, the steps first … last − 1 of an epoch done.

    Full batches use no order. The state is donated. `stops` and `mus` are those of `Given`, on the
    host. Without `layout.loop` only the step `first` is done, and a program is one step of one
    group: groups at their end take none, and groups without a μ > 0 do not compute its penalty.
    """
    per_epoch, full = steps_per_epoch(num_examples, batch_size), batch_size == num_examples
    axes = (0, 0, 0, 0, 0, None, None) if full else (0,) * 7
    num_groups = len(stops) // layout.per_round
    by_group = (-1, num_groups, layout.group)  # Devices, groups on each of them, models of a group.
    ends: list[int] = np.reshape(stops, by_group).max(axis=(0, 2)).tolist()
    penalised: list[bool] = np.greater(np.reshape(mus, by_group).max(axis=(0, 2)), 0).tolist()

    def step(
        one: Callable[..., Any],
        t: Array,
        state: State,
        given: Given,
        epoch: Epoch,
        end: Array | None = None,
    ) -> State:
        if full:
            x, y = epoch.images, epoch.labels
        else:
            begin, orders = ((t % per_epoch) * batch_size).astype(jnp.int32), epoch.orders
            at = jax.vmap(lambda k: jax.lax.dynamic_slice(orders, (k, begin), (1, batch_size))[0])
            x, y = (a[at(given.order)] for a in (epoch.images, epoch.labels))
        active = (t < given.stops) & (state.diverged < 0)
        if end is not None:
            active &= t < end
        params, stats, finite = one(
            state.params, state.stats, active, given.learning_rates, given.mus, x, y
        )
        return State(params, stats, jnp.where(active & ~finite, t, state.diverged))

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
        """The program for models with μ > 0 among them, or without."""
        one = partial(_step, model, regularized)
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
        return compiled(any(penalised))

    def each_group(state: State, given: Given, epoch: Epoch, first: int, _: int) -> State:
        for k in range(num_groups):
            if first < ends[k]:
                state = compiled(penalised[k])(state, given, epoch, first, k)
        return state

    return each_group


def _step(
    model: Model,
    regularized: bool,
    params: PyTree,
    stats: PyTree,
    active: Array,
    learning_rate: Array,
    mu: Array,
    x: Array,
    y: Array,
) -> tuple[PyTree, PyTree, Array]:
    """One step of one model: its parameters and statistics, and whether its loss was finite."""

    def loss(params: PyTree) -> tuple[Array, PyTree]:
        outputs, after = model.training(params, stats, x)
        return mean_cross_entropy(outputs, y), after

    if regularized:
        value_and_grad = gradient_regularized_value_and_grad(loss, mu, has_aux=True)
    else:
        value_and_grad = jax.value_and_grad(loss, has_aux=True)
    (value, after), gradient = value_and_grad(params)
    finite = jnp.isfinite(value)
    move = active & finite

    def moved(p: Array, g: Array) -> Array:
        # A choice and not a product: 0 times a gradient that is not finite is not 0.
        return p - jnp.where(move, learning_rate.astype(p.dtype) * g, 0)

    # Statistics keep their type, whatever the type of the images.
    kept = jax.tree.map(lambda a, b: jnp.where(move, a.astype(b.dtype), b), after, stats)
    return jax.tree.map(moved, params, gradient), kept, finite
