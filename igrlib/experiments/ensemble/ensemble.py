"""One compiled program that trains many models at once.

A mesh of devices shares the axis of models. Each device goes through its models in groups of
`Layout.group`, which it batches together, and takes all steps of a call inside the program.

Source: Section 6 and Appendix A.5; chapter 7, *MNIST*.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import Array

from igrlib._checks import check_callable, check_leading, check_transformation, checked_loss
from igrlib._typing import PyTree
from igrlib.experiments.ensemble.batches import epoch_order, steps_per_epoch
from igrlib.experiments.ensemble.members import Layout, Members, State
from igrlib.experiments.ensemble.steps import Epoch, Given, compiled_steps
from igrlib.experiments.networks.model import Variables
from igrlib.experiments.optimizers import SGD

__all__ = ["Ensemble"]


class Ensemble:
    """Copies of one model, trained together, that differ in seed, learning rate and μ.

    loss: any scalar function `loss(params, *batch) -> E_B`; start: a function
    `start(key) -> params`, called with a key of each seed. `start` can also return `Variables`:
    parameters and statistics, such as the statistics of batch norm. Then
    `loss(params, stats, *batch)` returns `(E_B, stats)`, with the statistics of its first pass at
    θ. For a network, `training_loss(model)` and `model.start` are these two functions.

    data: the training split, a tuple of pytrees of arrays with the examples on the first axis.
    Batches come from it. The devices keep its types, bytes as bytes. batch_size: from 1 to the
    number of examples, which is full-batch training without shuffling.

    optimizer: a function of the learning rate that returns an Optax transformation, by default
    `optax.sgd`. The transformation receives the gradient of E_B, or of E_B + μ‖∇E_B‖² where any μ
    is above 0, and as `grad_fn` the function that gave this gradient. layout: by default
    `Layout.of` all models on all devices.

    Raises `ValueError` for data with different numbers of examples and for a batch larger than the
    split, and `TypeError` where `optimizer` returns no transformation.

    Source: Section 6 and Appendix A.5; chapter 7, *MNIST*.

    Example:
        >>> import optax
        >>> from igrlib.experiments.ensemble import Ensemble, Members
        >>> loss = lambda theta, x: jnp.mean((theta - x) ** 2) / 2
        >>> members = Members.grid((0.5, 0.25), seeds=(0,), stop=2)
        >>> data = (jnp.array([0.0, 2.0]),)
        >>> runs = Ensemble(loss, lambda key: jnp.zeros(()), members, data, batch_size=2)
        >>> runs.advance(runs.init(), 0, 2).params.tolist()  # θ − h(θ − 1), twice from 0
        [0.75, 0.4375]
    """

    members: Members
    layout: Layout
    batch_size: int
    num_examples: int
    steps_per_epoch: int
    padded: int
    data: tuple[PyTree, ...]

    def __init__(
        self,
        loss: Callable[..., Any],
        start: Callable[[Array], PyTree],
        members: Members,
        data: tuple[PyTree, ...],
        *,
        batch_size: int,
        optimizer: Callable[[Any], Any] | None = None,
        layout: Layout | None = None,
    ) -> None:
        check_callable("start", start)
        optimizer = SGD().transformation if optimizer is None else optimizer
        check_callable("optimizer", optimizer)
        check_transformation(optimizer(1.0))
        self.num_examples = check_leading("data", data, "examples")
        layout = Layout.of(len(members)) if layout is None else layout
        self.members, self.layout, self.batch_size = members, layout, batch_size
        self.steps_per_epoch = steps_per_epoch(self.num_examples, batch_size)
        self.padded = -(-len(members) // layout.per_round) * layout.per_round
        self._each = NamedSharding(layout.mesh, P(layout.mesh.axis_names[0]))
        self._same = NamedSharding(layout.mesh, P())
        self.data = jax.tree.map(self.replicate, data)
        extra = self.padded - len(members)
        # Padding takes no step. It repeats a real model, so that the padding alone cannot diverge.
        seeds = jnp.asarray([*members.seeds, *members.seeds[:1] * extra], jnp.uint32)
        different = jnp.unique(seeds)
        learning_rates = (*members.learning_rates, *members.learning_rates[:1] * extra)
        stops, mus = (*members.stops, *(0,) * extra), (*members.mus, *(0.0,) * extra)
        self._given = self.lay(
            Given(
                seeds=seeds,
                order=jnp.searchsorted(different, seeds).astype(jnp.int32),
                learning_rates=jnp.asarray(learning_rates, jnp.float32),
                mus=jnp.asarray(mus, jnp.float32),
                stops=jnp.asarray(stops, jnp.int32),
            )
        )

        has_stats = isinstance(jax.eval_shape(start, jax.random.key(0)), Variables)
        checked = checked_loss(loss, has_aux=has_stats)

        def with_stats(params: PyTree, stats: PyTree, *batch: PyTree) -> tuple[Array, PyTree]:
            return checked(params, stats, *batch) if has_stats else (checked(params, *batch), stats)

        def begin(seed: Array, learning_rate: Array) -> tuple[Variables, PyTree]:
            first = start(jax.random.fold_in(jax.random.key(seed), 0))
            first = first if has_stats else Variables(first, {})
            return first, optimizer(learning_rate).init(first.params)

        def orders(epoch: Array) -> Array:
            keys = jax.vmap(lambda seed: jax.random.fold_in(jax.random.key(seed), 1))(different)
            return jax.lax.map(lambda key: epoch_order(key, epoch, self.num_examples), keys)

        # The order of the examples in an epoch for each different seed, made once.
        self._orders_of = lru_cache(maxsize=1)(jax.jit(orders, out_shardings=self._same))
        self._start = jax.jit(jax.vmap(begin), out_shardings=self._each)
        self._advance = compiled_steps(
            with_stats,
            optimizer,
            layout,
            batch_size=batch_size,
            num_examples=self.num_examples,
            stops=stops,
            mus=mus,
        )

    def replicate(self, array: Any) -> Array:
        """The array on every device."""
        return jax.device_put(jnp.asarray(array), self._same)

    def lay(self, tree: PyTree) -> PyTree:
        """The pytree, its first axis, of models, laid over the devices."""
        return jax.device_put(tree, self._each)

    def init(self) -> State:
        """The state of all models at step 0."""
        diverged = self.lay(jnp.full(self.padded, -1, jnp.int32))
        start, opt_state = self._start(self._given.seeds, self._given.learning_rates)
        return State(start.params, start.stats, diverged, opt_state)

    def advance(self, state: State, first: int, last: int) -> State:
        """The state after the steps first … last − 1; with last ≤ first, the state as it is.

        Each model stops at its own `stops`, or where it diverged, and stays there. The call donates
        `state`, which nobody may use afterwards.
        """
        full = self.batch_size == self.num_examples
        while first < last:
            # Go to the end of the epoch, for which the orders are known. A full batch has no order.
            epoch = 0 if full else first // self.steps_per_epoch
            end = last if full else min(last, (epoch + 1) * self.steps_per_epoch)
            if not self.layout.loop:
                end = first + 1
            examples = Epoch(self._orders_of(epoch), self.data)
            state = self._advance(state, self._given, examples, first, end)
            first = end
        return state

    def each(self, function: Callable[..., PyTree], num_mapped: int = 1) -> Callable[..., PyTree]:
        """`function` of one model, compiled for a round of models laid over the devices.

        The first `num_mapped` arguments have the axis of models first. The others are the same for
        all models.
        """
        each, same = self._each.spec, self._same.spec

        def laid(*args: Any) -> PyTree:
            num_same = len(args) - num_mapped
            return jax.shard_map(
                self.layout.batched(function, (0,) * num_mapped + (None,) * num_same),
                mesh=self.layout.mesh,
                in_specs=(each,) * num_mapped + (same,) * num_same,
                out_specs=each,
                check_vma=False,
            )(*args)

        return jax.jit(laid)

    def rounds(self, members: Sequence[int]) -> list[np.ndarray]:
        """`members` in rounds of `layout.per_round`. Its last member fills up the last round."""
        size = self.layout.per_round
        padded = [*members, *[members[-1]] * (-len(members) % size)] if len(members) else []
        return [np.asarray(padded[k : k + size]) for k in range(0, len(padded), size)]

    def take(self, models: PyTree, members: np.ndarray) -> PyTree:
        """The models of a round, laid over the devices."""
        if np.array_equal(members, np.arange(self.padded)):
            return models
        if self.layout.mesh.size == 1:
            return _take(models, members)
        # Go through the host: a gather across devices is a collective operation, and collective
        # operations of several programs can block each other for ever on a CPU with few threads.
        return self.lay(jax.tree.map(lambda a: np.asarray(a)[members], models))


@jax.jit
def _take(models: PyTree, members: Array) -> PyTree:
    return jax.tree.map(lambda a: a[members], models)
