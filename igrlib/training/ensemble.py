"""One compiled program that trains many models at once.

The ensemble axis is laid over the devices of a mesh; a device goes through its models in groups of
`Layout.group`, batched together, and takes every step of a call inside the program. Nothing here
knows of files, schedules or measurements.

Source: Section 6 and Appendix A.5; chapter 7, *MNIST*.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import Array

from igrlib._checks import check_integer
from igrlib._typing import PyTree
from igrlib.measures import cross_entropy
from igrlib.regularizer import gradient_regularized_loss
from igrlib.training.batches import epoch_order, steps_per_epoch

__all__ = ["Classifier", "Ensemble", "Layout", "Members", "State"]


@dataclass(frozen=True)
class Classifier:
    """A model to train: `init(key) -> params` and `logits(params, images) -> (n, classes)`.

    `logits` takes the images as they are stored, bytes, and scales them itself.
    """

    init: Callable[[Array], PyTree]
    logits: Callable[[PyTree, Array], Array]


@dataclass(frozen=True)
class Members:
    """What varies inside an ensemble; every field has one entry for each model.

    learning_rates h > 0; seeds ≥ 0, of the initial parameters and of the order of the examples;
    mus ≥ 0, the explicit regularization rates; stops ≥ 0, the number of steps. Raises `ValueError`
    naming the field, the value and the model.
    """

    learning_rates: tuple[float, ...]
    seeds: tuple[int, ...]
    stops: tuple[int, ...]
    mus: tuple[float, ...]

    def __post_init__(self) -> None:
        sizes = {name: len(getattr(self, name)) for name in self.__dataclass_fields__}
        if len(set(sizes.values())) != 1 or not self.seeds:
            raise ValueError(f"members must have fields of one length, at least 1, got {sizes}")
        for k, h in enumerate(self.learning_rates):
            if not (np.isfinite(h) and h > 0):
                raise ValueError(f"learning_rates[{k}] must be positive and finite, got {h}")
            if not (np.isfinite(self.mus[k]) and self.mus[k] >= 0):
                raise ValueError(f"mus[{k}] must be finite and 0 or more, got {self.mus[k]}")
            check_integer(f"seeds[{k}]", self.seeds[k], low=0, high=2**31 - 1)
            check_integer(f"stops[{k}]", self.stops[k], low=0, high=2**31 - 1)

    def __len__(self) -> int:
        return len(self.seeds)


@dataclass(frozen=True)
class Layout:
    """How an ensemble is laid over devices.

    mesh: one-dimensional; group: how many models a device batches together (`jax.vmap`), 1 where
    one model fills the device; loop: whether the steps of a call sit inside the program, which the
    CPU does badly with convolutions.
    """

    mesh: Mesh
    group: int = 1
    loop: bool = True

    def __post_init__(self) -> None:
        if len(self.mesh.axis_names) != 1:
            raise ValueError(f"mesh must have one axis, got {self.mesh.axis_names}")
        check_integer("group", self.group, low=1)

    @property
    def block(self) -> int:
        """How many models are in work at once, on all devices together."""
        return self.mesh.size * self.group


class State(NamedTuple):
    """The ensemble at one time; every leaf has the (padded) ensemble axis first.

    `params`: the models; `diverged`: the step at which a batch loss was not finite, or −1.
    """

    params: PyTree
    diverged: Array


class Ensemble:
    """Models of one architecture trained together by (stochastic) gradient descent.

    `images` and `labels` are the training split, kept on the devices as they come (bytes);
    `batch_size` equal to their number is full-batch gradient descent, with no shuffling. Every
    model starts from `classifier.init` with a key of its seed, and goes from θ to θ − h∇E_B(θ), or
    the same with E_B + μ‖∇E_B‖² where any μ is above 0.
    """

    def __init__(
        self,
        classifier: Classifier,
        members: Members,
        images: np.ndarray,
        labels: np.ndarray,
        *,
        batch_size: int,
        layout: Layout,
    ) -> None:
        self.classifier, self.members, self.layout = classifier, members, layout
        self.batch_size, self.num_examples = batch_size, len(labels)
        self.steps_per_epoch = steps_per_epoch(self.num_examples, batch_size)
        self.padded = -(-len(members) // layout.block) * layout.block
        self._each = NamedSharding(layout.mesh, P(layout.mesh.axis_names[0]))
        self._same = NamedSharding(layout.mesh, P())
        self._data = (self.replicate(images), self.replicate(labels))
        extra = self.padded - len(members)
        # Padding takes no step. It repeats a real model, so that nothing special can happen to it.
        seeds = jnp.asarray([*members.seeds, *members.seeds[:1] * extra], jnp.uint32)
        self._seeds = self.lay(seeds)
        self._rates = self.lay(_padded(members.learning_rates, extra, members.learning_rates[0]))
        self._mus = self.lay(_padded(members.mus, extra, 0.0))
        self._stops = self.lay(jnp.asarray([*members.stops, *[0] * extra], jnp.int32))
        self._advance = self._compiled_advance()

    def replicate(self, array: Any) -> Array:
        """The array on every device."""
        return jax.device_put(jnp.asarray(array), self._same)

    def lay(self, tree: PyTree) -> PyTree:
        """A pytree with the ensemble (or block) axis first, laid over the devices."""
        return jax.device_put(tree, self._each)

    def init(self) -> State:
        """Every model at step 0."""

        def start(seed: Array) -> PyTree:
            return self.classifier.init(jax.random.fold_in(jax.random.key(seed), 0))

        make = jax.jit(jax.vmap(start), out_shardings=self._each)
        return State(make(self._seeds), self.lay(jnp.full(self.padded, -1, jnp.int32)))

    def advance(self, state: State, first: int, last: int) -> State:
        """The state after the steps first … last − 1; `state` is given up to it (donated).

        Each model stops at its own `stops`, or where it diverged.
        """
        given = (self._seeds, self._rates, self._mus, self._stops)
        if self.layout.loop:
            return self._advance(state, given, *self._data, first, last)
        for step in range(first, last):
            state = self._advance(state, given, *self._data, step, step + 1)
        return state

    def each(self, function: Callable[..., PyTree], num_mapped: int = 1) -> Callable[..., PyTree]:
        """`function` of one model, compiled for a block of models laid over the devices.

        The first `num_mapped` arguments have the block axis first, the others are the same for
        every model.
        """
        axis = self.layout.mesh.axis_names[0]

        def on_device(*args: Any) -> PyTree:
            mapped, same = args[:num_mapped], args[num_mapped:]
            if self.layout.group == 1:
                one = function(*jax.tree.map(lambda a: a[0], mapped), *same)
                return jax.tree.map(lambda a: a[None], one)
            return jax.vmap(function, in_axes=(0,) * num_mapped + (None,) * len(same))(*args)

        def laid(*args: Any) -> PyTree:
            specs = (P(axis),) * num_mapped + (P(),) * (len(args) - num_mapped)
            return jax.shard_map(
                on_device, mesh=self.layout.mesh, in_specs=specs, out_specs=P(axis), check_vma=False
            )(*args)

        return jax.jit(laid)

    def blocks(self, members: Sequence[int]) -> list[np.ndarray]:
        """`members` cut into blocks of `layout.block`, the last one filled up by repetition."""
        size = self.layout.block
        padded = [*members, *[members[-1]] * (-len(members) % size)] if len(members) else []
        return [np.asarray(padded[k : k + size]) for k in range(0, len(padded), size)]

    def take(self, params: PyTree, block: np.ndarray) -> PyTree:
        """The models of a block, laid over the devices."""
        return _take(params, jnp.asarray(block), self._each)

    def _compiled_advance(self) -> Callable[..., State]:
        axis = self.layout.mesh.axis_names[0]
        each, same = P(axis), P()

        def on_device(state: State, given: PyTree, *rest: Any) -> State:
            split = partial(_split, group=self.layout.group)
            if not self.layout.loop:
                groups = [
                    jax.tree.map(lambda a, k=k: a[k], (split(state), split(given)))
                    for k in range(self.padded // self.layout.block)
                ]
                done = [self._steps(s, g, *rest) for s, g in groups]
                return jax.tree.map(lambda *a: jnp.concatenate(a), *done)
            mapped = jax.lax.map(lambda a: self._steps(*a, *rest), (split(state), split(given)))
            return jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), mapped)

        laid = jax.shard_map(
            on_device,
            mesh=self.layout.mesh,
            in_specs=(each, each, same, same, same, same),
            out_specs=each,
            check_vma=False,
        )
        return jax.jit(laid, donate_argnums=0)

    def _steps(
        self, state: State, given: PyTree, images: Array, labels: Array, first: Array, last: Array
    ) -> State:
        """The steps first … last − 1 of one group of models."""
        seeds, rates, mus, stops = given
        keys = jax.vmap(lambda s: jax.random.fold_in(jax.random.key(s), 1))(seeds)
        per_epoch, size = self.steps_per_epoch, self.batch_size
        full = size == self.num_examples
        last = jnp.minimum(last, jnp.max(stops))

        def step(t: Array, state: State, order: Array) -> State:
            if full:
                x, y = images, labels
                one = jax.vmap(self._step, in_axes=(0, 0, 0, 0, None, None))
            else:
                at = jax.lax.dynamic_slice_in_dim(order, (t % per_epoch) * size, size, axis=1)
                x, y = images[at], labels[at]
                one = jax.vmap(self._step)
            active = (t < stops) & (state.diverged < 0)
            args = (state.params, active, rates, mus, x, y)
            if self.layout.group == 1:
                axes = (0, 0, 0, 0, None, None) if full else (0,) * 6
                one = _one_model(self._step, axes)
            params, finite = one(*args)
            return State(params, jnp.where(active & ~finite, t, state.diverged))

        def epoch_orders(epoch: Array) -> Array:
            if full:
                return jnp.zeros((self.layout.group, 0), jnp.int32)
            return jax.vmap(lambda k: epoch_order(k, epoch, self.num_examples))(keys)

        if not self.layout.loop:
            return step(first, state, epoch_orders(first // per_epoch))

        def epoch(e: Array, state: State) -> State:
            order = epoch_orders(e)
            begin, end = jnp.maximum(first, e * per_epoch), jnp.minimum(last, (e + 1) * per_epoch)
            return jax.lax.fori_loop(begin, end, lambda t, s: step(t, s, order), state)

        return jax.lax.fori_loop(first // per_epoch, -(-last // per_epoch), epoch, state)

    def _step(
        self, params: PyTree, active: Array, rate: Array, mu: Array, x: Array, y: Array
    ) -> tuple[PyTree, Array]:
        """One step of one model, and whether its batch loss was finite."""
        loss = cross_entropy(self.classifier.logits)
        if any(self.members.mus):
            loss = gradient_regularized_loss(loss, mu)
        value, gradient = jax.value_and_grad(loss)(params, x, y)
        finite = jnp.isfinite(value)
        move = active & finite
        # A choice and not a product: 0 times a gradient that is not finite is not 0.
        new = jax.tree.map(
            lambda p, g: p - jnp.where(move, rate.astype(p.dtype) * g, 0), params, gradient
        )
        return new, finite


def _padded(values: Sequence[float], extra: int, filler: float) -> Array:
    return jnp.asarray([*values, *[filler] * extra], jnp.float32)


def _split(tree: PyTree, group: int) -> PyTree:
    return jax.tree.map(lambda a: a.reshape(-1, group, *a.shape[1:]), tree)


def _one_model(step: Callable[..., Any], axes: tuple[int | None, ...]) -> Callable[..., Any]:
    """`step` on arrays with an axis of one model: without `vmap`, whose batched products are slower."""

    def stepped(*args: Any) -> Any:
        one = [
            a if ax is None else jax.tree.map(lambda b: b[0], a)
            for a, ax in zip(args, axes, strict=True)
        ]
        return jax.tree.map(lambda a: a[None], step(*one))

    return stepped


@partial(jax.jit, static_argnums=2)
def _take(params: PyTree, block: Array, sharding: NamedSharding) -> PyTree:
    taken = jax.tree.map(lambda a: a[block], params)
    return jax.lax.with_sharding_constraint(taken, sharding)
