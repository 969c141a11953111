"""One unit of a sweep: an ensemble trained, measured on the way, and measured closely at the end.

A `Sweep` moves in short strides between measurements, may be stopped after any of them, and goes on
from a checkpoint to the same bits. It knows nothing of the command line; the model and the data are
given to it. What it records: `igrlib.experiments.arrays`.

Source: Section 6 and Appendix A.5; chapter 7, *MNIST*.
"""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from igrlib._typing import PyTree
from igrlib.experiments import checkpoint
from igrlib.experiments.arrays import POINTS, empty_arrays
from igrlib.experiments.closeup import CloseUp
from igrlib.experiments.schedule import Schedule
from igrlib.measures import scores
from igrlib.training.ensemble import Ensemble
from igrlib.training.members import State

__all__ = ["POINTS", "Schedule", "Splits", "Stopped", "Sweep"]

STRIDE = 2.0
"""Seconds between two looks at the clock."""


class Stopped(Exception):
    """The sweep was asked to stop; its checkpoint is written."""


class Splits(NamedTuple):
    """Images and labels by split, on the devices; `validation` may be None."""

    train: tuple[Array, Array]
    validation: tuple[Array, Array] | None
    test: tuple[Array, Array]


class Sweep:
    """Trains the models of `ensemble` and fills `arrays`, NaN where nothing was measured."""

    ensemble: Ensemble
    splits: Splits
    schedule: Schedule
    closeup: CloseUp
    step: int
    tasks_done: int
    seconds: float
    state: State
    chosen: dict[str, PyTree]
    arrays: dict[str, np.ndarray]

    def __init__(
        self, ensemble: Ensemble, splits: Splits, schedule: Schedule, closeup: CloseUp
    ) -> None:
        self.ensemble, self.splits = ensemble, splits
        self.schedule, self.closeup = schedule, closeup
        self.step, self.tasks_done, self.seconds = 0, 0, 0.0
        self.state = ensemble.init()
        self.chosen = {p: jax.tree.map(jnp.copy, self.state.params) for p in POINTS[:2]}
        members, logits = ensemble.members, ensemble.classifier.logits
        self.arrays = empty_arrays(len(members), schedule, closeup, splits.validation is not None)
        self.arrays |= {
            "learning_rate": np.asarray(members.learning_rates),
            "seed": np.asarray(members.seeds),
            "mu": np.asarray(members.mus),
            "stop": np.asarray(members.stops),
        }
        self._scores = ensemble.each(lambda p, split: scores(logits, p, *split))
        self._closeup = closeup.compiled(ensemble)

    def run(
        self,
        *,
        checkpoint: Path | None = None,
        identity: dict[str, Any] | None = None,
        every: float = 300.0,
        asked_to_stop: Callable[[], bool] = lambda: False,
        progress: Callable[[int, str], None] = lambda done, what: None,
    ) -> dict[str, np.ndarray]:
        """The arrays of the finished sweep.

        Goes on from `checkpoint` where that exists, writes it every `every` seconds and when
        `asked_to_stop`, and then raises `Stopped`. `progress(done, what)` hears of steps of single
        models. Raises `RecordError` for a checkpoint that is damaged or was written for another
        `identity`.
        """
        if checkpoint is not None and checkpoint.exists():
            self._restore(checkpoint, identity or {})
        written = began = time.monotonic()
        before = self.seconds
        for done, what in self._strides():
            progress(done, what)
            self.seconds = before + time.monotonic() - began
            stop = asked_to_stop()
            if checkpoint is not None and (stop or time.monotonic() - written > every):
                self._save(checkpoint, identity or {})
                written = time.monotonic()
            if stop:
                raise Stopped
        self.arrays["diverged"] = self._host(self.state.diverged)
        return self.arrays

    @property
    def model_steps(self) -> int:
        """Steps of single models in the whole sweep."""
        return sum(self.ensemble.members.stops)

    def _strides(self) -> Iterator[tuple[int, str]]:
        """Do the work piece by piece; between two pieces everything is in `self`."""
        stops = self.ensemble.members.stops
        stride = 16
        for at in self.schedule.scores:
            while self.step < at:
                last = min(self.step + stride, at)
                began = time.monotonic()
                self.state = jax.block_until_ready(
                    self.ensemble.advance(self.state, self.step, last)
                )
                took = max(time.monotonic() - began, 1e-4)
                # At most twice as many as before: the first call compiles.
                stride = max(1, int(min(2 * stride, (last - self.step) * STRIDE / took)))
                self.step = last
                yield sum(min(last, s) for s in stops), "training"
            if self.step == at and not self._measured(at):
                self._measure(at)
                yield sum(min(at, s) for s in stops), "measuring"
        tasks = [(p, b) for p in POINTS for b in self._blocks_of(p)]
        for number, (point, block) in enumerate(tasks):
            if number >= self.tasks_done:
                self._look_closely(point, block)
                self.tasks_done = number + 1
                yield sum(stops), f"a close look, {number + 1} of {len(tasks)}"

    def _measured(self, at: int) -> bool:
        return bool(self.arrays["score_done"][self.schedule.scores.index(at)])

    def _alive(self, at: int) -> np.ndarray:
        """Models that reached step `at` and are finite."""
        diverged = self._host(self.state.diverged)
        return np.flatnonzero((diverged < 0) & (np.asarray(self.ensemble.members.stops) >= at))

    def _measure(self, at: int) -> None:
        alive, arrays = self._alive(at), self.arrays
        column = self.schedule.scores.index(at)
        for split in ("validation", "test"):
            data = getattr(self.splits, split)
            if data is None or not len(alive):
                continue
            found = self._over(alive, lambda p, data=data: self._scores(p, data))
            arrays[f"{split}_loss"][alive, column] = found.loss
            arrays[f"{split}_accuracy"][alive, column] = found.accuracy
            self._choose(split, alive, found.accuracy, at)
        if at in self.schedule.gradients and len(alive):
            self._measure_gradients(alive, self.schedule.gradients.index(at), at)
        arrays["score_done"][column] = True

    def _measure_gradients(self, alive: np.ndarray, column: int, at: int) -> None:
        arrays = self.arrays
        train = self._over(alive, lambda p: self._closeup.measures(p, self.splits.train))
        test = self._over(alive, lambda p: self._closeup.measures(p, self.splits.test))
        arrays["train_loss"][alive, column] = train.loss
        arrays["train_accuracy"][alive, column] = train.accuracy
        arrays["train_squared_gradient"][alive, column] = train.squared_gradient
        arrays["test_squared_gradient"][alive, column] = test.squared_gradient
        arrays["norm"][alive, column] = self._over(alive, self._closeup.norm)
        for k, level in enumerate(self.schedule.levels):
            fresh = alive[(train.loss < level) & (arrays["crossing_step"][alive, k] < 0)]
            if not len(fresh):
                continue
            arrays["crossing_step"][fresh, k] = at
            # A model that falls through two levels at once is looked at once.
            if k + 1 < len(self.schedule.levels):
                below = arrays["train_loss"][fresh, column] < self.schedule.levels[k + 1]
                fresh = fresh[~below]
            if len(fresh):
                found = self._over(fresh, lambda p: self._closeup.curvature(p, self.splits.train))
                for name, values in found.items():
                    arrays[f"crossing_{name}"][fresh, k] = values

    def _choose(self, name: str, alive: np.ndarray, accuracy: np.ndarray, at: int) -> None:
        """Keep a copy of every model that is more accurate than ever before."""
        best = self.arrays[f"chosen_{name}_accuracy_then"]
        better = ~(accuracy <= best[alive])  # The first of all is better than NaN.
        who = alive[better]
        best[who], self.arrays["chosen_step"][who, POINTS.index(name)] = accuracy[better], at
        chosen = self.ensemble.lay(np.isin(np.arange(self.ensemble.padded), who))
        self.chosen[name] = _choose(chosen, self.state.params, self.chosen[name])

    def _blocks_of(self, point: str) -> list[np.ndarray]:
        if point == "final":
            alive = self._host(self.state.diverged) < 0
            steps = np.where(alive, self.ensemble.members.stops, -1)
            self.arrays["chosen_step"][:, POINTS.index("final")] = steps
        reached = np.flatnonzero(self.arrays["chosen_step"][:, POINTS.index(point)] >= 0)
        return self.ensemble.blocks(reached.tolist())

    def _look_closely(self, point: str, block: np.ndarray) -> None:
        column = POINTS.index(point)
        params = self.ensemble.take(self.chosen.get(point, self.state.params), block)
        found = self._closeup.look(params, self.splits, deep=point in self.closeup.points)
        for name, values in found.items():
            self.arrays[f"chosen_{name}"][block, column] = values

    def _over(self, members: np.ndarray, function: Callable[[PyTree], Any]) -> Any:
        """`function` of the parameters of all `members`, block by block, joined on the host."""
        parts = []
        for block in self.ensemble.blocks(members.tolist()):
            params = self.ensemble.take(self.state.params, block)
            parts.append(jax.tree.map(np.asarray, function(params)))
        joined = jax.tree.map(lambda *a: np.concatenate(a), *parts)
        return jax.tree.map(lambda a: a[: len(members)], joined)

    def _host(self, array: Array) -> np.ndarray:
        return np.asarray(array)[: len(self.ensemble.members)].copy()

    def _held(self) -> PyTree:
        return {"state": self.state, "chosen": self.chosen}

    def _save(self, path: Path, identity: dict[str, Any]) -> None:
        progress = {"step": self.step, "tasks_done": self.tasks_done, "seconds": self.seconds}
        checkpoint.save(path, self._held(), self.arrays, progress, identity)

    def _restore(self, path: Path, identity: dict[str, Any]) -> None:
        held, self.arrays, progress = checkpoint.restore(path, self._held(), identity)
        held = self.ensemble.lay(held)
        self.state, self.chosen = held["state"], held["chosen"]
        self.step, self.tasks_done = progress["step"], progress["tasks_done"]
        self.seconds = progress["seconds"]


@jax.jit
def _choose(better: Array, new: PyTree, old: PyTree) -> PyTree:
    def leaf(n: Array, o: Array) -> Array:
        return jnp.where(better.reshape(-1, *[1] * (n.ndim - 1)), n, o)

    return jax.tree.map(leaf, new, old)
