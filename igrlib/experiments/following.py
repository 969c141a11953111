"""One full-batch run and its flows, measured along one time axis.

The run and every flow go from one saved time to the next together, so that nothing but their
present places is held, and a `Following` can be stopped after any of the saved times. What a flow
does not reach is NaN, and `marks_of` says why; the others go on.

Source: Theorem 3.1; chapter 10, *The edge of stability*.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from igrlib._solving import solve
from igrlib._trees import add_scaled, squared_norm
from igrlib._typing import PyTree
from igrlib.curvature import Eigenvalue, hessian_eigenvalues
from igrlib.edge import RodPath, central_flow, principal_field, rod_flow
from igrlib.experiments import checkpoint
from igrlib.experiments.data import Dataset
from igrlib.experiments.devices import is_fault
from igrlib.experiments.job import Job
from igrlib.experiments.measures import mean_cross_entropy
from igrlib.experiments.paths import FLOWS, PathArm, PathUnit
from igrlib.experiments.records import RecordError
from igrlib.experiments.records.metadata import check_no_path
from igrlib.experiments.schema import MARKS
from igrlib.flows import gradient_field
from igrlib.regularizer import modified_loss

__all__ = ["Following", "check_images", "marks_of"]

_SOLVER = diffrax.Bosh3()
"""Of low order: at the edge stability limits its steps, and each takes three fields."""

_WORDS = 200  # characters kept of the reason why a flow ended

Loss = Callable[..., Array]


def check_images(arm: PathArm, dataset: Dataset) -> None:
    """Raise `ValueError` where the arm wants more images than the training split has."""
    available = len(dataset.train.labels)
    if arm.num_train > available:
        raise ValueError(
            f"num_train must be at most the {available} training images of {dataset.name}, "
            f"got {arm.num_train}"
        )


def marks_of(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """The flows that ended early: after which step of the run, and why.

    The marks of a sweep are there too: no model was chosen, and none was seen to fit everything.
    """
    ended = zip(*(arrays[name].tolist() for name in ("flow", "ended", "why")), strict=True)
    early = {flow: {"step": at, "why": why} for flow, at, why in ended if at >= 0}
    return {**{mark: [] for mark in MARKS}, "ended": early}


@runtime_checkable
class _Flow(Protocol):
    """A flow that is followed; a place of it is a pytree like the parameters.

    `is_mean`: whether it is to lie in the middle of steps that alternate, not at every second.
    """

    is_mean: ClassVar[bool]

    def follow(self, place: PyTree) -> tuple[PyTree, dict[str, Any]]:
        """The place of the flow at the next saved time, and its predictions there by array.

        Raises `RuntimeError` or `ValueError` where the flow does not arrive.
        """
        ...


class _Field:
    """The flow of a field, `field(params, h, images, labels)`."""

    is_mean: ClassVar[bool] = True

    def __init__(self, unit: PathUnit, field: Callable[..., PyTree], data: tuple[Array, Array]):
        arm, h, span = unit.arm, *_times(unit)

        @jax.jit
        def advance(params: PyTree, *args: Any) -> Any:
            return solve(field, params, span, args, **_solver_of(arm))

        self._advance = lambda params: advance(params, h, *data)
        self._most = arm.max_solver_steps

    def follow(self, place: PyTree) -> tuple[PyTree, dict[str, Any]]:
        path, reached, _ = self._advance(place)
        if not reached.all():
            raise _too_short(self._most)
        return jax.tree.map(lambda leaf: leaf[-1], path), {}


class _Rod:
    """The rod flow: its place is the end that lies at the steps of the run."""

    is_mean: ClassVar[bool] = False

    def __init__(self, unit: PathUnit, loss: Loss, data: tuple[Array, Array]) -> None:
        arm, h, span = unit.arm, *_times(unit)

        @jax.jit
        def advance(params: PyTree, h: Array, *args: Array) -> RodPath:
            return rod_flow(loss, params, h, span, *args, **_solver_of(arm))

        self._advance = lambda params: advance(params, h, *data)
        self._most = arm.max_solver_steps

    def follow(self, place: PyTree) -> tuple[PyTree, dict[str, Any]]:
        try:
            rod = jax.block_until_ready(self._advance(place))
        except RuntimeError as error:  # What `flow` raises inside of `jax.jit` says no more.
            if is_fault(error):
                raise
            raise _too_short(self._most) from error
        return jax.tree.map(lambda c, d: c[-1] - d[-1], *rod), {}


class _Central:
    """The central flow, which predicts the means of the run."""

    is_mean: ClassVar[bool] = True

    def __init__(self, unit: PathUnit, loss: Loss, data: tuple[Array, Array]) -> None:
        arm, h, span = unit.arm, *_times(unit)
        self._advance = lambda params: central_flow(
            loss,
            params,
            h,
            span,
            *data,
            num_directions=arm.num_directions,
            substeps=arm.substeps,
        )

    def follow(self, place: PyTree) -> tuple[PyTree, dict[str, Any]]:
        path = self._advance(place)
        predicted = {
            "central_loss": path.predicted_loss,
            "central_squared_gradient": path.predicted_squared_gradient,
            "central_variance": path.variances,
        }
        return jax.tree.map(lambda leaf: leaf[-1], (path.params, predicted))


def _too_short(most: int) -> RuntimeError:
    return RuntimeError(f"it left the finite numbers, or max_solver_steps={most} were too few")


def _solver_of(arm: PathArm) -> dict[str, Any]:
    """How the solver of a flow is set."""
    tolerances = {"rtol": arm.rtol, "atol": arm.atol}
    return {**tolerances, "max_steps": arm.max_solver_steps, "solver": _SOLVER}


def _times(unit: PathUnit) -> tuple[Array, Array]:
    """The learning rate, and from 0 to the next saved time: the flows do not know the time."""
    h = unit.learning_rate
    return jnp.asarray(h, jnp.float32), jnp.asarray([0, unit.every * h], jnp.float32)


class Following(Job):
    """One run with its flows, as a `PathUnit` says."""

    unit: PathUnit
    arrays: dict[str, np.ndarray]
    seconds: float

    def __init__(self, unit: PathUnit, dataset: Dataset) -> None:
        check_images(unit.arm, dataset)
        arm, model = unit.arm, unit.classifier(dataset)
        images = jnp.asarray(dataset.train.images[: arm.num_train])
        labels = jnp.asarray(dataset.train.labels[: arm.num_train].astype(np.int32))
        start = model.start(jax.random.key(unit.seed))

        def loss(params: PyTree, images: Array, labels: Array) -> Array:
            outputs, _ = model.training(params, start.stats, images)
            return mean_cross_entropy(outputs, labels)

        h, data = jnp.asarray(unit.learning_rate, jnp.float32), (images, labels)
        step, look = jax.jit(partial(_step, loss)), jax.jit(partial(_look, loss, unit))
        self._step: Callable[[PyTree], Any] = lambda params: step(params, h, *data)
        self._look: Callable[[PyTree], Any] = lambda params: look(params, *data)
        self.unit, self._flows = unit, _flows_of(unit, loss, data)
        self._place: dict[str, Any] = {
            "params": start.params,
            "before": start.params,
            "start": start.params,
            # Until they set out, places of the same form.
            "flows": dict.fromkeys(self._flows, start.params),
        }
        self.arrays = _empty(unit)

    def _pieces(self) -> Iterator[tuple[int, str]]:
        for column in range(int(self.arrays["measured"].sum()), len(self.unit.saved)):
            if column and self.arrays["diverged"][0] < 0:
                self._go(column)
            if self.arrays["diverged"][0] < 0:
                self._measure(column)
            self.arrays["measured"][column] = True
            yield self.unit.saved[column], "following"

    def _finished(self) -> dict[str, np.ndarray]:
        return self.arrays

    def _go(self, column: int) -> None:
        """The run and its flows, to a saved time from the one before."""
        arrays, place, end = self.arrays, self._place, self.unit.saved[column]
        begin, kept = end - self.unit.every, []
        for _ in range(begin, end):
            after, *found = self._step(place["params"])
            kept.append(found)
            place["before"], place["params"] = place["params"], after
        arrays["loss"][begin:end], arrays["squared_gradient"][begin:end] = np.asarray(kept).T
        for k, (name, flow) in self._under_way(begin):
            try:
                place["flows"][name], predicted = flow.follow(place["flows"][name])
            except (RuntimeError, ValueError) as error:
                if is_fault(error):
                    raise
                arrays["ended"][k], arrays["why"][k] = begin, _reason(error)
            else:
                for array, values in predicted.items():
                    arrays[array][column] = values

    def _measure(self, column: int) -> None:
        """Everything of the run and of its flows at a saved time."""
        arrays, place, step = self.arrays, self._place, self.unit.saved[column]
        after, loss, squared = self._step(place["params"])
        arrays["loss"][step], arrays["squared_gradient"][step] = loss, squared
        if not np.isfinite(loss):
            arrays["diverged"][0] = step
            return
        if step == self.unit.first:
            place["flows"] = dict.fromkeys(self._flows, place["params"])
        _, _, largest = self._look(place["params"])
        arrays["eigenvalue"][column], arrays["residual"][column] = largest
        arrays["moved"][column] = _distance(place["params"], place["start"])
        arrays["norm"][0, column] = jnp.sqrt(squared_norm(place["params"]))
        middle = _middle(place["params"], after)
        # The mean of the two middles around a step: what alternates is in neither.
        mean = _middle(_middle(place["before"], place["params"]), middle)
        for k, (name, flow) in self._under_way(step):
            there = place["flows"][name]
            value, squared, largest = self._look(there)
            arrays["distance"][k, column] = _distance(place["params"], there)
            pair = (mean, there) if flow.is_mean else (middle, _middle(there, self._step(there)[0]))
            arrays["mean_distance"][k, column] = _distance(*pair) if step else 0
            arrays["flow_loss"][k, column] = value
            arrays["flow_squared_gradient"][k, column] = squared
            arrays["flow_eigenvalue"][k, column] = largest.value

    def _under_way(self, step: int) -> list[tuple[int, tuple[str, _Flow]]]:
        """The flows that have set out by a step, and have not ended."""
        if step < self.unit.first:
            return []
        every = enumerate(self._flows.items())
        return [(k, flow) for k, flow in every if self.arrays["ended"][k] < 0]

    def _save(self, path: Path, identity: dict[str, Any]) -> None:
        step = self.unit.saved[int(self.arrays["measured"].sum()) - 1]
        progress = {"step": step, "seconds": self.seconds}
        checkpoint.save(path, self._place, self.arrays, progress, identity)

    def _restore(self, path: Path, identity: dict[str, Any]) -> None:
        held, arrays, progress = checkpoint.restore(path, self._place, self.arrays, identity)
        seconds = progress.get("seconds")
        done = arrays["measured"]
        # Only the first of the saved steps can be measured.
        if not isinstance(seconds, (int, float)) or (np.diff(done.astype(int)) > 0).any():
            raise RecordError(
                f"the checkpoint {path.name} must have a progress that matches its measurements, "
                f"got {progress}: move the file away to start again"
            )
        self._place, self.arrays, self.seconds = jax.tree.map(jnp.asarray, held), arrays, seconds


def _flows_of(unit: PathUnit, loss: Loss, data: tuple[Array, Array]) -> dict[str, _Flow]:
    """The flows that the arm asks for, in the order of `FLOWS`."""
    arm = unit.arm

    def modified(params: PyTree, h: Array, *args: Array) -> PyTree:
        return gradient_field(modified_loss(loss, h))(params, *args)

    def principal(params: PyTree, h: Array, *args: Array) -> PyTree:
        field = principal_field(
            loss, h, num_directions=arm.num_directions, num_matvecs=unit.num_matvecs
        )
        return field(params, *args)

    made: Mapping[str, Callable[[], _Flow]] = {
        "gradient": lambda: _Field(unit, lambda p, h, *args: gradient_field(loss)(p, *args), data),
        "modified": lambda: _Field(unit, modified, data),
        "principal": lambda: _Field(unit, principal, data),
        "central": lambda: _Central(unit, loss, data),
        "rod": lambda: _Rod(unit, loss, data),
    }
    return {name: made[name]() for name in FLOWS if name in arm.flows}


def _empty(unit: PathUnit) -> dict[str, np.ndarray]:
    """The arrays of a unit, with nothing measured yet."""
    flows = [name for name in FLOWS if name in unit.arm.flows]
    saved, k = len(unit.saved), unit.arm.num_directions
    along: dict[str, tuple[int, ...]]
    along = {"eigenvalue": (saved, k), "residual": (saved, k), "moved": (saved,)}
    along["norm"] = (1, saved)  # Of each model, as sweeps have it.
    along |= dict.fromkeys(("loss", "squared_gradient"), (unit.model_steps + 1,))
    each = (len(flows), saved)
    of_flow = ("distance", "mean_distance", "flow_loss", "flow_squared_gradient")
    along |= dict.fromkeys(of_flow, each) | {"flow_eigenvalue": (*each, k)}
    if "central" in flows:
        along |= dict.fromkeys(("central_loss", "central_squared_gradient"), (saved,))
        along["central_variance"] = (saved, k)
    return {
        "learning_rate": np.array([unit.learning_rate]),
        "seed": np.array([unit.seed]),
        "saved_step": np.array(unit.saved),
        "flow": np.array(flows, "U16"),
        "measured": np.zeros(saved, bool),
        "diverged": np.array([-1]),
        "ended": np.full(len(flows), -1),
        "why": np.full(len(flows), "", f"U{_WORDS}"),
        **{name: np.full(shape, np.nan, np.float32) for name, shape in along.items()},
    }


def _reason(error: Exception) -> str:
    """The first line of an error, or its type where records would not take that."""
    first = "".join(str(error).strip().splitlines(keepends=True)[:1]).strip()[:_WORDS]
    try:
        check_no_path("why", first)
    except ValueError:
        first = ""
    return first or type(error).__name__


def _step(loss: Loss, params: PyTree, h: Array, *data: Array) -> tuple[PyTree, Array, Array]:
    """θ − h∇E(θ), E(θ) and ‖∇E(θ)‖²."""
    value, gradient = jax.value_and_grad(loss)(params, *data)
    return add_scaled(params, -h, gradient), value, squared_norm(gradient)


def _look(
    loss: Loss, unit: PathUnit, params: PyTree, *data: Array
) -> tuple[Array, Array, Eigenvalue]:
    """E, ‖∇E‖² and the largest eigenvalues."""
    value, gradient = jax.value_and_grad(loss)(params, *data)
    largest = hessian_eigenvalues(loss, unit.arm.num_directions, num_matvecs=unit.num_matvecs)
    return value, squared_norm(gradient), largest(params, *data)


@jax.jit
def _middle(one: PyTree, other: PyTree) -> PyTree:
    return jax.tree.map(lambda a, b: (a + b) / 2, one, other)


@jax.jit
def _distance(one: PyTree, other: PyTree) -> Array:
    return jnp.sqrt(squared_norm(jax.tree.map(jnp.subtract, one, other)))
